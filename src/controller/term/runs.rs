//! What a term knows of runs: those under way, how they end, and the report of those that fail.

use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::watcher::Event as Watch;

use super::{super::on_demand::LAST_ON_DEMAND, Event, Job, ObjectKey, STATEFULSET, Term, last_words, report};

/// Runs that failed longer ago than this were reported by an earlier process.
const OLD_NEWS: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

impl Term {
    pub(super) fn take_run(&mut self, event: Watch<Job>) {
        match event {
            Watch::Apply(job) | Watch::InitApply(job) => {
                self.under_way(&job);
                self.ended(&job);
                if job.failure().is_some() {
                    self.unreported.push(job);
                }
            }
            Watch::Delete(job) => {
                let uid = job.metadata.uid.as_deref().unwrap_or_default();
                self.failures.remove(uid);
                self.no_longer(&job, uid);
                if let Some(key) = run_of(&job)
                    && let Some(runs) = self.runs.get_mut(&key)
                {
                    runs.remove(uid);
                    if runs.is_empty() {
                        self.runs.remove(&key);
                    }
                }
            }
            // Every Job that is still there follows.
            Watch::Init => self.active.clear(),
            Watch::InitDone => {}
        }
    }

    /// Notes whether a run is under way.
    pub(super) fn under_way(&mut self, job: &Job) {
        let (Some(key), Some(uid)) = (run_of(job), job.metadata.uid.clone()) else { return };
        if job.finished() {
            return self.no_longer(job, &uid);
        }
        let on_demand = job.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(LAST_ON_DEMAND));
        self.active.entry(key).or_default().insert(uid, on_demand);
    }

    pub(super) fn no_longer(&mut self, job: &Job, uid: &str) {
        let Some(key) = run_of(job) else { return };
        if let Some(active) = self.active.get_mut(&key) {
            active.remove(uid);
            if active.is_empty() {
                self.active.remove(&key);
            }
        }
    }

    /// Notes the end of a run, and asks for a look where the policy counts those that fail.
    fn ended(&mut self, job: &Job) {
        let (Some(run), Some(key), Some(uid)) = (job.run(), run_of(job), job.metadata.uid.clone()) else { return };
        let new = self.runs.entry(key.clone()).or_default().insert(uid, run) != Some(run);
        if new {
            self.tell(&key);
        }
        let Some(object) = self.statefulsets.get(&key).filter(|_| new) else { return };
        let labels = object.metadata.labels.clone().unwrap_or_default();
        if self.landscape.govern(&key.namespace, &labels).policy.job.shape.failure_budget.is_some() {
            self.queue.add(&key);
        }
    }

    /// Reports a failed run once, to the StatefulSet that it was for.
    pub(super) fn report_failure(&mut self, job: &Job) {
        let (Some(failure), Some(uid), Some(name)) = (job.failure(), &job.metadata.uid, &job.metadata.name) else {
            return;
        };
        if !self.failures.insert(uid.clone()) {
            return;
        }
        let at = failure.last_transition_time.as_ref().map(|time| time.0);
        if at.is_some_and(|at| Timestamp::now().duration_since(at) > OLD_NEWS) {
            return;
        }
        let Some(key) = run_of(job) else { return };
        let Some(object) = self.statefulsets.get(&key).cloned() else { return };
        self.context.metrics.failed_runs.inc();
        let reason = failure.reason.as_deref().unwrap_or("no reason given");
        let message = failure.message.as_deref().unwrap_or("no message");
        let what = format!("The defragmentation {name} failed ({reason}: {message}).");
        let uid = uid.clone();
        let context = Arc::clone(&self.context);
        self.reports.spawn(async move {
            let why = last_words::of(context.client.clone(), &key.namespace, &uid).await;
            let next = "The next run is the next scheduled one.";
            let note = match why {
                Some(why) => format!("{what} {next} {why}"),
                None => format!("{what} {next} The log of the Job's pod may say more."),
            };
            let event = Event { unique: Some(uid), ..Event::warning("Defragment", "DefragmentationFailed", note) };
            report::publish(&context, &object, event).await;
        });
    }
}

/// The StatefulSet that a Job of ours is for.
pub(super) fn run_of(job: &Job) -> Option<ObjectKey> {
    let statefulset = job.metadata.annotations.as_ref()?.get(STATEFULSET)?;
    Some(ObjectKey::new(job.metadata.namespace.as_deref().unwrap_or_default(), statefulset))
}
