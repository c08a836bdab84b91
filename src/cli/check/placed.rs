//! Checks over all of the input: settings in places that are not read, and StatefulSets that are defined twice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::{
    cli::input::{Document, Kept, join},
    defrag::{
        finding::{Code, Finding},
        keys::name_of,
        labelled_in_vain, settings,
        statefulset::StatefulSet,
    },
};

/// Kinds whose labels others select by, or that are ours.
const LEFT_OUT: [&str; 2] = ["Namespace", "DefragPolicy"];

/// What the StatefulSets of the input carry, and where each one is.
pub(super) struct Placed {
    /// Labels and annotations of ours, with their values.
    read: BTreeSet<(String, String)>,
    /// The place of each one, by namespace and name.
    places: BTreeMap<(String, String), String>,
}

impl Placed {
    pub(super) fn of(objects: &[Kept]) -> Self {
        let mut read = BTreeSet::new();
        let is_one = |kept: &&Kept| kept.kind().1 == Some("StatefulSet");
        // Only others are compared with them.
        let statefulsets = if objects.iter().all(|kept| is_one(&kept)) { &[] } else { objects };
        for document in statefulsets.iter().filter(is_one).map(Kept::open) {
            let Some(meta) = document.value.get("metadata") else { continue };
            let maps = [meta.get("labels"), meta.get("annotations")].into_iter().flatten();
            let ours = maps.filter_map(Value::as_object).flatten().filter(|(key, _)| name_of(key).is_some());
            read.extend(ours.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))));
        }
        Self { read, places: BTreeMap::new() }
    }

    /// The findings of an object that is not a StatefulSet.
    pub(super) fn other(&self, kind: &str, document: &Document, object: &StatefulSet) -> Option<Finding> {
        // What a controller made of a template says nothing that the template does not say.
        let is_made = document.value.pointer("/metadata/ownerReferences").is_some_and(|owners| !owners.is_null());
        if is_made || LEFT_OUT.contains(&kind) {
            return None;
        }
        labelled_in_vain(kind, object, |key, value| self.read.contains(&(key.to_owned(), value.to_owned())))
    }

    /// The findings of a StatefulSet that depend on other objects of the input, and on fields that are never decoded. A
    /// duplicate of a StatefulSet without our keys is not reported.
    pub(super) fn statefulset(&mut self, document: &Document, object: &StatefulSet, concerns_us: bool) -> Vec<Finding> {
        let mut findings = stray(&document.value);
        findings.extend(self.twice(document, object).filter(|_| concerns_us));
        findings
    }

    /// Names are unique in a namespace: the second replaces the first.
    fn twice(&mut self, document: &Document, object: &StatefulSet) -> Option<Finding> {
        let place = format!("{}:{}", document.file(), document.line("metadata.name"));
        let key = (object.namespace().to_owned(), object.name().to_owned());
        let first = self.places.get(&key);
        let Some(first) = first else {
            self.places.insert(key, place);
            return None;
        };
        let name = format!("{}/{}", object.namespace(), object.name());
        Some(Finding::new(
            Code::StatefulSetTwice,
            "metadata.name",
            format!("the StatefulSet {name} is at {first} already"),
            format!(
                "The StatefulSet {name} at {place} is at {first} already. A cluster has only one StatefulSet of a name, so the one that is \
                 applied last replaces the other, and settings that only one of them has may be lost. Rename or remove one, or check the manifests of each cluster separately."
            ),
        ))
    }
}

/// Keys of ours in fields that hold neither labels nor annotations, such as `metadata.annotation`.
fn stray(object: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, pointer) in [("", ""), ("metadata", "/metadata"), ("spec", "/spec"), ("spec.template", "/spec/template")]
    {
        let Some(fields) = object.pointer(pointer).and_then(Value::as_object) else { continue };
        findings.extend(settings::in_field(path, &ours(fields)));
        for (name, field) in fields {
            let is_read_as_such = matches!(
                (path, name.as_str()),
                ("metadata", "labels" | "annotations") | ("", "metadata" | "spec") | ("spec", "template")
            );
            if let Some(field) = field.as_object().filter(|_| !is_read_as_such) {
                findings.extend(settings::in_field(&join(path, name), &ours(field)));
            }
        }
    }
    findings
}

fn ours(fields: &Map<String, Value>) -> Vec<&str> {
    fields.keys().map(String::as_str).filter(|key| name_of(key).is_some()).collect()
}
