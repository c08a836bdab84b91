//! What the chart has of the code is what the code says. `UPDATE_MANIFESTS=1 cargo test --test manifests` writes it anew;
//! the plain manifests are rendered from the chart (tests/chart).

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, but not the helpers of tests")]

use etcd_defrag_webhook::{admission::floor, defrag::policy};

const HEAD: &str = "\
# Generated: `UPDATE_MANIFESTS=1 cargo test --test manifests` writes it from the code, and
";

#[test]
fn the_definition_of_the_policy_is_what_the_types_say() {
    let text = serde_saphyr::to_string(&policy::crd()).unwrap();
    let expected = format!("{HEAD}# `etcd-defrag-webhook crd` prints the same.\n---\n{}\n", text.trim_end());
    in_step("defragpolicies.crd.yaml", &expected);
}

#[test]
fn the_floor_is_what_the_code_says() {
    let (admission, binding) = floor::floor(&policy::Policy::built_in(), None);
    let options = || serde_saphyr::ser_options! { min_fold_chars: usize::MAX, folded_wrap_chars: usize::MAX };
    let documents = [
        serde_saphyr::to_string_with_options(&admission, options()).unwrap(),
        serde_saphyr::to_string_with_options(&binding, options()).unwrap(),
    ];
    let documents = documents.map(|text| format!("---\n{}\n", text.trim_end())).concat();
    in_step("admission-policy.yaml", &format!("{HEAD}# `etcd-defrag-webhook vap` prints the same.\n{documents}"));
}

fn in_step(file: &str, expected: &str) {
    let file = format!("{}/deploy/chart/etcd-defrag-webhook/files/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, expected, "run UPDATE_MANIFESTS=1 cargo test --test manifests --test chart");
}
