//! `cronjob --apply`: assesses the live StatefulSet and applies its CronJob.
//!
//! The reconciler deletes the CronJobs that it manages if their StatefulSet is not enrolled, so this one does not get
//! the marks of a managed CronJob: label, annotation and owner reference. Like the CronJob of defrag.sh, it stays until
//! somebody deletes it, and is adopted once the StatefulSet is enrolled. A CronJob of another owner is not changed.

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::{
    args::Args,
    build::{build, cronjob_name, trace},
};
use crate::{
    cli::{Exit, cluster, output},
    defrag::{
        Enrollment,
        cronjob::{
            MANAGED_BY, STATEFULSET,
            live::LAST_APPLIED,
            ownership::{Ownership, ownership},
        },
        finding::{Code, Finding, Severity},
        keys::{ENABLED, Key},
        statefulset::StatefulSet,
    },
};

/// The field manager.
const FIELD_MANAGER: &str = "etcd-defrag-webhook-cronjob";

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    cluster::run(apply(args))
}

async fn apply(args: &Args) -> anyhow::Result<Exit> {
    trace("reading the kubeconfig");
    let client = args.access.client().await?;
    let (namespace, name) = (args.namespace(), args.name());
    let place = format!("{namespace}/{name}");

    trace(&format!("reading the StatefulSet {place}"));
    let live: StatefulSet = Api::namespaced(client.clone(), namespace)
        .get_opt(name)
        .await
        .with_context(|| format!("cannot read the StatefulSet {place}"))?
        .with_context(|| format!("there is no StatefulSet {place}; name another one with -e and -n"))?;
    trace("reading the DefragPolicies");
    let governing =
        cluster::policy_snapshot(&client, Some(namespace), Timestamp::now()).await?.govern(namespace, &live.labels());
    trace(&governing.why());
    if Enrollment::of(&live, &governing.policy) == Enrollment::Enrolled {
        let by = match governing.name().filter(|_| live.label(ENABLED) != Some("true")) {
            Some(policy) => format!("by DefragPolicy {policy}"),
            None => format!("{ENABLED}=true"),
        };
        bail!(
            "the StatefulSet {place} is enrolled ({by}): the reconciler manages its CronJob and would undo this; use annotations instead: kubectl --namespace {namespace} annotate statefulset {name} '{}=…'",
            Key::Schedule.annotation()
        );
    }
    let Some(mut cronjob) = build(args, live, &governing)? else { return Ok(Exit::Refused) };
    unmark(&mut cronjob);

    let api = Api::namespaced(client, namespace);
    let job = cronjob_name(&cronjob)?;
    trace(&format!("reading the CronJob {namespace}/{job}"));
    let existing: Option<CronJob> = api.get_opt(job).await.with_context(|| format!("cannot read the CronJob {job}"))?;
    if let Some(Ownership::Foreign { why }) = existing.as_ref().map(|existing| ownership(existing, name)) {
        output::say_finding(&place, &foreign(namespace, job, &why));
        return Ok(Exit::Refused);
    }
    let verb = match &existing {
        None => "created",
        Some(existing) if applied_by_us(existing) => "configured",
        Some(existing) => {
            trace(&format!("replacing the earlier specification of {namespace}/{job}"));
            let cannot = || format!("cannot adopt the CronJob {namespace}/{job}");
            adopt(&api, job, existing, &cronjob).await.with_context(cannot)?;
            "adopted"
        }
    };
    trace(&format!("applying the CronJob {namespace}/{job}"));
    // Where none was seen, one that appears meanwhile is somebody else's: without force its fields conflict.
    let params = PatchParams { force: existing.is_some(), ..PatchParams::apply(FIELD_MANAGER) };
    api.patch(job, &params, &Patch::Apply(&cronjob))
        .await
        .with_context(|| format!("cannot apply the CronJob {namespace}/{job}"))?;

    output::print_line(&format!("cronjob.batch/{job} {verb}"))?;
    output::note(&format!(
        "this CronJob is not updated when the StatefulSet changes; for that, enrol the StatefulSet: kubectl --namespace {namespace} label statefulset {name} {ENABLED}=true"
    ));
    Ok(Exit::Clean)
}

/// Takes off what would make the reconciler take the CronJob for its own.
fn unmark(cronjob: &mut CronJob) {
    let metadata = &mut cronjob.metadata;
    metadata.labels.get_or_insert_default().remove(MANAGED_BY);
    metadata.annotations.get_or_insert_default().remove(STATEFULSET);
    metadata.owner_references = None;
}

/// Whether this command applied the CronJob before.
fn applied_by_us(existing: &CronJob) -> bool {
    existing.metadata.managed_fields.iter().flatten().any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER))
}

/// Replaces the specification, provided that the CronJob is still the one that was assessed: merged into another
/// author's lists, ours would keep their volumes and mounts.
async fn adopt(api: &Api<CronJob>, name: &str, existing: &CronJob, desired: &CronJob) -> anyhow::Result<()> {
    let Some(version) = &existing.metadata.resource_version else { bail!("it has no resourceVersion") };
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}),
        json!({"op": "replace", "path": "/spec", "value": desired.spec}),
    ];
    // Server-side apply leaves what kubectl remembers in place, and its next three-way merge would bring that back.
    if existing.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LAST_APPLIED)) {
        let annotation = format!("/metadata/annotations/{}", LAST_APPLIED.replace('~', "~0").replace('/', "~1"));
        operations.push(json!({"op": "remove", "path": annotation}));
    }
    let patch: json_patch::Patch = serde_json::from_value(json!(operations))?;
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(name, &params, &Patch::Json::<()>(patch)).await?;
    Ok(())
}

/// A CronJob of another owner is an error here: nothing of the request is done.
fn foreign(namespace: &str, name: &str, why: &str) -> Finding {
    let message = format!(
        "The CronJob {namespace}/{name} {why}, so it was not changed and nothing was applied. Delete or rename it, or keep it instead of this one."
    );
    Finding::new(Code::CronJobForeign, "metadata.name", "a CronJob of that name has another owner", message)
        .with_severity(Severity::Deny)
}
