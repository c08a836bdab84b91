//! A constant load of creates and updates of labelled StatefulSets through the API server, each call recorded.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{sync::oneshot, time::timeout};

use harness::{ControlPlane, client};

/// The namespace of the StatefulSets.
pub(crate) const NAMESPACE: &str = "fleet";
/// The key that updates change.
pub(crate) const WAIT: &str = "etcd-defrag.io/wait-between-members";
/// Between two calls: 20 in a second.
const INTERVAL: Duration = Duration::from_millis(50);
/// Of so many calls one is a create, the others are updates of our own keys: writes that are refused while no replica
/// answers.
const CREATE_EVERY: usize = 10;
/// How many StatefulSets there are at a time; older ones are deleted.
const LIVE: usize = 40;
/// How many are not updated any more and not deleted yet: at two a second, above the time that one call may take.
const RETIRED: usize = 90;
/// How many calls may be under way. With more, a busy machine would come to answer none in time, and that would say nothing
/// about us.
const IN_FLIGHT: usize = 60;
/// How long one call may take; a webhook gets 5 s.
const PATIENCE: Duration = Duration::from_secs(40);

/// One answered call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) sent: Timestamp,
    pub(crate) took: Duration,
    pub(crate) creates: bool,
    pub(crate) name: String,
    pub(crate) error: Option<String>,
}

impl Call {
    /// Whether it failed for want of an answer of ours; a busy API server has other reasons too.
    pub(crate) fn failed_admission(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.contains("failed calling webhook"))
    }
}

/// A running load; ended by [`Load::end`].
pub(crate) struct Load {
    shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    calls: Mutex<Vec<Call>>,
    fleet: Mutex<Fleet>,
    /// The numbers of the calls that are not answered yet.
    under_way: Mutex<BTreeSet<usize>>,
}

#[derive(Default)]
struct Fleet {
    live: VecDeque<String>,
    /// Not updated any more: an update under way must not meet a deletion.
    retired: VecDeque<String>,
    turn: usize,
}

impl Load {
    /// Starts it as the administrator of a control plane.
    pub(crate) fn start(plane: &ControlPlane) -> Self {
        plane.kubectl_ok(&["create", "namespace", NAMESPACE]);
        let kubeconfig = plane.kubeconfig().to_owned();
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let run = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let api = Api::namespaced(client(&kubeconfig).await, NAMESPACE);
                run.drive(&api, stopped).await;
            });
        });
        Self { shared, stop, thread }
    }

    /// Waits until every call that is under way now is answered, so that what happens next has no part in it.
    pub(crate) fn answered(&self) {
        let now = lock(&self.shared.under_way).clone();
        while !lock(&self.shared.under_way).is_disjoint(&now) {
            sleep(Duration::from_millis(5));
        }
    }

    /// Ends the load; returns the calls and the StatefulSets that are left.
    pub(crate) fn end(self) -> (Vec<Call>, Vec<String>) {
        let _ = self.stop.send(());
        self.thread.join().unwrap();
        let calls = std::mem::take(&mut *lock(&self.shared.calls));
        (calls, lock(&self.shared.fleet).live.iter().cloned().collect())
    }
}

impl Shared {
    async fn drive(self: Arc<Self>, api: &Api<StatefulSet>, mut stopped: oneshot::Receiver<()>) {
        let mut interval = tokio::time::interval(INTERVAL);
        for number in 0.. {
            tokio::select! {
                _ = &mut stopped => break,
                _ = interval.tick() => {}
            }
            if lock(&self.under_way).len() >= IN_FLIGHT {
                continue;
            }
            let shared = Arc::clone(&self);
            let api = api.clone();
            lock(&self.under_way).insert(number);
            tokio::spawn(async move {
                shared.call(&api, number).await;
                lock(&shared.under_way).remove(&number);
            });
        }
        while !lock(&self.under_way).is_empty() {
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn call(&self, api: &Api<StatefulSet>, number: usize) {
        let updated = if number.is_multiple_of(CREATE_EVERY) { None } else { self.turn() };
        let creates = updated.is_none();
        let name = updated.unwrap_or_else(|| format!("etcd-{number}"));
        let (sent, begun) = (Timestamp::now(), Instant::now());
        let answer = timeout(PATIENCE, async {
            if creates {
                api.create(&PostParams::default(), &etcd(&name)).await.map(drop)
            } else {
                // Another value each time and never the built-in 30 s, so that each is a change for the webhook and of the
                // CronJob's specification, where it stands as it is written.
                let wait = format!("{}s", 1 + number % 29);
                let patch = json!({"metadata": {"annotations": {WAIT: wait}}});
                api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
            }
        })
        .await;
        let error = match answer {
            Ok(Ok(())) => None,
            Ok(Err(kube::Error::Api(status))) => Some(format!("{} {}", status.code, status.message)),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        let born = creates && error.is_none();
        lock(&self.calls).push(Call { sent, took: begun.elapsed(), creates, name: name.clone(), error });
        if born && let Some(gone) = self.born(name) {
            let _ = api.delete(&gone, &DeleteParams::background()).await;
        }
    }

    /// The StatefulSet whose turn it is.
    fn turn(&self) -> Option<String> {
        let mut fleet = lock(&self.fleet);
        fleet.turn += 1;
        let turn = fleet.turn;
        fleet.live.get(turn % fleet.live.len().max(1)).cloned()
    }

    /// Takes in a new one; returns one to delete.
    fn born(&self, name: String) -> Option<String> {
        let mut fleet = lock(&self.fleet);
        fleet.live.push_back(name);
        if fleet.live.len() > LIVE {
            let old = fleet.live.pop_front();
            fleet.retired.extend(old);
        }
        if fleet.retired.len() > RETIRED { fleet.retired.pop_front() } else { None }
    }
}

/// The example of the project, without pods: what is under test is what is said of it.
fn etcd(name: &str) -> StatefulSet {
    let mut object = harness::example_etcd(NAMESPACE, name, &[]);
    object["spec"]["replicas"] = json!(0);
    serde_json::from_value(object).unwrap()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
