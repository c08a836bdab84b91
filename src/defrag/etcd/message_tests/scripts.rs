//! What start scripts, ports and programs of volumes hide.

use serde_json::{Value, json};

use super::{container, message, with_container};
use crate::defrag::etcd::Overrides;

fn by_script(script: &str) -> Value {
    let mut etcd = container(&[]);
    etcd["command"] = json!(["bash", "-c", script]);
    etcd
}

#[test]
fn what_is_hidden_is_named() {
    let none = Overrides::default();
    let urls = "--listen-client-urls=http://0.0.0.0:2379 --advertise-client-urls=http://$POD.etcd-headless.ns.svc:2379";
    let computed = by_script(&format!("export ETCD_QUOTA_BACKEND_BYTES=$(cat /x); exec etcd {urls}"));
    message("quota-of-a-script", &with_container(computed), &none);
    message("variables-of-a-file", &with_container(by_script(". /x; exec etcd")), &none);
    let background = format!("(sleep 9; etcdctl defrag) & exec etcd --quota-backend-bytes=2147483648 {urls}");
    message("defragments-in-its-script", &with_container(by_script(&background)), &none);

    let mut sourced = by_script(&format!("exec etcd {urls}"));
    sourced["env"] = json!([{"name": "BASH_ENV", "value": "/cfg/env"}]);
    message("variables-of-bash-env", &with_container(sourced), &none);

    let mut brought = container(&[]);
    brought["command"] = json!(["/cfg/etcd"]);
    brought["volumeMounts"] = json!([{"name": "cfg", "mountPath": "/cfg"}]);
    let mut sts = with_container(brought);
    let volumes = json!([{"name": "cfg", "configMap": {"name": "scripts"}}]);
    sts.spec.template.spec.volumes = serde_json::from_value(volumes).unwrap();
    message("program-of-a-volume", &sts, &none);

    let mut hidden = container(&["--quota-backend-bytes=2147483648"]);
    hidden["command"] = json!(["etcd", "--listen-client-urls=http://0.0.0.0:$(PORT)"]);
    hidden["env"] = json!([{"name": "PORT", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "port"}}}]);
    message("port-hidden", &with_container(hidden), &none);

    let listens = ["--quota-backend-bytes=2147483648", "--listen-client-urls=http://0.0.0.0:4001"];
    message("listens-on-another-port", &with_container(container(&listens)), &none);
}
