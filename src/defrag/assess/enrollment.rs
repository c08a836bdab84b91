//! What a StatefulSet asks of us.

use crate::defrag::{
    etcd,
    field::Field,
    finding::{Code, Finding, quoted},
    keys::{ENABLED, Key},
    policy::{EnrollmentMode, Policy},
    statefulset::StatefulSet,
};

/// What a StatefulSet asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrollment {
    /// It carries no label of ours, and no policy enrols it.
    NotEnrolled,
    /// It opts out.
    OptedOut,
    /// It opts in, or the policy enrols it.
    Enrolled,
    /// Its label cannot be understood.
    Unclear,
}

impl Enrollment {
    /// Reads the label, and where the policy enrols all etcds and the label does not say yes, the pod template: an etcd
    /// without the label is enrolled, and so is one that opts out although the policy does not allow it.
    #[must_use]
    pub fn of(object: &StatefulSet, policy: &Policy) -> Self {
        let by_policy = || policy.enrollment == EnrollmentMode::All && etcd::evidence(object).runs_etcd();
        match object.label(ENABLED) {
            Some("true") => Self::Enrolled,
            None if by_policy() => Self::Enrolled,
            Some("false") if !policy.allow_opt_out && by_policy() => Self::Enrolled,
            None => Self::NotEnrolled,
            Some("false") => Self::OptedOut,
            Some(_) => Self::Unclear,
        }
    }
}

pub(super) fn unclear(object: &StatefulSet) -> Finding {
    let value = quoted(object.label(ENABLED).unwrap_or_default());
    Finding::new(
        Code::EnabledInvalid,
        Field::ENABLED,
        "must be \"true\" or \"false\"",
        format!(
            "{value} is neither \"true\" nor \"false\": whether this etcd is to be defragmented must not be left to a guess. Write \"true\" to opt in or \"false\" to opt out."
        ),
    )
}

/// The finding of an etcd that is assessed without being enrolled. `evidence` says why it is an etcd.
pub(super) fn not_enrolled(evidence: &str) -> Finding {
    Finding::new(
        Code::NotEnrolled,
        Field::ENABLED,
        "an etcd without the label: assessed as if it had it",
        format!(
            "{evidence} It does not carry the label {ENABLED}, so it has no CronJob. The other findings are those that it would \
             get with the label: write {ENABLED}: \"true\" in metadata.labels to enrol it, or \"false\" to opt out."
        ),
    )
}

/// That an etcd opts out where the policy enrols all.
pub(super) fn opted_out(object: &StatefulSet) -> Option<Finding> {
    let evidence = (object.label(ENABLED) == Some("false")).then(|| etcd::evidence(object))?;
    Some(Finding::new(
        Code::OptOutRefused,
        Field::ENABLED,
        "the policy enrols every etcd and lets none opt out; remove the label",
        format!(
            "The label says \"false\", but the policy that governs this etcd enrols every etcd and lets none opt out: an etcd \
             that is never defragmented ends with an alarm that stops all writes. {} Remove the label; to pause, set the \
             annotation {} to \"true\".",
            evidence.sentence(),
            Key::Suspend.annotation()
        ),
    ))
}

/// That an etcd is enrolled where nothing is served.
pub(super) fn left_out(object: &StatefulSet) -> Finding {
    let namespace = object.namespace();
    Finding::new(
        Code::NamespaceLeftOut,
        "metadata.namespace",
        format!("the namespace {namespace} is excluded, so this etcd gets no CronJob"),
        format!(
            "This etcd is enrolled, but the namespace {} is excluded from this installation: its settings are not assessed, and \
             no CronJob is created for it, so it is not defragmented. Remove the namespace from exemptNamespaces, a value of the chart, \
             or move the etcd to another namespace.",
            quoted(namespace)
        ),
    )
}
