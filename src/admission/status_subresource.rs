//! Which Secrets and addresses a run gets is not for those to say who may write the status of a StatefulSet only.

use jiff::Timestamp;

use super::{
    validate,
    write::{Decision, Write, govern},
};
use crate::defrag::{
    Enrollment,
    finding::{Code, Finding, quoted},
    keys::Key,
    policy::{Policy, PolicySnapshot},
    statefulset::StatefulSet,
};

/// Refuses each Secret or address that a write of the status brings in: by setting it, or by enrolling an object that
/// carries it. Whether the object is enrolled when it is set makes no difference: somebody else enrols it later. Taking one
/// away gives nobody anything. No policy allows it, since it concerns who writes, and not what. Other keys of ours are assessed as
/// in any write.
pub(super) fn decide(write: Write<'_>, snapshot: &PolicySnapshot, now: Timestamp) -> Decision {
    let mut decision = validate::change(write, snapshot, now);
    for refusal in through_status(write, &govern(snapshot, write.object).policy) {
        decision.findings.push(refusal.clone());
        decision.refusals.push(refusal);
    }
    decision
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
