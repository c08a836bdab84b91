//! The two pure steps of a reconciliation: judge what a StatefulSet asks for, and build the CronJob that it gets.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;

use super::drift::{FINDINGS, LAST_DEFRAG_NOW, POLICY, POLICY_REASON};
use crate::defrag::{
    self, Enrollment, Plan, cronjob,
    finding::{Code, Finding, quoted},
    policy::{Governing, Policy},
    statefulset::StatefulSet,
};

/// What is to become of the CronJob of a StatefulSet.
#[derive(Clone, Debug)]
pub(super) enum Intent {
    /// It should exist, and look like this plan.
    Have(Box<Plan>),
    /// The pod template became one that is refused: a CronJob that is there follows it, but none is made.
    Follow(Box<Plan>),
    /// The settings are refused: the last good one stays as it is.
    Keep,
    /// There should be none.
    Remove,
    /// The StatefulSet is being deleted: whatever is there goes with it.
    Leave,
}

impl Intent {
    /// What the CronJob goes by, where that is known.
    pub(super) const fn plan(&self) -> Option<&Plan> {
        match self {
            Self::Have(plan) | Self::Follow(plan) => Some(plan),
            Self::Keep | Self::Remove | Self::Leave => None,
        }
    }
}

/// The judgement, in the reconciler's terms.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) intent: Intent,
    pub(super) findings: Vec<Finding>,
}

/// Judges. `rivals` are the names of other CronJobs that defragment the same etcd.
pub(super) fn judge(object: Option<&StatefulSet>, policy: &Policy, now: Timestamp, rivals: &[String]) -> Verdict {
    let Some(object) = object else { return Verdict { intent: Intent::Remove, findings: Vec::new() } };
    if object.metadata.deletion_timestamp.is_some() {
        return Verdict { intent: Intent::Leave, findings: Vec::new() };
    }
    let judgement = defrag::resolve(object, policy, now);
    let mut findings = judgement.findings;
    let intent = match (judgement.enrollment, judgement.plan, judgement.follow) {
        (Enrollment::NotEnrolled | Enrollment::OptedOut, ..) => Intent::Remove,
        (Enrollment::Enrolled, Some(plan), _) => Intent::Have(Box::new(plan)),
        (Enrollment::Enrolled, None, Some(plan)) => Intent::Follow(Box::new(plan)),
        (Enrollment::Enrolled | Enrollment::Unclear, ..) => Intent::Keep,
    };
    if judgement.enrollment == Enrollment::Enrolled {
        findings.extend(policy.limits.weigh(rivals.iter().map(|name| rival(name)).collect()));
    }
    Verdict { intent, findings }
}

fn rival(name: &str) -> Finding {
    let quoted = quoted(name);
    Finding::new(
        Code::RivalDefragmenter,
        "metadata.name",
        format!("the CronJob {quoted} defragments this etcd too"),
        format!(
            "The CronJob {quoted} in the same namespace defragments this etcd too: two runs at once can take two members \
             away at the same time, and with them the quorum. Delete or suspend one of the two."
        ),
    )
}

/// That the name of the CronJob is taken.
pub(super) fn foreign(name: &str, why: &str) -> Finding {
    let quoted = quoted(name);
    Finding::new(
        Code::CronJobForeign,
        "metadata.name",
        format!("the CronJob {quoted} {why}"),
        format!(
            "The CronJob {quoted} {why}. It is not ours, so it is left alone, and this etcd gets no CronJob from us. \
             Delete or rename it, and ours takes its place at once."
        ),
    )
}

/// The codes of all findings, sorted, each once: what the annotation [`FINDINGS`] holds.
pub(super) fn codes(findings: &[Finding]) -> Option<String> {
    let codes: BTreeSet<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
    (!codes.is_empty()).then(|| codes.into_iter().collect::<Vec<_>>().join(","))
}

/// Builds the CronJob of a plan, with what is reported on it. `served` is the `defrag-now` token that was served last.
pub(super) fn build(plan: &Plan, governing: &Governing, findings: &[Finding], served: Option<&str>) -> CronJob {
    let mut built = cronjob::build(plan, &governing.policy);
    let annotations = built.metadata.annotations.get_or_insert_default();
    annotations.extend(governing.name().map(|name| (POLICY.to_owned(), name.to_owned())));
    annotations.insert(POLICY_REASON.to_owned(), governing.why());
    annotations.extend(codes(findings).map(|codes| (FINDINGS.to_owned(), codes)));
    annotations.extend(served.map(|token| (LAST_DEFRAG_NOW.to_owned(), token.to_owned())));
    built
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(labels: &serde_json::Value) -> StatefulSet {
        serde_json::from_value(json!({"metadata": {"name": "etcd", "namespace": "ns", "uid": "u", "labels": labels}}))
            .unwrap()
    }

    fn judged(object: Option<&StatefulSet>, rivals: &[String]) -> Verdict {
        judge(object, &Policy::built_in(), Timestamp::UNIX_EPOCH, rivals)
    }

    #[test]
    fn what_is_not_enrolled_any_more_has_no_cronjob() {
        assert!(matches!(judged(None, &[]).intent, Intent::Remove));
        assert!(matches!(judged(Some(&object(&json!({}))), &[]).intent, Intent::Remove));
        let opted_out = judged(Some(&object(&json!({"etcd-defrag.io/enabled": "false"}))), &["rival".to_owned()]);
        assert!(matches!(opted_out.intent, Intent::Remove) && opted_out.findings.is_empty());
    }

    #[test]
    fn a_label_that_cannot_be_understood_keeps_what_is_there() {
        let verdict = judged(Some(&object(&json!({"etcd-defrag.io/enabled": "yes"}))), &[]);
        assert!(matches!(verdict.intent, Intent::Keep));
        assert_eq!(codes(&verdict.findings).as_deref(), Some("enabled-invalid"));
    }

    #[test]
    fn refused_settings_keep_the_last_good_cronjob() {
        let mut object = object(&json!({"etcd-defrag.io/enabled": "true"}));
        object.metadata.annotations = Some([("etcd-defrag.io/shedule".to_owned(), "@daily".to_owned())].into());
        let verdict = judged(Some(&object), &["rival".to_owned()]);
        assert!(matches!(verdict.intent, Intent::Keep));
        let codes = codes(&verdict.findings).unwrap();
        assert!(codes.contains("annotation-unknown") && codes.contains("rival-defragmenter"), "{codes}");
    }

    #[test]
    fn an_object_that_is_being_deleted_is_left_to_its_deletion() {
        let mut object = object(&json!({"etcd-defrag.io/enabled": "true"}));
        object.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
        assert!(matches!(judged(Some(&object), &[]).intent, Intent::Leave));
    }

    #[test]
    fn codes_are_sorted_and_each_stands_once() {
        let findings = [rival("b"), foreign("x", "is controlled by the Foo y"), rival("a")];
        assert_eq!(codes(&findings).as_deref(), Some("cronjob-foreign,rival-defragmenter"));
        assert_eq!(codes(&[]), None);
    }
}
