//! What takes the place of the last steps where a StatefulSet is to have no CronJob: ours are deleted, one that was orphaned
//! with its pods ten minutes later.

use k8s_openapi::api::batch::v1::CronJob;
use tracing::info;

use super::{apply, looked::Looked, observe::Task};
use crate::{
    controller::{
        Context, Error,
        compliance::keep,
        events::{Event, publish},
    },
    defrag::{
        cronjob::{
            beside::Note,
            orphan::{self, Fate, KEPT},
            ownership::{statefulset_of, statefulset_of_ours},
        },
        statefulset::StatefulSet,
    },
};

/// Why an enrolled StatefulSet has none, as the end of a sentence.
pub(super) const COVERED: &str = "the endpoints of another enrolled StatefulSet name all pods of this one";
/// Why one that is there has none otherwise.
pub(super) const NOT_ENROLLED: &str = "this StatefulSet is no longer enrolled";

/// Deletes all our CronJobs and reports for this StatefulSet; `why` is `None` if there is no StatefulSet of that name.
/// An orphaned CronJob is marked instead, and checked again when its time is over.
pub(super) async fn remove(
    context: &Context,
    task: &Task,
    object: Option<(&StatefulSet, &'static str)>,
) -> Result<Looked, Error> {
    let mut looked = Looked::UNCHANGED;
    for cached in task.cronjobs.iter().filter(|live| statefulset_of(&live.meta) == Some(&task.key.name)) {
        let Some(live) = apply::ours_named(context, &task.key, cached.name()).await? else { continue };
        let name = cached.name();
        let why = match object {
            Some((_, why)) => why,
            None => match orphan::fate(&live, &task.key.name, (context.clock)()) {
                Fate::Goes => "its StatefulSet was deleted",
                Fate::Expired => "its StatefulSet was deleted, and none of that name was created within ten minutes",
                Fate::Stays(left) => {
                    looked = looked.again_at_the_latest(left);
                    continue;
                }
                Fate::Unmarked => {
                    looked.changed |= mark(context, task, &live).await?;
                    looked = looked.again_at_the_latest(KEPT);
                    continue;
                }
            },
        };
        if !apply::delete(context, &live).await? {
            continue;
        }
        looked.changed = true;
        info!(statefulset = %task.key, cronjob = name, why, "removed");
        if let Some((object, _)) = object {
            let note = format!("The CronJob {name} was removed, because {why}.");
            publish(context, object, Event::normal("Remove", "Removed", note)).await;
        }
    }
    if let Some(reports) = &task.reports {
        keep::remove(context, &task.key, reports).await;
    }
    Ok(looked)
}

/// Records on an orphaned CronJob since when it is one, for the leader at the end of its time. Returns whether it still
/// exists.
async fn mark(context: &Context, task: &Task, live: &CronJob) -> Result<bool, Error> {
    let since = orphan::mark((context.clock)());
    match apply::annotate(context, live, Note::OrphanedSince, Some(&since)).await {
        Ok(_) => {}
        Err(Error::Kube(kube::Error::Api(status))) if status.is_not_found() => return Ok(false),
        Err(error) => return Err(error),
    }
    let cronjob = live.metadata.name.as_deref().unwrap_or_default();
    info!(
        statefulset = %task.key, cronjob, since,
        "the StatefulSet was deleted without its pods (--cascade=orphan): the CronJob continues, and is deleted after ten \
         minutes unless a StatefulSet of that name is created"
    );
    Ok(true)
}

/// Deletes CronJobs of ours for this StatefulSet under any other name: there is exactly one.
pub(super) async fn remove_strays(context: &Context, task: &Task, name: &str) -> Result<bool, Error> {
    let mut removed = false;
    for live in &task.cronjobs {
        if live.name() != name
            && statefulset_of_ours(&live.meta) == Some(&task.key.name)
            && let Some(live) = apply::ours_named(context, &task.key, live.name()).await?
        {
            removed |= apply::delete(context, &live).await?;
        }
    }
    Ok(removed)
}
