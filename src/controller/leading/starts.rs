//! Runs that do not start: reported while they wait, and not after their deadline.

use std::sync::Arc;

use kube::runtime::watcher::Event as Watch;
use tracing::{debug, info};

use super::{
    super::{
        events::{Event, publish},
        reconcile::apply,
        runs::{CronJobId, run_of, starts::Starting},
        watch::observed::Job,
    },
    Leading,
};
use crate::defrag::{
    cronjob::{beside::Note, names::NOT_STARTED},
    not_started::NotStarted,
};

impl Leading {
    /// Takes note of a Job for what it says of its start.
    pub(super) fn take_start(&mut self, event: &Watch<Job>) {
        self.starts.take(event, (self.context.clock)());
        if let Watch::Apply(job) | Watch::InitApply(job) = event
            && (job.is_ready() || job.run().is_some_and(|run| !run.failed))
        {
            self.has_started(job);
        }
    }

    /// Looks at the Jobs that should have started by now.
    pub(super) fn look_at_starts(&mut self) {
        let mut starts = std::mem::take(&mut self.starts);
        starts.look(&self.context, |one| match &one.of {
            Some(of) => self.runs_of(&one.key).as_ref() == Some(of),
            None => self.preflights.is_running(&one.key) || self.is_preflight(&one.key, &one.job),
        });
        self.starts = starts;
    }

    /// Reports a Job whose container does not start.
    pub(super) fn not_started(&mut self, one: &Starting, found: NotStarted) {
        if one.of.is_none() {
            // Slow is not wrong: its deadline decides.
            if found.cause != "Waiting" {
                self.conclude_preflight(&one.key, (&one.job, &one.uid), found.text);
            }
            return;
        }
        let Some(object) = self.statefulset(&one.key) else { return };
        self.context.metrics.not_started_runs.inc();
        info!(statefulset = %one.key, job = one.job, cause = found.cause, "the container of a run does not start");
        let note = format!("The defragmentation {} has not started. {}", one.job, found.text);
        let unique = Some(format!("{} {}", one.uid, found.cause));
        let event = Event { unique, ..Event::warning("Defragment", "DefragmentationNotStarted", note) };
        let mark = format!("{} {}: {}", (self.context.clock)(), one.job, found.text);
        let (context, key, of) = (Arc::clone(&self.context), one.key.clone(), one.of.clone());
        self.background.spawn(async move {
            publish(&context, &object, event).await;
            annotate(&context, &key, of.as_ref(), Some(&mark)).await;
        });
    }

    /// Takes the mark off a CronJob whose runs start again.
    fn has_started(&mut self, job: &Job) {
        let Some((of, key)) = CronJobId::controlling(job).zip(run_of(job)) else { return };
        let is_marked = || self.cronjob_of(&key).is_some_and(|live| live.annotation(NOT_STARTED).is_some());
        if self.runs_of(&key).as_ref() != Some(&of) || !is_marked() {
            return;
        }
        let context = Arc::clone(&self.context);
        self.background.spawn(async move { annotate(&context, &key, Some(&of), None).await });
    }
}

/// Sets or removes the mark on the CronJob of a StatefulSet, for `status`.
async fn annotate(
    context: &super::super::Context,
    key: &super::super::ObjectKey,
    of: Option<&CronJobId>,
    value: Option<&str>,
) {
    let marked = async {
        let live = apply::ours(context, key).await?;
        match live.filter(|live| CronJobId::of(&live.metadata).as_ref() == of) {
            Some(live) => apply::annotate(context, &live, Note::NotStarted, value).await.map(drop),
            None => Ok(()),
        }
    };
    if let Err(error) = marked.await {
        debug!(statefulset = %key, %error, "could not annotate the CronJob");
    }
}
