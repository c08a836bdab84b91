//! Patches change our annotations as asked and nothing besides.

use std::collections::BTreeMap;

use etcd_defrag_webhook::{
    admission::patch,
    defrag::{defaulting::Change, statefulset::StatefulSet},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixtures;

fn patched(object: &Value, changes: &[Change]) -> (usize, Value) {
    let lean: StatefulSet = serde_json::from_value(object.clone()).unwrap();
    let patch = patch::annotations(&lean, changes);
    let mut result = object.clone();
    json_patch::patch(&mut result, &patch).unwrap();
    (patch.len(), result)
}

/// Known keys are static; a test invents more.
fn leak(key: String) -> &'static str {
    Box::leak(key.into_boxed_str())
}

fn change(key: &str, value: Option<&str>) -> Change {
    Change { annotation: leak(format!("etcd-defrag.io/{key}")), value: value.map(str::to_owned) }
}

#[test]
fn absent_annotations_get_one_operation() {
    for annotations in [None, Some(json!(null)), Some(json!({}))] {
        let mut object = json!({"metadata": {"name": "etcd"}, "spec": {"unknown": [1, 2]}});
        if let Some(annotations) = annotations {
            object["metadata"]["annotations"] = annotations;
        }
        let (operations, result) = patched(&object, &[change("schedule", Some("0 0 * * *")), change("rule", None)]);
        assert_eq!(operations, 1);
        assert_eq!(result["metadata"]["annotations"], json!({"etcd-defrag.io/schedule": "0 0 * * *"}));
        assert_eq!(result["spec"], object["spec"]);
        assert_eq!(patched(&object, &[change("rule", None)]), (0, object.clone()));
    }
}

#[test]
fn operations_say_what_they_do() {
    let object: StatefulSet = serde_json::from_value(fixtures::annotated(&[
        ("etcd-defrag.io/rule", "old"),
        ("etcd-defrag.io/free-above", "1Gi"),
        ("etcd-defrag.io/suspend", "true"),
    ]))
    .unwrap();
    let changes = [
        change("rule", Some("new")),
        change("free-above", None),
        change("suspend", Some("true")),
        change("time-zone", Some("Europe/Berlin")),
        Change { annotation: "example.com/owner", value: None },
    ];
    let patch = serde_json::to_string_pretty(&patch::annotations(&object, &changes)).unwrap();
    insta::assert_snapshot!(patch, @r#"
    [
      {
        "op": "remove",
        "path": "/metadata/annotations/etcd-defrag.io~1free-above"
      },
      {
        "op": "replace",
        "path": "/metadata/annotations/etcd-defrag.io~1rule",
        "value": "new"
      },
      {
        "op": "add",
        "path": "/metadata/annotations/etcd-defrag.io~1time-zone",
        "value": "Europe/Berlin"
      }
    ]
    "#);
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-c~/]{1,3}".prop_map(|name| format!("etcd-defrag.io/{name}")),
        1 => "[a-c~/]{1,4}",
        1 => "\\PC{1,6}",
    ]
}

proptest! {
    #[test]
    fn the_result_is_the_change_and_nothing_else(
        before in proptest::option::of(proptest::collection::btree_map(key(), "\\PC{0,4}", 0..6)),
        changes in proptest::collection::vec((key(), proptest::option::of("\\PC{0,4}")), 0..6),
    ) {
        let mut object = fixtures::etcd();
        object["metadata"]["annotations"] = json!(before);
        if before.is_none() {
            object["metadata"].as_object_mut().unwrap().remove("annotations");
        }
        let mut expected: BTreeMap<String, String> = before.clone().unwrap_or_default();
        for (key, value) in changes.iter().filter(|(key, _)| key.starts_with("etcd-defrag.io/")) {
            match value {
                Some(value) => expected.insert(key.clone(), value.clone()),
                None => expected.remove(key),
            };
        }
        let changes: Vec<Change> =
            changes.into_iter().map(|(annotation, value)| Change { annotation: leak(annotation), value }).collect();
        let (operations, mut result) = patched(&object, &changes);
        let annotations = result["metadata"]["annotations"].clone();
        prop_assert_eq!(serde_json::from_value::<Option<BTreeMap<String, String>>>(annotations).unwrap().unwrap_or_default(), expected.clone());
        prop_assert_eq!(operations == 0, expected == before.clone().unwrap_or_default());
        // A second time there is nothing left to do.
        prop_assert_eq!(patched(&result, &changes).0, 0);
        for side in [&mut object, &mut result] {
            side["metadata"].as_object_mut().unwrap().remove("annotations");
        }
        prop_assert_eq!(object, result);
    }
}
