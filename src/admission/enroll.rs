//! What the mutating entries write: the label where a policy enrols every etcd, and the values that it gives.

use json_patch::Patch;

use super::{
    Entry, patch,
    review::Operation,
    warnings::{fit, note},
    write::{Decision, Write},
};
use crate::defrag::{
    Enrollment, defaulting, etcd,
    keys::ENABLED,
    policy::{EnrollmentMode, Governing},
};

/// The changes that make the object carry what the policy gives, and what to say of its enrolment.
pub(super) fn fill_in(entry: Entry, write: Write<'_>, governing: &Governing) -> Decision {
    let (object, policy) = (write.object, &governing.policy);
    let labelled = object.label(ENABLED).is_some();
    if governing.left_out || entry == Entry::Enroll && labelled {
        return Decision::default();
    }
    let enrolled = Enrollment::of(object, policy) == Enrollment::Enrolled;
    let by_policy = !labelled && policy.enrollment == EnrollmentMode::All;
    let mut operations = Vec::new();
    if enrolled && by_policy {
        operations.extend(patch::enabled(object).0);
    }
    operations.extend(patch::annotations(object, &defaulting::changes(object, write.old, policy)).0);
    let warnings = if by_policy { enrolment(write, governing, enrolled) } else { None };
    Decision { patch: Patch(operations), warnings: fit(warnings), ..Decision::default() }
}

/// Why an object without the label is enrolled, or why one that looks like an etcd is not.
fn enrolment(write: Write<'_>, governing: &Governing, enrolled: bool) -> Option<String> {
    let name = governing.name().unwrap_or_default();
    let had_label = write.old.is_some_and(|old| old.label(ENABLED).is_some());
    if enrolled && had_label {
        let out = if governing.policy.allow_opt_out { "; \"false\" opts out" } else { "" };
        return Some(note(&format!("the label {ENABLED} was added again: DefragPolicy {name} enrols every etcd{out}")));
    }
    let evidence = etcd::evidence(write.object);
    if enrolled {
        return Some(note(&format!("enrolled by DefragPolicy {name}. {}", evidence.sentence())));
    }
    // Said once: whoever edits it later has been told, or did not create it.
    let worth_saying = write.operation == Operation::Create && evidence.names_etcd();
    worth_saying.then(|| note(&format!("not enrolled by DefragPolicy {name}. {}", evidence.sentence())))
}
