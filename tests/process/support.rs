//! Two replicas that the API server calls both, and words to talk about them.

use std::time::Duration;

use etcd_defrag_webhook::admission::registration::{Registration, Target};
use serde_json::{Value, json};

pub(crate) use harness::example_etcd as etcd;
use harness::{ControlPlane, Serve, ServeOptions, eventually, free_port};

/// The namespace of the process, and the name of everything that is its own.
pub(crate) const NAMESPACE: &str = "etcd-defrag-system";
pub(crate) const NAME: &str = "etcd-defrag-webhook";
pub(crate) const SECRET: &str = "etcd-defrag-webhook-tls";

/// What takes a few steps on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The namespace, and the account with the rights of the manifests, which are those that `--tls-self-signed` needs.
pub(crate) fn prepare(plane: &ControlPlane) {
    plane.apply(include_str!("../../deploy/manifests/00-namespace.yaml"));
    plane.apply(include_str!("../../deploy/manifests/05-defragpolicies.crd.yaml"));
    plane.apply(include_str!("../../deploy/manifests/10-rbac.yaml"));
}

/// Both configurations, in which every entry is there once for each port, and a call that fails is seen.
pub(crate) fn registrations(ports: &[u16]) -> [Value; 2] {
    let of = |port: u16| Registration {
        target: Target::Url(format!("https://127.0.0.1:{port}")),
        ca_bundle: None,
        exempt_namespaces: vec!["kube-system".to_owned(), NAMESPACE.to_owned()],
    };
    let merge = |mut all: Vec<Value>| {
        let mut hooks = Vec::new();
        for (index, one) in all.iter_mut().enumerate() {
            for hook in one["webhooks"].as_array_mut().unwrap() {
                hook["failurePolicy"] = json!("Fail");
                hook["name"] = json!(format!("replica-{index}.{}", hook["name"].as_str().unwrap()));
                hooks.push(hook.take());
            }
        }
        let mut merged = all.swap_remove(0);
        merged["webhooks"] = json!(hooks);
        merged
    };
    let mutating = ports.iter().map(|port| serde_json::to_value(of(*port).mutating()).unwrap()).collect();
    let validating = ports.iter().map(|port| serde_json::to_value(of(*port).validating()).unwrap()).collect();
    [merge(mutating), merge(validating)]
}

/// Applies both configurations for these ports.
pub(crate) fn register(plane: &ControlPlane, ports: &[u16]) {
    for object in registrations(ports) {
        plane.apply(&object.to_string());
    }
}

/// How to run a replica with its own rights.
pub(crate) fn options(plane: &ControlPlane, args: &[&str]) -> ServeOptions {
    ServeOptions {
        kubeconfig: Some(plane.service_account_kubeconfig(NAMESPACE, NAME)),
        args: [&["--namespace", NAMESPACE], args].concat().into_iter().map(str::to_owned).collect(),
        own_certificate: true,
        port: free_port(),
        ..ServeOptions::default()
    }
}

/// Starts two replicas at the same moment and waits for neither.
pub(crate) fn two(plane: &ControlPlane, args: &[&str]) -> [Serve; 2] {
    let both = [options(plane, args), options(plane, args)];
    register(plane, &both.each_ref().map(|options| options.port));
    both.map(|options| Serve::spawn(plane, &options))
}

/// Waits until the API server calls the webhooks and trusts them.
#[track_caller]
pub(crate) fn called(plane: &ControlPlane) {
    answered(plane, "no annotation");
}

/// Waits until what the API server says to a wrong setting has these words; returns all of them.
#[track_caller]
pub(crate) fn answered(plane: &ControlPlane, wanted: &str) -> String {
    let object = etcd("default", "called", &[("shedule", "0 0 * * *")]).to_string();
    eventually(&format!("the API server to answer with {wanted:?}"), SOON, || {
        let output = plane.kubectl_stdin(["create", "--dry-run=server", "-f", "-"], &object);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (!output.status.success() && words.contains(wanted)).then_some(words)
    })
}

/// Waits until the API server refuses a change of our keys, for want of an answer; returns its words. A create would pass.
#[track_caller]
pub(crate) fn not_answered(plane: &ControlPlane) -> String {
    plane.apply(&etcd("default", "called", &[]).to_string());
    let change =
        ["-n", "default", "annotate", "--dry-run=server", "statefulset", "called", "etcd-defrag.io/suspend=true"];
    eventually("the API server to get no answer", SOON, || {
        let output = plane.kubectl(change);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (!output.status.success() && words.contains("failed calling webhook")).then_some(words)
    })
}

/// The Secret's value under a key, decoded no further than to its text in base64.
pub(crate) fn in_secret(plane: &ControlPlane, key: &str) -> Option<String> {
    let secret = plane.get(&["-n", NAMESPACE, "secret", SECRET])?;
    secret["data"][key].as_str().map(str::to_owned)
}

/// The bundles of both configurations, in base64.
pub(crate) fn bundles(plane: &ControlPlane) -> Vec<String> {
    ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"]
        .iter()
        .filter_map(|kind| plane.get(&[kind, NAME]))
        .flat_map(|object| object["webhooks"].as_array().cloned().unwrap_or_default())
        .map(|hook| hook["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Whether every webhook trusts what the Secret says.
pub(crate) fn bundles_are_in_place(plane: &ControlPlane) -> bool {
    let Some(wanted) = in_secret(plane, "ca.crt") else { return false };
    let found = bundles(plane);
    !found.is_empty() && found.iter().all(|bundle| *bundle == wanted)
}

/// Words in which each moment is replaced, for snapshots.
pub(crate) fn without_times(words: &str) -> String {
    let moment = |word: &str| word.trim_end_matches([';', ',']).parse::<jiff::Timestamp>().is_ok();
    let line = |line: &str| {
        line.split(' ').map(|word| if moment(word) { "[TIME]" } else { word }).collect::<Vec<_>>().join(" ")
    };
    words.lines().map(line).collect::<Vec<_>>().join("\n")
}
