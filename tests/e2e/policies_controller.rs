//! What the reconciler makes of `DefragPolicy`: who governs, what follows a change, and what a policy's status says.

use std::{collections::BTreeMap, time::Duration};

use etcd_defrag_webhook::defrag::policy::DefragPolicy;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    policies::{define, manifest, with_definition},
    support::{Namespace, SOON, World, etcd, namespace, unlabelled},
};
use harness::{AuditMark, ControlPlane, Serve, ServeOptions, client, eventually};

/// Selects one namespace.
fn of(namespace: &str) -> Value {
    json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}})
}

/// A policy of a test's own namespace; deleted when dropped.
struct Policy<'a> {
    world: &'a World,
    name: String,
    namespace: String,
}

impl<'a> Policy<'a> {
    fn new(world: &'a World, namespace: &Namespace<'_>, suffix: &str, spec: Value) -> Self {
        let name = format!("{}-{suffix}", namespace.name);
        let policy = Self { world, name, namespace: namespace.name.clone() };
        policy.set(spec);
        policy
    }

    fn set(&self, mut spec: Value) {
        spec["namespaceSelector"] = of(&self.namespace);
        let applied = self.world.plane.kubectl_stdin(["apply", "-f", "-"], &manifest(&self.name, &spec));
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }

    /// Waits until the status is as wanted.
    #[track_caller]
    fn status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("the status of {} to say {what}", self.name), SOON, || {
            let status = self.world.plane.get(&["defragpolicy", &self.name])?["status"].clone();
            wanted(&status).then_some(status)
        })
    }

    fn delete(&self) {
        self.world.plane.kubectl(["delete", "defragpolicy", &self.name, "--wait=false"]);
    }
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        self.delete();
    }
}

fn condition<'a>(status: &'a Value, type_: &str) -> (&'a str, &'a str, &'a str) {
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let found = conditions.iter().find(|one| one["type"] == type_);
    let text = |field: &str| found.and_then(|one| one[field].as_str()).unwrap_or_default();
    (text("status"), text("reason"), text("message"))
}

fn schedule(schedule: &str) -> impl Fn(&Value) -> bool {
    move |cronjob| cronjob["spec"]["schedule"] == schedule
}

/// How often our reconciler wrote to CronJobs of a namespace.
fn writes(plane: &ControlPlane, since: AuditMark, namespace: &str) -> usize {
    plane.audit_since(since).writes().by_agent("etcd-defrag-webhook").of("cronjobs").in_namespace(namespace).len()
}

#[test]
fn a_changed_default_reaches_the_cronjob_in_one_write_and_so_does_a_deletion() {
    let world = with_definition();
    let ns = namespace(&world.plane, "follows");
    ns.accepts(&etcd(&ns.name, "one", &[]));
    ns.accepts(&etcd(&ns.name, "own", &[("schedule", "7 7 * * *")]));
    // They are created without the notes of a policy: such notes go with a write of their own (`lifecycle.rs`).
    ns.cronjob("one");
    ns.cronjob("own");
    let policy = Policy::new(world, &ns, "p", json!({"defaults": {"schedule": "5 3 * * *"}}));
    let cronjob = ns.cronjob_that("one", "follow the policy", schedule("5 3 * * *"));
    let annotations = &cronjob["metadata"]["annotations"];
    assert_eq!(annotations["etcd-defrag.io/policy"], policy.name.as_str());
    let why = annotations["etcd-defrag.io/policy-reason"].as_str().unwrap();
    assert!(why.contains(&policy.name) && why.contains("priority 0"), "{why}");
    ns.cronjob_that("own", "keep the person's schedule", schedule("7 7 * * *"));
    policy.status("two are governed", |status| status["matched"] == 2 && status["compliant"] == 2);

    let mark = world.plane.audit_mark();
    policy.set(json!({"defaults": {"schedule": "6 4 * * *"}}));
    ns.cronjob_that("one", "follow the change", schedule("6 4 * * *"));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(writes(&world.plane, mark, &ns.name), 1, "one that follows is written once, one that does not is not");

    let mark = world.plane.audit_mark();
    policy.delete();
    let cronjob = ns.cronjob_that("one", "fall back to the built-in policy", schedule("0 0 * * *"));
    assert_eq!(cronjob["metadata"]["annotations"]["etcd-defrag.io/policy"], Value::Null);
    ns.cronjob_that("own", "say so too", |cronjob| {
        cronjob["metadata"]["annotations"]["etcd-defrag.io/policy"].is_null()
    });
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(writes(&world.plane, mark, &ns.name), 2, "each is written once");
}

#[test]
fn the_highest_priority_governs_then_the_name_and_the_others_say_who() {
    let world = with_definition();
    let ns = namespace(&world.plane, "priority");
    let spec = |priority: i32, minute: i32| json!({"priority": priority, "defaults": {"schedule": format!("{minute} 2 * * *")}});
    let second = Policy::new(world, &ns, "b", spec(5, 2));
    let first = Policy::new(world, &ns, "a", spec(5, 1));
    ns.accepts(&etcd(&ns.name, "etcd", &[]));
    ns.cronjob_that("etcd", "be governed by the first name", schedule("1 2 * * *"));
    let status = second.status("shadowed", |status| condition(status, "Governing").1 == "Shadowed");
    assert!(condition(&status, "Governing").2.contains(&first.name));
    assert_eq!(condition(&status, "Ready"), ("True", "Shadowed", condition(&status, "Ready").2));
    first.status("governing", |status| condition(status, "Governing").0 == "True");

    second.set(spec(6, 2));
    let cronjob = ns.cronjob_that("etcd", "be governed by the higher priority", schedule("2 2 * * *"));
    assert_eq!(cronjob["metadata"]["annotations"]["etcd-defrag.io/policy"], second.name.as_str());
    first.status("shadowed", |status| condition(status, "Governing").1 == "Shadowed");

    // Labels of the namespace decide, too.
    second.set({
        let mut spec = spec(6, 2);
        spec["selector"] = json!({"matchLabels": {"no": "such"}});
        spec
    });
    ns.cronjob_that("etcd", "fall to the other policy", schedule("1 2 * * *"));
    second.status("that it matches nothing", |status| condition(status, "Governing").1 == "MatchesNothing");
}

#[test]
fn an_invalid_policy_says_what_is_wrong_and_its_violations_by_name() {
    let world = with_definition();
    let ns = namespace(&world.plane, "invalid");
    let policy = Policy::new(
        world,
        &ns,
        "p",
        json!({"defaults": {"schedule": "0 0 31 2 *"}, "limits": {"minInterval": "12h", "minIntervalWithoutFloor": "12h"}}),
    );
    ns.accepts(&etcd(&ns.name, "kept", &[]));
    let cronjob = ns.cronjob_that("kept", "be governed all the same", |cronjob| {
        cronjob["metadata"]["annotations"]["etcd-defrag.io/policy"] == policy.name.as_str()
    });
    assert_eq!(cronjob["spec"]["schedule"], "0 0 * * *", "the built-in value in the place of the invalid one");
    let status = policy.status("that it is invalid", |status| condition(status, "Valid").0 == "False");
    let message = condition(&status, "Valid").2;
    assert!(message.contains("schedule-never-fires (spec.defaults.schedule)"), "{message}");
    assert_eq!(condition(&status, "Ready").0, "False");

    // A limit that excludes the policy's own default: both hold, and those who follow the default violate it.
    policy.set(json!({"defaults": {"schedule": "0 * * * *"}, "limits": {"minInterval": "12h", "minIntervalWithoutFloor": "12h"}}));
    let status = policy.status("a violation", |status| status["violating"] == 1);
    assert_eq!(status["violations"][0]["name"], "kept");
    assert_eq!(status["violations"][0]["code"], "schedule-too-often");
    assert!(condition(&status, "Valid").2.contains("schedule-too-often"), "{status}");
    ns.cronjob_that("kept", "be the last good one, with the finding", |cronjob| {
        cronjob["spec"]["schedule"] == "0 0 * * *"
            && cronjob["metadata"]["annotations"]["etcd-defrag.io/findings"]
                .as_str()
                .is_some_and(|codes| codes.contains("schedule-too-often"))
    });

    policy.set(json!({"defaults": {"schedule": "0 1 * * *"}}));
    policy.status("that all is well", |status| {
        status["violating"] == 0 && status["violations"] == json!([]) && condition(status, "Ready").0 == "True"
    });
    ns.cronjob_that("kept", "follow the repaired policy", schedule("0 1 * * *"));
}

#[test]
fn a_policy_for_all_enrols_what_runs_an_etcd_and_lets_go_of_it_again() {
    let world = with_definition();
    let ns = namespace(&world.plane, "all");
    ns.accepts(&unlabelled(etcd(&ns.name, "old", &[])));
    let mut web = unlabelled(etcd(&ns.name, "etcd-web", &[]));
    web["spec"]["template"]["spec"]["containers"] = json!([{"name": "etcd", "image": "nginx:1"}]);
    ns.accepts(&web);
    // But for its version, which the controller of StatefulSets changes with the status.
    let metadata = |name: &str| {
        let mut metadata = ns.get("statefulset", name).map(|object| object["metadata"].clone());
        metadata.as_mut().and_then(|metadata| metadata.as_object_mut()?.remove("resourceVersion"));
        metadata
    };
    let (before, mark) = (metadata("old"), world.plane.audit_mark());

    let policy = Policy::new(world, &ns, "p", json!({"enrollment": "All"}));
    ns.cronjob("old");
    assert_eq!(metadata("old"), before, "the StatefulSet itself is not changed");
    let written = world.plane.audit_since(mark).writes().of("statefulsets").by_agent("etcd-defrag-webhook");
    assert_eq!(written.len(), 0, "the StatefulSet itself is not written to: {written:#?}");
    ns.accepts(&unlabelled(etcd(&ns.name, "new", &[])));
    ns.cronjob("new");
    policy.status("two", |status| status["matched"] == 2);
    assert!(ns.get("cronjob", "etcd-web-defrag-job").is_none(), "what only looks like an etcd is left alone");

    policy.set(json!({"enrollment": "Labeled"}));
    ns.no_cronjob("old");
    policy.set(json!({"enrollment": "All"}));
    ns.cronjob("old");
    policy.delete();
    ns.no_cronjob("old");
}

#[tokio::test]
async fn a_hundred_changes_a_second_end_in_one_write() {
    let world = with_definition();
    let ns = namespace(&world.plane, "hundred");
    let policy = Policy::new(world, &ns, "p", json!({"defaults": {"schedule": "5 3 * * *"}}));
    ns.accepts(&etcd(&ns.name, "etcd", &[]));
    ns.cronjob_that("etcd", "follow the policy", schedule("5 3 * * *"));
    std::thread::sleep(Duration::from_secs(1));

    let client = client(world.plane.kubeconfig()).await;
    let api: Api<DefragPolicy> = Api::all(client);
    let mark = world.plane.audit_mark();
    let begun = Instant::now();
    for step in 0..100 {
        let patch = json!({"spec": {"defaults": {"schedule": format!("{} {} * * *", step % 60, 4 + step / 60)}}});
        api.patch(&policy.name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }
    ns.cronjob_that("etcd", "follow the last change", schedule("39 5 * * *"));
    // Before each write the policies have not changed for 300 ms. The model has the same on a clock that stands still.
    let settled = usize::try_from(begun.elapsed().as_millis() / 300).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let writes = writes(&world.plane, mark, &ns.name);
    assert!((1..=2 + settled).contains(&writes), "{writes} writes for a hundred changes");
    let generation = api.get(&policy.name).await.unwrap().metadata.generation;
    policy.status("the last generation", |status| status["observedGeneration"] == json!(generation));
}

#[tokio::test]
async fn of_five_hundred_policies_one_governs_and_each_status_is_written_once() {
    const POLICIES: usize = 500;
    let world = World::start();
    define(&world);
    let ns = namespace(&world.plane, "many");
    ns.accepts(&etcd(&ns.name, "etcd", &[]));
    ns.cronjob("etcd");
    let client = client(world.plane.kubeconfig()).await;
    let api: Api<DefragPolicy> = Api::all(client);
    let name = |index: usize| format!("{}-{index:03}", ns.name);
    let mark = world.plane.audit_mark();
    for index in 0..POLICIES {
        let spec =
            json!({"priority": 500 - index, "namespaceSelector": of(&ns.name), "defaults": {"schedule": "8 2 * * *"}});
        let policy = serde_json::from_str(&manifest(&name(index), &spec)).unwrap();
        api.create(&PostParams::default(), &policy).await.unwrap();
    }
    let reason = |policy: &DefragPolicy| {
        let status = policy.status.as_ref()?;
        status.conditions.iter().find(|one| one.type_ == "Governing").map(|one| one.reason.clone())
    };
    let begun = Instant::now();
    loop {
        let all = api.list(&ListParams::default()).await.unwrap();
        let ours = all.iter().filter(|policy| policy.name_any().starts_with(&format!("{}-", ns.name)));
        let reasons: Vec<String> = ours.filter_map(reason).collect();
        let shadowed = reasons.iter().filter(|reason| *reason == "Shadowed").count();
        if shadowed == POLICIES - 1 && reasons[0] == "Governing" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_mins(10), "{} statuses, {shadowed} shadowed", reasons.len());
        sleep(Duration::from_millis(200)).await;
    }
    ns.cronjob_that("etcd", "follow the highest priority", schedule("8 2 * * *"));
    sleep(Duration::from_secs(2)).await;
    let statuses = world.plane.audit_since(mark).writes().by_agent("etcd-defrag-webhook").of("defragpolicies");
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for event in statuses.filter(|event| event.name.starts_with(&format!("{}-", ns.name))) {
        *times.entry(event.name).or_default() += 1;
    }
    assert_eq!((times.len(), times.values().max()), (POLICIES, Some(&1)));
    assert_eq!(writes(&world.plane, mark, &ns.name), 1, "the CronJob is written once for all of them");

    let mark = world.plane.audit_mark();
    for index in (0..POLICIES).rev() {
        api.delete(&name(index), &DeleteParams::default()).await.unwrap();
    }
    ns.cronjob_that("etcd", "fall back to the built-in policy", schedule("0 0 * * *"));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(writes(&world.plane, mark, &ns.name), 1, "and once when all have gone");
}

/// Starts a run by hand and lets it fail at its deadline.
fn fail_a_run(ns: &Namespace<'_>, job: &str) {
    ns.run(&["create", "job", job, "--from=cronjob/etcd-defrag-job"]);
    ns.run(&["patch", "job", job, "-p", r#"{"spec": {"activeDeadlineSeconds": 1}}"#]);
    eventually("the run to fail", SOON, || {
        let conditions = ns.get("job", job)?["status"]["conditions"].clone();
        conditions.as_array()?.iter().any(|one| one["type"] == "Failed" && one["status"] == "True").then_some(())
    });
}

#[test]
fn a_spent_failure_budget_suspends_until_a_person_changes_something() {
    let world = with_definition();
    let ns = namespace(&world.plane, "budget");
    let _policy = Policy::new(world, &ns, "p", json!({"job": {"failureBudget": 2}}));
    ns.accepts(&etcd(&ns.name, "etcd", &[]));
    ns.cronjob_that("etcd", "be governed", |cronjob| {
        cronjob["metadata"]["annotations"]["etcd-defrag.io/policy"].is_string()
    });
    let failed = |count: &'static str, suspended: bool| {
        move |cronjob: &Value| {
            let note = cronjob["metadata"]["annotations"]["etcd-defrag.io/failed-runs"].as_str().unwrap_or_default();
            note.starts_with(count) && cronjob["spec"]["suspend"] == suspended
        }
    };
    fail_a_run(&ns, "first");
    ns.cronjob_that("etcd", "count one", failed("1 until", false));
    fail_a_run(&ns, "second");
    ns.cronjob_that("etcd", "be suspended", failed("2 until", true));
    assert!(ns.event("etcd", "FailureBudgetSpent").contains("2 runs in a row failed"));
    // The Jobs go, and somebody resumes it by hand on the CronJob: neither is an answer to why the runs fail.
    ns.run(&["delete", "jobs", "--all"]);
    ns.run(&["patch", "cronjob", "etcd-defrag-job", "-p", r#"{"spec": {"suspend": false}}"#]);
    ns.cronjob_that("etcd", "stay suspended", failed("2 until", true));

    ns.run(&["annotate", "statefulset", "etcd", "etcd-defrag.io/defrag-now=again"]);
    ns.cronjob_that("etcd", "be resumed", failed("0 until", false));
    // No node runs pods here. tests/ondemand shows the start of a run, by the same function and with members that are ready.
    assert!(ns.event("etcd", "DefragNowWaits").contains("0 of 3 members are ready"));
}

#[test]
fn without_the_definition_the_built_in_policy_governs_until_it_is_installed() {
    let plane = ControlPlane::start();
    let serve = Serve::start_with(&plane, &ServeOptions::default());
    let ready = serve.probe("/readyz").unwrap();
    assert!(ready.contains("DefragPolicy is not installed"), "{ready}");
    let ns = namespace(&plane, "late");
    ns.accepts(&etcd(&ns.name, "etcd", &[("schedule", "0 0 * * *"), ("defaulted", "schedule")]));
    ns.cronjob_that("etcd", "follow the built-in policy", schedule("0 0 * * *"));

    // A definition that lets everything through, as one of another version might.
    let mut loose = serde_json::to_value(etcd_defrag_webhook::defrag::policy::crd()).unwrap();
    let version = &mut loose["spec"]["versions"][0];
    version["schema"]["openAPIV3Schema"] = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    version.as_object_mut().unwrap().remove("selectableFields");
    plane.apply(&loose.to_string());
    plane.wait_established("defragpolicies.etcd-defrag.io");
    eventually("the new kind to be served", SOON, || {
        plane.kubectl(["get", "defragpolicies"]).status.success().then_some(())
    });
    plane.apply(&manifest("aaa-undecodable", &json!({"enrollment": "Some", "priority": 1_000_000})));
    let many: Vec<String> = (0..500)
        .map(|index| {
            let spec = json!({"priority": index, "selector": {"matchLabels": {"no": format!("object-{index}")}}});
            manifest(&format!("many-{index}"), &spec)
        })
        .collect();
    plane.apply(&many.join("\n---\n"));
    plane.apply(&manifest("good", &json!({"defaults": {"schedule": "8 8 * * *"}})));
    // It is asked for every 15 s by now.
    eventually("readiness to tell of the policies", Duration::from_mins(2), || {
        serve.probe("/readyz").filter(|answer| answer.contains("501 policies"))
    });
    ns.cronjob_that("etcd", "follow the policy that can be read", schedule("8 8 * * *"));
    let status = eventually("the status of the last of the 500", Duration::from_mins(1), || {
        let status = plane.get(&["defragpolicy", "many-0"])?["status"].clone();
        (condition(&status, "Governing").1 == "MatchesNothing").then_some(status)
    });
    assert_eq!(condition(&status, "Ready").0, "True");

    // Quiet when converged, also with 500 policies.
    plane.wait_quiet("etcd-defrag-webhook", Duration::from_secs(5));

    // And back.
    plane.kubectl_ok(&["delete", "crd", "defragpolicies.etcd-defrag.io"]);
    ns.cronjob_that("etcd", "follow the built-in policy again", schedule("0 0 * * *"));
}
