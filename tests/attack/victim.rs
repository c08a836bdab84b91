//! Another tenant, who changes StatefulSets of a namespace of its own all the time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    runtime::Runtime,
    sync::Mutex,
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use harness::ControlPlane;

/// The tenant's namespace.
const NAMESPACE: &str = "victim";
/// How many StatefulSets it has: each is written every two seconds, since the API server makes a write again, admission included, that
/// meets another one of the same object. An odd number, so that each meets both kinds of writes.
const COUNT: usize = 41;
/// Between two writes: 20 in a second.
const PACE: Duration = Duration::from_millis(50);
/// How many writes may be under way.
const IN_FLIGHT: usize = 60;
/// How long a write may take: more than the two calls of 5 s that it can wait for.
const PATIENCE: Duration = Duration::from_secs(15);
/// So many writes in a row that take no longer than usual mean that all is as before.
const CALM: usize = 10;

/// Somebody with nothing but the right to StatefulSets of one namespace; returns the kubeconfig's client.
pub(crate) fn tenant(plane: &ControlPlane, runtime: &Runtime, namespace: &str) -> Client {
    let role = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant", "namespace": namespace}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
         "metadata": {"name": "tenant", "namespace": namespace},
         "rules": [{"apiGroups": ["apps"], "resources": ["statefulsets", "statefulsets/status"], "verbs": ["*"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
         "metadata": {"name": "tenant", "namespace": namespace},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant"},
         "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": namespace}]},
    ]});
    plane.apply(&role.to_string());
    let kubeconfig = plane.service_account_kubeconfig(namespace, "tenant");
    runtime.block_on(harness::client(&kubeconfig))
}

/// What it saw for a while.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) took: Vec<Duration>,
    pub(crate) refused: Vec<String>,
}

impl Seen {
    pub(crate) fn add(&mut self, more: Self) {
        self.took.extend(more.took);
        self.refused.extend(more.refused);
    }

    pub(crate) fn writes(&self) -> usize {
        self.took.len()
    }

    pub(crate) fn percentile(&self, share: usize) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

pub(crate) struct Victim {
    api: Api<StatefulSet>,
    turn: Arc<AtomicUsize>,
}

impl Victim {
    pub(crate) fn start(plane: &ControlPlane, runtime: &Runtime) -> Self {
        let client = tenant(plane, runtime, NAMESPACE);
        for number in 0..COUNT {
            let mut object = harness::example_etcd(NAMESPACE, &format!("etcd-{number}"), &[]);
            object["spec"]["replicas"] = json!(0);
            plane.apply(&object.to_string());
        }
        Self { api: Api::namespaced(client, NAMESPACE), turn: Arc::default() }
    }

    /// Every other write changes a key of ours, which is judged; the others what is none of our business.
    async fn write(api: &Api<StatefulSet>, turn: usize) -> Result<(), String> {
        let name = format!("etcd-{}", turn % COUNT);
        let value = 1 + turn % 29;
        let patch = if turn.is_multiple_of(2) {
            json!({"metadata": {"annotations": {"etcd-defrag.io/wait-between-members": format!("{value}s")}}})
        } else {
            json!({"spec": {"minReadySeconds": value}})
        };
        let written = timeout(PATIENCE, api.patch(&name, &PatchParams::default(), &Patch::Merge(patch))).await;
        match written {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    /// Writes for a while, however long each takes.
    pub(crate) async fn writes(&self, lasts: Duration) -> Seen {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut writes = JoinSet::new();
        let mut pace = interval(PACE);
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            pace.tick().await;
            while writes.try_join_next().is_some() {}
            if writes.len() >= IN_FLIGHT {
                continue;
            }
            let (api, seen, turn) = (self.api.clone(), Arc::clone(&seen), self.turn.fetch_add(1, Ordering::Relaxed));
            writes.spawn(async move {
                let begun = Instant::now();
                let outcome = Self::write(&api, turn).await;
                let mut seen = seen.lock().await;
                seen.took.push(begun.elapsed());
                seen.refused.extend(outcome.err());
            });
        }
        while writes.join_next().await.is_some() {}
        let seen = seen.lock().await;
        seen.clone()
    }

    /// How long it takes from now until writes take no longer than usual; one after another.
    pub(crate) async fn recovers(&self, usual: Duration) -> Duration {
        let begun = Instant::now();
        let mut calm = 0;
        let mut since = begun;
        while calm < CALM {
            let at = Instant::now();
            let outcome = Self::write(&self.api, self.turn.fetch_add(1, Ordering::Relaxed)).await;
            if outcome.is_ok() && at.elapsed() <= usual {
                calm += 1;
            } else {
                calm = 0;
                since = Instant::now();
            }
            assert!(begun.elapsed() < Duration::from_mins(2), "two minutes after an attack nothing is as before");
        }
        since.duration_since(begun)
    }
}
