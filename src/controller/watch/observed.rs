//! The parts of watched StatefulSets and Jobs that are kept in memory.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::api::batch::v1 as batch;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::cache::Cached;
use crate::defrag::{
    cronjob::{budget::Run, live::Live},
    statefulset::StatefulSet,
};

impl Cached for Arc<StatefulSet> {
    /// The status is no reason to look, and the generation changes with every part of the specification.
    fn differs(&self, old: &Self) -> bool {
        let facts = |object: &Self| {
            let meta = &object.metadata;
            (
                meta.uid.clone(),
                meta.generation,
                meta.labels.clone(),
                meta.annotations.clone(),
                meta.deletion_timestamp.is_some(),
            )
        };
        facts(self) != facts(old)
    }
}

impl Cached for Live {
    fn differs(&self, old: &Self) -> bool {
        Self::differs(self, old)
    }
}

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
    #[serde(default)]
    pub(crate) conditions: Option<Vec<batch::JobCondition>>,
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

    /// The run that it was, where it has ended.
    pub(crate) fn run(&self) -> Option<Run> {
        Run::of(self.status.as_ref()?.conditions.as_deref()?)
    }

    /// Whether it is under way: a suspended one has no pod, and may stay so for ever.
    pub(crate) fn under_way(&self) -> bool {
        !self.finished() && self.spec.suspend != Some(true)
    }

    /// Whether it has ended, well or not.
    fn finished(&self) -> bool {
        self.failure().is_some() || self.condition("Complete").is_some()
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
    fn status_churn_of_a_statefulset_is_no_change() {
        let object = |value: Value| Arc::new(serde_json::from_value::<StatefulSet>(value).unwrap());
        let base = json!({"metadata": {"name": "a", "uid": "u", "generation": 3, "resourceVersion": "1"}});
        let mut other = base.clone();
        other["metadata"]["resourceVersion"] = json!("2");
        assert!(!object(other.clone()).differs(&object(base.clone())));
        for (field, value) in [
            ("generation", json!(4)),
            ("uid", json!("v")),
            ("labels", json!({"a": "b"})),
            ("annotations", json!({"etcd-defrag.io/rule": "b"})),
        ] {
            let mut other = base.clone();
            other["metadata"][field] = value;
            assert!(object(other).differs(&object(base.clone())), "{field}");
        }
    }

    #[test]
    fn a_job_has_failed_only_when_its_condition_holds() {
        let job = |status: &str| -> Job {
            serde_json::from_value(json!({"metadata": {}, "status": {"conditions": [{"type": "Failed", "status": status, "reason": "DeadlineExceeded"}]}})).unwrap()
        };
        assert_eq!(job("True").failure().unwrap().reason.as_deref(), Some("DeadlineExceeded"));
        assert!(job("False").failure().is_none() && !job("False").finished());
    }
}
