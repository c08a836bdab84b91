//! Runs that have ended: whose they were, and what is said of those that failed.

use std::sync::Arc;

use super::{
    super::{
        events::{self, Event},
        runs::{CronJobId, failure_message, run_of},
        watch::observed::Job,
    },
    Leading, ObjectKey,
};
use crate::defrag::cronjob::{self, live::Live, ownership::statefulset_of_ours};

impl Leading {
    /// Our CronJob of a StatefulSet, as the watch saw it.
    pub(super) fn cronjob_of(&self, key: &ObjectKey) -> Option<&Live> {
        let cached = self.cronjobs.get(&ObjectKey::new(&key.namespace, &cronjob::name(&key.name)))?;
        Some(cached).filter(|cached| statefulset_of_ours(&cached.meta) == Some(&key.name))
    }

    /// By what the runs of a StatefulSet are known.
    pub(super) fn runs_of(&self, key: &ObjectKey) -> Option<CronJobId> {
        CronJobId::of(&self.cronjob_of(key)?.meta)
    }

    /// Tells of a run that has ended, and asks for a look where the policy counts those that fail.
    pub(super) fn ran(&mut self, key: &ObjectKey) {
        self.tell(key);
        let Some(object) = self.statefulsets.get(key) else { return };
        let labels = object.metadata.labels.clone().unwrap_or_default();
        if self.snapshot.govern(&key.namespace, &labels).policy.job.shape.failure_budget.is_some() {
            self.queue.add(key);
        }
    }

    /// Publishes a failed run as an Event of the StatefulSet that it was for.
    pub(super) fn publish_failure(&mut self, job: &Job) {
        let (Some(failure), Some(uid), Some(name)) = (job.failure(), job.metadata.uid.clone(), &job.metadata.name)
        else {
            return;
        };
        let Some(of) = CronJobId::controlling(job) else { return };
        let Some(key) = run_of(job).filter(|key| self.runs_of(key).as_ref() == Some(&of)) else { return };
        let Some(object) = self.statefulsets.get(&key).cloned() else { return };
        self.context.metrics.failed_runs.inc();
        let reason = failure.reason.as_deref().unwrap_or("no reason given");
        let message = failure.message.as_deref().unwrap_or("no message");
        let what = format!("The defragmentation {name} failed ({reason}: {message}).");
        let context = Arc::clone(&self.context);
        self.background.spawn(async move {
            let why = failure_message::of(context.client.clone(), &key.namespace, &uid).await;
            let next = "The next run is the next scheduled one.";
            let note = match why {
                Some(why) => format!("{what} {next} {why}"),
                None => format!("{what} {next} The log of the Job's pod may say more."),
            };
            let event = Event { unique: Some(uid), ..Event::warning("Defragment", "DefragmentationFailed", note) };
            events::publish(&context, &object, event).await;
        });
    }
}
