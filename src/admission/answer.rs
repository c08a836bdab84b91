//! From the bytes of a review to the answer. Whatever goes wrong once the request's uid is known is answered here, so
//! that no failure policy has to decide: the entries that fail closed refuse, the others let the write go on and say so.

use jiff::Timestamp;

use super::{
    Entry,
    decide::{Write, decide},
    reply::{Response, failure, invalid},
    review::{self, Request, Review},
};
use crate::defrag::{
    finding::{Finding, WARNING_LIMIT, shorten},
    policy::PolicySnapshot,
};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The write goes on.
    Allowed,
    /// The write goes on with a patch.
    Patched,
    /// Findings refuse the write.
    Refused,
    /// The review could not be assessed, because it could not be read.
    Unreadable,
    /// The assessment panicked or ran out of time.
    Failed,
    /// There was no request to answer.
    Malformed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Allowed, Self::Patched, Self::Refused, Self::Unreadable, Self::Failed, Self::Malformed];

    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Patched => "patched",
            Self::Refused => "refused",
            Self::Unreadable => "unreadable",
            Self::Failed => "failed",
            Self::Malformed => "malformed",
        }
    }
}

/// An answer and what is to be counted and logged about it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What to send.
    pub response: Response,
    /// What became of the request.
    pub outcome: Outcome,
    /// All findings of the assessment.
    pub findings: Vec<Finding>,
    /// The request, where it could be read.
    pub request: Option<Request>,
}

/// Why there is no assessment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The assessment panicked.
    Panicked,
    /// The assessment took too long.
    TimedOut,
}

/// The answer to a review, whose request has this `uid`.
#[must_use]
pub fn answer(entry: Entry, uid: &str, review: Review<'_>, snapshot: &PolicySnapshot, now: Timestamp) -> Answer {
    let request = match review::request(review) {
        Ok(request) => request,
        Err(error) => return unassessed(entry, uid, Outcome::Unreadable, 400, "BadRequest", &error.to_string()),
    };
    let allow = |warnings, request| Answer {
        response: Response::allow(uid, warnings),
        outcome: Outcome::Allowed,
        findings: Vec::new(),
        request: Some(request),
    };
    if !request.ours {
        let warning =
            format!("etcd-defrag-webhook assesses StatefulSets only; fix the registration for {}", request.resource);
        return allow(vec![shorten(&warning, WARNING_LIMIT)], request);
    }
    let Some(object) = &request.object else { return allow(Vec::new(), request) };
    let write =
        Write { operation: request.operation, object, old: request.old_object.as_ref(), of_status: request.of_status };
    let decision = decide(entry, write, snapshot, now);
    let (response, outcome) = if !decision.refusals.is_empty() {
        (Response::deny(uid, invalid(object, &decision.refusals), decision.warnings), Outcome::Refused)
    } else if decision.patch.is_empty() {
        (Response::allow(uid, decision.warnings), Outcome::Allowed)
    } else {
        (Response::patched(uid, &decision.patch, decision.warnings), Outcome::Patched)
    };
    let response = response.audited(decision.audit);
    Answer { response, outcome, findings: decision.findings, request: Some(request) }
}

/// The answer where the assessment came to no end.
#[must_use]
pub fn failed(entry: Entry, uid: &str, failure: Failure) -> Answer {
    let (code, reason, text) = match failure {
        Failure::Panicked => {
            (500, "InternalError", "the assessment of this object failed, which is a bug; see the webhook's log")
        }
        Failure::TimedOut => (504, "Timeout", "the assessment of this object took too long; try again"),
    };
    unassessed(entry, uid, Outcome::Failed, code, reason, text)
}

fn unassessed(entry: Entry, uid: &str, outcome: Outcome, code: u16, reason: &str, text: &str) -> Answer {
    let response = if entry.fails_closed() {
        let message =
            format!("{text}. Nothing was changed: etcd-defrag.io settings are not accepted without an assessment.");
        Response::deny(uid, failure(code, reason, message), Vec::new())
    } else {
        Response::allow(uid, vec![shorten(&format!("etcd-defrag-webhook: not assessed: {text}"), WARNING_LIMIT)])
    };
    Answer { response, outcome, findings: Vec::new(), request: None }
}
