//! `deploy/manifests/30-webhooks.yaml` is what the code registers. `UPDATE_MANIFESTS=1 cargo test` writes it anew.

use etcd_defrag_webhook::admission::registration::{Registration, Target};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests/30-webhooks.yaml");
const HEAD: &str = "\
# Generated: `UPDATE_MANIFESTS=1 cargo test --test manifests` writes it from src/admission/registration.rs.
# The caBundle is filled in by cert-manager, or by hand: docs/install.md.
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
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::write(FILE, &expected).unwrap();
    }
    let found = std::fs::read_to_string(FILE).unwrap_or_default();
    assert_eq!(found, expected, "run UPDATE_MANIFESTS=1 cargo test --test manifests");
}
