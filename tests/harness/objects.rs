//! Objects that many tests begin with.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::ControlPlane;

/// The StatefulSet of the example, in a namespace and under a name, with annotations of ours, given without the prefix.
pub fn example_etcd(namespace: &str, name: &str, annotations: &[(&str, &str)]) -> Value {
    let mut object: Value = serde_saphyr::from_str(include_str!("../../examples/kamaji-etcd.yaml"))
        .unwrap_or_else(|error| panic!("examples/kamaji-etcd.yaml: {error}"));
    object["metadata"]["namespace"] = json!(namespace);
    object["metadata"]["name"] = json!(name);
    // The members of the example have its name.
    let etcd = &mut object["spec"]["template"]["spec"]["containers"][0];
    if let Some(words) = etcd["command"].as_array_mut() {
        words.retain(|word| !word.as_str().is_some_and(|word| word.starts_with("--initial-cluster=")));
    }
    for (key, value) in annotations {
        object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
    }
    object
}

/// Makes a namespace of a test's own that enforces Pod Security "restricted"; returns its name.
pub fn make_namespace(plane: &ControlPlane, purpose: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("{purpose}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let manifest = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    plane.apply(&manifest.to_string());
    name
}
