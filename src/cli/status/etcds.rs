//! What is known of one enrolled etcd. Pure: objects in, an [`Etcd`] out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use serde::Serialize;

use crate::{
    cli::around::Around,
    cli::policies::as_acted_on,
    controller::on_demand::{LAST_ON_DEMAND, ON_DEMAND},
    defrag::{
        Enrollment, assess,
        cronjob::{
            self,
            budget::Run,
            last_run::LastRun,
            names::{LAST_RUN, NOT_STARTED, PAUSED},
            next_run::next_run,
            orphan,
            ownership::{Ownership, controlling_cronjob, ownership, statefulset_of_ours},
            served,
        },
        finding::Finding,
        keys::Key,
        policy::Governing,
        preflight::{self, Record},
        statefulset::StatefulSet,
    },
};

/// The sizes of one etcd: those of its fullest member, in bytes.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sizes {
    pub(super) size: u64,
    pub(super) in_use: u64,
    pub(super) quota: u64,
    /// Over all members.
    pub(super) reclaimable: u64,
    /// Until the data in use alone reaches the quota, at the growth of the last day; `null` where it does not grow.
    pub(super) days_to_quota: Option<f64>,
    /// Whether the rule holds for a member.
    pub(super) required: bool,
}

/// What the last preflight found.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Preflight {
    pub(super) outcome: String,
    pub(super) at: String,
    pub(super) message: String,
}

impl Preflight {
    fn of(record: Record) -> Self {
        Self { outcome: record.outcome.to_string(), at: record.at.to_string(), message: record.text }
    }
}

/// A token that asks for a run, or asked for one.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DefragNow {
    pub(super) token: String,
    /// Whether a run for it is still to come. Else it was served, or it was there when the CronJob was made.
    pub(super) waits: bool,
}

/// One enrolled etcd. Times are RFC 3339.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Etcd {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The policy object that governs; `null` for the built-in policy.
    pub(super) policy: Option<String>,
    /// The CronJob, if there is one that has no other owner.
    pub(super) cron_job: Option<String>,
    /// Its schedule; without a CronJob, what it would be.
    pub(super) schedule: Option<String>,
    /// Its time zone; `null` for the controller manager's.
    pub(super) time_zone: Option<String>,
    pub(super) suspended: bool,
    /// The image of its runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) engine_image: Option<String>,
    /// Since when the whole fleet is paused, and this CronJob with it, or `true` if it is not known since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) paused: Option<String>,
    /// What the last run did, as far as its engine reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_run: Option<LastRun>,
    /// What became of the token that is set as `defrag-now`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) defrag_now: Option<DefragNow>,
    #[serde(serialize_with = "rfc3339")]
    pub(super) next_run: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    pub(super) last_success: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    pub(super) last_failure: Option<Timestamp>,
    /// Why a run that is required waits, or why it is not known whether one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on_demand: Option<String>,
    /// The last run that was required by what was measured: when, its Job and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_on_demand: Option<String>,
    /// What the last preflight found: Running, Succeeded or Failed, when, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) preflight: Option<Preflight>,
    /// Why the last run has not started: when that was seen, its Job and the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_started: Option<String>,
    /// What a Prometheus says, where one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sizes: Option<Sizes>,
    /// Why what it says cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unmeasured: Option<String>,
    pub(super) findings: Vec<Finding>,
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn rfc3339<S: serde::Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_string()).serialize(serializer)
}

impl Etcd {
    /// What is known of a StatefulSet; nothing where it is not enrolled.
    pub(super) fn of(
        object: &StatefulSet,
        governing: &Governing,
        around: &Around,
        cronjobs: &BTreeMap<(String, String), CronJob>,
        failures: &BTreeMap<String, Timestamp>,
        now: Timestamp,
    ) -> Option<Self> {
        let assessment = assess(object, governing, &around.surroundings(object), now);
        if matches!(assessment.enrollment, Enrollment::NotEnrolled | Enrollment::OptedOut) {
            return None;
        }
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        let named = cronjobs.get(&(namespace.clone(), cronjob::name(&name)));
        let live = named.filter(|live| !matches!(ownership(live, &name), Ownership::Foreign { .. }));
        let status = live.and_then(|live| live.status.as_ref());
        let uid = live.and_then(|live| live.metadata.uid.as_ref());
        let note = |key: &str| live?.metadata.annotations.as_ref()?.get(key).cloned();
        let planned = assessment.plan.as_ref();
        Some(Self {
            namespace,
            name,
            policy: governing.name().map(str::to_owned),
            cron_job: live.and_then(|live| live.metadata.name.clone()),
            schedule: live.map(|live| live.spec.schedule.clone()).or_else(|| planned.map(|plan| plan.schedule.clone())),
            time_zone: match live {
                Some(live) => live.spec.time_zone.clone(),
                None => planned.and_then(|plan| plan.settings.time_zone.clone()),
            },
            suspended: match live {
                Some(live) => live.spec.suspend == Some(true),
                None => planned.is_some_and(|plan| plan.suspended),
            },
            engine_image: live.and_then(engine_image),
            paused: note(PAUSED),
            last_run: note(LAST_RUN).and_then(|text| LastRun::read(&text)),
            defrag_now: object.annotation(Key::DefragNow.annotation()).filter(|token| !token.is_empty()).map(|token| {
                let asks =
                    live.and_then(|live| served::asks(Some(token), &live.metadata, object.metadata.uid.as_deref()));
                DefragNow { token: token.to_owned(), waits: asks.is_some() }
            }),
            next_run: live.and_then(|live| next_run(live, now)),
            last_success: status.and_then(|status| status.last_successful_time.as_ref()).map(|time| time.0),
            last_failure: uid.and_then(|uid| failures.get(uid)).copied(),
            on_demand: note(ON_DEMAND),
            last_on_demand: note(LAST_ON_DEMAND),
            preflight: note(preflight::ANNOTATION).and_then(|text| Record::read(&text)).map(Preflight::of),
            not_started: note(NOT_STARTED),
            sizes: None,
            unmeasured: None,
            findings: as_acted_on(&governing.policy, assessment.findings),
        })
    }

    /// Whether something refuses.
    pub(super) fn refused(&self) -> bool {
        self.findings.iter().any(Finding::denies)
    }
}

/// The image that a CronJob runs.
fn engine_image(live: &CronJob) -> Option<String> {
    let pod = live.spec.job_template.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.image.clone()
}

/// A note for each CronJob whose StatefulSet was deleted without its pods.
pub(super) fn orphans(objects: &[StatefulSet], cronjobs: &[CronJob]) -> Vec<String> {
    let said = |live: &CronJob| {
        let (name, since) = (statefulset_of_ours(&live.metadata)?, orphan::since(&live.metadata)?);
        let namespace = live.metadata.namespace.as_deref().unwrap_or_default();
        if objects.iter().any(|object| object.namespace() == namespace && object.name() == name) {
            return None;
        }
        Some(format!(
            "the StatefulSet {namespace}/{name} was deleted without its pods, and its CronJob continues until {}; a StatefulSet of \
             the same name takes it over",
            since.saturating_add(orphan::KEPT).unwrap_or(since)
        ))
    };
    cronjobs.iter().filter_map(said).collect()
}

/// When the newest failed Job of each CronJob failed, by the CronJob's uid.
pub(super) fn failures(jobs: &[Job]) -> BTreeMap<String, Timestamp> {
    let mut failures: BTreeMap<String, Timestamp> = BTreeMap::new();
    for job in jobs {
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let Some(Run { ended: time, .. }) = Run::of(conditions).filter(|run| run.failed) else { continue };
        if let Some(uid) = controlling_cronjob(&job.metadata) {
            let newest = failures.entry(uid.to_owned()).or_insert(time);
            *newest = time.max(*newest);
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cronjob_that_is_kept_without_its_statefulset_is_said() {
        let orphan = |mark: &str| {
            serde_json::from_value(json!({
                "metadata": {"name": "e-defrag-job", "namespace": "n",
                    "labels": {"app.kubernetes.io/managed-by": "etcd-defrag-webhook"},
                    "annotations": {"etcd-defrag.io/statefulset": "e", "etcd-defrag.io/orphaned-since": mark}},
                "spec": {"schedule": "@daily", "jobTemplate": {}},
            }))
            .unwrap()
        };
        let object = |name: &str| {
            let mut object = StatefulSet::default();
            object.metadata.namespace = Some("n".to_owned());
            object.metadata.name = Some(name.to_owned());
            object
        };
        let said = |mark: &str, name: &str| orphans(&[object(name)], &[orphan(mark)]);
        assert_eq!(
            said("2026-03-01T12:00:00Z", "other"),
            [
                "the StatefulSet n/e was deleted without its pods, and its CronJob continues until 2026-03-01T12:10:00Z; a StatefulSet of \
              the same name takes it over"
            ]
        );
        assert!(said("2026-03-01T12:00:00Z", "e").is_empty(), "it came back");
        assert!(said("\u{1b}[2J", "other").is_empty(), "no time");
    }

    #[test]
    fn the_newest_failure_counts_and_only_of_the_cronjob_itself() {
        let job = |uid: &str, condition: &str, time: &str| -> Job {
            serde_json::from_value(json!({
                "metadata": {"ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": uid, "controller": true}]},
                "status": {"conditions": [{"type": condition, "status": "True", "lastTransitionTime": time}]},
            }))
            .unwrap()
        };
        let found = failures(&[
            job("u", "Failed", "2026-03-01T01:00:00Z"),
            job("u", "Failed", "2026-03-01T03:00:00Z"),
            job("u", "Failed", "2026-03-01T02:00:00Z"),
            job("u", "Complete", "2026-03-01T09:00:00Z"),
            job("v", "Complete", "2026-03-01T09:00:00Z"),
        ]);
        assert_eq!(found, BTreeMap::from([("u".to_owned(), "2026-03-01T03:00:00Z".parse().unwrap())]));
    }
}
