//! What the assessment has to know of a cluster besides the object: its policies and its namespaces.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Compiled, Governing, Labels, PolicySet};

/// The label that the API server gives to every namespace: its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A snapshot of policies and of the labels of namespaces, cheap to clone. Webhook and reconciler read the same.
#[derive(Clone, Debug, Default)]
pub struct PolicySnapshot {
    policies: PolicySet,
    namespaces: Arc<BTreeMap<String, Labels>>,
    exempt: Arc<BTreeSet<String>>,
}

impl PolicySnapshot {
    /// A snapshot of these policies, and of the labels of each namespace by its name.
    #[must_use]
    pub fn new(policies: PolicySet, namespaces: Arc<BTreeMap<String, Labels>>) -> Self {
        Self { policies, namespaces, exempt: Arc::default() }
    }

    /// The same, with excluded namespaces.
    #[must_use]
    pub fn with_exempt(self, exempt: Arc<BTreeSet<String>>) -> Self {
        Self { exempt, ..self }
    }

    /// Every policy.
    #[must_use]
    pub fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// Whether the labels of this namespace are known.
    #[must_use]
    pub fn knows(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    /// The namespaces that are new or have other labels than in the snapshot `before`.
    pub fn namespaces_new_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a str> {
        // Snapshots share what did not change.
        let same = Arc::ptr_eq(&self.namespaces, &before.namespaces);
        let changed = self.namespaces.iter().filter(|(name, labels)| before.namespaces.get(*name) != Some(labels));
        changed.map(|(name, _)| name.as_str()).filter(move |_| !same)
    }

    /// Every policy that selects an object with these labels in this namespace, the one that governs it first.
    #[must_use]
    pub fn selecting(&self, namespace: &str, labels: &Labels) -> Vec<Arc<Compiled>> {
        let named;
        let known = if let Some(known) = self.namespaces.get(namespace) {
            known
        } else {
            named = Labels::from([(NAME_LABEL.to_owned(), namespace.to_owned())]);
            &named
        };
        self.policies.selecting(known, labels).cloned().collect()
    }

    /// The policies that would govern an object with these labels if its namespace had certain labels, each with the keys of
    /// these, where the labels of the namespace are not known: those before the first one that governs in any case.
    #[must_use]
    pub fn undecided(&self, namespace: &str, labels: &Labels) -> Vec<(Arc<Compiled>, BTreeSet<String>)> {
        if self.knows(namespace) {
            return Vec::new();
        }
        let known = Labels::from([(NAME_LABEL.to_owned(), namespace.to_owned())]);
        let mut undecided = Vec::new();
        for policy in self.policies.iter() {
            let keys = policy.depends_on(&known, labels);
            if !keys.is_empty() {
                undecided.push((Arc::clone(policy), keys));
            } else if policy.selects(&known, labels) {
                break;
            }
        }
        undecided
    }

    /// The policy that governs an object with these labels in this namespace. A namespace that is not known yet has the
    /// one label that every namespace has.
    #[must_use]
    pub fn govern(&self, namespace: &str, labels: &Labels) -> Governing {
        let governing = match self.namespaces.get(namespace) {
            Some(known) => self.policies.govern(known, labels),
            None => self.policies.govern(&Labels::from([(NAME_LABEL.to_owned(), namespace.to_owned())]), labels),
        };
        Governing { left_out: self.exempt.contains(namespace), ..governing }
    }
}
