//! A policy that has been read and checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::core::{Expression, Selector, SelectorExt as _};

use super::Policy;
use crate::defrag::finding::Finding;

/// Labels, as Kubernetes has them.
pub type Labels = BTreeMap<String, String>;

/// A `DefragPolicy` that has been read and checked.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Its name.
    pub name: String,
    /// Its uid, where it has one.
    pub uid: Option<String>,
    /// The generation that was read.
    pub generation: Option<i64>,
    /// Its priority.
    pub priority: i32,
    /// What is in force where it governs.
    pub policy: Arc<Policy>,
    /// What is wrong or risky about it, with fields such as `spec.defaults.schedule`.
    pub findings: Vec<Finding>,
    /// `None` where a selector cannot be read: it then selects nothing.
    pub(super) selectors: Option<Selectors>,
}

#[derive(Clone, Debug)]
pub(super) struct Selectors {
    pub(super) namespace: Selector,
    pub(super) object: Selector,
}

impl Compiled {
    /// Whether nothing refuses a value of it.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.findings.iter().any(Finding::denies)
    }

    /// Whether it selects an object with these labels in a namespace with those.
    #[must_use]
    pub fn selects(&self, namespace: &Labels, object: &Labels) -> bool {
        self.selectors
            .as_ref()
            .is_some_and(|selectors| selectors.object.matches(object) && selectors.namespace.matches(namespace))
    }
    /// The labels of a namespace on which it depends whether this policy selects an object with these labels there, where only
    /// the labels `known` of the namespace are known. Nothing where it does not depend on others.
    #[must_use]
    pub fn depends_on(&self, known: &Labels, object: &Labels) -> BTreeSet<String> {
        let Some(selectors) = self.selectors.as_ref().filter(|selectors| selectors.object.matches(object)) else {
            return BTreeSet::new();
        };
        let mut others = BTreeSet::new();
        for expression in selectors.namespace.clone() {
            let key = key(&expression);
            if !known.contains_key(key) {
                others.insert(key.to_owned());
            } else if !expression.matches(known) {
                return BTreeSet::new();
            }
        }
        others
    }
}

fn key(expression: &Expression) -> &str {
    match expression {
        Expression::In(key, _)
        | Expression::NotIn(key, _)
        | Expression::Equal(key, _)
        | Expression::NotEqual(key, _)
        | Expression::Exists(key)
        | Expression::DoesNotExist(key) => key,
    }
}
