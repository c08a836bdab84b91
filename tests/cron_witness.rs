//! The `cron` crate as a second witness of when schedules fire, beside the Go module that Kubernetes uses
//! (`tests/oracle_schedule.rs`): it was written by others, in another way, and needs no Go.
//!
//! Compared is the language that both have (docs/decisions/001-schedule-arithmetic.md says what only one has): five fields with
//! values, names, ranges, steps and lists, in UTC, where no clock changes, up to 2099. Its weekdays count from 1, so they are
//! translated, and where both days are restricted it wants both while Kubernetes wants either, so it is asked twice.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike as _, Utc};
use etcd_defrag_webhook::defrag::schedule::{Schedule, TimeZone};
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};

const MONTHS: [&str; 12] = ["JAN", "feb", "Mar", "apr", "MAY", "jun", "jul", "AUG", "sep", "oct", "nov", "Dec"];
const DAYS: [&str; 7] = ["SUN", "mon", "Tue", "wed", "THU", "fri", "Sat"];
/// So many fire times are compared.
const FIRES: usize = 16;
/// Both know all years before this one.
const END: i32 = 2100;
/// The search of Kubernetes ends with this year after the one in which it begins.
const YEARS: i32 = 5;

/// One item of a field: a first and a last value, where there is a range, and a step.
#[derive(Clone, Debug)]
enum Item {
    All(Option<u8>),
    From(u8, Option<u8>),
    Range(u8, u8, Option<u8>),
}

/// A field as Kubernetes reads it, or with its values shifted as the crate does. That one takes `SUN/2` for `SUN` alone, so there
/// a value with a step is always a number.
fn text(items: &[Item], names: Option<(&[&str], u8)>, shift: Option<u8>) -> String {
    let number = |value: u8| (value + shift.unwrap_or(0)).to_string();
    let value = |value: u8| {
        let name = names.and_then(|(names, first)| names.get(usize::from(value - first)));
        name.map_or_else(|| number(value), |name| (*name).to_owned())
    };
    let step = |step: &Option<u8>| step.map(|step| format!("/{step}")).unwrap_or_default();
    let item = |item: &Item| match item {
        Item::All(every) => format!("*{}", step(every)),
        Item::From(first, every @ Some(_)) if shift.is_some() => format!("{}{}", number(*first), step(every)),
        Item::From(first, every) => format!("{}{}", value(*first), step(every)),
        Item::Range(first, last, every) => format!("{}-{}{}", value(*first), value(*last), step(every)),
    };
    items.iter().map(item).collect::<Vec<_>>().join(",")
}

fn item(low: u8, high: u8) -> impl Strategy<Value = Item> {
    let step = prop::option::weighted(0.4, 1..=(high - low).max(1));
    (0..10_u8, low..=high, low..=high, step).prop_map(|(kind, one, other, step)| match kind {
        0..2 => Item::All(step),
        2..7 => Item::From(one, step),
        _ => Item::Range(one.min(other), one.max(other), step),
    })
}

fn items(low: u8, high: u8) -> impl Strategy<Value = Vec<Item>> {
    prop_oneof![2 => Just(vec![Item::All(None)]), 3 => vec(item(low, high), 1..4)]
}

/// A schedule in both languages: for Kubernetes, and for the crate, which is asked for each of them.
#[derive(Clone, Debug)]
struct Both {
    kubernetes: String,
    theirs: Vec<String>,
}

fn schedules() -> impl Strategy<Value = Both> {
    let fields = (items(0, 59), items(0, 23), items(1, 31), items(1, 12), items(0, 6));
    (fields, any::<[bool; 2]>()).prop_map(|((minute, hour, day, month, weekday), [month_names, day_names])| {
        let month_names = month_names.then_some((&MONTHS[..], 1));
        let day_names = day_names.then_some((&DAYS[..], 0));
        let (minute, hour, days) = (text(&minute, None, None), text(&hour, None, None), text(&day, None, None));
        let (kube_month, kube_weekdays) = (text(&month, month_names, None), text(&weekday, day_names, None));
        let kubernetes = format!("{minute} {hour} {days} {kube_month} {kube_weekdays}");
        let (month, weekdays) = (text(&month, month_names, Some(0)), text(&weekday, day_names, Some(1)));
        // A star without a step restricts nothing; with one, or in a list without one, the rule is that of the module.
        let open = |items: &[Item]| items.iter().any(|item| matches!(item, Item::All(None | Some(1))));
        let one = |days: &str, weekdays: &str| format!("0 {minute} {hour} {days} {month} {weekdays}");
        let theirs = if open(&day) || open(&weekday) {
            vec![one(&days, &weekdays)]
        } else {
            vec![one(&days, "*"), one("*", &weekdays)]
        };
        Both { kubernetes, theirs }
    })
}

fn begin() -> impl Strategy<Value = i64> {
    let second = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
    let edge =
        select(vec!["2024-02-28T23:59:59Z", "2026-12-31T23:59:00Z", "2095-12-31T00:00:00Z", "2000-02-29T00:00:00Z"]);
    prop_oneof![4 => second("1971-01-01T00:00:00Z")..second("2096-01-01T00:00:00Z"), 1 => edge.prop_map(second)]
}

/// The fire times that both find, as seconds; ours end with the search of Kubernetes.
fn ours(schedule: &str, begin: i64) -> Vec<i64> {
    let schedule = Schedule::parse(schedule).unwrap_or_else(|error| panic!("{schedule:?} is refused: {error:?}"));
    let zone = TimeZone::utc();
    let fires = schedule.fire_times(Timestamp::from_second(begin).unwrap(), &zone).map(Timestamp::as_second);
    fires.take_while(|time| year(*time) < END).take(FIRES).collect()
}

fn theirs(schedules: &[String], begin: i64) -> Vec<i64> {
    let mut all = BTreeSet::new();
    for schedule in schedules {
        let schedule: cron::Schedule =
            schedule.parse().unwrap_or_else(|error| panic!("{schedule:?} is refused: {error}"));
        let begin: DateTime<Utc> = DateTime::from_timestamp(begin, 0).unwrap();
        all.extend(
            schedule.after(&begin).map(|time| time.timestamp()).take_while(|time| year(*time) < END).take(FIRES),
        );
    }
    let mut found: Vec<i64> = Vec::new();
    for time in all.into_iter().take(FIRES) {
        // The search of Kubernetes, which begins again at each fire time.
        if year(time) - year(*found.last().unwrap_or(&begin)) > YEARS {
            break;
        }
        found.push(time);
    }
    found
}

fn year(second: i64) -> i32 {
    DateTime::from_timestamp(second, 0).unwrap().year()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_fire_at_the_same_times(both in schedules(), begin in begin()) {
        prop_assert_eq!(ours(&both.kubernetes, begin), theirs(&both.theirs, begin), "{:?} from {}", both, begin);
    }
}

/// What the property rests on, by name.
#[test]
fn known_schedules_fire_at_the_same_times() {
    let begin = "2026-11-28T12:00:00Z".parse::<Timestamp>().unwrap().as_second();
    for (kubernetes, theirs_are, first) in [
        ("0 0 * * *", &["0 0 0 * * *"][..], "2026-11-29T00:00:00Z"),
        ("30 4 * * 1-5", &["0 30 4 * * 2-6"], "2026-11-30T04:30:00Z"),
        ("0 12 13 * 5", &["0 0 12 13 * *", "0 0 12 * * 6"], "2026-12-04T12:00:00Z"),
        ("0 0 29 2 *", &["0 0 0 29 2 *"], "2028-02-29T00:00:00Z"),
        ("*/7 3/6 * JAN-mar */2", &["0 */7 3/6 * JAN-mar */2"], "2027-01-02T03:00:00Z"),
    ] {
        let found = ours(kubernetes, begin);
        assert_eq!(Timestamp::from_second(found[0]).unwrap().to_string(), first, "{kubernetes}");
        let translated: Vec<String> = theirs_are.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(found, theirs(&translated, begin), "{kubernetes}");
    }
}
