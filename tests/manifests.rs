//! What the chart has of the code is what the code says. `UPDATE_MANIFESTS=1 cargo test --test manifests` writes it anew;
//! the plain manifests are rendered from the chart (tests/chart).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the lints know test functions, but not the helpers of tests"
)]

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

/// Every right of the process, by the name of the object where it ends at one, and what needs it. A rule that is not here, or
/// that nothing needs any more, fails the test; `tests/e2e` runs `serve` with these rights and no others.
const RIGHTS: [(&str, &str, &str, &str); 19] = [
    ("statefulsets", "", "get list watch", "the watch; the live object before anything is deleted or started"),
    ("cronjobs", "", "get list watch", "the watch; the live object before it is written to"),
    ("cronjobs", "", "create patch delete", "made and repaired by server-side apply; removed"),
    (
        "cronjobs/status",
        "",
        "patch",
        "a run on request is entered among the active ones; missed runs are forgotten after a pause",
    ),
    ("jobs", "", "list watch", "runs under way and ended"),
    ("jobs", "", "create", "a run on request or on demand"),
    ("pods", "", "list", "what a run did, and why one failed"),
    ("events", "", "create", "Events of StatefulSets"),
    ("events", "", "list", "why a run does not start"),
    ("defragpolicies", "", "list watch", "the policies"),
    ("defragpolicies/status", "", "patch", "their status"),
    ("namespaces", "", "list watch", "the labels that policies select by"),
    ("reports", "", "get list watch create patch delete", "reports of compliance"),
    ("policyreports", "", "get list watch create patch delete", "the same of the older kind"),
    (
        "mutatingwebhookconfigurations validatingwebhookconfigurations",
        "etcd-defrag-webhook",
        "list watch patch",
        "the CA bundle, with a certificate of our own making",
    ),
    ("leases", "etcd-defrag-webhook", "get update", "the election"),
    ("leases", "", "create", "the first election"),
    ("configmaps", "etcd-defrag-webhook-pause", "list watch", "whether the fleet is paused"),
    ("secrets", "etcd-defrag-webhook-tls", "list watch update", "the certificate of our own making"),
];

#[test]
fn the_process_has_the_rights_that_are_listed_and_no_others() {
    let mut found = std::collections::BTreeSet::new();
    for rule in rules() {
        let words = |field: &str| texts(&rule, field).join(" ");
        assert_eq!(rule["nonResourceURLs"], serde_json::Value::Null);
        found.insert((words("resources"), words("resourceNames"), words("verbs")));
    }
    // Only what has no name yet is made without one.
    assert!(found.remove(&("secrets".to_owned(), String::new(), "create".to_owned())), "{found:#?}");
    let listed = RIGHTS.map(|(of, name, verbs, _)| (of.to_owned(), name.to_owned(), verbs.to_owned()));
    assert_eq!(found, listed.into());
}

#[test]
fn the_threat_model_names_every_right_of_the_process() {
    let model = read("docs/threat-model.md").to_lowercase();
    let (_, rows) = model.split_once("## the process itself, taken over").unwrap();
    let rights: Vec<&str> = rows.lines().filter_map(|row| row.strip_prefix("| ")?.split('|').next()).collect();
    let mut seen = 0;
    for rule in rules() {
        for (resource, verb) in texts(&rule, "resources")
            .iter()
            .flat_map(|one| texts(&rule, "verbs").into_iter().map(move |verb| (one, verb)))
        {
            let words = match resource.split_once('/') {
                Some((of, sub)) => format!("{sub} of {of}"),
                None => resource.clone(),
            };
            assert!(rights.iter().any(|row| row.contains(&words) && row.contains(&verb)), "{verb} {resource}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} rights");
}

/// The rules that the process has, of all its roles.
fn rules() -> Vec<serde_json::Value> {
    let mut rules = Vec::new();
    for document in read("deploy/manifests/10-rbac.yaml").split("\n---\n") {
        let object: serde_json::Value = serde_saphyr::from_str(document).unwrap();
        if object["metadata"]["name"] == "etcd-defrag-webhook" {
            rules.extend(object["rules"].as_array().into_iter().flatten().cloned());
        }
    }
    rules
}

fn texts(rule: &serde_json::Value, field: &str) -> Vec<String> {
    serde_json::from_value::<Option<Vec<String>>>(rule[field].clone()).unwrap().unwrap_or_default()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn in_step(file: &str, expected: &str) {
    let file = format!("{}/deploy/chart/etcd-defrag-webhook/files/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(found, expected, "run UPDATE_MANIFESTS=1 cargo test --test manifests --test chart");
}

/// Documents say what holds and name the test that shows it; a test that was renamed would leave a promise without one.
#[test]
fn each_test_that_the_documents_name_is_there() {
    let mut code = String::new();
    for folder in ["src", "tests", "examples"] {
        gather(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut code);
    }
    let (mut seen, mut missing) = (0, Vec::new());
    for document in ["docs/architecture.md", "docs/break-glass.md", "docs/policies.md", "docs/threat-model.md"] {
        let text = read(document);
        // Every other part is between backquotes.
        for name in text.split('`').skip(1).step_by(2) {
            // Names of tests are sentences; metrics are not functions.
            let sentence = name.matches('_').count() > 2
                && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
            if !sentence || name.starts_with("etcd_") || name.starts_with("apiserver_") {
                continue;
            }
            seen += 1;
            if !code.contains(&format!("fn {name}(")) {
                missing.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(seen > 50, "{seen} tests");
}

fn gather(folder: &std::path::Path, code: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, code);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            code.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}
