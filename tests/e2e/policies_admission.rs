//! What policies do to writes on the real API server: actions, the ratchet, locked keys, windows, enrolment, rescues.

use serde_json::{Value, json};

use super::{
    policies::{manifest, with_definition},
    rescue::RESCUES,
    support::{Namespace, SOON, etcd, namespace, stderr, unlabelled},
};
use crate::harness::{AuditEvent, eventually};

const AUDITED: &str = "validate.etcd-defrag-webhook.etcd-defrag.io/validation_failure";

/// Stores a policy for this namespace and waits until the webhook judges by it. A higher priority takes the place of the
/// policy before.
fn policy(ns: &Namespace<'_>, priority: i32, mut spec: Value) -> String {
    let name = format!("{}-{priority}", ns.name);
    spec["priority"] = json!(priority);
    spec["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": ns.name}});
    ns.plane.apply(&manifest(&name, &spec));
    let probe = etcd(&ns.name, "probe", &[]).to_string();
    eventually(&format!("policy {name} to govern"), SOON, || {
        let said = stderr(&ns.plane.kubectl_stdin(["create", "--dry-run=server", "-f", "-"], &probe));
        said.contains(&format!("governed by DefragPolicy {name} ")).then_some(())
    });
    name
}

/// What became of one dry run: whether it was accepted, what kubectl said, and the audit annotation.
struct Written {
    accepted: bool,
    said: String,
    audited: Option<String>,
}

fn write(ns: &Namespace<'_>, args: &[&str], stdin: &str) -> Written {
    let mark = ns.plane.audit_mark();
    let args = ["-n", &ns.name].into_iter().chain(args.iter().copied()).chain(["--dry-run=server"]);
    let output = ns.plane.kubectl_stdin(args, stdin);
    let event = eventually("the audit log to have the write", SOON, || {
        let changes = ns.plane.audit_since(mark).in_namespace(&ns.name).of("statefulsets");
        let wanted = |event: &AuditEvent| event.dry_run && matches!(event.verb.as_str(), "create" | "patch" | "update");
        changes.filter(wanted).into_iter().last()
    });
    Written {
        accepted: output.status.success(),
        said: stderr(&output),
        audited: event.annotations.get(AUDITED).cloned(),
    }
}

fn annotate<'a>(name: &'a str, change: &'a str) -> Vec<&'a str> {
    vec!["annotate", "--overwrite", "statefulset", name, change]
}

/// What breaks the rules of the platform, and the code that says so.
const BREACHES: [(&str, &str, &str); 4] = [
    ("window", "etcd-defrag.io/schedule=0 12 * * *", "schedule-outside-window"),
    ("locked", "etcd-defrag.io/time-zone=Europe/Rome", "key-locked"),
    ("wait", "etcd-defrag.io/wait-between-members=5s", "wait-too-short"),
    ("never", "etcd-defrag.io/schedule=0 0 31 2 *", "schedule-never-fires"),
];

/// Each action × a limit, a window, a locked key and what cannot be understood × create, update and ratcheted update.
#[test]
fn each_action_does_its_own_on_create_update_and_ratcheted_update() {
    let world = with_definition();
    let ns = namespace(&world.plane, "actions");
    let rules = || {
        json!({
            "defaults": {"timeZone": "UTC"},
            "limits": {
                "windows": [{"from": "22:00", "to": "06:00"}], "lockedKeys": ["time-zone"], "minWaitBetweenMembers": "20s",
            },
        })
    };
    // What stood before: written while the policy only audits.
    let mut spec = rules();
    spec["validationActions"] = json!(["Audit"]);
    policy(&ns, 1, spec);
    ns.accepts(&etcd(&ns.name, "good", &[]));
    for (name, change, _) in BREACHES {
        let (key, value) = change.split_once('=').unwrap();
        ns.accepts(&etcd(&ns.name, name, &[(key.strip_prefix("etcd-defrag.io/").unwrap(), value)]));
    }
    for (priority, actions) in (2..).zip([&["Deny"][..], &["Warn"], &["Audit"], &["Deny", "Audit"], &["Warn", "Audit"]])
    {
        let mut spec = rules();
        spec["validationActions"] = json!(actions);
        let name = policy(&ns, priority, spec);
        let (deny, warn, audit) = (actions.contains(&"Deny"), actions.contains(&"Warn"), actions.contains(&"Audit"));
        for (stored, change, code) in BREACHES {
            let (key, value) = change.split_once('=').unwrap();
            let new = etcd(&ns.name, "new", &[(key.strip_prefix("etcd-defrag.io/").unwrap(), value)]).to_string();
            let create = write(&ns, &["create", "-f", "-"], &new);
            let update = write(&ns, &annotate("good", change), "");
            let ratcheted = write(&ns, &annotate(stored, "etcd-defrag.io/suspend=true"), "");
            for (what, written, refused) in
                [("create", &create, deny), ("update", &update, deny), ("ratcheted update", &ratcheted, false)]
            {
                let Written { accepted, said, audited } = written;
                let place = format!("{what}, {actions:?}, {code}: {said}");
                assert_eq!(*accepted, !refused, "{place}");
                assert_eq!(said.contains(&format!("[{code}]")), refused, "{place}");
                let warned = warn || deny && !refused;
                assert_eq!(said.contains(&format!("Warning: {code}: ")), warned, "{place}");
                assert!(said.contains(&format!("governed by DefragPolicy {name} (priority {priority}")), "{place}");
                assert_eq!(audited.is_some(), audit, "{place}");
                if let Some(value) = audited {
                    let list: Vec<Value> = serde_json::from_str(value).unwrap();
                    assert_eq!((&list[0]["code"], &list[0]["policy"]), (&json!(code), &json!(name)), "{place}");
                    assert_eq!(list[0]["validationActions"], json!(actions));
                }
            }
        }
    }
}

#[test]
fn every_etcd_is_enrolled_where_a_policy_says_so() {
    let world = with_definition();
    let ns = namespace(&world.plane, "enrolled");
    let label =
        |name: &str| ns.get("statefulset", name).unwrap()["metadata"]["labels"]["etcd-defrag.io/enabled"].clone();
    ns.accepts(&unlabelled(etcd(&ns.name, "before", &[])));
    assert!(label("before").is_null());
    let name = policy(&ns, 1, json!({"enrollment": "All"}));

    let said = ns.accepts(&unlabelled(etcd(&ns.name, "e", &[])));
    assert!(said.contains(&format!("enrolled by DefragPolicy {name}. The container")), "{said}");
    assert_eq!(label("e"), "true");
    let live = ns.get("statefulset", "e").unwrap();
    assert_eq!(live["metadata"]["annotations"]["etcd-defrag.io/defaulted"], "schedule,rule");
    ns.cronjob("e");

    let mut web = unlabelled(etcd(&ns.name, "web", &[]));
    let pod = &mut web["spec"]["template"]["spec"];
    pod["containers"] = json!([{"name": "web", "image": "nginx:1"}]);
    ns.accepts(&web);
    assert!(label("web").is_null());

    let said = ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled-"]);
    assert!(said.contains("the label etcd-defrag.io/enabled is back"), "{said}");
    assert_eq!(label("e"), "true");
    let said = ns.refused(&["label", "--overwrite", "statefulset", "e", "etcd-defrag.io/enabled=false"]);
    assert!(said.contains("[opt-out-refused]"), "{said}");
    ns.rejects(&etcd(&ns.name, "bad", &[("schedule", "* * * * *")]));
    ns.rejects(&unlabelled(etcd(&ns.name, "bad", &[("schedule", "* * * * *")])));

    // One that was there before is not enrolled by a rescue, and by a change of our keys it is.
    for (what, patch) in RESCUES {
        let output = ns.kubectl(&["patch", "statefulset", "before", "-p", patch]);
        assert!(output.status.success(), "{what} is blocked: {}", stderr(&output));
    }
    assert!(label("before").is_null());
    ns.refused(&["annotate", "statefulset", "before", "etcd-defrag.io/schedule=* * * * *"]);
    ns.run(&["annotate", "statefulset", "before", "etcd-defrag.io/schedule=7 7 * * *"]);
    assert_eq!(label("before"), "true");

    policy(&ns, 2, json!({"enrollment": "All", "allowOptOut": true}));
    ns.run(&["label", "--overwrite", "statefulset", "e", "etcd-defrag.io/enabled=false"]);
    assert_eq!(label("e"), "false");
    ns.no_cronjob("e");
    // No policy asks for it any more.
    policy(&ns, 3, json!({}));
    ns.accepts(&unlabelled(etcd(&ns.name, "late", &[])));
    assert!(label("late").is_null());
}

/// The strictest policy that can be written, over an etcd that breaks it in every way.
#[test]
fn no_policy_blocks_a_rescue() {
    let world = with_definition();
    let ns = namespace(&world.plane, "strict");
    let annotations = [("schedule", "*/5 * * * *"), ("wait-between-members", "1s"), ("suspend", "yes")];
    policy(&ns, 1, json!({"validationActions": ["Audit"]}));
    ns.accepts(&etcd(&ns.name, "e", &annotations));
    policy(
        &ns,
        2,
        json!({
            "enrollment": "All", "validationActions": ["Deny", "Audit"],
            "limits": {
                "windows": [{"from": "02:00", "to": "02:01"}], "singleMember": "Deny", "evenMembers": "Deny",
                "eagerLivenessProbe": "Deny", "unknownVersion": "Deny", "aboveSuggestedQuota": "Deny", "suggestedQuota": "1Gi",
                "minWaitBetweenMembers": "60s", "volume": {"refuseBelowPercent": 1000, "warnBelowPercent": 1000},
            },
        }),
    );
    for (what, patch) in RESCUES {
        let output = ns.kubectl(&["patch", "statefulset", "e", "-p", patch]);
        assert!(output.status.success(), "{what} is blocked: {}", stderr(&output));
    }
    ns.run(&["scale", "statefulset", "e", "--replicas=1"]);
    ns.run(&["label", "statefulset", "e", "tier=gold"]);
    ns.refused(&["annotate", "--overwrite", "statefulset", "e", "etcd-defrag.io/schedule=*/6 * * * *"]);
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/suspend=true", "--overwrite"]);
    ns.run(&["delete", "statefulset", "e"]);
}
