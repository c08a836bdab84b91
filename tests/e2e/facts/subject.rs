//! An etcd whose CronJob is looked at after each change.

use std::time::{Duration, Instant};

use k8s_openapi::api::{apps::v1::StatefulSet, batch::v1::CronJob};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::super::{
    policies::manifest,
    support::{Namespace, SOON, World, etcd, namespace},
};
use harness::{SLOWER, client, eventually};

pub(super) const NAME: &str = "e";
pub(super) const CRONJOB: &str = "e-defrag-job";
/// The annotation of our CronJob with what is in force.
pub(super) const IN_FORCE: &str = "etcd-defrag.io/in-force";
pub(super) const GIB: u64 = 1 << 30;
pub(super) const POLL: Duration = Duration::from_millis(20);

pub(super) const SCHEDULE: &str = "7 3 * * *";
pub(super) const ZONE: &str = "Europe/Rome";
/// Right for every quota that is tried here.
pub(super) const RULE: &str = "dbSizeFree > 150*1024*1024";
/// What a person asks for.
pub(super) const SETTINGS: [(&str, &str); 4] =
    [("schedule", SCHEDULE), ("time-zone", ZONE), ("rule", RULE), ("wait-between-members", "45s")];

/// An etcd in a namespace of its own.
pub(super) struct Subject<'a> {
    pub(super) ns: Namespace<'a>,
    pub(super) statefulsets: Api<StatefulSet>,
    pub(super) cronjobs: Api<CronJob>,
    /// The code of what is refused here.
    pub(super) code: &'static str,
}

/// What a CronJob shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    // Facts, and what follows from them.
    pub(super) members: Vec<String>,
    pub(super) quota: u64,
    pub(super) secrets: Vec<String>,
    pub(super) suspended: bool,
    pub(super) timeout: String,
    pub(super) deadline_fits: bool,
    // Settings.
    pub(super) schedule: String,
    pub(super) zone: String,
    pub(super) rule: String,
    pub(super) wait: String,
    /// A label of its pods, from the policy's Job.
    pub(super) round: String,
    /// Whether the findings on it name the code.
    pub(super) told: bool,
}

impl Shown {
    /// Of an etcd with three members, the settings of [`SETTINGS`] and nothing refused.
    pub(super) fn good(quota: u64) -> Self {
        Self {
            members: members(3),
            quota,
            secrets: secrets("kamaji-etcd"),
            suspended: false,
            timeout: timeout(quota),
            deadline_fits: true,
            schedule: SCHEDULE.to_owned(),
            zone: ZONE.to_owned(),
            rule: RULE.to_owned(),
            wait: "45s".to_owned(),
            round: "first".to_owned(),
            told: false,
        }
    }

    pub(super) fn of(cronjob: &Value, code: &str) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &cronjob["spec"];
        let job = &spec["jobTemplate"]["spec"];
        let pod = &job["template"]["spec"];
        let args: Vec<String> = serde_json::from_value(pod["containers"][0]["args"].clone()).unwrap();
        let flag = |name: &str| {
            let value = args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().to_owned()
        };
        let members: Vec<String> = flag("--endpoints").split(',').map(member).collect();
        let (timeout, wait) = (flag("--command-timeout"), flag("--wait-between-defrags"));
        let step = seconds(&timeout) + seconds(&wait);
        let steps = u64::try_from(members.len()).unwrap() + 1;
        let volumes = pod["volumes"].as_array().map_or(&[][..], Vec::as_slice);
        let codes = text(&cronjob["metadata"]["annotations"]["etcd-defrag.io/findings"]);
        Self {
            quota: flag("--etcd-storage-quota-bytes").parse().unwrap(),
            secrets: volumes.iter().map(|volume| text(&volume["secret"]["secretName"])).collect(),
            suspended: spec["suspend"] == true,
            deadline_fits: job["activeDeadlineSeconds"].as_u64().is_some_and(|deadline| deadline >= steps * step),
            schedule: text(&spec["schedule"]),
            zone: text(&spec["timeZone"]),
            rule: flag("--defrag-rule"),
            round: text(&job["template"]["metadata"]["labels"]["round"]),
            told: codes.split(',').any(|found| found == code),
            members,
            timeout,
            wait,
        }
    }
}

pub(super) fn members(count: u32) -> Vec<String> {
    (0..count).map(|ordinal| format!("{NAME}-{ordinal}")).collect()
}

/// The pod behind an endpoint.
pub(super) fn member(endpoint: &str) -> String {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    host.split('.').next().unwrap_or_default().to_owned()
}

/// The Secrets of the chart's release.
pub(super) fn secrets(release: &str) -> Vec<String> {
    vec![format!("{release}-certs"), format!("{release}-root-client-certs")]
}

/// Three times the 10 s that a GiB takes, a minute at least.
pub(super) fn timeout(quota: u64) -> String {
    let seconds = (quota * 30 / GIB).max(60);
    format!("{}m{}s", seconds / 60, seconds % 60)
}

/// A Go duration of minutes and seconds.
pub(super) fn seconds(duration: &str) -> u64 {
    let (minutes, seconds) = duration.split_once('m').unwrap_or(("0", duration));
    minutes.parse::<u64>().unwrap() * 60 + seconds.trim_end_matches('s').parse::<u64>().unwrap_or_default()
}

/// The settings with one of them changed.
pub(super) fn settings(key: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    SETTINGS.into_iter().map(|(name, given)| (name, if name == key { value } else { given })).collect()
}

/// A policy's specification, of which the Job's pods carry this label.
pub(super) fn round(label: &str, mut spec: Value) -> Value {
    spec["job"] = json!({"podLabels": {"round": label}});
    spec
}

/// Limits that a nightly schedule breaks.
pub(super) fn strict() -> Value {
    json!({"limits": {"minInterval": "48h", "minIntervalWithoutFloor": "48h"}})
}

impl<'a> Subject<'a> {
    /// A namespace that a policy governs, and no etcd yet.
    pub(super) async fn new(world: &'a World, purpose: &str, code: &'static str) -> Self {
        let ns = namespace(&world.plane, purpose);
        let client = client(world.plane.kubeconfig()).await;
        let statefulsets = Api::namespaced(client.clone(), &ns.name);
        let subject = Self { statefulsets, cronjobs: Api::namespaced(client, &ns.name), ns, code };
        subject.govern("first", round("first", json!({})));
        subject
    }

    /// One with [`SETTINGS`] and 8 GiB, and what its CronJob shows.
    pub(super) async fn made(world: &'a World, purpose: &str, code: &'static str) -> (Self, Shown) {
        let (subject, wanted) = (Self::new(world, purpose, code).await, Shown::good(8 * GIB));
        subject.make(&SETTINGS, 8 * GIB).await;
        subject.shows("made", &wanted).await;
        (subject, wanted)
    }

    pub(super) fn policy(&self, name: &str) -> String {
        format!("{}-{name}", self.ns.name)
    }

    /// Has a policy of this name say this of the namespace.
    pub(super) fn govern(&self, name: &str, mut spec: Value) {
        spec["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": self.ns.name}});
        self.ns.plane.apply(&manifest(&self.policy(name), &spec));
    }

    /// Makes the etcd.
    pub(super) async fn make(&self, annotations: &[(&str, &str)], quota: u64) {
        let text = etcd(&self.ns.name, NAME, annotations).to_string();
        let object: StatefulSet = serde_json::from_str(&text.replace("8589934592", &quota.to_string())).unwrap();
        self.statefulsets.create(&PostParams::default(), &object).await.unwrap();
    }

    pub(super) async fn patch(&self, patch: Value) {
        self.statefulsets.patch(NAME, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    pub(super) async fn scale(&self, replicas: u32) {
        self.patch(json!({"spec": {"replicas": replicas}})).await;
    }

    /// Sets an annotation of ours on the StatefulSet, or removes it.
    pub(super) async fn annotate(&self, key: &str, value: Option<&str>) {
        self.patch(json!({"metadata": {"annotations": {format!("etcd-defrag.io/{key}"): value}}})).await;
    }

    pub(super) async fn template(&self) -> Value {
        serde_json::to_value(self.statefulsets.get(NAME).await.unwrap().spec.template).unwrap()
    }

    /// Replaces a text in the pod template, which has to be there.
    pub(super) async fn replace(&self, old: &str, new: &str) {
        let text = self.template().await.to_string();
        assert!(text.contains(old), "{old} is not in {text}");
        let template: Value = serde_json::from_str(&text.replace(old, new)).unwrap();
        self.patch(json!({"spec": {"template": template}})).await;
    }

    pub(super) async fn live(&self) -> Option<Value> {
        self.cronjobs.get_opt(CRONJOB).await.unwrap().map(|cronjob| serde_json::to_value(cronjob).unwrap())
    }

    /// Waits until the CronJob is as wanted, and returns it.
    #[track_caller]
    pub(super) fn shows<'b>(&'b self, when: &'b str, wanted: &'b Shown) -> impl Future<Output = Value> + 'b {
        self.settles(when, |cronjob| Shown::of(cronjob, self.code), wanted.clone())
    }

    /// Waits until what is looked at in the CronJob is as wanted; returns the CronJob.
    #[track_caller]
    pub(super) fn settles<'b, T: PartialEq + std::fmt::Debug + 'b>(
        &'b self,
        when: &'b str,
        look: impl Fn(&Value) -> T + 'b,
        wanted: T,
    ) -> impl Future<Output = Value> + 'b {
        let caller = std::panic::Location::caller();
        async move {
            let begun = Instant::now();
            loop {
                let live = self.live().await;
                let seen = live.as_ref().map(&look);
                match live {
                    Some(live) if seen.as_ref() == Some(&wanted) => return live,
                    _ => {}
                }
                if begun.elapsed() > SLOWER * SOON {
                    let namespace = &self.ns.name;
                    panic!(
                        "{caller}: {namespace}: {when}: after {:?}\nseen   {seen:?}\nwanted {wanted:?}",
                        begun.elapsed()
                    );
                }
                sleep(POLL).await;
            }
        }
    }

    /// Waits for a warning on the StatefulSet that names a code, whatever its reason.
    #[track_caller]
    pub(super) fn warned(&self, code: &str) {
        eventually(&format!("an Event on {}/{NAME} that names {code}", self.ns.name), SOON, || {
            let events = self.ns.plane.get(&["-n", &self.ns.name, "events.events.k8s.io"])?;
            let ours = |event: &Value| {
                event["regarding"]["name"] == NAME
                    && event["reportingController"] == "etcd-defrag-webhook"
                    && event["type"] == "Warning"
                    && event["note"].as_str().is_some_and(|note| note.contains(code))
            };
            events["items"].as_array()?.iter().any(ours).then_some(())
        });
    }

    /// Waits until another etcd of the namespace, made now, has its CronJob: what happened before has been looked at.
    pub(super) fn looked_at(&self, name: &str) {
        self.ns.accepts(&etcd(&self.ns.name, name, &[]));
        self.ns.cronjob(name);
    }

    /// The annotation that tells what is in force.
    pub(super) async fn in_force(&self) -> (String, Value) {
        let there = |cronjob: &Value| cronjob["metadata"]["annotations"][IN_FORCE].is_string();
        let live = self.settles("what is in force is written down", there, true).await;
        let text = live["metadata"]["annotations"][IN_FORCE].as_str().unwrap().to_owned();
        let record = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (text, record)
    }
}
