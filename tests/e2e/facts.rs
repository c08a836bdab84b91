//! Facts apart from settings: whatever is refused, the CronJob follows its etcd, and the settings that were good stay in force.
//!
//! No webhook is registered here: what it would refuse gets through, as it does while it sleeps.

use std::time::{Duration, Instant};

use k8s_openapi::api::{apps::v1::StatefulSet, batch::v1::CronJob};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    lifecycle::defrag_sh_cronjob,
    policies::manifest,
    support::{Namespace, SOON, World, asleep, etcd, namespace},
};
use crate::harness::{client, eventually};

const NAME: &str = "e";
const CRONJOB: &str = "e-defrag-job";
/// The annotation of our CronJob with what is in force.
const IN_FORCE: &str = "etcd-defrag.io/in-force";
const GIB: u64 = 1 << 30;
const POLL: Duration = Duration::from_millis(20);

const SCHEDULE: &str = "7 3 * * *";
const ZONE: &str = "Europe/Rome";
/// Right for every quota that is tried here.
const RULE: &str = "dbSizeFree > 150*1024*1024";
/// What a person asks for.
const SETTINGS: [(&str, &str); 4] =
    [("schedule", SCHEDULE), ("time-zone", ZONE), ("rule", RULE), ("wait-between-members", "45s")];

/// An etcd in a namespace of its own.
struct Subject<'a> {
    ns: Namespace<'a>,
    statefulsets: Api<StatefulSet>,
    cronjobs: Api<CronJob>,
    /// The code of what is refused here.
    code: &'static str,
}

/// What a CronJob shows.
#[derive(Clone, Debug, PartialEq)]
struct Shown {
    // Facts, and what follows from them.
    members: Vec<String>,
    quota: u64,
    secrets: Vec<String>,
    suspended: bool,
    timeout: String,
    deadline_fits: bool,
    // Settings.
    schedule: String,
    zone: String,
    rule: String,
    wait: String,
    /// A label of its pods, from the policy's Job.
    round: String,
    /// Whether the findings on it name the code.
    told: bool,
}

impl Shown {
    /// Of an etcd with three members, the settings of [`SETTINGS`] and nothing refused.
    fn good(quota: u64) -> Self {
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

    fn of(cronjob: &Value, code: &str) -> Self {
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

fn members(count: u32) -> Vec<String> {
    (0..count).map(|ordinal| format!("{NAME}-{ordinal}")).collect()
}

/// The pod behind an endpoint.
fn member(endpoint: &str) -> String {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    host.split('.').next().unwrap_or_default().to_owned()
}

/// The Secrets of the chart's release.
fn secrets(release: &str) -> Vec<String> {
    vec![format!("{release}-certs"), format!("{release}-root-client-certs")]
}

/// Three times the 10 s that a GiB takes, a minute at least.
fn timeout(quota: u64) -> String {
    let seconds = (quota * 30 / GIB).max(60);
    format!("{}m{}s", seconds / 60, seconds % 60)
}

/// A Go duration of minutes and seconds.
fn seconds(duration: &str) -> u64 {
    let (minutes, seconds) = duration.split_once('m').unwrap_or(("0", duration));
    minutes.parse::<u64>().unwrap() * 60 + seconds.trim_end_matches('s').parse::<u64>().unwrap_or_default()
}

/// The settings with one of them changed.
fn settings(key: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    SETTINGS.into_iter().map(|(name, given)| (name, if name == key { value } else { given })).collect()
}

/// A policy's specification, of which the Job's pods carry this label.
fn round(label: &str, mut spec: Value) -> Value {
    spec["job"] = json!({"podLabels": {"round": label}});
    spec
}

/// Limits that a nightly schedule breaks.
fn strict() -> Value {
    json!({"limits": {"minInterval": "48h", "minIntervalWithoutFloor": "48h"}})
}

impl<'a> Subject<'a> {
    /// A namespace that a policy governs, and no etcd yet.
    async fn new(world: &'a World, purpose: &str, code: &'static str) -> Self {
        let ns = namespace(&world.plane, purpose);
        let client = client(world.plane.kubeconfig()).await;
        let statefulsets = Api::namespaced(client.clone(), &ns.name);
        let subject = Self { statefulsets, cronjobs: Api::namespaced(client, &ns.name), ns, code };
        subject.govern("first", round("first", json!({})));
        subject
    }

    fn policy(&self, name: &str) -> String {
        format!("{}-{name}", self.ns.name)
    }

    /// Has a policy of this name say this of the namespace.
    fn govern(&self, name: &str, mut spec: Value) {
        spec["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": self.ns.name}});
        self.ns.plane.apply(&manifest(&self.policy(name), &spec));
    }

    /// Makes the etcd.
    async fn make(&self, annotations: &[(&str, &str)], quota: u64) {
        let text = etcd(&self.ns.name, NAME, annotations).to_string();
        let object: StatefulSet = serde_json::from_str(&text.replace("8589934592", &quota.to_string())).unwrap();
        self.statefulsets.create(&PostParams::default(), &object).await.unwrap();
    }

    async fn patch(&self, patch: Value) {
        self.statefulsets.patch(NAME, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    async fn scale(&self, replicas: u32) {
        self.patch(json!({"spec": {"replicas": replicas}})).await;
    }

    /// Sets an annotation of ours on the StatefulSet, or removes it.
    async fn annotate(&self, key: &str, value: Option<&str>) {
        self.patch(json!({"metadata": {"annotations": {format!("etcd-defrag.io/{key}"): value}}})).await;
    }

    async fn template(&self) -> Value {
        serde_json::to_value(self.statefulsets.get(NAME).await.unwrap().spec.template).unwrap()
    }

    /// Replaces a text in the pod template, which has to be there.
    async fn replace(&self, old: &str, new: &str) {
        let text = self.template().await.to_string();
        assert!(text.contains(old), "{old} is not in {text}");
        let template: Value = serde_json::from_str(&text.replace(old, new)).unwrap();
        self.patch(json!({"spec": {"template": template}})).await;
    }

    async fn live(&self) -> Option<Value> {
        self.cronjobs.get_opt(CRONJOB).await.unwrap().map(|cronjob| serde_json::to_value(cronjob).unwrap())
    }

    /// Waits until the CronJob is as wanted, and returns it.
    #[track_caller]
    fn shows<'b>(&'b self, when: &'b str, wanted: &'b Shown) -> impl Future<Output = Value> + 'b {
        self.settles(when, |cronjob| Shown::of(cronjob, self.code), wanted.clone())
    }

    /// Waits until what is looked at in the CronJob is as wanted; returns the CronJob.
    #[track_caller]
    fn settles<'b, T: PartialEq + std::fmt::Debug + 'b>(
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
                if begun.elapsed() > SOON {
                    let namespace = &self.ns.name;
                    panic!(
                        "{caller}: {namespace}: {when}: after {} s\nseen   {seen:?}\nwanted {wanted:?}",
                        SOON.as_secs()
                    );
                }
                sleep(POLL).await;
            }
        }
    }

    /// Waits for a warning on the StatefulSet that names a code, whatever its reason.
    #[track_caller]
    fn warned(&self, code: &str) {
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
    fn looked_at(&self, name: &str) {
        self.ns.accepts(&etcd(&self.ns.name, name, &[]));
        self.ns.cronjob(name);
    }

    /// The annotation that tells what is in force.
    async fn in_force(&self) -> (String, Value) {
        let there = |cronjob: &Value| cronjob["metadata"]["annotations"][IN_FORCE].is_string();
        let live = self.settles("what is in force is written down", there, true).await;
        let text = live["metadata"]["annotations"][IN_FORCE].as_str().unwrap().to_owned();
        let record = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (text, record)
    }
}

/// Changes every fact there is, one after the other, while something is refused; returns what is shown in the end.
async fn follows_every_fact(subject: &Subject<'_>, mut wanted: Shown, quota: u64) -> Shown {
    subject.scale(5).await;
    wanted.members = members(5);
    subject.shows("scaled up", &wanted).await;
    subject.scale(3).await;
    wanted.members = members(3);
    subject.shows("scaled down", &wanted).await;

    subject.annotate("suspend", Some("true")).await;
    wanted.suspended = true;
    subject.shows("suspended", &wanted).await;
    subject.annotate("suspend", None).await;
    wanted.suspended = false;
    subject.shows("resumed", &wanted).await;

    subject.scale(0).await;
    subject.settles("scaled to zero", |cronjob| cronjob["spec"]["suspend"] == true, true).await;
    subject.scale(3).await;
    subject.shows("scaled back from zero", &wanted).await;

    subject.replace("\"kamaji-etcd-certs\"", "\"renewed-certs\"").await;
    wanted.secrets = secrets("renewed");
    subject.shows("the Secret of the certificate has another name", &wanted).await;

    subject.replace(&format!("bytes={}", wanted.quota), &format!("bytes={quota}")).await;
    (wanted.quota, wanted.timeout) = (quota, timeout(quota));
    subject.shows("the quota was changed", &wanted).await;
    wanted
}

#[tokio::test]
async fn with_nothing_refused_every_fact_is_followed() {
    let world = asleep();
    let subject = Subject::new(&world, "sound", "annotation-unknown").await;
    subject.make(&SETTINGS, 8 * GIB).await;
    let wanted = Shown::good(8 * GIB);
    subject.shows("made", &wanted).await;
    follows_every_fact(&subject, wanted, 4 * GIB).await;
}

#[tokio::test]
async fn under_a_policy_that_became_stricter_facts_are_followed_and_the_last_good_settings_stay() {
    let world = asleep();
    let subject = Subject::new(&world, "stricter", "schedule-too-often").await;
    subject.make(&SETTINGS, 8 * GIB).await;
    let mut wanted = Shown::good(8 * GIB);
    subject.shows("made", &wanted).await;

    subject.govern("first", round("first", strict()));
    wanted.told = true;
    subject.shows("refused", &wanted).await;
    subject.warned("schedule-too-often");
    let mut wanted = follows_every_fact(&subject, wanted, 4 * GIB).await;

    // The Job is the policy's alone.
    subject.govern("first", round("second", strict()));
    wanted.round = "second".to_owned();
    subject.shows("another Job", &wanted).await;
    let (_, record) = subject.in_force().await;
    assert_eq!((&record["version"], &record["policy"]), (&json!(1), &json!(subject.policy("first"))), "{record}");
    assert_eq!(record["settings"]["schedule"], SCHEDULE, "{record}");

    subject.govern("first", round("third", json!({})));
    (wanted.told, wanted.round) = (false, "third".to_owned());
    subject.shows("allowed again", &wanted).await;
}

#[tokio::test]
async fn with_a_rule_that_a_new_quota_made_wrong_facts_are_followed_and_the_rule_stays() {
    let world = asleep();
    let subject = Subject::new(&world, "quota", "rule-never-true").await;
    let rule = "dbSize > 3*1024*1024*1024 && dbSizeFree > 100*1024*1024";
    subject.make(&settings("rule", rule), 4 * GIB).await;
    let mut wanted = Shown { rule: rule.to_owned(), ..Shown::good(4 * GIB) };
    subject.shows("made", &wanted).await;

    subject.replace(&format!("bytes={}", 4 * GIB), &format!("bytes={}", 2 * GIB)).await;
    (wanted.told, wanted.quota, wanted.timeout) = (true, 2 * GIB, timeout(2 * GIB));
    subject.shows("refused", &wanted).await;
    subject.warned("rule-never-true");
    let mut wanted = follows_every_fact(&subject, wanted, GIB + GIB / 2).await;

    subject.annotate("rule", Some(RULE)).await;
    (wanted.told, wanted.rule) = (false, RULE.to_owned());
    subject.shows("the rule was put right", &wanted).await;
}

#[tokio::test]
async fn with_a_mistyped_annotation_facts_are_followed_and_the_last_good_settings_stay() {
    let world = asleep();
    let subject = Subject::new(&world, "mistyped", "annotation-unknown").await;
    subject.make(&settings("schedule", "H H(2-4) * * *"), 8 * GIB).await;
    let made = subject.settles("made", |cronjob| cronjob["spec"]["suspend"] == false, true).await;
    let resolved = made["spec"]["schedule"].as_str().unwrap().to_owned();
    assert!(!resolved.contains('H'), "{resolved}");
    let mut wanted = Shown { schedule: resolved, ..Shown::good(8 * GIB) };
    subject.shows("made", &wanted).await;

    subject.annotate("shedule", Some("9 9 * * *")).await;
    wanted.told = true;
    subject.shows("refused", &wanted).await;
    subject.warned("annotation-unknown");
    // Nobody knows what else was meant: all settings stay, those too that were changed to something acceptable.
    subject.annotate("schedule", Some("9 9 * * *")).await;
    let mut wanted = follows_every_fact(&subject, wanted, 4 * GIB).await;

    subject.annotate("shedule", None).await;
    (wanted.told, wanted.schedule) = (false, "9 9 * * *".to_owned());
    subject.shows("the mistake was removed", &wanted).await;
}

#[tokio::test]
async fn under_another_policy_facts_are_followed_and_only_what_it_refuses_becomes_its_default() {
    let world = asleep();
    let subject = Subject::new(&world, "exchanged", "schedule-too-often").await;
    subject.make(&SETTINGS, 8 * GIB).await;
    let mut wanted = Shown::good(8 * GIB);
    subject.shows("made", &wanted).await;

    let mut weekly = round("second", strict());
    weekly["priority"] = json!(1);
    weekly["defaults"] = json!({"schedule": "0 4 * * 0", "waitBetweenMembers": "50s"});
    subject.govern("second", weekly);
    let default = Shown { schedule: "0 4 * * 0".to_owned(), ..wanted.clone() };
    wanted = Shown { told: true, round: "second".to_owned(), ..default };
    subject.shows("refused", &wanted).await;
    subject.warned("schedule-too-often");
    subject.ns.plane.kubectl_ok(&["delete", "defragpolicy", &subject.policy("first")]);
    let mut wanted = follows_every_fact(&subject, wanted, 4 * GIB).await;

    let (_, record) = subject.in_force().await;
    assert_eq!(record["policy"], json!(subject.policy("second")), "{record}");

    subject.annotate("schedule", Some("30 3 * * 6")).await;
    (wanted.told, wanted.schedule) = (false, "30 3 * * 6".to_owned());
    subject.shows("an acceptable schedule", &wanted).await;
}

#[tokio::test]
async fn under_another_policy_whose_own_default_is_refused_the_cronjob_is_suspended_until_there_is_one() {
    let world = asleep();
    let subject = Subject::new(&world, "nothing-acceptable", "schedule-too-often").await;
    subject.make(&SETTINGS, 8 * GIB).await;
    subject.shows("made", &Shown::good(8 * GIB)).await;

    let mut without = strict();
    without["priority"] = json!(1);
    subject.govern("second", without.clone());
    let state = |cronjob: &Value| {
        let shown = Shown::of(cronjob, "schedule-too-often");
        (shown.suspended, shown.members.len(), shown.told)
    };
    subject.settles("suspended", state, (true, 3, true)).await;
    subject.warned("suspended");
    subject.scale(5).await;
    subject.settles("scaled up", state, (true, 5, true)).await;

    without["defaults"] = json!({"schedule": "0 4 * * 0"});
    subject.govern("second", without);
    let resumed = subject.settles("resumed", state, (false, 5, true)).await;
    assert_eq!(resumed["spec"]["schedule"], "0 4 * * 0");
}

/// What somebody may write into the annotation that tells what is in force.
fn forgeries(policy: &str) -> Vec<(&'static str, Option<String>)> {
    let record = |version: u32, settings: Value| {
        let facts = json!({"endpoints": ["http://elsewhere.example:2379"], "quota": 1});
        Some(json!({"version": version, "policy": policy, "settings": settings, "facts": facts}).to_string())
    };
    let every_minute = json!({"schedule": "* * * * *", "rule": "dbSize > 0"});
    vec![
        ("another schedule and rule", record(1, every_minute.clone())),
        ("a version that does not exist", record(1000, every_minute)),
        ("a key that does not exist", record(1, json!({"schedule": SCHEDULE, "image": "elsewhere.example/image"}))),
        ("no JSON", Some("garbage".to_owned())),
        ("far too much", record(1, json!({"schedule": "* ".repeat(10_000)}))),
        ("nothing", Some(String::new())),
        ("removed", None),
    ]
}

/// Writes each of them; the CronJob has to be told what is in force again, and its specification never changes.
async fn survives_forgeries(subject: &Subject<'_>, told: bool, same: bool) {
    let (before, _) = subject.in_force().await;
    let good = subject.live().await.unwrap();
    for (what, forged) in forgeries(&subject.policy("first")) {
        let change = forged.as_ref().map_or(format!("{IN_FORCE}-"), |forged| format!("{IN_FORCE}={forged}"));
        subject.ns.run(&["annotate", "cronjob", CRONJOB, "--overwrite", &change]);
        let forged = forged.map_or(Value::Null, Value::String);
        let restored = |cronjob: &Value| {
            let found = &cronjob["metadata"]["annotations"][IN_FORCE];
            if same { *found == before } else { *found != forged }
        };
        let live = subject.settles(what, restored, true).await;
        assert_eq!(live["spec"], good["spec"], "{what}");
        assert_eq!(live["metadata"]["generation"], good["metadata"]["generation"], "{what}: the specification changed");
        assert_eq!(Shown::of(&live, subject.code).told, told, "{what}");
        let (text, record) = subject.in_force().await;
        assert_eq!(record["version"], 1, "{what}: {text}");
        assert_eq!(record["policy"], json!(subject.policy("first")), "{what}: {text}");
        assert_eq!(record["settings"]["schedule"], SCHEDULE, "{what}: {text}");
        assert_eq!(record["settings"]["rule"], RULE, "{what}: {text}");
    }
}

#[tokio::test]
async fn what_is_in_force_cannot_be_forged_and_is_written_again_where_it_is_lost() {
    let world = asleep();
    let subject = Subject::new(&world, "forged", "annotation-unknown").await;
    subject.make(&SETTINGS, 8 * GIB).await;
    let mut wanted = Shown::good(8 * GIB);
    subject.shows("made", &wanted).await;
    survives_forgeries(&subject, false, true).await;

    subject.annotate("shedule", Some("9 9 * * *")).await;
    wanted.told = true;
    subject.shows("refused", &wanted).await;
    // What was lost is read back from the specification, and may be said in other words.
    survives_forgeries(&subject, true, false).await;

    // With what is in force at hand an edit is repaired, refusal or not.
    let edit = json!({"spec": {"schedule": "* * * * *", "suspend": true}}).to_string();
    subject.ns.run(&["patch", "cronjob", CRONJOB, "--type=merge", "-p", &edit]);
    subject.shows("repaired", &wanted).await;
    let wanted = follows_every_fact(&subject, wanted, 4 * GIB).await;

    subject.annotate("shedule", None).await;
    subject.shows("the mistake was removed", &Shown { told: false, ..wanted }).await;
}

/// While one fact cannot be read, none of them is followed but that it is to pause; settings are.
async fn keeps_all_facts(subject: &Subject<'_>, hide: impl FnOnce(&mut Value)) {
    subject.make(&SETTINGS, 8 * GIB).await;
    let mut wanted = Shown::good(8 * GIB);
    subject.shows("made", &wanted).await;
    let sound = subject.template().await;
    let mut hidden = sound.clone();
    hide(&mut hidden["spec"]["containers"][0]);
    subject.patch(json!({"spec": {"template": hidden}})).await;
    wanted.told = true;
    subject.shows("a fact is hidden", &wanted).await;
    subject.warned(subject.code);

    // What follows each of these shows that they were looked at.
    subject.scale(5).await;
    subject.replace("\"kamaji-etcd-certs\"", "\"renewed-certs\"").await;
    subject.annotate("suspend", Some("true")).await;
    wanted.suspended = true;
    subject.shows("suspended", &wanted).await;
    subject.annotate("suspend", None).await;
    wanted.suspended = false;
    subject.shows("resumed", &wanted).await;
    subject.scale(0).await;
    subject.shows("scaled to zero", &Shown { suspended: true, ..wanted.clone() }).await;
    subject.scale(5).await;
    subject.shows("scaled back from zero", &wanted).await;
    subject.annotate("schedule", Some("9 9 * * *")).await;
    wanted = Shown { schedule: "9 9 * * *".to_owned(), ..wanted };
    subject.shows("a setting was changed", &wanted).await;
    let forged = format!("{IN_FORCE}={}", forgeries(&subject.policy("first"))[0].1.as_ref().unwrap());
    subject.ns.run(&["annotate", "cronjob", CRONJOB, "--overwrite", &forged]);
    let restored = |cronjob: &Value| {
        cronjob["metadata"]["annotations"][IN_FORCE].as_str().is_some_and(|text| !text.contains("elsewhere"))
    };
    let live = subject.settles("a forgery was undone", restored, true).await;
    assert_eq!(Shown::of(&live, subject.code), wanted);

    subject.patch(json!({"spec": {"template": sound}})).await;
    (wanted.told, wanted.members) = (false, members(5));
    subject.shows("all facts can be read again", &wanted).await;
}

#[tokio::test]
async fn while_the_quota_is_hidden_no_fact_is_followed_but_what_pauses() {
    let world = asleep();
    let subject = Subject::new(&world, "quota-hidden", "quota-unknown").await;
    let hide = |container: &mut Value| {
        container["command"].as_array_mut().unwrap().retain(|word| !word.as_str().unwrap().contains("--quota-backend"));
        let secret = json!({"secretKeyRef": {"name": "quota", "key": "bytes"}});
        let variable = json!({"name": "ETCD_QUOTA_BACKEND_BYTES", "valueFrom": secret});
        container["env"].as_array_mut().unwrap().push(variable);
    };
    keeps_all_facts(&subject, hide).await;
}

#[tokio::test]
async fn while_no_etcd_is_found_no_fact_is_followed_but_what_pauses() {
    let world = asleep();
    let subject = Subject::new(&world, "etcd-hidden", "etcd-not-found").await;
    let hide = |container: &mut Value| *container = json!({"name": "web", "image": "nginx:1"});
    keeps_all_facts(&subject, hide).await;
}

#[tokio::test]
async fn whichever_fact_cannot_be_read_all_the_others_stay() {
    let world = asleep();
    let subject = Subject::new(&world, "unreadable", "").await;
    subject.make(&SETTINGS, 8 * GIB).await;
    subject.shows("made", &Shown::good(8 * GIB)).await;
    let sound = json!({"spec": {"replicas": 3, "template": subject.template().await}});
    let with = |change: &dyn Fn(&mut Value)| {
        let mut template = sound["spec"]["template"].clone();
        change(&mut template["spec"]);
        json!({"spec": {"replicas": 5, "template": template}})
    };
    let annotated = |key: &str, value: &str| json!({"metadata": {"annotations": {format!("etcd-defrag.io/{key}"): value}}, "spec": {"replicas": 5}});
    let password = json!({"name": "ETCD_ROOT_PASSWORD", "value": "secret"});
    let elsewhere = json!(["etcd", "--config-file=/etc/etcd/etcd.yaml"]);
    for (code, change) in [
        ("value-invalid", annotated("client-port", "http")),
        ("quota-mismatch", annotated("quota", "3Gi")),
        ("secret-reference-invalid", annotated("username-secret", "root")),
        ("too-many-members", json!({"spec": {"replicas": 11}})),
        ("tls-secret-unknown", with(&|pod| pod["volumes"] = json!([{"name": "certs", "emptyDir": {}}]))),
        (
            "credentials-unknown",
            with(&|pod| pod["containers"][0]["env"].as_array_mut().unwrap().push(password.clone())),
        ),
        ("endpoints-unknown", with(&|pod| pod["containers"][0]["command"] = elsewhere.clone())),
    ] {
        let look = |cronjob: &Value| Shown::of(cronjob, code);
        let mut wanted = Shown { told: true, ..Shown::good(8 * GIB) };
        subject.patch(change).await;
        subject.settles(code, look, wanted.clone()).await;
        subject.annotate("suspend", Some("true")).await;
        wanted.suspended = true;
        subject.settles(&format!("{code}, suspended"), look, wanted).await;
        for key in ["suspend", "client-port", "quota", "username-secret"] {
            subject.annotate(key, None).await;
        }
        subject.patch(sound.clone()).await;
        subject.settles(&format!("{code}, put right"), look, Shown::good(8 * GIB)).await;
    }
}

#[tokio::test]
async fn a_suspend_that_is_neither_true_nor_false_changes_nothing_and_stops_nothing() {
    let world = asleep();
    let subject = Subject::new(&world, "suspend-unclear", "boolean-invalid").await;
    subject.make(&SETTINGS, 8 * GIB).await;
    subject.annotate("suspend", Some("true")).await;
    let mut wanted = Shown { suspended: true, ..Shown::good(8 * GIB) };
    subject.shows("suspended", &wanted).await;
    for (value, replicas) in [("no", 5), ("False", 3)] {
        subject.annotate("suspend", Some(value)).await;
        subject.scale(replicas).await;
        wanted = Shown { members: members(replicas), told: true, ..wanted };
        subject.shows("still suspended", &wanted).await;
    }
    subject.annotate("suspend", Some("false")).await;
    wanted = Shown { suspended: false, told: false, ..wanted };
    subject.shows("resumed", &wanted).await;
    for (value, replicas) in [("yes", 5), ("True", 3)] {
        subject.annotate("suspend", Some(value)).await;
        subject.scale(replicas).await;
        wanted = Shown { members: members(replicas), told: true, ..wanted };
        subject.shows("still not suspended", &wanted).await;
    }
}

#[tokio::test]
async fn a_suspend_that_the_policy_locks_is_the_policys_to_say() {
    let world = asleep();
    let subject = Subject::new(&world, "suspend-locked", "key-locked").await;
    subject.make(&SETTINGS, 8 * GIB).await;
    let mut wanted = Shown::good(8 * GIB);
    subject.shows("made", &wanted).await;
    let locked = json!({"defaults": {"suspend": false}, "limits": {"lockedKeys": ["suspend"]}});
    subject.govern("first", round("second", locked));
    wanted.round = "second".to_owned();
    subject.shows("locked", &wanted).await;
    subject.annotate("suspend", Some("true")).await;
    subject.scale(5).await;
    wanted = Shown { members: members(5), told: true, ..wanted };
    subject.shows("asked for in vain", &wanted).await;
}

#[tokio::test]
async fn with_a_label_that_makes_no_sense_the_cronjob_stays_and_follows_its_etcd() {
    let world = asleep();
    let subject = Subject::new(&world, "label", "enabled-invalid").await;
    subject.make(&SETTINGS, 8 * GIB).await;
    let mut wanted = Shown::good(8 * GIB);
    subject.shows("made", &wanted).await;
    subject.patch(json!({"metadata": {"labels": {"etcd-defrag.io/enabled": "perhaps"}}})).await;
    wanted.told = true;
    subject.shows("unclear", &wanted).await;
    subject.warned("enabled-invalid");
    follows_every_fact(&subject, wanted, 4 * GIB).await;
    let codes = subject.live().await.unwrap()["metadata"]["annotations"]["etcd-defrag.io/findings"].clone();
    assert_eq!(codes, "enabled-invalid");
}

#[tokio::test]
async fn where_nothing_was_ever_in_force_no_cronjob_is_made() {
    let world = asleep();
    let subject = Subject::new(&world, "never", "annotation-unknown").await;
    subject.make(&[("shedule", "9 9 * * *")], 8 * GIB).await;
    subject.warned("annotation-unknown");
    subject.scale(5).await;
    subject.looked_at("other");
    assert_eq!(subject.live().await, None, "made from settings that are refused");
    subject.annotate("shedule", None).await;
    subject.settles("put right", |cronjob| cronjob["spec"]["suspend"] == false, true).await;

    // And one that was deleted meanwhile is not made again from them.
    subject.annotate("shedule", Some("9 9 * * *")).await;
    subject.settles("refused", |cronjob| Shown::of(cronjob, subject.code).told, true).await;
    subject.ns.run(&["delete", "cronjob", CRONJOB]);
    subject.looked_at("another");
    assert_eq!(subject.live().await, None, "made again while something is refused");
    subject.annotate("shedule", None).await;
    subject.settles("put right", |cronjob| cronjob["spec"]["suspend"] == false, true).await;
}

#[tokio::test]
async fn the_cronjob_of_defrag_sh_is_adopted_only_when_nothing_is_refused() {
    let world = asleep();
    let subject = Subject::new(&world, "adopted-later", "annotation-unknown").await;
    subject.ns.accepts(&defrag_sh_cronjob(&subject.ns.name, NAME, "kamaji-etcd"));
    let theirs = subject.live().await.unwrap();
    subject.make(&[("shedule", "9 9 * * *")], 8 * GIB).await;
    subject.warned("annotation-unknown");
    subject.scale(5).await;
    subject.looked_at("other");
    assert_eq!(subject.live().await.unwrap()["metadata"]["resourceVersion"], theirs["metadata"]["resourceVersion"]);
    subject.annotate("shedule", None).await;
    let ours = |cronjob: &Value| cronjob["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet";
    let adopted = subject.settles("put right", ours, true).await;
    assert_eq!(adopted["metadata"]["uid"], theirs["metadata"]["uid"]);
}
