use std::fmt::Write as _;

use serde_json::json;

use super::*;
use crate::defrag::finding::Code;

#[path = "../../../tests/support/contradictions.rs"]
mod contradictions;

fn policy(spec: &Value) -> Value {
    json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "p"}, "spec": spec})
}

fn refused(policy: &Value) -> Vec<String> {
    let refusals = Definition::current().unwrap().refusals(policy);
    refusals.into_iter().map(|Refusal { field, why }| format!("{field}: {why}")).collect()
}

/// The same table is tried on a real API server, in `tests/e2e/policies.rs`.
#[test]
fn what_the_api_server_refuses_is_refused_in_its_words() {
    let prometheus = contradictions::unsafe_prometheus();
    let prometheus = prometheus.into_iter().map(|(value, words)| (json!({"metrics": {"prometheus": value}}), words));
    for (spec, words) in contradictions::contradictions().into_iter().chain(prometheus) {
        let refused = refused(&policy(&spec)).join("\n");
        assert!(refused.contains(words), "{spec} has to be refused with {words:?}: {refused:?}");
    }
}

#[test]
fn what_is_only_in_the_definition_becomes_a_finding_and_what_is_found_already_does_not() {
    let spec = json!({"job": {
        "image": "",
        "podLabels": {"etcd-defrag.io/mine": "x"},
        "podAnnotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"},
        "successfulJobsHistoryLimit": 101,
    }});
    let definition = Definition::current().unwrap();
    let found = definition.findings(&policy(&spec), &[]);
    let fields: Vec<String> = found.iter().map(|finding| finding.field.to_string()).collect();
    assert_eq!(fields, ["spec.job.image", "spec.job.successfulJobsHistoryLimit"], "the schema comes first");
    let known = [Finding::new(Code::ValueInvalid, "spec.job.successfulJobsHistoryLimit", "", "")];
    assert_eq!(definition.findings(&policy(&spec), &known).len(), 1);

    let mut sound = spec.clone();
    for field in ["image", "successfulJobsHistoryLimit"] {
        sound["job"].as_object_mut().unwrap().remove(field);
    }
    let found = definition.findings(&policy(&sound), &[]);
    let mut page = String::new();
    for finding in &found {
        let _ = writeln!(page, "{}\n{}\n{}\n", finding.field, finding.brief, finding.message);
    }
    insta::assert_snapshot!(page);
}

#[test]
fn a_sound_policy_is_not_refused_and_neither_is_one_as_it_is_stored() {
    assert_eq!(refused(&policy(&json!({}))), [""; 0]);
    let mut stored = policy(&json!({"job": {"priorityClassName": "low"}, "limits": {"minInterval": "6h"}}));
    stored["status"] = json!({"matched": 0, "compliant": 0, "violating": 0});
    assert_eq!(refused(&stored), [""; 0]);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/policies");
    let mut tried = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        for document in super::super::input::read(&[file.unwrap().path()], false).unwrap() {
            let document = document.open();
            assert_eq!(refused(&document.value), [""; 0], "{}", document.file());
            tried += 1;
        }
    }
    assert!(tried > 2, "{tried}");
}

#[test]
fn a_name_that_is_no_label_is_refused() {
    let mut long = policy(&json!({}));
    long["metadata"]["name"] = json!("x".repeat(64));
    assert_eq!(
        refused(&long),
        ["metadata.name: the name of a policy is used in labels and reports: write at most 63 characters"]
    );
}
