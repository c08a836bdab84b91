//! The third step: the CronJob made, repaired, adopted, or left to its owner.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use k8s_openapi::api::batch::v1::CronJob;
use kube::api::Api;
use tokio::time::Instant;
use tracing::{debug, info};

use super::{
    apply,
    assessed::assessed,
    looked::{GOING_AGAIN, Looked},
    observe::Task,
    remove::remove_strays,
};
use crate::{
    controller::{
        Context, Error,
        events::Event,
        object_state::{ObjectState, Settled, Topic},
        queue::Next,
        runs::defrag_now,
    },
    defrag::{
        Assessment, Verdict,
        cronjob::{
            self, Built, changes, drift,
            live::Live,
            names::{FAILED_RUNS, LAST_DEFRAG_NOW},
            orphan,
            ownership::{Ownership, ownership, statefulset_of_ours},
        },
        finding::Code,
        policy::Governing,
        statefulset::StatefulSet,
    },
};

/// When to look again at a name that is taken, should the watch have missed that it became free.
const FOREIGN_AGAIN: Duration = Duration::from_mins(5);

/// An enrolled StatefulSet whose CronJob is to be as its assessment says.
pub(super) struct Ensure<'a> {
    pub(super) context: &'a Context,
    pub(super) task: &'a Arc<Task>,
    pub(super) object: &'a Arc<StatefulSet>,
    pub(super) governing: &'a Governing,
    /// Of what the caches show, or where the API server showed something else, of that.
    pub(super) assessment: Assessment,
    /// The Events about what was done.
    pub(super) events: Vec<Event>,
}

impl Ensure<'_> {
    pub(super) async fn run(&mut self, state: &mut ObjectState) -> Result<Looked, Error> {
        let name = cronjob::name(&self.task.key.name);
        let strays = remove_strays(self.context, self.task, &name).await?;
        let mut looked = match &self.assessment.verdict {
            Verdict::Unseen | Verdict::Absent | Verdict::Leave | Verdict::Withheld => Looked::UNCHANGED,
            Verdict::Taken { why } => {
                let why = why.clone();
                self.foreign(&why, state)
            }
            Verdict::Present(built) => match self.task.named() {
                Some(live) if in_place(live, &built.cronjob, state) => Looked::UNCHANGED,
                // What was made a moment ago may not have been seen yet.
                None if state.in_place.is_none() => Box::pin(self.create(&name, state)).await?,
                _ => {
                    let api: Api<CronJob> = Api::namespaced(self.context.client.clone(), &self.task.key.namespace);
                    let live = api.get_opt(&name).await?;
                    Box::pin(self.against(&name, live, state)).await?
                }
            },
        };
        self.tell_budget(state);
        if matches!(self.assessment.verdict, Verdict::Present(_)) && looked.next == Next::Wait {
            let served = self.task.named().and_then(|live| live.annotation(LAST_DEFRAG_NOW));
            match defrag_now::asked(self.object, served.or(state.served.as_deref())) {
                Some(_) if self.assessment.refused.any => {
                    self.pending("something of this StatefulSet is refused, as other Events say", state);
                }
                Some(token) => looked = Box::pin(self.defrag_now(&name, token, state)).await?,
                None => state.over(Topic::Pending),
            }
        }
        Ok(Looked { changed: looked.changed || strays, ..looked })
    }

    /// Makes the live CronJob, if there is one, the desired one. The caches may have shown another one, or none.
    async fn against(&mut self, name: &str, live: Option<CronJob>, state: &mut ObjectState) -> Result<Looked, Error> {
        self.reassess(live.as_ref(), state).await?;
        let Some(live) = live else { return Box::pin(self.create(name, state)).await };
        if live.metadata.deletion_timestamp.is_some() {
            return Ok(Looked::UNCHANGED.again(GOING_AGAIN));
        }
        let Built { cronjob: desired, adopts, .. } = match &self.assessment.verdict {
            Verdict::Present(built) => (**built).clone(),
            Verdict::Taken { why } => {
                let why = why.clone();
                return Ok(self.foreign(&why, state));
            }
            Verdict::Unseen | Verdict::Absent | Verdict::Leave | Verdict::Withheld => {
                return Ok(Looked::UNCHANGED);
            }
        };
        if (adopts || !self.owns(&live)) && !self.is_there().await? {
            return Ok(Looked::UNCHANGED.again(GOING_AGAIN));
        }
        state.over(Topic::Foreign);
        if Live::of(live.clone()).is_some_and(|live| in_place(&live, &desired, state)) {
            return Ok(Looked::UNCHANGED);
        }
        let fields = summary(&drift::drift(&live, &desired));
        let unasked = state.in_place == Some(drift::fingerprint(&desired));
        if unasked && let Some(looked) = self.contested(state, &fields) {
            return Ok(looked);
        }
        let applied = apply::update(self.context, &live, &desired, adopts).await?;
        let changes = changes::in_words(&live, &desired);
        let (reason, note) = if adopts {
            let note = format!(
                "The CronJob {name}, which defrag.sh or the command cronjob made, is kept by us from now on. {changes}"
            );
            ("Adopted", note)
        } else if let Some(since) = orphan::since(&live.metadata).filter(|_| !self.owns(&live)) {
            let note = format!(
                "The CronJob {name} went on while there was no StatefulSet of this name, since {since}. This one takes it \
                 over. {changes}"
            );
            ("TakenOver", note)
        } else if unasked || state.in_place.is_none() && !drift::only_in_our_annotations(&live, &desired) {
            let note = format!("The CronJob {name} differed from what this StatefulSet asks for; put right: {fields}.");
            ("Repaired", note)
        } else {
            ("", String::new())
        };
        Ok(self.applied(state, &desired, applied, reason == "Repaired", reason, note))
    }

    /// Assesses again where the API server shows another CronJob than the caches.
    async fn reassess(&mut self, live: Option<&CronJob>, state: &mut ObjectState) -> Result<(), Error> {
        let live = live.cloned().and_then(Live::of);
        if live.as_ref() == self.task.named() {
            return Ok(());
        }
        let name = cronjob::name(&self.task.key.name);
        let others = self.task.cronjobs.iter().filter(|other| other.name() != name).cloned();
        let cronjobs: Vec<Live> = others.chain(live).collect();
        let question = (self.object, self.governing);
        self.assessment = assessed(self.context, self.task, question, Some(cronjobs), state).await?;
        state.note(&self.assessment, &self.governing.policy);
        Ok(())
    }

    /// Makes the CronJob where there is none.
    async fn create(&mut self, name: &str, state: &mut ObjectState) -> Result<Looked, Error> {
        state.over(Topic::Foreign);
        let Some(desired) = self.assessment.cronjob().cloned() else { return Ok(Looked::UNCHANGED) };
        let repair = state.in_place == Some(drift::fingerprint(&desired));
        if repair && let Some(looked) = self.contested(state, "deleted") {
            return Ok(looked);
        }
        let applied = apply::create(self.context, &desired).await?;
        let (reason, why) = if repair { ("Repaired", "was deleted and made again") } else { ("Created", "was made") };
        Ok(self.applied(state, &desired, applied, repair, reason, format!("The CronJob {name} {why}.")))
    }

    /// Tells once that too many runs in a row have failed.
    fn tell_budget(&mut self, state: &mut ObjectState) {
        let Verdict::Present(built) = &self.assessment.verdict else { return };
        let Some(failed) = built.spent else { return state.over(Topic::Budget) };
        if !state.is_news(Topic::Budget, &failed) {
            return;
        }
        let note = format!(
            "{failed} runs in a row failed, as many as the policy allows (job.failureBudget), so the CronJob is suspended. Look \
             at the log of a failed Job's pod; a changed setting, or a new value of {}, resumes it.",
            defrag_now::ANNOTATION
        );
        // The same count, told before a restart, has the same name and is not told again.
        let unique = built.cronjob.metadata.annotations.as_ref().and_then(|all| all.get(FAILED_RUNS).cloned());
        self.events.push(Event { unique, ..Event::warning("Defragment", "FailureBudgetSpent", note) });
    }

    /// Whether the CronJob names this StatefulSet among its owners.
    fn owns(&self, live: &CronJob) -> bool {
        let uid = self.object.metadata.uid.as_ref();
        live.metadata.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == uid)
    }

    /// Whether the StatefulSet exists and stays, asked for where the watch may be too late: a CronJob of somebody else, or
    /// one that was orphaned just now, would be deleted with an owner that is gone.
    async fn is_there(&self) -> Result<bool, Error> {
        let api: Api<StatefulSet> = Api::namespaced(self.context.client.clone(), &self.task.key.namespace);
        let live = api.get_metadata_opt(&self.task.key.name).await?;
        Ok(live.is_some_and(|live| {
            live.metadata.uid == self.object.metadata.uid && live.metadata.deletion_timestamp.is_none()
        }))
    }

    /// Notes what was written, and an Event about it.
    fn applied(
        &mut self,
        state: &mut ObjectState,
        desired: &CronJob,
        applied: apply::Applied,
        repair: bool,
        reason: &'static str,
        note: String,
    ) -> Looked {
        let print = drift::fingerprint(desired);
        state.in_place = Some(print);
        state.settled = match Live::of(applied.live) {
            Some(live) if !applied.remaining.is_empty() => Some(Settled::of(&live, print)),
            _ => None,
        };
        if repair {
            self.context.metrics.repairs.inc();
        }
        info!(statefulset = %self.task.key, reason, note, "applied");
        if !reason.is_empty() {
            self.events.push(Event::normal("Apply", reason, note));
        }
        if applied.remaining.is_empty() {
            state.over(Topic::Unsettled);
        } else if state.is_news(Topic::Unsettled, &applied.remaining) {
            let note = format!(
                "Something in the cluster, most likely a mutating webhook, changes the CronJob while it is written: {}. It is \
                 left like that; check that the run is still a safe one, or exempt the CronJob from the webhook.",
                summary(&applied.remaining)
            );
            self.events.push(Event::warning("Apply", "ChangedByCluster", note));
        }
        Looked::CHANGED
    }

    /// Whether to wait before the next repair, because the CronJob is changed back again and again.
    fn contested(&mut self, state: &mut ObjectState, what: &str) -> Option<Looked> {
        let Err(pause) = state.repairs.take(Instant::now()) else {
            return None;
        };
        if state.is_news(Topic::Contested, &()) {
            let note = format!(
                "The CronJob is changed back again and again ({what}). It is repaired a few times a minute only from now on; \
                 find who or what changes it, or opt out with the label etcd-defrag.io/enabled=false."
            );
            self.events.push(Event::warning("Apply", "Contested", note));
        }
        Some(Looked::UNCHANGED.again(pause))
    }

    fn foreign(&mut self, why: &str, state: &mut ObjectState) -> Looked {
        state.in_place = None;
        let finding = self.assessment.findings.iter().find(|finding| finding.code == Code::CronJobForeign);
        if let Some(finding) = finding.filter(|_| state.is_news(Topic::Foreign, &why)) {
            debug!(statefulset = %self.task.key, why, "the name of the CronJob is taken");
            self.events.push(Event::warning("Apply", "CronJobForeign", &finding.message));
        }
        Looked::UNCHANGED.again(FOREIGN_AGAIN)
    }

    /// Adds an Event about why a run that is asked for waits.
    fn pending(&mut self, why: &str, state: &mut ObjectState) {
        if state.is_news(Topic::Pending, &why) {
            let note = format!("The run that {} asks for waits, because {why}.", defrag_now::ANNOTATION);
            self.events.push(Event::normal("DefragNow", "DefragNowWaits", note));
        }
    }

    /// Starts the run that a new token asks for, or says why it has to wait.
    async fn defrag_now(&mut self, name: &str, token: &str, state: &mut ObjectState) -> Result<Looked, Error> {
        let api: Api<CronJob> = Api::namespaced(self.context.client.clone(), &self.task.key.namespace);
        let Some(live) = api.get_opt(name).await? else { return Ok(Looked::UNCHANGED.again(GOING_AGAIN)) };
        let served = live.metadata.annotations.as_ref().and_then(|all| all.get(LAST_DEFRAG_NOW));
        if ownership(&live, &self.task.key.name) != Ownership::Ours || served.is_some_and(|served| served == token) {
            return Ok(Looked::UNCHANGED);
        }
        let request = defrag_now::Request { statefulset: &self.task.key.name, token, marks: &[] };
        match defrag_now::start(self.context, &live, &request).await? {
            defrag_now::Start::Wait(hold) => {
                self.pending(&hold.because(), state);
                Ok(Looked::UNCHANGED.again(defrag_now::AGAIN))
            }
            defrag_now::Start::Started { name: job, .. } => {
                state.served = Some(token.to_owned());
                state.over(Topic::Pending);
                let Some(mut desired) = self.assessment.cronjob().cloned() else { return Ok(Looked::CHANGED) };
                let notes = desired.metadata.annotations.get_or_insert_default();
                notes.insert(LAST_DEFRAG_NOW.to_owned(), token.to_owned());
                let applied = apply::update(self.context, &live, &desired, false).await?;
                let note = format!("The Job {job} was started, because {} asks for a run.", defrag_now::ANNOTATION);
                Ok(self.applied(state, &desired, applied, false, "DefragNowStarted", note))
            }
        }
    }
}

/// Whether a CronJob is as it should be, so that nothing has to be asked or written.
fn in_place(live: &Live, desired: &CronJob, state: &mut ObjectState) -> bool {
    let statefulset = desired.metadata.annotations.as_ref().and_then(|all| all.get(cronjob::STATEFULSET));
    if live.meta.deletion_timestamp.is_some() || statefulset_of_ours(&live.meta) != statefulset.map(String::as_str) {
        return false;
    }
    let print = drift::fingerprint(desired);
    let equal = live.spec == drift::fingerprint(&desired.spec)
        && drift::metadata_drift(&live.meta, &desired.metadata).is_empty();
    if equal {
        state.settled = None;
    }
    if equal || state.settled == Some(Settled::of(live, print)) {
        state.in_place = Some(print);
        return true;
    }
    false
}

impl Settled {
    /// What the API server made of a CronJob that was asked for.
    fn of(live: &Live, desired: u64) -> Self {
        let meta = &live.meta;
        let live = drift::fingerprint(&(live.spec, &meta.labels, &meta.annotations, &meta.owner_references));
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
