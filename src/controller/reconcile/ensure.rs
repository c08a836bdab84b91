//! The third step: the CronJob made, repaired, adopted, or left to its owner.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use k8s_openapi::api::batch::v1::CronJob;
use kube::api::{Api, ObjectMeta};
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
            names::{FAILED_RUNS, PAUSED},
            orphan,
            ownership::{Ownership, ownership, statefulset_of_ours},
            served,
        },
        finding::Code,
        policy::Governing,
        statefulset::StatefulSet,
        text::counted,
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
    /// Those of the CronJob that it asks for, if it asks for one.
    prints: Option<Prints>,
    /// The Events about what was done.
    pub(super) events: Vec<Event>,
}

impl<'a> Ensure<'a> {
    pub(super) fn new(
        context: &'a Context,
        task: &'a Arc<Task>,
        (object, governing): (&'a Arc<StatefulSet>, &'a Governing),
        assessment: Assessment,
    ) -> Self {
        let prints = assessment.cronjob().map(Prints::of);
        Self { context, task, object, governing, assessment, prints, events: Vec::new() }
    }

    pub(super) async fn run(&mut self, state: &mut ObjectState) -> Result<Looked, Error> {
        let name = cronjob::name(&self.task.key.name);
        let strays = remove_strays(self.context, self.task, &name).await?;
        let mut looked = match &self.assessment.verdict {
            Verdict::Unseen | Verdict::Absent | Verdict::Leave | Verdict::Withheld => Looked::UNCHANGED,
            Verdict::Taken { why } => {
                let why = why.clone();
                self.foreign(&why, state)
            }
            Verdict::Present(built) => {
                let known = self.task.named();
                if known.is_some_and(|live| self.in_place(live, &built.cronjob, state)) {
                    Looked::UNCHANGED
                } else {
                    let written = match known {
                        Some(live) => Box::pin(self.follow(live, state)).await?,
                        // What was made a moment ago may not have been seen yet.
                        None if state.in_place.is_some() => None,
                        None => Box::pin(self.create(&name, state)).await?,
                    };
                    match written {
                        Some(looked) => looked,
                        None => Box::pin(self.ask(&name, state)).await?,
                    }
                }
            }
        };
        self.tell_budget(state);
        if matches!(self.assessment.verdict, Verdict::Present(_)) && looked.next == Next::Wait {
            let live = self.task.named();
            match live.and_then(|live| defrag_now::asked(self.object, &live.meta)) {
                Some(_) if self.assessment.refused.any => {
                    self.pending("settings of this StatefulSet are refused, as other Events say", state);
                }
                Some(token) => looked = Box::pin(self.defrag_now(&name, token, state)).await?,
                None => state.over(Topic::Pending),
            }
        }
        Ok(Looked { changed: looked.changed || strays, ..looked })
    }

    /// Writes what this StatefulSet asks for by now on its CronJob, which the caches show as it was asked for before. `None` where more
    /// has to be known, or the caches showed an older one.
    async fn follow(&mut self, cached: &Live, state: &mut ObjectState) -> Result<Option<Looked>, Error> {
        let (Verdict::Present(built), Some(prints)) = (&self.assessment.verdict, self.prints) else { return Ok(None) };
        let asked = state.in_place.is_some_and(|before| before != prints.whole);
        let ours = cached.ownership(&self.task.key.name) == Ownership::Ours && self.owns(&cached.meta) && !built.adopts;
        let stays = cached.meta.deletion_timestamp.is_none() && cached.version.is_some();
        if !asked || !ours || !stays || is_resumed(&cached.meta, &built.cronjob) {
            return Ok(None);
        }
        let desired = built.cronjob.clone();
        let applied = apply::update_known(self.context, cached, &desired).await?;
        Ok(applied.map(|applied| self.applied(state, &desired, applied, false, "", String::new())))
    }

    /// Asks for the live CronJob, and makes that the desired one.
    async fn ask(&mut self, name: &str, state: &mut ObjectState) -> Result<Looked, Error> {
        let api: Api<CronJob> = Api::namespaced(self.context.client.clone(), &self.task.key.namespace);
        let live = api.get_opt(name).await?;
        Box::pin(self.against(name, live, state)).await
    }

    /// Makes the live CronJob, if there is one, the desired one. The caches may have shown another one, or none.
    async fn against(&mut self, name: &str, live: Option<CronJob>, state: &mut ObjectState) -> Result<Looked, Error> {
        self.reassess(live.as_ref(), state).await?;
        let Some(live) = live else {
            let created = Box::pin(self.create(name, state)).await?;
            // Somebody else was quicker; the watch will show it.
            return Ok(created.unwrap_or(Looked::UNCHANGED.again(GOING_AGAIN)));
        };
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
        if (adopts || !self.owns(&live.metadata)) && !self.is_there().await? {
            return Ok(Looked::UNCHANGED.again(GOING_AGAIN));
        }
        state.over(Topic::Foreign);
        if Live::of(live.clone()).is_some_and(|live| self.in_place(&live, &desired, state)) {
            return Ok(Looked::UNCHANGED);
        }
        let fields = summary(&drift::drift(&live, &desired));
        let unasked = state.in_place.is_some() && state.in_place == self.prints.map(|prints| prints.whole);
        if unasked && let Some(looked) = self.contested(state, &fields) {
            return Ok(looked);
        }
        let resumed;
        let live = if is_resumed(&live.metadata, &desired) {
            resumed = apply::forget_missed_runs(self.context, &live).await?;
            &resumed
        } else {
            &live
        };
        let applied = apply::update(self.context, live, &desired, adopts).await?;
        let changes = changes::in_words(live, &desired);
        let (reason, note) = if adopts {
            let note = format!(
                "The CronJob {name}, which defrag.sh or the command cronjob created, is managed by etcd-defrag-webhook from now on. {changes}"
            );
            ("Adopted", note)
        } else if let Some(since) = orphan::since(&live.metadata).filter(|_| !self.owns(&live.metadata)) {
            let note = format!(
                "The CronJob {name} continued while there was no StatefulSet of this name, since {since}. This StatefulSet \
                 takes it over. {changes}"
            );
            ("TakenOver", note)
        } else if unasked || state.in_place.is_none() && !drift::only_in_our_annotations(live, &desired) {
            let note =
                format!("The CronJob {name} differed from the settings of this StatefulSet; corrected: {fields}.");
            ("Repaired", note)
        } else {
            ("", String::new())
        };
        Ok(self.applied(state, &desired, applied, reason == "Repaired", reason, note))
    }

    /// Assesses again where the API server shows another CronJob than the caches.
    async fn reassess(&mut self, live: Option<&CronJob>, state: &mut ObjectState) -> Result<(), Error> {
        let live = live.cloned().and_then(Live::of);
        let known = match (&live, self.task.named()) {
            (Some(live), Some(cached)) => !live.differs(cached),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if known {
            return Ok(());
        }
        let name = cronjob::name(&self.task.key.name);
        let others = self.task.cronjobs.iter().filter(|other| other.name() != name).cloned();
        let cronjobs: Vec<Live> = others.chain(live).collect();
        let question = (self.object, self.governing);
        self.assessment = assessed(self.context, self.task, question, Some(cronjobs), state).await?;
        self.prints = self.assessment.cronjob().map(Prints::of);
        state.note(&self.assessment, &self.governing.policy);
        Ok(())
    }

    /// Makes the CronJob where there is none; `None` where there is one by now.
    async fn create(&mut self, name: &str, state: &mut ObjectState) -> Result<Option<Looked>, Error> {
        let (Some(mut desired), Some(prints)) = (self.assessment.cronjob().cloned(), self.prints) else {
            return Ok(Some(Looked::UNCHANGED));
        };
        let repair = state.in_place == Some(prints.whole);
        if repair && let Some(looked) = self.contested(state, "deleted") {
            return Ok(Some(looked));
        }
        // What is on it counts as its record from now on, before a new token can come. It also says that it was made, and when.
        served::sign(&mut desired, (self.context.clock)());
        let Some(applied) = apply::create(self.context, &desired).await? else { return Ok(None) };
        state.over(Topic::Foreign);
        let (reason, why) = if repair { ("Repaired", "was deleted and created again") } else { ("", "was created") };
        Ok(Some(self.applied(state, &desired, applied, repair, reason, format!("The CronJob {name} {why}."))))
    }

    /// Tells once that too many runs in a row have failed.
    fn tell_budget(&mut self, state: &mut ObjectState) {
        let Verdict::Present(built) = &self.assessment.verdict else { return };
        let Some(failed) = built.spent else { return state.over(Topic::Budget) };
        if !state.is_news(Topic::Budget, &failed) {
            return;
        }
        let note = format!(
            "{} in a row failed, as many as the policy allows (job.failureBudget), so the CronJob is suspended. Read \
             the log of a failed Job's pod; a changed setting, or a new value of {}, resumes it.",
            counted(usize::try_from(failed).unwrap_or(usize::MAX), "run"),
            defrag_now::ANNOTATION
        );
        // The same count, told before a restart, has the same name and is not told again.
        let unique = built.cronjob.metadata.annotations.as_ref().and_then(|all| all.get(FAILED_RUNS).cloned());
        self.events.push(Event { unique, ..Event::warning("Defragment", "FailureBudgetSpent", note) });
    }

    /// Whether the CronJob names this StatefulSet among its owners.
    fn owns(&self, live: &ObjectMeta) -> bool {
        let uid = self.object.metadata.uid.as_ref();
        live.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == uid)
    }

    /// Whether the StatefulSet exists and stays, fetched if the watch may be too late: a CronJob of another owner, or
    /// one that was orphaned just now, would be deleted with an owner that is gone.
    async fn is_there(&self) -> Result<bool, Error> {
        let api: Api<StatefulSet> = Api::namespaced(self.context.client.clone(), &self.task.key.namespace);
        let live = api.get_metadata_opt(&self.task.key.name).await?;
        Ok(live.is_some_and(|live| {
            live.metadata.uid == self.object.metadata.uid && live.metadata.deletion_timestamp.is_none()
        }))
    }

    /// Whether a CronJob is as it should be, so that nothing has to be asked or written.
    fn in_place(&self, live: &Live, desired: &CronJob, state: &mut ObjectState) -> bool {
        let Some(prints) = self.prints else { return false };
        let statefulset = desired.metadata.annotations.as_ref().and_then(|all| all.get(cronjob::STATEFULSET));
        if live.meta.deletion_timestamp.is_some() || statefulset_of_ours(&live.meta) != statefulset.map(String::as_str)
        {
            return false;
        }
        let equal = live.spec == prints.spec && drift::metadata_drift(&live.meta, &desired.metadata).is_empty();
        if equal {
            state.settled = None;
        }
        if equal || state.settled == Some(Settled::of(live, prints.whole)) {
            state.in_place = Some(prints.whole);
            return true;
        }
        false
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
        let whole = self.prints.unwrap_or_else(|| Prints::of(desired)).whole;
        state.in_place = Some(whole);
        state.settled = match applied.remaining.as_slice() {
            [] => None,
            _ => Live::of(applied.live).map(|live| Settled::of(&live, whole)),
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
                "Something in the cluster, most likely a mutating webhook, changes the CronJob while it is written: {}. The \
                 change is not reverted; check that the run is still safe, or exempt the CronJob from the webhook.",
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
                "Something changes the CronJob back repeatedly ({what}). From now on it is repaired only a few times a minute; \
                 find out what changes it, or opt out with the label etcd-defrag.io/enabled=false."
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
            let note = format!("The run that {} requests waits, because {why}.", defrag_now::ANNOTATION);
            self.events.push(Event::normal("DefragNow", "DefragNowWaits", note));
        }
    }

    /// Starts the run that a new token asks for, or says why it has to wait.
    async fn defrag_now(&mut self, name: &str, token: &str, state: &mut ObjectState) -> Result<Looked, Error> {
        let api: Api<CronJob> = Api::namespaced(self.context.client.clone(), &self.task.key.namespace);
        let Some(live) = api.get_opt(name).await? else { return Ok(Looked::UNCHANGED.again(GOING_AGAIN)) };
        let asks = defrag_now::asked(self.object, &live.metadata) == Some(token);
        if ownership(&live, &self.task.key.name) != Ownership::Ours || !asks {
            return Ok(Looked::UNCHANGED);
        }
        let request = defrag_now::Request { statefulset: &self.task.key.name, token, marks: &[], unless_since: None };
        match defrag_now::start(self.context, &live, &request).await? {
            defrag_now::Start::Wait(hold) => {
                self.pending(&hold.because(), state);
                Ok(Looked::UNCHANGED.again(defrag_now::AGAIN))
            }
            defrag_now::Start::Started { name: job, .. } => {
                state.over(Topic::Pending);
                let Some(mut desired) = self.assessment.cronjob().cloned() else { return Ok(Looked::CHANGED) };
                served::note_served(&mut desired, token);
                let applied = apply::update(self.context, &live, &desired, false).await?;
                let note = format!("The Job {job} was started, because {} requests a run.", defrag_now::ANNOTATION);
                Ok(self.applied(state, &desired, applied, false, "DefragNowStarted", note))
            }
        }
    }
}

/// The fingerprints of a CronJob that is asked for, made once for each assessment.
#[derive(Clone, Copy)]
struct Prints {
    /// That of its specification.
    spec: u64,
    /// That of all that its StatefulSet asks for, which is the same for each CronJob of it.
    whole: u64,
}

impl Prints {
    fn of(desired: &CronJob) -> Self {
        let spec = drift::fingerprint(&desired.spec);
        Self { spec, whole: drift::fingerprint(&(spec, served::without_record(&desired.metadata))) }
    }
}

/// Whether a change ends what a pause of the fleet did to a CronJob.
fn is_resumed(live: &ObjectMeta, desired: &CronJob) -> bool {
    let paused = |meta: &ObjectMeta| meta.annotations.as_ref().is_some_and(|all| all.contains_key(PAUSED));
    paused(live) && !paused(&desired.metadata) && desired.spec.suspend == Some(false)
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
