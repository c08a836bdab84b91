//! What is watched.

use std::time::Duration;

use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::{NamespaceResourceScope, api::batch::v1::CronJob};
use kube::{
    Client, Resource,
    api::Api,
    runtime::{
        WatchStreamExt as _,
        utils::Backoff,
        watcher::{self, Config, Event, watcher},
    },
};

use super::seen::Job;
use crate::defrag::{
    cronjob::{MANAGED_BY, MANAGER},
    keys::ENABLED,
    statefulset::StatefulSet,
};

/// How long one watch request lasts, in seconds. A connection that died without a word is noticed after that.
pub(super) const WATCH_SECONDS: u32 = 120;

/// An event of one of the watches.
pub(super) enum Watched {
    StatefulSet(Event<StatefulSet>),
    CronJob(Box<Event<CronJob>>),
    Job(Event<Job>),
}

/// All watches as one stream. It never ends: after errors (a restart of the API server, 410 Gone) it goes on.
///
/// StatefulSets and Jobs are selected by label on the server. CronJobs are not: a foreign one that takes or frees a name,
/// one of ours whose label was removed, and a rival have no label of ours.
pub(super) fn all(client: &Client, namespace: Option<&str>) -> BoxStream<'static, Result<Watched, watcher::Error>> {
    let labelled = |selector: &str| Config::default().timeout(WATCH_SECONDS).labels(selector);
    let statefulsets = watcher(api::<StatefulSet>(client, namespace), labelled(ENABLED));
    let cronjobs = watcher(api::<CronJob>(client, namespace), Config::default().timeout(WATCH_SECONDS));
    let jobs = watcher(api::<Job>(client, namespace), labelled(&format!("{MANAGED_BY}={MANAGER}")));
    futures::stream::select_all([
        statefulsets.backoff(Pause::default()).map(|event| event.map(Watched::StatefulSet)).boxed(),
        cronjobs.backoff(Pause::default()).map(|event| event.map(|event| Watched::CronJob(Box::new(event)))).boxed(),
        jobs.backoff(Pause::default()).map(|event| event.map(Watched::Job)).boxed(),
    ])
    .boxed()
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

/// The pause of a watch after errors in a row: short, because repairs are promised within a second, and there are three
/// watches only.
#[derive(Debug)]
pub(super) struct Pause {
    next: Duration,
    longest: Duration,
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);

impl Default for Pause {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Pause {
    /// Pauses that grow to this.
    pub(super) const fn up_to(longest: Duration) -> Self {
        Self { next: FIRST, longest }
    }
}

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        Some(pause)
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_seconds_and_start_over() {
        let mut pause = Pause::default();
        let pauses: Vec<_> = pause.by_ref().take(8).collect();
        assert_eq!(pauses[0], FIRST);
        assert_eq!(pauses[7], LONGEST);
        pause.reset();
        assert_eq!(pause.next(), Some(FIRST));
    }
}
