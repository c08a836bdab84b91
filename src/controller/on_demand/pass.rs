//! One look at all etcds that one Prometheus tells of: ask → measure → decide → start → tell.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use kube::api::{Api, ObjectMeta};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{
    super::{
        Context, Error, ObjectKey,
        events::{Event, publish},
        reconcile::apply,
        runs::{
            defrag_now::{self, Request, Start},
            readiness::readiness,
        },
    },
    client::{self, AskError},
};
use crate::defrag::{
    cronjob,
    cronjob::ownership::{Ownership, ownership},
    ondemand::{self, Aim, Decision, Facts, Hold, Readings, Refusal, measure, nearest_first, wants},
    policy::{OnDemand, Source},
    statefulset::StatefulSet,
};

/// The annotation of our CronJob that says why no run is started on demand although it may be required; absent where all is
/// well. It changes with the reason and never with what was measured.
pub const ON_DEMAND: &str = "etcd-defrag.io/on-demand";
/// The annotation of our CronJob with the last run on demand: when, which Job, and why. The Job carries it, too.
pub const LAST_ON_DEMAND: &str = "etcd-defrag.io/last-on-demand";

/// So many etcds are told of, each on its own, in one pass; of more, the condition of the policy tells.
const TOLD: usize = 20;
/// A refusal is told of when it has stood for so many passes in a row: a pod that restarts is missing for a moment.
const STRIKES: u32 = 3;
/// So many etcds more than there is room for are tried in one pass, where the first cannot start.
const TRIED: usize = 20;

/// An etcd to look at.
pub(crate) struct Candidate {
    pub(crate) key: ObjectKey,
    pub(crate) object: Arc<StatefulSet>,
    pub(crate) aim: Arc<Aim>,
    /// The name of the policy that governs it.
    pub(crate) policy: Arc<str>,
    pub(crate) facts: Facts,
    /// The metadata of its CronJob as the watch saw it.
    pub(crate) cronjob: ObjectMeta,
    /// How often in a row the same refusal was found.
    pub(crate) strikes: (&'static str, u32),
}

/// A policy, and how many runs on demand are under way under it.
pub(crate) struct Governed {
    pub(crate) on_demand: OnDemand,
    pub(crate) active: usize,
}

/// What one pass came to.
#[derive(Default)]
pub(super) struct PassResult {
    /// Whether Prometheus answered, and what is to be told of that.
    pub(super) reach: Reach,
    pub(super) strikes: HashMap<ObjectKey, (&'static str, u32)>,
    /// The etcds whose Job was started, with the uid of the Job.
    pub(super) started: Vec<(ObjectKey, String)>,
    /// Not required, waiting, unmeasured.
    pub(super) counts: [usize; 3],
    /// How long it took.
    pub(super) took: Duration,
}

/// What a policy's condition tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) holds: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Looks at all of them.
pub(super) async fn pass(
    context: &Context,
    source: &Source,
    candidates: Vec<Candidate>,
    policies: HashMap<Arc<str>, Governed>,
) -> PassResult {
    let begun = Instant::now();
    let result = match client::ask(source, &context.prometheus_files).await {
        Ok(readings) => {
            let now = Timestamp::now();
            let decided = decide(&candidates, &policies, &readings, source, now);
            act(context, source, &candidates, policies, decided, &readings, now).await
        }
        Err(error) => {
            warn!(url = source.url, %error, "Prometheus was asked in vain; no run starts because of it");
            PassResult { reach: unreachable(source, &error), strikes: strikes_of(&candidates), ..PassResult::default() }
        }
    };
    PassResult { took: begun.elapsed(), ..result }
}

fn strikes_of(candidates: &[Candidate]) -> HashMap<ObjectKey, (&'static str, u32)> {
    candidates.iter().map(|candidate| (candidate.key.clone(), candidate.strikes)).collect()
}

fn unreachable(source: &Source, error: &AskError) -> Reach {
    let message = format!(
        "Prometheus ({}) {error}. No run starts because of what is measured until it answers; schedules go on as they are.",
        source.url
    );
    Reach { holds: false, reason: error.reason(), message }
}

/// What each candidate came to: the core, for all of them.
fn decide(
    candidates: &[Candidate],
    policies: &HashMap<Arc<str>, Governed>,
    readings: &Readings,
    source: &Source,
    now: Timestamp,
) -> Vec<Result<Decision, Refusal>> {
    let decide = |candidate: &Candidate| {
        let measured = measure(&candidate.aim, readings, now, source.fresh)?;
        Ok(match policies.get(&candidate.policy) {
            Some(policy) => wants(&candidate.aim, &measured, candidate.facts, &policy.on_demand.pace, now),
            None => Decision::NotRequired,
        })
    };
    candidates.iter().map(decide).collect()
}

async fn act(
    context: &Context,
    source: &Source,
    candidates: &[Candidate],
    policies: HashMap<Arc<str>, Governed>,
    mut decided: Vec<Result<Decision, Refusal>>,
    readings: &Readings,
    now: Timestamp,
) -> PassResult {
    let mut result = PassResult::default();
    for (name, policy) in &policies {
        let room = usize::try_from(policy.on_demand.max_concurrent).unwrap_or(1).saturating_sub(policy.active);
        start(context, candidates, &mut decided, (name, policy.on_demand.max_concurrent), room, now, &mut result).await;
    }
    let refused = decided.iter().filter(|one| one.is_err()).count();
    for (candidate, decided) in candidates.iter().zip(&decided) {
        let strikes = match decided {
            Ok(_) => ("", 0),
            Err(refusal) if candidate.strikes.0 == refusal.code() => {
                (refusal.code(), candidate.strikes.1.saturating_add(1))
            }
            Err(refusal) => (refusal.code(), 1),
        };
        result.strikes.insert(candidate.key.clone(), strikes);
        let slot = match decided {
            Ok(Decision::NotRequired | Decision::Start { .. }) => 0,
            Ok(Decision::Hold(_)) => 1,
            Err(_) => 2,
        };
        if let Some(count) = result.counts.get_mut(slot) {
            *count += 1;
        }
    }
    tell_each(context, candidates, &decided, refused, &result.strikes).await;
    result.reach = reach(source, candidates, &decided, refused, readings);
    result
}

/// Starts runs under one policy, the etcd nearest to its quota first, as long as there is room.
async fn start(
    context: &Context,
    candidates: &[Candidate],
    decided: &mut [Result<Decision, Refusal>],
    (policy, allowed): (&Arc<str>, u32),
    mut room: usize,
    now: Timestamp,
    result: &mut PassResult,
) {
    let mut wanting: Vec<(usize, f64, String)> = candidates
        .iter()
        .zip(decided.iter())
        .enumerate()
        .filter_map(|(index, (candidate, decided))| match decided {
            Ok(Decision::Start { usage, reason }) if candidate.policy == *policy => {
                Some((index, *usage, reason.clone()))
            }
            _ => None,
        })
        .collect();
    let aim = |index: usize| candidates.get(index).map(|candidate| candidate.aim.as_ref());
    wanting.sort_by(|a, b| match (aim(a.0), aim(b.0)) {
        (Some(first), Some(second)) => nearest_first((a.1, first), (b.1, second)),
        _ => a.0.cmp(&b.0),
    });
    let most = room.saturating_add(TRIED);
    for (position, (index, _, reason)) in wanting.into_iter().enumerate() {
        let Some(candidate) = candidates.get(index) else { continue };
        let held = if position >= most {
            Some(Hold::Crowded { allowed })
        } else if room == 0 {
            Some(without_room(context, candidate, allowed).await)
        } else {
            match start_one(context, candidate, &reason, now).await {
                Ok(Start::Started { name, uid }) => {
                    room -= 1;
                    context.metrics.on_demand.started.inc();
                    result.started.extend(uid.map(|uid| (candidate.key.clone(), uid)));
                    info!(statefulset = %candidate.key, job = name, reason, "a run was started on demand");
                    let note = format!("The Job {name} was started, because its measured size requires it. {reason}");
                    publish(context, &candidate.object, Event::normal("Defragment", "DefragOnDemandStarted", note))
                        .await;
                    None
                }
                Ok(Start::Wait(hold)) => Some(hold),
                Err(error) => {
                    warn!(statefulset = %candidate.key, %error, "no run could be started; it is tried again");
                    continue;
                }
            }
        };
        if let (Some(hold), Some(slot)) = (held, decided.get_mut(index)) {
            *slot = Ok(Decision::Hold(hold));
        }
    }
}

/// What holds a run for which there is no room: that members are not ready has to be mended, and room comes by itself.
async fn without_room(context: &Context, candidate: &Candidate, allowed: u32) -> Hold {
    match readiness(context, &candidate.key.namespace, &candidate.key.name).await {
        Ok(members) => ondemand::guard(false, false, members).err().unwrap_or(Hold::Crowded { allowed }),
        Err(error) => {
            debug!(statefulset = %candidate.key, %error, "it cannot be told how many members are ready");
            Hold::Crowded { allowed }
        }
    }
}

async fn start_one(context: &Context, candidate: &Candidate, reason: &str, now: Timestamp) -> Result<Start, Error> {
    let name = cronjob::name(&candidate.key.name);
    let api: Api<CronJob> = Api::namespaced(context.client.clone(), &candidate.key.namespace);
    let Some(live) = api.get_opt(&name).await? else { return Ok(Start::Wait(Hold::Suspended)) };
    if live.metadata.deletion_timestamp.is_some() || ownership(&live, &candidate.key.name) != Ownership::Ours {
        return Ok(Start::Wait(Hold::Suspended));
    }
    let mark = format!("{now}: {reason}");
    let request = Request {
        statefulset: &candidate.key.name,
        token: &format!("on-demand {now}"),
        mark: Some((LAST_ON_DEMAND, &mark)),
    };
    let started = defrag_now::start(context, &live, &request).await?;
    if let Start::Started { name, .. } = &started {
        let note = format!("{now} {name}: {reason}");
        apply::annotate(context, &live, LAST_ON_DEMAND, Some(&note)).await?;
    }
    Ok(started)
}

/// Brings the annotations up to date where the reason became another, and says so in Events.
async fn tell_each(
    context: &Context,
    candidates: &[Candidate],
    decided: &[Result<Decision, Refusal>],
    refused: usize,
    strikes: &HashMap<ObjectKey, (&'static str, u32)>,
) {
    let mut told = 0;
    for (candidate, decided) in candidates.iter().zip(decided) {
        let wanted = match decided {
            Ok(Decision::NotRequired | Decision::Start { .. }) => None,
            Ok(Decision::Hold(hold)) if !hold.lasts() => None,
            Ok(Decision::Hold(hold)) => Some(note(hold.code(), "", &hold.because())),
            // Of many at once the condition of the policy tells; each on its own would be a storm of writes.
            Err(_) if refused > TOLD => continue,
            Err(refusal) => match strikes.get(&candidate.key) {
                Some((_, count)) if *count >= STRIKES => Some(note(refusal.code(), refusal.pod(), &refusal.message())),
                _ => continue,
            },
        };
        let before = candidate.cronjob.annotations.as_ref().and_then(|all| all.get(ON_DEMAND)).map(String::as_str);
        let head = |text: Option<&str>| text.and_then(|text| text.split_once(": ")).map(|(head, _)| head.to_owned());
        if head(before) == head(wanted.as_deref()) {
            continue;
        }
        told += 1;
        if told > TOLD {
            debug!("the other etcds are told of in the next pass");
            break;
        }
        let live = CronJob { metadata: candidate.cronjob.clone(), ..CronJob::default() };
        if let Err(error) = apply::annotate(context, &live, ON_DEMAND, wanted.as_deref()).await {
            debug!(statefulset = %candidate.key, %error, "an annotation could not be written");
            continue;
        }
        let event = match (decided, wanted) {
            (Err(refusal), _) => {
                let note = format!("No run can be started on demand. {}", refusal.message());
                Event::warning("Measure", "MeasurementRefused", note)
            }
            (Ok(Decision::Hold(hold)), Some(_)) => {
                let note = format!("A run is required by what was measured, and waits, because {}.", hold.because());
                Event::normal("Defragment", "DefragOnDemandWaits", note)
            }
            (Ok(_), _) => continue,
        };
        publish(context, &candidate.object, event).await;
    }
}

/// The annotation: what it is compared by, then the words.
fn note(code: &str, pod: &str, words: &str) -> String {
    let space = if pod.is_empty() { "" } else { " " };
    format!("{code}{space}{pod}: {words}")
}

/// What the condition of the policies that ask this Prometheus says of an answer.
fn reach(
    source: &Source,
    candidates: &[Candidate],
    decided: &[Result<Decision, Refusal>],
    refused: usize,
    readings: &Readings,
) -> Reach {
    let all = candidates.len();
    if refused == 0 {
        let message = format!("Prometheus ({}) answers, and tells of every member of {all} etcds.", source.url);
        return Reach { holds: true, reason: "Answers", message };
    }
    let examples: Vec<String> = candidates
        .iter()
        .zip(decided)
        .filter_map(|(candidate, decided)| {
            let refusal = decided.as_ref().err()?;
            Some(format!("{} ({} of {})", candidate.key, refusal.code(), refusal.pod()))
        })
        .take(3)
        .collect();
    let more = if refused > examples.len() { " and others" } else { "" };
    let list = format!("{}{more}", examples.join(", "));
    if refused == all {
        let nameless = if readings.nameless > 0 {
            format!(
                " {} series have no labels {} and {}: name others in metrics.prometheus.labels.",
                readings.nameless, source.queries.namespace, source.queries.pod
            )
        } else {
            String::new()
        };
        let message = format!(
            "Prometheus ({}) answers, but of no etcd under this policy can it be told how full it is: {list}.{nameless} No run \
             starts because of what is measured; schedules go on as they are.",
            source.url
        );
        return Reach { holds: false, reason: "NothingMeasured", message };
    }
    let message = format!(
        "Prometheus ({}) answers; {refused} of {all} etcds cannot be measured, and no run of theirs starts because of that: {list}. \
         The annotation {ON_DEMAND} of their CronJobs and Events of their StatefulSets say why.",
        source.url
    );
    Reach { holds: true, reason: "SomeUnmeasured", message }
}
