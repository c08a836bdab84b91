//! What commands see around a StatefulSet: the CronJobs, the runs and the Services of its namespace.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{CronJob, Job};

use serde_json::{Map, Value};

use super::input::Document;
use crate::defrag::{
    Service, Surroundings,
    cronjob::{self, budget::Run, live::Live, ownership::controlling_cronjob},
    statefulset::StatefulSet,
};

/// CronJobs by namespace, Services by namespace and the StatefulSet that they are around, and runs by namespace and the uid of
/// their CronJob.
#[derive(Debug, Default)]
pub(super) struct Around {
    cronjobs: BTreeMap<String, Vec<Live>>,
    runs: BTreeMap<(String, String), Vec<Run>>,
    services: BTreeMap<(String, String), Vec<Service>>,
}

impl Around {
    pub(super) fn new(cronjobs: impl IntoIterator<Item = CronJob>, jobs: &[Job]) -> Self {
        let mut around = Self::default();
        for live in cronjobs.into_iter().filter_map(Live::of) {
            around.cronjobs.entry(namespace(live.meta.namespace.as_deref())).or_default().push(live);
        }
        for job in jobs {
            let meta = &job.metadata;
            let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref());
            if let (Some(run), Some(uid)) = (Run::of(conditions.unwrap_or_default()), controlling_cronjob(meta)) {
                around.runs.entry((namespace(meta.namespace.as_deref()), uid.to_owned())).or_default().push(run);
            }
        }
        around
    }

    /// Those of a stream, such as `kubectl get statefulset,cronjob,job -o yaml` prints it.
    /// `default` is the namespace of those that name none.
    pub(super) fn of(documents: &[Document], default: &str) -> anyhow::Result<Self> {
        let mut troubles = Vec::new();
        let around = Self::of_readable(documents, default, &mut troubles);
        match troubles.into_iter().next() {
            Some(trouble) => Err(trouble),
            None => Ok(around),
        }
    }

    /// The same of what can be read; what cannot is added to `troubles`.
    pub(super) fn of_readable(documents: &[Document], default: &str, troubles: &mut Vec<anyhow::Error>) -> Self {
        let (mut cronjobs, mut jobs): (Vec<CronJob>, Vec<Job>) = (Vec::new(), Vec::new());
        for document in documents {
            let read = match document.kind() {
                (Some("batch/v1"), Some("CronJob")) => document.typed().map(|cronjob| cronjobs.push(cronjob)),
                (Some("batch/v1"), Some("Job")) => document.typed().map(|job| jobs.push(job)),
                _ => Ok(()),
            };
            troubles.extend(read.err());
        }
        let metas = cronjobs.iter_mut().map(|cronjob| &mut cronjob.metadata);
        for meta in metas.chain(jobs.iter_mut().map(|job| &mut job.metadata)) {
            meta.namespace.get_or_insert_with(|| default.to_owned());
        }
        let mut around = Self::new(cronjobs, &jobs);
        let services: Vec<WrittenService<'_>> =
            documents.iter().filter_map(|document| WrittenService::of(document, default)).collect();
        for document in documents.iter().filter(|document| document.kind() == (Some("apps/v1"), Some("StatefulSet"))) {
            let Some(name) = text(document, "/metadata/name") else { continue };
            let namespace = text(document, "/metadata/namespace").unwrap_or(default);
            let labels = document.value.pointer("/spec/template/metadata/labels");
            let in_namespace = services.iter().filter(|service| service.namespace == namespace);
            let seen: Vec<Service> = in_namespace.map(|service| service.around(labels)).collect();
            if !seen.is_empty() {
                around.services.insert((namespace.to_owned(), name.to_owned()), seen);
            }
        }
        around
    }

    /// What manifests show around a StatefulSet. Where they hold no CronJob at all, they say nothing of those in the cluster.
    pub(super) fn of_manifests(&self, object: &StatefulSet) -> Surroundings<'_> {
        let around = if self.cronjobs.is_empty() { Surroundings::default() } else { self.surroundings(object) };
        let key = (object.namespace().to_owned(), object.name().to_owned());
        Surroundings { services: self.services.get(&key).map(Vec::as_slice), ..around }
    }

    /// What is known around a StatefulSet; that there is no CronJob is known, too.
    pub(super) fn surroundings(&self, object: &StatefulSet) -> Surroundings<'_> {
        let namespace = object.namespace().to_owned();
        let cronjobs = self.cronjobs.get(&namespace).map_or(&[][..], Vec::as_slice);
        let name = cronjob::name(object.name());
        let uid = cronjobs.iter().find(|live| live.name() == name).and_then(|live| live.meta.uid.clone());
        let runs = uid.and_then(|uid| self.runs.get(&(namespace, uid))).map_or(&[][..], Vec::as_slice);
        Surroundings { cronjobs: Some(cronjobs), runs: Some(runs), ..Surroundings::default() }
    }
}

/// A Service as a manifest has it.
struct WrittenService<'a> {
    namespace: &'a str,
    name: &'a str,
    spec: &'a Map<String, Value>,
}

impl<'a> WrittenService<'a> {
    /// The Service that a document is. Another field of it, whatever it is, is nobody's concern here.
    fn of(document: &'a Document, default: &'a str) -> Option<Self> {
        let is_service = document.kind() == (Some("v1"), Some("Service"));
        Some(Self {
            namespace: text(document, "/metadata/namespace").unwrap_or(default),
            name: text(document, "/metadata/name")?,
            spec: document.value.get("spec").filter(|_| is_service)?.as_object()?,
        })
    }

    /// What matters of it to a StatefulSet whose pods have these labels.
    fn around(&self, labels: Option<&Value>) -> Service {
        let selector = self.spec.get("selector").and_then(Value::as_object);
        let has = |(key, value): (&String, &Value)| labels.and_then(|labels| labels.get(key)) == Some(value);
        Service {
            name: self.name.to_owned(),
            is_headless: self.spec.get("clusterIP").and_then(Value::as_str) == Some("None"),
            publishes_not_ready: self.spec.get("publishNotReadyAddresses") == Some(&Value::Bool(true)),
            selects_members: selector.is_some_and(|selector| !selector.is_empty() && selector.iter().all(has)),
        }
    }
}

fn text<'a>(document: &'a Document, path: &str) -> Option<&'a str> {
    document.value.pointer(path).and_then(Value::as_str)
}

fn namespace(name: Option<&str>) -> String {
    name.unwrap_or("default").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_run_is_a_job_that_the_cronjob_controls() {
        let cronjob: CronJob = serde_json::from_value(json!({
            "metadata": {"name": "etcd-defrag-job", "namespace": "ns", "uid": "u"},
            "spec": {"schedule": "@daily", "jobTemplate": {}},
        }))
        .unwrap();
        let job = |namespace: &str, owners: Value| -> Job {
            serde_json::from_value(json!({
                "metadata": {"namespace": namespace, "annotations": {"etcd-defrag.io/statefulset": "etcd"}, "ownerReferences": owners},
                "status": {"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": "2026-03-01T01:00:00Z"}]},
            }))
            .unwrap()
        };
        let owner = |uid: &str, controller: bool| json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "etcd-defrag-job", "uid": uid, "controller": controller}]);
        let object: StatefulSet =
            serde_json::from_value(json!({"metadata": {"name": "etcd", "namespace": "ns"}})).unwrap();
        let runs = |job: Job| {
            let around = Around::new([cronjob.clone()], &[job]);
            around.surroundings(&object).runs.map_or(0, <[Run]>::len)
        };
        assert_eq!(runs(job("ns", owner("u", true))), 1);
        for forged in [owner("u", false), owner("v", true), json!([])] {
            assert_eq!(runs(job("ns", forged)), 0);
        }
        assert_eq!(runs(job("elsewhere", owner("u", true))), 0);
    }
}
