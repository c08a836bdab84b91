//! One write of a StatefulSet, and what becomes of it.

use std::collections::BTreeSet;

use json_patch::Patch;

use super::review::Operation;
use crate::defrag::{
    finding::Finding,
    keys::{ENABLED, Key, PREFIX, name_of},
    policy::{Governing, Labels, PolicySnapshot},
    statefulset::StatefulSet,
};

/// One write of a StatefulSet.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// What is being done.
    pub operation: Operation,
    /// The object as it would be stored.
    pub object: &'a StatefulSet,
    /// The object as it is stored.
    pub old: Option<&'a StatefulSet>,
    /// Whether it is a write of the status, which can change labels and annotations too.
    pub of_status: bool,
}

/// The result of a write.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The findings that refuse it; empty where it may go on.
    pub refusals: Vec<Finding>,
    /// Warnings for the author of the write, each at most [`WARNING_LIMIT`](crate::defrag::finding::WARNING_LIMIT)
    /// characters.
    pub warnings: Vec<String>,
    /// What to change; only from [`Entry::Enroll`](super::Entry::Enroll) and
    /// [`Entry::Mutate`](super::Entry::Mutate).
    pub patch: Patch,
    /// What the audit annotation of the request says; see [`super::audit`].
    pub audit: Option<String>,
    /// All findings of the assessment.
    pub findings: Vec<Finding>,
}

impl Write<'_> {
    /// Whether the write changes one of our labels or annotations. A create does.
    #[must_use]
    pub fn concerns_us(&self) -> bool {
        match (self.operation, self.old) {
            (Operation::Create, _) | (_, None) => true,
            (_, Some(old)) => !ours(self.object).eq(ours(old)),
        }
    }

    /// Whether the write changes the label or an annotation that has a meaning: what the conditions of
    /// [`Entry::Validate`](super::Entry::Validate) look up. A create does.
    #[must_use]
    pub fn changes_known_keys(&self) -> bool {
        let (Operation::Update, Some(old)) = (self.operation, self.old) else { return true };
        self.object.label(ENABLED) != old.label(ENABLED)
            || Key::ALL.iter().any(|key| self.object.annotation(key.annotation()) != old.annotation(key.annotation()))
    }

    /// Whether it adds a label or an annotation under our prefix that has no meaning. Removing one does not count.
    #[must_use]
    pub fn brings_in_unknown_keys(&self) -> bool {
        let known = |label: bool, key: &str| {
            if label { key == ENABLED } else { name_of(key).and_then(Key::from_name).is_some() }
        };
        let before: BTreeSet<_> = self.old.into_iter().flat_map(ours).collect();
        ours(self.object).any(|one| !known(one.0, one.1) && !before.contains(&one))
    }
}

/// The labels and annotations of ours, labels first.
fn ours(object: &StatefulSet) -> impl Iterator<Item = (bool, &str, &str)> {
    let labels = object.metadata.labels.iter().flatten().map(|(key, value)| (true, key, value));
    let annotations = object.metadata.annotations.iter().flatten().map(|(key, value)| (false, key, value));
    labels
        .chain(annotations)
        .filter(|(_, key, _)| key.starts_with(PREFIX))
        .map(|(label, key, value)| (label, key.as_str(), value.as_str()))
}

/// The policy that governs an object.
pub(super) fn govern(snapshot: &PolicySnapshot, object: &StatefulSet) -> Governing {
    static NONE: Labels = Labels::new();
    snapshot.govern(object.namespace(), object.metadata.labels.as_ref().unwrap_or(&NONE))
}
