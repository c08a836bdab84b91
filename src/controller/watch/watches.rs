//! What is watched.

use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::{NamespaceResourceScope, api::batch::v1::CronJob};
use kube::{
    Client, Resource,
    api::Api,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Config, Event, watcher},
    },
};

use super::observed::Job;
use crate::{
    defrag::{
        cronjob::{MANAGED_BY, MANAGER},
        keys::ENABLED,
        statefulset::StatefulSet,
    },
    runtime::watch::{WATCH_SECONDS, pauses},
};

/// How many objects one answer to a list has. A page is decoded whole, and what it takes is seldom given back to the system.
const PAGE: u32 = 50;

/// Watches as a stream that never ends.
pub(crate) type Watches = BoxStream<'static, Result<Watched, watcher::Error>>;

/// An event of one of the watches.
pub(crate) enum Watched {
    StatefulSet(Event<StatefulSet>),
    CronJob(Box<Event<CronJob>>),
    Job(Event<Job>),
}

/// The watches of CronJobs and Jobs as one stream. It never ends: after errors (a restart of the API server, 410 Gone) it
/// goes on.
///
/// Jobs are selected by label on the server. CronJobs are not: a foreign one that takes or frees a name, one of ours whose
/// label was removed, and a rival have no label of ours.
pub(crate) fn of_runs(client: &Client, namespace: Option<&str>) -> Watches {
    let config = config();
    let cronjobs = watcher(api::<CronJob>(client, namespace), config.clone());
    let jobs = watcher(api::<Job>(client, namespace), config.labels(&format!("{MANAGED_BY}={MANAGER}")));
    futures::stream::select(
        cronjobs.backoff(pauses()).map(|event| event.map(|event| Watched::CronJob(Box::new(event)))),
        jobs.backoff(pauses()).map(|event| event.map(Watched::Job)),
    )
    .boxed()
}

/// The watch of StatefulSets: those with our label, or `all` of them where a policy enrols by what a pod template runs.
pub(crate) fn of_statefulsets(client: &Client, namespace: Option<&str>, all: bool) -> Watches {
    let config = if all { config() } else { config().labels(ENABLED) };
    let statefulsets = watcher(api::<StatefulSet>(client, namespace), config);
    statefulsets.backoff(pauses()).map(|event| event.map(Watched::StatefulSet)).boxed()
}

fn config() -> Config {
    Config::default().timeout(WATCH_SECONDS).page_size(PAGE)
}

fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(
    client: &Client,
    namespace: Option<&str>,
) -> Api<K> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}
