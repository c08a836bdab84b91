//! The parts of watched objects that are kept in memory.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{self as batch, CronJob};
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::{
    budget::Run,
    cache::Cached,
    drift,
    ownership::{is_engine, is_ours, statefulset_of},
};
use crate::defrag::{cronjob::SUFFIX, statefulset::StatefulSet};

/// kubectl's copy of the whole object, which nothing here reads.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Drops what nothing reads: with a thousand StatefulSets it is most of the memory.
pub(super) fn slim(mut meta: ObjectMeta) -> ObjectMeta {
    meta.managed_fields = None;
    meta.self_link = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
    meta
}

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

/// A CronJob, as far as it concerns us.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Its metadata without what nobody reads.
    pub(super) meta: ObjectMeta,
    /// The fingerprint of its specification.
    pub(super) spec: u64,
    /// Whether we keep it.
    pub(super) ours: bool,
    /// What its containers run, where that is a defragmentation and not ours.
    pub(super) defragments: Option<Arc<str>>,
    /// When it was made.
    pub(super) made: Option<Timestamp>,
    /// When a run of it last ended well, as its controller says.
    pub(super) last_success: Option<Timestamp>,
}

impl Seen {
    /// The part of a CronJob that is kept; `None` for one that has nothing to do with defragmentation.
    pub(super) fn of(mut live: CronJob) -> Option<Self> {
        let defragments = what_it_defragments(&live);
        let made = live.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let succeeded = live.status.as_ref().and_then(|status| status.last_successful_time.as_ref());
        let last_success = succeeded.map(|time| time.0);
        let ours = is_ours(&live.metadata);
        let meta = ObjectMeta {
            resource_version: None,
            generation: None,
            creation_timestamp: None,
            ..slim(std::mem::take(&mut live.metadata))
        };
        let named = meta.name.as_deref().is_some_and(|name| name.ends_with(SUFFIX));
        if !ours && !named && defragments.is_none() {
            return None;
        }
        // What ours run is known from their StatefulSet.
        let defragments = defragments.filter(|_| !ours).map(Arc::from);
        Some(Self { meta, spec: drift::fingerprint(&live.spec), ours, defragments, made, last_success })
    }

    /// Whether this CronJob concerns a StatefulSet of its namespace, whose CronJob is to be named `expected`.
    pub(super) fn concerns(&self, statefulset: &str, expected: &str) -> bool {
        statefulset_of(&self.meta) == Some(statefulset)
            || self.meta.name.as_deref() == Some(expected)
            || self.rivals(statefulset)
    }

    /// Whether this CronJob, be it whose it may, runs a defragmentation of this StatefulSet's pods.
    pub(super) fn rivals(&self, statefulset: &str) -> bool {
        self.defragments.as_ref().is_some_and(|text| mentions(text, statefulset))
    }
}

impl Cached for Seen {
    /// How its runs went is no reason to look.
    fn differs(&self, old: &Self) -> bool {
        let facts = |seen: &Self| (seen.meta.clone(), seen.spec, seen.ours, seen.defragments.clone());
        facts(self) != facts(old)
    }
}

/// The commands and variables of a CronJob that defragments: one that runs the engine, or `etcdctl … defrag`.
fn what_it_defragments(live: &CronJob) -> Option<String> {
    let pod = live.spec.job_template.spec.as_ref()?.template.spec.as_ref()?;
    let mut text = String::new();
    let mut engine = false;
    for container in &pod.containers {
        engine |= is_engine(container.image.as_deref().unwrap_or_default());
        let values = container.env.iter().flatten().filter_map(|variable| variable.value.as_ref());
        for part in container.command.iter().flatten().chain(container.args.iter().flatten()).chain(values) {
            text.push_str(part);
            text.push('\n');
        }
    }
    let by_hand = text.contains("etcdctl") && text.contains("defrag");
    (engine || by_hand).then_some(text)
}

/// Whether a text names a pod of a StatefulSet, `<name>-<number>`, or a Service of the same name as a host.
fn mentions(text: &str, statefulset: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    !statefulset.is_empty()
        && text.match_indices(statefulset).any(|(at, _)| {
            let before = text.get(..at).and_then(|head| head.chars().next_back());
            let rest = text.get(at + statefulset.len()..).unwrap_or_default();
            let pod = rest.strip_prefix('-').unwrap_or_default();
            let digits = pod.bytes().take_while(u8::is_ascii_digit).count();
            let after = pod.get(digits..).and_then(|tail| tail.chars().next());
            !before.is_some_and(|c| of_name(c) || c == '.')
                && (rest.starts_with(['.', ':']) || (digits > 0 && !after.is_some_and(of_name)))
        })
}

/// A Job, reduced to whether and why it failed.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Job {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) status: Option<JobStatus>,
}

/// `status` of a Job.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct JobStatus {
    #[serde(default)]
    pub(super) conditions: Option<Vec<batch::JobCondition>>,
}

impl Job {
    /// The condition of this type, where it holds.
    fn condition(&self, type_: &str) -> Option<&batch::JobCondition> {
        let conditions = self.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
    }

    /// Why it failed, where it did.
    pub(super) fn failure(&self) -> Option<&batch::JobCondition> {
        self.condition("Failed")
    }

    /// The run that it was, where it has ended.
    pub(super) fn run(&self) -> Option<Run> {
        let (condition, failed) = match self.failure() {
            Some(failure) => (failure, true),
            None => (self.condition("Complete")?, false),
        };
        Some(Run { ended: condition.last_transition_time.as_ref()?.0, failed })
    }

    /// Whether it has ended, well or not.
    pub(super) fn finished(&self) -> bool {
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

    fn seen(name: &str, container: &Value) -> Option<Seen> {
        let value = json!({
            "metadata": {"name": name, "namespace": "ns", "resourceVersion": "7", "managedFields": [{}]},
            "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {"containers": [container]}}}}},
        });
        Seen::of(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_cronjob_that_has_nothing_to_do_with_us_takes_no_memory() {
        assert_eq!(seen("backup", &json!({"name": "a", "image": "busybox", "args": ["etcdctl snapshot save"]})), None);
        assert!(seen("etcd-defrag-job", &json!({"name": "a", "image": "busybox"})).is_some());
    }

    #[test]
    fn rivals_are_found_in_arguments_scripts_and_variables() {
        let engine =
            json!({"name": "a", "image": "x/etcd-defrag:v1", "args": ["--endpoints=https://etcd-0.etcd.ns.svc:2379"]});
        assert!(seen("mine", &engine).unwrap().rivals("etcd"));
        assert!(!seen("mine", &engine).unwrap().rivals("etc"));
        assert!(!seen("mine", &engine).unwrap().rivals("etcd-1"));
        let script = json!({"name": "a", "image": "etcd", "command": ["bash", "-c", "for e in kamaji-etcd-0.kamaji-etcd:2379; do etcdctl defrag; done"]});
        assert!(seen("kamaji-defrag", &script).unwrap().rivals("kamaji-etcd"));
        assert!(!seen("kamaji-defrag", &script).unwrap().rivals("etcd"), "the end of a longer name is another name");
        let variable = json!({"name": "a", "image": "etcd", "command": ["etcdctl", "defrag"],
            "env": [{"name": "ETCDCTL_ENDPOINTS", "value": "http://my-etcd-10.my-etcd-headless:2379"}]});
        assert!(seen("my-etcd-defrag", &variable).unwrap().rivals("my-etcd"));
        assert!(!seen("my-etcd-defrag", &variable).unwrap().rivals("my-etcd-headless"));
        let service = json!({"name": "a", "image": "etcd", "args": ["etcdctl --endpoints http://etcd.ns.svc:2379 defrag --cluster"]});
        assert!(seen("x", &service).unwrap().rivals("etcd"));
    }

    #[test]
    fn progress_of_runs_is_no_change_of_a_cronjob() {
        let container = json!({"name": "a", "image": "x/etcd-defrag:v1"});
        let mut value = json!({
            "metadata": {"name": "x-defrag-job", "namespace": "ns", "resourceVersion": "7", "generation": 1},
            "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {"containers": [container]}}}}},
        });
        let of = |value: &Value| Seen::of(serde_json::from_value(value.clone()).unwrap()).unwrap();
        let before = of(&value);
        value["metadata"]["resourceVersion"] = json!("8");
        value["status"] = json!({"lastScheduleTime": "2026-01-01T00:00:00Z", "active": [{"name": "x-1"}],
            "lastSuccessfulTime": "2026-01-01T00:00:07Z"});
        assert!(!of(&value).differs(&before));
        assert_eq!(of(&value).last_success, Some("2026-01-01T00:00:07Z".parse().unwrap()));
        value["spec"]["suspend"] = json!(true);
        assert!(of(&value).differs(&before));
    }

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
            ("annotations", json!({"a": "b"})),
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
