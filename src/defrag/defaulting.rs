//! What the mutating webhook fills in: values that the policy gives, as visible annotations.

use super::{policy::Policy, statefulset::StatefulSet};

/// A change to one annotation of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The whole annotation key, prefix included.
    pub annotation: String,
    /// The new value; `None` removes it.
    pub value: Option<String>,
}

/// The changes that make `object` carry what the policy gives. Empty when there is nothing to change.
#[must_use]
pub fn changes(_object: &StatefulSet, _old: Option<&StatefulSet>, _policy: &Policy) -> Vec<Change> {
    Vec::new()
}
