//! The values that the mutating webhook fills in: those of the policy, as visible annotations.
//!
//! The `defaulted` annotation lists the keys that it filled in. Such a key follows the policy; a key that a person sets
//! is removed from the list and not changed any more; a key that a person removes is filled in again. The list also
//! contains the label, as `enabled`, if a policy that enrols all etcds added it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    assess::Enrollment,
    etcd,
    keys::{ENABLED, Key, PREFIX, name_of},
    policy::{EnrollmentMode, Policy},
    settings::defaulted_keys,
    statefulset::StatefulSet,
};

/// A change to one of our annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The whole annotation key, prefix included.
    pub annotation: &'static str,
    /// The new value; `None` removes it.
    pub value: Option<String>,
}

/// The changes that give `object` the values of the policy. Empty when there is nothing to change; `old` is the object
/// before an update and distinguishes a value that a person changed from one that only follows the policy.
#[must_use]
pub fn changes(object: &StatefulSet, old: Option<&StatefulSet>, policy: &Policy) -> Vec<Change> {
    if Enrollment::of(object, policy) != Enrollment::Enrolled {
        return Vec::new();
    }
    let present = values(object);
    let before = old.map(values).unwrap_or_default();
    let followers: BTreeSet<Key> = defaulted_keys(object)
        .into_iter()
        .filter(|key| match (present.get(key), before.get(key)) {
            (Some(now), Some(then)) => now == then || policy.defaults.get(key).is_some_and(|given| given == now),
            _ => true,
        })
        .collect();
    let theirs = |key: &Key| present.contains_key(key) && !followers.contains(key);
    let own_trigger = Key::TRIGGERS.iter().any(theirs);
    let given: BTreeMap<Key, &str> = Key::DEFAULTABLE
        .iter()
        .filter(|key| !theirs(key))
        .filter(|key| !own_trigger || !Key::TRIGGERS.contains(key))
        .filter_map(|key| Some((*key, policy.defaults.get(key)?.as_str())))
        .collect();

    let label = follows(object, policy).then(|| ENABLED.trim_start_matches(PREFIX));
    let list: Vec<&str> = label.into_iter().chain(given.keys().map(|key| key.name())).collect();
    let list = (!list.is_empty()).then(|| list.join(","));
    let mut changes: Vec<Change> = Key::DEFAULTABLE
        .iter()
        .filter(|key| !theirs(key))
        .filter(|key| present.get(key).copied() != given.get(key).copied())
        .map(|key| Change { annotation: key.annotation(), value: given.get(key).map(ToString::to_string) })
        .collect();
    if object.annotation(Key::Defaulted.annotation()) != list.as_deref() {
        changes.push(Change { annotation: Key::Defaulted.annotation(), value: list });
    }
    changes
}

/// The object as it would be with these changes.
#[must_use]
pub fn changed(object: &StatefulSet, changes: &[Change]) -> StatefulSet {
    let mut object = object.clone();
    let annotations = object.metadata.annotations.get_or_insert_default();
    for Change { annotation, value } in changes {
        match value {
            Some(value) => drop(annotations.insert((*annotation).to_owned(), value.clone())),
            None => drop(annotations.remove(*annotation)),
        }
    }
    object
}

/// Whether the label is the policy's: it is to be filled in, or was filled in and not changed since.
fn follows(object: &StatefulSet, policy: &Policy) -> bool {
    let by_policy = || policy.enrollment == EnrollmentMode::All && etcd::evidence(object).runs_etcd();
    match object.label(ENABLED) {
        None => by_policy(),
        Some("true") => names(object).any(|name| Some(name) == name_of(ENABLED)) && by_policy(),
        Some(_) => false,
    }
}

/// Whether only a policy enrols the object, and all of our keys on it were filled in: its author requested nothing.
#[must_use]
pub fn is_enrolled_by_policy_only(object: &StatefulSet, policy: &Policy) -> bool {
    let mut labels = object.metadata.labels.iter().flatten().map(|(key, _)| key);
    let mut annotations = object.metadata.annotations.iter().flatten().map(|(key, _)| key);
    // As a set, since the list may name one key very often.
    let filled_in: BTreeSet<&str> =
        defaulted_keys(object).into_iter().chain([Key::Defaulted]).map(Key::annotation).collect();
    follows(object, policy)
        && labels.all(|key| key == ENABLED || name_of(key).is_none())
        && annotations.all(|key| name_of(key).is_none() || filled_in.contains(key.as_str()))
}

/// The list of what was filled in.
fn names(object: &StatefulSet) -> impl Iterator<Item = &str> {
    object.annotation(Key::Defaulted.annotation()).unwrap_or_default().split(',').map(str::trim)
}

/// The values of the keys that a policy may give.
fn values(object: &StatefulSet) -> BTreeMap<Key, &str> {
    Key::DEFAULTABLE.iter().filter_map(|key| Some((*key, object.annotation(key.annotation())?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::defrag::keys::ENABLED;

    fn object(annotations: &[(Key, &str)]) -> StatefulSet {
        let mut object = StatefulSet::default();
        object.metadata.labels = Some(BTreeMap::from([(ENABLED.to_owned(), "true".to_owned())]));
        object.metadata.annotations =
            Some(annotations.iter().map(|(key, value)| (key.annotation().to_owned(), (*value).to_owned())).collect());
        object
    }

    fn get(object: &StatefulSet, key: Key) -> Option<&str> {
        object.annotation(key.annotation())
    }

    #[test]
    fn an_empty_object_gets_what_the_policy_gives() {
        let filled = changed(&object(&[]), &changes(&object(&[]), None, &Policy::built_in()));
        assert_eq!(get(&filled, Key::Schedule), Some("0 0 * * *"));
        assert_eq!(get(&filled, Key::Rule), Some(super::super::policy::DEFAULT_RULE));
        assert_eq!(get(&filled, Key::Defaulted), Some("schedule,rule"));
    }

    #[test]
    fn a_key_that_a_person_sets_is_theirs_and_leaves_the_list() {
        let policy = Policy::built_in();
        let filled = changed(&object(&[]), &changes(&object(&[]), None, &policy));
        let edited =
            changed(&filled, &[Change { annotation: Key::Schedule.annotation(), value: Some("5 5 * * *".to_owned()) }]);
        let after = changed(&edited, &changes(&edited, Some(&filled), &policy));
        assert_eq!(get(&after, Key::Schedule), Some("5 5 * * *"));
        assert_eq!(get(&after, Key::Defaulted), Some("rule"));
    }

    #[test]
    fn a_key_that_a_person_removes_is_filled_again() {
        let policy = Policy::built_in();
        let filled = changed(&object(&[]), &changes(&object(&[]), None, &policy));
        let removed = changed(&filled, &[Change { annotation: Key::Schedule.annotation(), value: None }]);
        assert_eq!(changed(&removed, &changes(&removed, Some(&filled), &policy)), filled);
    }

    #[test]
    fn a_listed_key_follows_the_policy() {
        let old_policy = Policy::built_in();
        let filled = changed(&object(&[]), &changes(&object(&[]), None, &old_policy));
        let mut policy = Policy::built_in();
        policy.defaults.insert(Key::Schedule, "7 7 * * *".to_owned());
        policy.defaults.insert(Key::TimeZone, "Europe/Rome".to_owned());
        let after = changed(&filled, &changes(&filled, Some(&filled), &policy));
        assert_eq!(get(&after, Key::Schedule), Some("7 7 * * *"));
        assert_eq!(get(&after, Key::TimeZone), Some("Europe/Rome"));
        assert_eq!(get(&after, Key::Defaulted), Some("schedule,time-zone,rule"));
    }

    #[test]
    fn the_default_of_an_earlier_version_is_filled_in_anew() {
        let earlier =
            object(&[(Key::Schedule, "0 0 * * *"), (Key::Rule, "dbSizeFree > 1"), (Key::Defaulted, "schedule,rule")]);
        let after = changed(&earlier, &changes(&earlier, Some(&earlier), &Policy::built_in()));
        assert_eq!(get(&after, Key::Rule), Some(super::super::policy::DEFAULT_RULE));
        assert_eq!(get(&after, Key::Defaulted), Some("schedule,rule"));
    }

    #[test]
    fn thresholds_of_a_person_take_the_place_of_a_defaulted_rule() {
        let policy = Policy::built_in();
        let filled = changed(&object(&[]), &changes(&object(&[]), None, &policy));
        let edited =
            changed(&filled, &[Change { annotation: Key::FreeAbove.annotation(), value: Some("1Gi".to_owned()) }]);
        let after = changed(&edited, &changes(&edited, Some(&filled), &policy));
        assert_eq!(get(&after, Key::Rule), None);
        assert_eq!(get(&after, Key::Defaulted), Some("schedule"));
        let dropped = changed(&after, &[Change { annotation: Key::FreeAbove.annotation(), value: None }]);
        assert_eq!(changed(&dropped, &changes(&dropped, Some(&after), &policy)), filled);
    }

    #[test]
    fn an_object_that_is_not_enrolled_is_left_alone() {
        assert_eq!(changes(&StatefulSet::default(), None, &Policy::built_in()), []);
    }

    proptest! {
        /// What the conditions of the entry that fills in leave out.
        #[test]
        fn a_value_that_a_person_changes_asks_for_nothing_to_be_filled_in(
            set in proptest::collection::btree_map(proptest::sample::select(Key::ALL.to_vec()), "[a-z]{1,3}", 1..6),
            value in "[a-z]{1,3}",
            which: proptest::sample::Index,
        ) {
            let policy = Policy::built_in();
            let object = object(&set.iter().map(|(k, v)| (*k, v.as_str())).collect::<Vec<_>>());
            let before = changed(&object, &changes(&object, None, &policy));
            let followers = defaulted_keys(&before);
            let of_a_person = |key: &Key| get(&before, *key).is_some() && *key != Key::Defaulted && !followers.contains(key);
            let theirs: Vec<Key> = Key::ALL.iter().copied().filter(of_a_person).collect();
            prop_assume!(!theirs.is_empty());
            let edit = Change { annotation: which.get(&theirs).annotation(), value: Some(value) };
            let after = changed(&before, &[edit]);
            prop_assert_eq!(changes(&after, Some(&before), &policy), vec![]);
        }

        #[test]
        fn filling_in_twice_changes_nothing(
            now in proptest::collection::btree_map(proptest::sample::select(Key::ALL.to_vec()), "[a-z,]{0,8}|schedule,rule|time-zone", 0..6),
            then in proptest::option::of(proptest::collection::btree_map(proptest::sample::select(Key::ALL.to_vec()), "[a-z]{0,2}|schedule,rule", 0..6)),
        ) {
            let policy = Policy::built_in();
            let pairs = |map: &BTreeMap<Key, String>| object(&map.iter().map(|(k, v)| (*k, v.as_str())).collect::<Vec<_>>());
            let (now, then) = (pairs(&now), then.as_ref().map(pairs));
            let once = changed(&now, &changes(&now, then.as_ref(), &policy));
            prop_assert_eq!(changes(&once, then.as_ref(), &policy), vec![]);
            prop_assert_eq!(changes(&once, Some(&once), &policy), vec![]);
        }
    }
}
