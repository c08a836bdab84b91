//! `cronjob --apply`: the live StatefulSet judged, its CronJob applied.
//!
//! The CronJob has the reconciler's shape, annotations and owner reference, so that the reconciler takes it over once the
//! StatefulSet is enrolled. Until then the label of what it manages is left out: it would delete the CronJob of a
//! StatefulSet that is not enrolled. As there, a CronJob that belongs to somebody else stays untouched.

use anyhow::{Context as _, bail};
use k8s_openapi::api::batch::v1::CronJob;
use kube::{
    Client,
    api::{Api, Patch, PatchParams},
};
use serde_json::json;

use super::{Args, build, cronjob_name, trace};
use crate::{
    cli::{Outcome, output},
    controller::ownership::{Ownership, ownership},
    defrag::{
        cronjob::MANAGED_BY,
        finding::{Code, Finding, Severity},
        judgement::Enrollment,
        keys::{ENABLED, Key},
        statefulset::StatefulSet,
    },
};

/// The field manager.
const FIELD_MANAGER: &str = "etcd-defrag-webhook-cronjob";

/// Server-side apply leaves what kubectl remembers in place, and its next three-way merge would bring that back.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?
        .block_on(apply(args))
}

async fn apply(args: &Args) -> anyhow::Result<Outcome> {
    trace("reading the kubeconfig");
    let client = Client::try_default().await.context("cannot reach a cluster; is KUBECONFIG right?")?;
    let (namespace, name) = (args.namespace(), args.name());
    let place = format!("{namespace}/{name}");

    trace(&format!("reading the StatefulSet {place}"));
    let live: StatefulSet = Api::namespaced(client.clone(), namespace)
        .get_opt(name)
        .await
        .with_context(|| format!("cannot read the StatefulSet {place}"))?
        .with_context(|| format!("there is no StatefulSet {place}; name another one with -e and -n"))?;
    if Enrollment::of(&live) == Enrollment::Enrolled {
        bail!(
            "the StatefulSet {place} is enrolled ({ENABLED}=true): the reconciler keeps its CronJob and would undo this; tune it with annotations: kubectl --namespace {namespace} annotate statefulset {name} '{}=…'",
            Key::Schedule.annotation()
        );
    }
    let Some(mut cronjob) = build(args, live)? else { return Ok(Outcome::Refused) };
    if let Some(labels) = &mut cronjob.metadata.labels {
        labels.remove(MANAGED_BY);
    }

    let api = Api::namespaced(client, namespace);
    let job = cronjob_name(&cronjob)?;
    trace(&format!("reading the CronJob {namespace}/{job}"));
    let existing: Option<CronJob> = api.get_opt(job).await.with_context(|| format!("cannot read the CronJob {job}"))?;
    let whose = existing.as_ref().map(|existing| ownership(existing, name));
    if let Some(Ownership::Foreign { why }) = &whose {
        output::say(output::finding(&place, &foreign(namespace, job, why)).trim_end());
        return Ok(Outcome::Refused);
    }
    if let (Some(existing), Some(Ownership::Adoptable)) = (&existing, &whose) {
        trace(&format!("replacing what defrag.sh wrote into {namespace}/{job}"));
        adopt(&api, job, existing, &cronjob)
            .await
            .with_context(|| format!("cannot adopt the CronJob {namespace}/{job}"))?;
    }
    trace(&format!("applying the CronJob {namespace}/{job}"));
    // Where none was seen, one that appears meanwhile is somebody else's: without force its fields conflict.
    let params = PatchParams { force: existing.is_some(), ..PatchParams::apply(FIELD_MANAGER) };
    api.patch(job, &params, &Patch::Apply(&cronjob))
        .await
        .with_context(|| format!("cannot apply the CronJob {namespace}/{job}"))?;

    let verb = match whose {
        None => "created",
        Some(Ownership::Adoptable) => "adopted from defrag.sh",
        Some(_) => "configured",
    };
    output::print(&format!("cronjob.batch/{job} {verb}\n"))?;
    output::note(&format!(
        "enrolled, the CronJob would be kept current from now on: kubectl --namespace {namespace} label statefulset {name} {ENABLED}=true"
    ));
    Ok(Outcome::Clean)
}

/// Replaces the specification, provided that the CronJob is still the one that was looked at: merged into another
/// author's lists, ours would keep their volumes and mounts.
async fn adopt(api: &Api<CronJob>, name: &str, existing: &CronJob, desired: &CronJob) -> anyhow::Result<()> {
    let Some(version) = &existing.metadata.resource_version else { bail!("it has no resourceVersion") };
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": version}),
        json!({"op": "replace", "path": "/spec", "value": desired.spec}),
    ];
    if existing.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LAST_APPLIED)) {
        let annotation = format!("/metadata/annotations/{}", LAST_APPLIED.replace('~', "~0").replace('/', "~1"));
        operations.push(json!({"op": "remove", "path": annotation}));
    }
    let patch: json_patch::Patch = serde_json::from_value(json!(operations))?;
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(name, &params, &Patch::Json::<()>(patch)).await?;
    Ok(())
}

/// That the CronJob is somebody else's refuses here: nothing is done of what was asked for.
fn foreign(namespace: &str, name: &str, why: &str) -> Finding {
    let message = format!(
        "The CronJob {namespace}/{name} {why}, so it was left untouched and nothing was applied. Delete or rename it, or leave the defragmentation to it."
    );
    Finding::new(Code::CronJobForeign, "metadata.name", "a CronJob of that name belongs to somebody else", message)
        .with_severity(Severity::Deny)
}
