//! What a run needs to reach the members of its etcd.

use std::{collections::BTreeMap, fmt::Write as _};

use k8s_openapi::api::{batch::v1::CronJob, core::v1::PodSpec};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::defrag::cronjob::{NO_SIDECAR, ownership::pod};

/// What a run needs to reach the members, as two short hashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Of endpoints, certificates, login, quota and what a mesh reads.
    pub facts: String,
    /// Of the image and what starts it.
    pub engine: String,
}

/// The argument with the quota that the rule is evaluated with.
const QUOTA: &str = "--etcd-storage-quota-bytes";
/// The arguments that say how members are reached, and the quota, which our own runner holds against that of the members.
const REACHING: [&str; 6] =
    ["--endpoints", "--skip-healthcheck-cluster-endpoints", "--cacert", "--cert", "--key", QUOTA];

/// What the keys that Istio and Linkerd read contain.
const MESHES: [&str; 2] = ["istio.io/", "linkerd.io/"];

impl Access {
    /// That of the CronJob's runs; `None` where its template has no pod or no endpoints.
    #[must_use]
    pub fn of(cronjob: &CronJob) -> Option<Self> {
        let pod: &PodSpec = pod(cronjob)?;
        let container = pod.containers.first()?;
        let args = container.args.as_deref().unwrap_or_default();
        if args.iter().any(|arg| arg == "--endpoints=") {
            return None;
        }
        let reaching: Vec<&String> =
            args.iter().filter(|arg| REACHING.contains(&arg.split('=').next().unwrap_or_default())).collect();
        let facts = (reaching, &pod.volumes, &container.env);
        // Without a mesh it is the hash that earlier versions recorded.
        let facts = mesh(cronjob).map_or_else(|| hash(&facts), |mesh| hash(&(&facts, mesh)));
        let first = args.first().filter(|arg| !arg.starts_with('-'));
        let engine = hash(&(
            (&container.image, &container.image_pull_policy, first),
            (&pod.image_pull_secrets, &pod.service_account_name, &container.resources),
        ));
        Some(Self { facts, engine })
    }
}

/// The labels and annotations that a mesh reads of the pods; `None` where it is excluded.
fn mesh(cronjob: &CronJob) -> Option<BTreeMap<&str, &str>> {
    let meta = cronjob.spec.job_template.spec.as_ref()?.template.metadata.as_ref()?;
    let [labels, annotations] = [meta.labels.as_ref(), meta.annotations.as_ref()];
    if annotations.and_then(|all| all.get(NO_SIDECAR.0)).is_some_and(|value| value == NO_SIDECAR.1) {
        return None;
    }
    let both = labels.into_iter().chain(annotations).flatten();
    let read = both.filter(|(key, _)| MESHES.iter().any(|mesh| key.contains(mesh)));
    Some(read.map(|(key, value)| (key.as_str(), value.as_str())).collect())
}

/// The quota in bytes that the rule of the CronJob's runs is evaluated with, where our own runner runs: the only one that leaves
/// a result, with the quota of each member.
#[must_use]
pub fn quota_of_our_own(cronjob: &CronJob) -> Option<u64> {
    let args = pod(cronjob)?.containers.first()?.args.as_deref()?;
    let (first, rest) = args.split_first()?;
    let value = |arg: &String| arg.strip_prefix(QUOTA)?.strip_prefix('=')?.parse().ok();
    rest.iter().find_map(value).filter(|_| first == "defrag")
}

/// The first twelve hexadecimal digits of a SHA-256: the same in each version of this program.
fn hash(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    Sha256::digest(text).iter().take(6).fold(String::new(), |mut hash, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cronjob(change: impl FnOnce(&mut serde_json::Value)) -> CronJob {
        let mut value = json!({
            "metadata": {"name": "etcd-defrag-job", "namespace": "n", "uid": "u"},
            "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {
                "containers": [{"name": "etcd-defrag", "image": "e:v1",
                    "args": ["--endpoints=https://e-0:2379", "--cacert=/ca", "--defrag-rule=x", "--command-timeout=60s"]}],
                "volumes": [{"name": "etcd-ca", "secret": {"secretName": "certs"}}],
            }}}}},
        });
        change(&mut value["spec"]["jobTemplate"]["spec"]["template"]["spec"]);
        serde_json::from_value(value).unwrap()
    }

    fn access(change: impl FnOnce(&mut serde_json::Value)) -> Access {
        Access::of(&cronjob(change)).unwrap()
    }

    #[test]
    fn the_access_changes_with_the_mesh() {
        let of = |meta: serde_json::Value| {
            let mut value = serde_json::to_value(cronjob(|_| {})).unwrap();
            value["spec"]["jobTemplate"]["spec"]["template"]["metadata"] = meta;
            Access::of(&serde_json::from_value(value).unwrap()).unwrap()
        };
        let excluded = json!({"linkerd.io/inject": "disabled", "sidecar.istio.io/inject": "false"});
        assert_eq!(
            of(json!({"annotations": excluded})),
            access(|_| {}),
            "as it was recorded before there was a choice"
        );
        let all = [
            of(json!({"annotations": excluded})),
            of(json!({"annotations": {"note": "x"}})),
            of(json!({"annotations": {"linkerd.io/inject": "enabled"}})),
            of(json!({"labels": {"sidecar.istio.io/inject": "true"}})),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(
                all.iter().take(index).all(|other| other.facts != one.facts && other.engine == one.engine),
                "{one:?}"
            );
        }
        assert_eq!(of(json!({"labels": {"team": "a"}})), of(json!({"annotations": {"note": "x"}})));
    }

    #[test]
    fn the_access_changes_with_what_reaches_the_members_and_with_nothing_else() {
        let before = access(|_| {});
        for facts in [
            access(|pod| pod["containers"][0]["args"][0] = json!("--endpoints=https://e-1:2379")),
            access(|pod| pod["containers"][0]["args"][1] = json!("--cacert=/other")),
            access(|pod| pod["volumes"][0]["secret"]["secretName"] = json!("other")),
            access(|pod| {
                pod["containers"][0]["args"].as_array_mut().unwrap().push(json!("--etcd-storage-quota-bytes=9"));
            }),
            access(|pod| pod["containers"][0]["env"] = json!([{"name": "ETCD_DEFRAG_USER", "value": "root"}])),
        ] {
            assert!(facts.facts != before.facts && facts.engine == before.engine, "{facts:?}");
        }
        for engine in [
            access(|pod| pod["containers"][0]["image"] = json!("e:v2")),
            access(|pod| pod["imagePullSecrets"] = json!([{"name": "regcred"}])),
            access(|pod| pod["containers"][0]["args"].as_array_mut().unwrap().insert(0, json!("defrag"))),
        ] {
            assert!(engine.facts == before.facts && engine.engine != before.engine, "{engine:?}");
        }
        assert_eq!(access(|pod| pod["containers"][0]["args"][2] = json!("--defrag-rule=y")), before);
        assert_eq!(access(|pod| pod["containers"][0]["args"][3] = json!("--command-timeout=90s")), before);
        assert_eq!(Access::of(&cronjob(|pod| pod["containers"][0]["args"] = json!(["--endpoints="]))), None);
        let quota = |args: serde_json::Value| quota_of_our_own(&cronjob(|pod| pod["containers"][0]["args"] = args));
        assert_eq!(quota(json!(["defrag", "--endpoints=x", "--etcd-storage-quota-bytes=9"])), Some(9));
        assert_eq!(quota(json!(["--endpoints=x", "--etcd-storage-quota-bytes=9"])), None, "etcd-defrag tells nothing");
        assert_eq!(before, Access { facts: before.facts.clone(), engine: before.engine.clone() });
    }
}
