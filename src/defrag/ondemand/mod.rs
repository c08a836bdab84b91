//! Defragmentation when it is required: what Prometheus measured, and whether a run should start now.
//!
//! ```text
//! answers ── read ──▶ Readings ── measure ──▶ Measured, or a Refusal by name
//!  (JSON)                                         │
//!              Aim (rule, quota, members) ────────┴── decide ──▶ Start or Hold, with the reason in words
//! ```
//!
//! Nothing here sends a query or reads a clock. Values that cannot be trusted never start a run: if a Prometheus has no
//! values, old ones or impossible ones, the result is a [`Refusal`], and scheduled runs continue as they do without
//! metrics.

mod answer;
mod decide;
mod measure;
mod pace;
mod places;
mod queries;

use std::{collections::BTreeMap, time::Duration};

use super::{
    Plan,
    rule::{Rule, State},
    schedule::TimeZone,
};

pub use answer::{AnswerError, Sample, read};
pub use decide::{Decision, Facts, Hold, Readiness, guard, wants};
pub use measure::{Measured, Member, Reading, Readings, Refusal, Series, measure};
pub use pace::Pace;
pub use places::{Place, Places, Wanting};
pub use queries::{Metric, Queries};

/// What has to be known of an etcd to decide on its measured state: a small part of its [`Plan`].
#[derive(Clone, Debug, PartialEq)]
pub struct Aim {
    /// The namespace.
    pub namespace: String,
    /// The StatefulSet.
    pub name: String,
    /// The number of the first pod.
    pub first_ordinal: u32,
    /// How many members there should be.
    pub replicas: u32,
    /// The quota that was discovered, in bytes.
    pub quota: u64,
    /// Its own rule.
    pub rule: Rule,
    /// Whether its CronJob is suspended.
    pub suspended: bool,
    /// Whether the whole fleet is paused.
    pub paused: bool,
    /// The zone of its schedule, in which windows without one of their own are meant.
    pub zone: TimeZone,
}

impl Aim {
    /// The part of a plan that is needed; nothing for an etcd without members or, which no plan has, an unreadable rule.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Self> {
        let facts = plan.facts.as_ref().filter(|facts| facts.replicas > 0)?;
        Some(Self {
            namespace: plan.namespace.clone(),
            name: plan.name.clone(),
            first_ordinal: facts.first_ordinal,
            replicas: facts.replicas,
            quota: facts.quota,
            rule: Rule::parse(&plan.rule).ok()?,
            suspended: plan.suspended,
            paused: plan.paused,
            zone: plan.zone().clone(),
        })
    }

    /// The names of its pods.
    pub fn pods(&self) -> impl Iterator<Item = String> {
        let last = self.first_ordinal.saturating_add(self.replicas);
        (self.first_ordinal..last).map(|ordinal| format!("{}-{ordinal}", self.name))
    }
}

/// How many days until the data in use alone reaches the quota, at this growth in bytes a second; no defragmentation helps
/// then. `None` where it does not grow.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "days are told with one digit")]
pub fn days_to_quota(state: &State, growth: f64) -> Option<f64> {
    let left = state.quota.saturating_sub(state.db_size_in_use) as f64;
    (growth.is_finite() && growth > 0.0).then(|| left / growth / 86_400.0)
}

/// Labels of a series.
pub(crate) type SeriesLabels = BTreeMap<String, String>;

/// In whole minutes, seconds under two minutes.
fn about(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) }
}

#[cfg(test)]
mod tests;
