//! `DefragPolicy` as people write it. The documentation of types and fields is what `kubectl explain` shows.

#![allow(clippy::doc_markdown, reason = "kubectl explain shows plain text")]
#![allow(clippy::duplicated_attributes, reason = "columns of one type")]

mod job;
mod limits;
mod lockable;
pub mod metrics;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

pub use job::{Engine, ImagePullPolicy, Job, Mesh, PodUser};
pub use limits::{Day, LimitsSpec, Reaction, UsageRange, VolumeLimits, Window};
pub use lockable::LockableKey;
pub use metrics::{MetricsSource, Prometheus};

/// The settings of a platform team for the etcds of its cluster: defaults, limits, and the Jobs that defragment. Exactly
/// one policy governs a StatefulSet: of those that match, the one with the highest priority, then the one whose
/// name comes first. If none matches, the built-in policy governs.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "etcd-defrag.io",
    version = "v1alpha1",
    kind = "DefragPolicy",
    plural = "defragpolicies",
    shortname = "dfp",
    category = "etcd-defrag",
    status = "DefragPolicyStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "DefragPolicy has the settings of the etcds of a cluster: defaults, limits, and the Jobs that defragment.",
    selectable = ".spec.enrollment",
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "Enrollment", type_ = "string", json_path = ".spec.enrollment"),
    // The API server shows one value for a column, and a list as JSON.
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.validationActions[?(@!=\"Audit\")]"),
    printcolumn(name = "Audit", type_ = "string", json_path = ".spec.validationActions[?(@==\"Audit\")]", priority = "1"),
    printcolumn(name = "Matched", type_ = "integer", json_path = ".status.matched"),
    printcolumn(name = "Violating", type_ = "integer", json_path = ".status.violating"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(name = "Engine", type_ = "string", json_path = ".status.engineImage", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new(schema::locked_keys_have_defaults()).field_path(".limits.lockedKeys").message(
        "each locked key needs a value to be locked to: write it in spec.defaults, or take the key out of \
         spec.limits.lockedKeys",
    ),
    Rule::new(schema::usage_default_in_range()).field_path(".defaults.quotaUsageAbove").message(
        "spec.limits.quotaUsage excludes this default: write a value inside the range, or widen the range",
    ),
    Rule::new("!has(self.defaults.freeAbove) || !quantity(self.defaults.freeAbove).isLessThan(quantity(self.limits.minFree))")
        .field_path(".defaults.freeAbove")
        .message("spec.limits.minFree excludes this default: write at least that, or a lower minFree"),
    Rule::new("!has(self.defaults.waitBetweenMembers) || duration(self.defaults.waitBetweenMembers) >= duration(self.limits.minWaitBetweenMembers)")
        .field_path(".defaults.waitBetweenMembers")
        .message("spec.limits.minWaitBetweenMembers excludes this default: write at least that, or a lower minWaitBetweenMembers"),
    Rule::new("!has(self.defaults.commandTimeout) || duration(self.defaults.commandTimeout) >= duration(self.limits.minCommandTimeout)")
        .field_path(".defaults.commandTimeout")
        .message("spec.limits.minCommandTimeout excludes this default: write at least that, or a lower minCommandTimeout"),
    Rule::new("!has(self.defaults.waitBetweenMembers) || !has(self.limits.maxWaitBetweenMembers) || duration(self.defaults.waitBetweenMembers) <= duration(self.limits.maxWaitBetweenMembers)")
        .field_path(".defaults.waitBetweenMembers")
        .message("spec.limits.maxWaitBetweenMembers excludes this default: write at most that, or a higher maxWaitBetweenMembers"),
    Rule::new("!has(self.defaults.commandTimeout) || !has(self.limits.maxCommandTimeout) || duration(self.defaults.commandTimeout) <= duration(self.limits.maxCommandTimeout)")
        .field_path(".defaults.commandTimeout")
        .message("spec.limits.maxCommandTimeout excludes this default: write at most that, or a higher maxCommandTimeout"),
    Rule::new("!self.allowOptOut || self.enrollment == 'All'").field_path(".allowOptOut").message(
        "allowOptOut is for etcds that enrollment: All enrols; with enrollment: Labeled everybody may remove the \
         label. Remove it, or write enrollment: All",
    ),
]))]
pub struct DefragPolicySpec {
    /// Which policy governs if several match: the highest priority wins, then the name that comes first
    /// alphabetically. Give the lowest to a policy that matches everything. Defaults to 0.
    pub priority: i32,
    /// Selects by the labels of the namespace. Empty selects every namespace. To select by name use the label
    /// kubernetes.io/metadata.name.
    #[schemars(schema_with = "schema::selector")]
    pub namespace_selector: LabelSelector,
    /// Selects by the labels of the StatefulSet. Empty selects every StatefulSet. Only those that are enrolled, by
    /// their label etcd-defrag.io/enabled or by this policy, are defragmented.
    #[schemars(schema_with = "schema::selector")]
    pub selector: LabelSelector,
    /// Who is enrolled. Labeled: StatefulSets with the label etcd-defrag.io/enabled: "true". All: also every
    /// StatefulSet that this policy governs and whose pod template runs an etcd, as its command, arguments and
    /// environment show, never its name. Defaults to Labeled.
    pub enrollment: EnrollmentMode,
    /// Whether the label etcd-defrag.io/enabled: "false" excludes an etcd if enrollment is All. Defaults to false:
    /// opting out is then a violation.
    pub allow_opt_out: bool,
    /// What happens to a write with a finding of severity deny, as in a ValidatingAdmissionPolicyBinding. Deny: the write is
    /// refused. Warn: it is accepted, and the client is warned. Audit: it is accepted, and the finding is in the
    /// audit annotations of the request. Deny and Warn exclude each other, since a refusal includes the warning.
    /// Findings of severity warn are always warnings. Without Deny, a violated limit keeps no
    /// etcd from being defragmented; a setting that cannot be parsed still does. Defaults to Deny alone.
    #[schemars(
        length(min = 1, max = 3),
        extend("x-kubernetes-list-type" = "set", "x-kubernetes-validations" = [Rule::new(
            "!('Deny' in self && 'Warn' in self)"
        ).message("Deny and Warn exclude each other, since a refusal includes the warning: write [Deny] or [Warn], each with or without Audit")])
    )]
    pub validation_actions: Vec<ValidationAction>,
    /// Values for annotations that a StatefulSet does not carry.
    pub defaults: Defaults,
    /// The limits of annotations, and the actions on hazards: Allow, Warn or Deny.
    pub limits: LimitsSpec,
    /// The Job and the pod that defragment. Annotations cannot change any of it.
    pub job: Job,
    /// Where the sizes of databases are measured, so that runs also start on demand and not only by schedule.
    pub metrics: MetricsSource,
}

/// Who is enrolled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum EnrollmentMode {
    #[default]
    #[allow(missing_docs, reason = "documentation of a variant would leave the schema; the field has it")]
    Labeled,
    #[allow(missing_docs, reason = "as above")]
    All,
}

/// What happens to a write with a finding that refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "documentation of a variant would leave the schema; the field has it")]
pub enum ValidationAction {
    Deny,
    Warn,
    Audit,
}

/// Values for annotations that a StatefulSet does not carry, in the syntax of the annotations.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new("!(has(self.rule) && (has(self.quotaUsageAbove) || has(self.freeAbove) || has(self.freeShareAbove)))").field_path(".rule").message(
        "rule and the thresholds exclude each other, since each says when to defragment: write either rule, or \
         quotaUsageAbove, freeAbove and freeShareAbove",
    ),
    Rule::new("!has(self.freeAbove) || quantity(self.freeAbove).isGreaterThan(quantity('0'))").field_path(".freeAbove").message(
        "with a freeAbove of 0 every run would defragment without any gain: write a value such as 200Mi",
    ),
]))]
pub struct Defaults {
    /// A Kubernetes CronJob schedule in which H may stand for a number that is derived from namespace and name, so that
    /// not all etcds run at once: "H H(0-4) * * *". Default: "0 0 * * *".
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The time zone of the schedule, an IANA name such as Europe/Rome. Default: the zone of the controller manager,
    /// mostly UTC.
    #[schemars(length(min = 1, max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// When to defragment, in the rule language of etcd-defrag. Default without thresholds: if more than half of the file is
    /// free and more than 100 MiB are in use, or if 80 % of the quota are used and more than 256 MiB or a tenth of the quota can
    /// be reclaimed; never for less than limits.minFree.
    #[schemars(length(min = 1, max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Defragment when the database takes more than this share of its quota and there is something to reclaim: 80% or
    /// 0.8. Replaces rule.
    #[schemars(schema_with = "schema::share")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota_usage_above: Option<String>,
    /// Defragment when more than this can be reclaimed: 200Mi. Replaces rule.
    #[schemars(schema_with = "schema::size")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_above: Option<String>,
    /// Defragment when more than this share of the database file can be reclaimed, and enough for a run: 50% or 0.5.
    /// Replaces rule.
    #[schemars(schema_with = "schema::share")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_share_above: Option<String>,
    /// Whether CronJobs are paused. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Whether the leader is moved before its member is defragmented. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub move_leader: Option<bool>,
    /// Whether a NOSPACE alarm is lifted after a run. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_disalarm: Option<bool>,
    /// The share of the quota below which the alarm is lifted: 90% or 0.9.
    #[schemars(schema_with = "schema::share")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disalarm_below: Option<String>,
    /// Whether each run compacts first. Default: only if nothing else compacts the etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compaction: Option<bool>,
    /// The pause between two members, a Go duration. Default: 30s.
    #[schemars(schema_with = "schema::duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_between_members: Option<String>,
    /// How long one member's defragmentation may take, a Go duration. Default: three times limits.secondsPerGiB for
    /// each GiB of the quota, at least 60s.
    #[schemars(schema_with = "schema::duration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_timeout: Option<String>,
    /// The port of the members' client URLs. Default: read from the StatefulSet.
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_port: Option<i32>,
    /// The DNS domain of the cluster, such as cluster.local. Default: read from the StatefulSet.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_domain: Option<String>,
    /// The Secret with the CA certificate of etcd, in the namespace of the StatefulSet: name or name:key. Default:
    /// read from the StatefulSet.
    #[schemars(length(min = 1, max = 507))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<String>,
    /// The Secret with the client certificate, in the namespace of the StatefulSet: name or name:certKey,keyKey. Default:
    /// read from the StatefulSet.
    #[schemars(length(min = 1, max = 761))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// The Secret with the user name and password of etcd RBAC, in the namespace of the StatefulSet:
    /// name:userKey,passwordKey, or name:user=root,passwordKey if it has no user name.
    #[schemars(length(min = 1, max = 761))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_secret: Option<String>,
}

/// The observed state of the StatefulSets that a policy governs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DefragPolicyStatus {
    /// The generation of the policy that was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many enrolled StatefulSets this policy governs.
    pub matched: i32,
    /// How many of them have no finding that refuses.
    pub compliant: i32,
    /// How many of them have a finding that refuses.
    pub violating: i32,
    /// The first violations, by namespace and name.
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
    /// The image that the runs of this policy have: that of spec.job.image, or else the newest that the installed release knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_image: Option<String>,
    /// Ready, Valid (the values of the policy itself), Governing (whether it governs anything, and if not why),
    /// EngineFollowsRelease (whether an upgrade changes the image of the runs, and if not why) and, with
    /// metrics.prometheus, PrometheusReachable (whether it answers, and for which etcds it has no values).
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// One violation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Violation {
    /// The namespace of the StatefulSet.
    pub namespace: String,
    /// The name of the StatefulSet.
    pub name: String,
    /// The code of the finding; etcd-defrag-webhook explain shows its page.
    pub code: String,
    /// What was found, why it matters and what to write instead.
    pub message: String,
}

impl Default for DefragPolicySpec {
    fn default() -> Self {
        Self {
            priority: 0,
            namespace_selector: LabelSelector::default(),
            selector: LabelSelector::default(),
            enrollment: EnrollmentMode::default(),
            allow_opt_out: false,
            validation_actions: vec![ValidationAction::Deny],
            defaults: Defaults::default(),
            limits: LimitsSpec::default(),
            job: Job::default(),
            metrics: MetricsSource::default(),
        }
    }
}
