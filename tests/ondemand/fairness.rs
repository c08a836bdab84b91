//! Tenants who are after the places of others: with Jobs of their own making, and with many etcds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{GIB, end_job, etcd, policy, ready, reason, slowly, world};
use harness::{ControlPlane, Exported, Exporter, Prometheus, PrometheusOptions, Serve, Target, prometheus};

/// Etcds of three members that a Prometheus tells of. None of them wants a run at first.
struct Fleet {
    plane: ControlPlane,
    serve: Serve,
    exporter: Exporter,
    prometheus: Prometheus,
}

impl Fleet {
    /// `None` where there is no Prometheus.
    fn start(test: &str, etcds: &[(&str, &str)]) -> Option<Self> {
        let programs = prometheus::found(test)?;
        let (plane, serve) = world();
        let mut members = Vec::new();
        let mut namespaces: Vec<&str> = etcds.iter().map(|(namespace, _)| *namespace).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        for namespace in namespaces {
            plane.kubectl_ok(&["create", "namespace", namespace]);
        }
        for (namespace, name) in etcds {
            plane.apply(&etcd(namespace, name).to_string());
            ready(&plane, namespace, name, 3);
            members.extend((0..3).map(|ordinal| Exported {
                namespace: (*namespace).to_owned(),
                pod: format!("{name}-{ordinal}"),
                size: GIB,
                in_use: GIB,
                quota: 8 * GIB,
                corrupt: false,
            }));
        }
        let exporter = Exporter::start(members);
        let jobs = prometheus::jobs_of(&[Target::local(exporter.port)]);
        let options = PrometheusOptions { jobs, rules: false, ..PrometheusOptions::default() };
        let prometheus = Prometheus::start(programs, &options);
        Some(Self { plane, serve, exporter, prometheus })
    }

    /// Has so many run at a time, and waits until all are measured.
    fn governed(&self, etcds: usize, max_concurrent: u32) {
        let url = self.prometheus.url();
        let measured = json!({"url": url, "interval": "5s", "timeout": "2s", "staleAfter": "15s", "maxConcurrent": max_concurrent});
        policy(&self.plane, &measured);
        slowly("all to be measured", 90, || {
            reason(&self.plane, "Answers").contains(&format!("every member of {etcds} etcds")).then_some(())
        });
    }

    /// Has etcds fill up at the same time, to so many hundredths of their quota.
    fn fill(&self, etcds: &[(&str, &str, u64)]) {
        let mut members = self.exporter.members.lock().unwrap();
        for one in members.iter_mut() {
            let of = |(namespace, name, _): &&(&str, &str, u64)| {
                one.namespace == *namespace && one.pod.rsplit_once('-').is_some_and(|(of, _)| of == *name)
            };
            if let Some((.., share)) = etcds.iter().find(of) {
                one.size = share * 8 * GIB / 100;
            }
        }
    }

    /// The runs on demand that the leader started: the etcd of each, and its Job.
    fn runs(&self) -> BTreeMap<String, Value> {
        let jobs = self.plane.get(&["jobs", "-A"]).unwrap_or_default()["items"].clone();
        let of = |job: &Value| {
            let meta = &job["metadata"];
            let manual = meta["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual";
            let cronjob = meta["ownerReferences"][0]["name"].as_str()?.trim_end_matches("-defrag-job").to_owned();
            manual.then(|| (format!("{}/{cronjob}", meta["namespace"].as_str().unwrap()), job.clone()))
        };
        jobs.as_array().cloned().unwrap_or_default().iter().filter_map(of).collect()
    }

    fn names(&self) -> Vec<String> {
        self.runs().into_keys().collect()
    }

    /// Waits until runs of these etcds, and of no others, were started.
    #[track_caller]
    fn started(&self, expected: &[&str]) {
        slowly(&format!("runs of {expected:?}"), 60, || (self.names() == expected).then_some(()));
    }

    /// Waits until it is said why an etcd waits, in words that begin so.
    #[track_caller]
    fn waits(&self, namespace: &str, name: &str, why: &str) {
        slowly(&format!("{namespace}/{name} to wait: {why}"), 60, || {
            let cronjob = self.plane.get(&["-n", namespace, "cronjob", &format!("{name}-defrag-job")])?;
            cronjob["metadata"]["annotations"]["etcd-defrag.io/on-demand"].as_str()?.starts_with(why).then_some(())
        });
    }

    fn end(&self, etcd: &str) {
        let runs = self.runs();
        let meta = &runs[etcd]["metadata"];
        end_job(&self.plane, meta["namespace"].as_str().unwrap(), meta["name"].as_str().unwrap());
    }
}

/// A Job that says that it is a run on demand of an etcd, and that no node runs. `owner` is its owner, `spec` what else it says.
fn forge(plane: &ControlPlane, namespace: &str, name: &str, owner: &Value, spec: &Value) {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name, "namespace": namespace, "ownerReferences": owner,
            "labels": {"app.kubernetes.io/managed-by": "etcd-defrag-webhook"},
            "annotations": {
                "etcd-defrag.io/statefulset": "etcd", "etcd-defrag.io/place": "kept",
                "etcd-defrag.io/last-on-demand": "2026-01-01T00:00:00Z: forged",
            },
        },
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "example.org/sleep"}]}}},
    });
    job["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    plane.apply(&job.to_string());
}

/// The attack: a Job with the label and annotations of ours held the only place for ever.
#[test]
fn a_forged_job_holds_no_place_and_counts_as_no_run() {
    let test = "a_forged_job_holds_no_place_and_counts_as_no_run";
    let etcds = [("tenant", "etcd"), ("victim", "etcd")];
    let Some(fleet) = Fleet::start(test, &etcds) else { return };
    fleet.governed(etcds.len(), 1);
    for namespace in ["tenant", "victim"] {
        let cronjob = fleet.plane.get(&["-n", namespace, "cronjob", "etcd-defrag-job"]).unwrap();
        let owner = |uid: &Value, controller: bool| json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "etcd-defrag-job", "uid": uid, "controller": controller}]);
        let uid = &cronjob["metadata"]["uid"];
        let statefulset = fleet.plane.get(&["-n", namespace, "statefulset", "etcd"]).unwrap();
        let of_statefulset = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "etcd",
            "uid": statefulset["metadata"]["uid"], "controller": true}]);
        let forge = |name: &str, owner: &Value, spec: Value| forge(&fleet.plane, namespace, name, owner, &spec);
        forge("suspended", &json!([]), json!({"suspend": true}));
        forge("pending", &json!([]), json!({}));
        forge("owned", &owner(uid, false), json!({}));
        forge("controlled-and-suspended", &owner(uid, true), json!({"suspend": true}));
        forge("of-the-statefulset", &of_statefulset, json!({}));
        forge("failed", &json!([]), json!({"activeDeadlineSeconds": 1}));
    }
    for namespace in ["tenant", "victim"] {
        slowly("the forged Job to fail", 60, || {
            let job = fleet.plane.get(&["-n", namespace, "job", "failed"])?;
            job["status"]["conditions"].as_array()?.iter().any(|one| one["type"] == "Failed").then_some(())
        });
    }

    // None holds the only place, none is a run beside which none starts, and none keeps the etcd in its cooldown.
    fleet.fill(&[("victim", "etcd", 80)]);
    fleet.started(&["victim/etcd"]);
    let events = fleet.plane.get(&["events.events.k8s.io", "-A"]).unwrap()["items"].clone();
    let failed = events.as_array().unwrap().iter().filter(|event| event["reason"] == "DefragmentationFailed").count();
    assert_eq!(failed, 0, "{}", fleet.serve.log());

    // The run that is one holds the only place, and what is suspended later holds it no more.
    fleet.fill(&[("tenant", "etcd", 80)]);
    fleet.waits("tenant", "etcd", "others-first: ");
    let job = fleet.runs()["victim/etcd"]["metadata"]["name"].as_str().unwrap().to_owned();
    fleet.plane.kubectl_ok(&["-n", "victim", "patch", "job", &job, "-p", r#"{"spec": {"suspend": true}}"#]);
    fleet.started(&["tenant/etcd", "victim/etcd"]);
}

#[test]
fn namespaces_share_the_places_and_one_is_kept_for_an_etcd_near_its_quota() {
    let test = "namespaces_share_the_places_and_one_is_kept_for_an_etcd_near_its_quota";
    let etcds = [
        ("crowd", "one"),
        ("crowd", "two"),
        ("crowd", "three"),
        ("crowd", "four"),
        ("other", "small"),
        ("other", "full"),
    ];
    let Some(fleet) = Fleet::start(test, &etcds) else { return };
    fleet.governed(etcds.len(), 2);

    // A crowd that is nearer to its quota, and all at once.
    fleet.fill(&[
        ("crowd", "one", 94),
        ("crowd", "two", 93),
        ("crowd", "three", 92),
        ("crowd", "four", 91),
        ("other", "small", 50),
    ]);
    fleet.started(&["crowd/one", "other/small"]);
    fleet.waits("crowd", "two", "others-first: ");

    // Where one ends, and only the crowd waits, it still leaves one place to others.
    fleet.end("other/small");
    fleet.waits("crowd", "two", "namespace-share: ");
    assert_eq!(fleet.names(), ["crowd/one", "other/small"], "{}", fleet.serve.log());

    // One that is too near to its quota has a place of its own, beside those that are taken.
    fleet.fill(&[("crowd", "three", 97)]);
    fleet.started(&["crowd/one", "crowd/three", "other/small"]);
    assert_eq!(fleet.runs()["crowd/three"]["metadata"]["annotations"]["etcd-defrag.io/place"], "kept");
    // The next one finds the place that was left for its namespace.
    fleet.fill(&[("crowd", "four", 98), ("other", "full", 96)]);
    fleet.started(&["crowd/one", "crowd/three", "other/full", "other/small"]);
    fleet.waits("crowd", "four", "others-first: ");

    // The kept place is free again, and so the one that waits in it goes on.
    fleet.end("crowd/three");
    fleet.started(&["crowd/four", "crowd/one", "crowd/three", "other/full", "other/small"]);
    assert_eq!(fleet.runs()["crowd/four"]["metadata"]["annotations"]["etcd-defrag.io/place"], "kept");
}
