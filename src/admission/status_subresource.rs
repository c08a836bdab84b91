//! Which Secrets and addresses a run gets is not for those to say who may write the status of a StatefulSet only.

use super::write::Write;
use crate::defrag::{
    Enrollment,
    finding::{Code, Finding, quoted},
    keys::Key,
    policy::Policy,
    statefulset::StatefulSet,
};

/// A finding for each Secret or address that a write of the status brings in: by setting it, or by enrolling an object
/// that carries it. Taking one away gives nobody anything.
pub(super) fn through_status(write: Write<'_>, policy: &Policy) -> Vec<Finding> {
    if !write.of_status {
        return Vec::new();
    }
    let enrolled = |object: &StatefulSet| Enrollment::of(object, policy) == Enrollment::Enrolled;
    let Some(now) = write.object.metadata.annotations.as_ref().filter(|_| enrolled(write.object)) else {
        return Vec::new();
    };
    let before = write.old.filter(|old| enrolled(old)).and_then(|old| old.metadata.annotations.as_ref());
    let brought_in = Key::ACCESS.iter().filter_map(|key| {
        let value = now.get(key.annotation())?;
        (before.and_then(|before| before.get(key.annotation())) != Some(value)).then(|| finding(*key, value))
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
