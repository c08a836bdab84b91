//! What the platform team allows and what it gives to every etcd.
//!
//! [`api`] is a `DefragPolicy` as people write it, [`Policy`] what is in force, [`compile`] the way from one to the other
//! with everything that is wrong, and [`PolicySet`] says which policy governs an object.

pub mod api;
mod compile;
mod compiled;
mod crd;
mod metrics;
mod policy_snapshot;
mod schema;
mod select;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Duration,
};

use k8s_openapi::api::core::v1::ResourceRequirements;

pub use api::{DefragPolicy, EnrollmentMode, ImagePullPolicy, Reaction};
pub use compile::compile;
pub use compiled::{Compiled, Labels};
pub use crd::crd;
pub use metrics::{Credentials, OnDemand, Source};
pub use policy_snapshot::PolicySnapshot;
pub use select::{Governing, PolicySet};

use super::{
    finding::{Code, Finding, Severity},
    keys::Key,
    quantity::GIB,
    quantity::MIB,
    schedule,
};

/// The rule that the built-in policy gives to every etcd: more than half of the file is free and more than 100 MiB are in use,
/// as the etcd mixin's alert on fragmentation has it, or once the database takes more than 80 % of its quota more than
/// 256 MiB or a tenth of the quota are free. docs/decisions/027 says why.
pub const DEFAULT_RULE: &str = "(dbSizeFree > 0.5*dbSize && dbSizeInUse > 100*1024*1024) || \
                                (dbQuotaUsage > 0.8 && (dbSizeFree > 256*1024*1024 || dbSizeFree > 0.1*dbQuota))";

/// The schedule that the built-in policy gives to every etcd, defrag.sh's.
pub const DEFAULT_SCHEDULE: &str = "0 0 * * *";

/// The longest time-out where a policy names none and the quota is not so large that it takes longer.
pub(super) const LONGEST_TIMEOUT: Duration = Duration::from_hours(1);
/// The longest wait where a policy names none.
pub(super) const LONGEST_WAIT: Duration = Duration::from_mins(30);

/// The policy that governs an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Values for annotations that a StatefulSet does not carry.
    pub defaults: BTreeMap<Key, String>,
    /// What no annotation may exceed.
    pub limits: Limits,
    /// Everything about the pod that defragments.
    pub job: Job,
    /// Whom to ask for measured sizes, where the policy says so.
    pub metrics: Option<OnDemand>,
    /// Who is enrolled.
    pub enrollment: EnrollmentMode,
    /// Whether an etcd may opt out where all are enrolled.
    pub allow_opt_out: bool,
    /// What happens to a write that a finding refuses.
    pub actions: Actions,
}

/// What happens to a write with a finding of [`Severity::Deny`]. Findings of [`Severity::Warn`] are always warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actions {
    /// The write is refused.
    pub deny: bool,
    /// The write goes through with a warning.
    pub warn: bool,
    /// The finding is in the audit annotations of the request.
    pub audit: bool,
}

/// The limits of annotations, and the actions on hazards: Allow, Warn or Deny.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Fire times closer than this are refused for a rule with a floor on reclaimable space.
    pub min_interval: Duration,
    /// Fire times closer than this are refused for a rule without such a floor.
    pub min_interval_without_floor: Duration,
    /// Fire times further apart than this are refused, where set.
    pub max_interval: Option<Duration>,
    /// When runs may start, where set.
    pub windows: Option<Vec<schedule::Window>>,
    /// The least `quota-usage-above`; 0 for none.
    pub quota_usage_min: f64,
    /// The greatest `quota-usage-above`, and the share of the quota above which a rule has to fire when there is enough
    /// to reclaim.
    pub quota_ceiling: f64,
    /// No rule may fire with less than this to reclaim, in bytes; 0 for no such limit.
    pub min_free: u64,
    /// The shortest wait between two members.
    pub min_wait: Duration,
    /// The shortest time-out for one member.
    pub min_command_timeout: Duration,
    /// The longest time-out for one member; `None` for an hour, or three times what scales with the quota.
    pub max_command_timeout: Option<Duration>,
    /// The longest wait between two members; `None` for half an hour.
    pub max_wait: Option<Duration>,
    /// The longest that a run of all members may take.
    pub max_deadline: Duration,
    /// What a GiB takes to defragment, in seconds.
    pub seconds_per_gib: u32,
    /// Quotas above this are too large, in bytes (etcd's suggested maximum).
    pub suggested_quota_max: u64,
    /// Volumes under this percentage of the quota are refused.
    pub volume_refused_below: u32,
    /// Volumes under this percentage of the quota are warned about.
    pub volume_warned_below: u32,
    /// The action on a single-member etcd.
    pub single_member: Reaction,
    /// The action on an even number of members.
    pub even_members: Reaction,
    /// The action on a rule of which a property could not be decided.
    pub unproven_rule: Reaction,
    /// The action if a rule fires with nothing to reclaim.
    pub futile_rule: Reaction,
    /// The action on a quota above [`Limits::suggested_quota_max`].
    pub above_suggested_quota: Reaction,
    /// The action if a liveness probe would kill a member while it defragments.
    pub eager_liveness_probe: Reaction,
    /// The action if the tag of the image shows no etcd version.
    pub unknown_version: Reaction,
    /// The action if each run compacts although the etcd compacts itself.
    pub redundant_compaction: Reaction,
    /// The action if something else defragments the same etcd.
    pub rival_defragmenter: Reaction,
    /// The keys that no annotation may set to anything but the policy's value.
    pub locked: BTreeSet<Key>,
}

/// Everything about the pod that defragments.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The part that is written to the CronJob unchanged; the numbers of its fields are in range.
    pub shape: api::Job,
    /// Requests and limits with each quantity in the form in which the API server gives it back.
    pub resources: ResourceRequirements,
}

impl Reaction {
    /// The finding as severe as this says; none where it is allowed.
    #[must_use]
    pub fn weigh(self, finding: Finding) -> Option<Finding> {
        match self {
            Self::Allow => None,
            Self::Warn => Some(finding.with_severity(Severity::Warn)),
            Self::Deny => Some(finding.with_severity(Severity::Deny)),
        }
    }
}

impl Limits {
    /// What counts as enough to reclaim above the ceiling, in bytes: a tenth of the quota, at least 32 MiB and at most
    /// 256 MiB, and never less than a rule has to wait for.
    #[must_use]
    pub fn enough_to_reclaim(&self, quota: u64) -> u64 {
        (quota / 10).clamp(32 * MIB, 256 * MIB).max(self.min_free)
    }

    /// The time-outs that are too short or too long for no etcd under these limits, whatever its quota is.
    #[must_use]
    pub fn command_timeouts(&self) -> RangeInclusive<Duration> {
        let most = self.max_command_timeout.unwrap_or(LONGEST_TIMEOUT);
        self.min_command_timeout..=most.max(self.min_command_timeout)
    }

    /// The waits between two members that these limits allow, whatever the policy gives itself.
    #[must_use]
    pub fn waits(&self) -> RangeInclusive<Duration> {
        self.min_wait..=self.max_wait.unwrap_or(LONGEST_WAIT).max(self.min_wait)
    }

    /// What these limits say of schedules, for a rule with or without a floor on reclaimable space.
    #[must_use]
    pub fn of_schedule(&self, floor: bool) -> schedule::ScheduleLimits {
        schedule::ScheduleLimits {
            min_interval: if floor { self.min_interval } else { self.min_interval_without_floor },
            max_interval: self.max_interval,
            windows: self.windows.clone(),
            locks_zone: self.locked.contains(&Key::TimeZone),
        }
    }

    /// The action for findings of this code, if the policy sets it.
    #[must_use]
    pub const fn reaction(&self, code: Code) -> Option<Reaction> {
        Some(match code {
            Code::SingleMember => self.single_member,
            Code::EvenMembers => self.even_members,
            Code::RuleUndecided => self.unproven_rule,
            Code::RuleFutile => self.futile_rule,
            Code::QuotaAboveSuggested => self.above_suggested_quota,
            Code::LivenessTooEager => self.eager_liveness_probe,
            Code::EtcdVersionUnknown => self.unknown_version,
            Code::CompactionRedundant => self.redundant_compaction,
            Code::RivalDefragmenter => self.rival_defragmenter,
            _ => return None,
        })
    }

    /// The findings, each as severe as the policy says, without those that it allows.
    #[must_use]
    pub fn weigh(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let weigh = |finding: Finding| match self.reaction(finding.code) {
            Some(reaction) => reaction.weigh(finding),
            None => Some(finding),
        };
        findings.into_iter().filter_map(weigh).collect()
    }
}

impl Policy {
    /// The policy that governs where no policy object does: that of an empty `DefragPolicy`.
    #[must_use]
    pub fn built_in() -> Self {
        Self {
            defaults: BTreeMap::from([
                (Key::Schedule, DEFAULT_SCHEDULE.to_owned()),
                (Key::Rule, DEFAULT_RULE.to_owned()),
            ]),
            limits: Limits {
                min_interval: Duration::from_mins(10),
                min_interval_without_floor: Duration::from_hours(1),
                max_interval: None,
                windows: None,
                quota_usage_min: 0.0,
                quota_ceiling: 0.9,
                min_free: 0,
                min_wait: Duration::ZERO,
                min_command_timeout: Duration::from_mins(1),
                max_command_timeout: None,
                max_wait: None,
                max_deadline: Duration::from_hours(12),
                seconds_per_gib: 10,
                suggested_quota_max: 8 * GIB,
                volume_refused_below: 100,
                volume_warned_below: 200,
                single_member: Reaction::Warn,
                even_members: Reaction::Warn,
                unproven_rule: Reaction::Warn,
                futile_rule: Reaction::Warn,
                above_suggested_quota: Reaction::Warn,
                eager_liveness_probe: Reaction::Warn,
                unknown_version: Reaction::Warn,
                redundant_compaction: Reaction::Warn,
                rival_defragmenter: Reaction::Warn,
                locked: BTreeSet::new(),
            },
            job: Job { shape: api::Job::default(), resources: api::Job::default().resources },
            metrics: None,
            enrollment: EnrollmentMode::Labeled,
            allow_opt_out: false,
            actions: Actions { deny: true, warn: false, audit: false },
        }
    }

    /// Whether `finding` keeps an etcd from being defragmented: it refuses, and either this policy refuses what breaks its
    /// limits or the finding is about more than a limit.
    #[must_use]
    pub fn prevents(&self, finding: &Finding) -> bool {
        finding.denies() && (self.actions.deny || !finding.code.is_limit())
    }
}

#[cfg(test)]
mod job_tests;
#[cfg(test)]
mod tests;
