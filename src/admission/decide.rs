//! The decision on one write of a StatefulSet: pure, and strict only where the write concerns us.
//!
//! Refused is a create, or an update that changes our own labels or annotations, for what it brings in. Every other
//! edit may be a rescue at night and is at most warned about, whatever state our settings are in.

use std::collections::BTreeSet;

use jiff::Timestamp;
use json_patch::Patch;

use super::{Entry, patch, review::Operation};
use crate::defrag::{
    self, Enrollment, Judgement, defaulting,
    finding::{Finding, WARNING_LIMIT, shorten},
    keys::PREFIX,
    policy::Policy,
    statefulset::StatefulSet,
};

/// All warnings of one answer together, in bytes. The API server cuts each warning of a request to 256 characters once
/// they exceed 4096 together, those of other webhooks included.
pub const WARNINGS_LIMIT: usize = 4000;

/// One write of a StatefulSet.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// What is being done.
    pub operation: Operation,
    /// The object as it would be stored.
    pub object: &'a StatefulSet,
    /// The object as it is stored.
    pub old: Option<&'a StatefulSet>,
}

/// What becomes of a write.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The findings that refuse it; empty where it may go on.
    pub refusals: Vec<Finding>,
    /// What to tell the person who writes, each at most [`WARNING_LIMIT`] characters.
    pub warnings: Vec<String>,
    /// What to change; only from [`Entry::Mutate`].
    pub patch: Patch,
    /// Everything that the judgement said.
    pub findings: Vec<Finding>,
}

impl Write<'_> {
    /// Whether the write changes a label or an annotation of ours. A create does.
    #[must_use]
    pub fn concerns_us(&self) -> bool {
        match (self.operation, self.old) {
            (Operation::Create, _) | (_, None) => true,
            (_, Some(old)) => !ours(self.object).eq(ours(old)),
        }
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

/// Decides on a write.
#[must_use]
pub fn decide(entry: Entry, write: Write<'_>, policy: &Policy, now: Timestamp) -> Decision {
    if write.operation == Operation::Other || write.object.metadata.deletion_timestamp.is_some() {
        return Decision::default();
    }
    match entry {
        // A change of our keys that the writer did not ask for would turn a rescue into a write that can be refused.
        Entry::Mutate if write.concerns_us() => Decision {
            patch: patch::annotations(write.object, &defaulting::changes(write.object, write.old, policy)),
            ..Decision::default()
        },
        Entry::Validate if write.concerns_us() => judge_change(write, policy, now),
        Entry::Validate | Entry::Warn if !write.concerns_us() => judge_edit_elsewhere(write, policy, now),
        Entry::Mutate | Entry::Validate | Entry::Warn => Decision::default(),
    }
}

/// What `object` has to answer for; nothing where it is not enrolled.
fn judge(object: &StatefulSet, policy: &Policy, now: Timestamp) -> Option<Judgement> {
    match Enrollment::of(object, policy) {
        Enrollment::NotEnrolled | Enrollment::OptedOut => None,
        Enrollment::Enrolled | Enrollment::Unclear => Some(defrag::resolve(object, policy, now)),
    }
}

fn judge_change(write: Write<'_>, policy: &Policy, now: Timestamp) -> Decision {
    let Some(judgement) = judge(write.object, policy, now) else { return Decision::default() };
    let old = write.old.and_then(|old| Some((old, judge(old, policy, now)?)));
    // A violation may stay where the object was as enrolled before as it is now: enrolling is judged as a whole.
    let old = old.filter(|(_, before)| before.enrollment == judgement.enrollment);
    let stood_before = |finding: &Finding| {
        old.as_ref().is_some_and(|(old, before)| stood(finding, &before.findings, old, write.object))
    };
    let refusals: Vec<Finding> = judgement.denials().filter(|finding| !stood_before(finding)).cloned().collect();
    let risks = judgement.findings.iter().filter(|finding| !finding.denies());
    let mut warnings: Vec<String> = Vec::new();
    if refusals.is_empty() {
        warnings.extend(judgement.denials().map(|standing| standing.brief.clone()));
        warnings.extend(risks.map(|finding| finding.brief.clone()));
        warnings.extend(judgement.plan.iter().flat_map(|plan| plan.effective(now)));
    } else {
        warnings.extend(risks.map(|finding| finding.brief.clone()));
    }
    Decision { refusals, warnings: fit(warnings), patch: Patch::default(), findings: judgement.findings }
}

/// Whether a violation was there before: the same one, and not because of a value of ours that this write sets.
fn stood(finding: &Finding, before: &[Finding], old: &StatefulSet, object: &StatefulSet) -> bool {
    before.iter().any(|one| one.denies() && one.code == finding.code && one.field == finding.field)
        && value_at(&finding.field, old) == value_at(&finding.field, object)
}

/// An edit elsewhere is told about what is wrong and about risks that were not there before.
fn judge_edit_elsewhere(write: Write<'_>, policy: &Policy, now: Timestamp) -> Decision {
    let Some(judgement) = judge(write.object, policy, now) else { return Decision::default() };
    let before = write.old.and_then(|old| judge(old, policy, now)).map(|before| before.findings).unwrap_or_default();
    let known = |finding: &Finding| before.iter().any(|one| one.code == finding.code && one.field == finding.field);
    let worth_saying = judgement.findings.iter().filter(|finding| finding.denies() || !known(finding));
    Decision {
        warnings: fit(worth_saying.map(|finding| finding.brief.clone())),
        findings: judgement.findings,
        ..Decision::default()
    }
}

/// The value of one of our labels or annotations at a field path; `None` for any other field.
fn value_at<'a>(field: &str, object: &'a StatefulSet) -> Option<&'a str> {
    let key = |list: &str| field.strip_prefix(list)?.strip_suffix(']').filter(|key| key.starts_with(PREFIX));
    if let Some(key) = key("metadata.annotations[") {
        object.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    } else {
        object.label(key("metadata.labels[")?)
    }
}

/// The warnings as the API server passes them on whole: one line each, none twice, not too many.
fn fit(warnings: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let warnings: Vec<String> = warnings
        .into_iter()
        .map(|warning| shorten(&warning, WARNING_LIMIT))
        .filter(|warning| seen.insert(warning.clone()))
        .collect();
    let last_line = |more: usize| format!("{more} more warnings: see them all with `etcd-defrag-webhook check`");
    let mut left = WARNINGS_LIMIT.saturating_sub(last_line(warnings.len()).len());
    let total = warnings.len();
    let mut fitting: Vec<String> = warnings
        .into_iter()
        .map_while(|warning| {
            left = left.checked_sub(warning.len())?;
            Some(warning)
        })
        .collect();
    if fitting.len() < total {
        fitting.push(last_line(total - fitting.len()));
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::finding::Code;

    #[test]
    fn warnings_stay_whole_single_and_few() {
        let many = (0..200).map(|number| format!("{number}: {}", "é".repeat(200)));
        let fitted = fit(many.clone().chain(many));
        assert!(fitted.iter().all(|warning| warning.chars().count() <= WARNING_LIMIT));
        assert!(fitted.iter().map(String::len).sum::<usize>() <= WARNINGS_LIMIT);
        let shown = fitted.len() - 1;
        assert!(shown > 10, "{shown}");
        assert_eq!(
            fitted.last().unwrap(),
            &format!("{} more warnings: see them all with `etcd-defrag-webhook check`", 200 - shown)
        );
        assert_eq!(fit(["a".to_owned(), "b".to_owned(), "a".to_owned()]), ["a", "b"]);
    }

    #[test]
    fn a_field_path_finds_only_our_own_values() {
        let object: StatefulSet = serde_json::from_value(serde_json::json!({"metadata": {
            "labels": {"etcd-defrag.io/enabled": "true", "app": "etcd"},
            "annotations": {"etcd-defrag.io/rule": "r", "other": "o"},
        }}))
        .unwrap();
        assert_eq!(value_at("metadata.annotations[etcd-defrag.io/rule]", &object), Some("r"));
        assert_eq!(value_at("metadata.labels[etcd-defrag.io/enabled]", &object), Some("true"));
        assert_eq!(value_at("metadata.annotations[other]", &object), None);
        assert_eq!(value_at("spec.replicas", &object), None);
    }

    #[test]
    fn a_violation_stands_only_where_nothing_of_ours_brings_it_in_anew() {
        let object = |rule: &str| -> StatefulSet {
            serde_json::from_value(serde_json::json!({"metadata": {"annotations": {"etcd-defrag.io/rule": rule}}}))
                .unwrap()
        };
        let on_rule = Finding::new(Code::RuleInvalid, "metadata.annotations[etcd-defrag.io/rule]", "", "one");
        let on_spec = Finding::new(Code::QuotaInvalid, "spec.template", "", "one");
        let before = [on_rule.clone(), on_spec.clone()];
        assert!(stood(&on_rule, &before, &object("x"), &object("x")));
        assert!(!stood(&on_rule, &before, &object("x"), &object("y")));
        assert!(stood(&on_spec, &before, &object("x"), &object("y")));
        assert!(!stood(&on_spec, std::slice::from_ref(&on_rule), &object("x"), &object("x")));
        let other_code = Finding { code: Code::RuleAlwaysTrue, ..on_rule.clone() };
        assert!(!stood(&other_code, &before, &object("x"), &object("x")));
        let only_warned = [on_rule.clone().with_severity(crate::defrag::finding::Severity::Warn)];
        assert!(!stood(&on_rule, &only_warned, &object("x"), &object("x")));
    }
}
