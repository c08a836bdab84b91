//! Decoding an `AdmissionReview`, as little of it as needed and in steps: first the request and its uid, so that whatever else is
//! wrong is still answered, then each object.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::defrag::{
    finding::{quoted, shorten},
    statefulset::StatefulSet,
};

/// The only review version that is spoken here.
pub const API_VERSION: &str = "admission.k8s.io/v1";

/// The kind of the body.
pub const KIND: &str = "AdmissionReview";

/// A body to which no review can be answered, because it names no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; POST an AdmissionReview of {API_VERSION} as JSON, as the API server does")]
pub struct Malformed(String);

/// A request that can be answered but not assessed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The attributes of the request.
    #[error("the request in this AdmissionReview cannot be read: {0}")]
    Request(String),
    /// One of its objects.
    #[error("{field} is not a StatefulSet that can be read: {reason}")]
    Object {
        /// `object` or `oldObject`.
        field: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// There is nothing to assess.
    #[error("the request carries no object, and {0} needs one")]
    NoObject(&'static str),
}

/// What is being done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The object is new.
    Create,
    /// The object changes.
    Update,
    /// Anything else, which is never ours to assess.
    Other,
}

impl Operation {
    /// The name that the API server uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Other => "OTHER",
        }
    }
}

/// A request to assess.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is being done.
    pub operation: Operation,
    /// Whether the request is about a StatefulSet or its status; anything else is not ours to assess.
    pub ours: bool,
    /// Whether it is a write of the status.
    pub of_status: bool,
    /// The resource and subresource, for messages.
    pub resource: String,
    /// The namespace of the object.
    pub namespace: String,
    /// The name of the object; empty where the API server is still to generate it.
    pub name: String,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The object as it would be stored.
    pub object: Option<StatefulSet>,
    /// The object as it is stored.
    pub old_object: Option<StatefulSet>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<T> {
    api_version: Option<String>,
    kind: Option<String>,
    request: Option<T>,
}

/// What can be read of a request that cannot be read as [`Attributes`].
#[derive(Deserialize)]
#[serde(expecting = "a request")]
struct Identity {
    uid: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes<'a> {
    uid: Option<String>,
    operation: String,
    resource: Resource,
    sub_resource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    dry_run: Option<bool>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    old_object: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(expecting = "group, version and resource")]
struct Resource {
    group: String,
    version: String,
    #[serde(rename = "resource")]
    plural: String,
}

/// The API server sends a UUID. It is kept until the answer is sent, outside of the budget for bodies.
const LONGEST_UID: usize = 128;

/// No object of an API server has a longer name.
const LONGEST_NAME: usize = 253;

/// The decoder's words, of which a quoted value may be as long as the body.
fn words(error: &serde_json::Error) -> String {
    shorten(&error.to_string(), 200)
}

/// A review that can be answered, whose objects are not read yet.
pub struct Review<'a>(Result<Attributes<'a>, Unreadable>);

/// The review in `body`, and the uid of its request, which every answer must carry.
pub fn read(body: &[u8]) -> Result<(String, Review<'_>), Malformed> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Malformed(format!("the body is not UTF-8 from byte {} on", error.valid_up_to())))?;
    match text.trim_ascii_start().chars().next() {
        None => return Err(Malformed("the body is empty".to_owned())),
        Some('{') => {}
        Some(_) => return Err(Malformed("the body is not a JSON object".to_owned())),
    }
    match serde_json::from_str::<Envelope<Attributes<'_>>>(text) {
        Ok(envelope) => {
            let mut attributes = envelope.open()?;
            Ok((checked(attributes.uid.take())?, Review(Ok(attributes))))
        }
        Err(unreadable) => {
            let envelope: Envelope<Identity> = serde_json::from_str(text)
                .map_err(|error| Malformed(format!("the body is not an AdmissionReview: {}", words(&error))))?;
            Ok((checked(envelope.open()?.uid)?, Review(Err(Unreadable::Request(words(&unreadable))))))
        }
    }
}

impl<T> Envelope<T> {
    /// The request of a review that is one.
    fn open(self) -> Result<T, Malformed> {
        let expect = |field: &str, found: Option<&str>, expected: &str| match found {
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(Malformed(format!("{field} is {}, expected {}", quoted(found), quoted(expected)))),
            None => Err(Malformed(format!("the body has no {field}, expected {}", quoted(expected)))),
        };
        expect("kind", self.kind.as_deref(), KIND)?;
        expect("apiVersion", self.api_version.as_deref(), API_VERSION)?;
        self.request.ok_or_else(|| Malformed("the review has no request".to_owned()))
    }
}

fn checked(uid: Option<String>) -> Result<String, Malformed> {
    let uid = uid.filter(|uid| !uid.is_empty());
    let uid = uid.ok_or_else(|| Malformed("the request has no uid, and an answer needs it".to_owned()))?;
    if uid.len() > LONGEST_UID {
        return Err(Malformed(format!(
            "the uid of the request has {} bytes, and the longest one allowed has {LONGEST_UID}",
            uid.len()
        )));
    }
    Ok(uid)
}

/// One of the objects of the request, which were skipped before.
fn decoded(field: &'static str, raw: Option<&RawValue>) -> Result<Option<StatefulSet>, Unreadable> {
    let decode = |raw: &RawValue| serde_json::from_str(raw.get());
    raw.map(decode).transpose().map_err(|error| Unreadable::Object { field, reason: words(&error) })
}

/// The request of a review, with its objects.
pub fn request(review: Review<'_>) -> Result<Request, Unreadable> {
    let attributes = review.0?;
    let operation = match attributes.operation.as_str() {
        "CREATE" => Operation::Create,
        "UPDATE" => Operation::Update,
        _ => Operation::Other,
    };
    let Resource { group, version, plural } = attributes.resource;
    let sub_resource = attributes.sub_resource.unwrap_or_default();
    let mut request = Request {
        operation,
        ours: group == "apps" && plural == "statefulsets" && matches!(sub_resource.as_str(), "" | "status"),
        of_status: sub_resource == "status",
        resource: shorten(
            &format!("{plural}.{version}.{group}{}{sub_resource}", if sub_resource.is_empty() { "" } else { "/" }),
            80,
        ),
        namespace: shorten(&attributes.namespace.unwrap_or_default(), LONGEST_NAME),
        name: shorten(&attributes.name.unwrap_or_default(), LONGEST_NAME),
        dry_run: attributes.dry_run.unwrap_or_default(),
        object: None,
        old_object: None,
    };
    if request.ours && operation != Operation::Other {
        let new_object = decoded("object", attributes.object)?;
        let mut old_object = decoded("oldObject", attributes.old_object)?;
        let mut object = new_object.ok_or(Unreadable::NoObject(operation.as_str()))?;
        if !request.namespace.is_empty() {
            for object in [&mut object].into_iter().chain(&mut old_object) {
                object.metadata.namespace.get_or_insert_with(|| request.namespace.clone());
            }
        }
        request.object = Some(object);
        request.old_object = old_object;
    }
    Ok(request)
}
