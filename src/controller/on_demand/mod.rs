//! Runs that start because measured sizes require it: when each Prometheus is queried, and what is remembered between
//! queries.
//!
//! The leader queries each Prometheus once in each interval for all etcds whose policies name it, with one query for
//! each metric, however many etcds there are.

mod candidate;
pub(crate) mod client;
pub mod metrics;
mod pass;
mod starting;

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{task::JoinSet, time::Instant};

use self::{
    metrics::{Asked, AskedLabels, Outlook, OutlookLabels},
    pass::PassResult,
};
use super::{Context, ObjectKey};
use crate::{
    defrag::policy::{PolicySnapshot, Source},
    runtime::backoff,
};

pub use crate::defrag::cronjob::names::{LAST_ON_DEMAND, ON_DEMAND};

pub(super) use self::{
    candidate::{Candidate, Governed, KEPT, PLACE},
    pass::Reach,
    starting::Started,
};

/// When a new Prometheus is asked first.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause after failures, where the interval is shorter.
const LONGEST: Duration = Duration::from_mins(5);
/// More failures than these make pauses no longer.
const MOST_DOUBLED: u32 = 9;
/// Nothing that happened longer ago matters: no policy has a longer cooldown.
const LONGEST_COOLDOWN: SignedDuration = SignedDuration::from_hours(720);

/// What is known of one Prometheus.
#[derive(Debug)]
struct SourceState {
    next: Instant,
    failures: u32,
    asking: bool,
    reach: Option<Reach>,
    counts: [usize; 3],
}

/// What one pass came to, and whose it was.
type Passed = (Source, PassResult);

/// Every Prometheus that a policy names.
#[derive(Default)]
pub(super) struct OnDemand {
    sources: HashMap<Source, SourceState>,
    /// Refusals in a row, by etcd.
    strikes: HashMap<ObjectKey, (&'static str, u32)>,
    /// When a namespace took a place under a policy last, since this process leads.
    served: HashMap<(Arc<str>, String), Timestamp>,
    passes: JoinSet<Passed>,
}

impl OnDemand {
    /// Takes up the sources of a policy snapshot and forgets those that no policy names any more.
    pub(super) fn follow(&mut self, snapshot: &PolicySnapshot, now: Instant) {
        let wanted: HashSet<&Source> =
            snapshot.policies().iter().filter_map(|policy| Some(&policy.policy.metrics.as_ref()?.source)).collect();
        self.sources.retain(|source, _| wanted.contains(source));
        for source in wanted {
            self.sources.entry(source.clone()).or_insert_with(|| SourceState {
                next: now + FIRST,
                failures: 0,
                asking: false,
                reach: None,
                counts: [0; 3],
            });
        }
        if self.sources.is_empty() {
            self.strikes.clear();
        }
    }

    /// When the next Prometheus is to be asked.
    pub(super) fn due(&self) -> Option<Instant> {
        self.sources.values().filter(|state| !state.asking).map(|state| state.next).min()
    }

    /// The sources that are to be asked now; they count as being asked.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Source> {
        let due = self.sources.iter_mut().filter(|(_, state)| !state.asking && state.next <= now);
        due.map(|(source, state)| {
            state.asking = true;
            source.clone()
        })
        .collect()
    }

    /// How often in a row the same refusal was found.
    pub(super) fn strikes(&self, key: &ObjectKey) -> (&'static str, u32) {
        self.strikes.get(key).copied().unwrap_or_default()
    }

    /// When a namespace took a place under a policy last, as far as this process started the run.
    pub(super) fn served(&self, policy: &Arc<str>, namespace: &str) -> Option<Timestamp> {
        self.served.get(&(Arc::clone(policy), namespace.to_owned())).copied()
    }

    /// Begins to ask.
    pub(super) fn ask(
        &mut self,
        context: Arc<Context>,
        source: Source,
        candidates: Vec<Candidate>,
        policies: HashMap<Arc<str>, Governed>,
    ) {
        self.passes.spawn(async move {
            let result = pass::pass(&context, &source, candidates, policies).await;
            (source, result)
        });
    }

    /// Whether a Prometheus is being asked.
    pub(super) fn is_asking(&self) -> bool {
        !self.passes.is_empty()
    }

    /// Waits for the end of a pass; the runs that it started, and whether the report on a Prometheus changed.
    pub(super) async fn ended(&mut self, context: &Context) -> (Vec<Started>, bool) {
        let Some(ended) = self.passes.join_next().await else { return (Vec::new(), false) };
        let now = Instant::now();
        let Ok((source, result)) = ended else {
            // A pass that panicked is a bug; whichever it was, all are asked again.
            for state in self.sources.values_mut().filter(|state| state.asking) {
                state.asking = false;
                state.next = now + LONGEST;
            }
            return (Vec::new(), false);
        };
        context.metrics.on_demand.pass.set(result.took.as_secs_f64());
        let long_ago = Timestamp::now() - LONGEST_COOLDOWN;
        self.served.retain(|_, at| *at > long_ago);
        let served = |run: &Started| ((Arc::clone(&run.policy), run.key.namespace.clone()), run.at);
        self.served.extend(result.started.iter().map(served));
        self.strikes.extend(result.strikes);
        self.strikes.retain(|_, (_, count)| *count > 0);
        let Some(state) = self.sources.get_mut(&source) else { return (result.started, false) };
        // Nobody who answered counts as having failed, whatever the answer is worth.
        let answered = result.reach.holds || result.reach.reason == "NothingMeasured";
        state.failures = if answered { 0 } else { state.failures.saturating_add(1) };
        state.asking = false;
        state.next = now + pause(source.interval, state.failures);
        state.counts = result.counts;
        let news = state.reach.as_ref() != Some(&result.reach);
        state.reach = Some(result.reach);
        self.count(context, answered);
        (result.started, news)
    }

    fn count(&self, context: &Context, answered: bool) {
        let metrics = &context.metrics.on_demand;
        let result = if answered { Asked::Answered } else { Asked::Failed };
        metrics.asked.get_or_create(&AskedLabels { result }).inc();
        if answered {
            metrics.answered_at.set(Timestamp::now().as_second());
        }
        for (slot, outlook) in [Outlook::NotRequired, Outlook::Waiting, Outlook::Unmeasured].into_iter().enumerate() {
            let sum: usize = self.sources.values().filter_map(|state| state.counts.get(slot)).sum();
            metrics.etcds.get_or_create(&OutlookLabels { outlook }).set(i64::try_from(sum).unwrap_or(i64::MAX));
        }
    }

    /// The report on a Prometheus, once it has been queried.
    pub(super) fn reach(&self, source: &Source) -> Option<&Reach> {
        self.sources.get(source)?.reach.as_ref()
    }
}

/// Until the next question: the interval, more with each failure in a row, and never at the same time as everybody else.
fn pause(interval: Duration, failures: u32) -> Duration {
    let longest = LONGEST.max(interval);
    let backed_off = backoff::pause(interval, longest, failures.min(MOST_DOUBLED));
    let noise = u32::try_from(RandomState::new().hash_one(failures) % 101).unwrap_or(50);
    // From 95 % to 105 %.
    backed_off / 1000 * (950 + noise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_make_pauses_longer_up_to_a_limit_and_one_answer_makes_them_short_again() {
        let (interval, long) = (Duration::from_mins(1), Duration::from_mins(10));
        let within = |pause: Duration, of: Duration| pause >= of * 94 / 100 && pause <= of * 106 / 100;
        for (failures, expected) in [(0, 60), (1, 60), (2, 120), (3, 240), (4, 300), (60, 300)] {
            let pause = pause(interval, failures);
            assert!(within(pause, Duration::from_secs(expected)), "{failures} failures: {pause:?}");
        }
        assert!(within(pause(long, 9), long), "a long interval is not shortened");
        let pauses: HashSet<Duration> = (0..50).map(|_| pause(interval, 0)).collect();
        assert!(pauses.len() > 10, "replicas of different clusters do not ask at the same time");
    }
}
