//! `make bench-fleet`: what a fleet that is there before `serve` costs, on a real control plane: how long until each StatefulSet has its
//! CronJob, and until a changed default has reached each; calls, processor time and memory for each.
//!
//! The anchor of each time is the same number of plain creates or patches by this program, 16 in flight, one half before and one half after: what
//! the API server itself takes for them on this machine and at this moment. `SIZES="1000 5000"` says how many StatefulSets, `FULL=1` adds 10,000 and
//! 16,000, `BEFORE=PROGRAM` measures an earlier program beside this one, and `PLOT=FILE` draws the figures against the sizes.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a benchmark that cannot go on ends")]

mod plot;

use std::{
    env, fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use etcd_defrag_webhook::defrag::{
    Surroundings, assess,
    policy::{self, DefragPolicy, Governing},
    statefulset::StatefulSet,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use harness::{
    API_SERVER, CONTROLLER_MANAGER, ControlPlane, MARGIN, Serve, ServeOptions, client, example_etcd, processor_seconds,
};
use k8s_openapi::api::{apps, batch::v1::CronJob, core::v1::Namespace};
use kube::{
    Api, Client,
    api::{PartialObjectMeta, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::{Value, json};

/// Plain calls under way at once.
const IN_FLIGHT: usize = 16;
/// For one step of a whole fleet.
const PATIENCE: Duration = Duration::from_mins(10);
/// After the last write.
const REST: Duration = Duration::from_secs(10);
/// Of the time of as many plain calls.
const TIME: f64 = 1.25;
/// Writes for each StatefulSet, and questions about it, at a cold start; and again with a changed default.
const CALLS: f64 = 1.0;
/// Processor time for each StatefulSet in the largest fleet, of that in the smallest.
const GROWTH: f64 = 1.25;
/// Resident memory with nobody enrolled, and for each thousand that are.
const MEMORY: (f64, f64) = (10.0, 4.0);

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result {
    let mut sizes: Vec<usize> = env::var("SIZES")
        .unwrap_or_else(|_| "1000 5000".to_owned())
        .split_whitespace()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    if env::var("FULL").is_ok_and(|full| full == "1") {
        sizes.extend([10_000, 16_000]);
    }
    let before = env::var("BEFORE").ok().filter(|path| !path.is_empty()).map(PathBuf::from);
    println!("load of the machine before: {}", fs::read_to_string("/proc/loadavg")?.trim());
    let (mut missed, mut fleets) = (Vec::new(), Vec::<Measured>::new());
    for namespaces in [1, 50] {
        for size in &sizes {
            if before.is_some() {
                println!("\nan earlier program, {size} in {namespaces}:");
                measure(*size, namespaces, before.clone()).await?.print(&mut Vec::new());
            }
            println!("\n{size} in {namespaces}:");
            let measured = measure(*size, namespaces, None).await?;
            measured.print(&mut missed);
            fleets.push(measured);
        }
        let of_these = fleets.iter().filter(|fleet| fleet.namespaces == namespaces);
        if let [first, .., last] = of_these.map(|fleet| fleet.serve_cpu).collect::<Vec<_>>().as_slice() {
            check(&mut missed, "growth of processor time", GROWTH, (*first * 1e3, *last * 1e3), "ms");
        }
    }
    if let Some(path) = env::var_os("PLOT").filter(|path| !path.is_empty()) {
        fs::write(path, plot::svg(&fleets))?;
    }
    println!("load of the machine after: {}", fs::read_to_string("/proc/loadavg")?.trim());
    if missed.is_empty() { Ok(()) } else { Err(format!("missed: {}", missed.join(", ")).into()) }
}

/// What one fleet came to. Times are in seconds, of processors for each StatefulSet.
struct Measured {
    size: usize,
    namespaces: usize,
    created: (f64, f64),
    changed: (f64, f64),
    /// The same change by plain server-side applies.
    applied: f64,
    created_calls: Vec<(String, usize)>,
    changed_calls: Vec<(String, usize)>,
    server_cpu: (f64, f64),
    serve_cpu: f64,
    resident: f64,
}

impl Measured {
    fn print(&self, missed: &mut Vec<String>) {
        check(missed, "cold start", TIME, self.created, "s");
        check(missed, "changed default", TIME, self.changed, "s");
        println!("    plain server-side applies of the same: {:.2} s", self.applied);
        for (what, calls) in
            [("calls, cold start", &self.created_calls), ("calls, changed default", &self.changed_calls)]
        {
            let all: usize = calls.iter().map(|(_, count)| count).sum();
            check(missed, what, CALLS, (1.0, float(all) / float(self.size)), "for each");
            println!(
                "    {}",
                calls.iter().map(|(call, count)| format!("{count} {call}")).collect::<Vec<_>>().join(", ")
            );
        }
        let (raw, ours) = self.server_cpu;
        println!("  API server, for each create: raw {:.2} ms, ours {:.2} ms of processor", raw * 1e3, ours * 1e3);
        println!("  serve, for each: {:.2} ms of processor", self.serve_cpu * 1e3);
        let goal = MEMORY.0 + MEMORY.1 * float(self.size) / 1000.0;
        check(missed, "resident", 1.0, (goal, self.resident), "MiB");
    }
}

/// Prints goal, anchor, ours and ratio, and notes a goal that is missed by more than the margin.
fn check(missed: &mut Vec<String>, what: &str, goal: f64, (anchor, ours): (f64, f64), unit: &str) {
    let ratio = ours / anchor;
    let verdict = if ratio <= goal {
        ""
    } else if ratio <= goal * MARGIN {
        "  (within the margin)"
    } else {
        "  MISSED"
    };
    println!("  {what:<24} goal {goal:.2}, anchor {anchor:8.2}, ours {ours:8.2} {unit}, ratio {ratio:5.2}{verdict}");
    if ratio > goal * MARGIN {
        missed.push(what.to_owned());
    }
}

/// A control plane with a fleet.
struct Fleet {
    plane: ControlPlane,
    client: Client,
    namespaces: usize,
    /// Writes to CronJobs that a watch has told of.
    seen: Arc<AtomicUsize>,
}

async fn measure(size: usize, namespaces: usize, program: Option<PathBuf>) -> Result<Measured> {
    let plane = ControlPlane::start();
    plane.component(CONTROLLER_MANAGER).stop();
    let server = plane.component(API_SERVER).pid().ok_or("the API server does not run")?;
    let client = client(plane.kubeconfig()).await;
    plane.apply(&serde_json::to_string(&policy::crd())?);
    plane.wait_established("defragpolicies.etcd-defrag.io");
    let fleet = Fleet { seen: watched(&client), plane, client, namespaces };
    for index in 0..namespaces {
        for kind in ["etcds", "plain"] {
            let namespace = serde_json::from_value(json!({"metadata": {"name": format!("{kind}-{index}")}}))?;
            Api::<Namespace>::all(fleet.client.clone()).create(&PostParams::default(), &namespace).await?;
        }
    }
    let policies = Api::<DefragPolicy>::all(fleet.client.clone());
    let mut defaults = DefragPolicy::new("fleet", policy::api::DefragPolicySpec::default());
    defaults.spec.defaults.schedule = Some("H 1 * * *".to_owned());
    policies.create(&PostParams::default(), &defaults).await?;
    fleet.enrol(size).await?;

    // Connections and caches warm up.
    fleet.create_plain(0..100).await?;
    let half = size / 2;
    let busy = processor_seconds(server);
    let mut plain = fleet.create_plain(100..100 + half).await?;
    let plain_cpu = (processor_seconds(server) - busy) / float(half);

    let mark = fleet.plane.audit_mark();
    let (before, busy) = (fleet.seen(), processor_seconds(server));
    let begun = Instant::now();
    let serve = Serve::spawn(&fleet.plane, &ServeOptions { program, ..ServeOptions::default() });
    fleet.wait_for(before + size).await?;
    let created = begun.elapsed().as_secs_f64();
    let ours_cpu = (processor_seconds(server) - busy) / float(size);
    tokio::time::sleep(REST).await;
    let (serve_cpu, resident) = (processor_seconds(serve.pid()) / float(size), mib(serve.resident()));
    let created_calls = fleet.calls_since(mark);
    plain += fleet.create_plain(100 + half..100 + size).await?;

    let mut plain_changed = fleet.change_plain(100..100 + half).await?;
    let (mark, before) = (fleet.plane.audit_mark(), fleet.seen());
    let begun = Instant::now();
    let change = json!({"spec": {"defaults": {"schedule": "H 2 * * *"}}});
    policies.patch("fleet", &PatchParams::default(), &Patch::Merge(&change)).await?;
    fleet.wait_for(before + size).await?;
    let changed = begun.elapsed().as_secs_f64();
    tokio::time::sleep(REST).await;
    let changed_calls = fleet.calls_since(mark);
    plain_changed += fleet.change_plain(100 + half..100 + size).await?;
    let applied = fleet.apply_plain(100..100 + size).await?;
    Ok(Measured {
        size,
        namespaces,
        created: (plain, created),
        changed: (plain_changed, changed),
        applied,
        created_calls,
        changed_calls,
        server_cpu: (plain_cpu, ours_cpu),
        serve_cpu,
        resident,
    })
}

/// Counts the writes to CronJobs.
fn watched(client: &Client) -> Arc<AtomicUsize> {
    let seen = Arc::new(AtomicUsize::new(0));
    let (counter, api) = (Arc::clone(&seen), Api::<PartialObjectMeta<CronJob>>::all(client.clone()));
    tokio::spawn(async move {
        let events = watcher(api, watcher::Config::default());
        events
            .try_for_each(|event| {
                if let watcher::Event::Apply(_) = event {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                futures::future::ready(Ok(()))
            })
            .await
    });
    seen
}

impl Fleet {
    fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }

    async fn wait_for(&self, writes: usize) -> Result {
        let begun = Instant::now();
        while self.seen() < writes {
            if begun.elapsed() > PATIENCE {
                return Err(format!("{} of {writes} writes within {} s", self.seen(), PATIENCE.as_secs()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn within(&self, kind: &str, index: usize) -> String {
        format!("{kind}-{}", index % self.namespaces)
    }

    /// Creates enrolled StatefulSets without members, so that the fleet costs no pods.
    async fn enrol(&self, size: usize) -> Result {
        let calls = stream::iter(0..size).map(|index| async move {
            let namespace = self.within("etcds", index);
            let object: apps::v1::StatefulSet = serde_json::from_value(etcd(&namespace, &format!("etcd-{index}")))?;
            let api = Api::<apps::v1::StatefulSet>::namespaced(self.client.clone(), &namespace);
            api.create(&PostParams::default(), &object).await?;
            Ok(())
        });
        all(calls).await
    }

    /// Creates CronJobs such as ours that are not ours; how long that took, in seconds.
    async fn create_plain(&self, indices: std::ops::Range<usize>) -> Result<f64> {
        let template = plain()?;
        let create = async |index: usize| {
            let mut object = template.clone();
            object.metadata.name = Some(format!("plain-{index}"));
            self.plain(index).create(&PostParams::default(), &object).await
        };
        self.timed(indices, create).await
    }

    /// Changes their schedules; how long that took, in seconds.
    async fn change_plain(&self, indices: std::ops::Range<usize>) -> Result<f64> {
        let change = async |index: usize| {
            let change = Patch::Merge(json!({"spec": {"schedule": format!("{} 2 * * *", index % 60)}}));
            self.plain(index).patch(&format!("plain-{index}"), &PatchParams::default(), &change).await
        };
        self.timed(indices, change).await
    }

    /// The same by server-side apply of the whole object, as this project changes CronJobs.
    async fn apply_plain(&self, indices: std::ops::Range<usize>) -> Result<f64> {
        let template = plain()?;
        let apply = async |index: usize| {
            let mut object = template.clone();
            object.metadata.name = Some(format!("plain-{index}"));
            object.spec.schedule = format!("{} 3 * * *", index % 60);
            let params = PatchParams::apply("bench").force();
            self.plain(index).patch(&format!("plain-{index}"), &params, &Patch::Apply(&object)).await
        };
        self.timed(indices, apply).await
    }

    fn plain(&self, index: usize) -> Api<CronJob> {
        Api::namespaced(self.client.clone(), &self.within("plain", index))
    }

    /// Makes a call for each; how long it took until a watch had told of all, in seconds.
    async fn timed(
        &self,
        indices: std::ops::Range<usize>,
        call: impl AsyncFn(usize) -> kube::Result<CronJob>,
    ) -> Result<f64> {
        let (begun, before, count) = (Instant::now(), self.seen(), indices.len());
        all(stream::iter(indices).map(async |index| Ok(call(index).await.map(drop)?))).await?;
        self.wait_for(before + count).await?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// The calls of `serve` about StatefulSets and CronJobs one by one, and its Events.
    fn calls_since(&self, mark: harness::AuditMark) -> Vec<(String, usize)> {
        let calls = self.plane.audit_since(mark).by_agent("etcd-defrag-webhook").filter(|event| {
            let one = !event.name.is_empty() || event.verb == "create";
            one && ["cronjobs", "statefulsets", "events"].contains(&event.resource.as_str())
        });
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for call in calls {
            *counts.entry(format!("{} {} ({})", call.verb, call.resource, call.code)).or_default() += 1;
        }
        counts.into_iter().collect()
    }
}

/// Makes calls, so many at once.
async fn all(calls: impl futures::Stream<Item = impl Future<Output = Result>>) -> Result {
    calls.buffer_unordered(IN_FLIGHT).try_collect().await
}

/// An enrolled StatefulSet.
fn etcd(namespace: &str, name: &str) -> Value {
    let mut object = example_etcd(namespace, name, &[]);
    object["spec"]["replicas"] = json!(0);
    object
}

/// A CronJob such as ours, but for what makes it ours, or a defragmentation.
fn plain() -> Result<CronJob> {
    let object: StatefulSet = serde_json::from_value(etcd("n", "etcd"))?;
    let now = jiff::Timestamp::now();
    let assessment = assess(&object, &Governing::built_in(), &Surroundings::nothing(), now);
    let mut cronjob = assessment.cronjob().ok_or("the example gets no CronJob")?.clone();
    cronjob.metadata.namespace = None;
    for value in cronjob.metadata.labels.iter_mut().flatten().map(|(_, value)| value) {
        "plain".clone_into(value);
    }
    let notes = cronjob.metadata.annotations.take().unwrap_or_default();
    let notes = notes.into_iter().map(|(key, value)| (key.replace("etcd-defrag.io/", "plain/"), value));
    cronjob.metadata.annotations = Some(notes.collect());
    let pod = cronjob.spec.job_template.spec.as_mut().and_then(|job| job.template.spec.as_mut());
    for container in pod.into_iter().flat_map(|pod| &mut pod.containers) {
        container.image = Some("example.org/plain:v1".to_owned());
    }
    Ok(cronjob)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than a float can count")]
fn float(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are printed")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
