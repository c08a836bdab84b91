//! Enrolled etcds, sound and refused, and what may become of their CronJobs when the program is another one.

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde_json::{Value, json};

use harness::{AuditMark, ControlPlane, eventually};

/// The program, and who it is for the API server.
const MANAGER: &str = "etcd-defrag-webhook";
const NAMESPACE: &str = "fleet";
/// Where etcds are made that only show that somebody leads.
const CANARIES: &str = "canaries";
const FINDINGS: &str = "etcd-defrag.io/findings";
/// For what takes a few steps on a busy machine.
const SOON: Duration = Duration::from_mins(1);
/// When nothing is expected any more.
const QUIET: Duration = Duration::from_secs(4);

const SOUND: [&str; 6] = ["plain", "own", "paused", "zero", "five", "governed"];
/// Those that become refused, with the code.
const REFUSED: [(&str, &str); 5] = [
    ("stricter", "schedule-too-often"),
    ("quota", "rule-never-true"),
    ("mistyped", "annotation-unknown"),
    ("unclear", "enabled-invalid"),
    ("hidden", "etcd-not-found"),
];
/// Those of them that are scaled up after that, which the earlier program does not follow.
const SCALED: [&str; 3] = ["stricter", "quota", "mistyped"];

/// The etcds, as they are on a cluster.
pub(crate) struct Fleet<'a> {
    plane: &'a ControlPlane,
    schedule: String,
    canaries: usize,
    begin: AuditMark,
    /// The specifications of their CronJobs before the program became another one.
    before: BTreeMap<String, Value>,
}

impl<'a> Fleet<'a> {
    /// Makes them while nothing is refused, and waits for their CronJobs. Somebody leads.
    pub(crate) fn make(plane: &'a ControlPlane) -> Self {
        for namespace in [NAMESPACE, CANARIES] {
            plane.kubectl_ok(&["create", "namespace", namespace]);
        }
        // No run is due for half a day.
        let due = (Timestamp::now() + 12.hours()).to_zoned(TimeZone::UTC);
        let schedule = format!("{} {} * * *", due.minute(), due.hour());
        let begin = plane.audit_mark();
        let fleet = Self { plane, schedule, canaries: 0, begin, before: BTreeMap::new() };
        fleet.govern("governed", &json!({"defaults": {"waitBetweenMembers": "50s"}, "job": {"failureBudget": 3}}));
        fleet.govern("stricter", &json!({}));
        let rule = "dbSize > 3*1024*1024*1024 && dbSizeFree > 100*1024*1024";
        let mut objects = vec![
            fleet.etcd("own", &[("quota-usage-above", "70%"), ("free-above", "1Gi"), ("command-timeout", "9m")]),
            fleet.etcd("paused", &[("suspend", "true")]),
            fleet.etcd("quota", &[("rule", rule)]),
        ];
        objects.extend(
            ["plain", "zero", "five", "governed", "stricter", "mistyped", "unclear", "hidden"]
                .map(|name| fleet.etcd(name, &[])),
        );
        for object in &mut objects {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            object["metadata"]["labels"]["tier"] = json!(name);
            object["spec"]["replicas"] = json!(match name.as_str() {
                "zero" => 0,
                "five" => 5,
                _ => 3,
            });
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        // Where a rule is right for half the quota only.
        plane.apply(&list.to_string().replace("8589934592", "4294967296"));
        for name in SOUND.iter().copied().chain(REFUSED.map(|(name, _)| name)) {
            fleet.cronjob_that(name, "exist", |_| true);
        }
        fleet
    }

    /// Has them refused, each for another reason; no webhook may be in the way.
    pub(crate) fn refuse(&mut self) {
        self.govern("stricter", &json!({"limits": {"minInterval": "48h", "minIntervalWithoutFloor": "48h"}}));
        let quota = self.object("quota").to_string().replace("=4294967296", "=2147483648");
        self.patch("quota", &json!({"spec": serde_json::from_str::<Value>(&quota).unwrap()["spec"]}));
        self.patch("mistyped", &json!({"metadata": {"annotations": {"etcd-defrag.io/shedule": "9 9 * * *"}}}));
        self.patch("unclear", &json!({"metadata": {"labels": {"etcd-defrag.io/enabled": "perhaps"}}}));
        let web = json!([{"name": "web", "image": "nginx:1"}]);
        self.patch("hidden", &json!({"spec": {"template": {"spec": {"containers": web}}}}));
        for (name, code) in REFUSED {
            let told = |cronjob: &Value| {
                let codes = cronjob["metadata"]["annotations"][FINDINGS].as_str().unwrap_or_default();
                codes.split(',').any(|found| found == code)
            };
            self.cronjob_that(name, &format!("tell of {code}"), told);
        }
        for name in SCALED {
            self.patch(name, &json!({"spec": {"replicas": 5}}));
        }
        // Was never in force.
        self.plane.apply(&self.etcd("never", &[("shedule", "9 9 * * *")]).to_string());
        self.settled();
        self.before = self.specs();
        assert_eq!(self.before.len(), SOUND.len() + REFUSED.len(), "{:?}", self.before.keys());
    }

    /// Waits until somebody who leads has nothing left to do.
    pub(crate) fn settled(&mut self) {
        let name = format!("canary-{}", self.canaries);
        self.canaries += 1;
        let mut canary = self.etcd(&name, &[]);
        canary["metadata"]["namespace"] = json!(CANARIES);
        self.plane.apply(&canary.to_string());
        eventually(&format!("the CronJob of {name}"), SOON, || {
            self.plane.get(&["-n", CANARIES, "cronjob", &format!("{name}-defrag-job")])
        });
        sleep(QUIET);
    }

    /// Settles, and sees to it that each CronJob was written at most so often since the mark; returns how often all were.
    #[track_caller]
    pub(crate) fn written_at_most(&mut self, limit: usize, since: AuditMark, when: &str) -> usize {
        let begun = Instant::now();
        self.settled();
        let writes = self.plane.audit_since(since).writes().of("cronjobs").in_namespace(NAMESPACE).by_agent(MANAGER);
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for write in writes.iter() {
            *times.entry(&write.name).or_default() += 1;
        }
        println!("{when}: {times:?}, looked at for {:.1} s", begun.elapsed().as_secs_f64());
        let too_often: Vec<_> = times.iter().filter(|(_, times)| **times > limit).collect();
        assert!(too_often.is_empty(), "{when}: written more than {limit} times: {too_often:?}\n{writes:#?}");
        writes.len()
    }

    /// What must hold whichever program leads. `follows` says whether it is one that follows facts whatever is refused.
    pub(crate) fn unharmed(&self, follows: bool, when: &str) {
        let now = self.specs();
        let names = |specs: &BTreeMap<String, Value>| specs.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&now), names(&self.before), "{when}: another set of CronJobs");
        for name in SOUND {
            assert_eq!(now[name], self.before[name], "{when}: {name}");
        }
        for (name, _) in REFUSED {
            for field in ["schedule", "suspend", "timeZone"] {
                assert_eq!(now[name][field], self.before[name][field], "{when}: {name}");
            }
            assert_eq!(flag(&now[name], "--defrag-rule"), flag(&self.before[name], "--defrag-rule"), "{when}: {name}");
        }
        if follows {
            for name in SCALED {
                assert_eq!(flag(&now[name], "--endpoints").split(',').count(), 5, "{when}: {name}");
            }
            assert_eq!(flag(&now["quota"], "--etcd-storage-quota-bytes"), "2147483648", "{when}");
        }
        let runs = self.plane.audit_since(self.begin).writes().of("jobs").filter(|event| event.verb == "create");
        assert!(runs.is_empty(), "{when}: a run was started: {runs:#?}");
        let jobs = self.plane.get(&["jobs", "-n", NAMESPACE]).unwrap();
        assert_eq!(jobs["items"], json!([]), "{when}");
    }

    /// Each for the etcd of the same name.
    fn govern(&self, name: &str, spec: &Value) {
        let mut spec = spec.clone();
        // Above the chart's own.
        spec["priority"] = json!(1);
        spec["selector"] = json!({"matchLabels": {"tier": name}});
        let policy = json!({
            "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": name}, "spec": spec,
        });
        self.plane.apply(&policy.to_string());
    }

    /// The StatefulSet of the example, in the fleet and under a name, with annotations of ours.
    fn etcd(&self, name: &str, annotations: &[(&str, &str)]) -> Value {
        let own = [("schedule", self.schedule.as_str()), ("time-zone", "Etc/UTC")];
        let mut object = harness::example_etcd(NAMESPACE, name, &[&own, annotations].concat());
        // Where nothing is ever scheduled, the node of the other drill has no pods of theirs to run.
        object["spec"]["template"]["spec"]["nodeSelector"] = json!({"no": "node"});
        object
    }

    fn object(&self, name: &str) -> Value {
        self.plane.get(&["-n", NAMESPACE, "statefulset", name]).unwrap()
    }

    fn patch(&self, name: &str, patch: &Value) {
        self.plane.kubectl_ok(&[
            "-n",
            NAMESPACE,
            "patch",
            "statefulset",
            name,
            "--type=merge",
            "-p",
            &patch.to_string(),
        ]);
    }

    #[track_caller]
    fn cronjob_that(&self, statefulset: &str, what: &str, wanted: impl Fn(&Value) -> bool) {
        eventually(&format!("the CronJob of {statefulset} to {what}"), SOON, || {
            let cronjob = self.plane.get(&["-n", NAMESPACE, "cronjob", &format!("{statefulset}-defrag-job")])?;
            wanted(&cronjob).then_some(())
        });
    }

    /// The specifications of all CronJobs, by the names of their etcds.
    fn specs(&self) -> BTreeMap<String, Value> {
        let all = self.plane.get(&["-n", NAMESPACE, "cronjobs"]).unwrap();
        let of = |cronjob: &Value| {
            let name = cronjob["metadata"]["name"].as_str().unwrap().trim_end_matches("-defrag-job").to_owned();
            (name, cronjob["spec"].clone())
        };
        all["items"].as_array().unwrap().iter().map(of).collect()
    }
}

/// The value of a flag of the engine.
fn flag(spec: &Value, name: &str) -> String {
    let args = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    let args: Vec<String> = serde_json::from_value(args).unwrap();
    args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().to_owned()
}
