//! What policies do to writes on the real API server: enrolment and rescues.

use serde_json::{Value, json};

use super::{
    policies::{manifest, with_definition},
    rescue::RESCUES,
    support::{Namespace, SOON, etcd, namespace, stderr, unlabelled},
};
use harness::eventually;

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
    assert_eq!(live["metadata"]["annotations"]["etcd-defrag.io/defaulted"], "enabled,schedule,rule");
    ns.cronjob("e");

    let mut web = unlabelled(etcd(&ns.name, "web", &[]));
    let pod = &mut web["spec"]["template"]["spec"];
    pod["containers"] = json!([{"name": "web", "image": "nginx:1"}]);
    ns.accepts(&web);
    assert!(label("web").is_null());

    let said = ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled-"]);
    assert!(said.contains("the label etcd-defrag.io/enabled was added again"), "{said}");
    assert_eq!(label("e"), "true");
    let said = ns.refused(&["label", "--overwrite", "statefulset", "e", "etcd-defrag.io/enabled=false"]);
    assert!(said.contains("[opt-out-refused]"), "{said}");
    ns.rejects(&etcd(&ns.name, "bad", &[("schedule", "* * * * *")]));
    ns.rejects(&unlabelled(etcd(&ns.name, "bad", &[("schedule", "* * * * *")])));

    // One that was there before never gets the label: the reconciler enrols it without, and judges what nobody was asked about.
    for (what, patch) in RESCUES {
        let output = ns.kubectl(&["patch", "statefulset", "before", "-p", patch]);
        assert!(output.status.success(), "{what} is blocked: {}", stderr(&output));
    }
    assert!(label("before").is_null());
    let sound = ns.cronjob("before")["spec"]["schedule"].clone();
    ns.run(&["annotate", "statefulset", "before", "etcd-defrag.io/schedule=* * * * *"]);
    assert!(ns.event("before", "SettingsRefused").contains("schedule-too-often"));
    assert_eq!(ns.cronjob("before")["spec"]["schedule"], sound);
    ns.run(&["annotate", "--overwrite", "statefulset", "before", "etcd-defrag.io/schedule=7 7 * * *"]);
    ns.cronjob_that("before", "follow", |cronjob| cronjob["spec"]["schedule"] == "7 7 * * *");
    assert!(label("before").is_null());

    // A create by somebody who never heard of us is not refused, whatever is wrong with it: a quota that the volume cannot hold.
    let unsafe_one = unlabelled(etcd(&ns.name, "unsafe", &[])).to_string().replace("8589934592", "17179869184");
    let unsafe_one: Value = serde_json::from_str(&unsafe_one).unwrap();
    let said = ns.accepts(&unsafe_one);
    assert!(said.contains("Warning: volume-too-small: ") && said.contains("so this is not refused"), "{said}");
    assert_eq!(label("unsafe"), "true");
    assert!(ns.event("unsafe", "SettingsRefused").contains("volume-too-small"));
    assert!(ns.get("cronjob", "unsafe-defrag-job").is_none());
    // Afterwards it gets better and not worse, and whoever asks for something is judged.
    ns.run(&["annotate", "statefulset", "unsafe", "etcd-defrag.io/move-leader=true"]);
    ns.refused(&["annotate", "statefulset", "unsafe", "etcd-defrag.io/disalarm-below=100%"]);
    let mut asked = unsafe_one;
    asked["metadata"]["name"] = json!("asked");
    asked["metadata"]["annotations"]["etcd-defrag.io/move-leader"] = json!("true");
    assert!(ns.rejects(&asked).contains("[volume-too-small]"));

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
