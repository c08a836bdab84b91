//! `make bench`: how quick, how quiet and how small `serve` is with a fleet, on a real control plane.
//!
//! Times stand beside the time of a plain API call of the same run, since machines differ and are noisy.

#![allow(clippy::indexing_slicing, clippy::panic, reason = "a benchmark that cannot go on ends")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use etcd_defrag_webhook::defrag::policy::{self, DefragPolicy};
use futures::TryStreamExt as _;
use harness::{ControlPlane, Serve, binary};
use k8s_openapi::api::{
    batch::v1::CronJob,
    core::v1::{ConfigMap, Namespace},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
    runtime::watcher,
};
use serde_json::{Value, json};

const NAMESPACE: &str = "fleet";
/// StatefulSets whose way from label to CronJob is timed.
const TIMED: usize = 200;
/// CronJobs that are deleted to time the repair.
const REPAIRED: usize = 50;
/// The whole fleet.
const FLEET: usize = 1000;
/// How long nothing may be written.
const IDLE: Duration = Duration::from_mins(1);
/// For one step of the fleet.
const PATIENCE: Duration = Duration::from_mins(2);

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// When each CronJob appeared last.
type Appeared = Arc<Mutex<HashMap<String, Instant>>>;

#[tokio::main]
async fn main() -> Result {
    let plane = ControlPlane::start();
    let mut starts: Vec<Duration> = (0..5).map(|_| Serve::start(&plane).start_time).collect();
    report("start to ready", &mut starts, None);
    let serve = Serve::start(&plane);
    println!("binary                          {:>9.1} MiB", mib(std::fs::metadata(binary())?.len()));
    println!("resident, idle                  {:>9.1} MiB", mib(serve.resident()));

    let client = harness::client(plane.kubeconfig()).await;
    let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let fleet = Fleet::new(&client);
    let mut calls = fleet.plain_calls(&client).await?;
    let call = report("a plain API call", &mut calls, None);

    let mut times = Vec::new();
    for index in 0..TIMED {
        let begun = Instant::now();
        let name = fleet.create(index).await?;
        times.push(fleet.appears_after(&name, begun).await? - begun);
    }
    report("label to CronJob", &mut times, Some(call));

    let cronjobs = Api::<CronJob>::namespaced(client.clone(), NAMESPACE);
    let mut times = Vec::new();
    for index in 0..REPAIRED {
        let name = format!("etcd-{index}-defrag-job");
        let begun = Instant::now();
        cronjobs.delete(&name, &DeleteParams::background()).await?;
        times.push(fleet.appears_after(&name, begun).await? - begun);
    }
    report("deleted to repaired", &mut times, Some(call));

    for index in TIMED..FLEET {
        fleet.create(index).await?;
    }
    let begun = Instant::now();
    while fleet.count() < FLEET && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("CronJobs for {FLEET} StatefulSets  {:>9}", fleet.count());
    println!("resident, {FLEET} enrolled         {:>9.1} MiB", mib(serve.resident()));

    tokio::time::sleep(Duration::from_secs(5)).await;
    let mark = plane.audit_mark();
    tokio::time::sleep(IDLE).await;
    let writes = plane.audit_since(mark).writes().by_agent("etcd-defrag-webhook");
    let leases = writes.count(|event| event.resource == "leases");
    println!("writes in {} idle s, leases apart {:>7}", IDLE.as_secs(), writes.len() - leases);
    println!("lease renewals in that time     {leases:>9}");
    if writes.len() > leases || fleet.count() != FLEET {
        return Err("the fleet did not converge, or was written to while idle".into());
    }
    policy_change(&plane, &client).await
}

/// A default changes in a policy that governs the whole fleet: how long until the last CronJob follows, and how often each is
/// written.
async fn policy_change(plane: &ControlPlane, client: &Client) -> Result {
    plane.apply(&serde_json::to_string(&policy::crd())?);
    plane.wait_established("defragpolicies.etcd-defrag.io");
    let policies = Api::<DefragPolicy>::all(client.clone());
    let spec = |schedule: &str| json!({"spec": {"defaults": {"schedule": schedule}}});
    let mut fleet = DefragPolicy::new("fleet", policy::api::DefragPolicySpec::default());
    fleet.spec.defaults.schedule = Some("H 1 * * *".to_owned());
    let begun = Instant::now();
    while policies.create(&PostParams::default(), &fleet).await.is_err() {
        // The API server serves a new kind a moment after it is established.
        if begun.elapsed() > PATIENCE {
            return Err("the API server does not take a DefragPolicy".into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    follow(client, "1 * * *").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;

    let mark = plane.audit_mark();
    let begun = Instant::now();
    policies.patch("fleet", &PatchParams::default(), &Patch::Merge(&spec("H 2 * * *"))).await?;
    follow(client, "2 * * *").await?;
    println!("a changed default, last of {FLEET}  {:>6.1} s", begun.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut writes: HashMap<String, usize> = HashMap::new();
    for event in plane.audit_since(mark).writes().by_agent("etcd-defrag-webhook").of("cronjobs") {
        *writes.entry(event.name).or_default() += 1;
    }
    let most = writes.values().copied().max().unwrap_or_default();
    println!("CronJobs written, most writes of one {:>4}, {most}", writes.len());
    let status = policies.get("fleet").await?.status.unwrap_or_default();
    println!("status: matched {}, compliant {}, violating {}", status.matched, status.compliant, status.violating);
    if writes.len() != FLEET || most != 1 {
        return Err("not every CronJob was written exactly once".into());
    }
    Ok(())
}

/// Waits until the schedule of every CronJob ends like this.
async fn follow(client: &Client, end: &str) -> Result {
    let api = Api::<CronJob>::namespaced(client.clone(), NAMESPACE);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        // From the API server's cache, so that waiting costs the fleet little.
        let all = api.list(&ListParams::default().match_any()).await?;
        if all.items.len() == FLEET && all.items.iter().all(|cronjob| cronjob.spec.schedule.ends_with(end)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Err(format!("not every CronJob came to a schedule that ends in {end:?} within {} s", PATIENCE.as_secs()).into())
}

struct Fleet {
    api: Api<DynamicObject>,
    template: Value,
    resource: ApiResource,
    appeared: Appeared,
}

impl Fleet {
    fn new(client: &Client) -> Self {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "StatefulSet"));
        let appeared = Appeared::default();
        let (seen, api) = (Arc::clone(&appeared), Api::<CronJob>::namespaced(client.clone(), NAMESPACE));
        tokio::spawn(async move {
            let events = watcher(api, watcher::Config::default());
            events
                .try_for_each(|event| {
                    if let watcher::Event::Apply(cronjob) | watcher::Event::InitApply(cronjob) = event {
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        if cronjob.metadata.deletion_timestamp.is_none() {
                            seen.insert(cronjob.name_any(), Instant::now());
                        }
                    }
                    futures::future::ready(Ok(()))
                })
                .await
        });
        let template = serde_saphyr::from_str(include_str!("../examples/kamaji-etcd.yaml")).unwrap_or_default();
        Self { api: Api::namespaced_with(client.clone(), NAMESPACE, &resource), template, resource, appeared }
    }

    /// Creates an enrolled StatefulSet without members, so that the fleet costs no pods; returns its CronJob's name.
    async fn create(&self, index: usize) -> Result<String> {
        let mut object = self.template.clone();
        let name = format!("etcd-{index}");
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!(NAMESPACE);
        object["spec"]["replicas"] = json!(0);
        let mut object: DynamicObject = serde_json::from_value(object)?;
        object.types = Some(kube::core::TypeMeta {
            api_version: self.resource.api_version.clone(),
            kind: self.resource.kind.clone(),
        });
        self.api.create(&PostParams::default(), &object).await?;
        Ok(format!("{name}-defrag-job"))
    }

    /// Creates ConfigMaps, as a measure of what one call costs here.
    async fn plain_calls(&self, client: &Client) -> Result<Vec<Duration>> {
        let api = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
        let mut times = Vec::new();
        for index in 0..TIMED {
            let object = serde_json::from_value(json!({"metadata": {"name": format!("plain-{index}")}}))?;
            let begun = Instant::now();
            api.create(&PostParams::default(), &object).await?;
            times.push(begun.elapsed());
        }
        Ok(times)
    }

    /// Waits until a CronJob has appeared after an instant.
    async fn appears_after(&self, name: &str, begun: Instant) -> Result<Instant> {
        while begun.elapsed() < PATIENCE {
            let last = self.appeared.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied();
            if let Some(seen) = last.filter(|seen| *seen > begun) {
                return Ok(seen);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(format!("{name} did not appear within {} s", PATIENCE.as_secs()).into())
    }

    fn count(&self) -> usize {
        self.appeared.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Prints median and 99th percentile, against a measure of the same run; returns the median.
fn report(what: &str, times: &mut [Duration], against: Option<Duration>) -> Duration {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1))).copied();
    let (median, p99) = (at(50).unwrap_or_default(), at(99).unwrap_or_default());
    let ratio = against.map(|call| format!(", {:.1} plain API calls", median.as_secs_f64() / call.as_secs_f64()));
    println!(
        "{what:<24} median {:>6.1} ms, p99 {:>6.1} ms, n = {}{}",
        median.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
        times.len(),
        ratio.unwrap_or_default()
    );
    median
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is printed")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
