//! Which Secrets and addresses a run gets is not for those to say who may write the status of a StatefulSet only.

use jiff::Timestamp;

use super::{
    validate,
    warnings::note,
    write::{Decision, Write, govern},
};
use crate::defrag::{
    Enrollment, defaulting,
    finding::{Code, Finding, quoted},
    keys::Key,
    policy::{Policy, PolicySnapshot},
    settings::defaulted_keys,
    statefulset::StatefulSet,
};

/// Refuses each Secret or address that a write of the status brings in: by setting it, or by enrolling an object that
/// carries it. Whether the object is enrolled when it is set makes no difference: somebody else enrols it later. Taking one
/// away gives nobody anything. No policy allows it, since it concerns who writes, and not what. Other keys of ours are assessed as
/// in any write.
pub(super) fn decide(write: Write<'_>, snapshot: &PolicySnapshot, now: Timestamp) -> Decision {
    let policy = govern(snapshot, write.object).policy;
    // Nothing is filled in here, but what somebody writes is theirs, and is looked at as such.
    let as_theirs = defaulting::changed(write.object, defaulting::changes(write.object, write.old, &policy));
    let mut decision = validate::change(Write { object: &as_theirs, ..write }, snapshot, now);
    for refusal in through_status(write, &policy) {
        decision.findings.push(refusal.clone());
        decision.refusals.push(refusal);
    }
    if decision.refusals.is_empty() {
        decision.warnings.splice(0..0, keep_following(write));
    }
    decision
}

/// Of values that follow the policy, what this write would change of them in vain.
fn keep_following(write: Write<'_>) -> Vec<String> {
    let value = |object: &StatefulSet, key: Key| object.metadata.annotations.as_ref()?.get(key.annotation()).cloned();
    let followers = defaulted_keys(write.object).into_iter();
    let in_vain = followers.filter(|key| write.old.is_some_and(|old| value(write.object, *key) != value(old, *key)));
    in_vain
        .map(|key| {
            note(&format!(
                "{} keeps following the policy: set it on the StatefulSet, not through its status",
                key.name()
            ))
        })
        .collect()
}

/// What [`decide`] refuses of that.
pub(super) fn through_status(write: Write<'_>, policy: &Policy) -> Vec<Finding> {
    let Some(now) = write.object.metadata.annotations.as_ref().filter(|_| write.of_status) else { return Vec::new() };
    let before = write.old.and_then(|old| old.metadata.annotations.as_ref());
    let enrolled = |object: &StatefulSet| Enrollment::of(object, policy) == Enrollment::Enrolled;
    let enrolls = enrolled(write.object) && !write.old.is_some_and(enrolled);
    let brought_in = Key::ACCESS.iter().filter_map(|key| {
        let value = now.get(key.annotation())?;
        let stood = before.and_then(|before| before.get(key.annotation())) == Some(value);
        (enrolls || !stood).then(|| finding(*key, value))
    });
    brought_in.collect()
}

fn finding(key: Key, value: &str) -> Finding {
    let name = key.name();
    Finding::new(
        Code::AccessThroughStatus,
        key.field(),
        format!("{name} cannot be set by a write of statefulsets/status"),
        format!(
            "This write of statefulsets/status brings in {name} {}. Which Secrets a run gets and where it sends them is for \
             those who may edit the StatefulSet; the right to write its status is not enough. Write the annotation on the \
             StatefulSet itself, without --subresource=status.",
            quoted(value)
        ),
    )
}
