//! The one judgement of a StatefulSet, which webhook, reconciler and command line all call.

use jiff::Timestamp;

use super::{
    finding::{Code, Finding, quoted},
    keys::{self, ENABLED, Key, PREFIX},
    policy::Policy,
    statefulset::StatefulSet,
};

/// What a StatefulSet asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrollment {
    /// It carries no label of ours.
    NotEnrolled,
    /// It opts out.
    OptedOut,
    /// It opts in.
    Enrolled,
    /// Its label cannot be understood.
    Unclear,
}

impl Enrollment {
    /// Reads the label.
    #[must_use]
    pub fn of(object: &StatefulSet) -> Self {
        match object.label(ENABLED) {
            None => Self::NotEnrolled,
            Some("true") => Self::Enrolled,
            Some("false") => Self::OptedOut,
            Some(_) => Self::Unclear,
        }
    }
}

/// What the judgement says of one StatefulSet.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// What it asks of us.
    pub enrollment: Enrollment,
    /// Everything that is wrong or risky.
    pub findings: Vec<Finding>,
    /// What to run; only for an enrolled object that nothing refuses.
    pub plan: Option<Plan>,
}

impl Judgement {
    /// The findings that refuse.
    pub fn denials(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.denies())
    }
}

/// A judged and sound configuration; it is built by [`resolve`] only.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The namespace of the StatefulSet and of its CronJob.
    pub namespace: String,
    /// The name of the StatefulSet.
    pub name: String,
    /// The uid of the StatefulSet, where it has one.
    pub uid: Option<String>,
}

impl Plan {
    /// The settings in force, one line of at most 120 characters each: next fire times, quota, when the rule fires.
    #[must_use]
    pub fn effective(&self, _now: Timestamp) -> Vec<String> {
        Vec::new()
    }
}

/// Judges a StatefulSet under a policy.
#[must_use]
pub fn resolve(object: &StatefulSet, _policy: &Policy, _now: Timestamp) -> Judgement {
    let enrollment = Enrollment::of(object);
    let mut findings = Vec::new();
    if enrollment == Enrollment::Unclear {
        findings.push(Finding::new(Code::EnabledInvalid, "metadata.labels[etcd-defrag.io/enabled]", "must be \"true\" or \"false\"", "must be \"true\" or \"false\""));
    }
    for key in object.annotations().keys().filter_map(|key| key.strip_prefix(PREFIX)) {
        if Key::from_name(key).is_none() {
            findings.push(Finding::new(Code::AnnotationUnknown, keys::annotation_field(key), quoted(key), "unknown"));
        }
    }
    let sound = enrollment == Enrollment::Enrolled && !findings.iter().any(Finding::denies);
    let plan = sound.then(|| Plan { namespace: object.namespace().to_owned(), name: object.name().to_owned(), uid: object.metadata.uid.clone() });
    Judgement { enrollment, findings, plan }
}
