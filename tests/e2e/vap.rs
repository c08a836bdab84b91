//! The floor (`vap`) and hand-written CEL on the real API server, with no webhook there.

use std::process::Command;

use serde_json::{Value, json};

use super::{
    rescue::RESCUES,
    support::{Namespace, SOON, etcd, namespace, stderr},
};
use harness::{ControlPlane, binary, eventually};

/// Waits until the API server enforces a policy: some moments after it is written.
fn enforced(ns: &Namespace<'_>, bad: &Value) {
    eventually("the policy to be enforced", 2 * SOON, || {
        let output = ns.plane.kubectl_stdin(["apply", "--dry-run=server", "-f", "-"], &bad.to_string());
        (!output.status.success()).then_some(())
    });
}

/// Settings that the floor refuses, each with what its message has to say.
const REFUSED: &[(&[(&str, &str)], &str)] = &[
    (&[("shedule", "0 3 * * *")], "There is no annotation etcd-defrag.io/shedule. A setting with a wrong name"),
    (&[("suspend", "yes")], "etcd-defrag.io/suspend is \"yes\". Write exactly \"true\" or \"false\""),
    (&[("auto-disalarm", "True"), ("move-leader", "0")], "etcd-defrag.io/move-leader is \"0\""),
    (&[("rule", "dbSizeFree > 1"), ("free-above", "1Gi")], "remove rule, or remove the thresholds"),
    (&[("schedule", "0 3 * *")], "Write five fields"),
    (&[("schedule", "TZ=UTC 0 3 * * *")], "goes into the annotation etcd-defrag.io/time-zone"),
    (&[("schedule", "@nightly")], "or a macro such as \"@daily\""),
    (&[("command-timeout", "10s")], "Write a duration from 1m0s to 24h"),
    (&[("command-timeout", "5 minutes")], "etcd-defrag.io/command-timeout is \"5 minutes\""),
    (&[("wait-between-members", "-5s")], "[duration-invalid]"),
    (&[("wait-between-members", "31m")], "Write a duration from 0s to 30m"),
    // More than any duration or number can hold.
    (&[("wait-between-members", "99999999999999999999h")], "Write a duration from 0s to 30m"),
    (&[("command-timeout", "1h9999999999999999999999.5ns")], "Write a duration from 1m0s to 24h"),
    (&[("disalarm-below", "100%")], "strictly between 0 and 1"),
    (&[("quota-usage-above", "95%")], "from 0% to 90%"),
    (&[("free-above", "200MB")], "[free-below-minimum]"),
    (&[("free-share-above", "100%")], "[threshold-invalid]"),
    (&[("rule", "dbSizeFree > 1"), ("free-share-above", "50%")], "remove rule, or remove the thresholds"),
    (&[("quota", "0")], "[quota-invalid]"),
    (&[("client-port", "65536")], "a port from 1 to 65535"),
];

/// What the judgement accepts the floor accepts too: each of these is sound, in some unusual spelling.
const ACCEPTED: &[&[(&str, &str)]] = &[
    &[],
    &[("schedule", "H H(0-5) * * *"), ("time-zone", "Europe/Rome")],
    &[("schedule", " 5\t4  * * mon-5 ")],
    &[("schedule", "@every 6h")],
    &[("quota-usage-above", "90%"), ("free-above", "1.5e9")],
    &[("quota-usage-above", "0.55"), ("free-above", "0.25Gi"), ("free-share-above", "45.5%")],
    &[("wait-between-members", "0"), ("command-timeout", "+1.5h3m.5s")],
    &[("wait-between-members", "000000000000000000000000000001m"), ("command-timeout", "86400000000000ns")],
    &[("disalarm-below", "85.5%"), ("auto-disalarm", "true"), ("client-port", "02379")],
    &[("rule", "dbSizeFree > 100*1024*1024"), ("defrag-now", "x y"), ("quota", "8589934592")],
    // Filled in by the webhook before it went away: what is listed follows the policy, whatever the text says.
    &[("schedule", "0 0 * * *"), ("rule", "old"), ("free-above", "1Gi"), ("defaulted", "schedule, rule")],
];

#[test]
fn the_floor_holds_without_a_webhook_and_blocks_no_rescue() {
    let plane = ControlPlane::start();
    let ns = namespace(&plane, "floor");
    // Written before the floor was there.
    ns.accepts(&etcd(&ns.name, "old", &[("suspend", "yes"), ("shedule", "x")]));
    plane.apply(include_str!("../../deploy/manifests/40-admission-policy.yaml"));
    enforced(&ns, &etcd(&ns.name, "probe", REFUSED[0].0));
    let seen = plane.get(&["validatingadmissionpolicy", "etcd-defrag-floor"]).unwrap();
    assert!(seen["status"]["typeChecking"]["expressionWarnings"].is_null(), "{seen:#}");

    for (annotations, says) in REFUSED {
        let said = ns.rejects(&etcd(&ns.name, "e", annotations));
        assert!(said.contains(says) && said.contains("is invalid"), "{annotations:?}: {said}");
    }
    for (key, value, says) in [
        ("wait-between-members", "99h".repeat(30_000), "[duration-invalid]"),
        ("quota-usage-above", format!("{}%", "9".repeat(400)), "from 0% to 90%"),
        ("disalarm-below", "9".repeat(400), "strictly between 0 and 1"),
    ] {
        let said = ns.rejects(&etcd(&ns.name, "e", &[(key, &value)]));
        assert!(said.contains(says) && said.contains("is invalid"), "{key}: {said}");
    }
    let mut unclear = etcd(&ns.name, "e", &[]);
    unclear["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("yes");
    assert!(ns.rejects(&unclear).contains("etcd-defrag.io/enabled is \"yes\". Write \"true\" to opt in"));
    let mut mislabelled = etcd(&ns.name, "e", &[]);
    mislabelled["metadata"]["labels"]["etcd-defrag.io/suspend"] = json!("true");
    assert!(ns.rejects(&mislabelled).contains("There is no label etcd-defrag.io/suspend"));
    insta::assert_snapshot!(
        ns.rejects(&etcd(&ns.name, "e", &[("shedule", "0 3 * * *"), ("suspend", "yes")]))
            .replace(&ns.name, "NAMESPACE")
    );

    for (number, annotations) in ACCEPTED.iter().enumerate() {
        ns.accepts(&etcd(&ns.name, &format!("sound-{number}"), annotations));
    }
    // What is not enrolled is not looked at.
    let mut out = etcd(&ns.name, "out", &[("suspend", "yes")]);
    out["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("false");
    ns.accepts(&out);
    ns.refused(&["label", "statefulset", "out", "etcd-defrag.io/enabled=true", "--overwrite"]);

    for (what, patch) in RESCUES {
        let output = ns.kubectl(&["patch", "statefulset", "old", "-p", patch]);
        assert!(output.status.success(), "{what} is blocked: {}", stderr(&output));
    }
    ns.run(&["scale", "statefulset", "old", "--replicas=3"]);
    // A violation that stands may stay, is mended step by step, and gets no company.
    ns.run(&["annotate", "statefulset", "old", "etcd-defrag.io/move-leader=true"]);
    ns.refused(&["annotate", "statefulset", "old", "etcd-defrag.io/client-port=none"]);
    ns.run(&["annotate", "statefulset", "old", "etcd-defrag.io/suspend=true", "--overwrite"]);
    ns.run(&["annotate", "statefulset", "old", "etcd-defrag.io/shedule-"]);
    let status = r#"{"metadata":{"annotations":{"etcd-defrag.io/suspend":"yes"}}}"#;
    ns.refused(&["patch", "statefulset", "old", "--subresource=status", "--type=merge", "-p", status]);
    let secret = r#"{"metadata":{"annotations":{"etcd-defrag.io/client-secret":"other"}}}"#;
    let said = ns.refused(&["patch", "statefulset", "old", "--subresource=status", "--type=merge", "-p", secret]);
    assert!(said.contains("adds etcd-defrag.io/client-secret"), "{said}");
    ns.run(&["patch", "statefulset", "old", "--type=merge", "-p", secret]);
    ns.run(&["delete", "statefulset", "old"]);
}

#[test]
fn the_floor_of_a_policy_has_its_bounds_and_actions() {
    let plane = ControlPlane::start();
    let (deny, warn) = (namespace(&plane, "floor-deny"), namespace(&plane, "floor-warn"));
    let folder = tempfile::tempdir().unwrap();
    let policy = |name: &str, namespace: &str, actions: &[&str]| {
        json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": name}, "spec": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "validationActions": actions,
            "defaults": {"schedule": "H H(1-3) * * *", "quotaUsageAbove": "70%", "freeAbove": "500Mi"},
            "limits": {"minWaitBetweenMembers": "1m", "lockedKeys": ["schedule", "free-above"]},
        }})
        .to_string()
    };
    for (file, text) in
        [("deny.json", policy("deny", &deny.name, &["Deny"])), ("warn.json", policy("warn", &warn.name, &["Warn"]))]
    {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let printed = Command::new(binary()).args(["vap", "--policy"]).arg(folder.path()).output().unwrap();
    assert!(printed.status.success(), "{}", stderr(&printed));
    plane.apply(&String::from_utf8(printed.stdout).unwrap());

    enforced(&deny, &etcd(&deny.name, "e", &[("wait-between-members", "10s")]));
    for (annotations, says) in [
        (("wait-between-members", "10s"), "from 1m0s to 30m"),
        (("schedule", "0 0 * * *"), "The policy locks this key"),
        (("rule", "dbSizeFree > 1"), "The policy locks this key"),
    ] {
        let said = deny.rejects(&etcd(&deny.name, "e", &[annotations]));
        assert!(said.contains(says), "{annotations:?}: {said}");
    }
    deny.accepts(&etcd(&deny.name, "e", &[("schedule", "H H(1-3) * * *"), ("free-above", "500Mi")]));
    let said = eventually("a warning", SOON, || {
        let said = warn.accepts(&etcd(&warn.name, "e", &[("wait-between-members", "10s")]));
        let warned = said.contains("from 1m0s to 30m");
        if !warned {
            warn.run(&["delete", "statefulset", "e"]);
        }
        warned.then_some(said)
    });
    assert!(said.contains("Warning: "), "{said}");
}

#[test]
fn what_three_rules_in_cel_say_and_what_they_cannot() {
    let plane = ControlPlane::start();
    let ns = namespace(&plane, "cel");
    // An object that is there already is judged by nobody until somebody writes it.
    ns.accepts(&etcd(&ns.name, "before", &[("schedule", "0 12 * * *")]));
    plane.apply(include_str!("../../examples/cel/three-rules.yaml"));
    enforced(&ns, &etcd(&ns.name, "probe", &[("schedule", "0 12 * * *")]));

    // They say what they were written for.
    assert!(ns.rejects(&etcd(&ns.name, "e", &[("schedule", "0 12 * * *")])).contains("between 00:00 and 04:59"));
    assert!(ns.rejects(&etcd(&ns.name, "e", &[("rule", "dbSizeFree > 1")])).contains("has to look at dbQuotaUsage"));
    let mut single = etcd(&ns.name, "e", &[]);
    single["spec"]["replicas"] = json!(1);
    assert!(ns.rejects(&single).contains("more than one member"));

    // What they let pass, and the code with which the judgement refuses it.
    for (annotations, code) in [
        (&[("schedule", "0 3 31 2 *")][..], "schedule-never-fires"),
        (&[("schedule", "0 3 * * *"), ("time-zone", "Europe/Roma")], "time-zone-invalid"),
        (&[("rule", "dbQuotaUsage > 80/100")], "rule-always-true"),
        (&[("rule", "dbQuotaUsage > 80")], "rule-never-true"),
        (&[("rule", "dbQuotaUsage > 0.97")], "rule-misses-quota"),
    ] {
        let object = etcd(&ns.name, "passes", annotations);
        ns.accepts(&object);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), object.to_string()).unwrap();
        let judged = Command::new(binary()).args(["check", "-o", "json", "-f"]).arg(file.path()).output().unwrap();
        let said = String::from_utf8_lossy(&judged.stdout);
        assert_eq!(judged.status.code(), Some(1), "{annotations:?}: {said}");
        assert!(said.contains(code), "{annotations:?}: {said}");
        ns.run(&["delete", "statefulset", "passes"]);
    }
    // A sound schedule that only looks different, and a rescue of an object that was there before, are refused.
    ns.rejects(&etcd(&ns.name, "e", &[("schedule", "H H(0-4) * * *")]));
    let rescue = RESCUES.iter().find(|(what, _)| *what == "image").unwrap().1;
    assert!(ns.refused(&["patch", "statefulset", "before", "-p", rescue]).contains("between 00:00 and 04:59"));
}
