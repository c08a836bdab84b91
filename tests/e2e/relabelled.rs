//! An etcd that leaves a policy by taking a label off, takes a bad setting along, and comes back.

use serde_json::{Value, json};

use super::{
    policies::{manifest, with_definition},
    support::{Namespace, SOON, etcd, namespace, stderr},
};
use harness::eventually;

const STRICT: &str = "0 4 * * *";
const DENSE: &str = "*/15 * * * *";

/// An etcd with the label by which a policy selects.
fn labelled(ns: &Namespace<'_>, name: &str, annotations: &[(&str, &str)]) -> Value {
    let mut object = etcd(&ns.name, name, annotations);
    object["metadata"]["labels"]["tier"] = json!("strict");
    object
}

/// Stores a policy of this namespace that allows two runs a day, and waits until the webhook judges by it.
fn strict(ns: &Namespace<'_>, priority: i32, selector: &Value) {
    let name = format!("{}-{priority}", ns.name);
    let spec = json!({
        "priority": priority, "selector": selector,
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns.name}},
        "defaults": {"schedule": STRICT},
        "limits": {"minInterval": "12h", "minIntervalWithoutFloor": "12h"},
    });
    ns.plane.apply(&manifest(&name, &spec));
    let probe = labelled(ns, "probe", &[]).to_string();
    eventually(&format!("policy {name} to govern"), SOON, || {
        let said = stderr(&ns.plane.kubectl_stdin(["create", "--dry-run=server", "-f", "-"], &probe));
        said.contains(&format!("governed by DefragPolicy {name} ")).then_some(())
    });
}

fn schedule(wanted: &'static str) -> impl Fn(&Value) -> bool {
    move |cronjob| cronjob["spec"]["schedule"] == wanted
}

#[test]
fn what_was_good_under_another_policy_is_not_kept_and_a_policy_for_the_namespace_is_not_left() {
    let world = with_definition();
    let ns = namespace(&world.plane, "relabelled");
    strict(&ns, 10, &json!({"matchLabels": {"tier": "strict"}}));
    ns.accepts(&labelled(&ns, "e", &[("schedule", "7 3 * * *")]));
    ns.cronjob_that("e", "follow its own schedule", schedule("7 3 * * *"));
    let annotate = |what: &str| ["annotate", "--overwrite", "statefulset", "e", what].map(str::to_owned);
    let dense = annotate(&format!("etcd-defrag.io/schedule={DENSE}"));
    let dense: Vec<&str> = dense.iter().map(String::as_str).collect();
    let said = ns.refused(&dense);
    assert!(said.contains("[schedule-too-often]"), "{said}");

    // Who may edit labels leaves a policy that selects by them. Elsewhere the schedule is a good one.
    ns.run(&["label", "statefulset", "e", "tier-"]);
    ns.run(&dense);
    ns.cronjob_that("e", "follow what the other policy allows", schedule(DENSE));

    // Nobody is asked about a label that is not ours, and yet nothing is brought along.
    ns.run(&["label", "statefulset", "e", "tier=strict"]);
    ns.cronjob_that("e", "take the default of the strict policy", schedule(STRICT));
    let event = ns.event("e", "SettingsReplaced");
    assert!(event.contains("schedule"), "{event}");
    // The ratchet lets other settings be edited, and puts nothing in force that is refused.
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/wait-between-members=45s"]);
    ns.refused(&["annotate", "--overwrite", "statefulset", "e", "etcd-defrag.io/schedule=*/20 * * * *"]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(ns.get("cronjob", "e-defrag-job").unwrap()["spec"]["schedule"], STRICT);
    // In one write with the label it is a change of our keys, judged by the policy that governs then.
    ns.run(&["label", "statefulset", "e", "tier-"]);
    ns.run(&["annotate", "--overwrite", "statefulset", "e", "etcd-defrag.io/schedule=7 3 * * *"]);
    let both = json!({"metadata": {"labels": {"tier": "strict"}, "annotations": {"etcd-defrag.io/schedule": DENSE}}});
    ns.refused(&["patch", "statefulset", "e", "--type=merge", "-p", &both.to_string()]);

    // No label leads out of a policy that selects by namespace.
    strict(&ns, 20, &json!({}));
    ns.run(&["label", "--overwrite", "statefulset", "e", "tier=none"]);
    ns.refused(&dense);
}
