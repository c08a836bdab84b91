//! Which policy governs an object.

use std::{cmp::Reverse, sync::Arc};

use super::{
    Policy,
    compiled::{Compiled, Labels},
};

/// All policies at one moment. Cheap to clone and to pass through a channel.
#[derive(Clone, Debug)]
pub struct PolicySet {
    /// The one that wins first.
    policies: Arc<[Arc<Compiled>]>,
    built_in: Arc<Policy>,
}

/// The policy that governs an object.
#[derive(Clone, Debug)]
pub struct Governing {
    /// What is in force.
    pub policy: Arc<Policy>,
    /// The policy object; `None` for the built-in policy.
    pub by: Option<Arc<Compiled>>,
    /// Whether the namespace is excluded: nothing is assessed there, and no CronJob is created.
    pub left_out: bool,
}

impl Default for PolicySet {
    /// No policy object: the built-in policy governs everything.
    fn default() -> Self {
        Self::new([])
    }
}

impl PolicySet {
    /// The set of these policies, in any order. Names are unique, as those of objects in a cluster are.
    #[must_use]
    pub fn new(policies: impl IntoIterator<Item = Arc<Compiled>>) -> Self {
        let mut policies: Vec<_> = policies.into_iter().collect();
        policies.sort_by(|a, b| (Reverse(a.priority), &a.name).cmp(&(Reverse(b.priority), &b.name)));
        Self { policies: policies.into(), built_in: Arc::new(Policy::built_in()) }
    }

    /// The policy that governs an object with `labels` in a namespace with `namespace_labels`: of those that select it, the
    /// one with the highest priority, then the one whose name comes first.
    #[must_use]
    pub fn govern(&self, namespace_labels: &Labels, labels: &Labels) -> Governing {
        let by = self.selecting(namespace_labels, labels).next().map(Arc::clone);
        let policy = by.as_ref().map_or_else(|| Arc::clone(&self.built_in), |by| Arc::clone(&by.policy));
        Governing { policy, by, left_out: false }
    }

    /// Every policy that selects an object, the one that governs it first: the others are shadowed there.
    pub fn selecting<'a>(
        &'a self,
        namespace_labels: &'a Labels,
        labels: &'a Labels,
    ) -> impl Iterator<Item = &'a Arc<Compiled>> {
        self.policies.iter().filter(move |policy| policy.selects(namespace_labels, labels))
    }

    /// Every policy, in the order in which they win.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Compiled>> {
        self.policies.iter()
    }

    /// Whether these are the same policies, each in the same version.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().zip(other.iter()).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// How many policy objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there is no policy object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }
}

impl Governing {
    /// The built-in policy, as where there is no cluster to ask.
    #[must_use]
    pub fn built_in() -> Self {
        PolicySet::default().govern(&Labels::new(), &Labels::new())
    }

    /// This policy, of no policy object.
    #[must_use]
    pub fn of(policy: Policy) -> Self {
        Self { policy: Arc::new(policy), by: None, left_out: false }
    }

    /// The name of the policy object; `None` for the built-in policy.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.by.as_ref().map(|by| by.name.as_str())
    }

    /// Whether the same policy governs for the same reason and says the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let reason = |governing: &Self| governing.by.as_ref().map(|by| (by.name.clone(), by.priority));
        let same = || reason(self) == reason(other) && self.policy == other.policy;
        self.left_out == other.left_out && (Arc::ptr_eq(&self.policy, &other.policy) || same())
    }

    /// Which policy governs and why, for a warning or an annotation.
    #[must_use]
    pub fn why(&self) -> String {
        match &self.by {
            Some(by) => {
                format!("governed by DefragPolicy {} (priority {}, the highest that selects it)", by.name, by.priority)
            }
            None => "governed by the built-in policy, since no DefragPolicy selects it".to_owned(),
        }
    }

    /// The same where labels of the namespace are not known on which it depends.
    #[must_use]
    pub fn perhaps(&self) -> String {
        let by = self.name().map_or_else(|| "the built-in policy".to_owned(), |name| format!("DefragPolicy {name}"));
        format!("perhaps governed by {by}: that depends on labels of the namespace, which are not known")
    }
}

#[cfg(test)]
mod tests;
