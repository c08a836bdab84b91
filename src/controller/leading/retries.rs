//! Retries of runs: which ones the CronJobs require, and the result of each attempt.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    super::{
        ObjectKey,
        events::{Event, publish},
        retry::{self as steps, Ended, Tried},
    },
    Leading,
};
use crate::defrag::{
    cronjob::last_run::{LastRun, Retry},
    policy::Labels,
};

impl Leading {
    /// Takes note of what the CronJob of a StatefulSet says of its last run.
    pub(super) fn note_retry(&mut self, key: &ObjectKey) {
        let last = self.cronjob_of(key).and_then(|live| LastRun::on(&live.meta));
        let after = last.and_then(|last| match last.retry {
            Some(Retry::After(after)) => Some(after),
            Some(Retry::Started(_) | Retry::Dropped(_)) | None => None,
        });
        self.retries.note(key, after, (Instant::now(), (self.context.clock)()));
    }

    /// Tries those whose time has come. Nothing else starts a run of the same etcd meanwhile: no reconciliation, no
    /// preflight and no on-demand pass.
    pub(super) fn start_retries(&mut self) {
        let none = Labels::new();
        for key in self.retries.take_due(Instant::now()) {
            // Its CronJob may be gone.
            self.note_retry(&key);
            let free =
                self.retries.is_pending(&key) && !self.on_demand.is_asking() && !self.preflights.is_running(&key);
            let active = self.runs_of(&key).is_none_or(|of| self.runs.is_active(&of));
            let Some(object) = self.statefulset(&key) else { continue };
            if !free || active || !self.queue.reserve(&key) {
                continue;
            }
            let governing = self.snapshot.govern(&key.namespace, object.metadata.labels.as_ref().unwrap_or(&none));
            let windows = governing.policy.limits.windows.clone();
            let (context, of) = (Arc::clone(&self.context), key.clone());
            let step = async move { steps::start(&context, &of, &object, windows.as_deref()).await };
            self.retries.begin(&key, step);
        }
    }

    /// Takes note of what became of a try.
    pub(super) fn tried(&mut self, ended: Option<Ended>) {
        let Some((key, done)) = ended else { return };
        self.queue.release(&key);
        match done {
            Ok(Tried::Started(Some((of, uid)))) => self.runs.started(of, uid, None, (self.context.clock)()),
            Ok(Tried::Started(None) | Tried::Nothing) => {}
            Ok(Tried::Waits(job, hold)) => {
                if !hold.lasts() || !self.retries.is_news(&key, hold.code()) {
                    return;
                }
                let Some(object) = self.statefulset(&key) else { return };
                let note = format!("The run {job} waits for its retry, because {}.", hold.because());
                let event = Event::normal("Defragment", "DefragRetryWaits", note);
                let event = Event { unique: Some(format!("{job} {}", hold.code())), ..event };
                let context = Arc::clone(&self.context);
                self.background.spawn(async move { publish(&context, &object, event).await });
            }
            Err(error) => {
                tracing::debug!(statefulset = %key, %error, "could not retry a run; this is tried again");
            }
        }
    }
}
