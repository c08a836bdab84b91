//! One look at one StatefulSet: fetch → judge → build → apply → report.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use kube::api::Api;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::{
    Context, Error, ObjectKey, apply,
    budget::Run,
    compliance::{
        Report,
        keep::{self, Reports},
    },
    drift::FINDINGS,
    have::Have,
    memory::{Judged, Memory, Planned, Standing, Topic},
    metrics::Outcome,
    ownership::{Ownership, ownership, statefulset_of, statefulset_of_ours},
    queue::{LONGEST_PAUSE_REFUSED, LONGEST_PAUSE_UNREACHABLE, Next},
    report::{Event, publish},
    seen::Seen,
    steps::{self, Intent, Verdict},
};
use crate::defrag::{
    cronjob,
    finding::Code,
    ondemand::Aim,
    policy::{Governing, Landscape},
    statefulset::StatefulSet,
};

/// So long may one look take; requests themselves have no time limit.
const PATIENCE: Duration = Duration::from_secs(30);
/// When to look again at something that is about to go away.
pub(super) const GOING_AGAIN: Duration = Duration::from_secs(2);
/// When to look again at something in a namespace whose labels are not known yet.
const NAMESPACE_AGAIN: Duration = Duration::from_millis(250);
/// So many refusals are told as Events of their own.
const REFUSALS_TOLD: usize = 5;

/// What one look starts from.
pub(super) struct Task {
    pub(super) key: ObjectKey,
    /// The StatefulSet as the watch last saw it.
    pub(super) statefulset: Option<Arc<StatefulSet>>,
    /// The CronJobs that concern it, as the watch last saw them.
    pub(super) seen: Vec<Seen>,
    /// Its reports of compliance; `None` where there are to be none.
    pub(super) reports: Option<Reports>,
    /// Its runs that have ended and are still known.
    pub(super) runs: Vec<Run>,
    /// What governs it.
    pub(super) landscape: Arc<Landscape>,
    pub(super) memory: Memory,
}

/// What one look came to.
pub(super) struct Done {
    pub(super) key: ObjectKey,
    pub(super) memory: Memory,
    pub(super) next: Next,
}

/// A look that went well.
pub(super) struct Looked {
    pub(super) changed: bool,
    pub(super) next: Next,
}

impl Looked {
    pub(super) const UNCHANGED: Self = Self { changed: false, next: Next::Wait };
    pub(super) const CHANGED: Self = Self { changed: true, next: Next::Wait };

    pub(super) const fn again(self, pause: Duration) -> Self {
        Self { next: Next::After(pause), ..self }
    }

    /// Another look after this time, if none comes sooner.
    fn again_at_the_latest(self, pause: Duration) -> Self {
        match self.next {
            Next::After(sooner) if sooner <= pause => self,
            Next::Retry(_) => self,
            Next::After(_) | Next::Wait => self.again(pause),
        }
    }
}

/// Takes one look; what goes wrong becomes a pause.
pub(super) async fn look(context: Arc<Context>, mut task: Task) -> Done {
    let mut memory = std::mem::take(&mut task.memory);
    let result = match timeout(PATIENCE, Box::pin(reconcile(&context, &task, &mut memory))).await {
        Ok(result) => result,
        Err(_) => Err(Error::TimedOut(PATIENCE)),
    };
    let next = match result {
        Ok(looked) => {
            memory.over(Topic::ApplyFailed);
            context.metrics.count(if looked.changed { Outcome::Changed } else { Outcome::Unchanged });
            looked.next
        }
        Err(Error::NotLeading) => Next::Wait,
        Err(error) => {
            context.metrics.count(Outcome::Failed);
            failed(&context, &task, &mut memory, &error).await
        }
    };
    Done { key: task.key, memory, next }
}

async fn failed(context: &Context, task: &Task, memory: &mut Memory, error: &Error) -> Next {
    let Error::Kube(kube::Error::Api(status)) = error else {
        warn!(statefulset = %task.key, %error, "will be tried again");
        return Next::Retry(LONGEST_PAUSE_UNREACHABLE);
    };
    let leaving =
        status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == "NamespaceTerminating");
    if leaving {
        debug!(statefulset = %task.key, "the namespace is being deleted");
        return Next::Wait;
    }
    warn!(statefulset = %task.key, %error, "will be tried again");
    let busy = status.code == 429 || status.code >= 500;
    if busy || status.is_conflict() {
        return Next::Retry(LONGEST_PAUSE_UNREACHABLE);
    }
    if let Some(object) = &task.statefulset
        && memory.is_news(Topic::ApplyFailed, &status.message)
    {
        let note =
            format!("The API server refused a change to the CronJob: {}. It will be tried again.", status.message);
        publish(context, object, Event::warning("Apply", "ApplyFailed", note)).await;
    }
    Next::Retry(LONGEST_PAUSE_REFUSED)
}

async fn reconcile(context: &Context, task: &Task, memory: &mut Memory) -> Result<Looked, Error> {
    let object = fetch(context, task).await?;
    let name = cronjob::name(&task.key.name);
    let rivals: Vec<String> = task
        .seen
        .iter()
        .filter_map(|seen| {
            seen.meta.name.as_ref().filter(|rival| **rival != name && seen.rivals(&task.key.name)).cloned()
        })
        .collect();
    if object.is_some() && !task.landscape.knows(&task.key.namespace) {
        // A namespace is a moment younger than what is in it; made under another policy, a CronJob would be written twice.
        return Ok(Looked::UNCHANGED.again(NAMESPACE_AGAIN));
    }
    let labels = object.as_ref().and_then(|object| object.metadata.labels.clone()).unwrap_or_default();
    let governing = task.landscape.govern(&task.key.namespace, &labels);
    let verdict = steps::judge(object.as_deref(), &governing.policy, Timestamp::now(), &rivals);
    let Some(object) = object else {
        *memory = Memory::default();
        return remove(context, task, None).await;
    };
    memory.aim = match &verdict.intent {
        // Most etcds are under no policy that asks, and their looks cost nothing more.
        Intent::Have(plan) if governing.policy.metrics.is_some() => Aim::of(plan).map(Arc::new),
        _ => None,
    };
    let planned = verdict.intent.plan().map(Planned::of);
    memory.judged = Some(Judged { findings: verdict.findings.clone().into(), planned });
    let looked = act(context, task, &object, &governing, &verdict, &rivals, memory).await;
    let again = match (&task.reports, &memory.judged) {
        (Some(reports), Some(judged)) if !matches!(verdict.intent, Intent::Leave) => {
            match Report::of(reports.kind, &object, &governing, &judged.findings) {
                Some(report) => keep::keep(context, &task.key, reports, report, &mut memory.report_writes).await,
                None => None,
            }
        }
        _ => None,
    };
    match again {
        Some(pause) => looked.map(|looked| looked.again_at_the_latest(pause)),
        None => looked,
    }
}

/// Does what the verdict asks for.
async fn act(
    context: &Context,
    task: &Task,
    object: &Arc<StatefulSet>,
    governing: &Governing,
    verdict: &Verdict,
    rivals: &[String],
    memory: &mut Memory,
) -> Result<Looked, Error> {
    match &verdict.intent {
        Intent::Leave => Ok(Looked::UNCHANGED),
        Intent::Remove => {
            *memory = Memory::default();
            remove(context, task, Some(object)).await
        }
        Intent::Follow(plan) if our_cronjob(task).is_some() => {
            memory.standing = Standing::Refused;
            report_findings(context, object, verdict, rivals, memory).await;
            Box::pin(Have { context, task, object, governing, plan, verdict }.run(memory)).await
        }
        Intent::Follow(_) | Intent::Keep => {
            memory.standing = Standing::Refused;
            report_findings(context, object, verdict, rivals, memory).await;
            leave_as_it_is(context, task, verdict).await
        }
        Intent::Have(plan) => {
            memory.standing = Standing::Sound;
            report_findings(context, object, verdict, rivals, memory).await;
            Box::pin(Have { context, task, object, governing, plan, verdict }.run(memory)).await
        }
    }
}

/// The StatefulSet as the watch saw it. Where the watch sees none and a CronJob or report says that there was one, the API
/// server is asked: nothing is deleted on the word of a cache.
async fn fetch(context: &Context, task: &Task) -> Result<Option<Arc<StatefulSet>>, Error> {
    if task.statefulset.is_some() {
        return Ok(task.statefulset.clone());
    }
    let reported = task.reports.as_ref().is_some_and(|reports| !reports.shown.is_empty());
    if !reported && !task.seen.iter().any(|seen| statefulset_of(&seen.meta) == Some(&task.key.name)) {
        return Ok(None);
    }
    let api: Api<StatefulSet> = Api::namespaced(context.client.clone(), &task.key.namespace);
    Ok(api.get_opt(&task.key.name).await?.map(Arc::new))
}

/// Deletes every CronJob and report of ours for this StatefulSet.
async fn remove(context: &Context, task: &Task, object: Option<&StatefulSet>) -> Result<Looked, Error> {
    let mut changed = false;
    for seen in task.seen.iter().filter(|seen| statefulset_of(&seen.meta) == Some(&task.key.name)) {
        let Some(name) = delete(context, task, seen).await? else { continue };
        changed = true;
        info!(statefulset = %task.key, cronjob = name, "removed");
        if let Some(object) = object {
            let note = format!("The CronJob {name} was removed, because this StatefulSet is not enrolled any more.");
            publish(context, object, Event::normal("Remove", "Removed", note)).await;
        }
    }
    if let Some(reports) = &task.reports {
        keep::remove(context, &task.key, reports).await;
    }
    Ok(Looked { changed, next: Next::Wait })
}

/// Deletes a CronJob if it is ours as it stands on the API server, not only in the cache.
async fn delete(context: &Context, task: &Task, seen: &Seen) -> Result<Option<String>, Error> {
    let Some(name) = &seen.meta.name else { return Ok(None) };
    let api: Api<CronJob> = Api::namespaced(context.client.clone(), &task.key.namespace);
    let Some(live) = api.get_opt(name).await? else { return Ok(None) };
    if live.metadata.deletion_timestamp.is_some() || ownership(&live, &task.key.name) != Ownership::Ours {
        return Ok(None);
    }
    Ok(apply::delete(context, &live).await?.then(|| name.clone()))
}

/// Deletes CronJobs of ours for this StatefulSet under any other name: there is exactly one.
pub(super) async fn remove_strays(context: &Context, task: &Task, name: &str) -> Result<bool, Error> {
    let mut removed = false;
    for seen in &task.seen {
        if seen.meta.name.as_deref() != Some(name) && statefulset_of_ours(&seen.meta) == Some(&task.key.name) {
            removed |= delete(context, task, seen).await?.is_some();
        }
    }
    Ok(removed)
}

/// The CronJob of a StatefulSet as the watch saw it, if it is there and ours.
fn our_cronjob(task: &Task) -> Option<&Seen> {
    let name = cronjob::name(&task.key.name);
    task.seen.iter().find(|seen| {
        let named = statefulset_of(&seen.meta).is_none_or(|named| named == task.key.name);
        seen.meta.name.as_deref() == Some(&name) && seen.ours && named
    })
}

/// Leaves the last good CronJob as it is, but for the findings that are written on it.
async fn leave_as_it_is(context: &Context, task: &Task, verdict: &Verdict) -> Result<Looked, Error> {
    let strays = remove_strays(context, task, &cronjob::name(&task.key.name)).await?;
    let unchanged = Looked { changed: strays, ..Looked::UNCHANGED };
    let Some(seen) = our_cronjob(task) else { return Ok(unchanged) };
    let codes = steps::codes(&verdict.findings);
    if seen.meta.annotations.as_ref().and_then(|all| all.get(FINDINGS)) == codes.as_ref() {
        return Ok(unchanged);
    }
    let live = CronJob { metadata: seen.meta.clone(), ..CronJob::default() };
    apply::annotate(context, &live, FINDINGS, codes.as_deref()).await?;
    Ok(Looked::CHANGED)
}

async fn report_findings(
    context: &Context,
    object: &StatefulSet,
    verdict: &Verdict,
    rivals: &[String],
    memory: &mut Memory,
) {
    let denials: Vec<_> = verdict.findings.iter().filter(|finding| finding.denies()).collect();
    if denials.is_empty() {
        memory.over(Topic::Refused);
    } else if memory.is_news(Topic::Refused, &denials.iter().map(|finding| &finding.message).collect::<Vec<_>>()) {
        for finding in denials.iter().take(REFUSALS_TOLD) {
            let note = format!("{} ({}): {}", finding.code, finding.field, finding.message);
            publish(context, object, Event::warning("Judge", "SettingsRefused", note)).await;
        }
        if denials.len() > REFUSALS_TOLD {
            let note = format!("{} further settings are refused.", denials.len() - REFUSALS_TOLD);
            publish(context, object, Event::warning("Judge", "SettingsRefused", note)).await;
        }
    }
    if rivals.is_empty() {
        memory.over(Topic::Rival);
    } else if memory.is_news(Topic::Rival, &rivals) {
        let told = verdict.findings.iter().filter(|finding| finding.code == Code::RivalDefragmenter);
        for finding in told.take(REFUSALS_TOLD) {
            publish(context, object, Event::warning("Judge", "RivalDefragmenter", &finding.message)).await;
        }
    }
}
