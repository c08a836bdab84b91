//! Compiles a `DefragPolicy` to the policy in force and all errors in it.
//!
//! A policy with invalid values still governs: otherwise its etcds would silently fall to another policy, perhaps a
//! weaker one. Each value that cannot be parsed is replaced by the built-in value, with a finding. Limits that
//! contradict the policy's own defaults both apply as they are written. See docs/decisions/006-invalid-policies.md.

mod affinity;
mod defaults;
mod labels;
mod metrics;
mod pod;
mod read;
mod resources;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;

use super::{
    Actions, Policy,
    api::{DefragPolicy, ValidationAction},
    compiled::{Compiled, Selectors},
};
use crate::defrag::finding::Code;
use labels::Problem;
use read::Reader;

/// Reads and checks a policy. Findings of daylight-saving changeovers are about those after `now`.
#[must_use]
pub fn compile(object: &DefragPolicy, now: Timestamp) -> Compiled {
    let spec = &object.spec;
    let mut reader = Reader::default();
    let namespace = selector(&mut reader, "spec.namespaceSelector", &spec.namespace_selector);
    let selected = selector(&mut reader, "spec.selector", &spec.selector);
    let actions = actions(&mut reader, &spec.validation_actions);
    let mut limits = reader.limits(&spec.limits);
    let job = reader.job(&spec.job);
    let metrics = reader.metrics(&spec.metrics, &limits);
    let mut findings = reader.findings;
    findings.extend(defaults::lock(&spec.limits.locked_keys, &spec.defaults, &mut limits));
    let (defaults, found) = defaults::check(&spec.defaults, &limits, &job, now);
    findings.extend(found);
    let (enrollment, allow_opt_out) = (spec.enrollment, spec.allow_opt_out);
    let policy = Policy { defaults, limits, job, metrics, enrollment, allow_opt_out, actions };
    Compiled {
        name: object.metadata.name.clone().unwrap_or_default(),
        uid: object.metadata.uid.clone(),
        generation: object.metadata.generation,
        priority: spec.priority,
        policy: Arc::new(policy),
        findings,
        selectors: namespace.zip(selected).map(|(namespace, object)| Selectors { namespace, object }),
    }
}

fn selector(reader: &mut Reader, field: &str, selector: &LabelSelector) -> Option<Selector> {
    for Problem { at, what, write } in labels::impossible(selector) {
        reader.refuse(
            Code::ValueInvalid,
            format!("{field}.{at}"),
            &what,
            format!(
                "{what}, so no object has it: {write}. Until that is fixed, the selector applies as it is written."
            ),
        );
    }
    let Some(Problem { at, what, write }) = labels::operators(selector).into_iter().next() else {
        return Selector::try_from(selector.clone()).ok();
    };
    reader.refuse(
        Code::ValueInvalid,
        format!("{field}.{at}"),
        "the selector cannot be read, so this policy governs nothing",
        format!("{what}: {write}. It is not known what this policy should select, so it governs nothing until that is fixed."),
    );
    None
}

fn actions(reader: &mut Reader, actions: &[ValidationAction]) -> Actions {
    let has = |action| actions.contains(&action);
    let (deny, warn) = (has(ValidationAction::Deny), has(ValidationAction::Warn));
    if actions.is_empty() || (deny && warn) {
        let found = if actions.is_empty() { "names no action" } else { "has both Deny and Warn" };
        reader.refuse(
            Code::SettingsConflict,
            "spec.validationActions",
            format!("{found}; write [Deny] or [Warn]"),
            format!(
                "spec.validationActions {found}: a refusal includes the warning, and a violation needs one of the two. Write \
                 [Deny] or [Warn], each with or without Audit. Until then violations are refused."
            ),
        );
        return Actions { deny: true, warn: false, audit: has(ValidationAction::Audit) };
    }
    Actions { deny, warn, audit: has(ValidationAction::Audit) }
}
