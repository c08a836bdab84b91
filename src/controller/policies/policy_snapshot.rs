//! What every replica knows of policies and namespaces: two watches that feed one snapshot.
//!
//! A burst of changes becomes one new snapshot. Where the `DefragPolicy` definition is not installed the built-in policy
//! governs, and the watch begins when it is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Client,
    api::{Api, PartialObjectMeta},
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Config, Event, watcher},
    },
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use crate::{
    controller::{
        ObjectKey,
        watch::cache::{Cache, Cached},
    },
    defrag::{
        policy::{self, Compiled, DefragPolicy, Labels, PolicySet, PolicySnapshot},
        text::counted,
    },
    runtime::{
        backoff,
        watch::{WATCH_SECONDS, pauses, why},
    },
};

/// A snapshot follows when nothing has changed for this long …
const QUIET: Duration = Duration::from_millis(100);
/// … and at the latest this long after the first change.
const LATEST: Duration = Duration::from_secs(1);
/// When a definition that is not installed is asked for again; the pause doubles each time …
const MISSING_AGAIN: Duration = Duration::from_secs(5);
/// … up to this.
const MISSING_AGAIN_AT_MOST: Duration = Duration::from_secs(15);
/// So many times in a row the API server has to say that the kind is unknown before policies that were known are
/// forgotten.
const MISSING_FOR_SURE: u32 = 3;

/// The snapshot of policies and namespaces, and whether it is complete.
#[derive(Clone, Debug)]
pub struct PolicySnapshots {
    snapshots: watch::Receiver<Arc<PolicySnapshot>>,
    completeness: watch::Receiver<Completeness>,
}

/// How complete the snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Completeness {
    /// Not yet, for a reason that is a part of a sentence.
    Waiting(String),
    /// Complete.
    Synced,
    /// Complete: the definition is not installed, so there is no policy.
    Absent,
}

impl PolicySnapshots {
    /// Watches policies and namespaces until every receiver is gone. The namespaces in `exempt` are excluded.
    #[must_use]
    pub fn follow(client: Client, exempt: BTreeSet<String>) -> Self {
        let exempt = Arc::new(exempt);
        let first = PolicySnapshot::default().with_exempt(Arc::clone(&exempt));
        let (snapshot, snapshots) = watch::channel(Arc::new(first));
        let (sender, completeness) = watch::channel(Completeness::Waiting("they have not been listed yet".to_owned()));
        let builder = SnapshotBuilder { exempt, ..SnapshotBuilder::default() };
        tokio::spawn(run(client, builder, snapshot, sender));
        Self { snapshots, completeness }
    }

    /// The channel of snapshots. Before [`Self::synced`] it holds one without any policy.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<PolicySnapshot>> {
        self.snapshots.clone()
    }

    /// Waits until the snapshot is complete.
    pub async fn synced(&mut self) {
        // An error says that the watches have ended, as they do at the end of the process only.
        let _ = self.completeness.wait_for(|now| !matches!(now, Completeness::Waiting(_))).await;
    }

    /// The condition of readiness.
    ///
    /// # Errors
    /// Why the snapshot is not complete.
    pub fn check(&self) -> Result<String, String> {
        match &*self.completeness.borrow() {
            Completeness::Synced => Ok(counted(self.snapshots.borrow().policies().len(), "policy")),
            Completeness::Absent => Ok("DefragPolicy is not installed, so the built-in policy governs".to_owned()),
            Completeness::Waiting(why) => Err(format!("policies and namespaces are not known yet: {why}")),
        }
    }
}

impl Cached for Arc<Compiled> {
    fn differs(&self, old: &Self) -> bool {
        !Arc::ptr_eq(self, old)
    }
}

impl Cached for Labels {
    fn differs(&self, old: &Self) -> bool {
        self != old
    }
}

async fn run(
    client: Client,
    mut builder: SnapshotBuilder,
    snapshot: watch::Sender<Arc<PolicySnapshot>>,
    completeness: watch::Sender<Completeness>,
) {
    let config = || Config::default().timeout(WATCH_SECONDS);
    // One policy that cannot be decoded must not keep the others from being seen.
    let follow = || {
        let policies = watcher(Api::<DeserializeGuard<DefragPolicy>>::all(client.clone()), config());
        policies.backoff(pauses()).boxed()
    };
    let mut policies = follow();
    let namespaces = watcher(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), config());
    let mut namespaces = namespaces.backoff(pauses()).boxed();
    let mut gathered = Gathered::since(Instant::now());
    let mut ask_again: Option<Instant> = None;
    loop {
        let due = gathered.due();
        tokio::select! {
            () = snapshot.closed() => return,
            Some(event) = policies.next(), if ask_again.is_none() => {
                let failed = event.is_err();
                if matches!(&event, Err(watcher::Error::WatchStartFailed(error)) if is_unknown(error)) {
                    // The kind is gone, and what became of its objects was told to nobody. The watcher would ask for the
                    // same watch for ever; a list tells.
                    policies = follow();
                }
                if builder.take_policy(event, &completeness) {
                    gathered.policy(Instant::now());
                }
                ask_again = (failed && builder.absent).then(|| Instant::now() + missing_again(builder.missing));
            }
            () = sleep_until(ask_again.unwrap_or_else(Instant::now)), if ask_again.is_some() => ask_again = None,
            Some(event) = namespaces.next() => if builder.take_namespace(event, &completeness) {
                gathered.namespace(Instant::now());
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                gathered = Gathered::since(Instant::now());
                snapshot.send_replace(Arc::new(builder.snapshot()));
            }
        }
        if let Some(current) = builder.completeness()
            && *completeness.borrow() != current
        {
            // The first snapshot waits for nothing: before it, nothing is assessed.
            if matches!(*completeness.borrow(), Completeness::Waiting(_)) {
                gathered = Gathered::since(Instant::now());
                snapshot.send_replace(Arc::new(builder.snapshot()));
            }
            completeness.send_replace(current);
        }
    }
}

/// The changes that the next snapshot has, and when it follows.
struct Gathered {
    /// When the last one was sent.
    sent: Instant,
    policies: Option<Batch>,
    /// Since when namespaces have changed.
    namespaces: Option<Instant>,
}

impl Gathered {
    /// Nothing, since a snapshot was sent just now.
    const fn since(sent: Instant) -> Self {
        Self { sent, policies: None, namespaces: None }
    }

    /// A policy changed. It is waited for further ones, since somebody may roll them out in steps.
    fn policy(&mut self, now: Instant) {
        self.policies = Some(Batch::at(now, self.policies));
    }

    /// A namespace changed. What is made in it waits for the snapshot, so that waits for nothing but the last one: of many namespaces that are
    /// made at once, each snapshot has those of [`QUIET`].
    fn namespace(&mut self, now: Instant) {
        self.namespaces.get_or_insert(now);
    }

    /// When the snapshot is to be sent; `None` where nothing changed.
    fn due(&self) -> Option<Instant> {
        let namespaces = self.namespaces.map(|since| since.max(self.sent + QUIET));
        self.policies.as_ref().map(Batch::due).into_iter().chain(namespaces).min()
    }
}

/// The pause after a definition was found missing so many times in a row.
fn missing_again(times: u32) -> Duration {
    backoff::pause(MISSING_AGAIN, MISSING_AGAIN_AT_MOST, times)
}

/// Changes that become one snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    first: Instant,
    last: Instant,
    quiet: Duration,
    latest: Duration,
}

impl Batch {
    /// One more change, of this moment.
    fn at(now: Instant, before: Option<Self>) -> Self {
        Self::with(now, before, QUIET, LATEST)
    }

    /// One more change: it waits for a time without another, but never longer than `latest` after the first.
    pub(crate) fn with(now: Instant, before: Option<Self>, quiet: Duration, latest: Duration) -> Self {
        Self { first: before.map_or(now, |before| before.first), last: now, quiet, latest }
    }

    /// When they are taken up.
    pub(crate) fn due(&self) -> Instant {
        (self.last + self.quiet).min(self.first + self.latest)
    }
}

/// What the watches have shown so far.
#[derive(Default)]
struct SnapshotBuilder {
    policies: Cache<Arc<Compiled>>,
    namespaces: Cache<Labels>,
    /// What was read of each policy, by name: the uid and generation, and the outcome. A policy is read once.
    compiled: HashMap<String, (Version, Arc<Compiled>)>,
    /// The labels of the last snapshot, while they hold.
    labels: Option<Arc<BTreeMap<String, Labels>>>,
    /// The excluded namespaces.
    exempt: Arc<BTreeSet<String>>,
    /// How often in a row the API server did not know the kind.
    missing: u32,
    absent: bool,
    /// Why what cannot be listed, as it was logged.
    logged: BTreeMap<&'static str, String>,
}

/// Whether the API server does not know the kind. By the code: a path without a kind is answered in plain text, without a
/// reason.
fn is_unknown(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// A uid and a generation.
type Version = (Option<String>, Option<i64>);

impl SnapshotBuilder {
    /// Takes in an event; whether it changed anything.
    fn take_policy(
        &mut self,
        event: watcher::Result<Event<DeserializeGuard<DefragPolicy>>>,
        completeness: &watch::Sender<Completeness>,
    ) -> bool {
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.policies_failed(&error, completeness),
        };
        // That a list begins was not said by the API server.
        if !matches!(event, Event::Init) {
            self.missing = 0;
        }
        if self.absent && matches!(event, Event::InitDone) {
            self.absent = false;
            info!("DefragPolicy is installed, and policies are watched from now on");
        }
        let compiled = &mut self.compiled;
        let changes = self.policies.take(event, |object| compile(compiled, object));
        for gone in changes.iter().filter(|change| change.new.is_none()) {
            self.compiled.remove(&gone.key.name);
        }
        !changes.is_empty()
    }

    fn policies_failed(&mut self, error: &watcher::Error, completeness: &watch::Sender<Completeness>) -> bool {
        if !matches!(error, watcher::Error::InitialListFailed(error) if is_unknown(error)) {
            interrupted("policies", error, completeness, &mut self.logged);
            return false;
        }
        self.missing = self.missing.saturating_add(1);
        if self.absent || (self.policies.iter().next().is_some() && self.missing < MISSING_FOR_SURE) {
            debug!("the API server does not know DefragPolicy");
            return false;
        }
        info!(
            "DefragPolicy is not installed: the built-in policy governs until it is (deploy/manifests has its definition)"
        );
        self.absent = true;
        let changed = self.policies.iter().next().is_some();
        self.policies = Cache::default();
        self.compiled.clear();
        changed
    }

    /// Takes in an event; whether it changed anything.
    fn take_namespace(
        &mut self,
        event: watcher::Result<Event<PartialObjectMeta<Namespace>>>,
        completeness: &watch::Sender<Completeness>,
    ) -> bool {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                interrupted("namespaces", &error, completeness, &mut self.logged);
                return false;
            }
        };
        let changed =
            !self.namespaces.take(event, |object| Some(object.metadata.labels.unwrap_or_default())).is_empty();
        if changed {
            self.labels = None;
        }
        changed
    }

    /// How complete it is, unless it is not.
    fn completeness(&self) -> Option<Completeness> {
        if !self.namespaces.ready() {
            return None;
        }
        if self.absent {
            return Some(Completeness::Absent);
        }
        self.policies.ready().then_some(Completeness::Synced)
    }

    fn snapshot(&mut self) -> PolicySnapshot {
        let namespaces = &self.namespaces;
        let labels = self.labels.get_or_insert_with(|| {
            Arc::new(namespaces.iter().map(|(key, labels)| (key.name.clone(), labels.clone())).collect())
        });
        let policies = self.policies.iter().map(|(_, policy)| Arc::clone(policy));
        PolicySnapshot::new(PolicySet::new(policies), Arc::clone(labels)).with_exempt(Arc::clone(&self.exempt))
    }
}

/// Reads a policy, or takes what was read of this generation before. One that cannot be decoded governs nothing.
fn compile(
    compiled: &mut HashMap<String, (Version, Arc<Compiled>)>,
    object: DeserializeGuard<DefragPolicy>,
) -> Option<Arc<Compiled>> {
    let object = match object.0 {
        Ok(object) => object,
        Err(invalid) => {
            let key = ObjectKey::of(&invalid.metadata);
            warn!(
                policy = key.name,
                error = invalid.error,
                "this DefragPolicy cannot be decoded and governs nothing; is its definition from another version?"
            );
            return None;
        }
    };
    let version: Version = (object.metadata.uid.clone(), object.metadata.generation);
    let name = object.metadata.name.clone().unwrap_or_default();
    if let Some((known, compiled)) = compiled.get(&name)
        && *known == version
    {
        return Some(Arc::clone(compiled));
    }
    let made = Arc::new(policy::compile(&object, Timestamp::now()));
    compiled.insert(name, (version, Arc::clone(&made)));
    Some(made)
}

/// Logs a watch that goes on by itself, and what readiness waits for. While that waits, each reason is `logged` once.
fn interrupted(
    what: &'static str,
    error: &watcher::Error,
    completeness: &watch::Sender<Completeness>,
    logged: &mut BTreeMap<&'static str, String>,
) {
    let reason = why(error);
    let waits = completeness.send_if_modified(|completeness| match completeness {
        Completeness::Waiting(why) => {
            *why = format!("{what} cannot be listed: {reason}");
            true
        }
        Completeness::Synced | Completeness::Absent => false,
    });
    if !waits {
        warn!(reason, "the watch of {what} was interrupted and continues");
    } else if logged.insert(what, reason.clone()).as_ref() != Some(&reason) {
        warn!(reason, "{what} cannot be listed, so nothing is reconciled yet; this is retried");
    }
}

#[cfg(test)]
mod tests;
