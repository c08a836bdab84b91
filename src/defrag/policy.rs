//! What the platform team allows and what it gives to every etcd.
//!
//! The built-in default is the only source of a policy so far.

use std::{collections::BTreeMap, time::Duration};

use super::{finding::Severity, keys::Key, quantity::GIB, quantity::MIB};

/// The rule that the built-in policy gives to every etcd: at least 200 MiB to reclaim, or at least 32 MiB once the
/// database takes more than 80 % of its quota.
pub const DEFAULT_RULE: &str = "dbSizeFree > 200*1024*1024 || (dbQuotaUsage > 0.8 && dbSizeFree > 32*1024*1024)";

/// The policy that governs an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Values for annotations that a StatefulSet does not carry.
    pub defaults: BTreeMap<Key, String>,
    /// What no annotation may exceed.
    pub limits: Limits,
    /// Everything about the pod that defragments.
    pub job: Job,
}

/// What no annotation may exceed.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Fire times closer than this are refused for a rule with a floor on reclaimable space.
    pub min_interval: Duration,
    /// Fire times closer than this are refused for a rule without such a floor.
    pub min_interval_without_floor: Duration,
    /// Fire times further apart than this are refused, where set.
    pub max_interval: Option<Duration>,
    /// The share of the quota above which a rule has to fire when there is enough to reclaim.
    pub quota_ceiling: f64,
    /// How a single-member etcd is judged.
    pub single_member: Severity,
    /// How an even number of members is judged.
    pub even_members: Severity,
    /// How a rule is judged of which a property could not be decided.
    pub unproven_rule: Severity,
    /// Quotas above this are warned about, in bytes (etcd's suggested maximum).
    pub suggested_quota_max: u64,
}

/// Everything about the pod that defragments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The engine's image.
    pub image: String,
    /// Successful Jobs that are kept.
    pub successful_jobs_history_limit: i32,
    /// Failed Jobs that are kept.
    pub failed_jobs_history_limit: i32,
    /// How late a run may start, in seconds.
    pub starting_deadline_seconds: i64,
    /// How long a finished Job is kept, in seconds.
    pub ttl_seconds_after_finished: i32,
    /// What the container asks for, as Kubernetes quantities by resource.
    pub requests: BTreeMap<String, String>,
    /// What the container may use at most.
    pub limits: BTreeMap<String, String>,
}

impl Limits {
    /// What counts as enough to reclaim above the ceiling, in bytes: a tenth of the quota, at least 32 MiB and at most
    /// 256 MiB.
    #[must_use]
    pub fn enough_to_reclaim(&self, quota: u64) -> u64 {
        (quota / 10).clamp(32 * MIB, 256 * MIB)
    }
}

impl Policy {
    /// The policy that governs where no policy object does.
    #[must_use]
    pub fn built_in() -> Self {
        Self {
            defaults: BTreeMap::from([(Key::Schedule, "0 0 * * *".to_owned()), (Key::Rule, DEFAULT_RULE.to_owned())]),
            limits: Limits {
                min_interval: Duration::from_mins(10),
                min_interval_without_floor: Duration::from_hours(1),
                max_interval: None,
                quota_ceiling: 0.9,
                single_member: Severity::Warn,
                even_members: Severity::Warn,
                unproven_rule: Severity::Warn,
                suggested_quota_max: 8 * GIB,
            },
            job: Job {
                image: "ghcr.io/ahrtr/etcd-defrag:v0.42.0".to_owned(),
                successful_jobs_history_limit: 3,
                failed_jobs_history_limit: 3,
                starting_deadline_seconds: 600,
                ttl_seconds_after_finished: 7 * 24 * 60 * 60,
                requests: BTreeMap::from([
                    ("cpu".to_owned(), "10m".to_owned()),
                    ("memory".to_owned(), "32Mi".to_owned()),
                ]),
                limits: BTreeMap::from([("memory".to_owned(), "128Mi".to_owned())]),
            },
        }
    }
}
