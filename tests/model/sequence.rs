//! Runs a sequence: two replicas of the controller, events, faults, and rest. The clock stands still but where everybody
//! waits, so that minutes pass in no time.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use etcd_defrag_webhook::{
    controller::{self, Options, metrics::ReconcileMetrics, policies::policy_snapshot::PolicySnapshots},
    runtime::{cores::Cores, leadership},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    events::{self, Event, SLOTS},
    expected,
    oracle::Oracle,
    server::{self, Counts, Faults, Link, Server},
};
use harness::random::Random;

/// A sequence that a seed repeats, but for the order in which the runtime polls what is ready at the same moment.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) seed: u64,
    pub(crate) faults: Faults,
    pub(crate) events: Vec<Event>,
}

/// A silent watch is noticed after two minutes, and everything else sooner.
const REST: Duration = Duration::from_secs(150);
/// So much longer may it take, for pauses between attempts have grown.
const LATEST: Duration = Duration::from_secs(330);
/// And so much longer, where a CronJob was orphaned.
const KEPT: Duration = Duration::from_secs(server::KEPT.cast_unsigned());
/// Longer than any other pause after which the controller looks again.
const QUIET: Duration = Duration::from_secs(400);
const STEP: Duration = Duration::from_secs(5);

impl Sequence {
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let faults = match random.below(4u64) {
            0 => Faults::default(),
            1 => Faults { requests: 3, slow: 1, watches: 10 },
            2 => Faults { requests: 10, slow: 3, watches: 30 },
            _ => Faults { requests: 25, slow: 5, watches: 60 },
        };
        let length = 10 + random.below(50usize);
        let mut all: Vec<Event> = (0..SLOTS.len())
            .map(|slot| Event::Create { slot, label: events::label(&mut random), setting: random.below(4) })
            .collect();
        if random.one_in(2) {
            // What is refused from now on has had good settings.
            all.push(Event::Settle);
        }
        all.extend((0..length).map(|_| events::random(&mut random)));
        all.push(Event::Settle);
        Self { seed, faults, events: all }
    }

    /// Runs it; what was counted, or what went wrong.
    pub(crate) fn run(&self) -> Result<Counts, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut run = Run::start(self.seed, self.faults);
            for (step, event) in self.events.iter().enumerate() {
                run.happen(event).await.map_err(|wrong| {
                    let told = run.server.state().told.iter().rev().take(12).rev().cloned().collect::<Vec<_>>();
                    format!("at event {step}: {wrong}\nlast: {}", told.join("\n      "))
                })?;
            }
            Ok(run.server.state().counts)
        })
    }

    /// A shorter sequence that still fails, and how. Each candidate has a few attempts.
    pub(crate) fn shrink(&self, wrong: String) -> (Self, String) {
        let (mut best, mut how) = (self.clone(), wrong);
        let fails = |candidate: &Self| (0..3).find_map(|_| candidate.run().err());
        let calm = Self { faults: Faults::default(), ..best.clone() };
        if let Some(wrong) = fails(&calm) {
            (best, how) = (calm, wrong);
        }
        let mut size = best.events.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at < best.events.len() {
                let mut candidate = best.clone();
                candidate.events.drain(at..(at + size).min(best.events.len()));
                match fails(&candidate) {
                    Some(wrong) => (best, how) = (candidate, wrong),
                    None => at += size,
                }
            }
            size /= 2;
        }
        (best, how)
    }
}

/// Lets a sequence without faults happen and come to rest; the writes to Jobs.
pub(crate) fn jobs_after(events: &[Event]) -> Result<Vec<String>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut run = Run::start(1, Faults::default());
        for event in events.iter().chain([&Event::Settle]) {
            run.happen(event).await?;
        }
        let state = run.server.state();
        Ok(state.told.iter().filter(|write| write.contains(" jobs ")).cloned().collect())
    })
}

/// Changes the defaults of a policy so many times, with a pause after each, and lets all come to rest; every write to a CronJob
/// since the first change.
pub(crate) fn writes_after_changes(changes: usize, pause: Duration) -> Result<Vec<String>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let policy = |says| Event::Policy { policy: 0, priority: 0, selects: 0, says };
        let mut run = Run::start(1, Faults::default());
        for event in [policy(0), Event::Create { slot: 0, label: 0, setting: 0 }, Event::Settle] {
            run.happen(&event).await?;
        }
        let told = run.server.state().told.len();
        for change in 1..changes {
            run.server
                .with(|state| events::change_default(state, 0, &format!("{} {} * * *", change % 60, 4 + change / 60)));
            sleep(pause).await;
        }
        // The last one is known to the oracle, which looks at the CronJob.
        run.happen(&policy(1)).await?;
        run.happen(&Event::Settle).await?;
        let state = run.server.state();
        Ok(state.told[told..].iter().filter(|write| write.contains(" cronjobs ")).cloned().collect())
    })
}

/// One process of the controller.
struct Replica {
    link: Arc<Link>,
    /// Asks it to end when it is dropped.
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl Replica {
    fn start(server: &Arc<Server>, identity: String, preflight: bool) -> Self {
        let link = Link::new(identity.clone());
        let client = server.client(&link);
        let snapshots = PolicySnapshots::follow(client.clone(), BTreeSet::new());
        let clock = server.state().clock();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone().drop_guard();
        let options = Options {
            concurrency: 4,
            namespace: None,
            own_namespace: "system".to_owned(),
            identity: identity.clone(),
            prometheus_files: std::path::PathBuf::new(),
            preflight,
            own_image: None,
            engine_image: None,
            cores: Cores::of_runtime(1),
            clock,
        };
        let lease = leadership::Config::new("system", "lease", identity);
        let task = tokio::spawn(controller::run(
            client,
            snapshots,
            options,
            Some(lease),
            ReconcileMetrics::default(),
            shutdown,
        ));
        Self { link, stop, task }
    }
}

/// A sequence under way.
pub(crate) struct Run {
    pub(crate) server: Arc<Server>,
    oracle: Oracle,
    replicas: Vec<Replica>,
    started: usize,
    faults: Faults,
    /// Whether each etcd is tried before its first run.
    preflight: bool,
}

impl Run {
    pub(crate) fn start(seed: u64, faults: Faults) -> Self {
        Self::with(seed, faults, false)
    }

    /// One in which each etcd is tried before its first run.
    pub(crate) fn with_preflights(seed: u64) -> Self {
        Self::with(seed, Faults::default(), true)
    }

    fn with(seed: u64, faults: Faults, preflight: bool) -> Self {
        let server = Server::new(seed ^ 0x5eed);
        server.with(events::begin);
        let mut run = Self { server, oracle: Oracle::default(), replicas: Vec::new(), started: 0, faults, preflight };
        for _ in 0..2 {
            let replica = run.another();
            run.replicas.push(replica);
        }
        let server = Arc::clone(&run.server);
        tokio::spawn(async move {
            loop {
                let pause = server.state().random.below(3000u64);
                sleep(Duration::from_millis(100 + pause)).await;
                if server.state().store.collect_garbage() > 0 {
                    server.changed.send_replace(());
                }
            }
        });
        run.server.state().faults = faults;
        run
    }

    fn another(&mut self) -> Replica {
        self.started += 1;
        Replica::start(&self.server, format!("replica-{}", self.started), self.preflight)
    }

    pub(crate) async fn happen(&mut self, event: &Event) -> Result<(), String> {
        match *event {
            Event::Restart { replica } => {
                // The new process begins before the old one has ended, as with a rolling update.
                let new = self.another();
                drop(std::mem::replace(&mut self.replicas[replica], new).stop);
            }
            Event::Kill { replica } => {
                let new = self.another();
                let old = std::mem::replace(&mut self.replicas[replica], new);
                old.link.dead.store(true, Ordering::Relaxed);
                old.task.abort();
            }
            Event::CutOff { replica, seconds } => {
                *self.replicas[replica].link.cut_off.lock().unwrap() = Instant::now() + Duration::from_secs(seconds);
            }
            Event::Pause { milliseconds } => sleep(Duration::from_millis(milliseconds)).await,
            Event::Settle => self.settle().await?,
            _ => self.server.with(|state| {
                events::happen(event, state);
                self.oracle.happened(event, state);
            }),
        }
        let state = self.server.state();
        state.violations.first().map_or(Ok(()), |violation| Err(violation.clone()))
    }

    async fn settle(&mut self) -> Result<(), String> {
        self.server.with(|state| state.faults = Faults::default());
        for replica in &self.replicas {
            *replica.link.cut_off.lock().unwrap() = Instant::now();
        }
        let begun = Instant::now();
        loop {
            sleep(STEP).await;
            self.server.with(|state| state.store.finish_jobs(false));
            if begun.elapsed() < REST {
                continue;
            }
            let wrong = expected::wrong(&self.oracle, &self.server.state());
            if wrong.is_empty() {
                break;
            }
            if begun.elapsed() > REST + KEPT + LATEST {
                return Err(wrong.join("\n    "));
            }
        }
        sleep(STEP * 3).await;
        let (before, told) = self.server.with(|state| (state.counts.attempts, state.told.len()));
        sleep(QUIET).await;
        let state = self.server.state();
        if state.counts.attempts != before {
            return Err(format!(
                "no rest: {} writes, such as {:?}",
                state.counts.attempts - before,
                &state.told[told..]
            ));
        }
        let wrong = expected::wrong(&self.oracle, &state);
        self.oracle.rests(&state);
        drop(state);
        if !wrong.is_empty() {
            return Err(format!("later: {}", wrong.join("\n    ")));
        }
        if self.replicas.iter().any(|replica| replica.task.is_finished()) {
            return Err("a replica ended by itself".to_owned());
        }
        self.server.with(|state| state.faults = self.faults);
        Ok(())
    }
}
