//! From thresholds to a rule.

use crate::defrag::{
    policy::{DEFAULT_RULE, Limits},
    quantity::{KIB, MIB},
};

/// A run that gives back less than this is not worth its pause, whatever the usage, in bytes.
const LEAST_WORTH: u64 = 32 * MIB;

/// More than this is in use and to reclaim wherever the first half of the built-in rule is true, in bytes.
const DEFAULT_FREE: u64 = 100 * MIB;

/// What is always enough to reclaim near the quota, in bytes, where a tenth of the quota is not less.
const ENOUGH: u64 = 256 * MIB;

/// The share of the quota above which a rule without `quota-usage-above` watches the quota.
const WATCHED_USAGE: f64 = 0.8;

/// Thresholds, each of them optional.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Thresholds {
    /// A share of the quota, strictly between 0 and 1.
    pub usage_above: Option<f64>,
    /// Reclaimable space in bytes.
    pub free_above: Option<u64>,
    /// The reclaimable share of the database file, strictly between 0 and 1.
    pub free_share_above: Option<f64>,
}

impl Thresholds {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.usage_above.is_none() && self.free_above.is_none() && self.free_share_above.is_none()
    }
}

/// The rule for `quota-usage-above`, `free-above` and `free-share-above`.
///
/// | given | the rule fires |
/// | --- | --- |
/// | `free-above` | with more than that to reclaim |
/// | `free-share-above` | with more than that share of the file to reclaim, and more than 32 MiB |
/// | `quota-usage-above` | above that share of the quota with more than 32 MiB to reclaim: a full database of live data alone is no reason |
/// | none | as the built-in rule does |
///
/// Of several, one is enough. Without `quota-usage-above` the first two fire above 80 % of the quota, too, so that a generous
/// threshold does not let the database reach its quota. A `free-above` of at most 32 MiB needs no other part. Within the
/// limits of the built-in policy (a ceiling of 90 %), [`analyse`](super::analyse) proves each of these rules whose usage
/// is at most the ceiling and whose `free-above` is below the quota and at least 1 MiB.
#[must_use]
pub fn compile(thresholds: Thresholds) -> String {
    within(thresholds, 0, (0.0, 1.0))
}

/// [`compile`] under the limits of a policy: no part of the rule fires with less to reclaim than the policy allows, and
/// the quota is watched from a share on that the policy allows.
#[must_use]
pub fn compile_within(thresholds: Thresholds, limits: &Limits) -> String {
    within(thresholds, limits.min_free, range(limits))
}

/// The part that fires near the quota, under the limits of a policy. Joined to any rule by `||`, it makes that fire wherever it has to.
pub(super) fn near_quota(limits: &Limits) -> String {
    near(watched(range(limits)), least_worth(limits))
}

/// The share of the quota from which on [`near_quota`] fires.
pub(super) fn watched_usage(limits: &Limits) -> f64 {
    watched(range(limits))
}

/// What a run has to reclaim to be worth its pause, under the limits of a policy, in bytes.
pub(super) fn least_worth(limits: &Limits) -> u64 {
    LEAST_WORTH.max(limits.min_free)
}

const fn range(limits: &Limits) -> (f64, f64) {
    (limits.quota_usage_min, limits.quota_ceiling)
}

const fn watched((low, high): (f64, f64)) -> f64 {
    WATCHED_USAGE.max(low).min(high)
}

fn near(usage: f64, least: u64) -> String {
    format!("dbQuotaUsage > {usage} && dbSizeFree > {}", bytes(least))
}

fn within(thresholds: Thresholds, min_free: u64, range: (f64, f64)) -> String {
    let Thresholds { usage_above, free_above, free_share_above } = thresholds;
    let (least, watched) = (LEAST_WORTH.max(min_free), watched(range));
    if let Some(free) = free_above.filter(|free| *free <= least) {
        return format!("dbSizeFree > {}", bytes(free));
    }
    let absolute = free_above.map(|free| format!("dbSizeFree > {}", bytes(free)));
    let relative =
        free_share_above.map(|share| format!("(dbSizeFree > {share}*dbSize && dbSizeFree > {})", bytes(least)));
    let mut parts: Vec<String> = absolute.into_iter().chain(relative).collect();
    match usage_above {
        Some(usage) if parts.is_empty() => return near(usage, least),
        None if parts.is_empty() => return built_in(min_free, watched),
        _ => parts.push(format!("({})", near(usage_above.unwrap_or(watched), least))),
    }
    parts.join(" || ")
}

/// The built-in rule under limits.
fn built_in(min_free: u64, watched: f64) -> String {
    if (min_free, watched) == (0, WATCHED_USAGE) {
        return DEFAULT_RULE.to_owned();
    }
    let floor_from =
        |least: u64| if min_free >= least { format!(" && dbSizeFree > {}", bytes(min_free)) } else { String::new() };
    let enough = match min_free {
        ENOUGH.. => String::new(),
        _ => format!(" && (dbSizeFree > {} || dbSizeFree > 0.1*dbQuota)", bytes(ENOUGH)),
    };
    format!(
        "(dbSizeFree > 0.5*dbSize && dbSizeInUse > {}{}) || (dbQuotaUsage > {watched}{}{enough})",
        bytes(DEFAULT_FREE),
        floor_from(DEFAULT_FREE),
        floor_from(1)
    )
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
