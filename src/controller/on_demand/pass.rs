//! One pass over all etcds that one Prometheus has values for: query → measure → decide → start → report.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    super::{
        Context, ObjectKey,
        events::{Event, publish},
        reconcile::apply,
    },
    candidate::{Candidate, Governed},
    client::{self, AskError},
    starting::{Started, start},
};
use crate::defrag::{
    cronjob::{beside::Note, names::ON_DEMAND},
    ondemand::{Decision, Readings, Refusal, measure, wants},
    policy::Source,
    text::counted,
};

/// How many etcds are reported separately in one pass; more are in the condition of the policy.
const TOLD: usize = 20;
/// A refusal is reported after this number of passes in a row: a pod that restarts is missing for a moment.
const STRIKES: u32 = 3;

/// What one pass came to.
#[derive(Default)]
pub(super) struct PassResult {
    /// Whether Prometheus answered, and the report on it.
    pub(super) reach: Reach,
    pub(super) strikes: HashMap<ObjectKey, (&'static str, u32)>,
    /// The runs that were started.
    pub(super) started: Vec<Started>,
    /// Not required, waiting, unmeasured.
    pub(super) counts: [usize; 3],
    /// How long it took.
    pub(super) took: Duration,
}

/// The content of a policy's condition.
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
            warn!(url = source.url, %error, "Prometheus query failed; no on-demand run started");
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
        "Prometheus ({}) {error}. Until it answers, no run starts on demand; scheduled runs continue.",
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
    for (name, governed) in policies {
        result.started.extend(start(context, candidates, &mut decided, (&name, governed), now).await);
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
            debug!("the other etcds are reported in the next pass");
            break;
        }
        let live = CronJob { metadata: candidate.cronjob.clone(), ..CronJob::default() };
        if let Err(error) = apply::annotate(context, &live, Note::OnDemand, wanted.as_deref()).await {
            debug!(statefulset = %candidate.key, %error, "could not write an annotation");
            continue;
        }
        let event = match (decided, wanted) {
            (Err(refusal), _) => {
                let note = format!("No run can be started on demand. {}", refusal.message());
                Event::warning("Measure", "MeasurementRefused", note)
            }
            (Ok(Decision::Hold(hold)), Some(_)) => {
                let note = format!("The measured sizes require a run, and it waits, because {}.", hold.because());
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
        let message = format!(
            "Prometheus ({}) answers, and has values for every member of {}.",
            source.url,
            counted(all, "etcd")
        );
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
            "Prometheus ({}) answers, but has no usable values for any etcd under this policy: {list}.{nameless} No run \
             starts on demand; scheduled runs continue.",
            source.url
        );
        return Reach { holds: false, reason: "NothingMeasured", message };
    }
    let message = format!(
        "Prometheus ({}) answers; {refused} of {} cannot be measured, so no run starts on demand for them: {list}. \
         The annotation {ON_DEMAND} of their CronJobs and Events of their StatefulSets say why.",
        source.url,
        counted(all, "etcd")
    );
    Reach { holds: true, reason: "SomeUnmeasured", message }
}
