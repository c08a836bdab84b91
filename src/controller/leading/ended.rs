//! Runs that have ended: which StatefulSet they belong to, and how they are reported.

use std::sync::Arc;

use super::{
    super::{
        runs::{
            CronJobId,
            ending::{self, Ended},
            run_of,
        },
        watch::{kept::KeptCronJob, observed::Job},
    },
    Leading, ObjectKey,
};
use crate::defrag::cronjob::{
    self, deferral,
    last_run::LastRun,
    live::Live,
    names::{LAST_ON_DEMAND, RETRY_OF},
};

impl Leading {
    /// Our CronJob of a StatefulSet, as the watch saw it.
    pub(super) fn cronjob_of(&self, key: &ObjectKey) -> Option<Live> {
        self.kept_cronjob_of(key)?.live()
    }

    /// The same as it is kept, for what is asked of many.
    pub(super) fn kept_cronjob_of(&self, key: &ObjectKey) -> Option<&KeptCronJob> {
        let kept = self.cronjobs.get(&ObjectKey::new(&key.namespace, &cronjob::name(&key.name)))?;
        Some(kept).filter(|kept| kept.is_of(&key.name))
    }

    /// By what the runs of a StatefulSet are known.
    pub(super) fn runs_of(&self, key: &ObjectKey) -> Option<CronJobId> {
        self.kept_cronjob_of(key)?.runs(&key.namespace)
    }

    /// Tells of a run that has ended, and asks for a look where the policy counts those that fail.
    pub(super) fn ran(&mut self, key: &ObjectKey) {
        self.tell(key);
        let Some(object) = self.statefulsets.get(key) else { return };
        if self.snapshot.govern(&key.namespace, &object.labels()).policy.job.shape.failure_budget.is_some() {
            self.queue.add(key);
        }
    }

    /// Tells of a run that has ended: in an Event of the StatefulSet that it was for, on its CronJob, and in metrics.
    pub(super) fn publish_end(&mut self, job: &Job) {
        let (true, Some(uid), Some(name)) = (job.finished(), job.metadata.uid.clone(), job.metadata.name.clone())
        else {
            return;
        };
        let Some(of) = CronJobId::controlling(job) else { return };
        let Some(key) = run_of(job).filter(|key| self.runs_of(key).as_ref() == Some(&of)) else { return };
        let Some(object) = self.statefulset(&key) else { return };
        let Some(cronjob) = self.cronjob_of(&key) else { return };
        let ended = job.ended_at().unwrap_or_else(|| (self.context.clock)());
        // An earlier process told of it, or of a later one.
        let told = LastRun::on(&cronjob.meta);
        if told.is_some_and(|last| last.job == name || last.ended > ended) {
            return;
        }
        let failure = job.failure_in_words();
        let started = job.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        let deferred = job.failure().is_some_and(deferral::is_deferral);
        let cause = self.starts.cause(&uid).map(ToOwned::to_owned);
        // A retry is not retried, and measured sizes require another run on demand by themselves.
        let may_be_retried = job.annotation(RETRY_OF).is_none() && job.annotation(LAST_ON_DEMAND).is_none();
        let (no_pod_ever, unstarted) = (job.has_counted_no_pod(), self.starts.unstarted(&uid));
        let job =
            Ended { name, uid, started, at: ended, failure, deferred, cause, may_be_retried, no_pod_ever, unstarted };
        let (context, cronjob) = (Arc::clone(&self.context), cronjob.meta);
        self.background.spawn(async move { ending::tell(&context, &object, cronjob, job).await });
    }
}
