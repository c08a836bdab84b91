use proptest::prelude::*;

use super::*;
use crate::defrag::{ondemand::Duration, quantity::GIB, rule::Rule, schedule::TimeZone};

fn now() -> Timestamp {
    "2026-03-03T12:00:00Z".parse().unwrap()
}

fn hours_ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

fn pace() -> Pace {
    Pace {
        cooldown: Duration::from_hours(24),
        emergency_cooldown: Duration::from_mins(10),
        emergency_above: 0.95,
        windows: None,
    }
}

fn aim(namespace: &str, name: &str) -> Aim {
    Aim {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        first_ordinal: 0,
        replicas: 3,
        quota: 2 * GIB,
        rule: Rule::parse("dbSizeFree > 1").unwrap(),
        suspended: false,
        paused: false,
        zone: TimeZone::utc(),
    }
}

/// The names in the order in which they come, of `namespace/name` and the share of the quota in per cent.
fn order(places: &Places, wanting: &[(&str, u32)]) -> Vec<String> {
    let aims: Vec<Aim> =
        wanting.iter().map(|(name, _)| name.split_once('/').unwrap()).map(|(a, b)| aim(a, b)).collect();
    let wanting: Vec<Wanting<'_>> =
        aims.iter().zip(wanting).map(|(aim, (_, usage))| Wanting { aim, usage: f64::from(*usage) / 100.0 }).collect();
    places
        .order(&wanting, &pace(), now())
        .into_iter()
        .map(|index| format!("{}/{}", aims[index].namespace, aims[index].name))
        .collect()
}

fn places(allowed: u32, namespaces: &[&str]) -> Places {
    let mut places = Places::new(allowed);
    for namespace in namespaces {
        places.note(namespace, None);
    }
    places
}

#[test]
fn in_one_namespace_the_nearest_to_its_quota_comes_first_and_all_places_may_be_taken() {
    let mut places = places(3, &["a"]);
    assert_eq!(order(&places, &[("a/x", 70), ("a/y", 90), ("a/z", 80)]), ["a/y", "a/z", "a/x"]);
    for left in [2, 1, 0] {
        assert_eq!(places.shared("a"), Ok(()));
        places.take("a", Place::Shared);
        assert_eq!(places.free(), left);
    }
    assert_eq!(places.shared("a"), Err(Hold::Crowded { allowed: 3 }));
    assert!(places.kept_is_free());
}

#[test]
fn namespaces_come_in_turn_however_many_etcds_one_has() {
    let none_taken = places(1, &["a", "b", "c"]);
    let wanting = [("a/1", 94), ("a/2", 93), ("a/3", 92), ("b/1", 60), ("c/1", 61)];
    assert_eq!(order(&none_taken, &wanting), ["a/1", "c/1", "b/1", "a/2", "a/3"]);
    let mut one_taken = none_taken.clone();
    one_taken.take("a", Place::Kept);
    assert_eq!(order(&one_taken, &wanting), ["c/1", "b/1", "a/1", "a/2", "a/3"]);
}

#[test]
fn who_took_a_place_within_the_cooldown_comes_after_the_others_and_who_waits_longest_first() {
    let mut places = places(1, &["a", "b", "c", "d"]);
    for (namespace, hours) in [("a", 1), ("b", 3), ("c", 30), ("a", 2)] {
        places.note(namespace, Some(hours_ago(hours)));
    }
    let wanting = [("a/1", 94), ("b/1", 60), ("c/1", 61), ("d/1", 62)];
    assert_eq!(order(&places, &wanting), ["d/1", "c/1", "b/1", "a/1"]);
}

#[test]
fn a_namespace_leaves_one_of_several_places_to_the_others() {
    let mut places = places(3, &["a", "b"]);
    for _ in 0..2 {
        assert_eq!(places.shared("a"), Ok(()));
        places.take("a", Place::Shared);
    }
    assert_eq!(places.shared("a"), Err(Hold::NamespaceShare { allowed: 3 }));
    assert_eq!(places.shared("b"), Ok(()));
    places.take("b", Place::Shared);
    assert_eq!(places.shared("b"), Err(Hold::Crowded { allowed: 3 }));
}

#[test]
fn the_only_place_is_everybodys_and_the_kept_one_is_beside_it() {
    let mut places = places(1, &["a", "b"]);
    assert_eq!(places.shared("a"), Ok(()));
    places.take("a", Place::Shared);
    assert_eq!(places.shared("b"), Err(Hold::Crowded { allowed: 1 }));
    assert!(places.kept_is_free());
    places.take("b", Place::Kept);
    assert!(!places.kept_is_free());
    assert_eq!(places.free(), 0, "the kept place is none of the others");
}

proptest! {
    /// Whatever one namespace wants, another one that waits has its turn after at most one run of each namespace.
    #[test]
    fn a_crowd_of_one_namespace_keeps_nobody_waiting(crowd in 1_usize..40, allowed in 1_u32..6, usage in 1_u32..99) {
        let mut places = places(allowed, &["crowd", "victim"]);
        let names: Vec<String> = (0..crowd).map(|index| format!("crowd/{index}")).collect();
        let mut wanting: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 99)).collect();
        wanting.push(("victim/etcd", usage));
        let mut served = false;
        // Each run ends when there is room for no other; what ran within the cooldown wants none.
        for _ in 0..2 {
            for name in order(&places, &wanting) {
                let (namespace, _) = name.split_once('/').unwrap();
                if places.shared(namespace).is_ok() {
                    places.take(namespace, Place::Shared);
                    places.note(namespace, Some(now()));
                    served |= namespace == "victim";
                    wanting.retain(|(one, _)| *one != name);
                }
            }
            let (noted, mut ended) = (places.served.clone(), self::places(allowed, &["crowd", "victim"]));
            ended.served = noted;
            places = ended;
        }
        prop_assert!(served);
    }

    #[test]
    fn the_order_has_each_once(sizes in proptest::collection::vec((0_usize..4, 1_u32..99), 0..30), taken in proptest::collection::vec(0_usize..4, 0..6)) {
        let mut places = places(3, &[]);
        for namespace in taken {
            places.take(&format!("n{namespace}"), Place::Shared);
        }
        let names: Vec<String> = sizes.iter().enumerate().map(|(index, (namespace, _))| format!("n{namespace}/{index}")).collect();
        let wanting: Vec<(&str, u32)> = names.iter().map(String::as_str).zip(sizes.iter().map(|(_, usage)| *usage)).collect();
        let mut order = order(&places, &wanting);
        order.sort();
        let mut all = names;
        all.sort();
        prop_assert_eq!(order, all);
    }
}
