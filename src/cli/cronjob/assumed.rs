//! The etcd that defrag.sh assumes: one that the kamaji-etcd chart installed with its defaults.

use anyhow::Context as _;
use serde_json::json;

use crate::defrag::statefulset::StatefulSet;

/// The quota of the chart, in bytes.
const QUOTA: u64 = 8 << 30;
/// The members of the chart, which are also the endpoints of defrag.sh.
const MEMBERS: i32 = 3;
/// The etcd of the chart. A version with known bugs would have to be read from the cluster.
const IMAGE: &str = "quay.io/coreos/etcd:v3.6.12";

/// A StatefulSet as the chart installs it.
pub(super) fn statefulset(name: &str, service: &str, namespace: &str) -> anyhow::Result<StatefulSet> {
    let pki = "/etc/etcd/pki";
    serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {
                "etcd-defrag.io/ca-secret": format!("{name}-certs:ca.crt"),
                "etcd-defrag.io/client-secret": format!("{name}-root-client-certs:tls.crt,tls.key"),
            },
        },
        "spec": {
            "replicas": MEMBERS,
            "serviceName": service,
            "template": { "spec": {
                "containers": [{
                    "name": "etcd",
                    "image": IMAGE,
                    "command": [
                        "etcd",
                        "--data-dir=/var/run/etcd",
                        "--name=$(POD_NAME)",
                        "--initial-cluster-token=kamaji",
                        "--listen-client-urls=https://0.0.0.0:2379",
                        format!("--advertise-client-urls=https://$(POD_NAME).{service}.$(POD_NAMESPACE).svc.cluster.local:2379"),
                        "--client-cert-auth=true",
                        format!("--trusted-ca-file={pki}/ca.crt"),
                        format!("--cert-file={pki}/server.pem"),
                        format!("--key-file={pki}/server-key.pem"),
                        "--auto-compaction-mode=periodic",
                        "--auto-compaction-retention=5m",
                        format!("--quota-backend-bytes={QUOTA}"),
                    ],
                    "env": [
                        { "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                        { "name": "POD_NAMESPACE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } },
                    ],
                    "ports": [{ "name": "client", "containerPort": 2379 }],
                    "volumeMounts": [
                        { "name": "data", "mountPath": "/var/run/etcd" },
                        { "name": "certs", "mountPath": pki },
                    ],
                }],
                "volumes": [{ "name": "certs", "secret": { "secretName": format!("{name}-certs") } }],
            } },
        },
    }))
    .context("the assumed StatefulSet cannot be read")
}

/// What was assumed, for a person to compare with the real etcd.
pub(super) fn notes(object: &StatefulSet) -> [String; 2] {
    let name = object.name();
    let last = MEMBERS - 1;
    [
        format!(
            "no manifest was read, so a kamaji-etcd is assumed: members {name}-0 to {name}-{last}, TLS on port 2379, domain cluster.local, quota 8 GiB, automatic compaction, Secrets {name}-certs and {name}-root-client-certs"
        ),
        "to read the real StatefulSet, use -f FILE, or --apply for the one in the cluster".to_owned(),
    ]
}
