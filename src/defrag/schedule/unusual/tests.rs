use std::fmt::Write as _;

use jiff::Timestamp;

use super::super::*;
use crate::defrag::{
    finding::{Code, Finding},
    keys::Key,
};

fn limits() -> ScheduleLimits {
    ScheduleLimits { min_interval: Duration::ZERO, max_interval: None, windows: None, locks_zone: false }
}

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

/// The hours from 22:00 to 05:00 in a zone.
fn night(zone: Option<&str>) -> ScheduleLimits {
    let zone = zone.map(|zone| TimeZone::parse(zone).unwrap());
    let window = Window { days: Weekdays::ALL, from: 22 * 60, to: 5 * 60, zone };
    ScheduleLimits { windows: Some(vec![window]), ..limits() }
}

fn found(schedule: &str, zone: Option<&str>, place: &Place, limits: &ScheduleLimits) -> Vec<Finding> {
    let now: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let findings = judge(schedule, zone, place, limits, now).findings;
    findings.into_iter().filter(|one| matches!(one.code, Code::ScheduleRarelyFires | Code::TimeZoneUnset)).collect()
}

fn annotations() -> Place {
    Place::annotations("ns", "etcd")
}

fn is_rare(schedule: &str, zone: &str, limits: &ScheduleLimits) -> bool {
    let found = found(schedule, Some(zone), &annotations(), limits);
    assert!(found.iter().all(|one| !one.denies()));
    !found.is_empty()
}

#[test]
fn more_than_a_month_between_two_runs_is_rare_and_a_month_is_not() {
    for zone in ["Etc/UTC", "Europe/Rome", "America/Sao_Paulo"] {
        for schedule in [
            "0 3 * * *",
            "@weekly",
            "@monthly",
            "0 0 1 * *",
            "30 2 28 * *",
            "H H 1 * *",
            "0 3 1-7 * 6",
            "@every 768h",
            "0 0 28-31 * *",
        ] {
            assert!(!is_rare(schedule, zone, &limits()), "{schedule} {zone}");
        }
        for schedule in [
            "0 3 29 2 *",
            "@every 100000h",
            "@every 769h",
            "@yearly",
            "@annually",
            "0 0 31 * *",
            "0 0 1 */2 *",
            "0 3 * 6 *",
        ] {
            assert!(is_rare(schedule, zone, &limits()), "{schedule} {zone}");
        }
    }
}

#[test]
fn a_policy_that_says_how_rare_runs_may_be_goes_first() {
    let most = |most| ScheduleLimits { max_interval: Some(most), ..limits() };
    assert!(!is_rare("@yearly", "Etc/UTC", &most(days(400))), "it is allowed");
    assert!(!is_rare("@yearly", "Etc/UTC", &most(days(31))), "it is refused, and once is enough");
    let least = |least| ScheduleLimits { min_interval: least, ..limits() };
    assert!(is_rare("@yearly", "Etc/UTC", &least(days(28))), "once a month is allowed");
    assert!(!is_rare("@yearly", "Etc/UTC", &least(days(29))), "once a month is too often");
}

#[test]
fn hours_with_a_zone_ask_for_one_of_the_schedule() {
    let unset = |schedule: &str, zone: Option<&str>, limits: &ScheduleLimits| {
        !found(schedule, zone, &annotations(), limits).is_empty()
    };
    let rome = night(Some("Europe/Rome"));
    assert!(unset("0 0 * * *", None, &rome));
    assert!(unset("0 12 * * *", None, &rome), "outside of the hours as well");
    for zone in ["Europe/Rome", "Etc/UTC", "Mars/Base"] {
        assert!(!unset("0 0 * * *", Some(zone), &rome), "{zone}");
    }
    assert!(!unset("0 0 * * *", None, &night(None)), "these hours are by the clock of the schedule, whatever it is");
    assert!(!unset("0 0 * * *", None, &limits()));
    assert!(!unset("@every 24h", None, &rome), "refused already");
    assert!(!unset("0 0 31 2 *", None, &rome), "never fires");
}

#[test]
fn the_messages_say_what_to_write() {
    let policy = Place {
        schedule_field: Key::Schedule.default_field(),
        zone_field: Key::TimeZone.default_field(),
        ..annotations()
    };
    let rome = night(Some("Europe/Rome"));
    let locked = ScheduleLimits { locks_zone: true, ..rome.clone() };
    let weekend = ScheduleLimits {
        windows: Some(vec![Window { days: Weekdays::of(&[6]), from: 0, to: 24 * 60, zone: None }]),
        ..limits()
    };
    let mut page = String::new();
    for (schedule, place, limits) in [
        ("0 3 29 2 *", annotations(), &limits()),
        ("@yearly", annotations(), &limits()),
        ("@every 100000h", annotations(), &limits()),
        ("0 0 31 * *", policy.clone(), &limits()),
        ("0 3 * 6 6", annotations(), &weekend),
        ("0 0 * * *", annotations(), &rome),
        ("30 21 * * *", annotations(), &rome),
        ("0 12 * * *", annotations(), &rome),
        ("0 0 * * *", annotations(), &locked),
        ("0 0 * * *", policy.clone(), &locked),
        ("0 0 * * *", policy.clone(), &rome),
    ] {
        let _ = writeln!(page, "{schedule}");
        for one in found(schedule, None, &place, limits) {
            let _ = writeln!(page, "  {}\n  {}: {}", one.brief, one.field, one.message);
        }
        page.push('\n');
    }
    insta::assert_snapshot!(page);
}
