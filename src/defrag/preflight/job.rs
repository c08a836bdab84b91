//! The Job of a preflight, from the CronJob's template.

use std::fmt::Write as _;

use k8s_openapi::{
    api::batch::v1::{CronJob, Job},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use sha2::{Digest as _, Sha256};

use super::{
    access::Access,
    names::{DEADLINE, LABEL},
};

/// How long a finished one is kept, in seconds: shorter than kube-prometheus' alert `KubeJobFailed` waits.
const KEPT: i32 = 600;
/// How long the engine tries to reach the members: ready ones answer within this.
const COMMAND_TIMEOUT: &str = "--command-timeout=20s";

/// What of a run a preflight does in another way: it waits for nothing, and changes nothing.
const REPLACED: [&str; 7] = [
    "--command-timeout",
    "--wait-between-defrags",
    "--compaction",
    "--move-leader",
    "--auto-disalarm",
    "--disalarm-threshold",
    "--deadline",
];

/// The name of the Job: one access is tried once under one number, whichever replica is the leader.
#[must_use]
pub fn job_name(cronjob: &CronJob, access: &Access, tries: u32) -> String {
    let name = cronjob.metadata.name.as_deref().unwrap_or_default();
    let uid = cronjob.metadata.uid.as_deref().unwrap_or_default();
    let hash = Sha256::digest(format!("preflight {uid} {} {} {tries}", access.facts, access.engine));
    // A CronJob's name has at most 52 characters and a Job's at most 63: a hyphen and ten digits fit.
    hash.iter().take(5).fold(format!("{name}-"), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The Job: owned by the CronJob, so that it goes with it, and not controlled by it, so that its controller does not take it for
/// a run.
#[must_use]
pub fn job(cronjob: &CronJob, name: &str) -> Job {
    let template = cronjob.spec.job_template.clone();
    let given = template.metadata.unwrap_or_default();
    let mark = |labels: &mut Option<std::collections::BTreeMap<String, String>>| {
        labels.get_or_insert_default().insert(LABEL.to_owned(), "true".to_owned());
    };
    let mut labels = given.labels;
    mark(&mut labels);
    let spec = template.spec.map(|mut spec| {
        spec.backoff_limit = Some(0);
        spec.active_deadline_seconds = Some(DEADLINE.as_secs());
        spec.ttl_seconds_after_finished = Some(KEPT);
        spec.suspend = None;
        mark(&mut spec.template.metadata.get_or_insert_default().labels);
        for container in spec.template.spec.iter_mut().flat_map(|pod| &mut pod.containers) {
            if let Some(args) = &mut container.args {
                args.retain(|arg| !REPLACED.contains(&arg.split('=').next().unwrap_or_default()));
                args.extend(
                    ["--dry-run", "--compaction=false", "--move-leader=false", COMMAND_TIMEOUT].map(str::to_owned),
                );
            }
        }
        spec
    });
    Job {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: cronjob.metadata.namespace.clone(),
            labels,
            annotations: given.annotations,
            owner_references: Some(vec![OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "CronJob".to_owned(),
                name: cronjob.metadata.name.clone().unwrap_or_default(),
                uid: cronjob.metadata.uid.clone().unwrap_or_default(),
                controller: Some(false),
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::defrag::cronjob::ownership::controlling_cronjob;

    fn cronjob() -> CronJob {
        serde_json::from_value(json!({
            "metadata": {"name": "x".repeat(52), "namespace": "n", "uid": "u"},
            "spec": {"schedule": "@daily", "jobTemplate": {
                "metadata": {"labels": {"a": "b"}, "annotations": {"etcd-defrag.io/statefulset": "etcd"}},
                "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 9000, "ttlSecondsAfterFinished": 604_800, "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "etcd-defrag", "args": [
                        "--endpoints=https://e-0:2379", "--cacert=/ca", "--defrag-rule=dbSize > 1", "--command-timeout=15m",
                        "--wait-between-defrags=30s", "--continue-on-error=false", "--compaction=true", "--move-leader=true",
                        "--auto-disalarm=true", "--dial-timeout=20s", "--disalarm-threshold=0.9"]}]},
                }},
            }},
        }))
        .unwrap()
    }

    #[test]
    fn a_preflight_checks_what_a_run_would_use_and_changes_nothing() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&job(&cronjob(), "preflight")).unwrap());
    }

    #[test]
    fn it_is_owned_and_not_controlled() {
        let job = job(&cronjob(), "preflight");
        assert_eq!(controlling_cronjob(&job.metadata), None);
        assert_eq!(job.metadata.owner_references.unwrap()[0].uid, "u");
    }

    #[test]
    fn one_try_is_one_job() {
        let access = Access { facts: "f".to_owned(), engine: "e".to_owned() };
        let name = |tries| job_name(&cronjob(), &access, tries);
        assert_eq!(name(1), name(1));
        assert_ne!(name(1), name(2));
        assert_eq!(name(1).len(), 63);
    }
}
