//! What no annotation may exceed, as people write it.

use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{super::schema, LockableKey};

/// The action on a hazard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "documentation of a variant would leave the schema; the fields have it")]
pub enum Reaction {
    Allow,
    Warn,
    Deny,
}

/// The limits of annotations, and the actions on hazards: Allow, Warn or Deny.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("duration(self.minInterval) > duration('0s')").field_path(".minInterval").message(
        "minInterval has to be longer than 0s, such as 10m",
    ),
    Rule::new("!has(self.minIntervalWithoutFloor) || duration(self.minInterval) <= duration(self.minIntervalWithoutFloor)").field_path(".minIntervalWithoutFloor").message(
        "minIntervalWithoutFloor is for rules that may fire with nothing to reclaim, so it cannot be shorter than \
         minInterval: write at least the same",
    ),
    Rule::new("!has(self.maxInterval) || duration(self.minInterval) <= duration(self.maxInterval)").field_path(".maxInterval").message(
        "no schedule can keep a maxInterval shorter than minInterval: write a longer maxInterval or a shorter minInterval",
    ),
    Rule::new("duration(self.minCommandTimeout) >= duration('1s') && duration(self.minCommandTimeout) <= duration('24h')").field_path(".minCommandTimeout").message(
        "minCommandTimeout is from 1s to 24h, such as 60s: a member is blocked for as long as it defragments",
    ),
    Rule::new("quantity(self.suggestedQuota).isGreaterThan(quantity('0'))").field_path(".suggestedQuota").message(
        "a suggestedQuota of 0 would object to every etcd: write a size such as 8Gi, or aboveSuggestedQuota: Allow",
    ),
    Rule::new("duration(self.minWaitBetweenMembers) <= duration('24h')").field_path(".minWaitBetweenMembers").message(
        "minWaitBetweenMembers is at most 24h, such as 30s: a longer run would collide with the next",
    ),
    Rule::new("!has(self.maxCommandTimeout) || (duration(self.maxCommandTimeout) >= duration(self.minCommandTimeout) && duration(self.maxCommandTimeout) <= duration('24h'))").field_path(".maxCommandTimeout").message(
        "maxCommandTimeout is from minCommandTimeout to 24h, such as 1h: no command-timeout could keep both",
    ),
    Rule::new("!has(self.maxWaitBetweenMembers) || (duration(self.maxWaitBetweenMembers) >= duration(self.minWaitBetweenMembers) && duration(self.maxWaitBetweenMembers) <= duration('24h'))").field_path(".maxWaitBetweenMembers").message(
        "maxWaitBetweenMembers is from minWaitBetweenMembers to 24h, such as 30m: no wait could keep both",
    ),
    Rule::new("!has(self.maxDeadline) || (duration(self.maxDeadline) >= duration('5m') && duration(self.maxDeadline) <= duration('720h'))").field_path(".maxDeadline").message(
        "maxDeadline is from 5m to 720h, such as 12h: no run of a whole etcd is shorter",
    ),
]))]
pub struct LimitsSpec {
    /// The shortest time between two fire times of a schedule whose rule requires space to reclaim, a Go duration.
    /// Defaults to 10m.
    #[schemars(schema_with = "schema::duration")]
    pub min_interval: String,
    /// The shortest time between two fire times of a schedule whose rule may fire with nothing to reclaim, a Go duration.
    /// Default: 1h, or minInterval if that is longer.
    #[schemars(schema_with = "schema::duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_interval_without_floor: Option<String>,
    /// The longest time between two fire times, a Go duration such as 168h. Default: no limit.
    #[schemars(schema_with = "schema::duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<String>,
    /// When runs may start; every fire time of a schedule has to be in one of them. Empty means at any time.
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// The range of quota-usage-above.
    pub quota_usage: UsageRange,
    /// No run may be started for less than this to reclaim: 64Mi. This is proven for each rule. Defaults to 0, which
    /// means no such limit.
    #[schemars(schema_with = "schema::size")]
    pub min_free: String,
    /// The shortest wait between two members, a Go duration. Defaults to 0s.
    #[schemars(schema_with = "schema::duration")]
    pub min_wait_between_members: String,
    /// The shortest command-timeout, a Go duration. With a shorter one a member may still be blocked when the client gives up.
    /// Defaults to 60s.
    #[schemars(schema_with = "schema::duration")]
    pub min_command_timeout: String,
    /// The longest command-timeout, a Go duration. Default: 1h, or three times the command-timeout that scales with the
    /// quota if that is longer; the scaled one itself is never too long.
    #[schemars(schema_with = "schema::duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_command_timeout: Option<String>,
    /// The longest wait between two members, a Go duration. Default: 30m, or minWaitBetweenMembers if that is longer.
    #[schemars(schema_with = "schema::duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_wait_between_members: Option<String>,
    /// The longest time that a whole run may take before it is ended, a Go duration: for each member, and once more,
    /// command-timeout and wait, and job.deadlineSlackSeconds. Default: 12h.
    #[schemars(schema_with = "schema::duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_deadline: Option<String>,
    /// How long the storage of this cluster takes to defragment a GiB, in seconds. The default command-timeout is three
    /// times that for each GiB of the quota, and liveness probes are checked with it. Defaults to 10.
    #[schemars(range(min = 1, max = 600))]
    pub seconds_per_gi_b: i32,
    /// aboveSuggestedQuota is for quotas above this. Defaults to 8Gi, etcd's own advice.
    #[schemars(schema_with = "schema::size")]
    pub suggested_quota: String,
    /// How large the volume of a member has to be, compared with its quota.
    pub volume: VolumeLimits,
    /// The action if there is only one member, which is down during each run: Allow, Warn or Deny. Defaults to Warn.
    pub single_member: Reaction,
    /// The action if the number of members is even; with two, each run loses the quorum. Defaults to Warn.
    pub even_members: Reaction,
    /// The action if a property of a rule could not be proven. Defaults to Warn.
    pub unproven_rule: Reaction,
    /// The action if a rule fires with nothing to reclaim. Defaults to Warn.
    pub futile_rule: Reaction,
    /// The action if the quota is above suggestedQuota: Allow, Warn or Deny. Defaults to Warn.
    pub above_suggested_quota: Reaction,
    /// The action if a liveness probe would kill a member while it defragments. Defaults to Warn.
    pub eager_liveness_probe: Reaction,
    /// The action if the tag of the image shows no etcd version. Versions with known defragmentation bugs are always refused.
    /// Defaults to Warn.
    pub unknown_version: Reaction,
    /// The action if each run compacts although the etcd compacts itself. Defaults to Warn.
    pub redundant_compaction: Reaction,
    /// The action if something else defragments the same etcd. Defaults to Warn.
    pub rival_defragmenter: Reaction,
    /// Names of annotations (without etcd-defrag.io/) that no StatefulSet may set to anything but the value in
    /// defaults; endpoints and service have no default, and are locked to what is read from the StatefulSet. Locking
    /// one of rule, quota-usage-above, free-above and free-share-above locks all of them.
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "set"))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locked_keys: Vec<LockableKey>,
}

/// A part of the day in which runs may start.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("self.from != self.to").field_path(".to").message(
        "from and to are the same time, which could mean all day or never: for all day write from 00:00 to 24:00",
    ),
]))]
pub struct Window {
    /// The days on which the window begins. Empty means every day.
    #[schemars(length(max = 7), extend("x-kubernetes-list-type" = "set"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// When it begins, from 00:00 to 23:59.
    #[schemars(schema_with = "schema::begin")]
    pub from: String,
    /// When it ends, from 00:01 to 24:00. A time before from is on the next day.
    #[schemars(schema_with = "schema::end")]
    pub to: String,
    /// The time zone of from and to, an IANA name such as Europe/Rome. Default: the zone of each schedule. A schedule
    /// without a zone counts as UTC.
    #[schemars(length(min = 1, max = 64))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "days")]
pub enum Day {
    Sunday,
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
}

/// The range of quota-usage-above.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new(schema::usage_in_order()).field_path(".min").message(
        "min is above max, so no quota-usage-above would be allowed: write a min below max, such as 50% and 90%",
    ),
]))]
pub struct UsageRange {
    /// The least quota-usage-above: 50% or 0.5. Default: no limit.
    #[schemars(schema_with = "schema::share")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// The greatest quota-usage-above. Also, above this share of the quota every rule has to fire when there is enough
    /// to reclaim, which is proven: a tenth of the quota, but at least 32Mi and minFree, and at most 256Mi or minFree.
    /// Defaults to 90%.
    #[schemars(schema_with = "schema::share")]
    pub max: String,
}

/// How large the volume of a member has to be. A defragmentation writes a second copy of the database beside the first.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("!has(self.warnBelowPercent) || self.refuseBelowPercent <= self.warnBelowPercent").field_path(".warnBelowPercent").message(
        "a volume that is refused needs no warning: write a warnBelowPercent of at least refuseBelowPercent",
    ),
]))]
pub struct VolumeLimits {
    /// Volumes under this percentage of the quota are refused. Defaults to 100.
    #[schemars(range(min = 0, max = 1000))]
    pub refuse_below_percent: i32,
    /// Volumes under this percentage of the quota are warned about. Default: 200, or refuseBelowPercent if that is more.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_below_percent: Option<i32>,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            min_interval: "10m".to_owned(),
            min_interval_without_floor: None,
            max_interval: None,
            windows: Vec::new(),
            quota_usage: UsageRange::default(),
            min_free: "0".to_owned(),
            min_wait_between_members: "0s".to_owned(),
            min_command_timeout: "60s".to_owned(),
            max_command_timeout: None,
            max_wait_between_members: None,
            max_deadline: None,
            seconds_per_gi_b: 10,
            suggested_quota: "8Gi".to_owned(),
            volume: VolumeLimits::default(),
            single_member: Reaction::Warn,
            even_members: Reaction::Warn,
            unproven_rule: Reaction::Warn,
            futile_rule: Reaction::Warn,
            above_suggested_quota: Reaction::Warn,
            eager_liveness_probe: Reaction::Warn,
            unknown_version: Reaction::Warn,
            redundant_compaction: Reaction::Warn,
            rival_defragmenter: Reaction::Warn,
            locked_keys: Vec::new(),
        }
    }
}

impl Default for UsageRange {
    fn default() -> Self {
        Self { min: None, max: "90%".to_owned() }
    }
}

impl Default for VolumeLimits {
    fn default() -> Self {
        Self { refuse_below_percent: 100, warn_below_percent: None }
    }
}
