//! One run now, at a person's request, under the same guards as a scheduled one.

use std::{fmt::Write as _, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::readiness::readiness;
use crate::{
    controller::{Context, Error, watch::observed},
    defrag::{
        cronjob::{MANAGED_BY, MANAGER, ownership::controlling_cronjob, served},
        keys::Key,
        ondemand::{self, Hold, Readiness},
        statefulset::StatefulSet,
    },
};

/// The annotation that asks.
pub(crate) const ANNOTATION: &str = Key::DefragNow.annotation();
/// When to look again at a request that waits.
pub(crate) const AGAIN: Duration = Duration::from_secs(10);

/// What became of a request.
pub(crate) enum Start {
    /// A Job of this name runs; its uid where it was made just now.
    Started { name: String, uid: Option<String> },
    /// It cannot start yet.
    Wait(Hold),
}

/// A run that is asked for.
pub(crate) struct Request<'a> {
    /// The StatefulSet whose members are defragmented.
    pub(crate) statefulset: &'a str,
    /// What makes it one run, however often it is asked for.
    pub(crate) token: &'a str,
    /// Annotations for the Job.
    pub(crate) marks: &'a [(&'a str, &'a str)],
    /// A run that ended after this time has taken its place, also where its end is not written down yet.
    pub(crate) unless_since: Option<Timestamp>,
}

/// The token that asks for a run, if there is one. `cronjob` is that of the StatefulSet.
pub(crate) fn asked<'a>(object: &'a StatefulSet, cronjob: &ObjectMeta) -> Option<&'a str> {
    served::asks(object.annotation(ANNOTATION), cronjob, object.metadata.uid.as_deref())
}

/// Starts a Job from the template of the CronJob, unless the fleet is paused, one runs already, the CronJob is suspended, or a member
/// is not ready.
pub(crate) async fn start(context: &Context, live: &CronJob, request: &Request<'_>) -> Result<Start, Error> {
    // The CronJob may not be suspended yet.
    if context.is_paused() {
        return Ok(Start::Wait(Hold::Paused));
    }
    let namespace = live.metadata.namespace.as_deref().unwrap_or_default();
    let suspended = live.spec.suspend == Some(true);
    let job = job(live, request);
    let active = !suspended && active(context, live, (&job, request)).await?;
    let members = if suspended || active { NOBODY } else { readiness(context, namespace, request.statefulset).await? };
    if let Err(hold) = ondemand::guard(suspended, active, members) {
        return Ok(Start::Wait(hold));
    }
    context.may_write()?;
    let name = job.metadata.name.clone().unwrap_or_default();
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), namespace);
    let made = match jobs.create(&PostParams::default(), &job).await {
        Ok(made) => made,
        // The name is made from the token: an earlier attempt got this far, and its run is the one that was asked for.
        Err(kube::Error::Api(status)) if status.is_already_exists() => return Ok(Start::Started { name, uid: None }),
        Err(error) => return Err(error.into()),
    };
    count(context, live, &made).await?;
    Ok(Start::Started { name, uid: made.metadata.uid })
}

/// Nobody is asked for where something else speaks against a run already.
const NOBODY: Readiness = Readiness { ready: 0, wanted: 0, counts_alarms: false };

/// Whether another Job of the CronJob is under way, or has taken the place of this one.
async fn active(context: &Context, live: &CronJob, (job, request): (&Job, &Request<'_>)) -> Result<bool, Error> {
    let namespace = live.metadata.namespace.as_deref().unwrap_or_default();
    let jobs: Api<observed::Job> = Api::namespaced(context.client.clone(), namespace);
    let running = jobs.list(&ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}"))).await?;
    let others = running.items.iter().filter(|other| other.metadata.name != job.metadata.name && is_of(other, live));
    let came = |other: &observed::Job| request.unless_since.is_some_and(|since| other.ended_at() > Some(since));
    Ok(others.into_iter().any(|other| other.under_way() || came(other)))
}

/// Whether a Job is a run of this CronJob.
fn is_of(job: &observed::Job, live: &CronJob) -> bool {
    controlling_cronjob(&job.metadata).is_some_and(|uid| Some(uid) == live.metadata.uid.as_deref())
}

/// Enters the Job among the active ones of the CronJob: its controller enters only Jobs that it made itself, and would
/// start a scheduled run beside this one although concurrency is forbidden.
async fn count(context: &Context, live: &CronJob, job: &Job) -> Result<(), Error> {
    let reference = ObjectReference {
        api_version: Some("batch/v1".to_owned()),
        kind: Some("Job".to_owned()),
        name: job.metadata.name.clone(),
        namespace: job.metadata.namespace.clone(),
        uid: job.metadata.uid.clone(),
        resource_version: job.metadata.resource_version.clone(),
        ..ObjectReference::default()
    };
    let mut active = live.status.as_ref().and_then(|status| status.active.clone()).unwrap_or_default();
    active.push(reference);
    let patch = json!({"metadata": {"uid": live.metadata.uid}, "status": {"active": active}});
    let namespace = live.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<CronJob> = Api::namespaced(context.client.clone(), namespace);
    let name = live.metadata.name.as_deref().unwrap_or_default();
    context.may_write()?;
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

fn job(live: &CronJob, request: &Request<'_>) -> Job {
    let token = request.token;
    let template = live.spec.job_template.clone();
    let given = template.metadata.unwrap_or_default();
    let mut annotations = given.annotations.unwrap_or_default();
    annotations.insert("cronjob.kubernetes.io/instantiate".to_owned(), "manual".to_owned());
    annotations.extend(request.marks.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    let cronjob = live.metadata.name.clone().unwrap_or_default();
    let uid = live.metadata.uid.clone().unwrap_or_default();
    let hash = Sha256::digest(format!("{uid}/{token}"));
    // A CronJob's name has at most 52 characters and a Job's at most 63: a hyphen and ten digits fit.
    let hash = hash.iter().take(5).fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{cronjob}-{hash}")),
            namespace: live.metadata.namespace.clone(),
            labels: given.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "CronJob".to_owned(),
                name: cronjob,
                uid,
                controller: Some(true),
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_job_that_the_cronjob_controls_and_that_runs_is_a_run_of_it() {
        let live = CronJob {
            metadata: ObjectMeta { uid: Some("u".to_owned()), ..ObjectMeta::default() },
            ..CronJob::default()
        };
        let is_run = |owner: serde_json::Value, suspend: Option<bool>| {
            let job = json!({"metadata": {"ownerReferences": [owner]}, "spec": {"suspend": suspend}});
            let job: observed::Job = serde_json::from_value(job).unwrap();
            job.under_way() && is_of(&job, &live)
        };
        let owner = |kind: &str, uid: &str, controller: Option<bool>| json!({"apiVersion": "batch/v1", "kind": kind, "name": "x", "uid": uid, "controller": controller});
        assert!(is_run(owner("CronJob", "u", Some(true)), None));
        assert!(is_run(owner("CronJob", "u", Some(true)), Some(false)));
        assert!(!is_run(owner("CronJob", "u", Some(true)), Some(true)), "suspended");
        assert!(!is_run(owner("CronJob", "u", None), None), "an owner that does not control it");
        assert!(!is_run(owner("CronJob", "v", Some(true)), None), "of another CronJob");
        assert!(!is_run(owner("Queue", "u", Some(true)), None), "of something else");
    }

    #[test]
    fn one_token_is_one_job_whatever_happens_between() {
        let live = CronJob {
            metadata: ObjectMeta { name: Some("x".repeat(52)), uid: Some("u".to_owned()), ..ObjectMeta::default() },
            ..CronJob::default()
        };
        let name = |token: &str| {
            job(&live, &Request { statefulset: "x", token, marks: &[], unless_since: None }).metadata.name.unwrap()
        };
        assert_eq!(name("a"), name("a"));
        assert_ne!(name("a"), name("b"));
        assert_eq!(name("a").len(), 63);
    }
}
