//! Encoding an answer: a review with the request's uid, or a Status where there is no request to answer.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails},
};
use serde::Serialize;

use super::{
    audit,
    review::{API_VERSION, KIND},
};
use crate::defrag::{
    finding::{Code, Finding},
    statefulset::StatefulSet,
    text::printable,
};

/// A refusal names at most this many findings; a review with thousands of unknown annotations gets an answer that can
/// still be read.
const CAUSES: usize = 32;

/// The answer to one request.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The one of the request.
    pub uid: String,
    /// Whether the write may go on.
    pub allowed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    /// What kubectl prints as `Warning:` lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The annotations in the audit event of the request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub audit_annotations: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: &'a Response,
}

impl Response {
    /// The write may go on.
    #[must_use]
    pub fn allow(uid: &str, warnings: Vec<String>) -> Self {
        Self {
            uid: uid.to_owned(),
            allowed: true,
            status: None,
            patch: None,
            patch_type: None,
            warnings,
            audit_annotations: BTreeMap::new(),
        }
    }

    /// The write may not go on.
    #[must_use]
    pub fn deny(uid: &str, status: Status, warnings: Vec<String>) -> Self {
        Self { allowed: false, status: Some(status), ..Self::allow(uid, warnings) }
    }

    /// The write may go on with these changes.
    #[must_use]
    pub fn patched(uid: &str, patch: &json_patch::Patch, warnings: Vec<String>) -> Self {
        let bytes = if patch.is_empty() { None } else { serde_json::to_vec(patch).ok() };
        let patch_type = bytes.as_ref().map(|_| "JSONPatch");
        Self { patch: bytes.map(ByteString), patch_type, ..Self::allow(uid, warnings) }
    }

    /// The same answer with this in the audit event of the request.
    #[must_use]
    pub fn audited(mut self, value: Option<String>) -> Self {
        self.audit_annotations.extend(value.map(|value| (audit::KEY, value)));
        self
    }

    /// The body to send.
    ///
    /// # Errors
    /// None that is known; the encoder's, should there ever be one.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Review { api_version: API_VERSION, kind: KIND, response: self })
    }
}

/// A failure in the API server's own terms, in one line.
#[must_use]
pub fn failure(code: u16, reason: &str, message: impl AsRef<str>) -> Status {
    Status {
        code: Some(code.into()),
        message: Some(printable(message.as_ref())),
        reason: Some(reason.to_owned()),
        status: Some("Failure".to_owned()),
        ..Status::default()
    }
}

/// The refusal of an object, with one cause for each finding.
///
/// kubectl prints the causes, as `The StatefulSet "name" is invalid: ` and one line for each; other clients print the
/// message. Both say the same.
#[must_use]
pub fn invalid(object: &StatefulSet, findings: &[Finding]) -> Status {
    let mut causes: Vec<StatusCause> = findings.iter().take(CAUSES).map(cause).collect();
    if let Some(more) = findings.len().checked_sub(CAUSES).filter(|more| *more > 0) {
        causes.push(StatusCause {
            field: Some("metadata.annotations".to_owned()),
            message: Some(format!("{more} further findings are not shown")),
            reason: Some("FieldValueInvalid".to_owned()),
        });
    }
    let line = |cause: &StatusCause| {
        format!("{}: {}", cause.field.as_deref().unwrap_or_default(), cause.message.as_deref().unwrap_or_default())
    };
    let message = match causes.as_slice() {
        [only] => line(only),
        several => {
            several.iter().fold(format!("{} findings:", findings.len()), |text, cause| text + "\n* " + &line(cause))
        }
    };
    Status {
        details: Some(StatusDetails {
            name: Some(printable(object.name())).filter(|name| !name.is_empty()),
            group: Some("apps".to_owned()),
            kind: Some("StatefulSet".to_owned()),
            causes: Some(causes),
            ..StatusDetails::default()
        }),
        message: Some(message),
        ..failure(422, "Invalid", "")
    }
}

fn cause(finding: &Finding) -> StatusCause {
    StatusCause {
        field: Some(finding.field.to_string()),
        message: Some(format!("{} [{}]", finding.message, finding.code)),
        reason: Some(cause_reason(finding.code).to_owned()),
    }
}

/// The API server's own word for this kind of cause.
const fn cause_reason(code: Code) -> &'static str {
    match code {
        Code::EnabledInvalid | Code::AnnotationUnknown | Code::BooleanInvalid | Code::TimeZoneInvalid => {
            "FieldValueNotSupported"
        }
        Code::EtcdNotFound | Code::EndpointsUnknown | Code::QuotaUnknown | Code::TlsSecretUnknown => {
            "FieldValueRequired"
        }
        _ => "FieldValueInvalid",
    }
}
