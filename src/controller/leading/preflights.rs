//! Who begins a preflight next, and what becomes of the Jobs of those that run.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::runtime::watcher::Event as Watch;
use tokio::time::Instant;

use super::{
    super::{
        ObjectKey,
        preflight::{self as steps, Ended, Subject},
        runs::run_of,
        watch::{kept::KeptCronJob, observed::Job},
    },
    Leading,
};
use crate::defrag::preflight::{Outcome, Record, Waiting, When, Why, in_order, is_sample_full, rollout_at, when};

impl Leading {
    /// Begins as many preflights as there are places, and notes when to decide again.
    pub(super) fn begin_preflights(&mut self) {
        let (now, time) = (Instant::now(), (self.context.clock)());
        self.preflights.decide(now);
        // The end of a pause has each etcd looked at, and then it is decided again.
        if !self.context.preflight || self.context.is_paused() {
            return;
        }
        for one in in_order(self.due_preflights(now, time)) {
            if self.preflights.free() == 0 {
                // The end of one of them decides again.
                return;
            }
            let Some(state) = self.states.get(&one.of) else { continue };
            let (Some(access), Some(subject)) = (state.access.clone(), self.subject(&one.of)) else { continue };
            let (context, insisted) = (Arc::clone(&self.context), state.settled.is_some());
            let step = async move { steps::begin(&context, &subject, &access, insisted).await };
            self.preflights.begin(&one.of, step);
        }
    }

    /// Those that are due now.
    fn due_preflights(&mut self, now: Instant, time: Timestamp) -> Vec<Waiting<ObjectKey>> {
        let (mut due, mut later, mut tried) = (Vec::new(), Vec::new(), HashMap::<String, usize>::new());
        for (key, state) in &self.states {
            let (Some(access), Some(kept)) = (&state.access, self.kept_cronjob_of(key)) else { continue };
            let last = kept.preflight();
            if let Some(last) = &last {
                *tried.entry(last.access.engine.clone()).or_default() += 1;
            }
            let suspended =
                state.last_look.as_ref().and_then(|look| look.planned).is_none_or(|planned| planned.suspended);
            if suspended || self.preflights.is_running(key) || self.retries.is_starting(key) {
                continue;
            }
            if let Some(until) = self.preflights.held(key) {
                later.push(until);
                continue;
            }
            // The end of the run decides again.
            if kept.runs(&key.namespace).is_some_and(|of| self.runs.is_active(&of)) {
                continue;
            }
            match when(access, last.as_ref(), time) {
                When::Now(why) => {
                    let made = kept.live().and_then(|live| live.created());
                    due.push((Waiting { of: key.clone(), why, made }, access.engine.clone()));
                }
                When::At(at) => later.push(now + until(time, at)),
                When::Never => {}
            }
        }
        let mut ready = Vec::new();
        for (one, engine) in due {
            let tried = tried.entry(engine.clone()).or_default();
            if one.why == Why::Engine && is_sample_full(*tried) {
                let since = self.preflights.known_since(&engine, time);
                let at = rollout_at(&one.of.namespace, &one.of.name, since);
                if at > time {
                    later.push(now + until(time, at));
                    continue;
                }
            }
            *tried += 1;
            ready.push(one);
        }
        if let Some(next) = later.into_iter().min() {
            self.preflights.at(next);
        }
        ready
    }

    /// Takes note of what a Job says, where it is a preflight.
    pub(super) fn take_preflight(&mut self, event: &Watch<Job>) {
        let (Watch::Apply(job) | Watch::InitApply(job)) = event else { return };
        if !job.finished() {
            return;
        }
        if !job.is_preflight() {
            // The end of a run: its etcd may be tried now.
            return self.preflights.touch(Instant::now());
        }
        let (Some(key), Some(name), Some(uid)) = (run_of(job), &job.metadata.name, &job.metadata.uid) else { return };
        let outcome = match job.failure_in_words() {
            None => Ok(()),
            Some(why) => Err(format!("Its Job failed ({why})")),
        };
        self.ended_preflights.push((key, name.clone(), uid.clone(), outcome));
        self.conclude_ended();
    }

    /// Concludes the preflights whose Jobs have ended, once the caches know whose they are.
    pub(super) fn conclude_ended(&mut self) {
        if !self.ready() {
            return;
        }
        for (key, job, uid, outcome) in std::mem::take(&mut self.ended_preflights) {
            if !self.preflights.is_running(&key) && !self.is_preflight(&key, &job) {
                continue;
            }
            let ended = match outcome {
                Ok(()) => Ended::Well,
                Err(condition) => Ended::Failed(condition),
            };
            self.conclude(&key, (&job, &uid), ended);
        }
    }

    /// Whether the CronJob of a StatefulSet says that this Job is its preflight and runs.
    pub(super) fn is_preflight(&self, key: &ObjectKey, job: &str) -> bool {
        let runs = |last: Record| last.outcome == Outcome::Running && last.job == job;
        self.kept_cronjob_of(key).and_then(KeptCronJob::preflight).is_some_and(runs)
    }

    /// Concludes a preflight that does not start.
    pub(super) fn conclude_preflight(&mut self, key: &ObjectKey, job: (&str, &str), why: String) {
        self.conclude(key, job, Ended::NotStarted(why));
    }

    fn conclude(&mut self, key: &ObjectKey, (job, uid): (&str, &str), ended: Ended) {
        let Some(subject) = self.subject(key) else { return };
        let (context, job, uid) = (Arc::clone(&self.context), job.to_owned(), uid.to_owned());
        let step = async move { steps::conclude(&context, &subject, (&job, &uid), ended).await };
        self.preflights.spawn(key, step);
    }

    fn subject(&self, key: &ObjectKey) -> Option<Subject> {
        Some(Subject { key: key.clone(), object: self.statefulset(key)? })
    }
}

fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
