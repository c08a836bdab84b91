//! What the chart has of the code is what the code says. `UPDATE_MANIFESTS=1 cargo test --test manifests` writes it anew;
//! the plain manifests are rendered from the chart (tests/chart).

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, but not the helpers of tests")]

use etcd_defrag_webhook::{admission::vap, defrag::policy};

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
    let (admission, binding) = vap::policy_and_binding(&policy::Policy::built_in(), None);
    let options = || serde_saphyr::ser_options! { min_fold_chars: usize::MAX, folded_wrap_chars: usize::MAX };
    let documents = [
        serde_saphyr::to_string_with_options(&admission, options()).unwrap(),
        serde_saphyr::to_string_with_options(&binding, options()).unwrap(),
    ];
    let documents = documents.map(|text| format!("---\n{}\n", text.trim_end())).concat();
    in_step("admission-policy.yaml", &format!("{HEAD}# `etcd-defrag-webhook vap` prints the same.\n{documents}"));
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
    let file = format!("{}/deploy/chart/etcd-defrag-webhook/files/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, expected, "run UPDATE_MANIFESTS=1 cargo test --test manifests --test chart");
}
