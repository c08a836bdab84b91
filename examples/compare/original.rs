//! The CronJob that kamaji-etcd's defrag.sh makes, by its facts.

use serde_json::{Value, json};

use harness::{EtcdPods, engine_image};

/// No quota, so that the engine takes 2 GiB; no wait; the engine's own 30 s for a member; going on after a failure, and
/// compaction before each run, as the engine does by default; run as root, and again after a failure.
///
/// The one thing that differs is the version of the engine: the same one runs for both.
pub(crate) fn cronjob(pods: &EtcdPods<'_>) -> Value {
    let name = pods.name();
    let volume = |name: &str, secret: String| json!({"name": name, "secret": {"secretName": secret}});
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": pods.cronjob_name(), "namespace": pods.namespace()},
        "spec": {
            "schedule": "0 0 * * *",
            "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "OnFailure",
                "securityContext": {"runAsUser": 0},
                "containers": [{
                    "name": "etcd-defrag", "image": engine_image(),
                    "args": [
                        format!("--endpoints={}", pods.endpoints().join(",")),
                        "--cacert=/opt/certs/ca/ca.crt",
                        "--cert=/opt/certs/root-client-certs/tls.crt",
                        "--key=/opt/certs/root-client-certs/tls.key",
                        "--cluster",
                        "--defrag-rule", "dbQuotaUsage > 0.8 || dbSize - dbSizeInUse > 200*1024*1024",
                    ],
                    "volumeMounts": [
                        {"name": "root-client-certs", "mountPath": "/opt/certs/root-client-certs"},
                        {"name": "certs", "mountPath": "/opt/certs/ca"},
                    ],
                }],
                "volumes": [
                    volume("root-client-certs", format!("{name}-root-client-certs")),
                    volume("certs", format!("{name}-certs")),
                ],
            }}}},
        },
    })
}
