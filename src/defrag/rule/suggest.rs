//! The rules that messages propose instead. A proposal passes the check that it is for, with this quota and policy.

use super::{
    ENGINE_SAMPLE, Rule, Verdict,
    compile::{self, Thresholds, bytes},
    kept, suspect, words,
};
use crate::defrag::{policy::Limits, quantity::MIB};

/// `advice` with a sound rule for an etcd with this quota in bytes.
pub(super) fn with_example(advice: &str, quota: u64, limits: &Limits) -> String {
    match rule(quota, limits) {
        Some(rule) => format!("{advice}, for example: {rule}"),
        None => format!("{advice}. {}", no_rule(quota)),
    }
}

/// How to join another condition to a rule by `operator`, so that it binds to all of the rule and no comment takes it.
pub(super) fn joined(rule: &Rule, operator: &str, condition: &str) -> String {
    let is_or = operator == "||";
    match (is_or && !rule.is_choice(), rule.ends_in_comment()) {
        (true, false) => format!("Add: {operator} {condition}"),
        (true, true) => format!("Add in front of the comment at its end: {operator} {condition}"),
        (false, false) => format!("Put the rule in parentheses and add: {operator} {condition}"),
        (false, true) => {
            format!("Put the rule without the comment at its end in parentheses and add: {operator} {condition}")
        }
    }
}

/// A condition on reclaimable space that makes a rule worth its runs, to be joined to it by `&&`.
pub(super) fn floor(quota: u64, limits: &Limits) -> Option<String> {
    least_free(quota, limits).map(|floor| format!("dbSizeFree > {}", bytes(floor)))
}

/// What a rule has to wait for to be worth its runs, in bytes.
pub(super) fn least_free(quota: u64, limits: &Limits) -> Option<u64> {
    let floors = [compile::least_worth(limits), MIB.max(limits.min_free)];
    floors.into_iter().find(|floor| *floor < quota)
}

/// A `free-above` that a database of this quota reaches, in bytes.
pub(super) fn reachable_free(quota: u64, limits: &Limits) -> Option<u64> {
    Some((quota / 8 / MIB * MIB).max(MIB).max(limits.min_free)).filter(|free| *free < quota)
}

/// That there is nothing to suggest.
pub(super) fn no_rule(quota: u64) -> String {
    format!("No rule suits a quota of {}, so check the quota first.", words::size(quota))
}

/// The built-in rule, or a simpler one where that is not sound.
fn rule(quota: u64, limits: &Limits) -> Option<String> {
    // Where no quota is known, the engine assumes the same as for its own trial.
    let quota = if quota == 0 { ENGINE_SAMPLE.quota } else { quota };
    let candidates = [
        compile::compile_within(Thresholds::default(), limits),
        compile::near_quota(limits),
        format!("dbSizeFree > {}", bytes(MIB.max(limits.min_free))),
    ];
    let is_allowed = limits.min_free < quota;
    candidates.into_iter().find(|text| is_allowed && is_sound(text, quota, limits))
}

/// Whether a rule has no findings.
fn is_sound(text: &str, quota: u64, limits: &Limits) -> bool {
    let Ok(rule) = Rule::parse(text) else { return false };
    let analysis = kept::analyse(&rule, quota, limits);
    let verdicts = [
        analysis.never_fails,
        analysis.not_always_true,
        analysis.not_always_false,
        analysis.fires_above_ceiling,
        analysis.never_futile,
    ];
    verdicts.iter().all(|verdict| *verdict == Verdict::Proven)
        && analysis.floor.unwrap_or(0) >= limits.min_free / MIB * MIB
        && suspect::suspects(&rule, quota, analysis.size_limit).is_empty()
}
