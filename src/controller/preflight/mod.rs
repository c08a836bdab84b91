//! Preflights: which ones are in progress, which wait for ready members, and the two steps that write: begin and
//! conclude.

mod steps;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{task::JoinSet, time::Instant};

pub(crate) use self::steps::{Begun, Ended, Subject, begin, conclude, record};
use super::{Error, ObjectKey};
use crate::defrag::preflight::{PLACES, STALE};

/// How long changes are gathered before it is decided who is next.
const GATHERED: Duration = Duration::from_secs(1);
/// When members that are not ready are asked for again, should the watch not say that anything changed.
const NOT_READY: Duration = Duration::from_mins(1);
/// A step takes no longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the leader knows of preflights.
#[derive(Default)]
pub(crate) struct Preflights {
    /// When it is decided next who begins.
    next: Option<Instant>,
    /// Those that this process has begun and that have not ended.
    running: HashMap<ObjectKey, Instant>,
    /// Who is not tried again before a time.
    held: HashMap<ObjectKey, Instant>,
    /// Who changed while it was asked for: what was found may be old.
    again: HashSet<ObjectKey>,
    /// Since when each image of the engine is known.
    engines: HashMap<String, Timestamp>,
    steps: JoinSet<(ObjectKey, Result<Begun, Error>)>,
}

impl Preflights {
    /// Decides soon who begins.
    pub(crate) fn touch(&mut self, now: Instant) {
        self.at(now + GATHERED);
    }

    /// Decides again at that time, at the latest.
    pub(crate) fn at(&mut self, time: Instant) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }

    /// Somebody changed: members that were not ready may be now.
    pub(crate) fn changed(&mut self, key: &ObjectKey, now: Instant) {
        if self.held.remove(key).is_some() {
            self.touch(now);
        } else if self.running.contains_key(key) {
            self.again.insert(key.clone());
        }
    }

    /// When it is decided next.
    pub(crate) const fn due(&self) -> Option<Instant> {
        self.next
    }

    /// Begins a decision: what is over is forgotten.
    pub(crate) fn decide(&mut self, now: Instant) {
        self.next = None;
        let stale = Duration::from_secs(STALE.as_secs().unsigned_abs());
        self.running.retain(|_, since| now.duration_since(*since) < stale);
        self.held.retain(|_, until| *until > now);
    }

    /// How many more may begin.
    pub(crate) fn free(&self) -> usize {
        PLACES.saturating_sub(self.running.len())
    }

    /// Whether this process has begun one that has not ended.
    pub(crate) fn is_running(&self, key: &ObjectKey) -> bool {
        self.running.contains_key(key)
    }

    /// Until when it is not tried.
    pub(crate) fn held(&self, key: &ObjectKey) -> Option<Instant> {
        self.held.get(key).copied()
    }

    /// Since when an image is known.
    pub(crate) fn known_since(&mut self, engine: &str, now: Timestamp) -> Timestamp {
        *self.engines.entry(engine.to_owned()).or_insert(now)
    }

    /// Takes a place and begins.
    pub(crate) fn begin(&mut self, key: &ObjectKey, step: impl Future<Output = Result<Begun, Error>> + Send + 'static) {
        self.running.insert(key.clone(), Instant::now());
        self.spawn(key, step);
    }

    /// Does a step that takes no place.
    pub(crate) fn spawn(&mut self, key: &ObjectKey, step: impl Future<Output = Result<Begun, Error>> + Send + 'static) {
        let key = key.clone();
        self.steps.spawn(async move {
            let done = tokio::time::timeout(PATIENCE, step).await.unwrap_or(Err(Error::TimedOut(PATIENCE)));
            (key, done)
        });
    }

    /// Whether a step is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Waits for the end of a step, and frees the place of what does not run.
    pub(crate) async fn ended(&mut self) {
        let Some(Ok((key, done))) = self.steps.join_next().await else { return };
        let (now, again) = (Instant::now(), self.again.remove(&key));
        match done {
            Ok(Begun::Started) => return,
            Ok(Begun::NotReady) if again => drop(self.running.remove(&key)),
            Ok(Begun::Nothing) => drop(self.running.remove(&key)),
            Ok(Begun::NotReady) => {
                self.running.remove(&key);
                self.held.insert(key, now + NOT_READY);
            }
            Err(error) => {
                tracing::debug!(statefulset = %key, %error, "could not start or conclude a preflight; this is retried");
                self.running.remove(&key);
                self.held.insert(key, now + NOT_READY);
            }
        }
        self.touch(now);
    }

    /// Waits for the steps under way, so that none is cut off between two writes.
    pub(crate) async fn drain(&mut self) {
        while self.steps.join_next().await.is_some() {}
    }
}
