//! A fleet whose preflights are all due at once: what they cost the API server, and how long it takes until all are told.
//!
//! No node carries so many etcds: nothing runs here. A task of the test writes what a kubelet would write into the status of the
//! pods of preflights, [`RUNS`] after they were made; the Jobs are those of the real controllers. `PREFLIGHT_ETCDS=1000` makes the
//! fleet larger.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use etcd_defrag_webhook::defrag::preflight::{ANNOTATION, LABEL, Outcome, PLACES, Record};
use k8s_openapi::api::{batch::v1::CronJob, core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{enrolled, fleet, fleet_size, world_with};
use harness::{AuditMark, ControlPlane, client};

const AGENT: &str = "etcd-defrag-webhook";
/// From the start of a pod to its end, about as long as one takes whose image is there.
const RUNS: Duration = Duration::from_secs(2);
/// How long it is looked at what waiting costs.
const WAITS: Duration = Duration::from_secs(20);

/// Ends each pod of a preflight a while after it was made. Returns how many there were at a time at most.
async fn kubelet(pods: Api<Pod>, end: Arc<AtomicBool>, most: Arc<AtomicUsize>) {
    let pending = ListParams::default().labels(&format!("{LABEL}=true")).fields("status.phase=Pending");
    let mut since = HashMap::<String, Instant>::new();
    let mut ended = HashSet::<String>::new();
    while !end.load(Ordering::SeqCst) {
        let there = pods.list_metadata(&pending).await.unwrap();
        most.fetch_max(there.items.len(), Ordering::SeqCst);
        for pod in &there {
            let name = pod.name_any();
            if since.entry(name.clone()).or_insert_with(Instant::now).elapsed() < RUNS || !ended.insert(name.clone()) {
                continue;
            }
            let at = jiff::Timestamp::now().to_string();
            let terminated = json!({"exitCode": 0, "reason": "Completed", "startedAt": at, "finishedAt": at});
            let container = json!({"name": "etcd-defrag", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": terminated}});
            let patch = json!({"status": {"phase": "Succeeded", "containerStatuses": [container]}});
            pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Requests of `serve`, by what they ask for, without its Lease.
fn requests(plane: &ControlPlane, mark: AuditMark) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for event in &*plane.audit_since(mark).by_agent(AGENT) {
        if event.resource != "leases" && event.verb != "watch" {
            *counted.entry(format!("{} {}", event.verb, event.resource)).or_default() += 1;
        }
    }
    counted
}

/// How many CronJobs say that their preflight went well.
async fn told(cronjobs: &Api<CronJob>) -> usize {
    let all = cronjobs.list_metadata(&ListParams::default()).await.unwrap();
    let well = |text: &String| Record::read(text).is_some_and(|record| record.outcome == Outcome::Succeeded);
    all.iter().filter(|one| one.annotations().get(ANNOTATION).is_some_and(well)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_told_of_all_preflights_ten_at_a_time() {
    let size = fleet_size("PREFLIGHT_ETCDS", 30);
    let (plane, serve) = world_with(&["--preflight=true"]);
    let client = client(plane.kubeconfig()).await;
    fleet(&plane, &client, size).await;
    enrolled(&serve, size);

    // Nobody is ready, so nothing begins.
    let mark = plane.audit_mark();
    tokio::time::sleep(WAITS).await;
    let waiting = requests(&plane, mark);
    println!("{size} etcds, no member ready: requests in {} s: {waiting:?}", WAITS.as_secs());
    assert!(waiting.keys().all(|kind| kind.starts_with("get ") || kind.starts_with("list ")), "{waiting:?}");

    let (end, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let pods = Api::<Pod>::namespaced(client.clone(), "fleet");
    let kubelet = tokio::spawn(kubelet(pods, Arc::clone(&end), Arc::clone(&most)));
    let (mark, begun) = (plane.audit_mark(), Instant::now());
    super::all_ready(&client, size).await;
    let ready = begun.elapsed();
    let cronjobs = Api::<CronJob>::namespaced(client.clone(), "fleet");
    let (limit, mut half) = (Duration::from_secs(120 + 4 * size as u64), None);
    loop {
        let told = told(&cronjobs).await;
        if told * 2 >= size {
            half.get_or_insert_with(|| begun.elapsed());
        }
        if told == size {
            break;
        }
        assert!(begun.elapsed() < limit, "{told} of {size} after {} s\n{}", limit.as_secs(), serve.log());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let all = begun.elapsed();
    plane.wait_quiet(AGENT, Duration::from_secs(3));
    end.store(true, Ordering::SeqCst);
    kubelet.await.unwrap();

    let counted = requests(&plane, mark);
    let writes = plane.audit_since(mark).writes().by_agent(AGENT).count(|event| event.resource != "leases");
    let most = most.load(Ordering::SeqCst);
    println!(
        "{size} etcds, the pods by the API server's view, each ended {} s after it was made; all members are ready after {:.0} s, half \
         the etcds are told after {:.0} s, all after {:.0} s; {most} preflights at a time at most; {writes} writes, {:.2} for each etcd; \
         requests {counted:?}; resident {:.1} MiB",
        RUNS.as_secs(),
        ready.as_secs_f64(),
        half.unwrap_or_default().as_secs_f64(),
        all.as_secs_f64(),
        writes as f64 / size as f64,
        serve.resident() as f64 / f64::from(1 << 20),
    );
    assert!((1..=PLACES).contains(&most), "{most} at a time");
    let count = |kind: &str| counted.get(kind).copied().unwrap_or_default();
    assert_eq!(
        (count("create jobs"), count("patch cronjobs"), count("create events"), writes),
        (size, 2 * size, size, 4 * size),
        "{counted:?}"
    );
}
