//! What of `job` Kubernetes refuses: it is ignored, with a finding, and everything else of the policy holds.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    Code, Compiled, Severity, api, compile,
    tests::{compiled, policy},
};

/// Values of `job` with the fields of their findings.
fn refused() -> Vec<(Value, Vec<&'static str>)> {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let node = |requirement: Value| json!({"nodeSelectorTerms": [{"matchExpressions": [requirement]}]});
    let pods = |term: Value| json!({"podAntiAffinity": {REQUIRED: [term]}});
    vec![
        (json!({"image": "ghcr.io/ahrtr/etcd-defrag:v0.42.0 "}), vec!["image"]),
        (json!({"image": "Ghcr.io/X/Y:1"}), vec!["image"]),
        (json!({"image": "https://ghcr.io/x"}), vec!["image"]),
        (json!({"serviceAccountName": "Bad_Name"}), vec!["serviceAccountName"]),
        (json!({"priorityClassName": "Bad_Name"}), vec!["priorityClassName"]),
        (json!({"runtimeClassName": "Gvisor!"}), vec!["runtimeClassName"]),
        (json!({"imagePullSecrets": [{"name": "fine"}, {"name": "Bad_Name"}]}), vec!["imagePullSecrets[1].name"]),
        (json!({"nodeSelector": {"bad key!": "x"}}), vec!["nodeSelector[bad key!]"]),
        (json!({"nodeSelector": {"a": "x y"}}), vec!["nodeSelector[a]"]),
        (json!({"podLabels": {"a b": "c"}}), vec!["podLabels[a b]"]),
        (json!({"podLabels": {"a": "x y"}}), vec!["podLabels[a]"]),
        (json!({"podAnnotations": {"a b": "any text"}}), vec!["podAnnotations[a b]"]),
        (json!({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}), vec!["tolerations[0].value"]),
        (json!({"tolerations": [{"key": "a", "operator": "exists"}]}), vec!["tolerations[0].operator"]),
        (
            json!({"tolerations": [{"operator": "Equal", "effect": "NoSchedul"}]}),
            vec!["tolerations[0].operator", "tolerations[0].effect"],
        ),
        (json!({"tolerations": [{"key": "a b"}]}), vec!["tolerations[0].key"]),
        (json!({"tolerations": [{"key": "a", "value": "b c"}]}), vec!["tolerations[0].value"]),
        (json!({"tolerations": [{"key": "a", "operator": "Gt", "value": "x"}]}), vec!["tolerations[0].value"]),
        (json!({"tolerations": [{"key": "a", "tolerationSeconds": 5}]}), vec!["tolerations[0].effect"]),
        (
            json!({"topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
                {"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Never", "nodeTaintsPolicy": "no"},
                {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 0},
                {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
                {"maxSkew": 1, "topologyKey": "host", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["a"]},
            ]}),
            vec![
                "topologySpreadConstraints[1].maxSkew",
                "topologySpreadConstraints[1].topologyKey",
                "topologySpreadConstraints[1].whenUnsatisfiable",
                "topologySpreadConstraints[1].nodeTaintsPolicy",
                "topologySpreadConstraints[2].minDomains",
                "topologySpreadConstraints[2].minDomains",
                "topologySpreadConstraints[4].matchLabelKeys",
                "topologySpreadConstraints",
            ],
        ),
        (
            json!({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}}),
            vec!["affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"],
        ),
        (
            json!({"affinity": {"nodeAffinity": {REQUIRED: node(json!({"key": "a", "operator": "in", "values": ["b"]}))}}}),
            vec![
                "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator",
            ],
        ),
        (
            json!({"affinity": {"nodeAffinity": {REQUIRED: node(json!({"key": "a b", "operator": "Gt", "values": []}))}}}),
            vec![
                "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values",
                "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key",
            ],
        ),
        (
            json!({"affinity": {"nodeAffinity": {PREFERRED: [{"weight": 0, "preference": {"matchFields": [{"key": "name", "operator": "In", "values": ["a"]}]}}]}}}),
            vec![
                "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight",
                "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchFields[0].key",
            ],
        ),
        (
            json!({"affinity": pods(json!({"topologyKey": "", "labelSelector": {"matchLabels": {"a": "b c"}}}))}),
            vec![
                "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchLabels[a]",
                "affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
            ],
        ),
        (
            json!({"affinity": {"podAffinity": {PREFERRED: [{"weight": 101, "podAffinityTerm": {"topologyKey": "zone", "namespaces": ["A"]}}]}}}),
            vec![
                "affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight",
                "affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.namespaces[0]",
            ],
        ),
        (json!({"resources": {"limits": {"memory": "64m"}}}), vec!["resources.limits[memory]"]),
        (json!({"resources": {"requests": {"memory": "0.5"}}}), vec!["resources.requests[memory]"]),
        (json!({"resources": {"limits": {"memory": "64k"}}}), vec!["resources.limits[memory]"]),
        (json!({"resources": {"limits": {"foo": "1"}}}), vec!["resources.limits[foo]"]),
        (json!({"resources": {"limits": {"example.com/gpu": "500m"}}}), vec!["resources.limits[example.com/gpu]"]),
        (json!({"resources": {"requests": {"example.com/gpu": "1"}}}), vec!["resources.requests[example.com/gpu]"]),
        (
            json!({"resources": {"requests": {"cpu": "201m", "memory": "256Mi"}, "limits": {"cpu": "0.2", "memory": "128Mi"}}}),
            vec!["resources.requests[cpu]", "resources.requests[memory]"],
        ),
    ]
}

fn fields(compiled: &Compiled) -> Vec<String> {
    compiled.findings.iter().map(|finding| finding.field.to_string()).collect()
}

#[test]
fn what_kubernetes_refuses_of_a_job_is_found_where_it_is_written() {
    let mut page = String::new();
    for (job, expected) in refused() {
        let compiled = compiled(&json!({"job": job}));
        assert!(!compiled.is_valid(), "{job}");
        let expected: Vec<String> = expected.iter().map(|field| format!("spec.job.{field}")).collect();
        assert_eq!(fields(&compiled), expected, "{job}");
        let _ = writeln!(page, "{job}");
        for finding in &compiled.findings {
            assert!(finding.message.contains("Until that is fixed"), "{}", finding.message);
            let _ = writeln!(page, "  {}\n  {}: {}", finding.brief, finding.field, finding.message);
        }
        page.push('\n');
    }
    insta::assert_snapshot!(page);
}

/// Decision 6: a value that is refused takes nothing else with it.
#[test]
fn what_is_refused_is_left_out_and_nothing_else_is() {
    let sound = json!({
        "image": "registry.example/etcd-defrag:v0.42.0",
        "serviceAccountName": "defrag",
        "priorityClassName": "low",
        "runtimeClassName": "gvisor",
        "imagePullSecrets": [{"name": "pull"}],
        "nodeSelector": {"pool": "system"},
        "podLabels": {"team": "storage"},
        "podAnnotations": {"Example.com/note": "any text"},
        "tolerations": [{"key": "system", "operator": "Exists"}, {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi", "example.com/gpu": "1"},
            "limits": {"cpu": "0.1", "memory": "64Mi", "example.com/gpu": "1", "hugepages-2Mi": "4Mi"},
        },
    });
    let whole = policy(&json!({"job": sound}));
    for (job, _) in refused() {
        let mut with = sound.clone();
        for (field, value) in job.as_object().unwrap() {
            match (with.get_mut(field), value) {
                (Some(Value::Array(items)), Value::Array(more)) => items.extend(more.iter().cloned()),
                (Some(Value::Object(entries)), Value::Object(more)) if field != "resources" => {
                    entries.extend(more.clone());
                }
                _ => with[field] = value.clone(),
            }
        }
        let found = compiled(&json!({"job": with, "limits": {"minInterval": "6h"}}));
        assert!(!found.is_valid(), "{job}");
        assert_eq!(found.policy.limits.min_interval.as_secs(), 6 * 3600, "{job}");
        let (before, after) = (&whole.job.shape, &found.policy.job.shape);
        let expected = |field: &str| job.get(field).is_none();
        assert!(!expected("image") && after.image.is_none() || after.image == before.image, "{job}");
        for (field, before, after) in [
            ("serviceAccountName", &before.service_account_name, &after.service_account_name),
            ("priorityClassName", &before.priority_class_name, &after.priority_class_name),
            ("runtimeClassName", &before.runtime_class_name, &after.runtime_class_name),
        ] {
            assert_eq!(after.is_none(), !expected(field), "{job}");
            assert!(after.is_none() || before == after, "{job}");
        }
        assert_eq!(before.pod_annotations, after.pod_annotations, "{job}");
        assert_eq!(before.node_selector, after.node_selector, "{job}");
        assert_eq!(before.pod_labels, after.pod_labels, "{job}");
        assert_eq!(before.tolerations, after.tolerations, "{job}");
        assert!(after.image_pull_secrets.starts_with(&before.image_pull_secrets), "{job}");
        assert!(after.topology_spread_constraints.starts_with(&before.topology_spread_constraints), "{job}");
    }
    let above = compiled(
        &json!({"job": {"resources": {"requests": {"cpu": "10m", "memory": "256Mi"}, "limits": {"memory": "128Mi"}}}}),
    );
    let kept = &above.policy.job.resources;
    assert_eq!(kept.requests.as_ref().unwrap().keys().collect::<Vec<_>>(), ["cpu"]);
    assert_eq!(kept.limits.as_ref().unwrap()["memory"].0, "128Mi");
    let terms = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
        {"matchExpressions": [{"key": "zone", "operator": "Like"}]},
    ]}});
    let one = compiled(&json!({"job": {"affinity": {"nodeAffinity": terms}}}));
    let nodes = one.policy.job.shape.affinity.as_ref().unwrap().node_affinity.as_ref().unwrap();
    let required = nodes.required_during_scheduling_ignored_during_execution.as_ref().unwrap();
    assert_eq!(required.node_selector_terms.len(), 1);
}

#[test]
fn comparing_numbers_is_a_warning() {
    let compiled = compiled(&json!({"job": {"tolerations": [{"key": "a", "operator": "Gt", "value": "5"}]}}));
    assert!(compiled.is_valid());
    let finding = &compiled.findings[0];
    assert_eq!((finding.code, finding.severity), (Code::ValueInvalid, Severity::Warn));
    insta::assert_snapshot!(finding.message);
    assert_eq!(compiled.policy.job.shape.tolerations.len(), 1);
}

/// Whatever selects by a label that nothing has is reported, and holds as it is written: a policy that stopped to govern would
/// hand its etcds to another one.
#[test]
fn a_selector_of_labels_that_cannot_be_is_reported_and_holds() {
    let spec = json!({
        "selector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x y"]}]},
        "namespaceSelector": {"matchExpressions": [{"key": "bad key!", "operator": "DoesNotExist"}]},
    });
    let compiled = compiled(&spec);
    assert_eq!(
        fields(&compiled),
        ["spec.namespaceSelector.matchExpressions[0].key", "spec.selector.matchExpressions[0].values[0]"]
    );
    assert!(!compiled.is_valid() && compiled.selects(&super::Labels::new(), &super::Labels::new()));
    insta::assert_snapshot!(compiled.findings[0].message);
}

#[test]
fn the_job_of_an_empty_policy_is_untouched() {
    let default = api::DefragPolicy::default();
    let compiled = compile(&default, super::tests::now());
    assert_eq!((compiled.findings, &compiled.policy.job.shape), (vec![], &api::Job::default()));
}
