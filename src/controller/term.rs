//! One term of office: from gaining the leadership to losing it. All state is of this term.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::runtime::watcher::Event as Watch;
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, error, warn};

use super::{
    Context, ObjectKey, Options,
    cache::{Cache, Change},
    last_words,
    memory::{Memory, Standing},
    ownership::statefulset_of,
    queue::{LONGEST_PAUSE_REFUSED, Next, Queue},
    reconcile::{Done, Task, look},
    report::{self, Event},
    seen::{Job, Seen, slim},
    stopped,
    watches::{self, Watched},
};
use crate::{
    defrag::{
        cronjob::{self, STATEFULSET},
        policy::Policy,
        statefulset::StatefulSet,
    },
    runtime::leadership::Leadership,
};

/// How long looks under way may take to end at a shutdown.
const GRACE: Duration = Duration::from_secs(5);
/// Runs that failed longer ago than this were reported by an earlier process.
const OLD_NEWS: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Shutdown,
    LeadershipLost,
}

pub(super) struct Term {
    context: Arc<Context>,
    concurrency: usize,
    namespace: Option<String>,
    policy: watch::Receiver<Arc<Policy>>,
    statefulsets: Cache<Arc<StatefulSet>>,
    cronjobs: Cache<Seen>,
    memories: HashMap<ObjectKey, Memory>,
    queue: Queue,
    looks: JoinSet<Done>,
    /// Whom each look is at, should it panic.
    looked_at: HashMap<Id, ObjectKey>,
    /// The failed Jobs that were reported, by uid.
    failures: HashSet<String>,
    /// Failed Jobs whose StatefulSets are not known yet.
    unreported: Vec<Job>,
    reports: JoinSet<()>,
}

impl Term {
    pub(super) fn new(context: Arc<Context>, options: &Options, policy: watch::Receiver<Arc<Policy>>) -> Self {
        Self {
            context,
            concurrency: options.concurrency.max(1),
            namespace: options.namespace.clone(),
            policy,
            statefulsets: Cache::default(),
            cronjobs: Cache::default(),
            memories: HashMap::new(),
            queue: Queue::default(),
            looks: JoinSet::new(),
            looked_at: HashMap::new(),
            failures: HashSet::new(),
            unreported: Vec::new(),
            reports: JoinSet::new(),
        }
    }

    pub(super) async fn run(mut self, leadership: &mut Leadership, shutdown: &mut watch::Receiver<bool>) -> End {
        let mut watches = watches::all(&self.context.client, self.namespace.as_deref());
        let mut policy_may_change = true;
        loop {
            self.start_looks();
            let due = self.queue.due().filter(|_| self.ready() && self.looks.len() < self.concurrency);
            tokio::select! {
                // Dropping the looks ends them in the middle; none of them writes any more anyway.
                () = leadership.lost() => return End::LeadershipLost,
                () = stopped(shutdown) => {
                    self.drain().await;
                    return End::Shutdown;
                }
                Some(event) = watches.next() => match event {
                    Ok(event) => self.take(event),
                    Err(error) => warn!(%error, "a watch was interrupted and goes on"),
                },
                Some(done) = self.looks.join_next_with_id(), if !self.looks.is_empty() => self.finished(done),
                Some(_) = self.reports.join_next(), if !self.reports.is_empty() => {}
                changed = self.policy.changed(), if policy_may_change => {
                    policy_may_change = changed.is_ok();
                    for key in self.statefulsets.keys() {
                        self.queue.add(key);
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    /// Whether the caches are complete; before that, absence means nothing.
    fn ready(&self) -> bool {
        self.statefulsets.ready() && self.cronjobs.ready()
    }

    fn start_looks(&mut self) {
        if !self.ready() {
            return;
        }
        for job in std::mem::take(&mut self.unreported) {
            self.report_failure(&job);
        }
        while self.looks.len() < self.concurrency
            && let Some(key) = self.queue.next(Instant::now())
        {
            let task = self.task(key.clone());
            let id = self.looks.spawn(look(Arc::clone(&self.context), task)).id();
            self.looked_at.insert(id, key);
        }
    }

    fn task(&mut self, key: ObjectKey) -> Task {
        let expected = cronjob::name(&key.name);
        let seen = self.cronjobs.within(&key.namespace).map(|(_, seen)| seen);
        Task {
            statefulset: self.statefulsets.get(&key).cloned(),
            seen: seen.filter(|seen| seen.concerns(&key.name, &expected)).cloned().collect(),
            policy: Arc::clone(&self.policy.borrow()),
            memory: self.memories.get(&key).cloned().unwrap_or_default(),
            key,
        }
    }

    fn finished(&mut self, done: Result<(Id, Done), JoinError>) {
        match done {
            Ok((id, done)) => {
                self.looked_at.remove(&id);
                let before = self.memories.get(&done.key).map(|memory| memory.standing).unwrap_or_default();
                self.count(before, done.memory.standing);
                if self.statefulsets.get(&done.key).is_some() {
                    self.memories.insert(done.key.clone(), done.memory);
                } else {
                    self.count(done.memory.standing, Standing::None);
                    self.memories.remove(&done.key);
                }
                self.queue.finished(&done.key, Instant::now(), done.next);
            }
            Err(failure) => {
                if let Some(key) = self.looked_at.remove(&failure.id()) {
                    error!(statefulset = %key, error = %failure, "a look ended unexpectedly; this is a bug");
                    self.queue.finished(&key, Instant::now(), Next::Retry(LONGEST_PAUSE_REFUSED));
                }
            }
        }
    }

    fn count(&self, before: Standing, after: Standing) {
        let metrics = &self.context.metrics;
        for (standing, step) in [(before, -1), (after, 1)] {
            if standing != Standing::None {
                metrics.enrolled.inc_by(step);
            }
            match standing {
                Standing::Refused => metrics.refused.inc_by(step),
                Standing::Foreign => metrics.foreign.inc_by(step),
                Standing::None | Standing::Sound => 0,
            };
        }
    }

    /// Lets the looks under way end, so that none is cut off between two writes.
    async fn drain(&mut self) {
        let ended = timeout(GRACE, async {
            while self.looks.join_next().await.is_some() {}
            while self.reports.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            debug!("not everything under way came to its end in time");
        }
    }

    fn take(&mut self, event: Watched) {
        match event {
            Watched::StatefulSet(event) => {
                let changes = self.statefulsets.take(event, |mut object: StatefulSet| {
                    object.metadata = slim(object.metadata);
                    Some(Arc::new(object))
                });
                for change in changes {
                    self.queue.add(&change.key);
                }
            }
            Watched::CronJob(event) => {
                for change in self.cronjobs.take(*event, Seen::of) {
                    self.concerned(&change);
                }
            }
            Watched::Job(Watch::Apply(job) | Watch::InitApply(job)) => {
                if job.failure().is_some() {
                    self.unreported.push(job);
                }
            }
            Watched::Job(Watch::Delete(job)) => {
                self.failures.remove(job.metadata.uid.as_deref().unwrap_or_default());
            }
            Watched::Job(Watch::Init | Watch::InitDone) => {}
        }
    }

    /// Asks for a look at each StatefulSet that a changed CronJob concerns.
    fn concerned(&mut self, change: &Change<Seen>) {
        for seen in [&change.old, &change.new].into_iter().flatten() {
            if let Some(name) = statefulset_of(&seen.meta) {
                self.queue.add(&ObjectKey::new(&change.key.namespace, name));
                if cronjob::name(name) == change.key.name && seen.defragments.is_none() {
                    continue;
                }
            }
            for (key, _) in self.statefulsets.within(&change.key.namespace) {
                if seen.concerns(&key.name, &cronjob::name(&key.name)) {
                    self.queue.add(key);
                }
            }
        }
    }

    /// Reports a failed run once, to the StatefulSet that it was for.
    fn report_failure(&mut self, job: &Job) {
        let (Some(failure), Some(uid), Some(name)) = (job.failure(), &job.metadata.uid, &job.metadata.name) else {
            return;
        };
        if !self.failures.insert(uid.clone()) {
            return;
        }
        let at = failure.last_transition_time.as_ref().map(|time| time.0);
        if at.is_some_and(|at| Timestamp::now().duration_since(at) > OLD_NEWS) {
            return;
        }
        let Some(statefulset) = job.metadata.annotations.as_ref().and_then(|all| all.get(STATEFULSET)) else { return };
        let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
        let Some(object) = self.statefulsets.get(&ObjectKey::new(namespace, statefulset)).cloned() else { return };
        self.context.metrics.failed_runs.inc();
        let reason = failure.reason.as_deref().unwrap_or("no reason given");
        let message = failure.message.as_deref().unwrap_or("no message");
        let what = format!("The defragmentation {name} failed ({reason}: {message}).");
        let (uid, namespace) = (uid.clone(), namespace.to_owned());
        let context = Arc::clone(&self.context);
        self.reports.spawn(async move {
            let why = last_words::of(context.client.clone(), &namespace, &uid).await;
            let next = "The next run is the next scheduled one.";
            let note = match why {
                Some(why) => format!("{what} {next} {why}"),
                None => format!("{what} {next} The log of the Job's pod may say more."),
            };
            let event = Event { unique: Some(uid), ..Event::warning("Defragment", "DefragmentationFailed", note) };
            report::publish(&context, &object, event).await;
        });
    }
}
