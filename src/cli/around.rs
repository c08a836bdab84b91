//! What commands see around a StatefulSet: the CronJobs, the runs and the Services of its namespace.

use std::{cell::OnceCell, collections::BTreeMap, sync::Arc};

use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::{ConfigMap, PodSpec},
};

use serde_json::{Map, Value};

use super::input::{Document, Kept};
use crate::defrag::{
    Neighbours, Other, Service, Surroundings,
    cronjob::{self, budget::Run, live::Live, ownership::controlling_cronjob, rival::Defragments},
    etcd::ObjectKey,
    pause::{self, Pause},
    policy::Policy,
    quantity,
    statefulset::StatefulSet,
};

/// CronJobs by namespace, Services by namespace and the StatefulSet that they are around, and runs by namespace and the uid of
/// their CronJob.
#[derive(Debug, Default)]
pub(super) struct Around {
    cronjobs: BTreeMap<String, Vec<Live>>,
    runs: BTreeMap<(String, String), Vec<Run>>,
    services: BTreeMap<(String, String), Vec<Service>>,
    /// The sizes of volume claims by namespace and name.
    claims: BTreeMap<String, BTreeMap<String, u64>>,
    /// CronJobs and pods that run again and again, where they defragment something.
    others: Vec<Other>,
    /// What keeps the fleet from running.
    pause: Option<Pause>,
    /// Whose runs reach which members.
    neighbours: Neighbours,
}

/// Kinds of objects that start their pods again and again, with the way to the pod.
const STARTED_AGAIN: [(&str, &str); 3] = [
    ("CronJob", "/spec/jobTemplate/spec/template/spec"),
    ("Deployment", "/spec/template/spec"),
    ("DaemonSet", "/spec/template/spec"),
];

impl Around {
    pub(super) fn new(cronjobs: impl IntoIterator<Item = CronJob>, jobs: &[Job]) -> Self {
        let mut around = Self::default();
        for live in cronjobs.into_iter().filter_map(Live::of) {
            around.add_cronjob(live);
        }
        for job in jobs {
            around.add_job(job);
        }
        around
    }

    fn add_cronjob(&mut self, live: Live) {
        self.cronjobs.entry(namespace(live.meta.namespace.as_deref())).or_default().push(live);
    }

    fn add_job(&mut self, job: &Job) {
        let meta = &job.metadata;
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref());
        if let (Some(run), Some(uid)) = (Run::of(conditions.unwrap_or_default()), controlling_cronjob(meta)) {
            self.runs.entry((namespace(meta.namespace.as_deref()), uid.to_owned())).or_default().push(run);
        }
    }

    /// The same among these StatefulSets, each with the policy that governs it.
    pub(super) fn among(self, objects: impl Iterator<Item = (StatefulSet, Arc<Policy>)> + Clone) -> Self {
        Self { neighbours: Neighbours::of(objects), ..self }
    }

    /// The same where the fleet may be paused.
    pub(super) fn with_pause(self, pause: Option<Pause>) -> Self {
        Self { pause, ..self }
    }

    /// Those of a stream, such as `kubectl get statefulset,cronjob,job -o yaml` prints it.
    /// `default` is the namespace of those that name none.
    pub(super) fn of(objects: &[Kept], default: &str) -> anyhow::Result<Self> {
        let mut troubles = Vec::new();
        let around = Self::of_readable(objects, default, &mut troubles);
        match troubles.into_iter().next() {
            Some(trouble) => Err(trouble),
            None => Ok(around),
        }
    }

    /// The same of what can be read; what cannot is added to `troubles`.
    pub(super) fn of_readable(objects: &[Kept], default: &str, troubles: &mut Vec<anyhow::Error>) -> Self {
        let scripts = ConfigMaps::of(objects, default);
        let mut around = Self::default();
        let mut services: BTreeMap<String, Vec<WrittenService>> = BTreeMap::new();
        for document in objects.iter().filter(|kept| kept.kind().1.is_some_and(is_around)).map(Kept::open) {
            troubles.extend(around.add(&document, &scripts, default).err());
            if let Some(service) = WrittenService::of(&document) {
                services.entry(namespace_of(&document, default).to_owned()).or_default().push(service);
            }
        }
        if services.is_empty() {
            return around;
        }
        for document in
            objects.iter().filter(|kept| kept.kind() == (Some("apps/v1"), Some("StatefulSet"))).map(Kept::open)
        {
            let Some(name) = text(&document, "/metadata/name") else { continue };
            let namespace = namespace_of(&document, default);
            let labels = document.value.pointer("/spec/template/metadata/labels");
            if let Some(services) = services.get(namespace) {
                let seen = services.iter().map(|service| service.around(labels)).collect();
                around.services.insert((namespace.to_owned(), name.to_owned()), seen);
            }
        }
        around
    }

    fn add(&mut self, document: &Document, scripts: &ConfigMaps<'_>, default: &str) -> anyhow::Result<()> {
        self.others.extend(scripts.other(document, default));
        match document.kind() {
            (Some("batch/v1"), Some("CronJob")) => {
                let mut cronjob: CronJob = document.typed()?;
                let namespace = cronjob.metadata.namespace.get_or_insert_with(|| default.to_owned()).clone();
                let live = Live::reading(cronjob, Some(&|script| scripts.text(&namespace, script)));
                if let Some(live) = live {
                    self.add_cronjob(live);
                }
            }
            (Some("batch/v1"), Some("Job")) => {
                let mut job: Job = document.typed()?;
                job.metadata.namespace.get_or_insert_with(|| default.to_owned());
                self.add_job(&job);
            }
            (Some("v1"), Some("ConfigMap")) if text(document, "/metadata/name") == Some(pause::NAME) => {
                self.pause = Some(Pause::of(&document.typed::<ConfigMap>()?));
            }
            (Some("v1"), Some("PersistentVolumeClaim")) => {
                let size = text(document, "/spec/resources/requests/storage");
                let size = size.and_then(|size| quantity::parse(size).ok());
                if let (Some(name), Some(size)) = (text(document, "/metadata/name"), size) {
                    let namespace = namespace_of(document, default);
                    self.claims.entry(namespace.to_owned()).or_default().insert(name.to_owned(), size);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What manifests show around a StatefulSet. Where they hold no CronJob at all, they say nothing of those in the cluster.
    pub(super) fn of_manifests(&self, object: &StatefulSet) -> Surroundings<'_> {
        let around = if self.cronjobs.is_empty() { Surroundings::default() } else { self.surroundings(object) };
        let key = (object.namespace().to_owned(), object.name().to_owned());
        let claims = self.claims.get(object.namespace());
        let services = self.services.get(&key).map(Vec::as_slice);
        let neighbours = Some(&self.neighbours);
        Surroundings { services, claims, neighbours, others: &self.others, ..around }
    }

    /// What is known around a StatefulSet; that there is no CronJob is known, too.
    pub(super) fn surroundings(&self, object: &StatefulSet) -> Surroundings<'_> {
        let namespace = object.namespace().to_owned();
        let cronjobs = self.cronjobs.get(&namespace).map_or(&[][..], Vec::as_slice);
        let name = cronjob::name(object.name());
        let uid = cronjobs.iter().find(|live| live.name() == name).and_then(|live| live.meta.uid.clone());
        let runs = uid.and_then(|uid| self.runs.get(&(namespace, uid))).map_or(&[][..], Vec::as_slice);
        Surroundings {
            cronjobs: Some(cronjobs),
            runs: Some(runs),
            pause: self.pause.as_ref(),
            neighbours: Some(&self.neighbours),
            ..Surroundings::default()
        }
    }
}

/// Whether something of this kind may matter to a StatefulSet.
fn is_around(kind: &str) -> bool {
    matches!(kind, "Job" | "ConfigMap" | "PersistentVolumeClaim" | "Service")
        || STARTED_AGAIN.iter().any(|(again, _)| *again == kind)
}

/// The ConfigMaps among manifests, by namespace and name; each is opened where a script of it is read.
struct ConfigMaps<'a>(BTreeMap<(String, String), (&'a Kept, OnceCell<Document>)>);

impl<'a> ConfigMaps<'a> {
    fn of(objects: &'a [Kept], default: &str) -> Self {
        let maps = objects.iter().filter(|kept| kept.kind() == (Some("v1"), Some("ConfigMap")));
        let by_name = maps.filter_map(|kept| {
            let document = kept.open();
            let name = text(&document, "/metadata/name")
                .filter(|_| document.value.get("data").is_some_and(Value::is_object))?;
            Some(((namespace_of(&document, default).to_owned(), name.to_owned()), (kept, OnceCell::new())))
        });
        Self(by_name.collect())
    }

    /// What an object defragments, where it is of a kind that does so again and again and is neither ours nor switched off.
    fn other(&self, document: &Document, default: &str) -> Option<Other> {
        let kind = document.kind().1?;
        let (kind, pod) = STARTED_AGAIN.iter().find(|(known, _)| *known == kind)?;
        let is_off = document.value.pointer("/spec/suspend") == Some(&Value::Bool(true))
            || document.value.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0);
        let is_ours = text(document, "/metadata/labels/app.kubernetes.io~1managed-by") == Some(cronjob::MANAGER);
        if is_off || is_ours {
            return None;
        }
        let pod: PodSpec = serde_json::from_value(document.value.pointer(pod)?.clone()).ok()?;
        let namespace = namespace_of(document, default);
        let reading = |script: &ObjectKey| self.text(namespace, script);
        let defragments = Defragments::of_pod(&pod, Some(&reading))?;
        Some(Other {
            kind: (*kind).to_owned(),
            namespace: namespace.to_owned(),
            name: text(document, "/metadata/name")?.to_owned(),
            defragments,
        })
    }

    /// The text of a file.
    fn text(&self, namespace: &str, file: &ObjectKey) -> Option<&str> {
        let (kept, map) = self.0.get(&(namespace.to_owned(), file.name.clone()))?;
        map.get_or_init(|| kept.open()).value.get("data")?.get(&file.key)?.as_str()
    }
}

/// A Service as a manifest has it.
struct WrittenService {
    name: String,
    spec: Map<String, Value>,
}

impl WrittenService {
    /// The Service that a document is. Its other fields do not matter here.
    fn of(document: &Document) -> Option<Self> {
        let is_service = document.kind() == (Some("v1"), Some("Service"));
        let spec = document.value.get("spec").filter(|_| is_service)?.as_object()?.clone();
        Some(Self { name: text(document, "/metadata/name")?.to_owned(), spec })
    }

    /// What matters of it to a StatefulSet whose pods have these labels.
    fn around(&self, labels: Option<&Value>) -> Service {
        let selector = self.spec.get("selector").and_then(Value::as_object);
        let has = |(key, value): (&String, &Value)| labels.and_then(|labels| labels.get(key)) == Some(value);
        Service {
            name: self.name.clone(),
            is_headless: self.spec.get("clusterIP").and_then(Value::as_str) == Some("None"),
            publishes_not_ready: self.spec.get("publishNotReadyAddresses") == Some(&Value::Bool(true)),
            selects_members: selector.filter(|selector| !selector.is_empty()).map(|selector| selector.iter().all(has)),
        }
    }
}

fn text<'a>(document: &'a Document, path: &str) -> Option<&'a str> {
    document.value.pointer(path).and_then(Value::as_str)
}

/// The namespace of an object, which is `default` where it names none.
fn namespace_of<'d>(document: &'d Document, default: &'d str) -> &'d str {
    text(document, "/metadata/namespace").unwrap_or(default)
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
