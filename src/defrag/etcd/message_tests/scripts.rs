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

    let behind = format!("exec etcd --quota-backend-bytes=2147483648 {urls} $EXTRA");
    let mut behind = by_script(&behind);
    behind["envFrom"] = json!([{"configMapRef": {"name": "extra"}}]);
    message("flags-behind", &with_container(behind), &none);
    let branch = format!("if x; then Q=--quota-backend-bytes=1; fi; exec etcd --quota-backend-bytes=2 {urls} $Q");
    message("quota-in-a-branch", &with_container(by_script(&branch)), &none);
    let mut word = container(&["--quota-backend-bytes=2147483648", "$(EXTRA)"]);
    word["envFrom"] = json!([{"configMapRef": {"name": "extra"}}]);
    message("flag-behind", &with_container(word), &none);

    let mut beaten = by_script(&format!("exec etcd $EXTRA {urls}"));
    let quota = json!({"name": "ETCD_QUOTA_BACKEND_BYTES", "value": "4294967296"});
    beaten["env"] = json!([quota]);
    beaten["envFrom"] = json!([{"configMapRef": {"name": "extra"}}]);
    message("flags-beside-a-variable", &with_container(beaten), &none);
    let mut word = container(&["$(EXTRA)"]);
    word["env"] = json!([quota]);
    word["envFrom"] = json!([{"configMapRef": {"name": "extra"}}]);
    message("flag-beside-a-variable", &with_container(word), &none);
    let mut list = container(&[]);
    list["env"].as_array_mut().unwrap().extend([
        json!({"name": "ETCD_QUOTA_BACKEND_BYTES", "value": "$(Q)"}),
        json!({"name": "Q", "value": "4294967296"}),
    ]);
    message("variable-behind", &with_container(list), &none);
    message("variable-missing", &with_container(container(&["--quota-backend-bytes=$(Q)"])), &none);

    let composed =
        format!("for z in a b; do P=$P,etcd-$z=http://etcd-$z:2380; done; exec etcd --initial-cluster $P {urls}");
    let mut one = with_container(by_script(&composed));
    one.spec.replicas = Some(1);
    message("members-not-in-view", &one, &none);

    for (name, listens) in [("advertises-without-tls", "https"), ("advertises-tls", "http")] {
        let advertised = if listens == "http" { "https" } else { "http" };
        let args = [
            "--quota-backend-bytes=2147483648".to_owned(),
            format!("--listen-client-urls={listens}://0.0.0.0:2379"),
            format!("--advertise-client-urls={advertised}://$(POD).etcd-headless:2379"),
            "--cert-file=/certs/tls.crt".to_owned(),
        ];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        message(name, &with_container(container(&args)), &none);
    }

    let listens = ["--quota-backend-bytes=2147483648", "--listen-client-urls=http://0.0.0.0:4001"];
    message("listens-on-another-port", &with_container(container(&listens)), &none);
}
