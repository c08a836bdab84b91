//! What happens to a write with findings, under the policy that governs the object.

use std::cell::LazyCell;

use jiff::Timestamp;

use super::{
    audit,
    review::Operation,
    status_subresource,
    warnings::{fit, note},
    write::{Decision, Write, govern},
};
use crate::defrag::{
    Assessment, Enrollment, Surroundings, assess,
    defaulting::is_enrolled_by_policy_only,
    field::Field,
    finding::{Finding, quoted},
    keys::Key,
    policy::{Governing, Policy, PolicySnapshot},
    settings::defaulted_keys,
    statefulset::StatefulSet,
};

/// What `object` has to answer for; nothing where it is not enrolled. A webhook sees nothing around it.
fn assess_enrolled(object: &StatefulSet, governing: &Governing, now: Timestamp) -> Option<Assessment> {
    let assessment = assess(object, governing, &Surroundings::default(), now);
    matches!(assessment.enrollment, Enrollment::Enrolled | Enrollment::Unclear).then_some(assessment)
}

/// A create, or an update of our own keys.
pub(super) fn change(write: Write<'_>, snapshot: &PolicySnapshot, now: Timestamp) -> Decision {
    let governing = govern(snapshot, write.object);
    let actions = governing.policy.actions;
    let Some(assessment) = assess_enrolled(write.object, &governing, now) else { return Decision::default() };
    // The old object is assessed under the policy that governs the new one: neither a policy that has become stricter nor a
    // label that moves the object under a stricter one is a change of our keys, so what they bring in stood before.
    let old = LazyCell::new(|| {
        let old = write.old?;
        let before = assess_enrolled(old, &governing, now)?;
        // A violation may stay where the object was as enrolled before as it is now: enrolling is assessed as a whole.
        (before.enrollment == assessment.enrollment).then_some((old, before))
    });
    let stood_before = |finding: &Finding| {
        old.as_ref().is_some_and(|(old, before)| stood(finding, &before.findings, old, write.object))
    };
    // Whoever creates an etcd that only a policy enrols asked for nothing, and has nothing to take back.
    let asked_for_nothing =
        write.operation == Operation::Create && is_enrolled_by_policy_only(write.object, &governing.policy);
    let refuses = |finding: &&Finding| actions.deny && !asked_for_nothing && !stood_before(finding);
    let refusals: Vec<Finding> = assessment.denials().filter(refuses).cloned().collect();

    // What another entry refuses has no effect to tell of.
    let goes_on = refusals.is_empty() && status_subresource::through_status(write, &governing.policy).is_empty();
    let brief = |finding: &Finding| finding.brief.clone();
    let mut warnings: Vec<String> = Vec::new();
    if goes_on && (actions.deny || actions.warn || asked_for_nothing) {
        warnings.extend(assessment.denials().map(brief));
    }
    warnings.extend(assessment.findings.iter().filter(|finding| !finding.denies()).map(brief));
    warnings.extend(who_governs(&governing, snapshot));
    if goes_on {
        if asked_for_nothing && assessment.refused.any {
            warnings.push(note("enrolled by a policy only, so this is not refused; no CronJob until it is corrected"));
        } else if actions.warn && (assessment.refused.settings || assessment.refused.facts.is_some()) {
            warnings.push(note("until this is fixed no CronJob is created, and an existing one keeps its settings"));
        }
        warnings.extend(access_in_force(write, &governing.policy));
        warnings.extend(starts_nothing(write, &governing.policy));
        match &assessment.plan {
            Some(plan) => warnings.extend(plan.effective(now)),
            None => warnings.extend(assessment.suspension()),
        }
    }
    Decision {
        audit: audit::annotation(&governing, assessment.denials()),
        refusals,
        warnings: fit(warnings),
        findings: assessment.findings,
        ..Decision::default()
    }
}

/// The Secrets and addresses that come into force when a write enrols an etcd: they may have been written by somebody
/// else.
fn access_in_force(write: Write<'_>, policy: &Policy) -> Vec<String> {
    let annotations = write.object.metadata.annotations.as_ref();
    let Some(annotations) = annotations.filter(|_| enrols(write, policy)) else { return Vec::new() };
    let in_force = Key::ACCESS.iter().filter_map(|key| Some((key, annotations.get(key.annotation())?)));
    in_force.map(|(key, value)| note(&format!("in force from now on: {} {}", key.name(), quoted(value)))).collect()
}

/// That a token which asks for a run is there before the CronJob is, and so counts as served.
fn starts_nothing(write: Write<'_>, policy: &Policy) -> Option<String> {
    let asks = write.object.annotation(Key::DefragNow.annotation()).is_some_and(|token| !token.is_empty());
    (asks && enrols(write, policy)).then(|| {
        note("defrag-now starts no run here, since it was written together with the etcd; only a new value starts one")
    })
}

/// Whether a write enrols an etcd.
fn enrols(write: Write<'_>, policy: &Policy) -> bool {
    let enrolled = |object: &StatefulSet| Enrollment::of(object, policy) == Enrollment::Enrolled;
    enrolled(write.object) && !write.old.is_some_and(enrolled)
}

/// Other edits get warnings about errors, and about new risks.
pub(super) fn edit_elsewhere(write: Write<'_>, snapshot: &PolicySnapshot, now: Timestamp) -> Decision {
    let governing = govern(snapshot, write.object);
    let actions = governing.policy.actions;
    let Some(assessment) = assess_enrolled(write.object, &governing, now) else { return Decision::default() };
    let before = LazyCell::new(|| write.old.and_then(|old| assess_enrolled(old, &govern(snapshot, old), now)));
    let known = |finding: &Finding| {
        let mut known_before = before.iter().flat_map(|before| &before.findings);
        known_before.any(|one| one.code == finding.code && one.field == finding.field)
    };
    let violations = assessment.denials().filter(|_| actions.deny || actions.warn);
    let risks = assessment.findings.iter().filter(|finding| !finding.denies() && !known(finding));
    let mut warnings: Vec<String> = violations.chain(risks).map(|finding| finding.brief.clone()).collect();
    if !warnings.is_empty() {
        warnings.extend(who_governs(&governing, snapshot));
    }
    let was_suspended = || before.as_ref().is_some_and(|before| before.suspended);
    warnings.extend(assessment.suspension().filter(|_| !was_suspended()));
    Decision {
        audit: audit::annotation(&governing, assessment.denials()),
        warnings: fit(warnings),
        findings: assessment.findings,
        ..Decision::default()
    }
}

/// Which policy governs and why; not worth a line where there is none but the built-in one.
fn who_governs(governing: &Governing, snapshot: &PolicySnapshot) -> Option<String> {
    (!snapshot.policies().is_empty()).then(|| note(&governing.why()))
}

/// Whether a violation was there before: the same one, and not because of a value of ours that this write sets.
fn stood(finding: &Finding, before: &[Finding], old: &StatefulSet, object: &StatefulSet) -> bool {
    before.iter().any(|one| one.denies() && one.code == finding.code && one.field == finding.field)
        && value_at(&finding.field, old) == value_at(&finding.field, object)
}

/// What a person wrote in one of our labels or annotations; `None` for any other field, and for a value that follows the
/// policy, which is the policy's whatever its text says.
fn value_at<'a>(field: &Field, object: &'a StatefulSet) -> Option<&'a str> {
    let annotation = match field {
        Field::Label(name) => return object.label(name),
        Field::Annotation(key) if defaulted_keys(object).contains(key) => return None,
        Field::Annotation(key) => key.annotation(),
        Field::UnknownAnnotation(name) => name,
        Field::Default(_) | Field::Path(_) => return None,
    };
    object.annotation(annotation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::finding::{Code, Severity};

    #[test]
    fn a_field_finds_only_what_a_person_wrote_there() {
        let object: StatefulSet = serde_json::from_value(serde_json::json!({"metadata": {
            "labels": {"etcd-defrag.io/enabled": "true", "app": "etcd"},
            "annotations": {
                "etcd-defrag.io/rule": "r", "etcd-defrag.io/schedule": "s", "etcd-defrag.io/defaulted": "schedule",
                "etcd-defrag.io/shedule": "u",
            },
        }}))
        .unwrap();
        assert_eq!(value_at(&Key::Rule.field(), &object), Some("r"));
        assert_eq!(value_at(&Key::Schedule.field(), &object), None);
        assert_eq!(value_at(&Field::ENABLED, &object), Some("true"));
        assert_eq!(value_at(&Field::UnknownAnnotation("etcd-defrag.io/shedule".to_owned()), &object), Some("u"));
        assert_eq!(value_at(&"spec.replicas".into(), &object), None);
    }

    #[test]
    fn a_violation_stands_only_where_nothing_of_ours_brings_it_in_anew() {
        let object = |rule: &str| -> StatefulSet {
            serde_json::from_value(serde_json::json!({"metadata": {"annotations": {"etcd-defrag.io/rule": rule}}}))
                .unwrap()
        };
        let on_rule = Finding::new(Code::RuleInvalid, Key::Rule.field(), "", "one");
        let on_spec = Finding::new(Code::QuotaInvalid, "spec.template", "", "one");
        let before = [on_rule.clone(), on_spec.clone()];
        assert!(stood(&on_rule, &before, &object("x"), &object("x")));
        assert!(!stood(&on_rule, &before, &object("x"), &object("y")));
        assert!(stood(&on_spec, &before, &object("x"), &object("y")));
        assert!(!stood(&on_spec, std::slice::from_ref(&on_rule), &object("x"), &object("x")));
        let other_code = Finding { code: Code::RuleAlwaysTrue, ..on_rule.clone() };
        assert!(!stood(&other_code, &before, &object("x"), &object("x")));
        let only_warned = [on_rule.clone().with_severity(Severity::Warn)];
        assert!(!stood(&on_rule, &only_warned, &object("x"), &object("x")));
    }
}
