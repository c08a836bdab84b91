//! How a deferred run is distinguished from a failed one, by its Job alone.
//!
//! Our own runner exits with [`EXIT_DEFERRED`] if the cluster is not healthy enough to change a member. A Job has no
//! state for that: it failed. With a pod failure policy its condition contains the exit code, so that the pod, which
//! may be gone, is not needed.

use k8s_openapi::api::batch::v1::{
    CronJobSpec, JobCondition, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule,
};

use super::CONTAINER;
use crate::defrag::run_result::EXIT_DEFERRED;

/// What the Job of a runner that defers asks of its controller. With no second attempt (`backoffLimit: 0`) it changes nothing but
/// the reason of the condition.
#[must_use]
pub fn policy() -> PodFailurePolicy {
    let on_exit_codes = PodFailurePolicyOnExitCodesRequirement {
        container_name: Some(CONTAINER.to_owned()),
        operator: "In".to_owned(),
        values: vec![i32::from(EXIT_DEFERRED)],
    };
    let rule = PodFailurePolicyRule {
        action: "FailJob".to_owned(),
        on_exit_codes: Some(on_exit_codes),
        on_pod_conditions: None,
    };
    PodFailurePolicy { rules: vec![rule] }
}

/// Takes an empty list out of a policy that is there: some API servers write it where there is none, and others do not.
pub(super) fn canonical(spec: &mut CronJobSpec) {
    let policy = spec.job_template.spec.as_mut().and_then(|job| job.pod_failure_policy.as_mut());
    for rule in policy.into_iter().flat_map(|policy| &mut policy.rules) {
        rule.on_pod_conditions.take_if(|conditions| conditions.is_empty());
    }
}

/// Whether the condition of a failed Job says that it was deferred.
#[must_use]
pub fn is_deferral(failure: &JobCondition) -> bool {
    let message = failure.message.as_deref().unwrap_or_default();
    failure.reason.as_deref() == Some("PodFailurePolicy")
        && message.contains(&format!("failed with exit code {EXIT_DEFERRED} matching FailJob rule"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_that_an_api_server_writes_is_no_difference() {
        let mut desired = CronJobSpec::default();
        desired.job_template.spec.get_or_insert_default().pod_failure_policy = Some(policy());
        let mut live = desired.clone();
        let policy = live.job_template.spec.as_mut().unwrap().pod_failure_policy.as_mut().unwrap();
        policy.rules[0].on_pod_conditions = Some(Vec::new());
        assert_ne!(live, desired);
        canonical(&mut live);
        assert_eq!(live, desired);
    }

    #[test]
    fn a_deferral_is_known_by_the_words_of_the_job_controller() {
        let condition = |reason: &str, message: &str| JobCondition {
            type_: "Failed".to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            ..JobCondition::default()
        };
        // As pkg/controller/job/pod_failure_policy.go of Kubernetes writes it.
        let said = |code: u8| {
            format!(
                "Container etcd-defrag for pod ns/e-1-abc failed with exit code {code} matching FailJob rule at index 0"
            )
        };
        assert!(is_deferral(&condition("PodFailurePolicy", &said(75))));
        assert!(!is_deferral(&condition("PodFailurePolicy", &said(7))));
        assert!(!is_deferral(&condition("BackoffLimitExceeded", &said(75))));
        assert!(!is_deferral(&JobCondition::default()));
    }
}
