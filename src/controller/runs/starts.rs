//! Which of our Jobs have not started yet, and when each is checked.
//!
//! Most run or have ended before the first check is due, as the Job controller reports, so nothing is fetched for them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::runtime::watcher::Event as Watch;
use tokio::{task::JoinSet, time::Instant};
use tracing::debug;

use super::{
    CronJobId,
    not_started::{Seen, look},
    run_of,
};
use crate::{
    controller::{Context, Error, ObjectKey, watch::observed::Job},
    defrag::not_started::NotStarted,
};

/// The age at which a Job is first checked, and then again until it is as old as [`YOUNG`].
const STEP: Duration = Duration::from_secs(15);
/// Until then its container should have started.
const YOUNG: i64 = 75;
/// How often an older one is checked.
const LATER: Duration = Duration::from_mins(1);
/// How many are checked at once.
const LOOKS: usize = 10;
/// A look takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Job whose container has not started, as far as is known.
#[derive(Clone, Debug)]
pub(crate) struct Starting {
    pub(crate) key: ObjectKey,
    pub(crate) job: String,
    pub(crate) uid: String,
    /// The CronJob that controls it; `None` of a preflight.
    pub(crate) of: Option<CronJobId>,
    began: Timestamp,
    next: Instant,
    looking: bool,
    /// The causes that were reported.
    reported: Vec<&'static str>,
}

/// Whose Job it is, and whether that is a preflight.
type Slot = (ObjectKey, bool);

/// The newest Job of each StatefulSet that has not started: a run and a preflight.
#[derive(Default)]
pub(crate) struct Starts {
    waiting: HashMap<Slot, Starting>,
    /// Why a run did not start, by the uid of its Job, for the report of its end.
    causes: HashMap<String, String>,
    /// When the pod of a run was seen last, and its container had not started, by the uid of its Job. Since then there
    /// is no report that it has; a watch that was interrupted may have missed that.
    unstarted: HashMap<String, Timestamp>,
    looks: JoinSet<(Slot, String, Timestamp, Result<Seen, Error>)>,
}

impl Starts {
    /// Takes note of a Job.
    pub(crate) fn take(&mut self, event: &Watch<Job>, now: Timestamp) {
        let job = match event {
            Watch::Apply(job) | Watch::InitApply(job) => job,
            Watch::Delete(job) => {
                self.started(job.metadata.uid.as_deref().unwrap_or_default());
                return self.forget(job);
            }
            // Every Job that is still there follows.
            Watch::Init => {
                self.unstarted.clear();
                return self.waiting.clear();
            }
            Watch::InitDone => return,
        };
        if job.is_ready() {
            self.started(job.metadata.uid.as_deref().unwrap_or_default());
        }
        if !job.under_way() || job.is_ready() {
            return self.forget(job);
        }
        let of = CronJobId::controlling(job);
        let preflight = job.is_preflight();
        if of.is_none() && !preflight {
            return;
        }
        let (Some(key), Some(uid), Some(name)) = (run_of(job), &job.metadata.uid, &job.metadata.name) else { return };
        let began = job.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        let slot = (key.clone(), preflight);
        if self.waiting.get(&slot).is_some_and(|known| known.uid == *uid || known.began > began) {
            return;
        }
        let age = Duration::try_from(now.duration_since(began)).unwrap_or_default();
        let next = Instant::now() + STEP.saturating_sub(age);
        let (job, uid) = (name.clone(), uid.clone());
        let starting = Starting { key, job, uid, of, began, next, looking: false, reported: Vec::new() };
        self.waiting.insert(slot, starting);
    }

    /// Forgets what speaks for it that the container of a run has not started.
    fn started(&mut self, uid: &str) {
        self.causes.remove(uid);
        self.unstarted.remove(uid);
    }

    fn forget(&mut self, job: &Job) {
        let Some(key) = run_of(job) else { return };
        let slot = (key, job.is_preflight());
        if self.waiting.get(&slot).is_some_and(|known| Some(&known.uid) == job.metadata.uid.as_ref()) {
            self.waiting.remove(&slot);
        }
    }

    /// Why a run did not start, as it was seen last.
    pub(crate) fn cause(&self, uid: &str) -> Option<&str> {
        self.causes.get(uid).map(String::as_str)
    }

    /// When the pod of a run was seen last whose container has not started, as far as is known.
    pub(crate) fn unstarted(&self, uid: &str) -> Option<Timestamp> {
        self.unstarted.get(uid).copied()
    }

    /// When the next one is to be checked.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.looks.len() >= LOOKS {
            return None;
        }
        self.waiting.values().filter(|one| !one.looking).map(|one| one.next).min()
    }

    /// Whether a look is under way.
    pub(crate) fn is_looking(&self) -> bool {
        !self.looks.is_empty()
    }

    /// Looks at those whose time has come and that are ours.
    pub(crate) fn look(&mut self, context: &Arc<Context>, is_ours: impl Fn(&Starting) -> bool) {
        let (now, time) = (Instant::now(), (context.clock)());
        for (slot, one) in &mut self.waiting {
            if self.looks.len() >= LOOKS {
                return;
            }
            if one.looking || one.next > now {
                continue;
            }
            let age = time.duration_since(one.began).as_secs();
            one.next = now + if age < YOUNG { STEP } else { LATER };
            if !is_ours(one) {
                continue;
            }
            one.looking = true;
            let (context, slot, one) = (Arc::clone(context), slot.clone(), one.clone());
            self.looks.spawn(async move {
                let looking = look(&context.client, &one.key.namespace, (&one.job, &one.uid), age);
                let seen = tokio::time::timeout(PATIENCE, looking).await.unwrap_or(Err(Error::TimedOut(PATIENCE)));
                (slot, one.uid, time, seen)
            });
        }
    }

    /// The next Job that was found not to start, with a cause that was not reported yet.
    pub(crate) async fn ended(&mut self) -> Option<(Starting, NotStarted)> {
        let (slot, uid, at, seen) = self.looks.join_next().await?.ok()?;
        let one = self.waiting.get_mut(&slot).filter(|one| one.uid == uid)?;
        one.looking = false;
        if one.of.is_some() && matches!(seen, Ok(Seen::NotYet | Seen::Stuck(_))) {
            self.unstarted.insert(uid.clone(), at);
        }
        match seen {
            Ok(Seen::Started) => {
                self.waiting.remove(&slot);
                self.started(&uid);
                None
            }
            Ok(Seen::NotYet) => None,
            Ok(Seen::Stuck(found)) => {
                if one.of.is_some() {
                    self.causes.insert(uid, found.text.clone());
                }
                if one.reported.contains(&found.cause) {
                    return None;
                }
                one.reported.push(found.cause);
                Some((one.clone(), found))
            }
            Err(error) => {
                debug!(job = one.job, %error, "could not find out whether the container of a Job has started");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(uid: &str, created: &str, status: &serde_json::Value, preflight: bool) -> Job {
        let labels = if preflight { json!({"etcd-defrag.io/preflight": "true"}) } else { json!({}) };
        let controller = !preflight;
        let value = json!({
            "metadata": {"name": uid, "namespace": "ns", "uid": uid, "creationTimestamp": created, "labels": labels,
                "annotations": {"etcd-defrag.io/statefulset": "etcd"},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "u", "controller": controller}]},
            "status": status,
        });
        serde_json::from_value(value).unwrap()
    }

    const BEGAN: &str = "2026-01-01T00:00:00Z";

    fn now() -> Timestamp {
        BEGAN.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_job_that_has_not_started_is_looked_at() {
        let mut starts = Starts::default();
        starts.take(&Watch::Apply(job("a", BEGAN, &json!({"active": 1}), false)), now());
        assert_eq!(starts.due(), Some(Instant::now() + STEP));
        starts.take(&Watch::Apply(job("a", BEGAN, &json!({"active": 1, "ready": 1}), false)), now());
        assert_eq!(starts.due(), None, "it runs");
        starts.take(&Watch::Apply(job("b", BEGAN, &json!({}), true)), now());
        assert!(starts.due().is_some(), "a preflight");
        let ended = json!({"conditions": [{"type": "Failed", "status": "True"}]});
        starts.take(&Watch::Apply(job("b", BEGAN, &ended, true)), now());
        assert_eq!(starts.due(), None, "it has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_jobs_of_one_etcd_the_newest_counts() {
        let mut starts = Starts::default();
        for (uid, created) in [("a", "2026-01-01T00:00:05Z"), ("b", BEGAN), ("c", "2026-01-01T00:00:09Z")] {
            starts.take(&Watch::Apply(job(uid, created, &json!({}), false)), now());
        }
        let known: Vec<&str> = starts.waiting.values().map(|one| one.uid.as_str()).collect();
        assert_eq!(known, ["c"]);
        starts.take(&Watch::Delete(job("a", BEGAN, &json!({}), false)), now());
        assert_eq!(starts.waiting.len(), 1);
        starts.take(&Watch::Init, now());
        assert!(starts.waiting.is_empty(), "those that are still there follow");
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_of_nobody_is_not_looked_at() {
        let mut starts = Starts::default();
        let mut foreign = job("a", BEGAN, &json!({}), false);
        foreign.metadata.owner_references = None;
        starts.take(&Watch::Apply(foreign), now());
        assert_eq!(starts.due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_of_a_start_counts_until_something_else_is_said_or_may_have_been_missed() {
        let at = now();
        let running = json!({"active": 1, "ready": 1});
        for (event, known) in [
            (Watch::Apply(job("a", BEGAN, &json!({"active": 1, "ready": 0}), false)), Some(at)),
            (Watch::Apply(job("b", BEGAN, &running, false)), Some(at)),
            (Watch::Apply(job("a", BEGAN, &running, false)), None),
            (Watch::Delete(job("a", BEGAN, &json!({}), false)), None),
            (Watch::Init, None),
        ] {
            let mut starts = Starts::default();
            starts.take(&Watch::Apply(job("a", BEGAN, &json!({"active": 1}), false)), at);
            let slot = starts.waiting.keys().next().unwrap().clone();
            starts.looks.spawn(async move { (slot, "a".to_owned(), at, Ok(Seen::NotYet)) });
            assert!(starts.ended().await.is_none());
            assert_eq!(starts.unstarted("a"), Some(at));
            starts.take(&event, at);
            assert_eq!(starts.unstarted("a"), known, "{event:?}");
        }
    }
}
