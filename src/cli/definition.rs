//! What the definition of `DefragPolicy` refuses, as an API server would say it, without one: its schema and its rules in CEL.
//!
//! The reader of policies (`defrag::policy::compile`) accepts more: it has to make the best of whatever is stored. So a policy that
//! passed a check could still be refused when it is applied.

mod metadata;
mod place;
mod rules;
mod schema;

use serde_json::Value;

use self::{
    place::{Place, Refusal},
    rules::Rules,
};
use crate::defrag::{finding::Finding, policy};

/// The definition, read.
pub(super) struct Definition {
    schema: Value,
    rules: Rules,
}

impl Definition {
    /// That of this version.
    pub(super) fn current() -> Option<Self> {
        let mut crd = serde_json::to_value(policy::crd()).ok()?;
        let schema = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").map(Value::take)?;
        Some(Self { schema, rules: Rules::default() })
    }

    /// What it refuses in a policy and `known` does not say already, as findings.
    pub(super) fn findings(&self, policy: &Value, known: &[Finding]) -> Vec<Finding> {
        // A key of a map stands in brackets there and behind a dot here.
        let plain = |field: &str| field.replace('[', ".").replace(']', "");
        let said = |field: &str| {
            let field = plain(field);
            let same = |finding: &&Finding| {
                let known = plain(&finding.field.to_string());
                let within = |inner: &str, outer: &str| {
                    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                finding.denies() && (within(&known, &field) || within(&field, &known))
            };
            known.iter().find(same).is_some()
        };
        let refusals = self.refusals(policy);
        refusals.into_iter().filter(|refusal| !said(&refusal.field)).map(Refusal::into_finding).collect()
    }

    /// What the schema refuses; where that is nothing, what the rules refuse.
    fn refusals(&self, policy: &Value) -> Vec<Refusal> {
        let mut policy = policy.clone();
        if let Some(fields) = policy.as_object_mut() {
            fields.remove("status");
        }
        schema::fill_in(&self.schema, &mut policy);
        let root = Place { path: "", schema: &self.schema, value: &policy };
        let mut found = Vec::new();
        metadata::check(&policy, &mut found);
        schema::check(root, &mut found);
        if found.is_empty() {
            self.rules.check(root, &mut found);
        }
        found
    }
}

#[cfg(test)]
mod tests;
