//! What a process does from gaining the leadership to losing it. All state is of this time.

mod concern;
mod ended;
mod paused;
mod preflights;
mod requests;
mod retries;
mod starts;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt as _;
use kube::runtime::watcher::{self, Event as Watch};
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{
    Context, ObjectKey, Options,
    compliance::{
        Kind, Shown,
        follow::{News, follow},
        keep::clear,
    },
    metrics::etcd_metrics::Facts,
    object_state::{EtcdStatus, ObjectState},
    on_demand::OnDemand,
    pause,
    policies::{
        policy_snapshot::Batch,
        status::{self, StatusWriter},
    },
    preflight::Preflights,
    queue::{LONGEST_PAUSE_REFUSED, Next, Queue},
    reconcile::{Done, look, observe::Task},
    retry::Retries,
    runs::{Runs, starts::Starts},
    watch::{
        cache::Cache,
        kept::{KeptCronJob, KeptStatefulSet},
        watches::{self, Watched, Watches},
    },
};
use crate::{
    defrag::{
        cronjob::{self, live::Live, ownership::statefulset_of},
        etcd,
        keys::ENABLED,
        policy::{EnrollmentMode, PolicySnapshot},
        statefulset::StatefulSet,
    },
    runtime::{leadership::Leadership, packed::Texts},
};

/// How long looks under way may take to end at a shutdown.
const GRACE: Duration = Duration::from_secs(5);

/// A policy snapshot is followed when it has not changed for this long: somebody who rolls a policy out in steps, or a script that
/// changes it many times a second, is waited for, and each CronJob is written once.
const SETTLED: Duration = Duration::from_millis(300);
/// So long is waited at most.
const UNSETTLED_AT_MOST: Duration = Duration::from_secs(10);

/// Why leading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Shutdown,
    LeadershipLost,
}

pub(super) struct Leading {
    context: Arc<Context>,
    concurrency: usize,
    namespace: Option<String>,
    /// The newest policy snapshot; a change waits here until it has settled.
    snapshots: watch::Receiver<Arc<PolicySnapshot>>,
    unsettled: Option<Batch>,
    /// The policy snapshot that the looks follow.
    snapshot: Arc<PolicySnapshot>,
    /// The watch of StatefulSets, and whether it is of all.
    watch: Watches,
    watches_all: bool,
    statefulsets: Cache<KeptStatefulSet>,
    cronjobs: Cache<KeptCronJob>,
    /// What those of a fleet have in common.
    texts: Texts,
    states: HashMap<ObjectKey, ObjectState>,
    queue: Queue,
    looks: JoinSet<Done>,
    /// Whom each look is at, should it panic.
    looked_at: HashMap<Id, ObjectKey>,
    runs: Runs,
    /// Jobs that have not started yet.
    starts: Starts,
    preflights: Preflights,
    retries: Retries,
    /// Preflights whose Jobs have ended and that the caches do not know yet: StatefulSet, Job, its uid, how.
    ended_preflights: Vec<(ObjectKey, String, String, Result<(), String>)>,
    /// Events and deletions that nothing waits for but the end.
    background: JoinSet<()>,
    statuses: StatusWriter,
    /// The kind of report that is installed, and ours of it.
    compliance: Option<(Kind, Cache<Shown>)>,
    on_demand: OnDemand,
    /// What is known of a pause of the fleet.
    pause: pause::Told,
    own_namespace: String,
}

impl Leading {
    pub(super) fn new(
        context: Arc<Context>,
        options: &Options,
        mut snapshots: watch::Receiver<Arc<PolicySnapshot>>,
    ) -> Self {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let watches_all = enrols_all(&snapshot);
        Self {
            watch: watches::of_statefulsets(&context.client, options.namespace.as_deref(), watches_all),
            watches_all,
            context,
            concurrency: options.concurrency.max(1),
            namespace: options.namespace.clone(),
            snapshots,
            unsettled: None,
            snapshot,
            statefulsets: Cache::default(),
            cronjobs: Cache::default(),
            texts: Texts::default(),
            states: HashMap::new(),
            queue: Queue::default(),
            looks: JoinSet::new(),
            looked_at: HashMap::new(),
            runs: Runs::default(),
            starts: Starts::default(),
            preflights: Preflights::default(),
            retries: Retries::default(),
            ended_preflights: Vec::new(),
            background: JoinSet::new(),
            statuses: StatusWriter::default(),
            compliance: None,
            on_demand: OnDemand::default(),
            pause: pause::Told::default(),
            own_namespace: options.own_namespace.clone(),
        }
    }

    pub(super) async fn run(mut self, leadership: &mut Leadership, shutdown: &CancellationToken) -> End {
        let mut runs = watches::of_runs(&self.context.client, self.namespace.as_deref());
        let mut pause = pause::watch(&self.context.client, &self.own_namespace);
        let mut compliance = follow(&self.context.client, self.namespace.as_deref());
        let mut snapshot_may_change = true;
        self.statuses.touch(Instant::now());
        self.on_demand.follow(&self.snapshot, Instant::now());
        loop {
            self.start_looks();
            let status_due = self.statuses.due().filter(|_| self.ready());
            let settles = self.unsettled.as_ref().map(Batch::due);
            let asks = self.on_demand.due().filter(|_| self.ready() && !self.retries.is_busy());
            let retries = self.retries.due().filter(|_| self.ready());
            let starts = self.starts.due().filter(|_| self.ready());
            let preflights = self.preflights.due().filter(|_| self.ready());
            let due = self.queue.due().filter(|_| self.ready() && self.looks.len() < self.concurrency);
            tokio::select! {
                // Dropping the looks ends them in the middle; none of them writes any more anyway.
                () = leadership.lost() => return End::LeadershipLost,
                () = shutdown.cancelled() => {
                    self.drain().await;
                    return End::Shutdown;
                }
                Some(event) = self.watch.next() => self.take(event),
                Some(event) = runs.next() => self.take(event),
                Some(event) = pause.next() => self.take_pause(event),
                Some(news) = compliance.next() => self.take_compliance(news),
                Some(done) = self.looks.join_next_with_id(), if !self.looks.is_empty() => self.finished(done),
                Some(_) = self.background.join_next(), if !self.background.is_empty() => {}
                changed = self.snapshots.changed(), if snapshot_may_change => {
                    snapshot_may_change = changed.is_ok();
                    self.changed();
                }
                () = until(status_due), if status_due.is_some() => self.write_statuses(),
                () = self.statuses.ended(), if self.statuses.is_writing() => {}
                () = until(asks), if asks.is_some() => self.ask_prometheus(),
                passed = self.on_demand.ended(&self.context), if self.on_demand.is_asking() => self.passed(passed),
                () = until(settles), if settles.is_some() => self.settle(),
                () = until(starts), if starts.is_some() => self.look_at_starts(),
                seen = self.starts.ended(), if self.starts.is_looking() => if let Some((one, found)) = seen {
                    self.not_started(&one, found);
                },
                () = until(preflights), if preflights.is_some() => self.begin_preflights(),
                () = self.preflights.ended(), if self.preflights.is_busy() => {}
                () = until(retries), if retries.is_some() => self.start_retries(),
                tried = self.retries.ended(), if self.retries.is_busy() => self.tried(tried),
                () = until(due), if due.is_some() => {}
            }
        }
    }

    /// Takes note of a new policy snapshot. New labels of namespaces are gone by at once: what is made there has to wait for them.
    fn changed(&mut self) {
        let same = self.snapshots.borrow_and_update().policies().is_same(self.snapshot.policies());
        if same && self.unsettled.is_none() {
            self.settle();
        } else {
            self.unsettled = Some(Batch::with(Instant::now(), self.unsettled, SETTLED, UNSETTLED_AT_MOST));
        }
    }

    /// Follows the newest policy snapshot from now on, and looks at each StatefulSet that is governed in another way.
    fn settle(&mut self) {
        self.unsettled = None;
        let now = Arc::clone(&self.snapshots.borrow_and_update());
        let before = std::mem::replace(&mut self.snapshot, now);
        self.statuses.touch(Instant::now());
        self.on_demand.follow(&self.snapshot, Instant::now());
        self.govern_anew(&before);
        let all = enrols_all(&self.snapshot);
        if all != self.watches_all {
            self.watches_all = all;
            self.watch = watches::of_statefulsets(&self.context.client, self.namespace.as_deref(), all);
        }
    }

    /// Writes what policies come to, once the looks that it counts have ended.
    fn write_statuses(&mut self) {
        let now = Instant::now();
        let busy = self.unsettled.is_some() || !self.queue.is_idle() || !self.looks.is_empty();
        if busy && self.statuses.postpone(now) {
            return;
        }
        let enrolled = self.statefulsets.iter().filter_map(|(key, object)| {
            let last_look = self.states.get(key)?.last_look.as_ref()?;
            Some((key, object.labels(), last_look))
        });
        let mut tallies = status::tally(&self.snapshot, enrolled);
        for policy in self.snapshot.policies().iter() {
            let source = policy.policy.metrics.as_ref().map(|metrics| &metrics.source);
            if let Some(reach) = source.and_then(|source| self.on_demand.reach(source)) {
                tallies.entry(policy.name.clone()).or_default().prometheus = Some(reach.clone());
            }
        }
        self.statuses.start(Arc::clone(&self.context), &self.snapshot, tallies);
    }

    /// Whether the caches are complete; before that, absence means nothing.
    fn ready(&self) -> bool {
        self.statefulsets.ready() && self.cronjobs.ready() && self.pause.known()
    }

    fn start_looks(&mut self) {
        if !self.ready() {
            return;
        }
        for job in self.runs.unpublished((self.context.clock)()) {
            self.publish_end(&job);
        }
        self.conclude_ended();
        while self.looks.len() < self.concurrency
            && let Some(key) = self.queue.next(Instant::now())
        {
            let task = self.task(key.clone());
            let id = self.looks.spawn(look(Arc::clone(&self.context), task)).id();
            self.looked_at.insert(id, key);
        }
    }

    /// A StatefulSet as the watch last saw it.
    fn statefulset(&self, key: &ObjectKey) -> Option<Arc<StatefulSet>> {
        self.statefulsets.get(key)?.object()
    }

    fn task(&mut self, key: ObjectKey) -> Task {
        let statefulset = self.statefulset(&key);
        Task {
            cronjobs: self.concerning(&key, statefulset.as_deref()),
            reports: self.reports_of(&key, statefulset.as_deref()),
            statefulset,
            runs: self.runs.ended(self.runs_of(&key).as_ref()).copied().collect(),
            snapshot: Arc::clone(&self.snapshot),
            state: self.states.get(&key).cloned().unwrap_or_default(),
            key,
        }
    }

    fn take_compliance(&mut self, news: News) {
        let event = match news {
            News::Found { kind, other } => {
                self.compliance = Some((kind, Cache::default()));
                if let Some(other) = other {
                    let (context, namespace) = (Arc::clone(&self.context), self.namespace.clone());
                    self.background.spawn(async move {
                        if let Err(error) = clear(&context, other, namespace.as_deref()).await {
                            warn!(%error, "could not delete the reports of a kind that is no longer used");
                        }
                    });
                }
                return;
            }
            News::Lost => return self.compliance = None,
            News::Report(event) => match *event {
                Err(error) => return warn!(%error, "the watch of reports was interrupted and continues"),
                Ok(event) => event,
            },
        };
        let Some((_, cache)) = &mut self.compliance else { return };
        let was_ready = cache.ready();
        let changes = cache.take(event, |object| Some(Shown::of(&object)));
        if !was_ready {
            // Until then no report was written, so each has to be looked at.
            if cache.ready() {
                self.statefulsets.iter().for_each(|(key, _)| self.queue.add(key));
                for (report, shown) in cache.iter() {
                    self.queue.add(&ObjectKey::new(&report.namespace, &shown.statefulset));
                }
            }
            return;
        }
        for change in changes {
            for shown in [change.old, change.new].into_iter().flatten() {
                self.queue.add(&ObjectKey::new(&change.key.namespace, &shown.statefulset));
            }
        }
    }

    fn finished(&mut self, done: Result<(Id, Done), JoinError>) {
        match done {
            Ok((id, done)) => {
                self.looked_at.remove(&id);
                // It may have gone while it was looked at.
                let state = self.statefulsets.get(&done.key).map(|_| done.state);
                let known = self.states.remove(&done.key);
                let status = |state: &Option<ObjectState>| state.as_ref().map_or(EtcdStatus::None, |one| one.status);
                self.count(status(&known), status(&state));
                let last_look = |state: &Option<ObjectState>| state.as_ref().and_then(|one| one.last_look.clone());
                if last_look(&known) != last_look(&state) {
                    self.statuses.touch(Instant::now());
                }
                self.states.extend(state.map(|state| (done.key.clone(), state)));
                self.queue.finished(&done.key, Instant::now(), done.next);
                self.preflights.touch(Instant::now());
                self.tell(&done.key);
            }
            Err(failure) => {
                if let Some(key) = self.looked_at.remove(&failure.id()) {
                    error!(statefulset = %key, error = %failure, "a check ended unexpectedly; this is a bug");
                    self.queue.finished(&key, Instant::now(), Next::Retry(LONGEST_PAUSE_REFUSED));
                }
            }
        }
    }

    /// Updates the metrics of a StatefulSet, or removes those of one that is not enrolled.
    fn tell(&self, key: &ObjectKey) {
        let state = self.states.get(key).filter(|state| state.status != EtcdStatus::None);
        let facts = state
            .map(|state| Facts::of(state, self.cronjob_of(key).as_ref(), self.runs.ended(self.runs_of(key).as_ref())));
        self.context.metrics.etcds.set(key, facts);
    }

    fn count(&self, before: EtcdStatus, after: EtcdStatus) {
        let metrics = &self.context.metrics;
        for (status, step) in [(before, -1), (after, 1)] {
            if status != EtcdStatus::None {
                metrics.enrolled.inc_by(step);
            }
            match status {
                EtcdStatus::Refused => metrics.refused.inc_by(step),
                EtcdStatus::Foreign => metrics.foreign.inc_by(step),
                EtcdStatus::None | EtcdStatus::Sound => 0,
            };
        }
    }

    /// Lets the looks under way end, so that none is cut off between two writes.
    async fn drain(&mut self) {
        let ended = timeout(GRACE, async {
            while self.looks.join_next().await.is_some() {}
            while self.background.join_next().await.is_some() {}
            self.preflights.drain().await;
            self.retries.drain().await;
        });
        if ended.await.is_err() {
            debug!("not all work in progress ended in time");
        }
    }

    fn take(&mut self, event: Result<Watched, watcher::Error>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => return warn!(%error, "a watch was interrupted and continues"),
        };
        match event {
            Watched::StatefulSet(event) => {
                if let Watch::Apply(object) = &event {
                    self.preflights.changed(&ObjectKey::of(&object.metadata), Instant::now());
                }
                for change in self.statefulsets.take(event, |object| of_concern(object, &mut self.texts)) {
                    let [old, new] =
                        [&change.old, &change.new].map(|object| object.as_ref().map(KeptStatefulSet::labels));
                    if old != new {
                        // Another policy may count it now, which comes to the same assessment.
                        self.statuses.touch(Instant::now());
                    }
                    self.queue.add(&change.key);
                }
            }
            Watched::CronJob(event) => {
                let ran = match event.as_ref() {
                    Watch::Apply(cronjob) | Watch::InitApply(cronjob) => statefulset_of(&cronjob.metadata)
                        .map(|name| ObjectKey::new(cronjob.metadata.namespace.as_deref().unwrap_or_default(), name)),
                    Watch::Delete(_) | Watch::Init | Watch::InitDone => None,
                };
                let listed = matches!(*event, Watch::InitDone);
                let kept = |cronjob| Some(KeptCronJob::of(&Live::of(cronjob)?, &mut self.texts));
                for change in self.cronjobs.take(*event, kept) {
                    self.concerned(&change);
                }
                if listed {
                    self.miss();
                }
                if let Some(key) = ran {
                    self.tell(&key);
                    self.note_retry(&key);
                }
            }
            Watched::Job(event) => {
                self.take_start(&event);
                self.take_preflight(&event);
                if let Some(key) = self.runs.take(event) {
                    self.ran(&key);
                }
            }
        }
    }

    /// Requests a reconciliation of each StatefulSet whose CronJob is not in a list: no watch reports one that was
    /// created and deleted between two lists.
    fn miss(&mut self) {
        for (key, _) in self.states.iter().filter(|(_, state)| state.in_place.is_some()) {
            if self.cronjobs.get(&ObjectKey::new(&key.namespace, &cronjob::name(&key.name))).is_none() {
                self.queue.add(key);
            }
        }
    }
}

/// Whether some policy enrols StatefulSets that carry no label.
fn enrols_all(snapshot: &PolicySnapshot) -> bool {
    snapshot.policies().iter().any(|policy| policy.policy.enrollment == EnrollmentMode::All)
}

/// The part of a StatefulSet that is kept, where it has our label or could be enrolled without.
fn of_concern(object: StatefulSet, texts: &mut Texts) -> Option<KeptStatefulSet> {
    // What runs is read when it is assessed, where that delays nobody.
    if object.label(ENABLED).is_none() && !etcd::mentions_etcd(&object) {
        return None;
    }
    Some(KeptStatefulSet::of(object, texts))
}

/// Waits for a time, or for ever.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
