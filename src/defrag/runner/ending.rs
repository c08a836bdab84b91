//! How a run ended, from what was done with each member.

use super::quota;
use crate::defrag::run_result::{Did, Member, Outcome};

/// The outcome of a run that came to its end: every member had its turn. `failed` says whether anything failed besides
/// defragmentations, such as a transfer of leadership.
#[must_use]
pub fn outcome(members: &[Member], dry_run: bool, failed: bool) -> Outcome {
    let any = |did: Did| members.iter().any(|member| member.did == did);
    if failed || any(Did::Failed) {
        Outcome::Failed
    } else if dry_run {
        Outcome::Checked
    } else if any(Did::Defragmented) {
        Outcome::Done
    } else {
        Outcome::NothingToDo
    }
}

/// What a dry run that found nothing wrong has to say: how many members the rule is true for, and a quota that differs.
#[must_use]
pub fn reason_of_check(members: &[Member], given: u64) -> String {
    let due = members.iter().filter(|member| member.did == Did::Checked).count();
    let differs = differing_quota(members, given).map(|text| format!("; {text}"));
    format!("the rule is true for {due} of {} now{}", members.len(), differs.unwrap_or_default())
}

/// The first member whose quota is not the one that the rule is evaluated with, and what to set.
#[must_use]
pub fn differing_quota(members: &[Member], given: u64) -> Option<String> {
    members.iter().find_map(|member| Some(format!("{}: {}", member.name, quota::mismatch(given, member.quota)?)))
}
