//! A rescue is never blocked: not by our presence, not by our absence, whatever state our settings are in.

use serde_json::json;

use super::{
    breaches::{broken, cases, moved},
    support::{SOON, etcd, namespace, stderr, world},
};
use harness::{ControlPlane, Serve, eventually};

pub(super) const RESCUES: &[(&str, &str)] = &[
    (
        "image",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"etcd","image":"quay.io/coreos/etcd:v3.5.21"}]}}}}"#,
    ),
    (
        "resources",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"etcd","resources":{"limits":{"memory":"8Gi"}}}]}}}}"#,
    ),
    (
        "quota",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"etcd","command":["etcd","--listen-client-urls=http://0.0.0.0:2379","--quota-backend-bytes=4294967296"],"args":null}]}}}}"#,
    ),
    ("replicas", r#"{"spec":{"replicas":2}}"#),
    ("a foreign annotation", r#"{"metadata":{"annotations":{"example.org/note":"by night"}}}"#),
];

#[test]
fn with_the_webhook_down_everything_but_our_own_keys_can_be_edited() {
    let plane = ControlPlane::start();
    let serve = Serve::start(&plane);
    let ns = namespace(&plane, "down");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.accepts(&etcd(&ns.name, "f", &[]));
    ns.cronjob("e");
    assert!(serve.stop(), "serve did not end cleanly");

    for (what, patch) in RESCUES {
        let output = ns.kubectl(&["patch", "statefulset", "e", "-p", patch]);
        assert!(output.status.success(), "{what} is blocked: {}", stderr(&output));
    }
    ns.run(&["scale", "statefulset", "e", "--replicas=3"]);
    ns.run(&[
        "patch",
        "statefulset",
        "e",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status":{"replicas":3}}"#,
    ]);
    // What comes back, by a restore or by `replace --force`, and what is new.
    ns.run(&["delete", "statefulset", "e", "--cascade=orphan"]);
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.accepts(&etcd(&ns.name, "new", &[]));
    let said = ns.refused(&["annotate", "statefulset", "e", "etcd-defrag.io/schedule=1 1 * * *", "--overwrite"]);
    assert!(said.contains("etcd-defrag-webhook"), "the refusal does not name its source: {said}");
    ns.refused(&["label", "statefulset", "e", "etcd-defrag.io/enabled-"]);
    ns.run(&["delete", "statefulset", "f"]);
    ns.run(&["delete", "cronjob", "f-defrag-job", "--ignore-not-found"]);
}

/// Nothing unsafe comes of a create that nobody judged: each kind of refusal, and none has a CronJob.
#[test]
fn creates_that_nobody_judged_make_no_cronjob_of_what_is_refused() {
    let plane = ControlPlane::start();
    let serve = Serve::start(&plane);
    let ns = namespace(&plane, "open");
    let port = serve.port;
    assert!(serve.stop(), "serve did not end cleanly");
    let mut names = Vec::new();
    for case in cases().into_iter().filter(|case| case.spec == json!({})) {
        let name = case.code.to_string();
        let object = moved(broken(&case.breach), &ns.name, &name);
        ns.accepts(&object);
        names.push(name);
    }
    ns.accepts(&etcd(&ns.name, "sound", &[]));
    let options = harness::ServeOptions { register: true, port, ..harness::ServeOptions::default() };
    let _serve = Serve::start_with(&plane, &options);
    ns.cronjob("sound");
    for name in &names {
        ns.event_that_says(name, "SettingsRefused", &format!("{name} ("));
        assert!(ns.get("cronjob", &format!("{name}-defrag-job")).is_none(), "{name} has a CronJob");
    }
    assert!(names.len() > 20, "{names:?}");
}

#[test]
fn settings_in_violation_block_no_edit_of_anything_else() {
    let plane = ControlPlane::start();
    let ns = namespace(&plane, "violation");
    // Written before the webhook was there.
    ns.accepts(&etcd(&ns.name, "e", &[("schedule", "* * * * *"), ("suspend", "yes")]));
    let serve = Serve::start(&plane);
    let note = ns.event("e", "SettingsRefused");
    assert!(note.contains("etcd-defrag.io/"), "{note}");
    for (what, patch) in RESCUES {
        let output = ns.kubectl(&["patch", "statefulset", "e", "-p", patch]);
        assert!(output.status.success(), "{what} is blocked: {}", stderr(&output));
        assert!(serve.probe("/healthz").is_some());
    }
    ns.run(&["scale", "statefulset", "e", "--replicas=5"]);
    ns.refused(&["annotate", "statefulset", "e", "etcd-defrag.io/schedule=*/2 * * * *", "--overwrite"]);
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/schedule=5 5 * * *", "--overwrite"]);
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/suspend-"]);
    ns.cronjob("e");
    ns.run(&["delete", "statefulset", "e"]);
    ns.no_cronjob("e");
}

#[test]
fn the_cronjob_follows_a_rescue_that_makes_the_etcd_unsafe_and_says_so() {
    let world = world();
    let ns = namespace(&world.plane, "unsafe");
    let object = etcd(&ns.name, "e", &[]);
    ns.accepts(&object);
    ns.cronjob("e");
    // A quota that the volume cannot hold twice over, nor once.
    ns.plane.apply(&object.to_string().replace("8589934592", "17179869184"));
    ns.cronjob_that("e", "follow the quota", |cronjob| cronjob["spec"].to_string().contains("=17179869184"));
    let note = ns.event("e", "SettingsRefused");
    assert!(note.contains("volume-too-small"), "{note}");
}

#[test]
fn what_slipped_past_a_sleeping_webhook_is_found() {
    let plane = ControlPlane::start();
    let serve = Serve::start(&plane);
    let ns = namespace(&plane, "slipped");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    let good = ns.cronjob("e");
    let port = serve.port;
    assert!(serve.stop());

    // Deleting the registrations is how an administrator breaks the glass.
    plane.kubectl_ok(&["delete", "validatingwebhookconfigurations,mutatingwebhookconfigurations", "--all"]);
    let unasked = ["annotate", "statefulset", "e", "etcd-defrag.io/rule=dbSize >", "--overwrite"];
    eventually("the webhook to be no longer asked", SOON, || ns.kubectl(&unasked).status.success().then_some(()));
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/defaulted-"]);
    ns.accepts(&etcd(&ns.name, "late", &[]));

    let options = harness::ServeOptions { register: true, port, ..harness::ServeOptions::default() };
    let _serve = Serve::start_with(&plane, &options);
    let note = ns.event("e", "SettingsRefused");
    assert!(note.contains("rule"), "{note}");
    ns.cronjob("late");
    assert_eq!(ns.cronjob("e")["spec"], good["spec"], "an invalid setting keeps the last good CronJob");
    let live = ns.get("statefulset", "e").unwrap();
    assert_eq!(live["metadata"]["annotations"]["etcd-defrag.io/rule"], json!("dbSize >"));
}
