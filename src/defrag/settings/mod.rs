//! Annotations and policy defaults, parsed strictly into typed settings; every problem becomes a finding.

mod disalarm;
mod fraction;
pub(super) mod length;
mod locked;
mod overrides;
mod swapped;
mod unknown;
mod unread;

pub use length::longest_wait;
pub(super) use locked::repeats_discovery;
pub(super) use overrides::{is_secret_key, is_user_name, url_problem};
pub use unread::{in_field, misplaced, on_bystander, on_other_kind, says_again, unread};

use std::{borrow::Cow, collections::BTreeMap, ops::RangeInclusive, time::Duration};

use super::{
    duration,
    etcd::Overrides,
    field::Field,
    finding::{Code, Finding, quoted},
    keys::Key,
    policy::{Limits, Policy},
    quantity, ratio,
    rule::{self, Thresholds},
    statefulset::StatefulSet,
};

/// The pause between two members if none is set.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(30);
/// No wait and no time-out is longer: a run of a whole day collides with the next.
pub const MAX_DURATION: Duration = Duration::from_hours(24);
/// The share of the quota below which an alarm is lifted, if none is set.
pub const DEFAULT_DISALARM_BELOW: f64 = 0.9;

/// When the database is to be defragmented.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// A rule in the engine's language.
    Rule(String),
    /// Thresholds that compile to a rule.
    Thresholds(Thresholds),
}

impl Trigger {
    /// The rule that the engine gets, with thresholds compiled under these limits.
    #[must_use]
    pub fn rule(&self, limits: &Limits) -> String {
        match self {
            Self::Rule(text) => text.clone(),
            Self::Thresholds(thresholds) => rule::compile_within(*thresholds, limits),
        }
    }

    /// The threshold on what can be reclaimed, in bytes.
    #[must_use]
    pub const fn free_above(&self) -> Option<u64> {
        match self {
            Self::Rule(_) => None,
            Self::Thresholds(thresholds) => thresholds.free_above,
        }
    }
}

/// How and when to defragment, as a person or the policy asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The schedule as written, `H` unresolved.
    pub schedule: String,
    /// The time zone as written.
    pub time_zone: Option<String>,
    /// When to defragment.
    pub trigger: Trigger,
    /// The annotation that [`Settings::trigger`] came from.
    pub trigger_key: Key,
    /// Whether the leader moves away before its member is defragmented.
    pub move_leader: bool,
    /// Whether a NOSPACE alarm is lifted after a run.
    pub auto_disalarm: bool,
    /// The share of the quota below which it is lifted.
    pub disalarm_below: f64,
    /// Whether each run compacts first; `None` leaves it to what is discovered.
    pub compaction: Option<bool>,
    /// The pause between two members.
    pub wait: Duration,
    /// How long one member may take; `None` scales with the quota.
    pub command_timeout: Option<Duration>,
}

/// All requested settings, of annotations and of the policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The settings.
    pub settings: Settings,
    /// The same as they were given: the keys of [`Key::SETTINGS`] that have a value.
    pub given: Given,
    /// The facts that annotations set, which discovery then does not read.
    pub overrides: Overrides,
    /// Whether the CronJob is paused; `None` where that cannot be understood.
    pub suspend: Option<bool>,
    /// The token that asks for one run now.
    pub defrag_now: Option<String>,
    /// Everything that is wrong with it.
    pub findings: Vec<Finding>,
}

/// Settings as they were given.
pub type Given = BTreeMap<Key, String>;

/// What a person set: the annotations of the object, less the ones that only repeat the policy.
fn own(object: &StatefulSet) -> BTreeMap<Key, &str> {
    let annotations = object.metadata.annotations.as_ref();
    let defaulted = defaulted_keys(object);
    Key::ALL
        .iter()
        .filter(|key| !defaulted.contains(key))
        .filter_map(|key| Some((*key, annotations?.get(key.annotation())?.as_str())))
        .collect()
}

/// What a person set and may set.
fn allowed<'a>(object: &'a StatefulSet, policy: &Policy) -> BTreeMap<Key, &'a str> {
    let mut values = own(object);
    values.retain(|key, _| !policy.limits.locked.contains(key));
    values
}

/// Whether a person, and not the policy, says when this etcd is worth a run.
#[must_use]
pub fn has_own_trigger(object: &StatefulSet, policy: &Policy) -> bool {
    allowed(object, policy).keys().any(|key| Key::TRIGGERS.contains(key))
}

/// The annotations that are in force: what a person set and may set, then the policy's.
fn effective<'a>(object: &'a StatefulSet, policy: &'a Policy) -> BTreeMap<Key, &'a str> {
    let mut values = allowed(object, policy);
    let own_trigger = has_own_trigger(object, policy);
    for (key, value) in &policy.defaults {
        if !(own_trigger && Key::TRIGGERS.contains(key)) {
            values.entry(*key).or_insert(value);
        }
    }
    values
}

/// The keys that the webhook filled in and that follow the policy.
#[must_use]
pub fn defaulted_keys(object: &StatefulSet) -> Vec<Key> {
    object
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(Key::Defaulted.annotation()))
        .map(|list| {
            list.split(',').filter_map(|name| Key::from_name(name.trim())).filter(|key| key.is_defaultable()).collect()
        })
        .unwrap_or_default()
}

/// Parses what an enrolled object asks for. The settings are whole even where findings refuse them: a value that cannot be
/// read counts as its default, so that every other problem is found too.
#[must_use]
pub fn parse(object: &StatefulSet, policy: &Policy) -> Asked {
    let mut findings = unknown::keys(object);
    findings.extend(locked::keys(own(object), policy));
    let parser =
        Parser { values: effective(object, policy), place: Place::Annotations, limits: &policy.limits, findings };
    let mut asked = parser.all();
    if asked.overrides.endpoints.is_some() {
        asked.findings.extend(unread::beside_endpoints(allowed(object, policy).into_keys()));
    }
    let lifts = effective(object, policy).get(&Key::AutoDisalarm).is_some_and(|value| meant(value) == Some(true));
    if !lifts && allowed(object, policy).contains_key(&Key::DisalarmBelow) {
        asked.findings.push(unread::without_disalarm());
    }
    asked
}

/// Parses the defaults of a policy, as [`parse`] does for an object that carries no annotation.
#[must_use]
pub fn parse_defaults(defaults: &Given, limits: &Limits) -> (Settings, Vec<Finding>) {
    let values = defaults.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let asked = Parser { values, place: Place::Policy, limits, findings: Vec::new() }.all();
    (asked.settings, asked.findings)
}

/// Parses settings that were given before.
#[must_use]
pub fn parse_given(given: &Given, limits: &Limits) -> (Settings, Vec<Finding>) {
    let values = given.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let mut parser = Parser { values, place: Place::Annotations, limits, findings: Vec::new() };
    let settings = parser.settings();
    (settings, parser.findings)
}

impl Parser<'_> {
    fn all(mut self) -> Asked {
        let settings = self.settings();
        let suspend = match self.take(Key::Suspend) {
            Some(_) => self.boolean(Key::Suspend),
            None => Some(false),
        };
        let overrides = self.overrides();
        let defrag_now = self.take(Key::DefragNow).map(ToOwned::to_owned);
        let given = self.values.iter().filter(|(key, _)| Key::SETTINGS.contains(key));
        let given = given.map(|(key, value)| (*key, (*value).to_owned())).collect();
        Asked { settings, given, overrides, suspend, defrag_now, findings: self.findings }
    }

    fn settings(&mut self) -> Settings {
        let (trigger, trigger_key) = self.trigger();
        Settings {
            schedule: self.take(Key::Schedule).unwrap_or(super::policy::DEFAULT_SCHEDULE).to_owned(),
            time_zone: self.take(Key::TimeZone).map(ToOwned::to_owned),
            trigger,
            trigger_key,
            move_leader: self.boolean(Key::MoveLeader).unwrap_or(true),
            auto_disalarm: self.boolean(Key::AutoDisalarm).unwrap_or(false),
            disalarm_below: self.disalarm_below(),
            // Whatever else is wrong with what was meant is found, too.
            compaction: self.boolean(Key::Compaction).or_else(|| meant(self.take(Key::Compaction)?)),
            wait: self.wait(),
            command_timeout: self.command_timeout(),
        }
    }
}

/// The boolean that a text means in some other language.
fn meant(value: &str) -> Option<bool> {
    match value.trim().to_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "y" => Some(true),
        "false" | "no" | "off" | "0" | "n" => Some(false),
        _ => None,
    }
}

/// Where the values are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// On a StatefulSet.
    Annotations,
    /// In the defaults of a policy.
    Policy,
}

impl Place {
    const fn field(self, key: Key) -> Field {
        match self {
            Self::Annotations => key.field(),
            Self::Policy => key.default_field(),
        }
    }

    fn name(self, key: Key) -> Cow<'static, str> {
        match self {
            Self::Annotations => key.name().into(),
            Self::Policy => key.defaults_field().into(),
        }
    }

    /// What a value is called there.
    const fn noun(self) -> &'static str {
        match self {
            Self::Annotations => "annotation",
            Self::Policy => "field",
        }
    }
}

struct Parser<'a> {
    values: BTreeMap<Key, &'a str>,
    place: Place,
    limits: &'a Limits,
    findings: Vec<Finding>,
}

impl<'a> Parser<'a> {
    fn take(&self, key: Key) -> Option<&'a str> {
        self.values.get(&key).copied()
    }

    fn refuse(&mut self, code: Code, key: Key, brief: &str, message: String) {
        let brief = format!("{} {brief}", self.place.name(key));
        self.findings.push(Finding::new(code, self.place.field(key), brief, message));
    }

    fn boolean(&mut self, key: Key) -> Option<bool> {
        let value = self.take(key)?;
        let meant = meant(value);
        if matches!(value, "true" | "false") {
            return meant;
        }
        let name = self.place.name(key);
        let write = match meant {
            Some(meant) => format!("\"{meant}\""),
            None => "\"true\" or \"false\"".to_owned(),
        };
        self.refuse(
            Code::BooleanInvalid,
            key,
            "must be \"true\" or \"false\"",
            format!("{} is not a boolean: {name} is exactly \"true\" or \"false\", in lower case, so that no other spelling is possible. Write {write}.", quoted(value)),
        );
        None
    }

    /// A duration within what is allowed, of which `example` is one unless the policy has it otherwise.
    fn duration(&mut self, key: Key, example: &str, allowed: RangeInclusive<Duration>) -> Option<Duration> {
        let value = self.take(key)?;
        let fits = |text: &str| duration::parse_unsigned(text).is_ok_and(|duration| allowed.contains(&duration));
        let example = if fits(example) {
            example.to_owned()
        } else {
            let usual = duration::parse_unsigned(example).unwrap_or_default();
            duration::in_seconds(usual.min(*allowed.end()).max(*allowed.start()), "")
        };
        let found = match duration::parse(value) {
            Ok(nanos) => match u64::try_from(nanos) {
                Ok(nanos) if Duration::from_nanos(nanos) <= MAX_DURATION => return Some(Duration::from_nanos(nanos)),
                Ok(_) => format!(
                    "{} is longer than a day: the run would still be in progress when the next one is due",
                    quoted(value)
                ),
                Err(_) => format!("{} is negative: a wait cannot be negative", quoted(value)),
            },
            Err(error) => format!("{} is not a Go duration: {}", quoted(value), error.suggesting(fits, &example)),
        };
        self.refuse(
            Code::DurationInvalid,
            key,
            &format!("is not a duration such as {example}"),
            format!("{found}. Write a number and a unit, such as \"{example}\"."),
        );
        None
    }

    fn command_timeout(&mut self) -> Option<Duration> {
        let least = self.limits.min_command_timeout;
        let timeout = self.duration(Key::CommandTimeout, "3m", self.limits.command_timeouts())?;
        if timeout < least {
            let (short, words) = (duration::in_seconds(least, ""), duration::in_seconds(least, " "));
            self.refuse(
                Code::CommandTimeoutTooShort,
                Key::CommandTimeout,
                &format!("is under {short}: a member may still be blocked when the client gives up"),
                format!(
                    "{} is under {words}: a time-out ends the client's wait, not the member's defragmentation, so the member is still blocked when the run has already failed. Write \"{short}\" or more, or remove the {}: the time-out then scales with the quota.",
                    quoted(self.take(Key::CommandTimeout).unwrap_or_default()),
                    self.place.noun()
                ),
            );
        }
        Some(timeout)
    }

    fn wait(&mut self) -> Duration {
        let least = self.limits.min_wait;
        let Some(wait) = self.duration(Key::WaitBetweenMembers, "30s", self.limits.waits()) else {
            return DEFAULT_WAIT.max(least);
        };
        if wait < least {
            let short = duration::in_seconds(least, "");
            self.refuse(
                Code::WaitTooShort,
                Key::WaitBetweenMembers,
                &format!("is under {short}, the least that the policy allows"),
                format!(
                    "{} is under {}, the least that the policy allows: a member that has just been defragmented has to catch up before the next one becomes unavailable. Write \"{short}\" or more, or remove the {}.",
                    quoted(self.take(Key::WaitBetweenMembers).unwrap_or_default()),
                    duration::in_seconds(least, " "),
                    self.place.noun()
                ),
            );
        }
        wait
    }

    fn trigger(&mut self) -> (Trigger, Key) {
        let rule = self.take(Key::Rule);
        let usage = self.limits.quota_usage_min..=self.limits.quota_ceiling;
        let usage_above = self.threshold(Key::QuotaUsageAbove, "80%", |value| {
            ratio::parse(value).map_err(|error| format!("{}.", error.within(value, &usage)))
        });
        let free_share_above = self
            .threshold(Key::FreeShareAbove, "50%", |value| ratio::parse(value).map_err(|error| format!("{error}.")));
        let size = quantity::short(self.limits.min_free.max(200 * quantity::MIB));
        let free_above = self.threshold(Key::FreeAbove, &size, |value| match quantity::parse(value) {
            Ok(0) => {
                Err(format!("is 0: every run would defragment without any gain. Write a value such as \"{size}\"."))
            }
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(format!("{error}. Write a value such as \"{size}\".")),
        });
        self.usage_in_range(usage_above);
        self.warn_of_fraction(Key::QuotaUsageAbove, usage_above);
        self.warn_of_fraction(Key::FreeShareAbove, free_share_above);
        self.worth(free_above);
        let thresholds: Vec<Key> =
            Key::THRESHOLDS.iter().copied().filter(|key| self.values.contains_key(key)).collect();
        match (rule, thresholds.first()) {
            (Some(rule), None) => (Trigger::Rule(rule.to_owned()), Key::Rule),
            (rule, Some(first)) => {
                if rule.is_some() {
                    let names: Vec<Cow<'_, str>> = thresholds.iter().map(|key| self.place.name(*key)).collect();
                    self.refuse(
                        Code::SettingsConflict,
                        Key::Rule,
                        &format!("excludes {}: keep one", names.join(" and ")),
                        format!("rule and {} are both set: each says when to defragment, and only one can be followed. Remove {}, or remove rule.", names.join(" and "), names.join(" and ")),
                    );
                }
                (Trigger::Thresholds(Thresholds { usage_above, free_above, free_share_above }), *first)
            }
            (None, None) => (Trigger::Rule(super::policy::DEFAULT_RULE.to_owned()), Key::Rule),
        }
    }

    fn usage_in_range(&mut self, usage_above: Option<f64>) {
        let (least, most) = (self.limits.quota_usage_min, self.limits.quota_ceiling);
        let Some(usage) = usage_above.filter(|usage| *usage < least || *usage > most) else { return };
        let found = quoted(self.take(Key::QuotaUsageAbove).unwrap_or_default());
        let (low, least, most) = (least, ratio::exact(least), ratio::exact(most));
        let allowed = if low > 0.0 { format!("{least} to {most}") } else { format!("at most {most}") };
        let (range, why) = if usage > self.limits.quota_ceiling {
            let why = "an etcd that is defragmented so late can reach its quota and stop accepting writes while space could have been freed";
            (format!("above {most}"), why)
        } else {
            (format!("under {least}"), "an etcd that is so far from its quota gains nothing from a run")
        };
        self.refuse(
            Code::QuotaUsageOutOfRange,
            Key::QuotaUsageAbove,
            &format!("is {range}; the policy allows {allowed}"),
            format!("{found} is {range}, and the policy allows {allowed}: {why}. Write a value of {allowed}."),
        );
    }

    fn worth(&mut self, free_above: Option<u64>) {
        let least = self.limits.min_free;
        let Some(free) = free_above.filter(|free| *free < least) else { return };
        let (free, human) = (quantity::human(free), quantity::human(least));
        self.refuse(
            Code::FreeBelowMinimum,
            Key::FreeAbove,
            &format!("is {free}; the policy allows no run for less than {human}"),
            format!("{} is {free}, and the policy allows no run for less than {human}: each run stops every member for a while, which has to be worth it. Write \"{}\" or more.", quoted(self.take(Key::FreeAbove).unwrap_or_default()), quantity::short(least)),
        );
    }

    fn threshold<T>(&mut self, key: Key, example: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let value = self.take(key)?;
        parse(value)
            .map_err(|error| {
                self.refuse(
                    Code::ThresholdInvalid,
                    key,
                    &format!("is not a threshold such as {example}"),
                    format!("{} {error}", quoted(value)),
                );
            })
            .ok()
    }
}

#[cfg(test)]
mod tests;
