//! Who can block which write. The table is in docs/break-glass.md; here each write is tried on the real API server, as a dry
//! run, which every admission sees and which changes nothing for the next one.

use std::{
    process::Output,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::{Value, json};

use super::{
    policies::{manifest, with_definition},
    rescue::RESCUES,
    support::{Namespace, etcd, namespace, stderr, world},
};
use harness::{ControlPlane, Serve};

/// Tries one write without making it.
fn tried(ns: &Namespace<'_>, args: &[&str]) -> Output {
    ns.kubectl(&[args, &["--dry-run=server"]].concat())
}

/// Those of all writes to the etcd `name`, its creation apart, that are blocked. `schedule` is what a change of our keys
/// writes.
fn blocked(ns: &Namespace<'_>, name: &str, schedule: &str) -> Vec<&'static str> {
    let (object, key) = (format!("statefulset/{name}"), format!("etcd-defrag.io/schedule={schedule}"));
    let ours = json!({"metadata": {"annotations": {"etcd-defrag.io/schedule": schedule}}}).to_string();
    let status = |patch| vec!["patch", object.as_str(), "--subresource=status", "--type=merge", "-p", patch];
    let mut writes = vec![
        ("our keys", vec!["annotate", &object, &key, "--overwrite"]),
        ("our keys by the status", status(&ours)),
        ("labels of others", vec!["label", &object, "tier=gold"]),
        ("the scale", vec!["scale", &object, "--replicas=5"]),
        ("the status", status(r#"{"status":{"replicas":1}}"#)),
        ("a deletion", vec!["delete", &object]),
        ("a deletion without the pods", vec!["delete", &object, "--cascade=orphan"]),
    ];
    writes.extend(RESCUES.iter().map(|(what, patch)| (*what, vec!["patch", &object, "-p", patch])));
    let refused = |args: &[&str]| !tried(ns, args).status.success();
    writes.into_iter().filter(|(_, args)| refused(args)).map(|(what, _)| what).collect()
}

#[test]
fn nothing_is_blocked_where_the_webhook_answers_and_settings_are_sound() {
    let world = world();
    let ns = namespace(&world.plane, "free");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    assert_eq!(blocked(&ns, "e", "5 5 * * *"), [""; 0]);
}

#[test]
fn with_the_webhook_away_our_keys_wait_and_nothing_else() {
    let plane = ControlPlane::start();
    let serve = Serve::start(&plane);
    let ns = namespace(&plane, "away");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.accepts(&etcd(&ns.name, "held", &[]));
    let hold = r#"{"metadata":{"finalizers":["example.org/hold"]}}"#;
    ns.run(&["patch", "statefulset", "held", "--type=merge", "-p", hold]);
    assert!(serve.stop(), "serve did not end cleanly");
    assert_eq!(blocked(&ns, "e", "5 5 * * *"), ["our keys", "our keys by the status"]);
    // Nor is one that is being deleted kept from going.
    ns.run(&["delete", "statefulset", "held", "--wait=false"]);
    ns.run(&["patch", "statefulset", "held", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    // Whoever may delete the registrations takes it out.
    plane.kubectl_ok(&["delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", "etcd-defrag-webhook"]);
    harness::eventually("nothing to be blocked", super::support::SOON, || {
        blocked(&ns, "e", "5 5 * * *").is_empty().then_some(())
    });
}

#[test]
fn with_the_webhook_away_an_etcd_can_be_made_again_and_keeps_its_cronjob() {
    let plane = ControlPlane::start();
    let serve = Serve::start(&plane);
    let ns = namespace(&plane, "again");
    let object = etcd(&ns.name, "e", &[("schedule", "14 9 * * 1-5")]);
    ns.accepts(&object);
    let before = ns.cronjob("e");
    let port = serve.port;
    assert!(serve.stop(), "serve did not end cleanly");
    ns.run(&["delete", "statefulset", "e", "--cascade=orphan"]);
    ns.accepts(&object);
    let replaced = plane.kubectl_stdin(["replace", "--force", "-f", "-"], &object.to_string());
    assert!(replaced.status.success(), "{}", stderr(&replaced));
    // Nothing unsafe comes of one that nobody judged.
    ns.accepts(&etcd(&ns.name, "unsafe", &[("schedule", "* * * * *")]));
    let _serve = Serve::start_with(&plane, &harness::ServeOptions { port, ..harness::ServeOptions::default() });
    ns.event("unsafe", "SettingsRefused");
    assert!(ns.get("cronjob", "unsafe-defrag-job").is_none());
    let uid = ns.get("statefulset", "e").unwrap()["metadata"]["uid"].clone();
    let now = ns.cronjob_that("e", "belong to the StatefulSet that came back", |live| {
        live["metadata"]["ownerReferences"][0]["uid"] == uid
    });
    assert_eq!(now["spec"], before["spec"]);
}

/// Limits that nothing meets, with `Deny`.
#[test]
fn a_policy_blocks_what_brings_in_a_violation_and_nothing_else() {
    let world = with_definition();
    let ns = namespace(&world.plane, "denied");
    ns.accepts(&etcd(&ns.name, "e", &[("schedule", "0 9 * * *")]));
    let spec = json!({
        "priority": 5, "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns.name}},
        "validationActions": ["Deny"],
        "limits": {"windows": [{"from": "02:00", "to": "02:01"}], "minInterval": "720h", "minIntervalWithoutFloor": "720h", "minWaitBetweenMembers": "10m"},
    });
    ns.plane.apply(&manifest(&format!("nothing-meets-{}", ns.name), &spec));
    let create = |annotations: &[(&str, &str)]| {
        let object = etcd(&ns.name, "new", annotations).to_string();
        ns.plane.kubectl_stdin(["create", "--dry-run=server", "-f", "-"], &object)
    };
    harness::eventually("the policy to govern", super::support::SOON, || {
        (!create(&[("schedule", "0 9 * * *")]).status.success()).then_some(())
    });
    assert_eq!(blocked(&ns, "e", "5 9 * * *"), ["our keys", "our keys by the status"]);
    // To pause, to opt out and to correct is not refused.
    for args in [
        ["annotate", "statefulset/e", "etcd-defrag.io/suspend=true"],
        ["label", "statefulset/e", "etcd-defrag.io/enabled-"],
    ] {
        let output = tried(&ns, &args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    }
    // An etcd that is not enrolled is no business of the policy.
    let mut unlabelled: Value = etcd(&ns.name, "new", &[("schedule", "0 9 * * *")]);
    unlabelled["metadata"]["labels"] = json!({});
    let output = ns.plane.kubectl_stdin(["create", "--dry-run=server", "-f", "-"], &unlabelled.to_string());
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A tenant who writes as much as fits, again and again, with settings of every kind that is refused.
#[test]
fn what_a_tenant_writes_blocks_no_write_of_another() {
    let world = world();
    let (theirs, ours) = (namespace(&world.plane, "hostile"), namespace(&world.plane, "victim"));
    ours.accepts(&etcd(&ours.name, "e", &[]));
    let mut heavy = etcd(&theirs.name, "heavy", &[("schedule", "* * * * *"), ("rule", "1/(dbSize-dbSize) > 0")]);
    let script = "etcd --name=a --data-dir=/d --listen-client-urls=https://0.0.0.0:2379\n".repeat(15_000);
    heavy["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["sh", "-c", script]);
    let (heavy, over) = (heavy.to_string(), AtomicBool::new(false));
    thread::scope(|scope| {
        let attacks = scope.spawn(|| {
            let mut refused = 0;
            while !over.load(Ordering::Relaxed) {
                let output = theirs.plane.kubectl_stdin(["create", "-f", "-"], &heavy);
                assert!(!output.status.success(), "it was accepted");
                refused += usize::from(stderr(&output).contains("too-much-to-read"));
            }
            refused
        });
        let hindered: Vec<_> = (0..3).flat_map(|_| blocked(&ours, "e", "5 5 * * *")).collect();
        over.store(true, Ordering::Relaxed);
        assert!(attacks.join().unwrap() > 0, "the attack did not reach us");
        assert_eq!(hindered, [""; 0]);
    });
    ours.accepts(&etcd(&ours.name, "f", &[]));
    ours.cronjob("f");
}
