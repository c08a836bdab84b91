//! The API server's audit log: every request, by whom and with what result.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, de::DeserializeOwned};

/// A write is under way at most for so long: the entries of ours time out before. One that is older was under way
/// when its API server was killed.
const ANSWERED: SignedDuration = SignedDuration::from_secs(15);

/// A place in the audit log; see [`super::ControlPlane::audit_mark`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditMark(usize);

impl AuditMark {
    /// The start of the log.
    pub const START: Self = Self(0);
}

/// One answered request.
///
/// A watch is in the log when it has ended, everything else when it was
/// answered. The answer to a read can reach the client a moment earlier than the
/// log; writes are waited for.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// The same in the answer's header `Audit-Id`.
    pub id: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`,
    /// `deletecollection`.
    pub verb: String,
    /// Such as `apps`; empty for the core group.
    pub api_group: String,
    /// Plural, such as `statefulsets`; empty for a path that is no resource.
    pub resource: String,
    /// Such as `status`; empty without one.
    pub subresource: String,
    pub namespace: String,
    /// Empty for a list, and for a create that leaves the name to the server.
    pub name: String,
    /// The impersonated user if there is one, else the authenticated one.
    pub user: String,
    pub user_agent: String,
    /// HTTP status of the answer.
    pub code: u16,
    /// Asked for by the query. A delete that asks for it in its body only is not
    /// recognised: bodies are not logged.
    pub dry_run: bool,
    /// Path and query.
    pub request_uri: String,
    /// What admission added, by key: the name of the webhook entry or plugin, a slash, a word of its own.
    pub annotations: BTreeMap<String, String>,
    /// When it was answered: RFC 3339 in UTC with microseconds, so that text
    /// order is time order.
    pub time: String,
}

impl AuditEvent {
    /// Whether it asked to change stored objects, successfully or not. Reviews
    /// (of access, of tokens) are creates of objects that are not stored.
    pub fn is_write(&self) -> bool {
        let changes = matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
        changes && !self.dry_run && !self.resource.ends_with("reviews")
    }
}

/// Answered requests, in the order in which they were logged.
#[derive(Debug, Clone, Default)]
pub struct Audit(Vec<AuditEvent>);

impl Audit {
    /// The events for which `wanted` holds.
    pub fn filter(self, wanted: impl FnMut(&AuditEvent) -> bool) -> Self {
        Self(self.0.into_iter().filter(wanted).collect())
    }

    /// Changes of stored objects; see [`AuditEvent::is_write`].
    pub fn writes(self) -> Self {
        self.filter(AuditEvent::is_write)
    }

    /// Requests for a resource, such as `cronjobs`, subresources included.
    pub fn of(self, resource: &str) -> Self {
        self.filter(|event| event.resource == resource)
    }

    /// Requests in a namespace.
    pub fn in_namespace(self, namespace: &str) -> Self {
        self.filter(|event| event.namespace == namespace)
    }

    /// Requests of a user, such as `system:serviceaccount:default:default`.
    pub fn by_user(self, user: &str) -> Self {
        self.filter(|event| event.user == user)
    }

    /// Requests of a program, by the start of its user agent.
    pub fn by_agent(self, prefix: &str) -> Self {
        self.filter(|event| event.user_agent.starts_with(prefix))
    }

    /// How many events there are for which `wanted` holds.
    pub fn count(&self, wanted: impl Fn(&AuditEvent) -> bool) -> usize {
        self.0.iter().filter(|event| wanted(event)).count()
    }
}

impl Deref for Audit {
    type Target = [AuditEvent];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl IntoIterator for Audit {
    type Item = AuditEvent;
    type IntoIter = std::vec::IntoIter<AuditEvent>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The log file.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct AuditLog(PathBuf);

impl AuditLog {
    /// After every write that has begun.
    pub(super) fn mark(&self) -> AuditMark {
        AuditMark(complete_lines(&self.settled()).len())
    }

    #[track_caller]
    pub(super) fn since(&self, mark: AuditMark) -> Audit {
        let text = self.settled();
        let lines = complete_lines(&text).get(mark.0..).unwrap_or_default().lines();
        let events = lines.map(parse::<RawEvent>).filter(|event| event.stage != RECEIVED);
        Audit(events.map(AuditEvent::from).collect())
    }

    /// The log with the answer of every write that is under way now: others see what a write stores before its
    /// answer is logged.
    #[track_caller]
    fn settled(&self) -> String {
        let mut text = self.read();
        let mut waited_for = under_way(&text);
        while !waited_for.is_empty() {
            sleep(Duration::from_millis(10));
            text = self.read();
            let unanswered = under_way(&text);
            waited_for.retain(|id| unanswered.contains(id));
        }
        text
    }

    #[track_caller]
    fn read(&self) -> String {
        let path: &Path = &self.0;
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// The text without a last line that is still being written.
fn complete_lines(text: &str) -> &str {
    text.rfind('\n').and_then(|end| text.get(..=end)).unwrap_or_default()
}

/// The writes that have begun and are not answered, by their audit ids.
#[track_caller]
fn under_way(text: &str) -> HashSet<String> {
    let since = (Timestamp::now() - ANSWERED).to_string();
    let last = complete_lines(text).lines().rev().map(parse::<Stage>);
    let (mut under_way, mut answered) = (HashSet::new(), HashSet::new());
    for event in last.take_while(|event| event.stage_timestamp > since) {
        if event.stage != RECEIVED {
            answered.insert(event.audit_id);
        } else if !answered.contains(&event.audit_id) {
            under_way.insert(event.audit_id);
        }
    }
    under_way
}

#[track_caller]
fn parse<T: DeserializeOwned>(line: &str) -> T {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("audit log, line {line}: {error}"))
}

/// What [`under_way`] needs of an event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stage {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    stage_timestamp: String,
}

/// The stage of a request that is not answered; all others come later.
const RECEIVED: &str = "RequestReceived";

/// An event as it is logged (`audit.k8s.io/v1`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEvent {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: RawUser,
    impersonated_user: Option<RawUser>,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: RawObject,
    #[serde(default)]
    response_status: RawStatus,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    stage_timestamp: String,
}

#[derive(Deserialize)]
struct RawUser {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawObject {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawStatus {
    code: u16,
}

impl From<RawEvent> for AuditEvent {
    fn from(raw: RawEvent) -> Self {
        let query = raw.request_uri.split_once('?').map_or("", |(_, query)| query);
        Self {
            id: raw.audit_id,
            dry_run: query.split('&').any(|pair| pair == "dryRun=All"),
            verb: raw.verb,
            api_group: raw.object_ref.api_group,
            resource: raw.object_ref.resource,
            subresource: raw.object_ref.subresource,
            namespace: raw.object_ref.namespace,
            name: raw.object_ref.name,
            user: raw.impersonated_user.unwrap_or(raw.user).username,
            user_agent: raw.user_agent,
            code: raw.response_status.code,
            request_uri: raw.request_uri,
            annotations: raw.annotations,
            time: raw.stage_timestamp,
        }
    }
}
