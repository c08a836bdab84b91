//! Generated manifests are what the code says. `UPDATE_MANIFESTS=1 cargo test` writes them anew.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, but not the helpers of tests")]

use etcd_defrag_webhook::{
    admission::{
        floor,
        registration::{Registration, Target},
    },
    defrag::policy,
};

const CRD_HEAD: &str = "\
# Generated: `UPDATE_MANIFESTS=1 cargo test --test manifests` writes it from src/defrag/policy; `etcd-defrag-webhook crd`
# prints the same.
---
";
const HEAD: &str = "\
# Generated: `UPDATE_MANIFESTS=1 cargo test --test manifests` writes it from src/admission/registration.rs.
# The caBundle is filled in by cert-manager, or by hand: docs/install.md.
";

const FLOOR_HEAD: &str = "\
# Optional, and not in kustomization.yaml: what CEL can check of our keys, for while the webhook is gone. docs/policies.md.
# Generated: `UPDATE_MANIFESTS=1 cargo test --test manifests` writes it from src/admission/floor.rs; `etcd-defrag-webhook vap`
# prints the same, and with --policy the one of a DefragPolicy.
";

#[test]
fn the_webhook_manifest_is_what_the_code_registers() {
    let namespace = "etcd-defrag-system".to_owned();
    let registration = Registration {
        target: Target::Service { namespace: namespace.clone(), name: "etcd-defrag-webhook".to_owned(), port: 443 },
        ca_bundle: None,
        own_namespace: Some(namespace),
    };
    let documents = [
        serde_saphyr::to_string(&registration.mutating()).unwrap(),
        serde_saphyr::to_string(&registration.validating()).unwrap(),
    ];
    let expected = format!("{HEAD}{}", documents.map(|text| format!("---\n{}\n", text.trim_end())).concat());
    in_step("30-webhooks.yaml", &expected);
}

#[test]
fn the_crd_manifest_is_what_the_types_say() {
    let text = serde_saphyr::to_string(&policy::crd()).unwrap();
    in_step("05-defragpolicies.crd.yaml", &format!("{CRD_HEAD}{}\n", text.trim_end()));
}

#[test]
fn the_floor_manifest_is_what_the_code_says() {
    let (admission, binding) = floor::floor(&policy::Policy::built_in(), None);
    let options = || serde_saphyr::ser_options! { min_fold_chars: usize::MAX, folded_wrap_chars: usize::MAX };
    let documents = [
        serde_saphyr::to_string_with_options(&admission, options()).unwrap(),
        serde_saphyr::to_string_with_options(&binding, options()).unwrap(),
    ];
    let expected = format!("{FLOOR_HEAD}{}", documents.map(|text| format!("---\n{}\n", text.trim_end())).concat());
    in_step("40-admission-policy.yaml", &expected);
}

#[test]
fn the_threat_model_names_every_right_of_the_process() {
    let read = |file: &str| std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let model = read("docs/threat-model.md").to_lowercase();
    let (_, rows) = model.split_once("## the process itself, taken over").unwrap();
    let rights: Vec<&str> = rows.lines().filter_map(|row| row.strip_prefix("| ")?.split('|').next()).collect();
    let mut seen = 0;
    for document in read("deploy/manifests/10-rbac.yaml").split("\n---\n") {
        let object: serde_json::Value = serde_saphyr::from_str(document).unwrap();
        if object["metadata"]["name"] != "etcd-defrag-webhook" {
            continue;
        }
        for rule in object["rules"].as_array().into_iter().flatten() {
            let texts = |field: &str| serde_json::from_value::<Vec<String>>(rule[field].clone()).unwrap();
            for (resource, verb) in
                texts("resources").iter().flat_map(|one| texts("verbs").into_iter().map(move |verb| (one, verb)))
            {
                let words = match resource.split_once('/') {
                    Some((of, sub)) => format!("{sub} of {of}"),
                    None => resource.clone(),
                };
                assert!(rights.iter().any(|row| row.contains(&words) && row.contains(&verb)), "{verb} {resource}");
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "{seen} rights");
}

fn in_step(file: &str, expected: &str) {
    let file = format!("{}/deploy/manifests/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, expected, "run UPDATE_MANIFESTS=1 cargo test --test manifests");
}
