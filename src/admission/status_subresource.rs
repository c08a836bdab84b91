//! Which Secrets and addresses a run gets is not for those to say who may write the status of a StatefulSet only.

use super::{warnings::note, write::Write};
use crate::defrag::{
    Enrollment,
    finding::{Code, Finding, quoted},
    keys::Key,
    policy::Policy,
    settings::defaulted_keys,
    statefulset::StatefulSet,
};

/// Each Secret or address that a write of the status adds: by setting it, or by enrolling an object that carries it.
/// Whether the object is enrolled when it is set makes no difference: somebody else enrols it later. Removing one does
/// not count. No policy allows it, since it is about who writes, and not what.
pub(super) fn through_status(write: Write<'_>, policy: &Policy) -> Vec<Finding> {
    if !write.of_status {
        return Vec::new();
    }
    let enrolled = |object: &StatefulSet| Enrollment::of(object, policy) == Enrollment::Enrolled;
    let enrolls = enrolled(write.object) && !write.old.is_some_and(enrolled);
    let brought_in = Key::ACCESS.iter().filter_map(|key| {
        let value = write.object.annotation(key.annotation())?;
        let stood = write.old.and_then(|old| old.annotation(key.annotation())) == Some(value);
        (enrolls || !stood).then(|| finding(*key, value))
    });
    brought_in.collect()
}

/// The values that follow the policy, and that this write would change without effect.
pub(super) fn keep_following(write: Write<'_>) -> Vec<String> {
    let followers = defaulted_keys(write.object).into_iter();
    let changed =
        |old: &StatefulSet, key: Key| write.object.annotation(key.annotation()) != old.annotation(key.annotation());
    let in_vain = followers.filter(|key| write.old.is_some_and(|old| changed(old, *key)));
    in_vain
        .map(|key| {
            note(&format!(
                "{} keeps following the policy: set it on the StatefulSet, not through its status",
                key.name()
            ))
        })
        .collect()
}

fn finding(key: Key, value: &str) -> Finding {
    let name = key.name();
    Finding::new(
        Code::AccessThroughStatus,
        key.field(),
        format!("{name} cannot be set by a write of statefulsets/status"),
        format!(
            "This write of statefulsets/status adds {name} {}. Only users who may edit the StatefulSet decide which \
             Secrets a run gets and where it sends them; the right to write its status is not enough. Write the annotation on the \
             StatefulSet itself, without --subresource=status.",
            quoted(value)
        ),
    )
}
