//! What messages tell people to write instead. It passes the checks that it is a way out of, for this quota and policy.

use super::{
    ENGINE_SAMPLE, Rule, Verdict, analyse,
    compile::{self, Thresholds, bytes},
    suspect, words,
};
use crate::defrag::{policy::Limits, quantity::MIB};

/// `advice` with a sound rule for an etcd with this quota in bytes.
pub(super) fn with_example(advice: &str, quota: u64, limits: &Limits) -> String {
    match rule(quota, limits) {
        Some(rule) => format!("{advice}, for example: {rule}"),
        None => format!("{advice}. {}", no_rule(quota)),
    }
}

/// A condition on reclaimable space that makes a rule worth its runs, to be joined to it by `&&`.
pub(super) fn floor(quota: u64, limits: &Limits) -> Option<String> {
    let floors = [compile::least_worth(limits), MIB.max(limits.min_free)];
    floors.into_iter().find(|floor| *floor < quota).map(|floor| format!("dbSizeFree > {}", bytes(floor)))
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
    candidates.into_iter().find(|text| is_sound(text, quota, limits))
}

/// Whether nothing is to be said against a rule.
fn is_sound(text: &str, quota: u64, limits: &Limits) -> bool {
    let Ok(rule) = Rule::parse(text) else { return false };
    let analysis = analyse(&rule, quota, limits);
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
