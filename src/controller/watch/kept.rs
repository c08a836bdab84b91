//! What is kept of watched StatefulSets and CronJobs between two looks: packed, since it is most of the memory of a large fleet,
//! and read again for a look.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use serde::Serialize;

use super::cache::Cached;
use crate::{
    controller::runs::CronJobId,
    defrag::{
        cronjob::{
            drift::fingerprint,
            live::{Live, Rest},
            names::{CREATED_AT, LAST_DEFRAG_NOW, LAST_ON_DEMAND, LAST_RUN, NOT_STARTED, ON_DEMAND},
            ownership::{statefulset_of, statefulset_of_ours},
        },
        etcd::Reached,
        policy::Labels,
        preflight,
        statefulset::StatefulSet,
    },
    runtime::packed::{Packed, Texts, json, read, unescaped, word},
};

/// What CronJobs are filed under that may concern another StatefulSet than their name says.
pub(crate) const STANDING_OUT: &str = "";

/// A StatefulSet.
#[derive(Clone, Debug)]
pub(crate) struct KeptStatefulSet {
    /// Its labels, and in a second line the rest of it.
    packed: Packed,
    /// The fingerprint of what is a reason to look.
    print: u64,
    /// What its endpoints reach besides its own pods.
    besides: Reached,
}

impl KeptStatefulSet {
    pub(crate) fn of(mut object: StatefulSet, texts: &mut Texts) -> Self {
        let besides = Reached::besides(&object);
        let meta = &object.metadata;
        // The generation changes with every part of the specification.
        let deleted = meta.deletion_timestamp.is_some();
        let print = fingerprint(&(&meta.uid, meta.generation, &meta.labels, &meta.annotations, deleted));
        let words = [
            text(meta.name.as_ref()),
            text(meta.namespace.as_ref()),
            text(meta.uid.as_ref()),
            text(meta.resource_version.as_ref()),
            text(meta.creation_timestamp.as_ref()),
        ];
        let labels = json(&object.metadata.labels.take());
        let packed = texts.pack(&format!("{labels}\n{}", json(&object)), &words.each_ref().map(String::as_str));
        Self { packed, print, besides }
    }

    /// The StatefulSet.
    pub(crate) fn object(&self) -> Option<Arc<StatefulSet>> {
        let text = self.packed.text();
        let (labels, object) = text.split_once('\n')?;
        let mut object: StatefulSet = read(object)?;
        object.metadata.labels = read(labels)?;
        Some(Arc::new(object))
    }

    /// Its labels.
    pub(crate) fn labels(&self) -> Labels {
        read::<Option<Labels>>(&self.packed.first_line()).flatten().unwrap_or_default()
    }
}

impl Cached for KeptStatefulSet {
    /// The status is no reason to look.
    fn differs(&self, old: &Self) -> bool {
        self.print != old.print
    }

    fn filed_under(&self) -> BTreeSet<Cow<'_, str>> {
        self.besides.iter().map(Cow::Borrowed).collect()
    }
}

/// A CronJob.
#[derive(Clone, Debug)]
pub(crate) struct KeptCronJob {
    packed: Packed,
    /// The fingerprint of what an assessment reads of `packed`.
    print: u64,
    /// Whether it may concern another StatefulSet than its name says.
    stands_out: bool,
    /// Of few, and of each of those something else.
    rest: Rest,
}

/// The words that are read by themselves.
const OURS_OF: usize = 0;
const UID: usize = 1;
const PREFLIGHT: usize = 2;

/// The annotations that say something else on each CronJob, or with each run.
const OF_RUNS: [&str; 6] = [CREATED_AT, LAST_DEFRAG_NOW, LAST_ON_DEMAND, LAST_RUN, NOT_STARTED, ON_DEMAND];

impl KeptCronJob {
    pub(crate) fn of(live: &Live, texts: &mut Texts) -> Self {
        let meta = &live.meta;
        let owner = meta.owner_references.iter().flatten().next().map(|owner| &owner.uid);
        let mut words = vec![
            text(statefulset_of_ours(meta)),
            text(meta.uid.as_ref()),
            text(live.annotation(preflight::ANNOTATION)),
            text(meta.name.as_ref()),
            text(meta.namespace.as_ref()),
            text(statefulset_of(meta)),
            text(owner),
            text(live.version.as_ref()),
            text(meta.creation_timestamp.as_ref()),
            text(live.last_success.as_ref()),
            // Its endpoints are part of it.
            live.spec.to_string(),
        ];
        words.extend(OF_RUNS.map(|key| text(live.annotation(key))));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Self {
            packed: texts.pack(&json(live), &words),
            print: fingerprint(&live.deciding()),
            stands_out: live.stands_out(),
            rest: live.rest(),
        }
    }

    /// The CronJob.
    pub(crate) fn live(&self) -> Option<Live> {
        Some(read::<Live>(&self.packed.text())?.with(self.rest.clone()))
    }

    /// Whether it is ours, for this StatefulSet.
    pub(crate) fn is_of(&self, statefulset: &str) -> bool {
        self.packed.word(OURS_OF) == word(statefulset)
    }

    /// By what its runs are known.
    pub(crate) fn runs(&self, namespace: &str) -> Option<CronJobId> {
        Some(self.packed.word(UID)).filter(|uid| !uid.is_empty()).map(|uid| CronJobId::new(namespace, uid))
    }

    /// What is noted on it of its last preflight.
    pub(crate) fn preflight(&self) -> Option<preflight::Record> {
        preflight::Record::read(&unescaped(self.packed.word(PREFLIGHT))?)
    }
}

impl Cached for KeptCronJob {
    fn differs(&self, old: &Self) -> bool {
        (self.print, &self.rest) != (old.print, &old.rest)
    }

    /// The others are found by their names.
    fn filed_under(&self) -> BTreeSet<Cow<'_, str>> {
        self.stands_out.then_some(Cow::Borrowed(STANDING_OUT)).into_iter().collect()
    }
}

/// A string, or what is written as one, as a word; nothing where there is none.
fn text(value: Option<impl Serialize>) -> String {
    value.map(|value| word(&value)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::CronJob;
    use serde_json::{Value, json};

    use super::*;

    fn statefulset(value: &Value) -> StatefulSet {
        serde_json::from_value(value.clone()).unwrap()
    }

    fn kept(value: &Value) -> KeptStatefulSet {
        KeptStatefulSet::of(statefulset(value), &mut Texts::default())
    }

    #[test]
    fn status_churn_of_a_statefulset_is_no_change() {
        let base = json!({"metadata": {"name": "a", "uid": "u", "generation": 3, "resourceVersion": "1"}});
        let mut other = base.clone();
        other["metadata"]["resourceVersion"] = json!("2");
        assert!(!kept(&other).differs(&kept(&base)));
        for (field, value) in [
            ("generation", json!(4)),
            ("uid", json!("v")),
            ("labels", json!({"a": "b"})),
            ("annotations", json!({"etcd-defrag.io/rule": "b"})),
            ("deletionTimestamp", json!("2026-03-01T12:00:00Z")),
        ] {
            let mut other = base.clone();
            other["metadata"][field] = value;
            assert!(kept(&other).differs(&kept(&base)), "{field}");
        }
    }

    /// Whatever a tenant writes is read for a look as it was read from the API server.
    #[test]
    fn a_statefulset_comes_back_as_it_was() {
        let mut texts = Texts::default();
        let mut value: Value = serde_saphyr::from_str(include_str!("../../../examples/kamaji-etcd.yaml")).unwrap();
        let rule = "dbSize > 1\n\u{1}\u{b}\"";
        value["metadata"]["annotations"] = json!({"etcd-defrag.io/rule": rule, "etcd-defrag/rule": "x"});
        value["metadata"]["creationTimestamp"] = json!("2026-03-01T12:00:00Z");
        value["metadata"]["uid"] = json!("0b0d");
        let object = statefulset(&value);
        let kept = KeptStatefulSet::of(object.clone(), &mut texts);
        assert_eq!((kept.labels(), &*kept.object().unwrap()), (object.labels().into_owned(), &object));
        for value in
            [json!({}), json!({"metadata": {"name": "a", "labels": {}, "annotations": {}}, "spec": {"replicas": 0}})]
        {
            let object = statefulset(&value);
            assert_eq!(*KeptStatefulSet::of(object.clone(), &mut texts).object().unwrap(), object);
        }
    }

    fn cronjob(change: impl FnOnce(&mut Value)) -> Live {
        let container =
            json!({"name": "etcd-defrag", "image": "x/etcd-defrag:v1", "args": ["--endpoints=http://a-0.a:2379"]});
        let mut value = json!({
            "metadata": {
                "name": "a-defrag-job", "namespace": "ns", "uid": "c0", "resourceVersion": "7", "generation": 1,
                "creationTimestamp": "2026-03-01T12:00:00Z",
                "labels": {"app.kubernetes.io/managed-by": "etcd-defrag-webhook"},
                "annotations": {
                    "etcd-defrag.io/statefulset": "a",
                    "etcd-defrag.io/last-run": "{\"job\": \"a-defrag-job-1\"}",
                    "etcd-defrag.io/preflight": "Running 2026-03-01T12:00:00Z access f engine e tries 1 job a-preflight: \"x\"",
                },
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "a", "uid": "s0", "controller": true}],
            },
            "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"activeDeadlineSeconds": 600, "template": {"spec": {"containers": [container]}}}}},
            "status": {"lastSuccessfulTime": "2026-03-02T00:00:00Z"},
        });
        change(&mut value);
        Live::of(serde_json::from_value::<CronJob>(value).unwrap()).unwrap()
    }

    #[test]
    fn a_cronjob_comes_back_as_it_was_whosever_it_is() {
        let mut texts = Texts::default();
        let foreign = |value: &mut Value| {
            value["metadata"]["labels"] = json!({"theirs": "\u{0}"});
            value["metadata"]["annotations"] = json!({});
            value["metadata"]["ownerReferences"] = json!([]);
        };
        let recorded =
            |value: &mut Value| value["metadata"]["annotations"]["etcd-defrag.io/in-force"] = json!("{\"version\":1}");
        let bare = |value: &mut Value| value["metadata"] = json!({"name": "b-defrag-job", "namespace": "ns"});
        for live in [cronjob(|_| {}), cronjob(foreign), cronjob(recorded), cronjob(bare)] {
            let kept = KeptCronJob::of(&live, &mut texts);
            assert_eq!(kept.live().unwrap(), live);
            assert_eq!(kept.is_of("a"), statefulset_of_ours(&live.meta) == Some("a"));
            assert_eq!(kept.runs("ns"), CronJobId::of(&live.meta));
            assert_eq!(kept.preflight(), live.annotation(preflight::ANNOTATION).and_then(preflight::Record::read));
            assert_eq!(kept.filed_under().is_empty(), !live.stands_out());
        }
        assert!(KeptCronJob::of(&cronjob(|_| {}), &mut texts).preflight().is_some());
    }

    #[test]
    fn cronjobs_and_statefulsets_that_differ_in_names_and_times_have_one_text() {
        let mut texts = Texts::default();
        let renamed = |value: &Value, name: &str| -> Value {
            let text =
                value.to_string().replace("kamaji-etcd", name).replace("a-defrag-job", &format!("{name}-defrag-job"));
            serde_json::from_str(&text.replace("http://a-0.a", &format!("http://{name}-0.{name}"))).unwrap()
        };
        let base: Value = serde_saphyr::from_str(include_str!("../../../examples/kamaji-etcd.yaml")).unwrap();
        let [one, two] =
            ["etcd-1", "tenant"].map(|name| KeptStatefulSet::of(statefulset(&renamed(&base, name)), &mut texts));
        assert!(one.packed.shares_with(&two.packed));
        let [one, two] = [("etcd-1", "s1", "c1", 1), ("tenant", "s2", "c2", 2)].map(|(name, owner, uid, day)| {
            let live = cronjob(|value| {
                *value = renamed(&*value, name);
                let meta = &mut value["metadata"];
                meta["annotations"]["etcd-defrag.io/statefulset"] = json!(name);
                meta["ownerReferences"][0]["name"] = json!(name);
                meta["ownerReferences"][0]["uid"] = json!(owner);
                meta["uid"] = json!(uid);
                meta["creationTimestamp"] = json!(format!("2026-03-0{day}T12:00:00Z"));
                value["status"]["lastSuccessfulTime"] = json!(format!("2026-04-0{day}T12:00:00Z"));
            });
            KeptCronJob::of(&live, &mut texts)
        });
        assert!(one.packed.shares_with(&two.packed), "{one:?}\n{two:?}");
    }

    #[test]
    fn a_cronjob_differs_by_what_an_assessment_reads() {
        let mut texts = Texts::default();
        let mut kept = |live: Live| KeptCronJob::of(&live, &mut texts);
        let before = kept(cronjob(|_| {}));
        let ran = |value: &mut Value| {
            value["metadata"]["resourceVersion"] = json!("8");
            value["status"]["lastSuccessfulTime"] = json!("2026-03-03T00:00:00Z");
        };
        assert!(!kept(cronjob(ran)).differs(&before));
        let changes: [fn(&mut Value); 4] = [
            |value| value["spec"]["suspend"] = json!(true),
            |value| value["metadata"]["annotations"]["note"] = json!("x"),
            |value| value["metadata"]["uid"] = json!("c1"),
            |value| value["metadata"]["labels"] = json!({}),
        ];
        for change in changes {
            assert!(kept(cronjob(change)).differs(&before));
        }
    }
}
