//! The flags of defrag.sh.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    cli::{Format, cluster},
    defrag::{
        dns,
        keys::{ENABLED, Key},
        statefulset::StatefulSet,
    },
};

/// Print the CronJob of one etcd, or apply it, with the flags of kamaji-etcd's defrag.sh
///
/// Without --apply no cluster is contacted: the StatefulSet of the kamaji-etcd chart is assumed, or one is read from a
/// file. DEBUG=1 in the environment traces every step on standard error.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of the StatefulSet [default: kamaji-etcd]
    #[arg(short = 'e', long, value_name = "etcd_name", value_parser = dns_subdomain)]
    pub(super) etcd_name: Option<String>,
    /// The headless Service of its members [default: kamaji-etcd, or that of the StatefulSet]
    #[arg(short = 's', long, value_name = "etcd_service", value_parser = dns_label)]
    pub(super) etcd_service: Option<String>,
    /// The namespace [default: kamaji-system]
    #[arg(short, long, value_name = "namespace", value_parser = dns_label)]
    pub(super) namespace: Option<String>,
    /// When to run [default: 0 0 * * *, or that of the StatefulSet]
    #[arg(short = 'j', long, value_name = "schedule", allow_hyphen_values = true)]
    pub(super) schedule: Option<String>,
    /// When a member is worth defragmenting: a rule of the engine, or "defrag.sh" for the rule of defrag.sh, which also fires with
    /// nothing to reclaim [default: that of the StatefulSet, or the built-in rule]
    #[arg(long, value_name = "rule", allow_hyphen_values = true)]
    pub(super) rule: Option<String>,
    /// Read the StatefulSet from the cluster of the current kubeconfig, and apply its CronJob there
    #[arg(long)]
    pub(super) apply: bool,
    #[command(flatten)]
    pub(super) access: cluster::Access,
    /// Read the StatefulSet from a manifest instead of assuming one ("-" for standard input)
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "apply")]
    pub(super) file: Option<PathBuf>,
    /// How to print the CronJob
    #[arg(short, long, value_enum, default_value = "yaml", conflicts_with = "apply")]
    pub(super) output: Format,
}

/// The name that defrag.sh gives to etcd and Service.
const NAME: &str = "kamaji-etcd";
/// The namespace in which defrag.sh looks.
const NAMESPACE: &str = "kamaji-system";
/// The rule of defrag.sh, and what asks for it.
const RULE: (&str, &str) = ("defrag.sh", "dbQuotaUsage > 0.8 || dbSize - dbSizeInUse > 200*1024*1024");

impl Args {
    pub(super) fn name(&self) -> &str {
        self.etcd_name.as_deref().unwrap_or(NAME)
    }

    pub(super) fn service(&self) -> &str {
        self.etcd_service.as_deref().unwrap_or(NAME)
    }

    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(NAMESPACE)
    }

    /// `object` with what the flags ask for, as if its owner had written it.
    pub(super) fn enrolled(&self, mut object: StatefulSet) -> StatefulSet {
        object.metadata.labels.get_or_insert_default().insert(ENABLED.to_owned(), "true".to_owned());
        let annotations = object.metadata.annotations.get_or_insert_default();
        if let Some(schedule) = &self.schedule {
            write(annotations, Key::Schedule, schedule);
        }
        if let Some(rule) = &self.rule {
            for threshold in Key::THRESHOLDS {
                annotations.remove(threshold.annotation());
            }
            let (name, of_script) = RULE;
            write(annotations, Key::Rule, if rule == name { of_script } else { rule });
        }
        if let Some(service) = self.etcd_service.as_ref().filter(|service| **service != object.spec.service_name) {
            write(annotations, Key::Service, service);
        }
        object
    }
}

/// Sets an annotation as a person does: it follows no policy then.
fn write(annotations: &mut BTreeMap<String, String>, key: Key, value: &str) {
    if let Some(list) = annotations.get_mut(Key::Defaulted.annotation()) {
        let others: Vec<&str> = list.split(',').filter(|name| name.trim() != key.name()).collect();
        *list = others.join(",");
    }
    annotations.insert(key.annotation().to_owned(), value.to_owned());
}

/// Needed to name a StatefulSet or its pods (RFC 1123).
fn dns_subdomain(text: &str) -> Result<String, String> {
    if dns::is_subdomain(text) {
        return Ok(text.to_owned());
    }
    Err("a name consists of lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit"
        .to_owned())
}

/// Needed to name a namespace or a Service (RFC 1123).
fn dns_label(text: &str) -> Result<String, String> {
    if dns::is_label(text) {
        return Ok(text.to_owned());
    }
    Err("a name consists of at most 63 lower-case letters, digits and '-', and begins and ends with a letter or digit"
        .to_owned())
}
