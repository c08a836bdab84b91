//! The pods of a Job, and how the engine ended in them.

use std::time::Duration;

use k8s_openapi::api::core::v1;
use kube::{
    Client,
    api::{Api, ApiResource, DynamicObject, ListParams},
};
use serde::Deserialize;
use tokio::time::timeout;
use tracing::debug;

use crate::defrag::{cronjob::CONTAINER, retry::Pods};

/// The label by which the Job controller knows the pods of a Job.
const JOB_UID: &str = "batch.kubernetes.io/controller-uid";
/// An Event is not kept waiting for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a container ended (`state.terminated` of its status).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Terminated {
    pub(super) exit_code: i32,
    pub(super) reason: String,
    pub(super) message: String,
    started_at: Option<String>,
}

impl Terminated {
    /// Its termination message.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Whether the kubelet wrote this of a container that it did not find when its pod was terminated: one that ran and was lost, or
    /// one that never started.
    fn is_unknown(&self) -> bool {
        self.reason == "ContainerStatusUnknown" && self.started_at.is_none()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    state: ContainerState,
    last_state: ContainerState,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<serde_json::Value>,
    running: Option<serde_json::Value>,
    terminated: Option<Terminated>,
}

impl ContainerState {
    fn has_run(&self) -> bool {
        self.running.is_some() || self.terminated.as_ref().is_some_and(|end| !end.is_unknown())
    }
}

/// The pods of a Job, by the Job's uid.
pub(super) async fn of_job(client: &Client, namespace: &str, uid: &str) -> kube::Result<Vec<DynamicObject>> {
    // Untyped: of a whole Pod its status matters.
    let resource = ApiResource::erase::<v1::Pod>(&());
    let pods: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let found = pods.list(&ListParams::default().labels(&format!("{JOB_UID}={uid}"))).await?;
    Ok(found.items)
}

/// What the pods of a Job that has ended show.
#[derive(Debug)]
pub(crate) struct AtTheEnd {
    /// How the engine ended. `None` where no pod is left, as after a deadline, or none may be read.
    pub(crate) engine: Option<Terminated>,
    /// Whether it had started.
    pub(crate) pods: Pods,
}

/// Asks for the pods of a Job that has ended, by the Job's uid.
pub(crate) async fn at_the_end(client: &Client, namespace: &str, uid: &str) -> AtTheEnd {
    let found = match timeout(PATIENCE, of_job(client, namespace, uid)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            debug!(%error, "could not read the pod of a run that ended");
            return AtTheEnd { engine: None, pods: Pods::Unknown };
        }
        Err(_) => return AtTheEnd { engine: None, pods: Pods::Unknown },
    };
    shown(found.iter().filter_map(|pod| Status::deserialize(pod.data.get("status")?).ok()))
}

/// What is there is read in favour of a start: only where every pod says of itself that its container waits, none has started.
fn shown(statuses: impl Iterator<Item = Status>) -> AtTheEnd {
    let mut shown = AtTheEnd { engine: None, pods: Pods::Gone };
    let mut silent = false;
    for status in statuses {
        let Status { phase, container_statuses } = status;
        let container = container_statuses.into_iter().find(|container| container.name == CONTAINER);
        let has_run = container.as_ref().is_some_and(|one| one.state.has_run() || one.last_state.has_run());
        let waits = container.as_ref().is_some_and(|one| one.state.waiting.is_some());
        if has_run || matches!(phase.as_str(), "Running" | "Succeeded") {
            shown.pods = Pods::Started;
        } else if waits || phase == "Pending" {
            shown.pods = if shown.pods == Pods::Gone { Pods::NotStarted } else { shown.pods };
        } else {
            silent = true;
        }
        shown.engine = shown.engine.or(container.and_then(|container| container.state.terminated));
    }
    if silent && shown.pods == Pods::NotStarted {
        shown.pods = Pods::Gone;
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at_the_end(statuses: &[Value]) -> AtTheEnd {
        shown(statuses.iter().map(|status| Status::deserialize(status).unwrap()))
    }

    #[test]
    fn the_end_of_the_engine_is_found_among_containers() {
        let status = json!({"containerStatuses": [
            {"name": "sidecar", "state": {"terminated": {"exitCode": 1, "message": "no"}}},
            {"name": CONTAINER, "state": {"terminated": {"exitCode": 75, "message": "{}"}}},
        ]});
        let AtTheEnd { engine, pods } = at_the_end(&[status]);
        assert_eq!(engine.map(|end| (end.exit_code, end.message)), Some((75, "{}".to_owned())));
        assert_eq!(pods, Pods::Started);
        for state in [json!({"running": {}}), json!({"waiting": {}})] {
            assert!(
                at_the_end(&[json!({"containerStatuses": [{"name": CONTAINER, "state": state}]})]).engine.is_none()
            );
        }
    }

    /// Whatever leaves a doubt is no pod that shows that nothing started.
    #[test]
    fn none_has_started_only_where_every_pod_says_so() {
        let pod = |phase: &str, state: Value| json!({"phase": phase, "containerStatuses": [{"name": CONTAINER, "state": state}]});
        let waiting = || pod("Pending", json!({"waiting": {"reason": "ImagePullBackOff"}}));
        let ended = || pod("Failed", json!({"terminated": {"exitCode": 1, "reason": "Error"}}));
        let again = json!({"phase": "Pending", "containerStatuses": [
            {"name": CONTAINER, "state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}}]});
        // As the kubelet writes it of a container that it does not find.
        let lost = json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": null, "finishedAt": null}});
        let lost_later = json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": "2026-01-01T00:00:00Z"}});
        for (statuses, expected) in [
            (vec![], Pods::Gone),
            (vec![waiting()], Pods::NotStarted),
            (vec![waiting(), waiting()], Pods::NotStarted),
            (vec![json!({"phase": "Pending"})], Pods::NotStarted),
            (vec![pod("Failed", json!({"waiting": {}}))], Pods::NotStarted),
            (vec![waiting(), ended()], Pods::Started),
            (vec![ended(), waiting()], Pods::Started),
            (vec![again], Pods::Started),
            (vec![pod("Running", json!({"running": {}}))], Pods::Started),
            (vec![json!({"phase": "Running"})], Pods::Started),
            (vec![pod("Failed", lost.clone())], Pods::Gone),
            (vec![pod("Failed", lost), waiting()], Pods::Gone),
            (vec![pod("Failed", lost_later)], Pods::Started),
            // Evicted, as some kubelets write it.
            (vec![json!({"phase": "Failed", "reason": "Evicted"})], Pods::Gone),
            (vec![json!({})], Pods::Gone),
        ] {
            assert_eq!(at_the_end(&statuses).pods, expected, "{statuses:?}");
        }
    }
}
