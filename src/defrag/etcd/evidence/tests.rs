use std::fmt::Write as _;

use serde_json::{Value, json};

use super::*;

fn of(yaml: &str) -> Evidence {
    evidence(&serde_saphyr::from_str(yaml).unwrap())
}

#[test]
fn every_known_chart_is_recognised_but_the_one_that_defragments_itself() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/charts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut page = String::new();
    for file in files {
        let evidence = of(&std::fs::read_to_string(&file).unwrap());
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        // etcd-druid starts a wrapper of its own, and its sidecar defragments on a schedule.
        assert_eq!(evidence.runs_etcd(), name != "etcd-druid", "{name}: {}", evidence.sentence());
        let _ = writeln!(page, "{name}: {}", evidence.sentence());
    }
    insta::assert_snapshot!(page);
}

fn pod(containers: &Value) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": {"name": "etcd", "namespace": "etcd"},
        "spec": {"serviceName": "etcd", "template": {"spec": {"containers": containers}}},
    }))
    .unwrap()
}

#[test]
fn what_only_looks_like_an_etcd_is_left_alone() {
    let mut page = String::new();
    for container in [
        json!({"name": "etcd", "image": "nginx:1"}),
        json!({"name": "etcd", "image": "postgres:17", "args": ["--data-dir=/x"]}),
        json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1"}),
        json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "command": ["etcd"]}),
        json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "command": ["etcd", "grpc-proxy", "start", "--data-dir=/x"]}),
        json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "args": ["gateway", "start", "--listen-client-urls=x"]}),
        json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "command": ["etcdctl", "watch", "--data-dir=/x"]}),
        json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "args": ["etcdctl", "snapshot", "save", "--data-dir=/x"]}),
        json!({"name": "etcd", "image": "bitnami/etcd:3.6", "command": ["sleep", "infinity"], "env": [{"name": "ETCD_DATA_DIR", "value": "/x"}]}),
        json!({"name": "etcd", "image": "bitnami/etcd:3.6", "env": [{"name": "ETCDCTL_ENDPOINTS", "value": "http://etcd:2379"}]}),
        json!({"name": "etcd", "image": "bitnami/etcd:3.6", "command": ["sh", "-c", "while true; do etcdctl endpoint status; sleep 9; done"]}),
        json!({"name": "vault", "image": "hashicorp/vault:1.20", "command": ["vault", "server"], "env": [{"name": "ETCD_ADDR", "value": "http://etcd:2379"}]}),
        json!({"name": "patroni", "image": "patroni:4", "env": [{"name": "PATRONI_ETCD3_HOSTS", "value": "etcd:2379"}, {"name": "ETCD_DATA_DIR", "value": "/x"}]}),
        json!({"name": "kube-apiserver", "image": "registry.k8s.io/kube-apiserver:v1.36.0", "command": ["kube-apiserver", "--etcd-servers=https://etcd:2379"]}),
        json!({"name": "backup", "image": "etcdbrctl:v0.40", "args": ["server", "--embedded-etcd-quota-bytes=1", "--data-dir=/x"]}),
        json!({"name": "manager", "image": "etcd-operator:v1", "command": ["/manager", "--initial-cluster=x"]}),
        json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "command": ["etcd", "--listen-client-urls=http://127.0.0.1:2379,unix:///run/etcd.sock"]}),
        json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "command": ["etcd", "--data-dir=/x"]}),
        json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.5.1", "command": ["etcd", "--proxy=on", "--listen-client-urls=http://0.0.0.0:2379"]}),
        json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "command": ["/run.sh"], "env": [{"name": "ETCD_DATA_DIR", "value": "/x"}]}),
        json!({"name": "copy", "image": "x:1", "command": ["cp", "/usr/local/bin/etcd", "--data-dir=/x"]}),
    ] {
        let evidence = evidence(&pod(&json!([container])));
        assert!(!evidence.runs_etcd(), "{container}: {}", evidence.sentence());
        let _ = writeln!(page, "{container}\n  {}", evidence.sentence());
    }
    assert!(!evidence(&pod(&json!([]))).runs_etcd());
    insta::assert_snapshot!(page);
}

#[test]
fn a_member_is_recognised_under_any_name() {
    for container in [
        json!({"name": "db", "image": "mirror.local/x:1", "command": ["/opt/etcd", "--initial-cluster", "a=b", "--listen-client-urls=http://0.0.0.0:2379"]}),
        json!({"name": "db", "image": "x:1", "command": ["tini", "--", "etcd", "--data-dir=/x", "--listen-client-urls=http://[::]:2379"]}),
        json!({"name": "db", "image": "x:1", "command": ["sh", "-ec", "exec etcd --listen-client-urls=http://0.0.0.0:2379"]}),
        json!({"name": "db", "image": "x:1", "command": ["etcd", "--config-file=/etc/etcd.yaml"]}),
        json!({"name": "db", "image": "x:1", "command": ["etcd"], "env": [{"name": "ETCD_LISTEN_CLIENT_URLS", "value": "http://$(IP):2379"}]}),
        json!({"name": "db", "image": "x:1", "command": ["etcd"], "envFrom": [{"configMapRef": {"name": "etcd"}}]}),
        json!({"name": "db", "image": "registry:5000/etcd@sha256:00", "args": ["--advertise-client-urls=http://a:2379"]}),
        json!({"name": "db", "image": "bitnami/etcd:3.6", "env": [{"name": "ETCD_ADVERTISE_CLIENT_URLS", "value": "http://a:2379"}]}),
    ] {
        let evidence = evidence(&pod(&json!([{"name": "side", "image": "nginx"}, container])));
        assert!(evidence.runs_etcd(), "{container}: {}", evidence.sentence());
    }
}
