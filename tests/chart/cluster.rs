//! Every rendered object on a real API server.

use serde_json::Value;

use super::{
    harness::{CertManager, ControlPlane},
    support::{NAMESPACE, SETS, find, render, template, title},
};

/// As dry-runs, in the namespace that it is for, which enforces Pod Security "restricted". What the API server would prune
/// or leave out is an error, and what it would warn about too.
#[test]
fn every_object_is_accepted_as_it_is() {
    let plane = ControlPlane::start();
    let _cert_manager = CertManager::start(&plane);
    let namespaces = include_str!("../../deploy/manifests/00-namespace.yaml");
    plane.apply(namespaces);
    plane.kubectl_ok(&["create", "namespace", "sandbox"]);
    let default = render("");
    let definition = find(&default, "CustomResourceDefinition defragpolicies.etcd-defrag.io").to_string();
    assert!(plane.kubectl_stdin(["apply", "--server-side", "-f", "-"], &definition).status.success());
    plane.wait_established("defragpolicies.etcd-defrag.io");

    let mut tried = 0;
    for (name, values) in SETS {
        for object in render(values) {
            if object["apiVersion"] == "monitoring.coreos.com/v1" {
                println!(
                    "not tried: {}: the definitions of the Prometheus operator are not to be had here",
                    title(&object)
                );
                continue;
            }
            // Its Secret is a placeholder.
            let placeholder = name == "secret" && object["webhooks"].is_array();
            let object = if placeholder { without_bundle(object) } else { object };
            // A pod is only accepted where its account is.
            let really = object["kind"] == "ServiceAccount";
            let dry_run = if really { "none" } else { "server" };
            let args = ["apply", "--server-side", &format!("--dry-run={dry_run}"), "--validate=strict", "-f", "-"];
            let output = plane.kubectl_stdin(args, &object.to_string());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && said.is_empty(), "{name}: {}: {said}", title(&object));
            tried += 1;
        }
    }
    println!("{tried} objects of {} sets of values", SETS.len());
    assert!(tried > 100, "{tried}");
    plain_manifests_apply(&plane);
}

fn without_bundle(mut object: Value) -> Value {
    for webhook in object["webhooks"].as_array_mut().unwrap() {
        webhook["clientConfig"].as_object_mut().unwrap().remove("caBundle").unwrap();
    }
    object
}

/// The second way to install: `kubectl apply -k`, then the policy.
fn plain_manifests_apply(plane: &ControlPlane) {
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests");
    plane.kubectl_ok(&["delete", "crd", "defragpolicies.etcd-defrag.io"]);
    plane.kubectl_ok(&["apply", "-k", manifests]);
    plane.wait_established("defragpolicies.etcd-defrag.io");
    plane.kubectl_ok(&["apply", "-f", &format!("{manifests}/50-default-policy.yaml")]);
    plane.kubectl_ok(&["-n", NAMESPACE, "get", "deployment", "etcd-defrag-webhook"]);
    // Nothing in them is for Helm.
    let text = template(include_str!("../../deploy/manifests/values.yaml"), &["--show-only=templates/rbac.yaml"]);
    assert!(!text.contains("helm.sh") && !text.contains("Helm"), "{text}");
}
