//! Keys that may have only the value of the policy.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{
    duration,
    etcd::Etcd,
    field::Field,
    finding::{Code, Finding, quoted},
    keys::Key,
    policy::Policy,
    quantity, ratio,
    statefulset::StatefulSet,
};

/// A finding for each locked key that a person set to anything but the policy's value.
pub(super) fn keys(own: BTreeMap<Key, &str>, policy: &Policy) -> Vec<Finding> {
    let others = own.into_iter().filter(|(key, value)| {
        policy.limits.locked.contains(key) && policy.defaults.get(key).is_none_or(|given| !is_same(*key, given, value))
    });
    others
        .map(|(key, value)| {
            let name = key.name();
            let trigger = || Key::TRIGGERS.iter().find(|other| policy.defaults.contains_key(other));
            let instead = trigger().filter(|_| Key::TRIGGERS.contains(&key));
            let given = match (policy.defaults.get(&key), instead.and_then(|other| policy.defaults.get(other).zip(Some(other)))) {
                (Some(given), _) => format!("the policy gives {}", quoted(given)),
                (None, Some((given, other))) => format!("the policy gives {} {}", other.name(), quoted(given)),
                (None, None) => "the policy does not set it".to_owned(),
            };
            Finding::new(
                Code::KeyLocked,
                key.field(),
                format!("{name} is set by the policy ({given}); remove the annotation"),
                format!("{name} is {}, but the policy that governs this etcd locks {name}: {given}, and no annotation may change it. Remove the annotation, or ask the owners of the policy.", quoted(value)),
            )
        })
        .collect()
}

/// Whether two texts are the same value of a key: `50%` is `0.5`, and `1h` is `60m`.
fn is_same(key: Key, one: &str, other: &str) -> bool {
    fn read<T: PartialEq, E>(parse: impl Fn(&str) -> Result<T, E>, one: &str, other: &str) -> bool {
        parse(one).ok().zip(parse(other).ok()).is_some_and(|(one, other)| one == other)
    }
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    one == other
        || match key {
            Key::QuotaUsageAbove | Key::FreeShareAbove | Key::DisalarmBelow => read(ratio::parse, one, other),
            Key::FreeAbove | Key::Quota => read(quantity::parse, one, other),
            Key::WaitBetweenMembers | Key::CommandTimeout => read(duration::parse_unsigned, one, other),
            Key::Schedule | Key::Rule => words(one) == words(other),
            _ => false,
        }
}

/// Whether a finding refuses a locked address that says what is discovered: what it is locked to.
pub(crate) fn repeats_discovery(finding: &Finding, object: &StatefulSet, etcd: Option<&Etcd>) -> bool {
    let (Code::KeyLocked, Field::Annotation(key), Some(etcd)) = (finding.code, &finding.field, etcd) else {
        return false;
    };
    let Some(value) = object.metadata.annotations.as_ref().and_then(|ours| ours.get(key.annotation())) else {
        return false;
    };
    match key {
        Key::Endpoints => {
            let stated: BTreeSet<&str> = value.split(',').map(str::trim).take(etcd.endpoints.len() + 1).collect();
            !etcd.endpoints.is_empty() && stated == etcd.endpoints.iter().map(String::as_str).collect()
        }
        Key::Service => !value.is_empty() && *value == etcd.service,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_and_not_texts() {
        for (key, one, other, expected) in [
            (Key::FreeShareAbove, "50%", "0.5", true),
            (Key::FreeShareAbove, "50%", "0.51", false),
            (Key::QuotaUsageAbove, "80%", "0.80", true),
            (Key::FreeAbove, "200Mi", "209715200", true),
            (Key::FreeAbove, "200Mi", "200M", false),
            (Key::WaitBetweenMembers, "1h", "60m", true),
            (Key::CommandTimeout, "90s", "1m30s", true),
            (Key::CommandTimeout, "90s", "1m", false),
            (Key::Schedule, "0 0 * * *", "0  0 * * *", true),
            (Key::Schedule, "0 0 * * *", "0 1 * * *", false),
            (Key::TimeZone, "Etc/UTC", "UTC", false),
            (Key::DisalarmBelow, "x", "y", false),
            (Key::DisalarmBelow, "x", "x", true),
        ] {
            assert_eq!(is_same(key, one, other), expected, "{one} {other}");
        }
    }
}
