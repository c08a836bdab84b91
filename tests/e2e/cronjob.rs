//! `cronjob --apply`, which is also what `deploy/defrag.sh` runs, on a real cluster.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{
    lifecycle::{defrag_sh_cronjob, foreign_cronjob},
    policies::with_definition,
    support::{Namespace, etcd, namespace, stderr, unlabelled, world},
};
use harness::binary;

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// `deploy/defrag.sh ARGS` in a namespace.
fn defrag_sh(ns: &Namespace<'_>, args: &[&str]) -> Output {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/defrag.sh"))
        .args(["-n", &ns.name])
        .args(args)
        .env("ETCD_DEFRAG_WEBHOOK", binary())
        .env("KUBECONFIG", ns.plane.kubeconfig())
        .output()
        .unwrap()
}

#[track_caller]
fn applies(ns: &Namespace<'_>, args: &[&str]) -> String {
    let output = defrag_sh(ns, args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn ends_with(code: i32, ns: &Namespace<'_>, args: &[&str]) -> String {
    let output = defrag_sh(ns, args);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), &b""[..]), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn what_it_applies_stays_and_is_taken_over_by_a_label() {
    let world = world();
    let ns = namespace(&world.plane, "by-hand");
    ns.accepts(&unlabelled(etcd(&ns.name, "e", &[])));

    assert_eq!(applies(&ns, &["-e", "e", "-j", "5 4 * * *"]), "cronjob.batch/e-defrag-job created\n");
    let made = ns.get("cronjob", "e-defrag-job").unwrap();
    assert_eq!(made["spec"]["schedule"], "5 4 * * *");

    // By the time that another one has its CronJob, the reconciler has seen this one and left it alone.
    ns.accepts(&etcd(&ns.name, "other", &[]));
    ns.cronjob("other");
    assert_eq!(applies(&ns, &["-e", "e", "-j", "5 4 * * *"]), "cronjob.batch/e-defrag-job configured\n");
    let again = ns.get("cronjob", "e-defrag-job").unwrap();
    assert_eq!(again["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"], "the same again is no write");

    ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled=true"]);
    let kept = ns.cronjob_that("e", "be kept", |live| live["metadata"]["labels"][MANAGED_BY] == "etcd-defrag-webhook");
    assert_eq!(kept["metadata"]["ownerReferences"][0]["uid"], ns.get("statefulset", "e").unwrap()["metadata"]["uid"]);
    assert_eq!(kept["metadata"]["uid"], made["metadata"]["uid"], "it was taken over, not made anew");
    let note = ns.event("e", "Adopted");
    assert!(note.contains("Its schedule was 5 4 * * * and is now 0 0 * * *."), "{note}");
    let refused = ends_with(2, &ns, &["-e", "e", "-j", "5 4 * * *"]);
    assert!(refused.contains("is enrolled"), "{refused}");
}

#[test]
fn the_cronjob_of_defrag_sh_is_replaced_whole() {
    let world = world();
    let ns = namespace(&world.plane, "by-hand");
    let object = unlabelled(etcd(&ns.name, "e", &[]));
    ns.accepts(&object);
    ns.accepts(&defrag_sh_cronjob(&ns.name, "e", "kamaji-etcd"));
    assert_eq!(applies(&ns, &["-e", "e"]), "cronjob.batch/e-defrag-job adopted\n");

    let live = ns.get("cronjob", "e-defrag-job").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("etcd.json");
    std::fs::write(&manifest, object.to_string()).unwrap();
    let printed = Command::new(binary())
        .args(["cronjob", "-o", "json", "-e", "e", "-n", &ns.name, "-f"])
        .arg(&manifest)
        .output()
        .unwrap();
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(live["spec"], printed["spec"]);
    assert!(live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].is_null());
}

#[test]
fn what_would_hurt_or_is_not_ours_is_left_alone() {
    let world = world();
    let ns = namespace(&world.plane, "by-hand");
    ns.accepts(&unlabelled(etcd(&ns.name, "e", &[])));
    assert!(ends_with(1, &ns, &["-e", "e", "-j", "0 3 31 2 *"]).contains("deny schedule-never-fires"));
    assert!(ns.get("cronjob", "e-defrag-job").is_none());

    ns.accepts(&foreign_cronjob(&ns.name, "e-defrag-job"));
    let before = ns.get("cronjob", "e-defrag-job").unwrap();
    assert!(ends_with(1, &ns, &["-e", "e"]).contains("deny cronjob-foreign"));
    assert_eq!(ns.get("cronjob", "e-defrag-job").unwrap(), before);

    assert!(ends_with(2, &ns, &["-e", "missing"]).contains("there is no StatefulSet"));
    let mut opted_out = etcd(&ns.name, "out", &[]);
    opted_out["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("false");
    ns.accepts(&opted_out);
    assert!(ends_with(2, &ns, &["-e", "out"]).contains("opts out"));
}

#[test]
fn an_etcd_that_a_policy_enrols_is_left_to_the_reconciler() {
    let world = with_definition();
    let ns = namespace(&world.plane, "by-policy");
    ns.accepts(&unlabelled(etcd(&ns.name, "e", &[])));
    let policy = |spec: &Value| {
        let mut spec = spec.clone();
        // Above those that other tests write for everything.
        spec["priority"] = json!(1000);
        spec["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": ns.name}});
        json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": ns.name}, "spec": spec})
    };
    ns.accepts(&policy(&json!({"defaults": {"schedule": "0 0 * * *"}, "limits": {"lockedKeys": ["schedule"]}})));
    assert!(ends_with(1, &ns, &["-e", "e", "-j", "5 4 * * *"]).contains("deny key-locked"));
    ns.accepts(&policy(&json!({"enrollment": "All"})));
    let refused = ends_with(2, &ns, &["-e", "e"]);
    assert!(refused.contains(&format!("is enrolled (by DefragPolicy {})", ns.name)), "{refused}");
    ns.run(&["delete", "defragpolicy", &ns.name]);
}
