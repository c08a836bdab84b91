//! Changes to our annotations as a JSON Patch, as small as it can be.

use std::collections::BTreeMap;

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, jsonptr::PointerBuf};
use serde_json::Value;

use crate::defrag::{defaulting::Change, keys::PREFIX, statefulset::StatefulSet};

/// The patch that makes `object` carry `changes`; empty where it does already.
///
/// A change to an annotation that is not ours is left out.
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
