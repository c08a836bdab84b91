//! A StatefulSet deleted with `--cascade=orphan`: its pods go on, and so does its CronJob, for ten minutes. Time is not
//! waited for: the mark on the CronJob is made older. The same on the paused clock: `tests/model/orphans.rs`.

use serde_json::{Value, json};

use super::{
    policies::manifest,
    support::{Namespace, etcd, namespace, world},
};
use harness::{ControlPlane, Serve, ServeOptions};

const SINCE: &str = "etcd-defrag.io/orphaned-since";

fn since(cronjob: &Value) -> Option<&str> {
    cronjob["metadata"]["annotations"][SINCE].as_str()
}

/// Deletes a StatefulSet and keeps what belongs to it; its CronJob, once it is marked.
#[track_caller]
fn orphaned(ns: &Namespace<'_>, name: &str) -> Value {
    ns.run(&["delete", "statefulset", name, "--cascade=orphan", "--wait=true"]);
    ns.cronjob_that(name, "be marked as orphaned", |live| since(live).is_some())
}

/// Makes the mark eleven minutes old.
#[track_caller]
fn age(ns: &Namespace<'_>, name: &str, before: &Value) {
    let marked: jiff::Timestamp = since(before).unwrap().parse().unwrap();
    let aged = marked - jiff::SignedDuration::from_mins(11);
    ns.run(&["annotate", "cronjob", &format!("{name}-defrag-job"), &format!("{SINCE}={aged}"), "--overwrite"]);
}

#[test]
fn an_orphaned_cronjob_goes_on_and_is_taken_over_or_deleted_after_ten_minutes() {
    let world = world();
    let ns = namespace(&world.plane, "orphan");
    let object = etcd(&ns.name, "e", &[("schedule", "14 9 * * 1-5")]);
    ns.accepts(&object);
    let before = ns.cronjob("e");
    ns.run(&["create", "job", "run", "--from=cronjob/e-defrag-job"]);

    let orphan = orphaned(&ns, "e");
    assert_eq!((&orphan["spec"], &orphan["metadata"]["uid"]), (&before["spec"], &before["metadata"]["uid"]));
    // What the garbage collector does, by which it is known: it takes off the owner reference and nothing else.
    assert!(orphan["metadata"]["ownerReferences"].is_null(), "{orphan:#}");
    let managers = ns.run(&["get", "cronjob", "e-defrag-job", "-o", "json", "--show-managed-fields"]);
    let managers: Value = serde_json::from_str(&managers).unwrap();
    let of_ours = |entry: &Value| entry["manager"] == "etcd-defrag-webhook" && entry["subresource"].is_null();
    assert!(managers["metadata"]["managedFields"].as_array().unwrap().iter().any(of_ours), "{managers:#}");
    assert!(ns.get("job", "run").unwrap()["metadata"]["deletionTimestamp"].is_null(), "a run under way goes on");

    let status = std::process::Command::new(harness::binary())
        .args(["status", "-n", &ns.name])
        .env("KUBECONFIG", world.plane.kubeconfig())
        .output()
        .unwrap();
    let said = super::support::stderr(&status);
    assert!(said.contains(&format!("the StatefulSet {}/e was deleted without its pods", ns.name)), "{said}");

    // It is the same etcd when the StatefulSet comes back, with other settings or the same.
    let mut again = etcd(&ns.name, "e", &[("schedule", "15 9 * * 1-5")]);
    again["spec"]["replicas"] = json!(5);
    ns.accepts(&again);
    let uid = ns.get("statefulset", "e").unwrap()["metadata"]["uid"].clone();
    let taken = ns.cronjob_that("e", "be taken over", |live| {
        live["metadata"]["ownerReferences"][0]["uid"] == uid && since(live).is_none()
    });
    assert_eq!(taken["metadata"]["uid"], before["metadata"]["uid"], "taken over, with its history");
    assert_eq!(taken["spec"]["schedule"], "15 9 * * 1-5");
    let note = ns.event("e", "TakenOver");
    assert!(note.contains("Its schedule was 14 9 * * 1-5 and is now 15 9 * * 1-5"), "{note}");
    assert!(ns.get("job", "run").is_some(), "its runs are still its own");

    // Nobody comes back.
    let orphan = orphaned(&ns, "e");
    age(&ns, "e", &orphan);
    ns.no_cronjob("e");
}

#[test]
fn settings_in_force_outlive_a_statefulset_that_comes_back_with_refused_ones() {
    let world = super::support::asleep();
    let ns = namespace(&world.plane, "orphan-refused");
    // Its own, or it follows one that another test writes for everything meanwhile.
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": ns.name}});
    world.plane.apply(&manifest(&ns.name, &json!({"namespaceSelector": selector})));
    ns.accepts(&etcd(&ns.name, "e", &[("schedule", "14 9 * * 1-5")]));
    let before = ns.governed("e", &ns.name);
    orphaned(&ns, "e");
    ns.accepts(&etcd(&ns.name, "e", &[("schedule", "* * * * *")]));
    ns.event("e", "SettingsKept");
    let taken = ns.cronjob_that("e", "be taken over", |live| since(live).is_none());
    assert_eq!((&taken["spec"], &taken["metadata"]["uid"]), (&before["spec"], &before["metadata"]["uid"]));
}

#[test]
fn every_other_deletion_takes_the_cronjob_along() {
    let world = world();
    let ns = namespace(&world.plane, "cascade");
    for cascade in ["background", "foreground"] {
        ns.accepts(&etcd(&ns.name, "e", &[]));
        ns.cronjob("e");
        let mark = world.plane.audit_mark();
        ns.run(&["delete", "statefulset", "e", &format!("--cascade={cascade}")]);
        ns.no_cronjob("e");
        let writes = world.plane.audit_since(mark).writes().of("cronjobs").by_agent("etcd-defrag-webhook");
        let marked = writes.filter(|write| write.verb == "patch" && write.namespace == ns.name);
        assert!(marked.is_empty(), "with --cascade={cascade} it was taken for an orphan: {marked:#?}");
    }
}

#[test]
fn the_leader_that_comes_next_counts_from_the_same_time() {
    let plane = ControlPlane::start();
    let first = Serve::start(&plane);
    let ns = namespace(&plane, "orphan-leader");
    for name in ["stays", "goes"] {
        ns.accepts(&etcd(&ns.name, name, &[]));
        ns.cronjob(name);
        orphaned(&ns, name);
    }
    let marked = ns.cronjob("stays");
    assert!(first.stop(), "serve did not end cleanly");
    age(&ns, "goes", &ns.cronjob("goes"));
    let _second = Serve::start_with(&plane, &ServeOptions::default());
    ns.no_cronjob("goes");
    assert_eq!(since(&ns.cronjob("stays")), since(&marked));
}

/// Whoever may write CronJobs may run anything in the namespace, and gets nothing here that is more.
#[test]
fn a_cronjob_that_only_looks_orphaned_gains_nothing() {
    let world = world();
    let ns = namespace(&world.plane, "orphan-forged");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    let real = ns.cronjob("e");
    let forged = |of: &str| {
        let mut copy = json!({"apiVersion": "batch/v1", "kind": "CronJob", "spec": real["spec"], "metadata": {
            "name": format!("{of}-defrag-job"), "namespace": ns.name,
            "labels": real["metadata"]["labels"], "annotations": real["metadata"]["annotations"],
        }});
        copy["metadata"]["annotations"]["etcd-defrag.io/statefulset"] = json!(of);
        copy
    };
    // A copy, as a backup restores it: our field manager never applied it.
    ns.plane.apply(&forged("copy").to_string());
    ns.no_cronjob("copy");
    // The field manager is forged, too, and so is the time: it counts from when it is seen, and then as for any other.
    let mut future = forged("future");
    future["metadata"]["annotations"][SINCE] = json!("2999-01-01T00:00:00Z");
    let server_side = ["apply", "--server-side", "--field-manager=etcd-defrag-webhook", "-f", "-"];
    let made = ns.plane.kubectl_stdin(server_side, &future.to_string());
    assert!(made.status.success(), "{}", super::support::stderr(&made));
    let marked = ns.cronjob_that("future", "have a time that could be", |live| {
        since(live).is_some_and(|since| since.starts_with("20") && since < "2900")
    });
    age(&ns, "future", &marked);
    ns.no_cronjob("future");
    // On the CronJob of a StatefulSet that is there a mark does not stay, and deletes nothing.
    ns.run(&["annotate", "cronjob", "e-defrag-job", &format!("{SINCE}=2020-01-01T00:00:00Z")]);
    let now = ns.cronjob_that("e", "lose the mark", |live| since(live).is_none());
    assert_eq!(now["metadata"]["uid"], real["metadata"]["uid"]);
}
