//! A run that changed no member is retried, with the real CronJob and Job controllers. There is no kubelet here: the
//! tests write what one would write into the status of pods. The ten minutes, who leads and what is lost on the way:
//! `tests/model/retry.rs`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    policies::manifest,
    status::status,
    support::{Namespace, SOON, World, due_soon, end_pod, etcd, namespace, ready, without_statefulset_controller},
};
use harness::{Serve, eventually, with_its_own_rights};

const RETRY_OF: &str = "etcd-defrag.io/retry-of";
const LAST_RUN: &str = "etcd-defrag.io/last-run";

fn world() -> World {
    let plane = without_statefulset_controller();
    // Before it starts, or it asks for policies so late that a run may be due before.
    plane.apply(include_str!("../../deploy/manifests/05-defragpolicies.crd.yaml"));
    plane.wait_established("defragpolicies.etcd-defrag.io");
    World::with(Serve::start_with(&plane, &with_its_own_rights(&plane)), plane)
}

/// What our runner writes where it gave up.
fn deferred(did: [&str; 3]) -> String {
    let members = did.map(|did| json!({"name": "e", "did": did, "sizeBefore": 9, "sizeAfter": 3, "seconds": 1.0}));
    json!({"version": 1, "outcome": "Deferred", "members": members, "membersTotal": 3, "reason": "e-1 is not healthy"})
        .to_string()
}

/// What the CronJob of an etcd says of the run of this Job.
fn last_run(ns: &Namespace<'_>, name: &str, job: &str) -> Value {
    let read = |cronjob: &Value| -> Option<Value> {
        let note = cronjob["metadata"]["annotations"][LAST_RUN].as_str()?;
        serde_json::from_str::<Value>(note).ok().filter(|run| run["job"] == job)
    };
    let cronjob = ns.cronjob_that(name, "say what its last run did", |cronjob| read(cronjob).is_some());
    read(&cronjob).unwrap()
}

/// The Jobs that a CronJob controls.
fn jobs(ns: &Namespace<'_>, name: &str) -> Vec<Value> {
    let list = ns.plane.get(&["-n", &ns.name, "jobs"]).unwrap_or_default();
    let cronjob = format!("{name}-defrag-job");
    let jobs = list["items"].as_array().cloned().unwrap_or_default().into_iter();
    jobs.filter(|job| job["metadata"]["ownerReferences"][0]["name"] == cronjob).collect()
}

fn name_of(job: &Value) -> &str {
    job["metadata"]["name"].as_str().unwrap()
}

/// A Job of a CronJob that ends after so many seconds.
fn short_run(ns: &Namespace<'_>, name: &str, seconds: u32) {
    let from = format!("--from=cronjob/{name}-defrag-job");
    let text = ns.run(&["create", "job", &format!("{name}-run"), &from, "--dry-run=client", "-o", "json"]);
    let mut job: Value = serde_json::from_str(&text).unwrap();
    job["spec"]["activeDeadlineSeconds"] = json!(seconds);
    ns.accepts(&job);
}

#[test]
fn a_scheduled_run_that_was_put_off_is_started_once_more_and_never_again() {
    let world = world();
    let ns = namespace(&world.plane, "put-off");
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": ns.name}});
    let spec = json!({"job": {"engine": "BuiltIn", "failureBudget": 2}, "namespaceSelector": selector});
    ns.plane.apply(&manifest(&ns.name, &spec));
    ns.accepts(&etcd(&ns.name, "before", &[]));
    ns.governed("before", &ns.name);
    // The controller itself starts the first run.
    due_soon(&ns, "e");
    ns.governed("e", &ns.name);
    ready(&ns, "e");
    let first = eventually("the scheduled run", 5 * SOON, || jobs(&ns, "e").pop());
    let first = name_of(&first).to_owned();
    end_pod(&ns, &first, 75, &deferred(["Skipped", "NotTouched", "NotTouched"]));

    let said = ns.event("e", "Deferred");
    assert!(said.contains("It changed no member, so it is retried after 20"), "{said}");
    let mut run = last_run(&ns, "e", &first);
    let time = |value: &Value| value.as_str().unwrap().parse::<Timestamp>().unwrap();
    let after = time(&run["retry"]["after"]).duration_since(time(&run["ended"]));
    assert_eq!(after, SignedDuration::from_mins(10));
    let output = status(&ns, &["-n", &ns.name]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = format!("{}/e: the run {first} changed no member and is retried after 20", ns.name);
    assert!(table.contains(&line), "{table}");
    assert_eq!(jobs(&ns, "e").len(), 1);

    // As if ten minutes had passed.
    run["retry"]["after"] = json!((Timestamp::now() - SignedDuration::from_secs(1)).to_string());
    ns.run(&["annotate", "--overwrite", "cronjob", "e-defrag-job", &format!("{LAST_RUN}={run}")]);
    let second = eventually("the second run", 2 * SOON, || {
        jobs(&ns, "e").into_iter().find(|job| job["metadata"]["annotations"][RETRY_OF] == first.as_str())
    });
    let uid = &second["metadata"]["uid"];
    let second_name = name_of(&second).to_owned();
    let cronjob = ns.cronjob_that("e", "count the second run", |cronjob| cronjob["status"]["active"][0]["uid"] == *uid);
    assert_eq!(second["metadata"]["ownerReferences"][0]["uid"], cronjob["metadata"]["uid"]);
    assert_eq!(second["metadata"]["ownerReferences"][0]["controller"], true);
    let said = ns.event("e", "DefragRetryStarted");
    assert_eq!(said, format!("The Job {second_name} was started, because the run {first} changed no member."));
    eventually("the first run to say so", SOON, || {
        (last_run(&ns, "e", &first)["retry"]["started"] == second_name.as_str()).then_some(())
    });

    // It is put off as well, and that was that.
    end_pod(&ns, &second_name, 75, &deferred(["NotTouched", "NotTouched", "NotTouched"]));
    assert_eq!(last_run(&ns, "e", &second_name)["retry"], Value::Null);
    ns.event_that_says("e", "Deferred", &format!("The run {second_name}: "));
    ns.cronjob_that("e", "have nothing under way", |cronjob| cronjob["status"]["active"].is_null());
    let cronjob = ns.cronjob("e");
    assert_eq!(
        (&cronjob["spec"]["suspend"], &cronjob["metadata"]["annotations"]["etcd-defrag.io/failed-runs"]),
        (&json!(false), &Value::Null),
        "two runs that were put off spend no budget"
    );
    assert_eq!(jobs(&ns, "e").len(), 2);
}

/// What the Job controller leaves of a run whose container never started, and of one that ran.
#[test]
fn only_what_surely_touched_nothing_is_started_once_more() {
    let world = world();
    let ns = namespace(&world.plane, "untouched");
    let yearly = [("schedule", "0 0 1 1 *"), ("time-zone", "Etc/UTC")];
    for name in ["waits", "ran", "touched", "lost", "no-room"] {
        ns.accepts(&etcd(&ns.name, name, &yearly));
        ns.cronjob(name);
    }
    // A pod that no node takes until the deadline: it is looked at after 15 s.
    short_run(&ns, "waits", 40);
    for (name, message) in [
        ("ran", "Failed to defragment".to_owned()),
        ("touched", deferred(["Defragmented", "NotTouched", "NotTouched"])),
    ] {
        let job = format!("{name}-run");
        ns.run(&["create", "job", &job, &format!("--from=cronjob/{name}-defrag-job")]);
        end_pod(&ns, &job, if name == "ran" { 1 } else { 75 }, &message);
        assert_eq!(last_run(&ns, name, &job)["retry"], Value::Null, "{name}");
    }
    // A pod that nobody has looked at before it went.
    short_run(&ns, "lost", 1);
    assert_eq!(last_run(&ns, "lost", "lost-run")["retry"], Value::Null);
    eventually("the deadline of the one that waits", 3 * SOON, || {
        ns.get("job", "waits-run")?["status"]["conditions"]
            .as_array()?
            .iter()
            .any(|one| one["type"] == "Failed")
            .then_some(())
    });
    let run = last_run(&ns, "waits", "waits-run");
    assert!(run["retry"]["after"].is_string(), "{run}");
    let said = ns.event("waits", "DefragmentationFailed");
    assert!(said.contains("It changed no member, so it is retried after 20"), "{said}");

    // No pod at all.
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": ns.name},
        "spec": {"hard": {"pods": "0"}}});
    ns.accepts(&quota);
    eventually("the quota to count", SOON, || {
        ns.get("resourcequota", "small")?["status"]["hard"]["pods"].as_str().map(ToOwned::to_owned)
    });
    short_run(&ns, "no-room", 3);
    let run = last_run(&ns, "no-room", "no-room-run");
    assert!(run["retry"]["after"].is_string(), "{run}");
}
