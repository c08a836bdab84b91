//! `make bench-status`: what the entry for `statefulsets/status` costs the writes that it looks at, on a real control plane.
//!
//! Its condition is evaluated for the status writes of every StatefulSet of a cluster, labelled or not. So many writers as saturate
//! the API server patch the status of StatefulSets without a label, in turns with the webhook configurations and without them; nobody
//! is behind the webhooks, since no such write is asked about. Turns are short and many, and each is compared with the one before it:
//! machines are noisy. The processor time of the API server for one write is the steadier measure where others use the machine.

#![allow(clippy::indexing_slicing, reason = "a benchmark that cannot go on ends")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use etcd_defrag_webhook::admission::registration::{NAME, Registration, Target};
use harness::{API_SERVER, CONTROLLER_MANAGER, ControlPlane, client, example_etcd, median, processor_seconds};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::task::JoinSet;

/// Writers, each with a StatefulSet and a connection of its own.
const WRITERS: u64 = 8;
/// Pairs of turns.
const PAIRS: usize = 20;
/// How long a turn is measured.
const TURN: Duration = Duration::from_secs(3);
/// The API server reads configurations from a cache.
const SETTLE: Duration = Duration::from_secs(1);
/// Of the writes without the webhooks, so many are to be made with them.
const GOAL: f64 = 0.97;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One turn: writes in a second, and the API server's processor time for one, in seconds.
#[derive(Clone, Copy)]
struct Turn {
    rate: f64,
    cost: f64,
}

#[tokio::main]
async fn main() -> Result {
    let plane = ControlPlane::start();
    plane.component(CONTROLLER_MANAGER).stop();
    let written = Arc::new(AtomicU64::new(0));
    // Dropped, and so ended, before the control plane.
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let client = client(plane.kubeconfig()).await;
        let api = Api::<StatefulSet>::namespaced(client, "default");
        let name = format!("etcd-{writer}");
        let mut object = example_etcd("default", &name, &[]);
        object["metadata"]["labels"] = json!({"app": "etcd"});
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        let written = Arc::clone(&written);
        writers.spawn(async move {
            for generation in 1_u64.. {
                let status = json!({"status": {"replicas": 3, "observedGeneration": generation}});
                api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await?;
                written.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, kube::Error>(())
        });
    }
    let target = Target::Url("https://127.0.0.1:1".to_owned());
    let registration = Registration { target, ca_bundle: None, exempt_namespaces: Vec::new() };
    let configurations =
        [serde_json::to_string(&registration.mutating())?, serde_json::to_string(&registration.validating())?];
    let server = plane.component(API_SERVER).pid().ok_or("the API server does not run")?;
    // Caches and connections warm up.
    turn(server, &written).await;
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        if let Some(ended) = writers.try_join_next() {
            ended??;
        }
        let bare = turn(server, &written).await;
        for configuration in &configurations {
            plane.apply(configuration);
        }
        let with = turn(server, &written).await;
        plane.kubectl_ok(&["delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", NAME]);
        println!(
            "without: {:6.0} writes/s, {:5.2} ms of processor each; with: {:6.0} writes/s, {:5.2} ms",
            bare.rate,
            bare.cost * 1e3,
            with.rate,
            with.cost * 1e3
        );
        rates.push(with.rate / bare.rate);
        costs.push(bare.cost / with.cost);
    }
    let (rate, cost) = (median(&rates).ok_or("nothing was measured")?, median(&costs).ok_or("nothing was measured")?);
    println!("of the writes without webhooks: {rate:.3} by the clock, {cost:.3} by processor time (goal {GOAL})");
    Ok(())
}

async fn turn(server: u32, written: &AtomicU64) -> Turn {
    tokio::time::sleep(SETTLE).await;
    let (begun, writes, busy) = (Instant::now(), written.load(Ordering::Relaxed), processor_seconds(server));
    tokio::time::sleep(TURN).await;
    let (took, writes, busy) = (
        begun.elapsed().as_secs_f64(),
        float(written.load(Ordering::Relaxed) - writes),
        processor_seconds(server) - busy,
    );
    Turn { rate: writes / took, cost: busy / writes }
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than a float can count")]
fn float(count: u64) -> f64 {
    count as f64
}
