//! What takes the place of the last steps where a StatefulSet is to have no CronJob: ours are deleted.

use k8s_openapi::api::batch::v1::CronJob;
use kube::api::Api;
use tracing::info;

use super::{apply, looked::Looked, observe::Task};
use crate::{
    controller::{
        Context, Error,
        compliance::keep,
        events::{Event, publish},
        queue::Next,
    },
    defrag::{
        cronjob::{
            live::Live,
            ownership::{Ownership, ownership, statefulset_of, statefulset_of_ours},
        },
        statefulset::StatefulSet,
    },
};

/// Deletes every CronJob and report of ours for this StatefulSet.
pub(super) async fn remove(context: &Context, task: &Task, object: Option<&StatefulSet>) -> Result<Looked, Error> {
    let mut changed = false;
    for live in task.cronjobs.iter().filter(|live| statefulset_of(&live.meta) == Some(&task.key.name)) {
        let Some(name) = delete(context, task, live).await? else { continue };
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
async fn delete(context: &Context, task: &Task, live: &Live) -> Result<Option<String>, Error> {
    let name = live.name();
    let api: Api<CronJob> = Api::namespaced(context.client.clone(), &task.key.namespace);
    let Some(live) = api.get_opt(name).await? else { return Ok(None) };
    if live.metadata.deletion_timestamp.is_some() || ownership(&live, &task.key.name) != Ownership::Ours {
        return Ok(None);
    }
    Ok(apply::delete(context, &live).await?.then(|| name.to_owned()))
}

/// Deletes CronJobs of ours for this StatefulSet under any other name: there is exactly one.
pub(super) async fn remove_strays(context: &Context, task: &Task, name: &str) -> Result<bool, Error> {
    let mut removed = false;
    for live in &task.cronjobs {
        if live.name() != name && statefulset_of_ours(&live.meta) == Some(&task.key.name) {
            removed |= delete(context, task, live).await?.is_some();
        }
    }
    Ok(removed)
}
