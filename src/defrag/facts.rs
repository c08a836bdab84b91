//! The facts that a CronJob is built from: what has to be known of an etcd to reach it, log in to it and know its size.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    dns::is_object_name,
    etcd::{Etcd, MAX_MEMBERS, ObjectKey, Overrides, SecretPair, UserName, UsernameSecret},
    finding::{Code, Finding},
    policy::Policy,
    settings::{is_secret_key, is_user_name, url_problem},
};

/// The facts about one etcd, as far as its CronJob depends on them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    /// One client URL for each member; empty with no members.
    pub endpoints: Vec<String>,
    /// The number of the first pod.
    pub first_ordinal: u32,
    /// Members of the cluster.
    pub replicas: u32,
    /// Whether the engine leaves out the health check that dials what the members advertise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skips_health_check: bool,
    /// The storage quota in bytes.
    pub quota: u64,
    /// The certificate of the members' CA; `None` for plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<ObjectKey>,
    /// The client's certificate and key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<SecretPair>,
    /// User name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<UsernameSecret>,
    /// Whether no run compacts by default: etcd or a kube-apiserver does it, or this version can lose revisions by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", rename = "compactsItself")]
    pub no_compaction: bool,
}

impl Facts {
    /// The facts of a discovered etcd; `None` where one that is needed is missing.
    #[must_use]
    pub fn of(etcd: &Etcd, overrides: &Overrides) -> Option<Self> {
        if etcd.members > 0 && etcd.endpoints.is_empty() {
            return None;
        }
        let tls = etcd.tls.as_ref();
        Some(Self {
            endpoints: etcd.endpoints.clone(),
            first_ordinal: etcd.first_ordinal,
            replicas: etcd.members,
            skips_health_check: etcd.skips_health_check,
            quota: etcd.quota.as_ref()?.bytes,
            ca: tls.and_then(|tls| tls.ca.clone()),
            client: tls.and_then(|tls| tls.client.clone()),
            login: overrides.username_secret.clone(),
            no_compaction: etcd.no_compaction().is_some(),
        })
    }

    /// Whether these could be the facts of some etcd, for facts that were read from somewhere.
    #[must_use]
    pub fn could_be(&self) -> bool {
        let keys = |name: &str, keys: [&str; 2]| is_object_name(name) && keys.iter().all(|key| is_secret_key(key));
        self.quota > 0
            && i64::try_from(self.quota).is_ok()
            && self.replicas <= MAX_MEMBERS
            && self.endpoints.len() <= MAX_MEMBERS as usize
            && self.endpoints.iter().all(|url| url_problem(url).is_none())
            && self.endpoints.iter().collect::<BTreeSet<_>>().len() == self.endpoints.len()
            && self.ca.as_ref().is_none_or(|ca| keys(&ca.name, [&ca.key, &ca.key]))
            && self.client.as_ref().is_none_or(|pair| keys(&pair.name, [&pair.cert_key, &pair.key_key]))
            && self.login.as_ref().is_none_or(|login| {
                let user = match &login.user {
                    UserName::Key(key) => is_secret_key(key),
                    UserName::Literal(name) => is_user_name(name),
                };
                user && keys(&login.name, [&login.password_key, &login.password_key])
            })
    }
}

/// The first finding that says that a fact cannot be read.
#[must_use]
pub fn hidden<'a>(findings: &'a [Finding], policy: &Policy) -> Option<&'a Finding> {
    findings.iter().find(|finding| policy.prevents(finding) && finding.code.hides_a_fact())
}

impl Code {
    /// Whether a finding of this code at a StatefulSet says that something has to be known of its etcd and cannot be read.
    #[must_use]
    pub const fn hides_a_fact(self) -> bool {
        matches!(
            self,
            Self::EtcdNotFound
                | Self::EtcdUnreachable
                | Self::MembersElsewhere
                | Self::EndpointsUnknown
                | Self::EndpointsMismatch
                | Self::TooManyMembers
                | Self::QuotaUnknown
                | Self::QuotaInvalid
                | Self::QuotaMismatch
                | Self::TlsSecretUnknown
                | Self::CredentialsUnknown
                | Self::SecretReferenceInvalid
                | Self::ValueInvalid
                | Self::TooMuchToRead
        )
    }
}
