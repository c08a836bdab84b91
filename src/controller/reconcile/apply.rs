//! The writes: applying, repairing and deleting a CronJob.

use k8s_openapi::{api::batch::v1::CronJob, apimachinery::pkg::apis::meta::v1::Time};
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use serde_json::{Value, json};
use tracing::info;

use crate::{
    controller::{Context, Error, ObjectKey},
    defrag::{
        cronjob::{
            self, MANAGED_BY, MANAGER, STATEFULSET,
            beside::{Mark, Note, left_over},
            drift::drift,
            live::{LAST_APPLIED, Live},
            names::OURS,
            ownership::{Ownership, ownership},
        },
        text::printable,
    },
};

/// How many concurrent versions are followed; then the whole reconciliation starts again.
const VERSIONS: u32 = 3;

/// What an application came to.
#[derive(Debug)]
pub(crate) struct Applied {
    /// The CronJob as it is now.
    pub(crate) live: CronJob,
    /// The fields that are not as asked for, because the cluster insists.
    pub(crate) remaining: Vec<String>,
}

/// Creates a CronJob that is not there; `None` where one of that name is, be it whose it may. To create costs the API server half
/// of what an application costs it.
pub(crate) async fn create(context: &Context, desired: &CronJob) -> Result<Option<Applied>, Error> {
    context.may_write()?;
    let (api, _) = api(context, &desired.metadata);
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&params, desired).await {
        Ok(live) => finish(context, live, desired).await.map(Some),
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Brings a CronJob of ours into the desired shape, provided that it still is as the cache shows it; `None` where it is another
/// one by now, or takes more than one write.
pub(crate) async fn update_known(
    context: &Context,
    cached: &Live,
    desired: &CronJob,
) -> Result<Option<Applied>, Error> {
    let version = cached.version.as_deref().map(ToOwned::to_owned);
    let pinned = pinned(desired, cached.meta.uid.clone(), version);
    match server_side(context, &pinned).await {
        Ok(live) => finish(context, live, desired).await.map(Some),
        Err(Error::Kube(kube::Error::Api(status))) if status.is_conflict() || status.is_invalid() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Brings a CronJob that is ours, or is to become ours, into the desired shape.
///
/// Applying sets our fields; what others added to the specification it cannot remove, so that is replaced where needed.
/// With `adopt`, the specification is replaced first: merged into another author's lists, ours would not be valid.
pub(crate) async fn update(
    context: &Context,
    live: &CronJob,
    desired: &CronJob,
    adopt: bool,
) -> Result<Applied, Error> {
    if adopt {
        let replaced = replace(context, live, desired).await?;
        let applied = Box::pin(over(context, &replaced, desired)).await?;
        return finish(context, applied, desired).await;
    }
    let applied = match Box::pin(over(context, live, desired)).await {
        Err(Error::Kube(kube::Error::Api(status))) if status.is_invalid() => {
            let replaced = replace(context, live, desired).await?;
            Box::pin(over(context, &replaced, desired)).await?
        }
        other => other?,
    };
    finish(context, applied, desired).await
}

/// Applies over the version that was read, or a later one of the same CronJob whose owners are the same.
///
/// One that was deleted and created again by another client has another uid. And if the garbage collector removed the
/// owner reference, because the StatefulSet is deleted with `--cascade=orphan`, an application that puts it back would
/// have the CronJob deleted as garbage a moment later.
async fn over(context: &Context, live: &CronJob, desired: &CronJob) -> Result<CronJob, Error> {
    let mut pinned = pinned(desired, live.metadata.uid.clone(), live.metadata.resource_version.clone());
    for _ in 0..VERSIONS {
        match server_side(context, &pinned).await {
            Err(Error::Kube(kube::Error::Api(status))) if status.is_conflict() => {
                let (api, name) = api(context, &desired.metadata);
                let now = api.get_metadata_opt(&name).await?.map(|now| now.metadata);
                let same = |now: &ObjectMeta| {
                    now.uid == live.metadata.uid && now.owner_references == live.metadata.owner_references
                };
                let Some(now) = now.filter(same) else { return Err(kube::Error::Api(status).into()) };
                pinned.metadata.resource_version = now.resource_version;
            }
            other => return other,
        }
    }
    server_side(context, &pinned).await
}

/// The same CronJob, to be written only where it is of this uid and version.
fn pinned(desired: &CronJob, uid: Option<String>, resource_version: Option<String>) -> CronJob {
    let mut pinned = desired.clone();
    (pinned.metadata.uid, pinned.metadata.resource_version) = (uid, resource_version);
    pinned
}

/// Replaces what a write left over, once; what is different even then is what the cluster insists on.
async fn finish(context: &Context, live: CronJob, desired: &CronJob) -> Result<Applied, Error> {
    let remaining = drift(&live, desired);
    if remaining.is_empty() && left_over(&live.metadata, &desired.metadata).is_empty() {
        return Ok(Applied { live, remaining });
    }
    let live = replace(context, &live, desired).await?;
    let remaining = drift(&live, desired);
    Ok(Applied { live, remaining })
}

async fn server_side(context: &Context, desired: &CronJob) -> Result<CronJob, Error> {
    context.may_write()?;
    let (api, name) = api(context, &desired.metadata);
    Ok(api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(desired)).await?)
}

/// Replaces the specification and the controller, provided that the CronJob is still the one that was read.
async fn replace(context: &Context, live: &CronJob, desired: &CronJob) -> Result<CronJob, Error> {
    context.may_write()?;
    let (api, name) = api(context, &desired.metadata);
    let patch: json_patch::Patch = serde_json::from_value(replacement(live, desired)).map_err(Error::Patch)?;
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    info!(cronjob = %ObjectKey::of(&desired.metadata), "replacing the fields that server-side apply leaves");
    Ok(api.patch(&name, &params, &Patch::Json::<()>(patch)).await?)
}

fn replacement(live: &CronJob, desired: &CronJob) -> Value {
    let mut owners: Vec<_> = live
        .metadata
        .owner_references
        .iter()
        .flatten()
        .filter(|owner| owner.controller != Some(true))
        .cloned()
        .collect();
    owners.retain(|owner| desired.metadata.owner_references.iter().flatten().all(|ours| ours.uid != owner.uid));
    owners.extend(desired.metadata.owner_references.iter().flatten().cloned());
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": live.metadata.resource_version}),
        json!({"op": "replace", "path": "/spec", "value": desired.spec}),
        json!({"op": "add", "path": "/metadata/ownerReferences", "value": owners}),
    ];
    // Half of an adoption has to show that it was ours, should the other half never come.
    let marks = [
        ("labels", MANAGED_BY, &live.metadata.labels, &desired.metadata.labels),
        ("annotations", STATEFULSET, &live.metadata.annotations, &desired.metadata.annotations),
    ];
    for (field, key, live, desired) in marks {
        let Some(value) = desired.as_ref().and_then(|all| all.get(key)) else { continue };
        patch.push(match live {
            Some(_) => json!({"op": "add", "path": format!("/metadata/{field}/{}", escaped(key)), "value": value}),
            None => json!({"op": "add", "path": format!("/metadata/{field}"), "value": {key: value}}),
        });
    }
    // kubectl's copy would bring the old settings back with its next three-way merge.
    let has = |meta: &ObjectMeta, key: &str| meta.annotations.as_ref().is_some_and(|all| all.contains_key(key));
    let ours = [LAST_APPLIED].iter().chain(OURS).copied();
    let ours = ours.filter(|key| has(&live.metadata, key) && !has(&desired.metadata, key));
    let mut gone: Vec<Mark> = ours.map(|key| Mark { field: "annotations", key: key.to_owned() }).collect();
    let over = left_over(&live.metadata, &desired.metadata).into_iter();
    gone.extend(over.filter(|mark| !gone.contains(mark)).collect::<Vec<_>>());
    let place = |mark: &Mark| format!("/metadata/{}/{}", mark.field, escaped(&mark.key));
    patch.extend(gone.iter().map(|mark| json!({"op": "remove", "path": place(mark)})));
    Value::Array(patch)
}

/// A key as a JSON pointer has it.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Our CronJob of a StatefulSet as the API server shows it; `None` if there is none, or it is being deleted, or has
/// another owner.
pub(crate) async fn ours(context: &Context, key: &ObjectKey) -> Result<Option<CronJob>, Error> {
    ours_named(context, key, &cronjob::name(&key.name)).await
}

/// The same of one under any name.
pub(super) async fn ours_named(context: &Context, key: &ObjectKey, name: &str) -> Result<Option<CronJob>, Error> {
    let api: Api<CronJob> = Api::namespaced(context.client.clone(), &key.namespace);
    let live = api.get_opt(name).await?;
    Ok(live.filter(|live| live.metadata.deletion_timestamp.is_none() && ownership(live, &key.name) == Ownership::Ours))
}

/// Sets or removes one note on a CronJob of ours, whose specification stays as it is.
pub(crate) async fn annotate(
    context: &Context,
    live: &CronJob,
    note: Note,
    value: Option<&str>,
) -> Result<CronJob, Error> {
    context.may_write()?;
    let (api, name) = api(context, &live.metadata);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patch = json!({"metadata": {"uid": live.metadata.uid, "annotations": {note.key(): value.map(printable)}}});
    Ok(api.patch(&name, &params, &Patch::Merge(&patch)).await?)
}

/// Tells the CronJob controller that everything up to now has been started, so that a CronJob which goes on starts no run that was
/// missed: it would start the last one for as long as `startingDeadlineSeconds` allows.
pub(crate) async fn forget_missed_runs(context: &Context, live: &CronJob) -> Result<CronJob, Error> {
    context.may_write()?;
    let (api, name) = api(context, &live.metadata);
    let last = live.status.as_ref().and_then(|status| status.last_schedule_time.as_ref()).map(|time| time.0);
    let now = last.max(Some((context.clock)())).map(Time);
    let patch = json!({"metadata": {"uid": live.metadata.uid}, "status": {"lastScheduleTime": now}});
    Ok(api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?)
}

/// Deletes exactly this CronJob, with its Jobs. That it is gone already is just as well.
pub(crate) async fn delete(context: &Context, live: &CronJob) -> Result<bool, Error> {
    context.may_write()?;
    let (api, name) = api(context, &live.metadata);
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions { uid: live.metadata.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(&name, &params).await {
        Ok(_) => Ok(true),
        // A conflict is looked at again: most likely it is another one by now.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn api(context: &Context, meta: &ObjectMeta) -> (Api<CronJob>, String) {
    let key = ObjectKey::of(meta);
    (Api::namespaced(context.client.clone(), &key.namespace), key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cronjob(value: Value) -> CronJob {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_replacement_swaps_the_controller_and_spares_what_is_not_ours() {
        let owner = |uid: &str, controller: bool| json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "etcd", "uid": uid, "controller": controller});
        let live = cronjob(json!({
            "metadata": {"name": "x", "resourceVersion": "7",
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "a", "etcd-defrag.io/findings": "single-member"},
                "ownerReferences": [owner("old", true), owner("other", false)]},
        }));
        let desired = cronjob(json!({
            "metadata": {"name": "x", "labels": {"app.kubernetes.io/managed-by": "etcd-defrag-webhook"},
                "annotations": {"etcd-defrag.io/statefulset": "etcd"}, "ownerReferences": [owner("new", true)]},
            "spec": {"schedule": "@daily", "jobTemplate": {}},
        }));
        let patch: json_patch::Patch = serde_json::from_value(replacement(&live, &desired)).unwrap();
        let mut document = serde_json::to_value(&live).unwrap();
        document["spec"] = json!({"schedule": "@hourly", "timeZone": "Etc/UTC"});
        json_patch::patch(&mut document, &patch).unwrap();
        let uids: Vec<_> = document["metadata"]["ownerReferences"]
            .as_array()
            .unwrap()
            .iter()
            .map(|owner| owner["uid"].clone())
            .collect();
        assert_eq!(uids, ["other", "new"]);
        assert_eq!(document["metadata"]["annotations"], json!({"team": "a", "etcd-defrag.io/statefulset": "etcd"}));
        assert_eq!(document["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "etcd-defrag-webhook"}));
        assert_eq!(document["spec"]["timeZone"], Value::Null);
        document["metadata"]["resourceVersion"] = json!("8");
        assert!(json_patch::patch(&mut document, &patch).is_err(), "another version is not overwritten");
    }
}
