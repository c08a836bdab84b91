//! A CronJob of the cluster, reduced to what an assessment reads of it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use kube::api::ObjectMeta;

use super::{
    SUFFIX, drift,
    ownership::{self, Ownership, applied_by_us, is_engine, is_ours, pod, statefulset_of},
    record::{self, Record},
};
use crate::defrag::{facts::Facts, policy::Limits};

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

/// A CronJob, as far as it concerns us.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// Its metadata without what nobody reads.
    pub meta: ObjectMeta,
    /// The fingerprint of its specification.
    pub spec: u64,
    /// Whether we keep it.
    pub ours: bool,
    /// What its containers name, where they run a defragmentation that is not ours.
    pub defragments: Option<Arc<Names>>,
    /// How long a run of it may take before it is ended.
    pub deadline: Option<Duration>,
    /// When it was made.
    pub made: Option<Timestamp>,
    /// When a run of it last ended well, as its controller says.
    pub last_success: Option<Timestamp>,
    /// Whether our field manager has applied it.
    applied: bool,
    /// Why it is not one that defrag.sh made; asked only of one that bears no mark of ours.
    no_script: Option<Box<str>>,
    /// What was in force when it was written; only where its own record cannot be used.
    read_back: Option<Arc<Record>>,
}

impl Live {
    /// The part of a CronJob that is kept; `None` for one that has nothing to do with defragmentation.
    #[must_use]
    pub fn of(mut live: CronJob) -> Option<Self> {
        let deadline = live.spec.job_template.spec.as_ref().and_then(|job| job.active_deadline_seconds);
        let deadline = deadline.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        let made = live.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let succeeded = live.status.as_ref().and_then(|status| status.last_successful_time.as_ref());
        let last_success = succeeded.map(|time| time.0);
        let (ours, applied) = (is_ours(&live.metadata), applied_by_us(&live.metadata));
        // What ours run is known from their StatefulSet.
        let text = if ours { None } else { what_it_defragments(&live) };
        let defragments = text.map(|text| Arc::new(Names::of(&text)));
        let no_script = if ours { None } else { ownership::made_by_defrag_sh(&live).err().map(String::into_boxed_str) };
        let recorded = record::written_by_us(&live.metadata) && record::of(&live.metadata).is_some();
        let read_back = if ours && !recorded { Record::read_back(&live).map(Arc::new) } else { None };
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
        let spec = drift::fingerprint(&live.spec);
        Some(Self { meta, spec, ours, defragments, deadline, made, last_success, applied, no_script, read_back })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.meta.name.as_deref().unwrap_or_default()
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.meta.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Whose it is, as seen from the StatefulSet of this name in the same namespace.
    #[must_use]
    pub fn ownership(&self, statefulset: &str) -> Ownership {
        ownership::by_marks(&self.meta, self.applied, statefulset).unwrap_or_else(|| match &self.no_script {
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

    /// Whether this CronJob concerns a StatefulSet of its namespace with this governing Service, whose CronJob is to be named
    /// `expected`.
    #[must_use]
    pub fn concerns(&self, statefulset: &str, service: &str, expected: &str) -> bool {
        statefulset_of(&self.meta) == Some(statefulset)
            || self.meta.name.as_deref() == Some(expected)
            || self.rivals(statefulset, service)
    }

    /// Whether this CronJob, be it whose it may, runs a defragmentation of this StatefulSet's pods, which it names or reaches
    /// by their governing Service.
    #[must_use]
    pub fn rivals(&self, statefulset: &str, service: &str) -> bool {
        self.defragments.as_ref().is_some_and(|names| names.has(statefulset) || names.has(service))
    }

    /// Whether an assessment could come to another result than with `old`. How its runs went is no reason.
    #[must_use]
    pub fn differs(&self, old: &Self) -> bool {
        let facts =
            |live: &Self| (live.meta.clone(), live.spec, live.ours, live.defragments.clone(), live.read_back.clone());
        facts(self) != facts(old)
    }
}

/// The commands and variables of a CronJob that defragments: one that runs the engine, or `etcdctl … defrag`.
fn what_it_defragments(live: &CronJob) -> Option<String> {
    let pod = pod(live)?;
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

/// The StatefulSets that a text may name, by a pod, `<name>-<number>`, or by a Service of the same name as a host. Kept
/// are hashes, so that a CronJob with a long script takes neither memory nor time when it is looked up in. Two names with
/// the same hash make at most a warning too many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Box<[u64]>);

impl Names {
    /// No name of an object is longer, in bytes.
    const LONGEST: usize = 253;

    fn of(text: &str) -> Self {
        let mut names = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(of_host) {
            let host = rest.get(start..).unwrap_or_default();
            let end = host.find(|c| !of_host(c)).unwrap_or(host.len());
            let (host, after) = host.split_at(end);
            Self::of_word(host.as_bytes(), after.starts_with(':'), &mut names);
            rest = after;
        }
        names.sort_unstable();
        names.dedup();
        Self(names.into())
    }

    /// The names with which a word of letters, digits, hyphens and dots can begin.
    fn of_word(word: &[u8], port: bool, names: &mut Vec<u64>) {
        let mut hash = Hash::default();
        for (at, byte) in word.iter().enumerate().take(Self::LONGEST + 1) {
            let behind = word.get(at + 1..).unwrap_or_default();
            let number = || {
                let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
                digits > 0 && matches!(behind.get(digits), None | Some(b'.'))
            };
            if at > 0 && (*byte == b'.' || *byte == b'-' && number()) {
                names.push(hash.0);
            }
            hash.add(*byte);
        }
        if port && word.len() <= Self::LONGEST {
            names.push(hash.0);
        }
    }

    fn has(&self, name: &str) -> bool {
        let mut hash = Hash::default();
        name.bytes().for_each(|byte| hash.add(byte));
        !name.is_empty() && self.0.binary_search(&hash.0).is_ok()
    }
}

/// Whether this can be part of the name of a host.
fn of_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.')
}

/// FNV-1a, which goes on from any beginning of a text.
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
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
    fn rivals_are_found_in_arguments_scripts_and_variables() {
        let engine =
            json!({"name": "a", "image": "x/etcd-defrag:v1", "args": ["--endpoints=https://etcd-0.etcd.ns.svc:2379"]});
        assert!(observed("mine", &engine).unwrap().rivals("etcd", ""));
        assert!(!observed("mine", &engine).unwrap().rivals("etc", ""));
        assert!(!observed("mine", &engine).unwrap().rivals("etcd-1", ""));
        let script = json!({"name": "a", "image": "etcd", "command": ["bash", "-c", "for e in kamaji-etcd-0.kamaji-etcd:2379; do etcdctl defrag; done"]});
        assert!(observed("kamaji-defrag", &script).unwrap().rivals("kamaji-etcd", ""));
        assert!(
            !observed("kamaji-defrag", &script).unwrap().rivals("etcd", ""),
            "the end of a longer name is another name"
        );
        let variable = json!({"name": "a", "image": "etcd", "command": ["etcdctl", "defrag"],
            "env": [{"name": "ETCDCTL_ENDPOINTS", "value": "http://my-etcd-10.my-etcd-headless:2379"}]});
        assert!(observed("my-etcd-defrag", &variable).unwrap().rivals("my-etcd", ""));
        assert!(!observed("my-etcd-defrag", &variable).unwrap().rivals("my-etcd-headless", ""));
        let service = json!({"name": "a", "image": "etcd", "args": ["etcdctl --endpoints http://etcd.ns.svc:2379 defrag --cluster"]});
        assert!(observed("x", &service).unwrap().rivals("etcd", ""));
        for url in ["http://db-headless:2379", "http://db-headless.ns.svc:2379", "db-headless.ns.svc.cluster.local"] {
            let by_service =
                json!({"name": "a", "image": "etcd", "args": [format!("etcdctl --endpoints={url} defrag --cluster")]});
            let live = observed("x", &by_service).unwrap();
            assert!(live.rivals("db", "db-headless") && !live.rivals("db", "headless"), "{url}");
            assert!(live.concerns("db", "db-headless", "db-defrag-job"));
        }
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

    /// Whether a text names a pod of a StatefulSet or a Service of its name, searched for in full.
    fn mentions(text: &str, statefulset: &str) -> bool {
        let of_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (0..text.len()).filter(|at| text[*at..].starts_with(statefulset)).any(|at| {
            let rest = &text[at + statefulset.len()..];
            let pod = rest.strip_prefix('-').unwrap_or_default();
            let digits = pod.bytes().take_while(u8::is_ascii_digit).count();
            !text[..at].ends_with(|c| of_name(c) || c == '.')
                && (rest.starts_with(['.', ':']) || (digits > 0 && !pod[digits..].starts_with(of_name)))
        })
    }

    proptest! {
        #[test]
        fn names_are_found_as_by_a_search_in_full(text in "[ab1.: -]{0,24}", name in "[ab1]([ab1.-]{0,4}[ab1])?") {
            prop_assert_eq!(Names::of(&text).has(&name), mentions(&text, &name));
        }
    }
}
