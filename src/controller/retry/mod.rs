//! Retries of runs that changed no member: which ones wait, which is next, and the step that starts one.

mod steps;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    task::{Id, JoinSet},
    time::{Instant, timeout},
};
use tracing::error;

pub(crate) use self::steps::{Tried, start};
use super::{Error, ObjectKey};

/// When one that waits is tried again.
const AGAIN: Duration = Duration::from_mins(1);
/// So many are tried at once, and then no other for [`AGAIN`]: after an hour without a registry they do not all start together.
const AT_ONCE: usize = 10;
/// A step takes no longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run that is to be retried.
#[derive(Debug)]
struct Pending {
    /// Not before this time, as its CronJob says.
    after: Timestamp,
    /// When it is tried next.
    next: Instant,
    /// Why it waited last, as it was reported.
    told: &'static str,
}

/// What became of a step, and whose it was.
pub(crate) type Ended = (ObjectKey, Result<Tried, Error>);

/// Every run that is to be retried.
#[derive(Default)]
pub(crate) struct Retries {
    pending: HashMap<ObjectKey, Pending>,
    /// Nothing is tried before this time.
    rest: Option<Instant>,
    /// Whose each step is, should it panic.
    starting: HashMap<Id, ObjectKey>,
    steps: JoinSet<Result<Tried, Error>>,
}

impl Retries {
    /// Takes note of what the CronJob of a StatefulSet says: that its last run is retried not before `after`, or that it is
    /// not.
    pub(crate) fn note(&mut self, key: &ObjectKey, after: Option<Timestamp>, now: (Instant, Timestamp)) {
        let Some(after) = after else {
            self.pending.remove(key);
            return;
        };
        if self.pending.get(key).is_none_or(|known| known.after != after) {
            let pause = Duration::try_from(after.duration_since(now.1)).unwrap_or_default();
            self.pending.insert(key.clone(), Pending { after, next: now.0 + pause, told: "" });
        }
    }

    /// When the next one is to be tried.
    pub(crate) fn due(&self) -> Option<Instant> {
        let next = self.pending.iter().filter(|(key, _)| !self.is_starting(key)).map(|(_, one)| one.next).min();
        next.map(|next| self.rest.map_or(next, |rest| next.max(rest)))
    }

    /// Those that are due now, namespaces in turn, and in each the one that waits longest first. They count as tried.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<ObjectKey> {
        let due = self.pending.iter().filter(|(key, one)| one.next <= now && !self.is_starting(key));
        let mut due: Vec<(Instant, ObjectKey)> = due.map(|(key, one)| (one.next, key.clone())).collect();
        due.sort_unstable();
        let mut turns: BTreeMap<String, usize> = BTreeMap::new();
        let mut ranked: Vec<(usize, Instant, ObjectKey)> = Vec::with_capacity(due.len());
        for (next, key) in due {
            let turn = turns.entry(key.namespace.clone()).or_default();
            ranked.push((*turn, next, key));
            *turn += 1;
        }
        ranked.sort_unstable();
        ranked.truncate(AT_ONCE);
        self.rest = (ranked.len() == AT_ONCE).then_some(now + AGAIN);
        let taken: Vec<ObjectKey> = ranked.into_iter().map(|(.., key)| key).collect();
        for key in &taken {
            if let Some(one) = self.pending.get_mut(key) {
                one.next = now + AGAIN;
            }
        }
        taken
    }

    /// Whether this one is still to be retried.
    pub(crate) fn is_pending(&self, key: &ObjectKey) -> bool {
        self.pending.contains_key(key)
    }

    /// Begins a step.
    pub(crate) fn begin(&mut self, key: &ObjectKey, step: impl Future<Output = Result<Tried, Error>> + Send + 'static) {
        let step = async { timeout(PATIENCE, step).await.unwrap_or(Err(Error::TimedOut(PATIENCE))) };
        let id = self.steps.spawn(step).id();
        self.starting.insert(id, key.clone());
    }

    /// Whether a step of this one is under way.
    pub(crate) fn is_starting(&self, key: &ObjectKey) -> bool {
        self.starting.values().any(|starting| starting == key)
    }

    /// Whether any step is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Waits for the end of a step.
    pub(crate) async fn ended(&mut self) -> Option<Ended> {
        let (id, done) = match self.steps.join_next_with_id().await? {
            Ok((id, done)) => (id, done),
            Err(failure) => {
                error!(error = %failure, "the start of a run ended unexpectedly; this is a bug");
                (failure.id(), Ok(Tried::Nothing))
            }
        };
        Some((self.starting.remove(&id)?, done))
    }

    /// Whether it is news why one waits.
    pub(crate) fn is_news(&mut self, key: &ObjectKey, why: &'static str) -> bool {
        self.pending.get_mut(key).is_some_and(|one| std::mem::replace(&mut one.told, why) != why)
    }

    /// Waits for the steps under way, so that none is cut off between two writes.
    pub(crate) async fn drain(&mut self) {
        while self.steps.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn minutes(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    /// The time that has passed since the epoch, by both clocks.
    fn now(begun: Instant) -> (Instant, Timestamp) {
        let now = Instant::now();
        (now, Timestamp::UNIX_EPOCH + (now - begun))
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_tried_when_its_time_has_come_and_each_minute_until_its_cronjob_says_otherwise() {
        let (mut retries, begun, a) = (Retries::default(), Instant::now(), key("n", "a"));
        retries.note(&a, Some(minutes(10)), now(begun));
        for (minute, taken) in [(0, false), (9, false), (10, true), (11, true)] {
            tokio::time::sleep_until(begun + Duration::from_mins(minute)).await;
            // The CronJob is told of again and again.
            retries.note(&a, Some(minutes(10)), now(begun));
            assert_eq!(!retries.take_due(Instant::now()).is_empty(), taken, "{minute}");
        }
        assert_eq!(retries.due(), Some(begun + Duration::from_mins(12)));
        retries.note(&a, None, now(begun));
        assert_eq!(retries.due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_being_started_is_not_tried_a_second_time() {
        let (mut retries, begun, a) = (Retries::default(), Instant::now(), key("n", "a"));
        retries.note(&a, Some(minutes(0)), now(begun));
        assert_eq!(retries.take_due(Instant::now()), std::slice::from_ref(&a));
        retries.begin(&a, std::future::pending());
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(retries.is_starting(&a) && retries.due().is_none());
        let (ended, done) = retries.ended().await.unwrap();
        assert!(ended == a && matches!(done, Err(Error::TimedOut(_))));
        assert!(!retries.is_starting(&a) && retries.due().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_ten_start_in_a_minute_and_no_namespace_keeps_another_waiting() {
        let (mut retries, begun) = (Retries::default(), Instant::now());
        for name in 0..15 {
            retries.note(&key("many", &format!("{name:02}")), Some(minutes(0)), now(begun));
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        retries.note(&key("few", "last"), Some(minutes(0)), now(begun));
        let first = retries.take_due(Instant::now());
        assert_eq!((first.len(), &first[..2]), (10, &[key("many", "00"), key("few", "last")][..]));
        assert_eq!(retries.due(), Some(Instant::now() + AGAIN));
        tokio::time::advance(AGAIN).await;
        let second = retries.take_due(Instant::now());
        assert_eq!(second[0], key("many", "09"), "whoever waits longest");
        assert!(!second[..6].contains(&key("many", "00")));
    }
}
