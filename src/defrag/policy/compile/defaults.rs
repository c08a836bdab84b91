//! The defaults of a policy, checked as the same values on a StatefulSet are.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::super::{
    DEFAULT_SCHEDULE, Job, Limits,
    api::{self, LockableKey},
};
use crate::defrag::{
    assess, etcd,
    field::Field,
    finding::{Code, Finding},
    keys::Key,
    rule::{self, Thresholds},
    schedule,
    settings::{
        self, Place, Settings,
        length::{Bounds, Run},
    },
};

/// The objects for which `H` is resolved in a schedule: it differs from object to object, and these show most of it.
const SAMPLES: u32 = 24;
/// The number of members with which the length of a run is checked: as many as most etcds have.
const MEMBERS: u32 = 3;

/// The values as annotations have them.
fn texts(defaults: &api::Defaults) -> BTreeMap<Key, String> {
    let flag = |value: Option<bool>| value.map(|value| value.to_string());
    let pairs = [
        (Key::Schedule, defaults.schedule.clone()),
        (Key::TimeZone, defaults.time_zone.clone()),
        (Key::Rule, defaults.rule.clone()),
        (Key::QuotaUsageAbove, defaults.quota_usage_above.clone()),
        (Key::FreeAbove, defaults.free_above.clone()),
        (Key::FreeShareAbove, defaults.free_share_above.clone()),
        (Key::Suspend, flag(defaults.suspend)),
        (Key::MoveLeader, flag(defaults.move_leader)),
        (Key::AutoDisalarm, flag(defaults.auto_disalarm)),
        (Key::DisalarmBelow, defaults.disalarm_below.clone()),
        (Key::Compaction, flag(defaults.compaction)),
        (Key::WaitBetweenMembers, defaults.wait_between_members.clone()),
        (Key::CommandTimeout, defaults.command_timeout.clone()),
        (Key::ClientPort, defaults.client_port.map(|port| port.to_string())),
        (Key::ClusterDomain, defaults.cluster_domain.clone()),
        (Key::CaSecret, defaults.ca_secret.clone()),
        (Key::ClientSecret, defaults.client_secret.clone()),
        (Key::UsernameSecret, defaults.username_secret.clone()),
    ];
    pairs.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// The defaults in force and what is wrong with those that are written. A value that cannot be parsed is ignored; one
/// that only breaks a limit of the same policy is kept, since it is not known which of the two was meant.
pub(super) fn check(
    written: &api::Defaults,
    limits: &Limits,
    job: &Job,
    now: Timestamp,
) -> (BTreeMap<Key, String>, Vec<Finding>) {
    let mut values = texts(written);
    let own_trigger = Key::TRIGGERS.iter().any(|key| values.contains_key(key));
    if !own_trigger {
        values.insert(Key::Rule, rule::compile_within(Thresholds::default(), limits));
    }
    values.entry(Key::Schedule).or_insert_with(|| DEFAULT_SCHEDULE.to_owned());
    let (settings, mut findings) = settings::parse_defaults(&values, limits);
    let found = trigger_and_schedule(&settings, limits, &findings, now);
    findings.extend(found);
    let run = Run { settings: &settings, given: &values, members: MEMBERS, quota: Some(etcd::DEFAULT_QUOTA) };
    let bounds = Bounds::new(limits, job.shape.deadline_slack_seconds, &values);
    findings.extend(bounds.judge(run, Place::Policy));

    let refused: BTreeSet<Key> = findings
        .iter()
        .filter(|finding| finding.denies() && !finding.code.is_limit())
        .filter_map(|finding| match finding.field {
            Field::Default(key) => Some(key),
            _ => None,
        })
        .collect();
    values.retain(|key, _| !refused.contains(key));
    if !Key::TRIGGERS.iter().any(|key| values.contains_key(key)) {
        values.insert(Key::Rule, rule::compile_within(Thresholds::default(), limits));
    }
    values.entry(Key::Schedule).or_insert_with(|| DEFAULT_SCHEDULE.to_owned());
    (values, findings)
}

fn trigger_and_schedule(settings: &Settings, limits: &Limits, said: &[Finding], now: Timestamp) -> Vec<Finding> {
    let text = settings.trigger.rule(limits);
    // A policy speaks to etcds of any quota: what is wrong with a small and with a large one is wrong with the rule.
    let large = limits.suggested_quota_max.max(etcd::DEFAULT_QUOTA);
    let judge = |quota| rule::judge(&text, quota, limits, &settings.trigger_key.default_field());
    let free_above = settings.trigger.free_above();
    let unreachable =
        free_above.and_then(|free| rule::out_of_reach(free, large, limits, &Key::FreeAbove.default_field()));
    let said: Vec<Finding> = said.iter().cloned().chain(unreachable.clone()).collect();
    // A minimum that no etcd reaches is what is wrong, whatever the rule is.
    let small = judge(if limits.min_free >= large { large } else { etcd::DEFAULT_QUOTA });
    let of_limit = |finding: Finding| match finding.code {
        Code::RuleNeverTrue if limits.min_free >= large => Finding { field: "spec.limits.minFree".into(), ..finding },
        _ => finding,
    };
    // Most rules have a floor and nothing wrong with them: then the second analysis, which takes time, tells nothing.
    let of_large = (small.floor.is_none() || !small.findings.is_empty()).then(|| judge(large));
    let also_large = || of_large.iter().flat_map(|judged| &judged.findings);
    let mut findings: Vec<Finding> = small
        .findings
        .into_iter()
        .filter(|finding| also_large().any(|other| other.code == finding.code))
        .filter(|finding| !assess::restates(finding, &said))
        .map(of_limit)
        .chain(unreachable)
        .collect();

    let limits =
        limits.of_schedule(small.floor.is_some() || of_large.as_ref().is_some_and(|judged| judged.floor.is_some()));
    let hashed = settings.schedule.contains('H');
    let judge = |sample: u32| {
        let place = schedule::Place {
            schedule_field: Key::Schedule.default_field(),
            zone_field: Key::TimeZone.default_field(),
            namespace: "default".to_owned(),
            name: format!("etcd-{sample}"),
        };
        schedule::judge(&settings.schedule, settings.time_zone.as_deref(), &place, &limits, now).findings
    };
    let samples = if hashed { SAMPLES } else { 1 };
    let first = judge(0);
    let denied = |findings: &Vec<Finding>| findings.iter().any(Finding::denies);
    let worst = if denied(&first) { None } else { (1..samples).map(judge).find(denied) };
    findings.extend(worst.unwrap_or(first));
    findings
}

/// Locks keys, and finds those that are locked to nothing. One way to say when to defragment is locked with the others, since
/// each would take the place of the locked one.
pub(super) fn lock(keys: &[LockableKey], defaults: &api::Defaults, limits: &mut Limits) -> Option<Finding> {
    let locked =
        LockableKey::ALL.iter().filter(|(key, ..)| keys.contains(key)).filter_map(|(_, name, _)| Key::from_name(name));
    limits.locked.extend(locked);
    if Key::TRIGGERS.iter().any(|key| limits.locked.contains(key)) {
        limits.locked.extend(Key::TRIGGERS);
    }
    let written = texts(defaults);
    let has_trigger = Key::TRIGGERS.iter().any(|key| written.contains_key(key));
    let open: Vec<String> = LockableKey::ALL
        .iter()
        .filter(|(key, _, field)| keys.contains(key) && field.is_some())
        .filter_map(|(_, name, _)| Key::from_name(name))
        .filter(|key| !(written.contains_key(key) || has_trigger && Key::TRIGGERS.contains(key)))
        .map(|key| key.name().to_owned())
        .collect();
    (!open.is_empty()).then(|| {
        let names = open.join(", ");
        Finding::new(
            Code::SettingsConflict,
            "spec.limits.lockedKeys",
            format!("locked without a value in spec.defaults: {names}"),
            format!(
                "spec.limits.lockedKeys locks {names}, but spec.defaults has no value for it: it is not defined what it is \
                 locked to. Write the value in spec.defaults, or take the key out. Until then the built-in value is locked."
            ),
        )
    })
}
