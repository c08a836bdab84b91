use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::defrag::policy::{api::DefragPolicy, compile};

fn compiled(name: &str, spec: &Value) -> Arc<Compiled> {
    let object: DefragPolicy = serde_json::from_value(json!({
        "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy",
        "metadata": {"name": name, "generation": 3}, "spec": spec,
    }))
    .unwrap();
    Arc::new(compile(&object, Timestamp::UNIX_EPOCH))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn without_a_policy_the_built_in_one_governs() {
    let governing = PolicySet::default().govern(&labels(&[]), &labels(&[]));
    assert_eq!((governing.name(), &*governing.policy), (None, &Policy::built_in()));
    insta::assert_snapshot!(governing.why(), @"governed by the built-in policy, since no DefragPolicy selects it");
}

#[test]
fn the_highest_priority_wins_then_the_name() {
    let set = PolicySet::new([
        compiled("b", &json!({"priority": 5})),
        compiled("a", &json!({"priority": 5})),
        compiled("z", &json!({"priority": 7, "selector": {"matchLabels": {"tier": "gold"}}})),
        compiled("0", &json!({})),
        compiled("last", &json!({"priority": -1})),
    ]);
    let name = |pairs: &[(&str, &str)]| set.govern(&labels(&[]), &labels(pairs)).name().map(str::to_owned);
    assert_eq!(name(&[]).as_deref(), Some("a"));
    assert_eq!(name(&[("tier", "gold")]).as_deref(), Some("z"));
    let none = labels(&[]);
    let shadowed: Vec<_> = set.selecting(&none, &none).map(|policy| policy.name.as_str()).collect();
    assert_eq!(shadowed, ["a", "b", "0", "last"]);
    insta::assert_snapshot!(set.govern(&labels(&[]), &labels(&[])).why(), @"governed by DefragPolicy a (priority 5, the highest that selects it)");
}

#[test]
fn namespaces_select_too() {
    let set = PolicySet::new([compiled(
        "prod",
        &json!({"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}]}}),
    )]);
    let governs = |namespace: &str| {
        set.govern(&labels(&[("kubernetes.io/metadata.name", namespace)]), &labels(&[])).name().is_some()
    };
    assert!(governs("a") && governs("b") && !governs("c"));
}

#[test]
fn a_selector_that_cannot_be_read_selects_nothing() {
    for expression in [
        json!({"key": "a", "operator": "In"}),
        json!({"key": "a", "operator": "NotIn", "values": []}),
        json!({"key": "a", "operator": "Exists", "values": ["x"]}),
        json!({"key": "a", "operator": "Like", "values": ["x"]}),
    ] {
        let policy = compiled("p", &json!({"selector": {"matchExpressions": [expression]}}));
        assert!(!policy.is_valid() && !policy.selects(&labels(&[]), &labels(&[("a", "x")])), "{policy:?}");
        assert_eq!(policy.findings[0].field, "spec.selector.matchExpressions[0]".into());
    }
}

/// Kubernetes' own words on label selectors, as plainly as they can be written down.
fn model(selector: &Value, labels: &Labels) -> bool {
    let matches = selector["matchLabels"].as_object();
    let equal = matches.into_iter().flatten().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str());
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten().all(|expression| {
        let found = labels.get(expression["key"].as_str().unwrap());
        let listed = || {
            let values = expression["values"].as_array().unwrap();
            values.iter().any(|value| found.map(String::as_str) == value.as_str())
        };
        match expression["operator"].as_str().unwrap() {
            "In" => found.is_some() && listed(),
            "NotIn" => found.is_none() || !listed(),
            "Exists" => found.is_some(),
            _ => found.is_none(),
        }
    });
    equal && expressions
}

fn some_labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map("[ab]", "[xy]", 0..3)
}

fn some_selector() -> impl Strategy<Value = Value> {
    let expression = prop_oneof![
        ("[abc]", prop_oneof![Just("In"), Just("NotIn")], proptest::collection::vec("[xyz]", 1..3))
            .prop_map(|(key, operator, values)| json!({"key": key, "operator": operator, "values": values})),
        ("[abc]", prop_oneof![Just("Exists"), Just("DoesNotExist")])
            .prop_map(|(key, operator)| json!({"key": key, "operator": operator})),
    ];
    (some_labels(), proptest::collection::vec(expression, 0..2))
        .prop_map(|(labels, expressions)| json!({"matchLabels": labels, "matchExpressions": expressions}))
}

proptest! {
    #[test]
    fn one_policy_governs_as_the_model_says(
        policies in proptest::collection::btree_map("[a-e]", (-2..3_i32, some_selector(), some_selector()), 0..6),
        namespace in some_labels(),
        object in some_labels(),
    ) {
        let set = PolicySet::new(policies.iter().rev().map(|(name, (priority, of_namespace, of_object))| {
            compiled(name, &json!({"priority": priority, "namespaceSelector": of_namespace, "selector": of_object}))
        }));
        let mut expected: Vec<(i32, &str)> = policies
            .iter()
            .filter(|(_, (_, of_namespace, of_object))| model(of_namespace, &namespace) && model(of_object, &object))
            .map(|(name, (priority, ..))| (-priority, name.as_str()))
            .collect();
        expected.sort_unstable();
        let governing = set.govern(&namespace, &object);
        prop_assert_eq!(governing.name(), expected.first().map(|(_, name)| *name));
        let shadowed: Vec<&str> = set.selecting(&namespace, &object).map(|policy| policy.name.as_str()).collect();
        prop_assert_eq!(shadowed, expected.into_iter().map(|(_, name)| name).collect::<Vec<_>>());
    }
}
