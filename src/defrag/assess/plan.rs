//! What is in force for one etcd: what its CronJob is built from.

use std::time::Duration;

use jiff::Timestamp;

use super::settings::{Case, CheckedSettings};
use crate::defrag::{
    etcd,
    facts::Facts,
    finding::{WARNING_LIMIT, shorten},
    policy::{self, Limits},
    quantity,
    rule::{self, Rule},
    schedule::{Schedule, TimeZone},
    settings::{Given, Settings, length},
};

/// What is in force.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Plan {
    /// The namespace of the StatefulSet and of its CronJob.
    pub namespace: String,
    /// The name of the StatefulSet.
    pub name: String,
    /// The uid of the StatefulSet, where it has one.
    pub uid: Option<String>,
    /// The settings.
    pub settings: Settings,
    /// The same as they were given; `None` where none is acceptable.
    pub given: Option<Given>,
    /// The facts; `None` where none were ever known.
    pub facts: Option<Facts>,
    /// Whether `suspend` is set.
    pub suspend: bool,
    /// Whether no run may start: it is asked for, there is no member, or something that a run needs is missing.
    pub suspended: bool,
    /// Whether the whole fleet is paused.
    pub paused: bool,
    /// The schedule with `H` resolved, as the CronJob carries it.
    pub schedule: String,
    /// The rule, as the engine gets it.
    pub rule: String,
    /// How long one member's defragmentation may take.
    pub command_timeout: Duration,
    /// How long a run may take before it is ended.
    pub deadline: Duration,
    /// Whether each run compacts first.
    pub compaction: bool,
    /// The longest time between two runs, by the schedule; none for one that never fires.
    pub longest_pause: Option<Duration>,
    /// The token that asks for one run now.
    pub defrag_now: Option<String>,
    /// Where the quota was found, in words.
    pub(super) quota_source: String,
    /// Why no run compacts, in words, where that is worth a line.
    pub(super) no_compaction: Option<String>,
    parsed: Option<Schedule>,
    zone: TimeZone,
    /// By which the rule was checked.
    limits: Limits,
}

impl Plan {
    /// The plan of these settings and facts. Where no settings are acceptable it carries the built-in ones.
    pub(super) fn new(case: Case<'_>, checked: Option<CheckedSettings>, facts: Option<Facts>) -> Self {
        let acceptable = checked.is_some();
        let checked = checked.unwrap_or_else(|| case.built_in());
        let (object, limits) = (case.object, &case.policy.limits);
        let quota = facts.as_ref().map_or(etcd::DEFAULT_QUOTA, |facts| facts.quota);
        let (schedule, parsed, zone, intervals) = match checked.resolved {
            Some(resolved) => (resolved.text, Some(resolved.schedule), resolved.zone, resolved.intervals),
            None => (policy::DEFAULT_SCHEDULE.to_owned(), None, None, None),
        };
        let command_timeout =
            checked.settings.command_timeout.unwrap_or_else(|| etcd::default_command_timeout(quota, limits));
        let members = facts.as_ref().map_or(0, |facts| facts.replicas);
        Self {
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            uid: object.metadata.uid.clone(),
            deadline: length::Bounds::of(case.policy).deadline(members, command_timeout, checked.settings.wait),
            command_timeout,
            compaction: checked.settings.compaction.unwrap_or(!facts.as_ref().is_some_and(|facts| facts.no_compaction)),
            settings: checked.settings,
            given: acceptable.then_some(checked.given),
            longest_pause: intervals.map(|intervals| intervals.longest),
            schedule,
            rule: checked.rule,
            parsed,
            zone: zone.unwrap_or_else(TimeZone::utc),
            limits: limits.clone(),
            suspend: false,
            suspended: !acceptable || facts.as_ref().is_none_or(|facts| facts.endpoints.is_empty()),
            facts,
            paused: false,
            defrag_now: None,
            quota_source: String::new(),
            no_compaction: None,
        }
    }

    /// The zone that the schedule is read in; UTC where it is the controller manager's.
    #[must_use]
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The next fire times after `now`, at most `count`.
    #[must_use]
    pub fn next_runs(&self, now: Timestamp, count: usize) -> Vec<Timestamp> {
        self.parsed.iter().flat_map(|schedule| schedule.fire_times(now, &self.zone)).take(count).collect()
    }

    /// The least size at which the rule fires, in bytes.
    fn fires_above(&self) -> Option<u64> {
        let quota = self.facts.as_ref().map_or(etcd::DEFAULT_QUOTA, |facts| facts.quota);
        let rule = Rule::parse(&self.rule).ok()?;
        rule::first_firing(&rule, quota, &self.limits).map(|state| state.db_size)
    }

    /// The settings in force, a line of at most [`WARNING_LIMIT`] characters each: next runs, quota, when the
    /// rule fires, and what becomes of old revisions unless etcd compacts itself.
    #[must_use]
    pub fn effective(&self, now: Timestamp) -> Vec<String> {
        let next: Vec<String> = self
            .next_runs(now, 2)
            .into_iter()
            .map(|run| run.to_zoned(self.zone.rules().clone()).strftime("%Y-%m-%d %H:%M").to_string())
            .collect();
        let zone = self.settings.time_zone.as_deref().unwrap_or("UTC unless the controller manager differs");
        let runs = match (self.paused, self.suspended) {
            (true, _) => "the fleet is paused: no run until it is resumed".to_owned(),
            (false, true) => SUSPENDED.to_owned(),
            (false, false) => format!("next runs {} ({zone})", next.join(" and ")),
        };
        let quota = match &self.facts {
            Some(facts) => format!("quota {} ({})", quantity::human(facts.quota), self.quota_source),
            None => "the quota is not known".to_owned(),
        };
        let fires = match self.fires_above() {
            Some(bytes) => format!("a run can defragment a database {}", from(bytes)),
            None => "no database size makes the rule true".to_owned(),
        };
        let compacts = match &self.no_compaction {
            _ if self.compaction => {
                Some("each run compacts first, so watchers at older revisions list again".to_owned())
            }
            Some(reason) if self.settings.compaction.is_none() => Some(format!("no run compacts: {reason}")),
            _ => None,
        };
        let lines = [runs, quota, fires].into_iter().chain(compacts);
        lines.map(|line| shorten(&format!("etcd-defrag: {line}"), WARNING_LIMIT)).collect()
    }
}

/// That no run starts, and until when.
pub(super) const SUSPENDED: &str = "suspended: no run until that ends";

/// A least size in words: each `>` makes it a byte or two more than the number that a person wrote.
fn from(bytes: u64) -> String {
    let below = bytes / quantity::MIB * quantity::MIB;
    if below > 0 && (1..8).contains(&(bytes - below)) {
        return format!("above {}", quantity::human(below));
    }
    format!("from {} on", quantity::human(bytes))
}
