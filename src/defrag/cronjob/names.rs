//! The names that a CronJob of ours carries: its labels, annotations, container, volumes and variables.

/// The suffix of each CronJob, as defrag.sh has it.
pub const SUFFIX: &str = "-defrag-job";
/// The longest name of a CronJob; the controller appends eleven characters for its Jobs (Kubernetes' own validation).
pub const NAME_LIMIT: usize = 52;
/// Who manages the CronJobs: label value and server-side-apply field manager.
pub const MANAGER: &str = "etcd-defrag-webhook";
/// The label that marks what we manage.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The annotation of our CronJob that names its StatefulSet.
pub const STATEFULSET: &str = "etcd-defrag.io/statefulset";
/// The container that runs the engine.
pub const CONTAINER: &str = "etcd-defrag";

pub(super) const CA_VOLUME: &str = "etcd-ca";
pub(super) const CLIENT_VOLUME: &str = "etcd-client";
pub(super) const USER: &str = "ETCD_DEFRAG_USER";
pub(super) const PASSWORD: &str = "ETCD_DEFRAG_PASSWORD";

/// The annotation of our CronJob with what is in force.
pub const IN_FORCE: &str = "etcd-defrag.io/in-force";
/// The annotation of our CronJob that lists the codes of all findings, separated by commas.
pub const FINDINGS: &str = "etcd-defrag.io/findings";
/// The annotation of our CronJob with the `defrag-now` token that was served last.
pub const LAST_DEFRAG_NOW: &str = "etcd-defrag.io/last-defrag-now";
/// The annotation of our CronJob that names the policy that it was made under; without it the built-in one.
pub const POLICY: &str = "etcd-defrag.io/policy";
/// The annotation of our CronJob that says why that policy governs.
pub const POLICY_REASON: &str = "etcd-defrag.io/policy-reason";
/// The annotation of our CronJob with the runs that failed in a row, where the policy sets a failure budget.
pub const FAILED_RUNS: &str = "etcd-defrag.io/failed-runs";
/// The annotation of our CronJob that says since when its StatefulSet is gone without it, in RFC 3339.
pub const ORPHANED_SINCE: &str = "etcd-defrag.io/orphaned-since";
/// The annotations that are ours alone: one that is not desired must not be there.
pub const OURS: &[&str] = &[FINDINGS, LAST_DEFRAG_NOW, POLICY, POLICY_REASON, FAILED_RUNS, IN_FORCE, ORPHANED_SINCE];
