//! The facts about an etcd, and the settings that replace facts which cannot be read.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::{Profile, Version};
use crate::defrag::{field::Field, finding::Finding, keys::Key, quantity::GIB};

/// The most members that a cluster may have here. etcd advises at most seven; the largest that any of the known
/// operators lets a person ask for is nine, and every further member only slows each write.
pub const MAX_MEMBERS: u32 = 9;

/// The quota of an etcd without one or with 0, in bytes (etcd's `DefaultQuotaBytes`).
pub const DEFAULT_QUOTA: u64 = 2 * GIB;

/// The port of an etcd without one.
pub const DEFAULT_CLIENT_PORT: u16 = 2379;

/// Settings of a person that take the place of what would be discovered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The headless Service (`service`).
    pub service: Option<String>,
    /// The client port (`client-port`).
    pub client_port: Option<u16>,
    /// The DNS domain of the cluster (`cluster-domain`).
    pub cluster_domain: Option<String>,
    /// Client URLs, scheme and port included (`endpoints`).
    pub endpoints: Option<Vec<String>>,
    /// The quota in bytes (`quota`).
    pub quota: Option<u64>,
    /// The Secret with the CA certificate (`ca-secret`).
    pub ca_secret: Option<CaSecret>,
    /// The Secret with the client certificate and its key (`client-secret`).
    pub client_secret: Option<ClientSecret>,
    /// The Secret with user name and password (`username-secret`).
    pub username_secret: Option<UsernameSecret>,
    /// The keys that the policy locks: a message that says to set one of them says whom to ask.
    pub locked: BTreeSet<Key>,
}

impl Overrides {
    /// Whom to ask where a message says to set keys that the policy locks, as a sentence to add; empty where it locks none.
    #[must_use]
    pub fn note(&self, keys: &[Key]) -> String {
        let locked: Vec<&str> = keys.iter().filter(|key| self.locked.contains(key)).map(|key| key.name()).collect();
        if locked.is_empty() {
            return String::new();
        }
        format!(
            " The policy that governs this etcd locks {}: ask its owners to remove that from limits.lockedKeys first.",
            locked.join(" and ")
        )
    }

    /// What to do about a key, in a few words: set it, or ask the owners of the policy.
    #[must_use]
    pub fn brief(&self, key: Key) -> String {
        if self.locked.contains(&key) {
            format!("the policy locks {}: ask its owners", key.name())
        } else {
            format!("set {}", key.annotation())
        }
    }
}

/// `name` or `name:key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaSecret {
    /// The Secret.
    pub name: String,
    /// The key; without one it is discovered, else `ca.crt`.
    pub key: Option<String>,
}

/// `name` or `name:certKey,keyKey`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSecret {
    /// The Secret.
    pub name: String,
    /// The keys of certificate and private key; without them they are discovered, else `tls.crt` and `tls.key`.
    pub keys: Option<(String, String)>,
}

/// `name:userKey,passwordKey`, or `name:user=root,passwordKey`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsernameSecret {
    /// The Secret.
    pub name: String,
    /// The user name, or its key.
    #[serde(rename = "userKey")]
    pub user: UserName,
    /// The key of the password.
    pub password_key: String,
}

/// Where the name of a user is. As text, a name itself is `user=root`: no key of a Secret has an equals sign.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub enum UserName {
    /// In this key of the Secret.
    Key(String),
    /// Here.
    Literal(String),
}

impl UserName {
    const LITERAL: &str = "user=";
}

impl From<String> for UserName {
    fn from(text: String) -> Self {
        match text.strip_prefix(Self::LITERAL) {
            Some(name) => Self::Literal(name.to_owned()),
            None => Self::Key(text),
        }
    }
}

impl From<UserName> for String {
    fn from(user: UserName) -> Self {
        match user {
            UserName::Key(key) => key,
            UserName::Literal(name) => format!("{}{name}", UserName::LITERAL),
        }
    }
}

/// That clients have to log in, or may have to, as the pod template shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Login {
    /// What shows it, as the beginning of a sentence.
    pub shown: String,
    /// Whether that leaves no doubt.
    pub is_certain: bool,
    /// The Secret and its key that hold the password of root, where they can be seen.
    pub password: Option<(String, String)>,
    /// The Secret and its key that hold it where they are called as usual.
    pub usual: Option<(String, String)>,
}

/// What [`discover`](super::discover) found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Discovery {
    /// The etcd; `None` where no container looks like one.
    pub etcd: Option<Etcd>,
    /// What is missing, contradictory or assumed.
    pub findings: Vec<Finding>,
}

/// The facts about one etcd cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Etcd {
    /// The name of the container that runs etcd.
    pub container: String,
    /// The field path of that container.
    pub container_field: String,
    /// Its image.
    pub image: String,
    /// The version that the image's tag shows.
    pub version: Option<Version>,
    /// The chart or operator whose conventions the pod template follows.
    pub profile: Profile,
    /// How clients connect.
    pub scheme: Scheme,
    /// The governing headless Service.
    pub service: String,
    /// The DNS domain of the cluster, without dots at its ends; `None` where the endpoints end in `.svc`.
    pub domain: Option<String>,
    /// The client port.
    pub port: u16,
    /// The number of the first pod (`spec.ordinals.start`).
    pub first_ordinal: u32,
    /// Desired pods of the StatefulSet.
    pub replicas: u32,
    /// The members of the cluster: as many as pods, unless some of them run elsewhere.
    pub members: u32,
    /// Whether members run outside of the StatefulSet, as `--initial-cluster` shows.
    pub is_spread: bool,
    /// The field path of what shows that each pod is an etcd of its own, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each_alone: Option<String>,
    /// One client URL for each member, by ordinal. Empty where a finding refuses, and with no members.
    pub endpoints: Vec<String>,
    /// Whether the engine is to leave out the health check that dials what the members advertise.
    pub skips_health_check: bool,
    /// The storage quota; `None` only along with a finding that refuses.
    pub quota: Option<Quota>,
    /// The compaction that etcd does by itself, where it is seen to.
    pub auto_compaction: Option<AutoCompaction>,
    /// Why that may not be so, or is not, where it is set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compaction_doubt: Option<CompactionDoubt>,
    /// The container of the pod whose script compacts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compacted_by: Option<String>,
    /// What shows that it serves a kube-apiserver, which compacts it.
    pub serves_apiserver: Option<ServesApiServer>,
    /// What a client needs to connect by TLS; `None` for plain HTTP.
    pub tls: Option<Tls>,
    /// What of the pod template shows that clients have to log in, or may have to.
    pub login: Option<Login>,
    /// The volume that holds the database.
    pub data_volume: Option<DataVolume>,
    /// The probe that restarts a member, where it fails while the member defragments.
    pub liveness: Option<Liveness>,
    /// The field path of the readiness probe, where it may fail while the alarm NOSPACE is raised.
    pub unready_without_space: Option<String>,
    /// What else defragments this etcd, as far as the pod template shows.
    pub rivals: Vec<Rival>,
    /// The other containers of the pod that run an etcd, by name and field path.
    pub others: Vec<(String, String)>,
}

/// How clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// The storage quota of every member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// In bytes, never 0.
    pub bytes: u64,
    /// Whether it is only etcd's default, because none is set.
    pub is_default: bool,
    /// Where it was found, in words: `--quota-backend-bytes`, `etcd's default`.
    pub source: String,
    /// Where that is.
    pub field: Field,
}

/// The compaction that etcd does by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AutoCompaction {
    /// `periodic` or `revision`.
    pub mode: String,
    /// What is kept: a duration (a bare number means hours) or a number of revisions.
    pub retention: String,
}

/// What shows that an etcd serves a kube-apiserver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServesApiServer {
    /// In words.
    pub evidence: String,
    /// Whether that may be so without one.
    pub is_assumed: bool,
}

/// Why an etcd that is set up to compact itself may not do so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CompactionDoubt {
    /// It may be set in a place that cannot be read; the place, as text.
    Unseen(String),
    /// It keeps more revisions than its database can hold.
    KeepsAll {
        /// What says so: `--auto-compaction-retention`.
        origin: String,
        /// Its value.
        retention: String,
        /// The revisions that are kept.
        revisions: u64,
        /// Where that is.
        field: String,
    },
}

impl fmt::Display for AutoCompaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.mode, self.retention)
    }
}

/// What a client needs to connect by TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// The certificate of the CA that signed the members' certificates; `None` only along with a finding that refuses.
    pub ca: Option<ObjectKey>,
    /// The client's certificate and key; `None` where etcd asks for none, or along with a finding that refuses.
    pub client: Option<SecretPair>,
}

/// The kind of object that holds a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Kind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

/// A file in a Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectKey {
    /// What kind of object it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The key.
    pub key: String,
}

/// A certificate and its private key in one Secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretPair {
    /// The Secret.
    pub name: String,
    /// The key of the certificate.
    pub cert_key: String,
    /// The key of the private key.
    pub key_key: String,
}

/// The volume that holds the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataVolume {
    /// Its name.
    pub name: String,
    /// Its size in bytes, where one is set.
    pub bytes: Option<u64>,
    /// The field path of the size.
    pub field: String,
    /// The claim that it is, where that is a fixed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
}

/// The probe that restarts a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Liveness {
    /// The silence after which it restarts a member at the earliest, in seconds.
    pub seconds: u64,
    /// `periodSeconds`.
    pub period: u64,
    /// `failureThreshold`.
    pub threshold: u64,
    /// After how many seconds an attempt fails: `timeoutSeconds`, or sooner where what it asks gives up by itself, or 0 where the
    /// member answers at once that it does not serve.
    pub timeout: u64,
    /// What happens then, in words, where that is sooner than `timeoutSeconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gives_up: Option<String>,
    /// Seconds from one failed attempt to the next: an attempt that waits longer than the period delays the next one.
    pub interval: u64,
    /// The field path of the probe.
    pub field: String,
}

/// Something else that defragments the same etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rival {
    /// What it is, in words.
    pub what: String,
    /// How to switch it off, in words.
    pub remedy: String,
    /// The field path of it.
    pub field: String,
}
