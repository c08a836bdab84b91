//! The plain manifests under other names and in another namespace, by the Kustomize in kubectl.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::{Value, json};

use super::support::{NAMESPACE, RELEASE, find, objects};
use harness::bin_dir;

/// The example of an overlay.
pub(crate) const OVERLAY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/overlay");
/// Its namespace and the name that things have in it.
pub(crate) const ELSEWHERE: &str = "etcd-care";
pub(crate) const RENAMED: &str = "team-etcd-defrag-webhook";

fn kustomize(folder: &str) -> Vec<Value> {
    let output = Command::new(bin_dir().join("kubectl")).args(["kustomize", folder]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    objects(&String::from_utf8(output.stdout).unwrap())
}

/// All texts of an object, each with its place, but those of the definition and of comments.
fn texts(place: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((place.to_owned(), text.clone())),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                texts(&format!("{place}/{index}"), item, found);
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                texts(&format!("{place}/{key}"), field, found);
            }
        }
        _ => {}
    }
}

/// Nothing of the old namespace is left, and the old name only where it stays on purpose.
#[test]
fn an_overlay_moves_everything() {
    let rendered = kustomize(OVERLAY);
    let mut kept = BTreeSet::new();
    for object in rendered.iter().filter(|object| object["kind"] != "CustomResourceDefinition") {
        let mut found = Vec::new();
        texts("", object, &mut found);
        for (place, text) in found {
            assert!(!text.contains(NAMESPACE), "{} {place}: {text}", object["kind"]);
            let old = text.contains(RELEASE) && !text.contains(RENAMED);
            // The webhooks' names and the conditions are no names of objects.
            if old
                && !place.contains("/labels/")
                && !place.contains("/matchLabels/")
                && !place.starts_with("/webhooks/")
            {
                // Which one of a list it is does not matter.
                let place = place.split('/').map(|part| if part.parse::<usize>().is_ok() { "*" } else { part });
                let place = place.collect::<Vec<_>>().join("/");
                kept.insert(format!("{} {place} {text}", object["kind"].as_str().unwrap()));
            }
        }
    }
    insta::assert_snapshot!(kept.into_iter().collect::<Vec<_>>().join("\n"));
}

/// The process finds its Service and its registrations by the names that they have, and may patch those.
#[test]
fn the_process_of_an_overlay_knows_its_names() {
    let rendered = kustomize(OVERLAY);
    let deployment = find(&rendered, &format!("Deployment {RENAMED}"));
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let service =
        container["env"].as_array().unwrap().iter().find(|variable| variable["name"] == "SERVICE_NAME").unwrap();
    assert_eq!(service["value"], RENAMED);
    assert!(container["image"].as_str().unwrap().starts_with("registry.example/etcd-defrag-webhook:"));
    // Jobs of our own engine run the same.
    let own = container["env"].as_array().unwrap().iter().find(|variable| variable["name"] == "OWN_IMAGE").unwrap();
    assert_eq!(own["valueFrom"]["fieldRef"]["fieldPath"], "metadata.annotations['etcd-defrag.io/own-image']");
    let noted = &deployment["spec"]["template"]["metadata"]["annotations"]["etcd-defrag.io/own-image"];
    assert_eq!(*noted, container["image"]);
    assert_eq!(find(&rendered, &format!("Service {RENAMED}"))["metadata"]["namespace"], ELSEWHERE);
    let rules = find(&rendered, &format!("ClusterRole {RENAMED}"))["rules"].as_array().unwrap();
    let own = rules.iter().find(|rule| rule["apiGroups"] == json!(["admissionregistration.k8s.io"])).unwrap();
    assert_eq!(own["resourceNames"], json!([RENAMED]));
    for kind in ["Mutating", "Validating"] {
        let configuration = find(&rendered, &format!("{kind}WebhookConfiguration {RENAMED}"));
        for webhook in configuration["webhooks"].as_array().unwrap() {
            let service = &webhook["clientConfig"]["service"];
            assert_eq!((&service["name"], &service["namespace"]), (&json!(RENAMED), &json!(ELSEWHERE)));
            let selector = &webhook["namespaceSelector"];
            if *selector != json!({}) {
                assert_eq!(selector["matchExpressions"][0]["values"], json!(["kube-system", ELSEWHERE]));
            }
        }
    }
}

/// Without an overlay Kustomize changes nothing but the image's tag, order aside.
#[test]
fn the_base_is_what_the_files_say() {
    let base = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests");
    let rendered = kustomize(base);
    let read = |file: &str| fs::read_to_string(format!("{base}/{file}")).unwrap();
    let kustomization: Value = serde_saphyr::from_str(&read("kustomization.yaml")).unwrap();
    let files = kustomization["resources"].as_array().unwrap().iter().map(|file| read(file.as_str().unwrap()));
    let written: Vec<Value> = files.flat_map(|text| objects(&text)).collect();
    let sorted = |objects: &[Value]| {
        let mut texts: Vec<String> = objects.iter().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    assert_eq!(sorted(&rendered), sorted(&written));
}
