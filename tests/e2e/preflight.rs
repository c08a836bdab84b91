//! Preflights and runs that do not start, with the real Job and CronJob controllers. There is no kubelet here: the tests write
//! what one would write into the status of pods, and into that of StatefulSets that their members are ready.

use serde_json::{Value, json};

use super::{
    policies::manifest,
    status::status,
    support::{Namespace, SOON, World, end_pod, etcd, namespace, ready, without_statefulset_controller},
};
use harness::{Serve, eventually, with_its_own_rights};

const LABEL: &str = "etcd-defrag.io/preflight=true";
const ANNOTATION: &str = "etcd-defrag.io/preflight";

/// A control plane with `serve` as it is by default, which tells of preflights.
fn world() -> World {
    let plane = without_statefulset_controller();
    let mut options = with_its_own_rights(&plane);
    options.args.push("--preflight=true".to_owned());
    World::with(Serve::start_with(&plane, &options), plane)
}

fn preflights(ns: &Namespace<'_>) -> Vec<Value> {
    let jobs = ns.plane.get(&["-n", &ns.name, "jobs", "-l", LABEL]).unwrap_or_default();
    jobs["items"].as_array().cloned().unwrap_or_default()
}

/// Waits for the preflight of an etcd whose members are ready.
fn preflight(ns: &Namespace<'_>, name: &str) -> Value {
    eventually("a preflight", SOON, || {
        ready(ns, name);
        preflights(ns).into_iter().next()
    })
}

/// Has a policy govern the StatefulSets of a namespace.
fn policy(ns: &Namespace<'_>, job: &Value) {
    ns.plane.apply(include_str!("../../deploy/manifests/05-defragpolicies.crd.yaml"));
    ns.plane.wait_established("defragpolicies.etcd-defrag.io");
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": ns.name}});
    ns.plane.apply(&manifest(&ns.name, &json!({"job": job, "namespaceSelector": selector})));
}

fn name_of(job: &Value) -> &str {
    job["metadata"]["name"].as_str().unwrap()
}

fn note(cronjob: &Value) -> &str {
    cronjob["metadata"]["annotations"][ANNOTATION].as_str().unwrap_or_default()
}

#[test]
fn a_preflight_is_made_once_the_members_are_ready_and_is_no_run() {
    let world = world();
    let ns = namespace(&world.plane, "preflight");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    let cronjob = ns.cronjob("e");
    let job = preflight(&ns, "e");
    let owner = &job["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["uid"], &owner["controller"]), (&cronjob["metadata"]["uid"], &json!(false)));
    let args = job["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(
        args.contains("--dry-run") && args.contains("--compaction=false") && args.contains("--move-leader=false"),
        "{args}"
    );
    assert!(note(&ns.cronjob("e")).starts_with("Running "));
    end_pod(&ns, name_of(&job), 0, "");
    println!("{}", ns.event("e", "PreflightSucceeded"));
    let cronjob = ns.cronjob_that("e", "say how it ended", |cronjob| note(cronjob).starts_with("Succeeded "));
    println!("{}", note(&cronjob));
    // The CronJob controller has seen the Job end by now, and takes it for nothing of its own.
    assert_eq!(cronjob["status"], json!({}), "{cronjob}");
    assert_eq!(preflights(&ns).len(), 1);

    // Another access is tried, and the same is not.
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/wait-between-members=10s"]);
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/client-secret=other-client"]);
    eventually("a second preflight", SOON, || {
        ready(&ns, "e");
        (preflights(&ns).len() == 2).then_some(())
    });
    // It goes with its CronJob.
    ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled-"]);
    ns.no_cronjob("e");
    eventually("the preflights to be collected", SOON, || preflights(&ns).is_empty().then_some(()));
}

#[test]
fn a_preflight_that_fails_says_what_to_set_and_counts_for_nothing() {
    let world = world();
    let ns = namespace(&world.plane, "preflight-fails");
    policy(&ns, &json!({"failureBudget": 1}));
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.governed("e", &ns.name);
    let job = preflight(&ns, "e");
    let log = "{\"level\":\"warn\",\"error\":\"x509: certificate signed by unknown authority\"}\n\
        2026/11/25 04:29:33 Failed to get members' health info: context deadline exceeded\n";
    end_pod(&ns, name_of(&job), 1, log);
    let said = ns.event("e", "PreflightFailed");
    println!("{said}");
    assert!(said.contains("unknown authority") && said.contains("etcd-defrag.io/ca-secret"), "{said}");
    let cronjob = ns.cronjob_that("e", "say how it ended", |cronjob| note(cronjob).starts_with("Failed "));
    assert!(note(&cronjob).contains("tries 1") && note(&cronjob).contains("ca-secret"), "{}", note(&cronjob));
    assert_eq!(cronjob["spec"]["suspend"], false, "the failure budget is of runs");
    assert_eq!(cronjob["metadata"]["annotations"]["etcd-defrag.io/failed-runs"], Value::Null);
    assert_eq!(cronjob["status"], json!({}), "{cronjob}");
    let events = ns.plane.get(&["-n", &ns.name, "events.events.k8s.io"]).unwrap().to_string();
    assert!(!events.contains("DefragmentationFailed"), "{events}");
}

/// What our own runner leaves in its pod is read where it is well, too.
#[test]
fn a_quota_that_is_not_the_one_of_the_members_is_reported() {
    let world = world();
    let ns = namespace(&world.plane, "preflight-quota");
    policy(&ns, &json!({"engine": "BuiltIn"}));
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.governed("e", &ns.name);
    let job = preflight(&ns, "e");
    let member = json!({"name": "e-0", "did": "Checked", "quota": 96 << 20});
    let found = json!({"version": 1, "outcome": "Checked", "members": [member], "membersTotal": 1});
    end_pod(&ns, name_of(&job), 0, &found.to_string());
    let said = ns.event("e", "PreflightSucceeded");
    assert!(
        said.contains("But e-0: its quota is 96 MiB") && said.contains("set etcd-defrag.io/quota to 96Mi"),
        "{said}"
    );
    ns.cronjob_that("e", "say it", |cronjob| {
        note(cronjob).starts_with("Succeeded ") && note(cronjob).contains("its quota is 96 MiB")
    });
    let output = status(&ns, &["-n", &ns.name]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains(&format!("{}/e: the preflight succeeded at 20", ns.name)), "{table}");
}

#[test]
fn a_quota_that_has_no_room_is_named_for_the_preflight_and_for_a_run() {
    let world = world();
    let ns = namespace(&world.plane, "no-room");
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": ns.name},
        "spec": {"hard": {"pods": "0"}}});
    ns.accepts(&quota);
    eventually("the quota to count", SOON, || {
        let quota = ns.get("resourcequota", "small")?;
        quota["status"]["hard"]["pods"].as_str().map(ToOwned::to_owned)
    });
    ns.accepts(&etcd(&ns.name, "e", &[]));
    let begun = std::time::Instant::now();
    preflight(&ns, "e");
    let said = ns.event("e", "PreflightFailed");
    println!("{said}\nafter {:.1} s", begun.elapsed().as_secs_f64());
    assert!(said.contains("exceeded quota: small") && said.contains("Raise the quota"), "{said}");

    ns.run(&["create", "job", "by-hand", "--from=cronjob/e-defrag-job"]);
    let said = ns.event("e", "DefragmentationNotStarted");
    println!("{said}");
    assert!(said.contains("by-hand") && said.contains("exceeded quota: small"), "{said}");
    ns.cronjob_that("e", "say why the run has not started", |cronjob| {
        let why = &cronjob["metadata"]["annotations"]["etcd-defrag.io/not-started"];
        why.as_str().is_some_and(|why| why.contains("by-hand"))
    });
}

#[test]
fn a_policy_turns_preflights_off() {
    let world = world();
    let ns = namespace(&world.plane, "no-preflight");
    policy(&ns, &json!({"preflight": false}));
    ns.accepts(&etcd(&ns.name, "off", &[]));
    ns.governed("off", &ns.name);
    ready(&ns, "off");
    // One that is tried afterwards shows that the time has passed.
    let other = namespace(&world.plane, "with-preflight");
    other.accepts(&etcd(&other.name, "on", &[]));
    preflight(&other, "on");
    assert_eq!(preflights(&ns), Vec::<Value>::new());
}
