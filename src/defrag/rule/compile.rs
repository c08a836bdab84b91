//! From thresholds to a rule.

use crate::defrag::{
    policy::{DEFAULT_RULE, Limits},
    quantity::{KIB, MIB},
};

/// A run that gives back less than this is not worth its pause, whatever the usage, in bytes.
const LEAST_WORTH: u64 = 32 * MIB;

/// What the built-in rule wants to reclaim below the watched share of the quota, in bytes.
const DEFAULT_FREE: u64 = 200 * MIB;

/// The share of the quota above which a rule made of `free-above` alone watches the quota.
const WATCHED_USAGE: f64 = 0.8;

/// The rule for `quota-usage-above` (a ratio strictly between 0 and 1) and `free-above` (in bytes).
///
/// | given | the rule fires |
/// | --- | --- |
/// | both | with more than `free-above` to reclaim, **or** above the usage with more than 32 MiB to reclaim |
/// | the usage only | above the usage with more than 32 MiB to reclaim: a full database of live data alone is no reason |
/// | `free-above` only | with more than that to reclaim, **or** above 80 % of the quota with more than 32 MiB to reclaim, so that a generous threshold does not let the database reach its quota |
/// | none | as the built-in rule does |
///
/// The built-in rule is the one for 80 % and 200 MiB. A `free-above` of at most 32 MiB needs no second half. Within the
/// limits of the built-in policy (a ceiling of 90 %), [`analyse`](super::analyse) proves each of these rules whose usage
/// is at most the ceiling and whose `free-above` is below the quota and at least 1 MiB.
#[must_use]
pub fn compile(quota_usage_above: Option<f64>, free_above: Option<u64>) -> String {
    within(quota_usage_above, free_above, 0, (0.0, 1.0))
}

/// [`compile`] under the limits of a policy: no part of the rule fires with less to reclaim than the policy allows, and
/// the quota is watched from a share on that the policy allows.
#[must_use]
pub fn compile_within(quota_usage_above: Option<f64>, free_above: Option<u64>, limits: &Limits) -> String {
    let range = (limits.quota_usage_min, limits.quota_ceiling);
    within(quota_usage_above, free_above, limits.min_free, range)
}

fn within(usage_above: Option<f64>, free_above: Option<u64>, min_free: u64, (low, high): (f64, f64)) -> String {
    let (least, watched) = (LEAST_WORTH.max(min_free), WATCHED_USAGE.max(low).min(high));
    let usage = |ratio: f64| format!("dbQuotaUsage > {ratio} && dbSizeFree > {}", bytes(least));
    match (usage_above, free_above) {
        (None, None) if (least, watched) == (LEAST_WORTH, WATCHED_USAGE) => DEFAULT_RULE.to_owned(),
        (None, None) => within(Some(watched), Some(DEFAULT_FREE.max(least)), min_free, (low, high)),
        (Some(ratio), None) => usage(ratio),
        (_, Some(free)) if free <= least => format!("dbSizeFree > {}", bytes(free)),
        (ratio, Some(free)) => format!("dbSizeFree > {} || ({})", bytes(free), usage(ratio.unwrap_or(watched))),
    }
}

/// A number of bytes as a person would write it in a rule, at most the largest that the language has.
pub(super) fn bytes(value: u64) -> String {
    let value = value.min(i64::MAX.cast_unsigned());
    if value > 0 && value.is_multiple_of(MIB) {
        format!("{}*1024*1024", value / MIB)
    } else if value > 0 && value.is_multiple_of(KIB) {
        format!("{}*1024", value / KIB)
    } else {
        value.to_string()
    }
}
