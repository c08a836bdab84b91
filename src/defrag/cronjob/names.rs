//! The names in our CronJobs: labels, annotations, container, volumes and variables.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

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

/// The engine's flag that it checks the health of its endpoints, and not of what the members advertise.
pub(super) const SKIP_HEALTH_CHECK: &str = "--skip-healthcheck-cluster-endpoints";

/// The annotation of our CronJob with what is in force.
pub const IN_FORCE: &str = "etcd-defrag.io/in-force";
/// The annotation of our CronJob that lists the codes of all findings, separated by commas.
pub const FINDINGS: &str = "etcd-defrag.io/findings";
/// The annotation of our CronJob with the `defrag-now` token that was served last.
pub const LAST_DEFRAG_NOW: &str = "etcd-defrag.io/last-defrag-now";
/// The annotation of our CronJob that says when it was created, by which [`LAST_DEFRAG_NOW`] is a record of this CronJob.
pub const CREATED_AT: &str = "etcd-defrag.io/created-at";
/// The annotation of our CronJob that says what its last run did.
pub const LAST_RUN: &str = "etcd-defrag.io/last-run";
/// The annotation of our CronJob that says why no run is started on demand although it may be required; absent where all is
/// well. It changes with the reason and never with what was measured.
pub const ON_DEMAND: &str = "etcd-defrag.io/on-demand";
/// The annotation of our CronJob with the last run on demand: when, which Job, and why. The Job carries it, too.
pub const LAST_ON_DEMAND: &str = "etcd-defrag.io/last-on-demand";
/// The annotation of our CronJob that says since when the fleet is paused, in RFC 3339.
pub const PAUSED: &str = "etcd-defrag.io/paused";
/// The annotation of our CronJob that names the policy that it was made under; without it the built-in one.
pub const POLICY: &str = "etcd-defrag.io/policy";
/// The annotation of our CronJob that says why that policy governs.
pub const POLICY_REASON: &str = "etcd-defrag.io/policy-reason";
/// The annotation of our CronJob with the runs that failed in a row, where the policy sets a failure budget.
pub const FAILED_RUNS: &str = "etcd-defrag.io/failed-runs";
/// The annotation of our CronJob that says since when its StatefulSet is gone without it, in RFC 3339.
pub const ORPHANED_SINCE: &str = "etcd-defrag.io/orphaned-since";
/// The annotation of our CronJob that says why its last run has not started: when that was seen, the Job, and the cause.
pub const NOT_STARTED: &str = "etcd-defrag.io/not-started";
/// The annotation of a Job that is a retry: the Job of the run that changed no member.
pub const RETRY_OF: &str = "etcd-defrag.io/retry-of";
/// The annotations that are ours alone: one that is not desired must not be there.
pub const OURS: &[&str] =
    &[FINDINGS, LAST_DEFRAG_NOW, CREATED_AT, PAUSED, POLICY, POLICY_REASON, FAILED_RUNS, IN_FORCE, ORPHANED_SINCE];

/// The name of the CronJob of a StatefulSet: `<name>-defrag-job`, shortened with a hash where it would be too long.
#[must_use]
pub fn name(statefulset: &str) -> String {
    let plain = format!("{statefulset}{SUFFIX}");
    if plain.len() <= NAME_LIMIT {
        return plain;
    }
    let mut hash = String::new();
    for byte in Sha256::digest(statefulset).iter().take(4) {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    let room = NAME_LIMIT - SUFFIX.len() - hash.len() - 1;
    let head: String = statefulset.chars().take(room).collect();
    format!("{}-{hash}{SUFFIX}", head.trim_end_matches(['-', '.']))
}
