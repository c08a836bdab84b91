//! What can be seen of an etcd in its StatefulSet, as the variants of the events have it, and what is found of it.

use serde_json::Value;

use crate::objects::PREFIX;

const GIB: u64 = 1 << 30;
/// The quota under which the rule for a large one is never true.
pub(crate) const SMALL_QUOTA: u64 = 4 * GIB;

/// What the CronJob follows whatever the settings are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Facts {
    pub(crate) members: u64,
    /// In bytes; `None` where it is out of sight.
    pub(crate) quota: Option<u64>,
    /// The Secret behind the volume of certificates.
    secret: String,
    /// The size of the volume.
    storage: String,
    pub(crate) runs_etcd: bool,
}

/// A StatefulSet at a moment, as far as anything depends on it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Look {
    pub(crate) uid: Value,
    pub(crate) labels: Value,
    annotations: Value,
    pub(crate) facts: Facts,
}

impl Look {
    pub(crate) fn at(object: &Value) -> Self {
        let meta = &object["metadata"];
        let mut annotations = meta["annotations"].clone();
        // A request is no setting.
        annotations.as_object_mut().map(|all| all.remove("etcd-defrag.io/defrag-now"));
        Self {
            uid: meta["uid"].clone(),
            labels: meta["labels"].clone(),
            annotations,
            facts: Facts::of(&object["spec"]),
        }
    }

    pub(crate) fn enabled(&self) -> Option<&str> {
        self.labels["etcd-defrag.io/enabled"].as_str()
    }

    pub(crate) fn given(&self, key: &str) -> Option<&str> {
        self.annotations[format!("{PREFIX}{key}")].as_str()
    }
}

impl Facts {
    fn of(spec: &Value) -> Self {
        let pod = &spec["template"]["spec"];
        let words = pod["containers"][0]["command"].as_array();
        let quota = words.into_iter().flatten().find_map(|word| word.as_str()?.strip_prefix("--quota-backend-bytes="));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            members: spec["replicas"].as_u64().unwrap(),
            quota: quota.and_then(|bytes| bytes.parse().ok()),
            secret: text(&pod["volumes"][0]["secret"]["secretName"]),
            storage: text(&spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]),
            runs_etcd: pod["containers"][0]["name"] == "etcd",
        }
    }

    /// The Secrets with the certificate of the CA and with that of a client. kamaji-etcd's chart names the second after the
    /// first.
    pub(crate) fn secrets(&self) -> Option<(String, String)> {
        let release = self.secret.strip_suffix("-certs")?;
        Some((self.secret.clone(), format!("{release}-root-client-certs")))
    }

    /// Whether everything can be seen that a CronJob needs.
    pub(crate) fn are_readable(&self) -> bool {
        self.runs_etcd && self.quota.is_some() && self.secrets().is_some()
    }

    /// What is found of the etcd itself.
    pub(crate) fn findings(&self) -> Vec<&'static str> {
        if !self.runs_etcd {
            return vec!["etcd-not-found"];
        }
        let mut found = vec![if self.secrets().is_some() { "tls-secret-assumed" } else { "tls-secret-unknown" }];
        let Some(quota) = self.quota else {
            found.push("quota-unknown");
            return found;
        };
        // The probe allows for 45 s, and each GiB may take 10 s.
        if quota > SMALL_QUOTA {
            found.push("liveness-too-eager");
        }
        found.extend(match (self.storage.as_str(), quota) {
            ("1Gi", _) => Some("volume-too-small"),
            ("8Gi", SMALL_QUOTA) => None,
            _ => Some("volume-tight"),
        });
        found
    }
}
