//! Starts runs under one policy as long as there are places: who comes first, and why the others wait.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use kube::api::Api;
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
    candidate::{Candidate, Governed, KEPT, PLACE},
};
use crate::defrag::{
    cronjob,
    cronjob::{
        beside::Note,
        names::LAST_ON_DEMAND,
        ownership::{Ownership, ownership},
    },
    ondemand::{self, Decision, Hold, Pace, Place, Refusal, Wanting},
};

/// So many etcds more than there is room for are tried in one pass, where the first cannot start.
const TRIED: usize = 20;

/// A run that was started on demand.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) key: ObjectKey,
    /// The name of the policy under which it takes its place.
    pub(crate) policy: Arc<str>,
    /// The uid of its CronJob.
    pub(crate) cronjob: String,
    /// The uid of the Job.
    pub(crate) job: String,
    pub(crate) place: Place,
    pub(crate) at: Timestamp,
}

/// An etcd whose rule holds.
struct Waiting<'a> {
    index: usize,
    candidate: &'a Candidate,
    usage: f64,
    urgent: bool,
    reason: String,
}

/// What became of a try to start a run.
enum Tried {
    Started(Option<Started>),
    Held(Hold),
    Failed,
}

/// Starts the runs that there are places for, and says of the others what holds them.
pub(super) async fn start(
    context: &Context,
    candidates: &[Candidate],
    decided: &mut [Result<Decision, Refusal>],
    (policy, governed): (&Arc<str>, Governed),
    now: Timestamp,
) -> Vec<Started> {
    let Governed { on_demand, mut places } = governed;
    let mut started = Vec::new();
    let (urgent, others): (Vec<Waiting<'_>>, Vec<Waiting<'_>>) =
        waiting(candidates, decided, policy).into_iter().partition(|one| one.urgent && places.kept_is_free());

    let mut tries = TRIED + 1;
    let mut left = others;
    for one in in_order(&places, urgent, &on_demand.pace, now) {
        if !places.kept_is_free() || tries == 0 {
            left.push(one);
            continue;
        }
        tries -= 1;
        match start_one(context, &one, Place::Kept, now).await {
            Tried::Started(run) => {
                places.take(&one.candidate.key.namespace, Place::Kept);
                started.extend(run);
            }
            Tried::Held(hold) => held(decided, one.index, hold),
            Tried::Failed => {}
        }
    }

    let mut tries = places.free().saturating_add(TRIED);
    for one in in_order(&places, left, &on_demand.pace, now) {
        let namespace = &one.candidate.key.namespace;
        let place = places.shared(namespace);
        if tries == 0 {
            let crowded = Hold::Crowded { allowed: on_demand.max_concurrent };
            held(decided, one.index, place.err().unwrap_or(crowded));
            continue;
        }
        tries -= 1;
        match place {
            Err(hold) => held(decided, one.index, without_room(context, one.candidate, hold).await),
            Ok(()) => match start_one(context, &one, Place::Shared, now).await {
                Tried::Started(run) => {
                    places.take(namespace, Place::Shared);
                    started.extend(run);
                }
                Tried::Held(hold) => held(decided, one.index, hold),
                Tried::Failed => {}
            },
        }
    }
    started
}

/// The etcds under this policy whose rule holds.
fn waiting<'a>(
    candidates: &'a [Candidate],
    decided: &[Result<Decision, Refusal>],
    policy: &Arc<str>,
) -> Vec<Waiting<'a>> {
    let wants = |(index, (candidate, decided)): (usize, (&'a Candidate, &Result<Decision, Refusal>))| match decided {
        Ok(Decision::Start { usage, urgent, reason }) if candidate.policy == *policy => {
            Some(Waiting { index, candidate, usage: *usage, urgent: *urgent, reason: reason.clone() })
        }
        _ => None,
    };
    candidates.iter().zip(decided).enumerate().filter_map(wants).collect()
}

fn in_order<'a>(
    places: &ondemand::Places,
    waiting: Vec<Waiting<'a>>,
    pace: &Pace,
    now: Timestamp,
) -> impl Iterator<Item = Waiting<'a>> + use<'a> {
    let ranked: Vec<Wanting<'_>> =
        waiting.iter().map(|one| Wanting { aim: &one.candidate.aim, usage: one.usage }).collect();
    let order = places.order(&ranked, pace, now);
    let mut waiting: Vec<Option<Waiting<'a>>> = waiting.into_iter().map(Some).collect();
    order.into_iter().filter_map(move |index| waiting.get_mut(index)?.take())
}

fn held(decided: &mut [Result<Decision, Refusal>], index: usize, hold: Hold) {
    if let Some(slot) = decided.get_mut(index) {
        *slot = Ok(Decision::Hold(hold));
    }
}

/// What holds a run for which there is no place: that members are not ready has to be fixed, and a place comes by itself.
async fn without_room(context: &Context, candidate: &Candidate, hold: Hold) -> Hold {
    match readiness(context, &candidate.key.namespace, &candidate.key.name).await {
        Ok(members) => ondemand::guard(false, false, members).err().unwrap_or(hold),
        Err(error) => {
            debug!(statefulset = %candidate.key, %error, "it is not known how many members are ready");
            hold
        }
    }
}

async fn start_one(context: &Context, one: &Waiting<'_>, place: Place, now: Timestamp) -> Tried {
    let (candidate, reason) = (one.candidate, &one.reason);
    match try_one(context, one, place, now).await {
        Ok(Start::Started { name, uid }) => {
            context.metrics.on_demand.started.inc();
            info!(statefulset = %candidate.key, job = name, reason, "a run was started on demand");
            let note = format!("The Job {name} was started, because the measured size requires it. {reason}");
            publish(context, &candidate.object, Event::normal("Defragment", "DefragOnDemandStarted", note)).await;
            let of = |(job, cronjob)| Started {
                key: candidate.key.clone(),
                policy: Arc::clone(&candidate.policy),
                cronjob,
                job,
                place,
                at: now,
            };
            Tried::Started(uid.zip(candidate.cronjob.uid.clone()).map(of))
        }
        Ok(Start::Wait(hold)) => Tried::Held(hold),
        Err(error) => {
            warn!(statefulset = %candidate.key, %error, "could not start a run; this is tried again");
            Tried::Failed
        }
    }
}

async fn try_one(context: &Context, one: &Waiting<'_>, place: Place, now: Timestamp) -> Result<Start, Error> {
    let (candidate, reason) = (one.candidate, &one.reason);
    let name = cronjob::name(&candidate.key.name);
    let api: Api<CronJob> = Api::namespaced(context.client.clone(), &candidate.key.namespace);
    let Some(live) = api.get_opt(&name).await? else { return Ok(Start::Wait(Hold::Suspended)) };
    if live.metadata.deletion_timestamp.is_some() || ownership(&live, &candidate.key.name) != Ownership::Ours {
        return Ok(Start::Wait(Hold::Suspended));
    }
    let mark = format!("{now}: {reason}");
    let marks = [(LAST_ON_DEMAND, mark.as_str()), (PLACE, KEPT)];
    let marks = if place == Place::Kept { &marks[..] } else { &marks[..1] };
    let request =
        Request { statefulset: &candidate.key.name, token: &format!("on-demand {now}"), marks, unless_since: None };
    let started = defrag_now::start(context, &live, &request).await?;
    if let Start::Started { name, .. } = &started {
        let note = format!("{now} {name}: {reason}");
        apply::annotate(context, &live, Note::LastOnDemand, Some(&note)).await?;
    }
    Ok(started)
}
