//! Ways to decide when to defragment.

use std::time::Duration;

use etcd_defrag_webhook::defrag::{
    ondemand::{Aim, Decision, Facts, Measured, Member, Pace, wants},
    policy::DEFAULT_RULE,
    rule::{Rule, State},
    schedule::TimeZone,
};
use jiff::{SignedDuration, Timestamp};

use crate::{MEMBERS, model::DAY};

/// What the README of etcd-defrag advises, and what kamaji-etcd's defrag.sh passes on.
const UPSTREAM_RULE: &str = "dbQuotaUsage > 0.8 || dbSize - dbSizeInUse > 200*1024*1024";
/// What docs/on-demand.md advises where sizes are measured.
pub(crate) const ON_DEMAND_RULE: &str = "dbQuotaUsage > 0.8 && dbSizeFree > 256*1024*1024";
/// What the engine takes for the quota where nobody tells it.
const ASSUMED_QUOTA: u64 = 2 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    Never,
    EveryNight,
    DefragSh,
    Upstream,
    Scheduled,
    ScheduledAndOnDemand,
    OnDemand,
}

impl Strategy {
    pub(crate) const ALL: [Self; 7] = [
        Self::Never,
        Self::EveryNight,
        Self::DefragSh,
        Self::Upstream,
        Self::Scheduled,
        Self::ScheduledAndOnDemand,
        Self::OnDemand,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::EveryNight => "every night",
            Self::DefragSh => "defrag.sh",
            Self::Upstream => "upstream rule",
            Self::Scheduled => "ours, scheduled",
            Self::ScheduledAndOnDemand => "ours, scheduled and on demand",
            Self::OnDemand => "ours, on demand",
        }
    }

    pub(crate) fn about(self) -> String {
        match self {
            Self::Never => "nobody defragments".to_owned(),
            Self::EveryNight => "at midnight, without a rule: what the engine does where none is given".to_owned(),
            Self::DefragSh => {
                format!("at midnight, with `{UPSTREAM_RULE}` and no quota: the engine then takes 2 GiB for the quota")
            }
            Self::Upstream => format!("at midnight, with the same rule and the real quota: `{UPSTREAM_RULE}`"),
            Self::Scheduled => format!("at midnight, with the built-in rule: `{DEFAULT_RULE}`"),
            Self::ScheduledAndOnDemand => {
                "the same, and whenever that rule holds for what was measured, at most once a day unless near the quota"
                    .to_owned()
            }
            Self::OnDemand => format!(
                "whenever this holds for what was measured, at most once a day unless near the quota, and by schedule once a week: `{ON_DEMAND_RULE}`"
            ),
        }
    }

    pub(crate) fn decider(self) -> Decider {
        let rule = match self {
            Self::Never | Self::EveryNight => "",
            Self::DefragSh | Self::Upstream => UPSTREAM_RULE,
            Self::Scheduled | Self::ScheduledAndOnDemand => DEFAULT_RULE,
            Self::OnDemand => ON_DEMAND_RULE,
        };
        Decider::new(self, rule)
    }
}

/// A strategy at work.
pub(crate) struct Decider {
    strategy: Strategy,
    aim: Aim,
    last: Option<u32>,
}

impl Decider {
    /// At midnight, by this rule.
    pub(crate) fn nightly(rule: &str) -> Self {
        Self::new(Strategy::Scheduled, rule)
    }

    fn new(strategy: Strategy, rule: &str) -> Self {
        let Ok(rule) = Rule::parse(rule) else { unreachable!("the rules here are constants") };
        let aim = Aim {
            namespace: "ns".to_owned(),
            name: "etcd".to_owned(),
            first_ordinal: 0,
            replicas: MEMBERS,
            quota: 8 << 30,
            rule,
            suspended: false,
            paused: false,
            zone: TimeZone::utc(),
        };
        Self { strategy, aim, last: None }
    }

    /// Whether the members, all in this state, are defragmented at this step.
    pub(crate) fn defragments(&mut self, step: u32, state: &State) -> bool {
        let holds = |state: &State| self.aim.rule.evaluate(state) == Ok(true);
        let (midnight, sunday) = (step.is_multiple_of(DAY) && step > 0, step % (7 * DAY) == 6 * DAY);
        let yes = match self.strategy {
            Strategy::Never => false,
            Strategy::EveryNight | Strategy::Upstream | Strategy::Scheduled => midnight && holds(state),
            Strategy::DefragSh => midnight && holds(&State { quota: ASSUMED_QUOTA, ..*state }),
            Strategy::ScheduledAndOnDemand => midnight && holds(state) || self.required(step, state),
            Strategy::OnDemand => sunday && holds(state) || self.required(step, state),
        };
        if yes {
            self.last = Some(step);
        }
        yes
    }

    /// What the reconciler would do with these measurements.
    fn required(&self, step: u32, state: &State) -> bool {
        let at = |step: u32| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(10 * i64::from(step));
        let now = at(step);
        let members = self.aim.pods().map(|pod| Member { pod, state: *state }).collect();
        let measured = Measured { members, corrupt: Vec::new(), scraped: now };
        let pace = Pace {
            cooldown: Duration::from_hours(24),
            emergency_cooldown: Duration::from_mins(10),
            emergency_above: 0.95,
            windows: None,
        };
        let facts = Facts { active: false, last_run: self.last.map(at) };
        matches!(wants(&self.aim, &measured, facts, &pace, now), Decision::Start { .. })
    }
}
