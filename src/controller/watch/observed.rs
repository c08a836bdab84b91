//! The parts of watched Jobs that are kept in memory.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::{api::batch::v1 as batch, apimachinery::pkg::apis::meta::v1::Time};
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::defrag::{cronjob::budget::Run, preflight};

/// A Job, reduced to whether it runs, and whether and why it failed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Job {
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
    #[serde(default)]
    pub(crate) spec: JobSpec,
    #[serde(default)]
    pub(crate) status: Option<JobStatus>,
}

/// `spec` of a Job.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct JobSpec {
    #[serde(default)]
    pub(crate) suspend: Option<bool>,
}

/// `status` of a Job.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct JobStatus {
    #[serde(default, rename = "startTime")]
    pub(crate) start_time: Option<Time>,
    #[serde(default)]
    pub(crate) conditions: Option<Vec<batch::JobCondition>>,
    /// How many of its pods are ready: their containers run.
    #[serde(default)]
    pub(crate) ready: Option<i32>,
    /// How many of its pods were counted as failed; those that its controller deleted are among them.
    #[serde(default)]
    pub(crate) failed: Option<i32>,
    /// How many of its pods were counted as ended well.
    #[serde(default)]
    pub(crate) succeeded: Option<i32>,
}

impl Job {
    /// The condition of this type, where it holds.
    fn condition(&self, type_: &str) -> Option<&batch::JobCondition> {
        let conditions = self.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
    }

    /// Why it failed, where it did.
    pub(crate) fn failure(&self) -> Option<&batch::JobCondition> {
        self.condition("Failed")
    }

    /// The same in the words of its controller, such as `DeadlineExceeded: Job was active longer than specified deadline`.
    pub(crate) fn failure_in_words(&self) -> Option<String> {
        let failure = self.failure()?;
        let reason = failure.reason.as_deref().unwrap_or("no reason given");
        Some(format!("{reason}: {}", failure.message.as_deref().unwrap_or("no message")))
    }

    /// Whether its controller has counted no pod of it, neither one that failed nor one that ended well. Where it has ended, there
    /// never was one: each pod has a finalizer until it is counted.
    pub(crate) fn has_counted_no_pod(&self) -> bool {
        self.status.as_ref().is_some_and(|status| {
            let [failed, succeeded] = [status.failed, status.succeeded].map(|count| count.unwrap_or(0));
            failed == 0 && succeeded == 0
        })
    }

    /// The value of an annotation.
    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// The condition that says that it has ended, well or not.
    pub(crate) fn ended(&self) -> Option<&batch::JobCondition> {
        self.failure().or_else(|| self.condition("Complete"))
    }

    /// When that was.
    pub(crate) fn ended_at(&self) -> Option<Timestamp> {
        self.ended()?.last_transition_time.as_ref().map(|time| time.0)
    }

    /// The run that it was, where it has ended.
    pub(crate) fn run(&self) -> Option<Run> {
        Run::of(self.status.as_ref()?.conditions.as_deref()?)
    }

    /// Whether it is in progress: a suspended one has no pod, and may stay so for ever.
    pub(crate) fn under_way(&self) -> bool {
        !self.finished() && self.spec.suspend != Some(true)
    }

    /// Whether a container of it runs, as the Job controller says.
    pub(crate) fn is_ready(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.ready.is_some_and(|ready| ready > 0))
    }

    /// Whether it says that it is a preflight. Which ones are ours, the CronJob says.
    pub(crate) fn is_preflight(&self) -> bool {
        self.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(preflight::LABEL))
    }

    /// Whether it has ended, well or not.
    pub(crate) fn finished(&self) -> bool {
        self.ended().is_some()
    }
}

impl kube::Resource for Job {
    type DynamicType = ();
    type Scope = k8s_openapi::NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        <batch::Job as k8s_openapi::Resource>::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        <batch::Job as k8s_openapi::Resource>::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        <batch::Job as k8s_openapi::Resource>::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "jobs".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_job_has_failed_only_when_its_condition_holds() {
        let job = |status: &str| -> Job {
            serde_json::from_value(json!({"metadata": {}, "status": {"conditions": [{"type": "Failed", "status": status, "reason": "DeadlineExceeded"}]}})).unwrap()
        };
        assert_eq!(job("True").failure_in_words().unwrap(), "DeadlineExceeded: no message");
        assert!(job("False").failure().is_none() && !job("False").finished());
    }

    #[test]
    fn a_job_without_a_pod_is_one_that_counts_none() {
        let job = |status: Value| -> Job { serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap() };
        assert!(job(json!({"conditions": []})).has_counted_no_pod());
        assert!(job(json!({"failed": 0})).has_counted_no_pod());
        assert!(!job(json!({"failed": 1})).has_counted_no_pod() && !job(json!({"succeeded": 1})).has_counted_no_pod());
        assert!(!job(json!(null)).has_counted_no_pod(), "nobody has said anything yet");
    }
}
