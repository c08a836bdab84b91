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
            orphan,
            ownership::{Ownership, controlling_cronjob, ownership, statefulset_of_ours},
        },
        finding::Finding,
        policy::Governing,
        schedule::{Schedule, TimeZone},
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

/// One enrolled etcd. Times are RFC 3339.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Etcd {
    pub(super) namespace: String,
    pub(super) name: String,
    /// The policy object that governs; `null` for the built-in policy.
    pub(super) policy: Option<String>,
    /// The CronJob, where there is one that is not somebody else's.
    pub(super) cron_job: Option<String>,
    /// Its schedule; without a CronJob, what it would be.
    pub(super) schedule: Option<String>,
    /// Its time zone; `null` for the controller manager's.
    pub(super) time_zone: Option<String>,
    pub(super) suspended: bool,
    #[serde(serialize_with = "rfc3339")]
    pub(super) next_run: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    pub(super) last_success: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    pub(super) last_failure: Option<Timestamp>,
    /// Why a run that is required waits, or why it cannot be told whether one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) on_demand: Option<String>,
    /// The last run that was required by what was measured: when, its Job and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_on_demand: Option<String>,
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
            next_run: live.and_then(|live| next_run(live, now)),
            last_success: status.and_then(|status| status.last_successful_time.as_ref()).map(|time| time.0),
            last_failure: uid.and_then(|uid| failures.get(uid)).copied(),
            on_demand: note(ON_DEMAND),
            last_on_demand: note(LAST_ON_DEMAND),
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

/// When a CronJob runs next; nothing where it is suspended.
fn next_run(live: &CronJob, now: Timestamp) -> Option<Timestamp> {
    if live.spec.suspend == Some(true) {
        return None;
    }
    let zone = match &live.spec.time_zone {
        Some(name) => TimeZone::parse(name).ok()?,
        None => TimeZone::utc(),
    };
    let schedule = Schedule::parse(&live.spec.schedule).ok()?;
    // `@every` counts from the last run, everything else is on the clock.
    let last = live.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let origin = last.or(live.metadata.creation_timestamp.as_ref()).map(|time| time.0);
    let from = origin.filter(|_| live.spec.schedule.trim_start().starts_with("@every")).unwrap_or(now);
    schedule.fire_times(from, &zone).find(|time| *time > now)
}

/// What is to be said of each CronJob whose StatefulSet was deleted without its pods.
pub(super) fn orphans(objects: &[StatefulSet], cronjobs: &[CronJob]) -> Vec<String> {
    let said = |live: &CronJob| {
        let (name, since) = (statefulset_of_ours(&live.metadata)?, orphan::since(&live.metadata)?);
        let namespace = live.metadata.namespace.as_deref().unwrap_or_default();
        if objects.iter().any(|object| object.namespace() == namespace && object.name() == name) {
            return None;
        }
        Some(format!(
            "the StatefulSet {namespace}/{name} was deleted without its pods, and its CronJob goes on until {}; a StatefulSet of \
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
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn cronjob(spec: &Value, status: &Value) -> CronJob {
        serde_json::from_value(json!({
            "metadata": {"name": "e-defrag-job", "namespace": "n", "uid": "u", "creationTimestamp": "2026-03-01T00:30:00Z"},
            "spec": spec, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn the_next_run_is_that_of_the_live_cronjob() {
        let next = |spec: Value, status: Value| next_run(&cronjob(&spec, &status), now()).map(|time| time.to_string());
        let spec = |schedule: &str| json!({"schedule": schedule, "jobTemplate": {}});
        assert_eq!(next(spec("0 3 * * *"), json!({})).unwrap(), "2026-03-02T03:00:00Z");
        let mut rome = spec("0 3 * * *");
        rome["timeZone"] = json!("Europe/Rome");
        assert_eq!(next(rome, json!({})).unwrap(), "2026-03-02T02:00:00Z");
        assert_eq!(next(spec("@every 5h"), json!({})).unwrap(), "2026-03-01T15:30:00Z");
        let ran = json!({"lastScheduleTime": "2026-03-01T11:00:00Z"});
        assert_eq!(next(spec("@every 5h"), ran).unwrap(), "2026-03-01T16:00:00Z");
        let mut paused = spec("0 3 * * *");
        paused["suspend"] = json!(true);
        assert_eq!(next(paused, json!({})), None);
    }

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
                "the StatefulSet n/e was deleted without its pods, and its CronJob goes on until 2026-03-01T12:10:00Z; a StatefulSet of \
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
