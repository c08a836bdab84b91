//! The record of what is in force, stored on the CronJob itself: the settings as they were written, the policy under
//! which they were accepted, and the facts.
//!
//! It is read like any input, since people may edit it: a record that is too long, of an unknown version or form, or
//! written by another author is ignored. Then the settings in force are read back from the specification of the
//! CronJob, as for a CronJob of a version without records.

use std::collections::BTreeMap;

use k8s_openapi::api::{batch::v1::CronJob, core::v1::EnvVar};
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::{
    names::{
        CA_VOLUME, CLIENT_VOLUME, CONTAINER, FINDINGS, IN_FORCE, PASSWORD, PAUSED, POLICY, SKIP_HEALTH_CHECK, USER,
    },
    ownership::{entries_of_ours, flag, pod},
};
use crate::defrag::{
    duration,
    etcd::{Kind, ObjectKey, SecretPair, UserName, UsernameSecret, default_command_timeout},
    facts::Facts,
    finding::Code,
    keys::Key,
    policy::Limits,
};

/// The longest record, in bytes. A longer one is not written, and what it would say is read back.
const LIMIT: usize = 8 << 10;
/// The version of the form.
const VERSION: u32 = 1;

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The policy under which the settings were accepted; `None` for the built-in one.
    pub policy: Option<String>,
    /// The settings as they were given; `None` where none is acceptable.
    pub settings: Option<BTreeMap<Key, String>>,
    /// The rule that thresholds among the settings compiled to, under the limits of that time.
    pub rule: Option<String>,
    /// Whether `suspend` was set.
    pub suspend: bool,
    /// What was known of the etcd; `None` where nothing was.
    pub facts: Option<Facts>,
}

/// The form of the annotation.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    suspend: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    facts: Option<Facts>,
}

impl Record {
    /// The text of the annotation; `None` where it would be too long.
    #[must_use]
    pub fn write(&self) -> Option<String> {
        let settings = self.settings.as_ref();
        let written = Written {
            version: VERSION,
            policy: self.policy.clone(),
            settings: settings
                .map(|all| all.iter().map(|(key, value)| (key.name().to_owned(), value.clone())).collect()),
            rule: self.rule.clone(),
            suspend: self.suspend,
            facts: self.facts.clone(),
        };
        serde_json::to_string(&written).ok().filter(|text| text.len() <= LIMIT)
    }

    /// Reads the text of the annotation; `None` if it is not in our form.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > LIMIT {
            return None;
        }
        let written: Written = serde_json::from_str(text).ok()?;
        if written.version != VERSION || !written.facts.as_ref().is_none_or(Facts::could_be) {
            return None;
        }
        let key = |name: &str| Key::from_name(name).filter(|key| Key::SETTINGS.contains(key));
        let settings = match &written.settings {
            Some(all) => Some(
                all.iter()
                    .map(|(name, value)| Some((key(name)?, value.clone())))
                    .collect::<Option<BTreeMap<_, _>>>()?,
            ),
            None => None,
        };
        let Written { policy, rule, suspend, facts, .. } = written;
        Some(Self { policy, settings, rule, suspend, facts })
    }

    /// The same without the settings that follow from facts and were computed, as far as is known.
    #[must_use]
    pub(super) fn without_derived(&self, now: Option<&Facts>, limits: &Limits) -> Self {
        let mut record = self.clone();
        let (Some(settings), Some(then)) = (&mut record.settings, &record.facts) else { return record };
        let timeout = duration::format_go(default_command_timeout(then.quota, limits));
        let compaction = (!now.unwrap_or(then).no_compaction).to_string();
        settings.retain(|key, value| match key {
            Key::CommandTimeout => *value != timeout,
            Key::Compaction => *value != compaction,
            _ => true,
        });
        record
    }

    /// The settings in the specification of one of our CronJobs; `None` if its container is not as we create it.
    ///
    /// `H` is already replaced by numbers, and a value that was computed looks like one that was set.
    #[must_use]
    pub fn read_back(live: &CronJob) -> Option<Self> {
        let pod = pod(live)?;
        let container = pod.containers.iter().find(|container| container.name == CONTAINER)?;
        let args = container.args.as_deref()?;
        let argument = |name: &str| flag(args, name).map(|value| value.replace("$$", "$"));
        let mut settings = BTreeMap::from([(Key::Schedule, live.spec.schedule.clone())]);
        settings.extend(live.spec.time_zone.clone().map(|zone| (Key::TimeZone, zone)));
        for (key, name) in [
            (Key::Rule, "--defrag-rule"),
            (Key::WaitBetweenMembers, "--wait-between-defrags"),
            (Key::CommandTimeout, "--command-timeout"),
            (Key::Compaction, "--compaction"),
            (Key::MoveLeader, "--move-leader"),
            (Key::AutoDisalarm, "--auto-disalarm"),
            (Key::DisalarmBelow, "--disalarm-threshold"),
        ] {
            settings.extend(argument(name).map(|value| (key, value)));
        }
        let endpoints: Vec<String> =
            argument("--endpoints")?.split(',').filter(|url| !url.is_empty()).map(ToOwned::to_owned).collect();
        let files = |name: &str| pod.volumes.iter().flatten().find(|volume| volume.name == name);
        let (mut ca, mut client, mut login) = (None, None, None);
        if let Some(volume) = files(CA_VOLUME) {
            let secret = volume
                .secret
                .as_ref()
                .and_then(|secret| Some((Kind::Secret, secret.secret_name.as_ref()?, secret.items.as_ref()?.first()?)));
            let config_map = volume
                .config_map
                .as_ref()
                .and_then(|map| Some((Kind::ConfigMap, &map.name, map.items.as_ref()?.first()?)));
            let (kind, name, item) = secret.or(config_map)?;
            ca = Some(ObjectKey { kind, name: name.clone(), key: item.key.clone() });
        }
        if let Some(volume) = files(CLIENT_VOLUME) {
            let secret = volume.secret.as_ref()?;
            let [cert, key] = secret.items.as_deref()? else { return None };
            let name = secret.secret_name.clone()?;
            client = Some(SecretPair { name, cert_key: cert.key.clone(), key_key: key.key.clone() });
        }
        let variable = |name: &str| container.env.iter().flatten().find(|variable| variable.name == name);
        let reference = |variable: &EnvVar| variable.value_from.as_ref()?.secret_key_ref.clone();
        let literal = |variable: &EnvVar| variable.value.as_ref().map(|value| value.replace("$$", "$"));
        if let Some((user, password)) = variable(USER).zip(variable(PASSWORD).and_then(reference)) {
            let user = reference(user).map(|key| UserName::Key(key.key)).or(literal(user).map(UserName::Literal));
            login = user.map(|user| UsernameSecret { name: password.name, user, password_key: password.key });
        }
        let facts = Facts {
            first_ordinal: endpoints.first().and_then(|url| ordinal(url)).unwrap_or(0),
            replicas: u32::try_from(endpoints.len()).ok()?,
            endpoints,
            skips_health_check: args.iter().any(|arg| arg == SKIP_HEALTH_CHECK),
            quota: argument("--etcd-storage-quota-bytes")?.parse().ok()?,
            ca,
            client,
            login,
            no_compaction: argument("--compaction").as_deref() == Some("false"),
        };
        let note = |key: &str| live.metadata.annotations.as_ref()?.get(key);
        let nothing = Code::NothingInForce.as_str();
        let acceptable = !note(FINDINGS).is_some_and(|codes| codes.split(',').any(|code| code == nothing));
        Some(Self {
            policy: note(POLICY).cloned(),
            // Otherwise what it shows only fills the place of settings.
            settings: acceptable.then_some(settings),
            rule: None,
            // A pause of the fleet suspends as well, and says nothing of what was asked for.
            suspend: live.spec.suspend == Some(true)
                && acceptable
                && !facts.endpoints.is_empty()
                && note(PAUSED).is_none(),
            facts: Some(facts).filter(Facts::could_be),
        })
    }
}

/// The number of the pod that a client URL names.
fn ordinal(url: &str) -> Option<u32> {
    url.split("://").nth(1)?.split(['.', ':']).next()?.rsplit('-').next()?.parse().ok()
}

/// The record on a CronJob.
pub(super) fn of(meta: &ObjectMeta) -> Option<Record> {
    Record::read(meta.annotations.as_ref()?.get(IN_FORCE)?)
}

/// Whether we wrote the record, as far as the field managers show: another client that changes it owns it.
pub(super) fn is_of_our_writing(meta: &ObjectMeta) -> bool {
    if meta.managed_fields.as_ref().is_none_or(Vec::is_empty) {
        return true;
    }
    entries_of_ours(meta).any(|entry| {
        let annotations = entry.fields_v1.as_ref().and_then(|fields| fields.0.pointer("/f:metadata/f:annotations"));
        annotations.is_some_and(|all| all.get(format!("f:{IN_FORCE}")).is_some())
    })
}

#[cfg(test)]
mod tests;
