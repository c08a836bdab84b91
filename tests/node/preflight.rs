//! From the label to what the preflight has found: where all is right, and where one thing is wrong that no webhook can see.
//! Each engine has an etcd of three members with TLS and a login, which is labelled again for each case.
//!
//! `make preflights` shows both tables on an otherwise idle node.

use std::time::{Duration, Instant};

use etcd_defrag_webhook::defrag::preflight::{ANNOTATION, Outcome, Record};
use harness::{Authority, Engine, EtcdPods, PodsOptions, certificate, etcd_defrag, eventually};
use serde_json::{Map, Value, json};

use super::support::{SOON, World, namespace, policy, world};

/// A preflight ends within its deadline of three minutes.
const LIMIT: Duration = Duration::from_mins(3);
const LOGIN: &str = "kamaji-etcd-root-user:username,password";
/// What the members have, given where nobody sees it.
const QUOTA: &str = "96Mi";

/// What is wrong.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    Nothing,
    /// An annotation, given without the prefix; `NAMESPACE` stands for the namespace.
    Annotation(&'static str, &'static str),
    /// A member that is ready, as no probe asks it, and does not answer.
    Silent,
    /// A voting member that is in the member list only.
    Voter,
    /// No room for another pod in the namespace.
    Room,
    /// Fields of `job` in the policy.
    Job(&'static str),
}
use Wrong::{Annotation, Job, Nothing, Room, Silent, Voter};

/// What is said of a case: how the preflight ends, and some of its words.
type Said = (Outcome, &'static str);

struct Case {
    name: &'static str,
    wrong: Wrong,
    built_in: Said,
    etcd_defrag: Said,
}

const WELL: Said = (Outcome::Succeeded, "reached all members and logged in");

const fn case(name: &'static str, wrong: Wrong, built_in: Said, etcd_defrag: Said) -> Case {
    Case { name, wrong, built_in, etcd_defrag }
}

const fn both(name: &'static str, wrong: Wrong, words: &'static str) -> Case {
    case(name, wrong, (Outcome::Failed, words), (Outcome::Failed, words))
}

const NOWHERE: &str = "https://etcd-a.NAMESPACE.svc.cluster.local:2379,https://etcd-b.NAMESPACE.svc.cluster.local:2379,\
                       https://etcd-c.NAMESPACE.svc.cluster.local:2379";

/// So many cases, the first ones, take a few seconds each. The others wait for time-outs and for the kubelet; they are tried with
/// `PREFLIGHT_CASES=all`.
const QUICK: usize = 6;

const CASES: [Case; 12] = [
    case("all is right", Nothing, WELL, WELL),
    both("the CA", Annotation("ca-secret", "other-ca:ca.crt"), "etcd-defrag.io/ca-secret"),
    both("the client certificate", Annotation("client-secret", "stranger"), "etcd-defrag.io/client-secret"),
    both("the login", Annotation("username-secret", "wrong:username,password"), "etcd-defrag.io/username-secret"),
    case("a voting member that no endpoint reaches", Voter, (Outcome::Failed, "etcdctl member remove"), WELL),
    case(
        "the quota differs",
        Annotation("quota", "64Mi"),
        (Outcome::Succeeded, "set etcd-defrag.io/quota to 96Mi"),
        WELL,
    ),
    both("names that resolve to nothing", Annotation("endpoints", NOWHERE), "A name does not resolve"),
    both("a member does not answer", Silent, "kamaji-etcd-2"),
    both("the Secret of the login is missing", Annotation("username-secret", "none:username,password"), "\"none\""),
    both("a ResourceQuota without room", Room, "exceeded quota: small"),
    both("an image that is not there", Job(r#"{"image": "localhost/not-there:v1"}"#), "localhost/not-there:v1"),
    both(
        "its pull secret is not there either",
        Job(r#"{"image": "localhost/not-there:v2", "imagePullSecrets": [{"name": "regcred"}]}"#),
        "regcred",
    ),
];

#[test]
fn preflights_of_our_own_runner_say_what_is_wrong() {
    let Some(world) = world("preflights_of_our_own_runner_say_what_is_wrong") else { return };
    table(&world, Engine::BuiltIn);
}

#[test]
fn preflights_of_etcd_defrag_say_what_is_wrong() {
    let test = "preflights_of_etcd_defrag_say_what_is_wrong";
    if let Err(reason) = etcd_defrag() {
        println!("SKIPPED: {test}: {reason}");
        return;
    }
    let Some(world) = world(test) else { return };
    table(&world, Engine::EtcdDefrag);
}

/// All cases with one engine, and a row for each.
fn table(world: &World, engine: Engine) {
    let purpose = format!("preflight-{}", engine.name().to_lowercase());
    let namespace = namespace(&world.node, &purpose);
    let options = PodsOptions {
        enrolled: false,
        hidden_quota: true,
        liveness: None,
        password: Some("secret".to_owned()),
        ..PodsOptions::default()
    };
    let pods = EtcdPods::start(&world.node, &namespace, options);
    let place = Place { world, engine, pods };
    place.secrets();
    place.policy(&json!({}));
    println!("| case | engine | from the label to the outcome | outcome | words |\n| --- | --- | --- | --- | --- |");
    let all = std::env::var("PREFLIGHT_CASES").is_ok_and(|cases| cases == "all");
    let tried = CASES.iter().take(if all { CASES.len() } else { QUICK });
    let rows: Vec<Duration> = tried.map(|case| place.shows(case)).collect();
    let late = rows.iter().filter(|took| **took > Duration::from_mins(1)).count();
    println!("{}: {} cases, {late} took more than a minute", engine.name(), rows.len());
}

struct Place<'a> {
    world: &'a World,
    engine: Engine,
    pods: EtcdPods<'a>,
}

impl Place<'_> {
    fn kubectl(&self, args: &[&str]) -> String {
        self.world.node.kubectl_ok(&[&["-n", self.pods.namespace()], args].concat())
    }

    /// Certificates of authorities that no member knows, and a login that none takes.
    fn secrets(&self) {
        let namespace = self.pods.namespace();
        let authority = Authority::new("another etcd");
        let client = certificate(&authority, "root", &[]);
        for (name, data) in [
            ("other-ca", json!({"ca.crt": authority.pem()})),
            ("stranger", json!({"tls.crt": client.cert, "tls.key": client.key})),
            ("wrong", json!({"username": "root", "password": "guessed"})),
        ] {
            let metadata = json!({"name": name, "namespace": namespace});
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data});
            self.world.node.apply(&secret.to_string());
        }
    }

    /// Has a policy with further fields of `job` govern the namespace, and waits until `serve` knows it.
    fn policy(&self, job: &Value) {
        let namespace = self.pods.namespace();
        let mut all = json!({"engine": self.engine.name(), "preflight": true});
        all.as_object_mut().unwrap().extend(job.as_object().cloned().unwrap_or_default());
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
        let object = json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": namespace},
            "spec": {"namespaceSelector": selector, "job": all}});
        policy(&self.world.node, &object);
        eventually("the policy to be known", SOON, || {
            let policy = self.world.node.get(&["defragpolicy", namespace])?;
            (policy["status"]["observedGeneration"] == policy["metadata"]["generation"]).then_some(())
        });
    }

    /// Sets annotations of ours and the label, or takes the label off.
    fn label(&self, annotations: &[(&str, &str)], enabled: bool) {
        let prefixed = annotations.iter().map(|(key, value)| {
            let value = value.replace("NAMESPACE", self.pods.namespace());
            (format!("etcd-defrag.io/{key}"), if value.is_empty() { Value::Null } else { json!(value) })
        });
        let annotations: Map<String, Value> = prefixed.collect();
        let labels = json!({"etcd-defrag.io/enabled": enabled.then_some("true")});
        let patch = json!({"metadata": {"labels": labels, "annotations": annotations}}).to_string();
        self.kubectl(&["patch", "statefulset", self.pods.name(), "--type=merge", "-p", &patch]);
    }

    fn signal(&self, pod: &str, signal: &str) {
        self.world.node.etcd_process(self.pods.namespace(), pod).signal(signal);
    }

    fn breaks(&self, wrong: Wrong) {
        match wrong {
            Nothing | Annotation(..) => {}
            Silent => {
                // Without a leader the others would answer, too, with an error of their own.
                if self.pods.leader() == "kamaji-etcd-2" {
                    let members = self.pods.etcdctl_ok(&["member", "list"]);
                    let other = members.lines().find(|line| line.contains("kamaji-etcd-0")).unwrap();
                    self.pods.etcdctl_ok(&["move-leader", other.split(',').next().unwrap()]);
                }
                self.signal("kamaji-etcd-2", "STOP");
            }
            Voter => {
                let peer = "--peer-urls=https://kamaji-etcd-3.elsewhere.invalid:2380";
                self.pods.etcdctl_ok(&["member", "add", "kamaji-etcd-3", peer]);
            }
            Room => {
                self.kubectl(&["create", "quota", "small", "--hard=pods=3"]);
                eventually("the pods to be counted", SOON, || {
                    let quota = self.world.node.get(&["-n", self.pods.namespace(), "resourcequota", "small"])?;
                    (quota["status"]["used"]["pods"] == "3").then_some(())
                });
            }
            Job(fields) => self.policy(&serde_json::from_str(fields).unwrap()),
        }
    }

    fn mends(&self, wrong: Wrong) {
        match wrong {
            Nothing | Annotation(..) => {}
            Silent => self.signal("kamaji-etcd-2", "CONT"),
            Voter => {
                let listed = self.pods.etcdctl_ok(&["member", "list"]);
                let unstarted = listed.lines().find(|line| line.contains("unstarted")).unwrap();
                let id = unstarted.split(',').next().unwrap().to_owned();
                self.pods.etcdctl_ok(&["member", "remove", &id]);
            }
            Room => drop(self.kubectl(&["delete", "resourcequota", "small"])),
            Job(_) => self.policy(&json!({})),
        }
        self.pods.wait_ready();
    }

    /// Labels the etcd, and returns after how long the preflight has ended.
    fn shows(&self, case: &Case) -> Duration {
        self.breaks(case.wrong);
        let base = [("username-secret", LOGIN), ("quota", QUOTA)];
        let changed = if let Annotation(key, value) = case.wrong { vec![(key, value)] } else { Vec::new() };
        let all = [base.as_slice(), changed.as_slice()].concat();
        let labelled = Instant::now();
        self.label(&all, true);
        let record = eventually("the preflight to end", LIMIT, || {
            let cronjob = self.world.node.get(&["-n", self.pods.namespace(), "cronjob", &self.pods.cronjob_name()])?;
            let record = Record::read(cronjob["metadata"]["annotations"][ANNOTATION].as_str()?)?;
            (record.outcome != Outcome::Running).then_some(record)
        });
        let took = labelled.elapsed();
        let Record { outcome, text, .. } = &record;
        println!("| {} | {} | {:.1} s | {outcome} | {text} |", case.name, self.engine.name(), took.as_secs_f64());
        let (expected, words) = if self.engine == Engine::BuiltIn { case.built_in } else { case.etcd_defrag };
        assert!(
            *outcome == expected && text.contains(words),
            "{}: not {expected} with {words:?}: {record:?}",
            case.name
        );
        assert_eq!(self.pods.defragmentations(), [], "a preflight changes nothing");

        let undone: Vec<(&str, &str)> = changed.iter().map(|(key, _)| (*key, "")).collect();
        self.label(&undone, false);
        eventually("CronJob and preflight to go", SOON, || {
            let jobs = self.world.node.get(&["-n", self.pods.namespace(), "jobs"])?;
            jobs["items"].as_array()?.is_empty().then_some(())
        });
        self.mends(case.wrong);
        took
    }
}
