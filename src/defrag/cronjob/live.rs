//! A CronJob of the cluster, reduced to what an assessment reads of it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::{
    SUFFIX, deferral, drift,
    ownership::{self, Ownership, flag, is_ours, pod, statefulset_of, written_by_us},
    record::{self, Record},
    rival::{Defragments, Rivalry, Scripts},
};
use crate::defrag::{etcd::Reached, facts::Facts, policy::Limits, statefulset::StatefulSet};

/// kubectl's copy of the whole object, which nothing here reads.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Drops what nothing reads: with a thousand StatefulSets it is most of the memory.
#[must_use]
pub fn slim(mut meta: ObjectMeta) -> ObjectMeta {
    meta.managed_fields = None;
    meta.self_link = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
    meta
}

/// A CronJob, as far as it concerns us. As JSON it is without the [`Rest`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Live {
    /// Its metadata without the fields that are not read.
    pub meta: ObjectMeta,
    /// Its `resourceVersion`, to which a write can be bound.
    pub version: Option<Box<str>>,
    /// The fingerprint of its specification.
    pub spec: u64,
    /// Whether we keep it.
    pub ours: bool,
    /// What it defragments, where it is not ours.
    #[serde(skip)]
    pub defragments: Option<Arc<Defragments>>,
    /// What its runs reach, where it is ours.
    pub reached: Reached,
    /// How long a run of it may take before it is ended.
    pub deadline: Option<Duration>,
    /// The image of its runs, where ours run our own program.
    pub own_image: Option<Box<str>>,
    /// When a run of it last ended well, as its controller says.
    pub last_success: Option<Timestamp>,
    /// Whether our field manager has written it.
    written: bool,
    /// Why it is not one that defrag.sh made; asked only of one that bears no mark of ours.
    no_script: Option<Box<str>>,
    /// What was in force when it was written; only where its own record cannot be used.
    #[serde(skip)]
    read_back: Option<Arc<Record>>,
}

/// The parts of a [`Live`] that few have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rest {
    /// What it defragments, where it is not ours.
    pub defragments: Option<Arc<Defragments>>,
    read_back: Option<Arc<Record>>,
}

impl Live {
    /// The part of a CronJob that is kept; `None` for one that has nothing to do with defragmentation.
    #[must_use]
    pub fn of(live: CronJob) -> Option<Self> {
        Self::reading(live, None)
    }

    /// The same, if scripts of ConfigMaps are available.
    #[must_use]
    pub fn reading(mut live: CronJob, scripts: Option<&Scripts<'_>>) -> Option<Self> {
        deferral::canonical(&mut live.spec);
        let deadline = live.spec.job_template.spec.as_ref().and_then(|job| job.active_deadline_seconds);
        let deadline = deadline.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        let succeeded = live.status.as_ref().and_then(|status| status.last_successful_time.as_ref());
        let last_success = succeeded.map(|time| time.0);
        let (ours, written) = (is_ours(&live.metadata), written_by_us(&live.metadata));
        let own_image = if ours { own_image(&live) } else { None };
        let reached = if ours { reached(&live) } else { Reached::default() };
        // What ours run is known from their StatefulSet.
        let defragments = if ours { None } else { Defragments::of(&live, scripts).map(Arc::new) };
        let no_script = if ours { None } else { ownership::made_by_defrag_sh(&live).err().map(String::into_boxed_str) };
        let recorded = record::is_of_our_writing(&live.metadata) && record::of(&live.metadata).is_some();
        let read_back = if ours && !recorded { Record::read_back(&live).map(Arc::new) } else { None };
        let version = live.metadata.resource_version.take().map(String::into_boxed_str);
        let meta = ObjectMeta { generation: None, ..slim(std::mem::take(&mut live.metadata)) };
        let named = meta.name.as_deref().is_some_and(|name| name.ends_with(SUFFIX));
        if !ours && !named && defragments.is_none() {
            return None;
        }
        let spec = drift::fingerprint(&live.spec);
        Some(Self {
            meta,
            version,
            spec,
            ours,
            defragments,
            reached,
            deadline,
            own_image,
            last_success,
            written,
            no_script,
            read_back,
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.meta.name.as_deref().unwrap_or_default()
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Option<Timestamp> {
        self.meta.creation_timestamp.as_ref().map(|time| time.0)
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        ownership::annotation(&self.meta, key)
    }

    /// Whose it is, as seen from the StatefulSet of this name in the same namespace.
    #[must_use]
    pub fn ownership(&self, statefulset: &str) -> Ownership {
        ownership::by_marks(&self.meta, self.written, statefulset).unwrap_or_else(|| match &self.no_script {
            None => Ownership::Adoptable,
            Some(why) => Ownership::Foreign { why: why.clone().into() },
        })
    }

    /// What was in force when it was written: its own record, or where that is missing, forged or of an unknown form, what
    /// its specification shows. There, what follows from the facts (`facts`, where they can be read now) counts as not given.
    #[must_use]
    pub fn in_force(&self, facts: Option<&Facts>, limits: &Limits) -> Option<Record> {
        match &self.read_back {
            Some(read_back) => Some(read_back.without_derived(facts, limits)),
            None => record::of(&self.meta),
        }
    }

    /// Whether this CronJob concerns the StatefulSet of this name in its namespace, which is `object` where there is one. Its CronJob
    /// is to be named `expected`.
    #[must_use]
    pub fn concerns(&self, statefulset: &str, object: Option<&StatefulSet>, expected: &str) -> bool {
        statefulset_of(&self.meta) == Some(statefulset)
            || self.meta.name.as_deref() == Some(expected)
            || match object {
                Some(object) => self.rivals(object).is_some(),
                None => self.defragments.as_ref().is_some_and(|defragments| defragments.names(statefulset)),
            }
    }

    /// Whether this CronJob, be it whose it may, runs a defragmentation of the etcd of this StatefulSet, or may, and what shows that.
    #[must_use]
    pub fn rivals<'a>(&self, object: &'a StatefulSet) -> Option<Rivalry<'a>> {
        self.defragments.as_ref()?.rivals(object)
    }

    /// Whether it can concern another StatefulSet than the one that has it as its CronJob: it goes by another name than the
    /// CronJob of the one that it names, or it is a defragmentation that is not ours.
    #[must_use]
    pub fn stands_out(&self) -> bool {
        self.defragments.is_some() || statefulset_of(&self.meta).is_some_and(|named| super::name(named) != self.name())
    }

    /// Whether an assessment could come to another result than with `old`. How its runs went is no reason.
    #[must_use]
    pub fn differs(&self, old: &Self) -> bool {
        (self.deciding(), &self.defragments, &self.read_back) != (old.deciding(), &old.defragments, &old.read_back)
    }

    /// What an assessment reads besides the [`Rest`].
    #[must_use]
    pub const fn deciding(&self) -> (&ObjectMeta, u64, bool, bool) {
        (&self.meta, self.spec, self.ours, self.written)
    }

    /// The parts that JSON does not have.
    #[must_use]
    pub fn rest(&self) -> Rest {
        Rest { defragments: self.defragments.clone(), read_back: self.read_back.clone() }
    }

    /// The same with the parts that JSON does not have.
    #[must_use]
    pub fn with(self, rest: Rest) -> Self {
        let Rest { defragments, read_back } = rest;
        Self { defragments, read_back, ..self }
    }
}

/// The endpoints of the runs of a CronJob of ours.
fn reached(live: &CronJob) -> Reached {
    let namespace = live.metadata.namespace.as_deref().unwrap_or_default();
    let args = pod(live).and_then(|pod| pod.containers.first()?.args.as_deref()).unwrap_or_default();
    Reached::of(flag(args, "--endpoints").into_iter().flat_map(|list| list.split(',')), namespace)
}

/// The image of a CronJob that runs `etcd-defrag-webhook defrag`.
fn own_image(live: &CronJob) -> Option<Box<str>> {
    let container = pod(live)?.containers.first()?;
    let built_in = container.args.as_ref()?.first()? == "defrag";
    container.image.as_deref().filter(|_| built_in).map(Into::into)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn observed(name: &str, container: &Value) -> Option<Live> {
        let value = json!({
            "metadata": {"name": name, "namespace": "ns", "resourceVersion": "7", "managedFields": [{}]},
            "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {"containers": [container]}}}}},
        });
        Live::of(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_cronjob_that_has_nothing_to_do_with_us_takes_no_memory() {
        assert_eq!(
            observed("backup", &json!({"name": "a", "image": "busybox", "args": ["etcdctl snapshot save"]})),
            None
        );
        assert!(observed("etcd-defrag-job", &json!({"name": "a", "image": "busybox"})).is_some());
    }

    #[test]
    fn progress_of_runs_is_no_change_of_a_cronjob() {
        let container = json!({"name": "a", "image": "x/etcd-defrag:v1"});
        let mut value = json!({
            "metadata": {"name": "x-defrag-job", "namespace": "ns", "resourceVersion": "7", "generation": 1},
            "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {"containers": [container]}}}}},
        });
        let of = |value: &Value| Live::of(serde_json::from_value(value.clone()).unwrap()).unwrap();
        let before = of(&value);
        value["metadata"]["resourceVersion"] = json!("8");
        value["status"] = json!({"lastScheduleTime": "2026-01-01T00:00:00Z", "active": [{"name": "x-1"}],
            "lastSuccessfulTime": "2026-01-01T00:00:07Z"});
        assert!(!of(&value).differs(&before));
        assert_eq!(of(&value).last_success, Some("2026-01-01T00:00:07Z".parse().unwrap()));
        value["spec"]["suspend"] = json!(true);
        assert!(of(&value).differs(&before));
    }

    /// So a reconciliation does not iterate over a namespace: what concerns a StatefulSet has the name of its CronJob,
    /// or is in this list.
    #[test]
    fn what_concerns_a_statefulset_goes_by_its_name_or_stands_out() {
        let [mut own, mut others] = [0, 0];
        let options = [None, Some("a"), Some("b")];
        for name in ["a-defrag-job", "b-defrag-job", "copy"] {
            for (noted, owned) in options.iter().flat_map(|noted| options.iter().map(move |owned| (noted, owned))) {
                for image in ["busybox", "etcd-defrag:v1"] {
                    let container = json!({"name": "x", "image": image, "args": ["--endpoints=http://a-0.a:2379"]});
                    let owner = owned.map(|name| json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": "u", "controller": true}));
                    let labels = json!({"app.kubernetes.io/managed-by": "etcd-defrag-webhook"});
                    let value = json!({
                        "metadata": {"name": name, "namespace": "ns", "labels": labels, "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
                            "annotations": noted.map(|name| json!({"etcd-defrag.io/statefulset": name}))},
                        "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {"containers": [container]}}}}},
                    });
                    for labelled in [true, false] {
                        let mut value = value.clone();
                        if !labelled {
                            value["metadata"]["labels"] = json!({});
                        }
                        let Some(live) = Live::of(serde_json::from_value(value).unwrap()) else { continue };
                        for statefulset in ["a", "b"] {
                            let expected = format!("{statefulset}-defrag-job");
                            let concerns = live.concerns(statefulset, None, &expected);
                            assert!(!concerns || live.name() == expected || live.stands_out(), "{live:?}");
                        }
                        *(if live.stands_out() { &mut others } else { &mut own }) += 1;
                    }
                }
            }
        }
        assert!(own > 10 && others > 10, "{own} and {others}");
        let ours = |name: &str| {
            let notes = json!({"etcd-defrag.io/statefulset": "a"});
            let labels = json!({"app.kubernetes.io/managed-by": "etcd-defrag-webhook"});
            let value = json!({"metadata": {"name": name, "labels": labels, "annotations": notes}, "spec": {"schedule": "@daily", "jobTemplate": {}}});
            Live::of(serde_json::from_value(value).unwrap()).unwrap().stands_out()
        };
        assert!(!ours("a-defrag-job") && ours("copy"), "in a fleet as it should be none stands out");
    }
}
