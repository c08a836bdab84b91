//! The CronJob that follows from facts and from settings in force, and what an existing one shows of its settings.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    facts::Facts,
    settings::{Governing, Settings},
};
use crate::objects::{MANAGED_BY, MANAGER, STATEFULSET};

const GIB: u64 = 1 << 30;

/// The labels of everything that is made for a StatefulSet.
pub(crate) fn labels(statefulset: &str) -> Value {
    json!({MANAGED_BY: MANAGER, "app.kubernetes.io/name": "etcd-defrag", "app.kubernetes.io/instance": statefulset})
}

/// The specification. The facts are readable ones.
pub(crate) fn spec(
    (namespace, name): (&str, &str),
    facts: &Facts,
    settings: &Settings,
    policy: &Governing,
    suspend: bool,
) -> Value {
    let (quota, (ca, client)) = (facts.quota.unwrap(), facts.secrets().unwrap());
    // Ten seconds for each GiB, three times over, and at least a minute.
    let timeout = (3 * 10 * quota / GIB).max(60);
    let wait = settings.wait.as_ref().map_or(policy.wait(), |wait| wait.strip_suffix('s').unwrap().parse().unwrap());
    // Each member, and once more for moving the leader; then five minutes for the start.
    let deadline = (facts.members + 1) * (timeout + wait + 1) + 300;
    let endpoints: Vec<String> = (0..facts.members)
        .map(|member| format!("https://{name}-{member}.kamaji-etcd.{namespace}.svc.cluster.local:2379"))
        .collect();
    let mut pod_labels = labels(name);
    pod_labels["sidecar.istio.io/inject"] = json!("false");
    if let Some(team) = policy.pod_team() {
        pod_labels["team"] = json!(team);
    }
    let secret = |volume: &str, secret: &str, keys: &[&str]| {
        let items: Vec<Value> = keys.iter().map(|key| json!({"key": key, "path": key})).collect();
        json!({"name": volume, "secret": {"secretName": secret, "defaultMode": 0o440, "items": items}})
    };
    let container = json!({
        "name": "etcd-defrag",
        "image": "ghcr.io/ahrtr/etcd-defrag:v0.42.0",
        "imagePullPolicy": "IfNotPresent",
        "args": [
            format!("--endpoints={}", endpoints.join(",")),
            "--cacert=/etc/etcd-defrag/ca/ca.crt",
            "--cert=/etc/etcd-defrag/client/tls.crt",
            "--key=/etc/etcd-defrag/client/tls.key",
            format!("--etcd-storage-quota-bytes={quota}"),
            format!("--defrag-rule={}", settings.rule),
            format!("--command-timeout={}", duration(timeout)),
            format!("--wait-between-defrags={}", duration(wait)),
            "--continue-on-error=false",
            // The etcd compacts itself.
            "--compaction=false",
            "--move-leader=true",
            "--auto-disalarm=false",
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true,
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "etcd-ca", "mountPath": "/etc/etcd-defrag/ca", "readOnly": true},
            {"name": "etcd-client", "mountPath": "/etc/etcd-defrag/client", "readOnly": true},
        ],
    });
    let pod = json!({
        "automountServiceAccountToken": false,
        "containers": [container],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": false,
        "restartPolicy": "Never",
        "schedulerName": "default-scheduler",
        "securityContext": {
            "fsGroup": 65532, "runAsGroup": 65532, "runAsNonRoot": true, "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 30,
        "volumes": [secret("etcd-ca", &ca, &["ca.crt"]), secret("etcd-client", &client, &["tls.crt", "tls.key"])],
    });
    let job = json!({
        "activeDeadlineSeconds": deadline,
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": 604_800,
        "template": {
            "metadata": {
                "labels": pod_labels,
                "annotations": {"linkerd.io/inject": "disabled", "sidecar.istio.io/inject": "false"},
            },
            "spec": pod,
        },
    });
    let mut spec = json!({
        "schedule": settings.schedule,
        "suspend": suspend,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 600,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"metadata": {"labels": labels(name), "annotations": {STATEFULSET: name}}, "spec": job},
    });
    if let Some(zone) = &settings.zone {
        spec["timeZone"] = json!(zone);
    }
    spec
}

/// A duration as Go writes it.
fn duration(seconds: u64) -> String {
    let whole = Duration::from_secs(seconds).as_secs();
    if whole < 60 { format!("{whole}s") } else { format!("{}m{}s", whole / 60, whole % 60) }
}

/// The settings that a CronJob shows, in each way in which they can be read: a pause that is the usual one need not have
/// been given, and the usual schedule of a suspended one may stand for nothing. None where somebody took the arguments away.
pub(crate) fn shown(spec: &Value) -> Vec<Settings> {
    let container = &spec["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    let flag = |name: &str| container["args"].as_array()?.iter().find_map(|arg| arg.as_str()?.strip_prefix(name));
    let (Some(rule), Some(wait)) = (flag("--defrag-rule="), flag("--wait-between-defrags=")) else { return Vec::new() };
    let mut found = Vec::new();
    for wait in [Some(wait), None].into_iter().filter(|given| given.is_some() || ["30s", "40s"].contains(&wait)) {
        for held in [false, true] {
            if !held || spec["suspend"] == true {
                found.push(Settings {
                    schedule: spec["schedule"].as_str().unwrap().to_owned(),
                    zone: spec["timeZone"].as_str().map(str::to_owned),
                    rule: rule.to_owned(),
                    wait: wait.map(str::to_owned),
                    held,
                });
            }
        }
    }
    found
}
