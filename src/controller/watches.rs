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

use tokio::time::Instant;

use super::seen::Job;
use crate::defrag::{
    cronjob::{MANAGED_BY, MANAGER},
    keys::ENABLED,
    statefulset::StatefulSet,
};

/// How long one watch request lasts, in seconds. A connection that died without a word is noticed after that.
pub(crate) const WATCH_SECONDS: u32 = 120;

/// Watches as a stream that never ends.
pub(super) type Watches = BoxStream<'static, Result<Watched, watcher::Error>>;

/// An event of one of the watches.
pub(super) enum Watched {
    StatefulSet(Event<StatefulSet>),
    CronJob(Box<Event<CronJob>>),
    Job(Event<Job>),
}

/// The watches of CronJobs and Jobs as one stream. It never ends: after errors (a restart of the API server, 410 Gone) it
/// goes on.
///
/// Jobs are selected by label on the server. CronJobs are not: a foreign one that takes or frees a name, one of ours whose
/// label was removed, and a rival have no label of ours.
pub(super) fn of_runs(client: &Client, namespace: Option<&str>) -> Watches {
    let config = Config::default().timeout(WATCH_SECONDS);
    let cronjobs = watcher(api::<CronJob>(client, namespace), config.clone());
    let jobs = watcher(api::<Job>(client, namespace), config.labels(&format!("{MANAGED_BY}={MANAGER}")));
    futures::stream::select(
        cronjobs.backoff(Pause::default()).map(|event| event.map(|event| Watched::CronJob(Box::new(event)))),
        jobs.backoff(Pause::default()).map(|event| event.map(Watched::Job)),
    )
    .boxed()
}

/// The watch of StatefulSets: those with our label, or `all` of them where a policy enrols by what a pod template runs.
pub(super) fn of_statefulsets(client: &Client, namespace: Option<&str>, all: bool) -> Watches {
    let config = Config::default().timeout(WATCH_SECONDS);
    let config = if all { config } else { config.labels(ENABLED) };
    let statefulsets = watcher(api::<StatefulSet>(client, namespace), config);
    statefulsets.backoff(Pause::default()).map(|event| event.map(Watched::StatefulSet)).boxed()
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

/// The pause of a watch after errors in a row: short, because repairs are promised within a second, and there are a few
/// watches only. An error that comes a while after the last pause starts over; a watch that is asked for again says so before
/// it has an answer, so that does not.
#[derive(Debug)]
pub(crate) struct Pause {
    next: Duration,
    calm: Option<Instant>,
}

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(2);
/// Without an error for this long after a pause, all is well.
const CALM: Duration = Duration::from_secs(2);

impl Default for Pause {
    fn default() -> Self {
        Self { next: FIRST, calm: None }
    }
}

impl Pause {
    fn at(&mut self, now: Instant) -> Duration {
        let pause = if self.calm.is_some_and(|calm| now >= calm) { FIRST } else { self.next };
        self.next = (pause * 2).min(LONGEST);
        self.calm = Some(now + pause + CALM);
        pause
    }
}

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.at(Instant::now()))
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_seconds_and_start_over_after_a_calm() {
        let (mut pause, mut now) = (Pause::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pauses.push(pause.at(now));
            pause.reset();
            now += pauses[pauses.len() - 1] + Duration::from_millis(5);
        }
        assert_eq!(pauses[0], FIRST);
        assert_eq!(pauses[7], LONGEST);
        assert_eq!(pause.at(now + CALM), FIRST);
    }
}
