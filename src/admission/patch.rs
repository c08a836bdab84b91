//! Changes to our label and annotations as a JSON Patch, as small as it can be.

use std::collections::BTreeMap;

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, jsonptr::PointerBuf};
use serde_json::Value;

use crate::defrag::{
    defaulting::Change,
    keys::{ENABLED, PREFIX},
    statefulset::StatefulSet,
};

/// The patch that enrols an `object` without the label; empty where it has one.
#[must_use]
pub fn enabled(object: &StatefulSet) -> Patch {
    let add = |path: PointerBuf, value: Value| Patch(vec![PatchOperation::Add(AddOperation { path, value })]);
    match &object.metadata.labels {
        None => {
            let labels = serde_json::Map::from_iter([(ENABLED.to_owned(), "true".into())]);
            add(PointerBuf::from_tokens(["metadata", "labels"]), labels.into())
        }
        Some(labels) if !labels.contains_key(ENABLED) => {
            add(PointerBuf::from_tokens(["metadata", "labels", ENABLED]), "true".into())
        }
        Some(_) => Patch::default(),
    }
}

/// The patch that applies `changes` to `object`; empty if it has them already.
///
/// A change to an annotation that is not ours is ignored.
#[must_use]
pub fn annotations(object: &StatefulSet, changes: &[Change]) -> Patch {
    let wanted: BTreeMap<&str, Option<&str>> = changes
        .iter()
        .filter(|change| change.annotation.starts_with(PREFIX))
        .map(|change| (change.annotation, change.value.as_deref()))
        .collect();
    let Some(present) = &object.metadata.annotations else {
        let all: serde_json::Map<String, Value> =
            wanted.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))).collect();
        if all.is_empty() {
            return Patch::default();
        }
        let path = PointerBuf::from_tokens(["metadata", "annotations"]);
        return Patch(vec![PatchOperation::Add(AddOperation { path, value: all.into() })]);
    };
    let operations = wanted.into_iter().filter_map(|(key, value)| {
        let path = PointerBuf::from_tokens(["metadata", "annotations", key]);
        match (present.get(key), value) {
            (None, Some(value)) => Some(PatchOperation::Add(AddOperation { path, value: value.into() })),
            (Some(found), Some(value)) if found != value => {
                Some(PatchOperation::Replace(ReplaceOperation { path, value: value.into() }))
            }
            (Some(_), None) => Some(PatchOperation::Remove(RemoveOperation { path })),
            (Some(_), Some(_)) | (None, None) => None,
        }
    });
    Patch(operations.collect())
}
