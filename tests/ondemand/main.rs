//! Runs that no schedule starts, on a real control plane: a fleet that a real Prometheus tells of, etcds that are held for
//! different reasons, one that is told lies, runs that people ask for, and the preflights of a fleet.
//!
//! No controller of StatefulSets runs here, so that the tests say how many members are ready, and thousands of StatefulSets
//! cost no pods. `ONDEMAND_ETCDS=2000` and `PREFLIGHT_ETCDS=1000` make the fleets larger.

#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    reason = "the lints know test functions, but not the helpers of tests"
)]

mod fairness;
mod fleet;
mod guards;
mod lies;
mod preflights;
mod requests;

use std::time::Duration;

use etcd_defrag_webhook::defrag::policy;
use futures::{StreamExt as _, TryStreamExt as _};
use harness::{CONTROLLER_MANAGER, ControlPlane, Serve, ServeOptions, eventually, example_etcd};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

const GIB: u64 = 1 << 30;

/// A control plane without the controller of StatefulSets, `serve` beside it, and the definition of policies.
fn world() -> (ControlPlane, Serve) {
    world_with(&[])
}

/// The same with further arguments of `serve`.
fn world_with(args: &[&str]) -> (ControlPlane, Serve) {
    let plane = ControlPlane::start_with(&[(CONTROLLER_MANAGER, "--controllers=*,-statefulset-controller")]);
    plane.apply(&serde_json::to_string(&policy::crd()).unwrap());
    plane.wait_established("defragpolicies.etcd-defrag.io");
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    let serve = Serve::start_with(&plane, &ServeOptions { args, ..ServeOptions::default() });
    (plane, serve)
}

/// How many etcds a fleet has.
fn fleet_size(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Makes the etcds `etcd-0`, `etcd-1` and so on in the namespace `fleet`.
async fn fleet(plane: &ControlPlane, client: &Client, size: usize) {
    plane.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleet"}}).to_string());
    let api = Api::<StatefulSet>::namespaced(client.clone(), "fleet");
    let objects =
        (0..size).map(|index| serde_json::from_value::<StatefulSet>(etcd("fleet", &format!("etcd-{index}"))).unwrap());
    futures::stream::iter(objects)
        .map(|object| {
            let api = api.clone();
            async move { api.create(&PostParams::default(), &object).await.map(|_| ()) }
        })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await
        .unwrap();
}

/// Waits until each etcd has its CronJob.
fn enrolled(serve: &Serve, size: usize) {
    slowly("every etcd to have its CronJob", 600, || {
        (serve.metric("etcd_defrag_webhook_enrolled")? >= size as f64).then_some(())
    });
}

/// Says of a fleet that all members are ready.
async fn all_ready(client: &Client, size: usize) {
    let api = Api::<StatefulSet>::namespaced(client.clone(), "fleet");
    let patch = json!({"status": {"replicas": 3, "readyReplicas": 3}});
    futures::stream::iter(0..size)
        .map(|index| {
            let (api, patch) = (api.clone(), Patch::Merge(&patch));
            async move { api.patch_status(&format!("etcd-{index}"), &PatchParams::default(), &patch).await.map(|_| ()) }
        })
        .buffer_unordered(16)
        .try_collect::<()>()
        .await
        .unwrap();
}

/// An etcd of 8 GiB quota that runs once a year: what starts here starts on demand.
fn etcd(namespace: &str, name: &str) -> Value {
    example_etcd(namespace, name, &[("schedule", "0 0 1 1 *"), ("time-zone", "Etc/UTC")])
}

/// Makes a policy; a kind that is new may take a moment to be served.
fn policy(plane: &ControlPlane, prometheus: &Value) {
    let manifest = json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "measured"},
        "spec": {"metrics": {"prometheus": prometheus}}});
    slowly("the policy to be taken", 30, || {
        plane.kubectl_stdin(["apply", "-f", "-"], &manifest.to_string()).status.success().then_some(())
    });
}

/// The status, reason and message of the condition that tells of Prometheus.
fn reachable(plane: &ControlPlane) -> (String, String, String) {
    let conditions = plane.get(&["defragpolicy", "measured"]).unwrap_or_default()["status"]["conditions"].clone();
    let all = conditions.as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|one| one["type"] == "PrometheusReachable").unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// Waits until the condition has this reason; returns its message.
#[track_caller]
fn reason(plane: &ControlPlane, reason: &str) -> String {
    slowly(&format!("the condition to say {reason}; it says {:?}", reachable(plane)), 90, || {
        let (_, found, message) = reachable(plane);
        (found == reason).then_some(message)
    })
}

/// The names of all Jobs.
fn jobs(plane: &ControlPlane) -> Vec<String> {
    let jobs = plane.get(&["jobs", "-A"]).unwrap_or_default()["items"].clone();
    let names = jobs.as_array().cloned().unwrap_or_default().into_iter();
    names.filter_map(|job| job["metadata"]["ownerReferences"][0]["name"].as_str().map(ToOwned::to_owned)).collect()
}

/// Makes a Job of the CronJob of a StatefulSet, as a person does. No node runs its pod.
fn create_job(plane: &ControlPlane, namespace: &str, statefulset: &str, job: &str) {
    let from = format!("--from=cronjob/{statefulset}-defrag-job");
    plane.kubectl_ok(&["-n", namespace, "create", "job", job, &from]);
}

/// Has a Job end, by its deadline.
fn end_job(plane: &ControlPlane, namespace: &str, job: &str) {
    plane.kubectl_ok(&["-n", namespace, "patch", "job", job, "-p", r#"{"spec": {"activeDeadlineSeconds": 1}}"#]);
    slowly("the Job to end", 30, || {
        let conditions = plane.get(&["-n", namespace, "job", job])?["status"]["conditions"].clone();
        conditions.as_array()?.iter().any(|one| one["type"] == "Failed" && one["status"] == "True").then_some(())
    });
}

/// The note of the last Event with this reason on a StatefulSet that holds these words.
#[track_caller]
fn event(plane: &ControlPlane, namespace: &str, statefulset: &str, reason: &str, words: &str) -> String {
    slowly(&format!("an Event {reason} on {statefulset} with {words:?}"), 60, || {
        let events = plane.get(&["events.events.k8s.io", "-n", namespace])?["items"].clone();
        let found = events.as_array()?.iter().rev().find(|event| {
            event["regarding"]["name"] == statefulset
                && event["reason"] == reason
                && event["note"].as_str().is_some_and(|note| note.contains(words))
        })?;
        found["note"].as_str().map(ToOwned::to_owned)
    })
}

#[track_caller]
fn slowly<T>(what: &str, seconds: u64, probe: impl FnMut() -> Option<T>) -> T {
    eventually(what, Duration::from_secs(seconds), probe)
}

/// Says that all members of a StatefulSet are ready.
fn ready(plane: &ControlPlane, namespace: &str, name: &str, members: u32) {
    let status = json!({"status": {"replicas": 3, "readyReplicas": members}}).to_string();
    let args = ["patch", "statefulset", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", &status];
    plane.kubectl_ok(&args);
}
