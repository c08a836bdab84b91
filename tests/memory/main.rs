//! How much memory the reconciler keeps for each enrolled StatefulSet, to the byte the same on every machine.
//!
//! The real reconciler leads over two fleets, one four times as large as the other, on the API server in memory of
//! `tests/model`. What it keeps is what is freed when it ends, since the server stays: counted are bytes that are allocated and
//! not freed. The difference of the two fleets has no part that every process needs.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::manual_strip,
    clippy::panic,
    clippy::pedantic,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and the model uses the rest of its API server"
)]

#[path = "../model/events.rs"]
mod events;
#[path = "../model/fields.rs"]
mod fields;
#[path = "../model/objects.rs"]
mod objects;
#[path = "../model/server.rs"]
mod server;
#[path = "../model/store.rs"]
mod store;
#[path = "../model/watching.rs"]
mod watching;

use std::{alloc::System, collections::BTreeSet, path::PathBuf, time::Duration};

use etcd_defrag_webhook::{
    controller::{self, Options, metrics::ReconcileMetrics, policies::policy_snapshot::PolicySnapshots},
    runtime::cores::Cores,
};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::{
    server::{Link, Server},
    store::{CRONJOBS, Class, NAMESPACES, STATEFULSETS, key},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The two sizes. Hash tables are equally full with both.
const FLEETS: [usize; 2] = [100, 400];
/// Each namespace has so many.
const IN_A_NAMESPACE: usize = 20;

/// The most bytes for each of a fleet that one operator or chart made, whose objects differ in their names.
const MOST_ALIKE: usize = 2_400;
/// The same where each differs from every other.
const MOST_DIFFERENT: usize = 6_500;

/// What is allocated and not freed.
#[derive(Clone, Copy)]
struct Heap {
    bytes: usize,
    blocks: usize,
}

impl Heap {
    fn now() -> Self {
        let stats = ALLOCATOR.stats();
        let bytes = stats.bytes_allocated - stats.bytes_deallocated;
        Self { bytes, blocks: stats.allocations - stats.deallocations }
    }

    fn more_than(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(other.bytes), blocks: self.blocks.saturating_sub(other.blocks) }
    }
}

/// The StatefulSet of this number.
fn statefulset(number: usize, alike: bool) -> Value {
    let (name, namespace) = (format!("etcd-{number}"), format!("tenant-{}", number / IN_A_NAMESPACE));
    let text = include_str!("../../examples/kamaji-etcd.yaml");
    let text = text.replace("kamaji-etcd", &name).replace("kamaji-system", &namespace);
    let mut object: Value = serde_saphyr::from_str(&text).unwrap();
    object["metadata"]["managedFields"] = json!([{"manager": "operator", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
    object["metadata"]["annotations"] = json!({"operator/revision": "7", "etcd-defrag.io/wait-between-members": "45s"});
    object["status"] = json!({"replicas": 3, "readyReplicas": 3});
    if !alike {
        let command = object["spec"]["template"]["spec"]["containers"][0]["command"].as_array_mut().unwrap();
        command.push(json!(format!("--snapshot-count={}", 10_000 + number)));
        object["metadata"]["annotations"]["etcd-defrag.io/schedule"] = json!(format!("{} 3 * * *", number % 60));
        object["metadata"]["annotations"]["etcd-defrag.io/command-timeout"] = json!(format!("{}s", 120 + number));
    }
    object
}

/// What the reconciler keeps of a fleet.
fn kept(size: usize, alike: bool) -> Heap {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let server = Server::new(1);
        for number in 0..size {
            let object = statefulset(number, alike);
            let namespace = object["metadata"]["namespace"].as_str().unwrap().to_owned();
            server.with(|state| {
                if number % IN_A_NAMESPACE == 0 {
                    let object =
                        json!({"metadata": {"name": namespace, "labels": {"kubernetes.io/metadata.name": namespace}}});
                    state.store.create(&key(NAMESPACES, "", &namespace), object, "kubectl", Class::Plain).unwrap();
                }
                let key = key(STATEFULSETS, &namespace, &format!("etcd-{number}"));
                state.store.create(&key, object, "operator", Class::Plain).unwrap();
            });
        }
        let link = Link::new("replica".to_owned());
        let client = server.client(&link);
        let snapshots = PolicySnapshots::follow(client.clone(), BTreeSet::new());
        let shutdown = CancellationToken::new();
        let options = Options {
            concurrency: 4,
            namespace: None,
            own_namespace: "system".to_owned(),
            identity: "replica".to_owned(),
            prometheus_files: PathBuf::new(),
            preflight: false,
            own_image: None,
            engine_image: None,
            cores: Cores::of_runtime(1),
            clock: server.state().clock(),
        };
        let run = controller::run(client, snapshots, options, None, ReconcileMetrics::default(), shutdown.clone());
        let run = tokio::spawn(run);
        let made = || server.state().store.of(CRONJOBS).count();
        while made() < size {
            sleep(Duration::from_secs(1)).await;
        }
        // Whatever follows, such as a look at what was just written.
        sleep(Duration::from_mins(2)).await;
        let requests = || server.state().counts.attempts;
        let before = requests();
        sleep(Duration::from_mins(2)).await;
        assert_eq!(requests(), before, "it rests");
        let with = Heap::now();
        shutdown.cancel();
        run.await.unwrap();
        sleep(Duration::from_secs(10)).await;
        let without = Heap::now();
        let heap = with.more_than(without);
        println!("{size:>6} StatefulSets: {:>6} KiB in {:>6} blocks", heap.bytes >> 10, heap.blocks);
        heap
    })
}

fn check(what: &str, alike: bool, most: usize) {
    let [smaller, larger] = FLEETS.map(|size| kept(size, alike));
    let more = larger.more_than(smaller);
    let each = FLEETS[1] - FLEETS[0];
    let (bytes, blocks) = (more.bytes / each, more.blocks as f64 / each as f64);
    println!("{what}: {bytes} bytes in {blocks:.1} blocks for each StatefulSet; at most {most} bytes are accepted");
    assert!(more.bytes > 0 && bytes <= most, "{what}: {bytes} bytes for each StatefulSet, where {most} are accepted");
}

/// One test, since what is counted belongs to the whole process.
#[test]
fn an_enrolled_statefulset_takes_little_memory() {
    check("a fleet of one operator", true, MOST_ALIKE);
    check("a fleet of which each is different", false, MOST_DIFFERENT);
}
