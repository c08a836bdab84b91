//! The decision on one write of a StatefulSet. It is pure, and strict only if the write concerns our settings.
//!
//! A create, or an update that changes our own labels or annotations, is refused for what it adds. Every other edit may
//! be an emergency repair, so it gets warnings at most, whatever state our settings are in.

use jiff::Timestamp;

pub use super::write::{Decision, Write};
use super::{Entry, enroll::fill_in, review::Operation, status_subresource, validate, write::govern};
use crate::defrag::{defaulting, policy::PolicySnapshot, statefulset::StatefulSet};

/// Decides on a write.
#[must_use]
pub fn decide(entry: Entry, write: Write<'_>, snapshot: &PolicySnapshot, now: Timestamp) -> Decision {
    if write.operation == Operation::Other || write.object.metadata.deletion_timestamp.is_some() {
        return Decision::default();
    }
    let governing = || govern(snapshot, write.object);
    match entry {
        // What is there already is enrolled by the reconciler.
        Entry::Enroll if write.operation == Operation::Create => fill_in(entry, write, &governing()),
        Entry::Mutate if write.changes_known_keys() => fill_in(entry, write, &governing()),
        Entry::Status if write.concerns_us() => through_status(write, snapshot, now),
        Entry::Enroll | Entry::Status => Decision::default(),
        Entry::Mutate if write.brings_in_unknown_keys() => validate::change(write, snapshot, now),
        Entry::Create | Entry::Validate if write.concerns_us() => validate::change(write, snapshot, now),
        // A change of our keys that the writer did not ask for would turn a rescue into a write that can be refused.
        Entry::Mutate | Entry::Create | Entry::Validate => validate::edit_elsewhere(write, snapshot, now),
    }
}

/// Refuses what no write of the status may bring in, and assesses other keys of ours as in any write.
fn through_status(write: Write<'_>, snapshot: &PolicySnapshot, now: Timestamp) -> Decision {
    let policy = govern(snapshot, write.object).policy;
    let of = |object: &StatefulSet| validate::change(Write { object, ..write }, snapshot, now);
    // Nothing is filled in here, but what somebody writes is theirs, and is looked at as such.
    let changes = defaulting::changes(write.object, write.old, &policy);
    let theirs = (!changes.is_empty()).then(|| of(&defaulting::changed(write.object, &changes)));
    let refused = theirs.filter(|theirs| !theirs.refusals.is_empty());
    // What goes on is told of as it will be, since nothing is filled in.
    let mut decision = refused.unwrap_or_else(|| of(write.object));
    for refusal in status_subresource::through_status(write, &policy) {
        decision.findings.push(refusal.clone());
        decision.refusals.push(refusal);
    }
    if decision.refusals.is_empty() {
        decision.warnings.splice(0..0, status_subresource::keep_following(write));
    }
    decision
}
