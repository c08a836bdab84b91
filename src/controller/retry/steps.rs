//! The step of a retry: everything is fetched again, then the Job is created and recorded.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::CronJob;
use tracing::info;

use crate::{
    controller::{
        Context, Error, ObjectKey,
        events::{Event, publish},
        preflight::record as preflight_record,
        reconcile::apply,
        runs::{
            CronJobId,
            defrag_now::{self, Request, Start},
        },
    },
    defrag::{
        cronjob::{
            beside::Note,
            last_run::{LastRun, Retry},
            names::RETRY_OF,
            next_run::{next_run, zone},
        },
        ondemand::Hold,
        preflight::{self, Outcome},
        retry::{When, when},
        schedule::{TimeZone, Window},
        statefulset::StatefulSet,
    },
};

/// What became of a step.
#[derive(Debug)]
pub(crate) enum Tried {
    /// Its Job runs: whose run it is and its uid, where it was made just now.
    Started(Option<(CronJobId, String)>),
    /// It waits; the Job of the first run, and why.
    Waits(String, Hold),
    /// There is nothing to start, or not any more.
    Nothing,
}

/// Retries the last run of an etcd, if its CronJob says so and nothing prevents it.
///
/// The name of the Job follows from the first one, so that a second attempt after a failure half-way creates no second
/// one. A retry that is due while the CronJob is suspended or the fleet is paused is skipped, as a scheduled run is.
pub(crate) async fn start(
    context: &Context,
    key: &ObjectKey,
    object: &Arc<StatefulSet>,
    windows: Option<&[Window]>,
) -> Result<Tried, Error> {
    let Some(live) = apply::ours(context, key).await? else { return Ok(Tried::Nothing) };
    let Some(last) = LastRun::on(&live.metadata) else { return Ok(Tried::Nothing) };
    let now = (context.clock)();
    let zone = zone(&live).unwrap_or_else(TimeZone::utc);
    match when(last.retry.as_ref(), windows, &zone, next_run(&live, now), now) {
        When::Now => {}
        When::At(_) => return Ok(Tried::Nothing),
        When::Waits(hold) => return Ok(Tried::Waits(last.job, hold)),
        When::Never => {
            if matches!(last.retry, Some(Retry::After(_))) {
                let why = "it could not be started within a day";
                drop_it(context, object, &live, last, why.to_owned()).await?;
            }
            return Ok(Tried::Nothing);
        }
    }
    if has_preflight(context, &live) {
        return Ok(Tried::Waits(last.job, Hold::Preflight));
    }
    let token = format!("retry of {} {}", last.job, last.ended);
    let request = Request {
        statefulset: &key.name,
        token: &token,
        marks: &[(RETRY_OF, &last.job)],
        unless_since: Some(last.ended),
    };
    let (name, uid) = match defrag_now::start(context, &live, &request).await? {
        Start::Started { name, uid } => (name, uid),
        Start::Wait(hold @ (Hold::Suspended | Hold::Paused)) => {
            drop_it(context, object, &live, last, hold.because()).await?;
            return Ok(Tried::Nothing);
        }
        Start::Wait(hold) => return Ok(Tried::Waits(last.job, hold)),
    };
    if uid.is_some() {
        context.metrics.runs.retried.inc();
    }
    info!(statefulset = %key, job = name, first = last.job, "a run is retried");
    let note = format!("The Job {name} was started, because the run {} changed no member.", last.job);
    let unique = Some(format!("{name} {}", last.ended));
    publish(context, object, Event { unique, ..Event::normal("Defragment", "DefragRetryStarted", note) }).await;
    // A run that ended meanwhile has taken its place there.
    if let Some(live) = apply::ours(context, key).await?
        && LastRun::on(&live.metadata).as_ref() == Some(&last)
    {
        let last = LastRun { retry: Some(Retry::Started(name)), ..last };
        apply::annotate(context, &live, Note::LastRun, Some(&last.write())).await?;
    }
    Ok(Tried::Started(CronJobId::of(&live.metadata).zip(uid)))
}

/// Records that a run is not retried.
async fn drop_it(
    context: &Context,
    object: &Arc<StatefulSet>,
    live: &CronJob,
    last: LastRun,
    why: String,
) -> Result<(), Error> {
    info!(job = last.job, why, "a run is not retried");
    let note = format!(
        "The run {} changed no member and is not retried, because {why}. The next run is the next scheduled one.",
        last.job
    );
    let event = Event::normal("Defragment", "DefragRetryDropped", note);
    let event = Event { unique: Some(format!("{} {}", last.job, last.ended)), ..event };
    let last = LastRun { retry: Some(Retry::Dropped(why)), ..last };
    apply::annotate(context, live, Note::LastRun, Some(&last.write())).await?;
    publish(context, object, event).await;
    Ok(())
}

/// Whether a preflight of this CronJob is under way.
fn has_preflight(context: &Context, live: &CronJob) -> bool {
    preflight_record(live).is_some_and(|last| {
        last.outcome == Outcome::Running && (context.clock)().duration_since(last.at) < preflight::STALE
    })
}
