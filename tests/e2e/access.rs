//! Attacks by somebody who may write the status of StatefulSets and nothing else, and what those read who enrol what they planted.

use serde_json::{Value, json};

use super::{
    status::status,
    support::{Namespace, SOON, etcd, namespace, stderr, unlabelled, world},
};
use etcd_defrag_webhook::defrag::keys::Key;
use harness::{ControlPlane, eventually};

/// A service account that reads StatefulSets and writes their status, everywhere; the argument that makes one of it.
fn reporter(ns: &Namespace<'_>) -> String {
    let name = format!("reporter-{}", ns.name);
    let rule = |resource: &str, verbs: &[&str]| json!({"apiGroups": ["apps"], "resources": [resource], "verbs": verbs});
    let rules = [rule("statefulsets", &["get"]), rule("statefulsets/status", &["get", "patch", "update"])];
    let subject = json!({"kind": "ServiceAccount", "name": "reporter", "namespace": ns.name});
    for object in [
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}, "subjects": [subject]}),
    ] {
        ns.plane.apply(&object.to_string());
    }
    let who = format!("--as=system:serviceaccount:{}:reporter", ns.name);
    let may = ["auth", "can-i", "patch", "statefulsets.apps", "--subresource=status", &who];
    eventually("the rights to be in force", SOON, || ns.kubectl(&may).status.success().then_some(()));
    who
}

fn patch(plane: &ControlPlane, who: &str, namespace: &str, name: &str, patch: &Value) -> (bool, String) {
    let patch = patch.to_string();
    let args =
        [who, "-n", namespace, "patch", "statefulset", name, "--subresource=status", "--type=merge", "-p", &patch];
    let output = plane.kubectl(args);
    (output.status.success(), stderr(&output))
}

/// Without the label, opted out, and in a namespace that is left alone: keys would wait there for whoever enrols it.
#[test]
fn whoever_writes_the_status_plants_no_access_anywhere() {
    let world = world();
    let ns = namespace(&world.plane, "planted");
    let who = reporter(&ns);
    ns.accepts(&unlabelled(etcd(&ns.name, "bare", &[])));
    let mut out = etcd(&ns.name, "out", &[]);
    out["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("false");
    ns.accepts(&out);
    let elsewhere = format!("etcd-{}", ns.name);
    ns.accepts(&unlabelled(etcd("kube-system", &elsewhere, &[])));
    for (namespace, name) in [(ns.name.as_str(), "bare"), (&ns.name, "out"), ("kube-system", &elsewhere)] {
        for key in Key::ACCESS {
            let planted = json!({"metadata": {"annotations": {key.annotation(): "attacker.example"}}});
            let (done, said) = patch(ns.plane, &who, namespace, name, &planted);
            assert!(!done && said.contains("[access-through-status]"), "{namespace}/{name} {key:?}: {said}");
        }
        let own = json!({"status": {"replicas": 1}, "metadata": {"annotations": {"example.com/seen": "x"}}});
        let (done, said) = patch(ns.plane, &who, namespace, name, &own);
        assert!(done, "{namespace}/{name}: {said}");
    }
    // Nor does it put in force what somebody else wrote before.
    ns.run(&["annotate", "statefulset", "bare", "etcd-defrag.io/client-secret=kamaji-etcd-root-client-certs"]);
    let enabled = json!({"metadata": {"labels": {"etcd-defrag.io/enabled": "true"}}});
    let (done, said) = patch(ns.plane, &who, &ns.name, "bare", &enabled);
    assert!(!done && said.contains("[access-through-status]"), "{said}");
    // Whoever enrols it with the right to the object reads what comes into force.
    let said = ns.run(&["label", "statefulset", "bare", "etcd-defrag.io/enabled=true"]);
    let line = "in force from now on: client-secret \"kamaji-etcd-root-client-certs\"";
    assert!(said.contains(line), "{said}");
}

/// Webhook and reconciler leave out the same: it is not judged, it has no CronJob, and both are said.
#[test]
fn an_etcd_in_a_namespace_that_is_left_out_is_reported() {
    let world = world();
    let ns = namespace(&world.plane, "left-out");
    let name = format!("etcd-{}", ns.name);
    let system = Namespace { plane: ns.plane, name: "kube-system".to_owned() };
    system.accepts(&etcd("kube-system", &name, &[("schedule", "* * * * *")]));
    let note = system.event(&name, "NamespaceLeftOut");
    assert!(note.contains("\"kube-system\" is excluded from this installation"), "{note}");
    assert!(system.get("cronjob", &format!("{name}-defrag-job")).is_none());
    let shown = status(&system, &["-n", "kube-system", "-o", "json"]);
    let rows: Vec<Value> = serde_json::from_slice(&shown.stdout).unwrap();
    let row = rows.iter().find(|row| row["name"] == name.as_str()).unwrap();
    assert_eq!(row["findings"][0]["code"], "namespace-left-out");
    assert!(row["cronJob"].is_null());
    system.run(&["delete", "statefulset", &name]);
    eventually("it to go", super::support::SOON, || system.get("statefulset", &name).is_none().then_some(()));
}
