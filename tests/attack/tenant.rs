//! A tenant who may edit the StatefulSets of a namespace, and what it does with that right.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use harness::{ControlPlane, Node};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{adversary, victim::tenant};

const NAMESPACE: &str = "hostile";
const WAIT: &str = "etcd-defrag.io/wait-between-members";

/// Something that a tenant does without end.
pub(crate) struct Tenant {
    pub(crate) name: &'static str,
    /// What is there before it begins.
    objects: Vec<Value>,
    client: Client,
    in_flight: usize,
    act: Act,
    /// How often it was done so far.
    done: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
enum Act {
    /// Changes what a number says, of one object after the other.
    Patch(fn(usize) -> Value),
    Status(fn(usize) -> Value),
    /// Asks for another one each time, which is judged and not kept.
    Ask(fn(usize) -> Value),
    Churn,
}

/// A stateful set of the tenant.
fn named(mut object: Value, name: &str) -> Value {
    object["metadata"]["name"] = json!(name);
    object["metadata"]["namespace"] = json!(NAMESPACE);
    object["spec"]["replicas"] = json!(0);
    object
}

fn small(number: usize) -> Value {
    named(harness::example_etcd(NAMESPACE, "etcd", &[]), &format!("small-{number}"))
}

/// With a script of nearly all that an API server takes, and more than we read.
fn script(number: usize) -> Value {
    starts_etcd(number, adversary::LARGEST * 9 / 10)
}

/// With as much of it as is read.
fn read_script(number: usize) -> Value {
    starts_etcd(number, 60_000)
}

/// With a script of about so many bytes that starts etcd in each line, each time with another flag.
fn starts_etcd(number: usize, bytes: usize) -> Value {
    let mut object = small(number);
    let lines: String = (0..)
        .map(|flag| format!("etcd --a{flag}\n"))
        .scan(0, |size, line| {
            *size += line.len();
            (*size < bytes).then_some(line)
        })
        .collect();
    object["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["sh", "-c", lines]);
    object
}

/// With as many entries as the API server takes: 256 KiB of annotations, or labels up to the limit of the object.
fn crowded(number: usize, map: &str, size: usize) -> Value {
    let mut object = small(number);
    for entry in 0..size / 12 {
        object["metadata"][map][format!("x{entry:07}")] = json!("x");
    }
    object
}

fn our_key(number: usize) -> Value {
    json!({"metadata": {"annotations": {WAIT: format!("{}s", 1 + number % 29)}}})
}

fn spec(number: usize) -> Value {
    json!({"spec": {"minReadySeconds": number % 1000}})
}

fn another_key(number: usize) -> Value {
    json!({"metadata": {"annotations": {"example.com/number": number.to_string()}}})
}

fn status(number: usize) -> Value {
    json!({"status": {"observedGeneration": number, "replicas": 0}})
}

pub(crate) fn attacks(plane: &ControlPlane, runtime: &Runtime) -> Vec<Tenant> {
    let client = tenant(plane, runtime, NAMESPACE);
    let attack = |name, objects: Vec<Value>, in_flight, act| Tenant {
        name,
        objects,
        client: client.clone(),
        in_flight,
        act,
        done: Arc::default(),
    };
    vec![
        attack("1.3 MB of script, made, 4 at a time", Vec::new(), 4, Act::Ask(script)),
        attack("60 KB of script, our key, 8 at a time", (0..8).map(read_script).collect(), 8, Act::Patch(our_key)),
        attack("1.3 MB of script, our key, 4 at a time", (0..4).map(script).collect(), 4, Act::Patch(our_key)),
        attack("1.3 MB of script, the spec, 4 at a time", (0..4).map(script).collect(), 4, Act::Patch(spec)),
        attack(
            "250 KB of annotations, another key, 4",
            (0..4).map(|number| crowded(number, "annotations", 250_000)).collect(),
            4,
            Act::Patch(another_key),
        ),
        attack(
            "1.2 MB of labels, the spec, 4 at a time",
            (0..4).map(|number| crowded(number, "labels", 800_000)).collect(),
            4,
            Act::Patch(spec),
        ),
        attack("our key, 16 at a time", (0..16).map(small).collect(), 16, Act::Patch(our_key)),
        attack("the status, 16 at a time", (0..16).map(small).collect(), 16, Act::Status(status)),
        attack("created and deleted, 8 at a time", Vec::new(), 8, Act::Churn),
    ]
}

/// Takes away what an attack has left.
pub(crate) fn clear(node: &Node) {
    node.kubectl_ok(&["-n", NAMESPACE, "delete", "statefulsets", "--all"]);
}

impl Tenant {
    pub(crate) fn prepare(&self, node: &Node) {
        for object in &self.objects {
            let made = node.kubectl_stdin(["create", "-f", "-"], &object.to_string());
            assert!(made.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&made.stderr));
        }
    }

    /// How often it was done so far.
    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Goes on until it is dropped.
    pub(crate) fn begin(&self, runtime: &Runtime) -> JoinSet<()> {
        let api: Api<StatefulSet> = Api::namespaced(self.client.clone(), NAMESPACE);
        let names: Arc<[String]> =
            self.objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        let turn = Arc::new(AtomicUsize::new(0));
        let mut attack = JoinSet::new();
        for _ in 0..self.in_flight {
            let (api, names, turn, act) = (api.clone(), Arc::clone(&names), Arc::clone(&turn), self.act);
            let done = Arc::clone(&self.done);
            let act = async move {
                loop {
                    let number = turn.fetch_add(1, Ordering::Relaxed);
                    act.once(&api, &names, number).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            };
            attack.spawn_on(act, runtime.handle());
        }
        attack
    }
}

impl Act {
    /// What becomes of it is nobody's concern: conflicts and refusals belong to an attack.
    async fn once(self, api: &Api<StatefulSet>, names: &[String], number: usize) {
        let name = names.get(number % names.len().max(1)).map_or("", String::as_str);
        let params = PatchParams::default();
        match self {
            Self::Patch(change) => drop(api.patch(name, &params, &Patch::Merge(change(number))).await),
            Self::Status(change) => drop(api.patch_status(name, &params, &Patch::Merge(change(number))).await),
            Self::Ask(object) => {
                let object = serde_json::from_value(object(number)).unwrap();
                drop(api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await);
            }
            Self::Churn => {
                let object = serde_json::from_value(small(number)).unwrap();
                drop(api.create(&PostParams::default(), &object).await);
                drop(api.delete(&format!("small-{number}"), &DeleteParams::background()).await);
            }
        }
    }
}
