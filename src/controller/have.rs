//! A StatefulSet and the CronJob that it is to have: made, repaired, adopted, or left to its owner.

use std::{fmt::Write as _, time::Duration};

use k8s_openapi::api::batch::v1::CronJob;
use kube::api::Api;
use tokio::time::Instant;
use tracing::{debug, info};

use super::{
    Context, Error, apply, budget, defrag_now, drift,
    drift::{FAILED_RUNS, LAST_DEFRAG_NOW},
    memory::{Memory, Settled, Standing, Topic},
    ownership::{Ownership, ownership, statefulset_of_ours},
    queue::Next,
    reconcile::{GOING_AGAIN, Looked, Task, remove_strays},
    report::{Event, publish},
    seen::Seen,
    steps::{self, Verdict},
};
use crate::defrag::{Plan, cronjob, policy::Governing, statefulset::StatefulSet};

/// When to look again at a name that is taken, should the watch have missed that it became free.
const FOREIGN_AGAIN: Duration = Duration::from_mins(5);

/// A StatefulSet that is to have its CronJob.
pub(super) struct Have<'a> {
    pub(super) context: &'a Context,
    pub(super) task: &'a Task,
    pub(super) object: &'a StatefulSet,
    pub(super) governing: &'a Governing,
    pub(super) plan: &'a Plan,
    pub(super) verdict: &'a Verdict,
}

impl Have<'_> {
    pub(super) async fn run(&self, memory: &mut Memory) -> Result<Looked, Error> {
        let name = cronjob::name(&self.plan.name);
        let strays = remove_strays(self.context, self.task, &name).await?;
        let seen = self.task.seen.iter().find(|seen| seen.meta.name.as_deref() == Some(&name));
        let mut looked = match seen {
            Some(seen) if self.in_place(seen, memory) => Looked::UNCHANGED,
            // What was made a moment ago may not have been seen yet.
            None if memory.in_place.is_none() => Box::pin(self.ensure(&name, None, memory)).await?,
            _ => {
                let api: Api<CronJob> = Api::namespaced(self.context.client.clone(), &self.task.key.namespace);
                Box::pin(self.ensure(&name, api.get_opt(&name).await?, memory)).await?
            }
        };
        self.tell_budget(memory).await;
        if memory.standing == Standing::Sound && looked.next == Next::Wait {
            let served = seen.and_then(|seen| seen.meta.annotations.as_ref()?.get(LAST_DEFRAG_NOW).cloned());
            let asked = defrag_now::asked(self.object, served.as_deref().or(memory.served.as_deref()));
            if let Some(token) = asked {
                looked = Box::pin(self.defrag_now(&name, token, memory)).await?;
            } else {
                memory.over(Topic::Pending);
            }
        }
        Ok(Looked { changed: looked.changed || strays, ..looked })
    }

    fn desired(&self, served: Option<&str>, failed: Option<&str>) -> CronJob {
        self.counted(served, failed).0
    }

    /// The desired CronJob, and how many runs failed in a row where that suspends it.
    fn counted(&self, served: Option<&str>, failed: Option<&str>) -> (CronJob, Option<u32>) {
        let mut desired = steps::build(self.plan, self.governing, &self.verdict.findings, served);
        let budget = self.governing.policy.job.shape.failure_budget;
        let token = self.plan.settings.defrag_now.as_deref();
        let spent = budget::apply(&mut desired, budget, token, failed, &self.task.runs);
        (desired, spent)
    }

    /// Tells once that too many runs in a row have failed.
    async fn tell_budget(&self, memory: &mut Memory) {
        let (desired, spent) = self.counted(memory.served.as_deref(), memory.failed.as_deref());
        let Some(failed) = spent else { return memory.over(Topic::Budget) };
        if !memory.is_news(Topic::Budget, &failed) {
            return;
        }
        let note = format!(
            "{failed} runs in a row failed, as many as the policy allows (job.failureBudget), so the CronJob is suspended. Look \
             at the log of a failed Job's pod; a changed setting, or a new value of {}, resumes it.",
            defrag_now::ANNOTATION
        );
        // The same count, told before a restart, has the same name and is not told again.
        let unique = desired.metadata.annotations.and_then(|all| all.get(FAILED_RUNS).cloned());
        let event = Event { unique, ..Event::warning("Defragment", "FailureBudgetSpent", note) };
        publish(self.context, self.object, event).await;
    }

    /// Whether the cache shows the CronJob as it should be, so that nothing has to be asked.
    fn in_place(&self, seen: &Seen, memory: &mut Memory) -> bool {
        if seen.meta.deletion_timestamp.is_some() || statefulset_of_ours(&seen.meta) != Some(&self.plan.name) {
            return false;
        }
        let served = seen.meta.annotations.as_ref().and_then(|all| all.get(LAST_DEFRAG_NOW));
        // Should the CronJob be deleted, a run that was already asked for and done is not done again.
        if served.is_some() {
            memory.served = served.cloned();
        }
        let failed = seen.meta.annotations.as_ref().and_then(|all| all.get(FAILED_RUNS));
        if failed.is_some() {
            memory.failed = failed.cloned();
        }
        let desired = self.desired(memory.served.as_deref(), memory.failed.as_deref());
        let print = drift::fingerprint(&desired);
        let equal = seen.spec == drift::fingerprint(&desired.spec)
            && drift::metadata_drift(&seen.meta, &desired.metadata).is_empty();
        if equal {
            memory.settled = None;
        }
        if equal || memory.settled == Some(Settled::of(seen, print)) {
            memory.in_place = Some(print);
            return true;
        }
        false
    }

    /// Writes what is needed to make the live CronJob, if there is one, the desired one.
    async fn ensure(&self, name: &str, live: Option<CronJob>, memory: &mut Memory) -> Result<Looked, Error> {
        let Some(live) = live else {
            memory.over(Topic::Foreign);
            let desired = self.desired(memory.served.as_deref(), memory.failed.as_deref());
            let print = drift::fingerprint(&desired);
            let repair = memory.in_place == Some(print);
            if repair && let Some(looked) = self.contested(memory, "deleted").await {
                return Ok(looked);
            }
            let applied = apply::create(self.context, &desired).await?;
            let (reason, why) =
                if repair { ("Repaired", "was deleted and made again") } else { ("Created", "was made") };
            return Ok(self
                .applied(memory, print, applied, repair, reason, format!("The CronJob {name} {why}."))
                .await);
        };
        if live.metadata.deletion_timestamp.is_some() {
            return Ok(Looked::UNCHANGED.again(GOING_AGAIN));
        }
        let adopt = match ownership(&live, &self.plan.name) {
            Ownership::Foreign { why } => return Ok(self.foreign(name, &why, memory).await),
            Ownership::Adoptable if !self.is_there().await? => return Ok(Looked::UNCHANGED.again(GOING_AGAIN)),
            Ownership::Adoptable => true,
            Ownership::Ours => false,
        };
        memory.over(Topic::Foreign);
        if let Some(seen) = Seen::of(live.clone())
            && self.in_place(&seen, memory)
        {
            return Ok(Looked::UNCHANGED);
        }
        let served = live.metadata.annotations.as_ref().and_then(|all| all.get(LAST_DEFRAG_NOW)).map(String::as_str);
        let desired = self.desired(served.or(memory.served.as_deref()), memory.failed.as_deref());
        let print = drift::fingerprint(&desired);
        let fields = drift::drift(&live, &desired);
        let unasked = memory.in_place == Some(print);
        if unasked && let Some(looked) = self.contested(memory, &summary(&fields)).await {
            return Ok(looked);
        }
        let applied = apply::update(self.context, &live, &desired, adopt).await?;
        let (reason, note) = if adopt {
            let note = format!(
                "The CronJob {name}, made by defrag.sh, is kept by us from now on; put right: {}.",
                summary(&fields)
            );
            ("Adopted", note)
        } else if unasked || memory.in_place.is_none() {
            let note = format!(
                "The CronJob {name} differed from what this StatefulSet asks for; put right: {}.",
                summary(&fields)
            );
            ("Repaired", note)
        } else {
            ("", String::new())
        };
        Ok(self.applied(memory, print, applied, reason == "Repaired", reason, note).await)
    }

    /// Whether the StatefulSet still exists, asked for where the watch may be too late: a CronJob of somebody else that got an
    /// owner that is gone would be deleted with it.
    async fn is_there(&self) -> Result<bool, Error> {
        let api: Api<StatefulSet> = Api::namespaced(self.context.client.clone(), &self.task.key.namespace);
        let live = api.get_metadata_opt(&self.task.key.name).await?;
        Ok(live.is_some_and(|live| live.metadata.uid == self.object.metadata.uid))
    }

    /// Remembers and reports what was written.
    async fn applied(
        &self,
        memory: &mut Memory,
        print: u64,
        applied: apply::Applied,
        repair: bool,
        reason: &'static str,
        note: String,
    ) -> Looked {
        memory.in_place = Some(print);
        memory.settled = match Seen::of(applied.live) {
            Some(seen) if !applied.remaining.is_empty() => Some(Settled::of(&seen, print)),
            _ => None,
        };
        if repair {
            self.context.metrics.repairs.inc();
        }
        info!(statefulset = %self.task.key, reason, note, "applied");
        if !reason.is_empty() {
            publish(self.context, self.object, Event::normal("Apply", reason, note)).await;
        }
        if applied.remaining.is_empty() {
            memory.over(Topic::Unsettled);
        } else if memory.is_news(Topic::Unsettled, &applied.remaining) {
            let note = format!(
                "Something in the cluster, most likely a mutating webhook, changes the CronJob while it is written: {}. It is \
                 left like that; check that the run is still a safe one, or exempt the CronJob from the webhook.",
                summary(&applied.remaining)
            );
            publish(self.context, self.object, Event::warning("Apply", "ChangedByCluster", note)).await;
        }
        Looked::CHANGED
    }

    /// Whether to wait before the next repair, because the CronJob is changed back again and again.
    async fn contested(&self, memory: &mut Memory, what: &str) -> Option<Looked> {
        let Err(pause) = memory.repairs.take(Instant::now()) else {
            return None;
        };
        if memory.is_news(Topic::Contested, &()) {
            let note = format!(
                "The CronJob is changed back again and again ({what}). It is repaired a few times a minute only from now on; \
                 find who or what changes it, or opt out with the label etcd-defrag.io/enabled=false."
            );
            publish(self.context, self.object, Event::warning("Apply", "Contested", note)).await;
        }
        Some(Looked::UNCHANGED.again(pause))
    }

    async fn foreign(&self, name: &str, why: &str, memory: &mut Memory) -> Looked {
        memory.standing = Standing::Foreign;
        memory.in_place = None;
        let finding = steps::foreign(name, why);
        if let Some(judged) = &mut memory.judged {
            judged.findings = judged.findings.iter().cloned().chain([finding.clone()]).collect();
        }
        if memory.is_news(Topic::Foreign, &why) {
            debug!(statefulset = %self.task.key, why, "the name of the CronJob is taken");
            publish(self.context, self.object, Event::warning("Apply", "CronJobForeign", finding.message)).await;
        }
        Looked::UNCHANGED.again(FOREIGN_AGAIN)
    }

    /// Starts the run that a new token asks for, or says why it has to wait.
    async fn defrag_now(&self, name: &str, token: &str, memory: &mut Memory) -> Result<Looked, Error> {
        let api: Api<CronJob> = Api::namespaced(self.context.client.clone(), &self.task.key.namespace);
        let Some(live) = api.get_opt(name).await? else { return Ok(Looked::UNCHANGED.again(GOING_AGAIN)) };
        let served = live.metadata.annotations.as_ref().and_then(|all| all.get(LAST_DEFRAG_NOW));
        if ownership(&live, &self.plan.name) != Ownership::Ours || served.is_some_and(|served| served == token) {
            return Ok(Looked::UNCHANGED);
        }
        let request = defrag_now::Request { statefulset: &self.plan.name, token, mark: None };
        match defrag_now::start(self.context, &live, &request).await? {
            defrag_now::Start::Wait(hold) => {
                let why = hold.because();
                if memory.is_news(Topic::Pending, &why) {
                    let note = format!("The run that {} asks for waits, because {why}.", defrag_now::ANNOTATION);
                    publish(self.context, self.object, Event::normal("DefragNow", "DefragNowWaits", note)).await;
                }
                Ok(Looked::UNCHANGED.again(defrag_now::AGAIN))
            }
            defrag_now::Start::Started { name: job, .. } => {
                memory.served = Some(token.to_owned());
                memory.over(Topic::Pending);
                let desired = self.desired(Some(token), memory.failed.as_deref());
                let applied = apply::update(self.context, &live, &desired, false).await?;
                let note = format!("The Job {job} was started, because {} asks for a run.", defrag_now::ANNOTATION);
                Ok(self.applied(memory, drift::fingerprint(&desired), applied, false, "DefragNowStarted", note).await)
            }
        }
    }
}

impl Settled {
    /// What the API server made of a CronJob that was asked for.
    fn of(seen: &Seen, desired: u64) -> Self {
        let meta = &seen.meta;
        let live = drift::fingerprint(&(seen.spec, &meta.labels, &meta.annotations, &meta.owner_references));
        Self { uid: meta.uid.clone(), desired, live }
    }
}

/// A few of the paths.
fn summary(fields: &[String]) -> String {
    const TOLD: usize = 6;
    let mut text = fields.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join(", ");
    if fields.len() > TOLD {
        // Writing to a String cannot fail.
        let _ = write!(text, " and {} more", fields.len() - TOLD);
    }
    text
}
