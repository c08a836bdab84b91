//! Which kind of report is installed, and a watch of our own reports.
//!
//! If none is installed, the leader lists the API groups once a minute, and reads no report at all.

use std::time::Duration;

use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Client,
    api::Api,
    core::DynamicObject,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Config, Event, watcher},
    },
};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::Kind;
use crate::{
    defrag::cronjob::{MANAGED_BY, MANAGER},
    runtime::{
        api_error,
        watch::{WATCH_SECONDS, pauses},
    },
};

/// How often it is asked which kinds are installed, where there is none or a better one may come.
const AGAIN: Duration = Duration::from_mins(1);

/// What there is to know.
pub(crate) enum News {
    /// Reports are of this kind from now on; ours of the other kind, where that is installed too, are to go.
    Found { kind: Kind, other: Option<Kind> },
    /// No kind is installed any more, or we may not use it.
    Lost,
    /// A change of our reports, or an interruption.
    Report(Box<watcher::Result<Event<DynamicObject>>>),
}

type Reports = BoxStream<'static, watcher::Result<Event<DynamicObject>>>;

struct Follow {
    client: Client,
    namespace: Option<String>,
    /// The kind that is watched.
    watched: Option<(Kind, Reports)>,
    /// When to ask what is installed.
    ask: Option<Instant>,
    /// The last answer that was logged: the same one is not logged every minute.
    told: Option<u16>,
}

/// News of reports, without end.
pub(crate) fn follow(client: &Client, namespace: Option<&str>) -> BoxStream<'static, News> {
    let follow = Follow {
        client: client.clone(),
        namespace: namespace.map(str::to_owned),
        watched: None,
        ask: Some(Instant::now()),
        told: None,
    };
    futures::stream::unfold(follow, |mut follow| async { Some((follow.next().await, follow)) }).boxed()
}

impl Follow {
    async fn next(&mut self) -> News {
        loop {
            let ask = self.ask;
            let watched = &mut self.watched;
            tokio::select! {
                () = until(ask), if ask.is_some() => {
                    if let Some(news) = self.look().await {
                        return news;
                    }
                }
                Some(event) = async { watched.as_mut()?.1.next().await }, if watched.is_some() => {
                    match event.as_ref().err().and_then(refusal) {
                        Some(code) => {
                            self.lost(code);
                            return News::Lost;
                        }
                        None => return News::Report(Box::new(event)),
                    }
                }
            }
        }
    }

    /// Asks what is installed; says so where that is not what is watched.
    async fn look(&mut self) -> Option<News> {
        let installed = match installed(&self.client).await {
            Ok(installed) => installed,
            Err(error) => {
                warn!(
                    error = api_error::describe(&error),
                    "could not find out which kinds of report are installed; this is retried"
                );
                self.ask = Some(Instant::now() + AGAIN);
                return None;
            }
        };
        let watched = self.watched.as_ref().map(|(kind, _)| *kind);
        let best = installed.first().copied();
        // The best kind cannot be bettered, and that it goes is seen by its watch.
        self.ask = (best != Some(Kind::OpenReports)).then(|| Instant::now() + AGAIN);
        let kind = best.filter(|_| best != watched)?;
        let resource = kind.resource();
        let api: Api<DynamicObject> = match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        let ours = Config::default().timeout(WATCH_SECONDS).labels(&format!("{MANAGED_BY}={MANAGER}"));
        self.watched = Some((kind, watcher(api, ours).backoff(pauses()).boxed()));
        if self.told.is_none() {
            info!(kind = resource.kind, api = resource.api_version, "compliance is reported");
        }
        Some(News::Found { kind, other: installed.get(1).copied() })
    }

    fn lost(&mut self, code: u16) {
        if self.told.replace(code) != Some(code) {
            let why = if code == 403 { "reports may not be read" } else { "the kind of report is no longer installed" };
            info!("compliance is not reported: {why}");
        }
        self.watched = None;
        self.ask = Some(Instant::now() + AGAIN);
    }
}

/// The kinds of report that the API server serves, the one to prefer first.
async fn installed(client: &Client) -> kube::Result<Vec<Kind>> {
    let groups = client.list_api_groups().await?.groups;
    let mut installed = Vec::new();
    for kind in Kind::ALL {
        let resource = kind.resource();
        let served = |version: &str| version == resource.api_version;
        if groups.iter().flat_map(|group| &group.versions).any(|version| served(&version.group_version)) {
            let resources = client.list_api_group_resources(&resource.api_version).await?.resources;
            if resources.iter().any(|one| one.name == resource.plural) {
                installed.push(kind);
            }
        }
    }
    Ok(installed)
}

/// The answer of an API server that does not know the kind, or does not let us at it.
fn refusal(error: &watcher::Error) -> Option<u16> {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return None;
    };
    [403, 404, 405].contains(&status.code).then_some(status.code)
}

async fn until(time: Option<Instant>) {
    if let Some(time) = time {
        sleep_until(time).await;
    }
}
