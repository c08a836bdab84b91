//! The writes: a report for each enrolled StatefulSet, and none besides.

use std::time::Duration;

use jiff::Timestamp;
use kube::{
    api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions},
    core::DynamicObject,
};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Kind, Report, Shown, name};
use crate::{
    controller::{Context, Error, ObjectKey, object_state::Allowance, watch::cache::Cache},
    defrag::{
        cronjob::{MANAGED_BY, MANAGER},
        statefulset::StatefulSet,
    },
};

/// When to try again what could not be written.
const AGAIN: Duration = Duration::from_mins(1);

/// The reports that concern one StatefulSet, as the watch last saw them.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    pub(crate) kind: Kind,
    /// By name.
    pub(crate) shown: Vec<(String, Shown)>,
}

/// Makes the report of a StatefulSet say what it should; where that has to wait, for how long.
///
/// A report is worth less than the CronJob: errors here are logged and retried.
pub(crate) async fn keep(
    context: &Context,
    key: &ObjectKey,
    reports: &Reports,
    report: Report,
    writes: &mut Allowance,
) -> Option<Duration> {
    let wanted = report.meta.name.clone().unwrap_or_default();
    let strays: Vec<_> = reports.shown.iter().filter(|(name, _)| *name != wanted).cloned().collect();
    remove(context, key, &Reports { kind: reports.kind, shown: strays }).await;
    let shown = reports.shown.iter().find(|(name, _)| *name == wanted);
    if shown.is_some_and(|(_, shown)| report.is_told_by(shown)) {
        return None;
    }
    if let Err(pause) = writes.take(Instant::now()) {
        return Some(pause);
    }
    match write(context, key, &wanted, report).await {
        Ok(()) | Err(Error::NotLeading) => None,
        // The StatefulSet or its namespace is going.
        Err(Error::Kube(kube::Error::Api(status))) if status.is_not_found() => None,
        Err(error) => {
            warn!(statefulset = %key, %error, "could not write the compliance report; this is retried");
            Some(AGAIN)
        }
    }
}

async fn write(context: &Context, key: &ObjectKey, name: &str, report: Report) -> Result<(), Error> {
    let api = api(context, report.kind, &key.namespace);
    // The watch may be behind: what is written already is not written twice.
    let live = api.get_opt(name).await?;
    if live.as_ref().is_some_and(|live| report.is_told_by(&Shown::of(live))) {
        return Ok(());
    }
    let object = report.dated(live.as_ref(), Timestamp::now());
    context.may_write()?;
    api.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await?;
    debug!(statefulset = %key, "wrote the compliance report");
    Ok(())
}

/// Deletes these reports of a StatefulSet that is not enrolled, or not there, any more.
pub(crate) async fn remove(context: &Context, key: &ObjectKey, reports: &Reports) {
    let api = api(context, reports.kind, &key.namespace);
    for (name, shown) in &reports.shown {
        if let Err(error) = delete(context, &api, name, shown.uid.clone()).await {
            warn!(statefulset = %key, %error, "could not delete the compliance report");
        }
    }
}

/// Deletes all our reports of a kind that another one took the place of.
pub(crate) async fn clear(context: &Context, kind: Kind, namespace: Option<&str>) -> Result<(), Error> {
    let resource = kind.resource();
    let all: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(context.client.clone(), namespace, &resource),
        None => Api::all_with(context.client.clone(), &resource),
    };
    let ours = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    for object in all.list(&ours).await? {
        let key = ObjectKey::of(&object.metadata);
        delete(context, &api(context, kind, &key.namespace), &key.name, object.metadata.uid).await?;
    }
    Ok(())
}

async fn delete(context: &Context, api: &Api<DynamicObject>, name: &str, uid: Option<String>) -> Result<(), Error> {
    context.may_write()?;
    let preconditions = Some(Preconditions { uid, resource_version: None });
    match api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn api(context: &Context, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), namespace, &kind.resource())
}

impl Reports {
    /// Those that concern a StatefulSet: all that are about it, and the one that has the name of its own.
    pub(crate) fn of(kind: Kind, cache: &Cache<Shown>, key: &ObjectKey, object: Option<&StatefulSet>) -> Self {
        let mut shown: Vec<_> = cache.filed(key).map(|(name, shown)| (name.to_owned(), shown.clone())).collect();
        let own = object.and_then(|object| object.metadata.uid.as_deref()).map(name);
        if let Some(own) = own.filter(|own| shown.iter().all(|(name, _)| name != own)) {
            shown.extend(cache.get(&ObjectKey::new(&key.namespace, &own)).map(|found| (own, found.clone())));
        }
        Self { kind, shown }
    }
}
