//! Why the container of a Job does not start: read from the status of its pod and from Events; the message says what is
//! missing and what to do.
//!
//! The texts there come from the kubelet, the scheduler, admission webhooks and registries: they are quoted in one line
//! of bounded length.

use serde::Deserialize;

use super::{cronjob::CONTAINER, text::shorten};

/// So many characters of others are quoted.
const QUOTED: usize = 400;

/// Why a container does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotStarted {
    /// What kind of cause it is, in one word; the same cause has the same word, whatever its text.
    pub cause: &'static str,
    /// What was found and what to do, in whole sentences.
    pub text: String,
}

/// How far the pod of a Job has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodState {
    /// A container has started, or has ended.
    Started,
    /// It does not start, and the pod says why.
    Stuck(NotStarted),
    /// It has not started yet; only Events can say why.
    Waiting,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    conditions: Vec<Condition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: String,
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    image: String,
    state: State,
    last_state: State,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    waiting: Option<Waiting>,
    running: Option<serde_json::Value>,
    terminated: Option<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: String,
    message: String,
}

/// An Event, as far as it says why nothing starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its reason, such as `FailedMount`.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// Reads the status of a pod. What cannot be read says nothing.
#[must_use]
pub fn of_pod(status: &serde_json::Value) -> PodState {
    let Ok(status) = Status::deserialize(status) else { return PodState::Waiting };
    let has_run = |state: &State| state.running.is_some() || state.terminated.is_some();
    if let Some(container) = status.container_statuses.iter().find(|container| container.name == CONTAINER) {
        if has_run(&container.state) || has_run(&container.last_state) {
            return PodState::Started;
        }
        if let Some(stuck) = container.state.waiting.as_ref().and_then(|waiting| waits(container, waiting)) {
            return PodState::Stuck(stuck);
        }
    }
    let unscheduled = |condition: &&Condition| {
        condition.type_ == "PodScheduled" && condition.status == "False" && condition.reason == "Unschedulable"
    };
    match status.conditions.iter().find(unscheduled) {
        Some(condition) => PodState::Stuck(stuck(
            "Unschedulable",
            &condition.message,
            "no node accepts its pod",
            "Check job.nodeSelector, tolerations, affinity and resources of the policy against the nodes.",
        )),
        None => PodState::Waiting,
    }
}

fn waits(container: &ContainerStatus, waiting: &Waiting) -> Option<NotStarted> {
    let said = if waiting.message.is_empty() { &waiting.reason } else { &waiting.message };
    match waiting.reason.as_str() {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable" => Some(stuck(
            "Image",
            said,
            &format!("its image {} cannot be pulled", shorten(&container.image, 200)),
            "Check job.image, imagePullPolicy and imagePullSecrets of the policy (the Secrets have to be in the namespace of \
             the StatefulSet), and that the node reaches the registry.",
        )),
        "CreateContainerConfigError" => Some(stuck(
            "Config",
            said,
            "a Secret or a key of it that its environment needs is missing",
            "Create it in the namespace of the StatefulSet, or name the right one in etcd-defrag.io/username-secret.",
        )),
        "CreateContainerError" | "RunContainerError" | "StartError" | "PostStartHookError" => Some(stuck(
            "Container",
            said,
            "the container runtime cannot start it",
            "Check that job.image of the policy is etcd-defrag for the architecture of the node.",
        )),
        _ => None,
    }
}

/// Reads the Events of a pod that waits. A pull secret that is not there is named before the image that could not be pulled
/// without it.
#[must_use]
pub fn of_pod_events(said: &[Said]) -> Option<NotStarted> {
    let newest = |reason: &str| said.iter().rev().find(|event| event.reason == reason);
    if let Some(event) = newest("FailedMount").or_else(|| newest("FailedAttachVolume")) {
        return Some(stuck(
            "Mount",
            &event.message,
            "a Secret or ConfigMap with certificates, or a key of it, is missing",
            "Create it in the namespace of the StatefulSet, or name the right one in etcd-defrag.io/ca-secret or client-secret.",
        ));
    }
    let sandbox = newest("FailedCreatePodSandBox")?;
    Some(stuck(
        "Sandbox",
        &sandbox.message,
        "the node cannot set up its pod",
        "Check the network plugin and the runtime of the node; kubectl describe pod has more.",
    ))
}

/// The pull secrets that the kubelet did not find, as an Event of the pod says.
#[must_use]
pub fn missing_pull_secret(said: &[Said]) -> Option<NotStarted> {
    let event = said.iter().rev().find(|event| event.reason == "FailedToRetrieveImagePullSecret")?;
    Some(stuck(
        "PullSecret",
        &event.message,
        "a Secret of job.imagePullSecrets is missing in the namespace of the StatefulSet",
        "Create it there (kubectl create secret docker-registry), or take it out of the policy.",
    ))
}

/// Reads the Events of a Job that has no pod.
#[must_use]
pub fn of_job_events(said: &[Said]) -> Option<NotStarted> {
    let event = said.iter().rev().find(|event| event.reason == "FailedCreate")?;
    let message = event.message.as_str();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    let (cause, what, advice) = if has(&["exceeded quota", "failed quota"]) {
        (
            "ResourceQuota",
            "the ResourceQuota of the namespace has no room for its pod",
            "Raise the quota, or lower job.resources of the policy; a quota on limits requires job.resources.limits.",
        )
    } else if has(&["violates PodSecurity"]) {
        (
            "PodSecurity",
            "the Pod Security level of the namespace forbids its pod",
            "The pod keeps to \"restricted\" unless something in the cluster changes it: check what mutates pods.",
        )
    } else if has(&["admission webhook", "ValidatingAdmissionPolicy", "failed calling webhook"]) {
        (
            "Admission",
            "an admission policy of the cluster refuses its pod",
            "Change job of the policy as the refusal says, or exempt the pods with the label app.kubernetes.io/name=etcd-defrag.",
        )
    } else if has(&["usage per Container is", "usage per Pod is", "limit to request ratio"]) {
        (
            "LimitRange",
            "the LimitRange of the namespace excludes its resources",
            "Set job.resources of the policy inside of the range.",
        )
    } else if has(&["error looking up service account", "serviceaccount"]) {
        (
            "ServiceAccount",
            "the ServiceAccount of its pod is missing",
            "Create it in the namespace of the StatefulSet, or change job.serviceAccountName of the policy.",
        )
    } else if has(&["PriorityClass"]) {
        (
            "PriorityClass",
            "the PriorityClass of its pod is missing",
            "Create it, or change job.priorityClassName of the policy.",
        )
    } else {
        ("NoPod", "its pod cannot be created", "kubectl describe job has more.")
    };
    Some(stuck(cause, message, what, advice))
}

/// That a Job has had no pod for a while, where Events may not be read or say nothing.
#[must_use]
pub fn no_pod(namespace: &str, job: &str, seconds: i64) -> NotStarted {
    NotStarted {
        cause: "NoPod",
        text: format!(
            "Its Job has no pod after {seconds} s. kubectl describe job {job} -n {namespace} says why: most often a ResourceQuota, \
             a LimitRange or an admission policy."
        ),
    }
}

/// That a pod has waited for a while, where Events may not be read or say nothing.
#[must_use]
pub fn waiting(namespace: &str, pod: &str, seconds: i64) -> NotStarted {
    NotStarted {
        cause: "Waiting",
        text: format!(
            "Its container has not started after {seconds} s. kubectl describe pod {pod} -n {namespace} says why: most often \
             an image that is pulled slowly, or a Secret that is missing."
        ),
    }
}

fn stuck(cause: &'static str, said: &str, what: &str, advice: &str) -> NotStarted {
    // Names of pods and their hashes are no part of a cause, but help nobody to find it either: the text stays as it is.
    NotStarted { cause, text: format!("Its container does not start, because {what}: {}. {advice}", quote(said)) }
}

fn quote(said: &str) -> String {
    shorten(said.trim().trim_end_matches('.'), QUOTED)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn waiting_for(reason: &str, message: &str) -> serde_json::Value {
        json!({"containerStatuses": [
            {"name": "sidecar", "state": {"running": {}}},
            {"name": CONTAINER, "image": "registry.test/etcd-defrag:v1", "state": {"waiting": {"reason": reason, "message": message}}},
        ]})
    }

    fn text(state: PodState) -> String {
        match state {
            PodState::Stuck(found) => format!("{}: {}", found.cause, found.text),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_a_pod_waits_for_in_words() {
        let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."}]});
        let said = [
            waiting_for("ImagePullBackOff", "Back-off pulling image \"registry.test/etcd-defrag:v1\""),
            waiting_for("ErrImageNeverPull", ""),
            waiting_for("CreateContainerConfigError", "couldn't find key password in Secret tenants/etcd-root"),
            waiting_for("RunContainerError", "exec format error"),
            waiting_for("ContainerCreating", ""),
            unscheduled,
        ]
        .map(|status| text(of_pod(&status)));
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn what_events_say_in_words() {
        let said = |reason: &str, message: &str| Said { reason: reason.to_owned(), message: message.to_owned() };
        let job = |message: &str| of_job_events(&[said("SuccessfulCreate", "x"), said("FailedCreate", message)]);
        let pod = |reason: &str, message: &str| of_pod_events(&[said("Scheduled", "x"), said(reason, message)]);
        let all = [
            job(
                "Error creating: pods \"e-1\" is forbidden: exceeded quota: small, requested: limits.memory=128Mi, used: limits.memory=0, limited: limits.memory=64Mi",
            ),
            job(
                "Error creating: pods \"e-1\" is forbidden: minimum memory usage per Container is 256Mi, but request is 32Mi",
            ),
            job("Error creating: pods \"e-1\" is forbidden: violates PodSecurity \"restricted:latest\": x"),
            job("Error creating: admission webhook \"validate.kyverno.svc\" denied the request: no"),
            job(
                "Error creating: pods \"e-1\" is forbidden: error looking up service account tenants/x: serviceaccount \"x\" not found",
            ),
            job("Error creating: pods \"e-1\" is forbidden: no PriorityClass with name x was found"),
            job("Error creating: \u{1b}[2J"),
            pod("FailedMount", "MountVolume.SetUp failed for volume \"etcd-ca\" : secret \"etcd-certs\" not found"),
            pod("FailedCreatePodSandBox", "no address"),
            missing_pull_secret(&[said(
                "FailedToRetrieveImagePullSecret",
                "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.",
            )]),
            Some(no_pod("tenants", "etcd-defrag-job-1", 30)),
            Some(waiting("tenants", "etcd-defrag-job-1-x", 60)),
        ];
        let all: Vec<String> = all
            .into_iter()
            .map(|found| found.map_or("-".to_owned(), |found| format!("{}: {}", found.cause, found.text)))
            .collect();
        insta::assert_snapshot!(all.join("\n"));
        assert_eq!(of_pod_events(&[said("Pulling", "x")]), None);
        assert_eq!(of_job_events(&[said("SuccessfulCreate", "x")]), None);
    }

    #[test]
    fn what_has_run_has_started_whatever_waits_now() {
        for state in [json!({"running": {}}), json!({"terminated": {"exitCode": 1}})] {
            assert_eq!(of_pod(&json!({"containerStatuses": [{"name": CONTAINER, "state": state}]})), PodState::Started);
        }
        let again = json!({"containerStatuses": [{"name": CONTAINER, "state": {"waiting": {"reason": "ErrImagePull"}},
            "lastState": {"terminated": {"exitCode": 1}}}]});
        assert_eq!(of_pod(&again), PodState::Started);
        assert_eq!(of_pod(&json!({})), PodState::Waiting);
        assert_eq!(of_pod(&json!("x")), PodState::Waiting);
    }

    #[test]
    fn long_text_of_others_is_cut() {
        let PodState::Stuck(found) = of_pod(&waiting_for("ErrImagePull", &"x\n".repeat(5000))) else { panic!() };
        assert!(found.text.len() < 1000, "{}", found.text.len());
        assert!(!found.text.contains('\n'));
    }
}
