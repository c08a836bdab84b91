use std::{fmt::Write, time::Duration};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::defrag::finding::{Code, WARNING_LIMIT};

const REFUSED: &[&str] = &[
    "",
    "0 0 * * 7",
    "0 0 * * 0-7",
    "0 0 * * 5-7",
    "0 0 * * sunday",
    "0 0 L * *",
    "0 0 15W * *",
    "0 0 * * 5L",
    "0 0 * * 5#2",
    "0~30 0 * * *",
    "0 0 * * FRI-MON",
    "0 0 * * sat-mon",
    "0 22-2 * * *",
    "0 22-2/2 * * *",
    "*/0 * * * *",
    "*/-5 * * * *",
    "*5 * * * *",
    "-5 * * * *",
    "5- * * * *",
    "/5 * * * *",
    "*/ * * * *",
    "*/5/5 * * * *",
    "1-2-3 * * * *",
    "0 0 * *",
    "0 0 0 * * *",
    "0 0 12 ? * MON-FRI *",
    "0 0 * * * 2026",
    "60 * * * *",
    "0 24 * * *",
    "0 0 0 * *",
    "0 0 32 * *",
    "0 0 1 0 *",
    "0 0 1 january *",
    "0x5 * * * *",
    "\u{665} * * * *",
    "jan * * * *",
    "*/9223372036854775808 * * * *",
    "\"0 0 * * *\"",
    "daily",
    "@Daily",
    " @daily",
    "@yearly ",
    "@reboot",
    "@dayly",
    "@every 1d",
    "@every  5m",
    "@every 5",
    "@every 5 min",
    "@Every 5m",
    "@every soon",
    "TZ=Europe/Rome 0 0 * * *",
    "CRON_TZ=Europe/Rome 0 0 * * 7",
    "*-TZ * * * *",
    "0 0 * * 7 # nightly",
    "h 0 * * *",
    "H(5-1) 0 * * *",
    "H/90 0 * * *",
    "H(30-59 0 * * *",
    "H(0-99) 0 * * *",
    "H/0 0 * * *",
    "H 0 * *",
    "61 25 * * 7,8",
    "hello",
    "one two three four five",
    "0 0 *\n* 9",
];

fn outcome(text: &str) -> Result<Schedule, ScheduleError> {
    resolve_hash(text, "tenant", "etcd").and_then(|text| Schedule::parse(&text))
}

#[test]
fn refusals_name_the_place_and_the_correction() {
    let mut words = String::new();
    for text in REFUSED {
        let error = outcome(text).unwrap_err();
        writeln!(words, "{text:?}\n    {error}").unwrap();
        if let Some(suggestion) = &error.suggestion {
            assert!(outcome(suggestion).is_ok(), "{text:?} → {suggestion:?}");
        }
        assert!(error.column >= 1 && error.column <= text.chars().count() + 1, "{text:?}");
    }
    insta::assert_snapshot!(words);
}

#[test]
fn corrections_that_people_expect() {
    for (text, correction) in [
        ("0 0 * * 7", "0 0 * * 0"),
        ("@Daily", "@daily"),
        ("0 0 3 * * *", "0 3 * * *"),
        ("0 0 * * sunday", "0 0 * * sun"),
        ("0 0 * * FRI-MON", "0 0 * * FRI-SAT,SUN-MON"),
        ("0 22-2 * * *", "0 22-23,0-2 * * *"),
        ("@every 1d", "@every 24h"),
        ("TZ=Europe/Rome 0 0 * * *", "0 0 * * *"),
        ("0 0 * * 0-7", "0 0 * * *"),
    ] {
        assert_eq!(outcome(text).unwrap_err().suggestion.as_deref(), Some(correction), "{text}");
    }
}

#[test]
fn a_hash_resolves_to_the_same_numbers_for_ever() {
    for (text, resolved) in [
        ("H H * * *", "43 12 * * *"),
        ("H H(0-5) H * H", "43 0 16 * 6"),
        ("H/15 * * * *", "13-59/15 * * * *"),
        ("H(30-59)/10 * * * *", "33-59/10 * * * *"),
        ("0,H 3 * H(jan-mar) H(mon-fri)", "0,43 3 * 1 4"),
        ("H/60 * * * *", "43 * * * *"),
        ("H/1 0 H/1 * *", "* 0 1-28 * *"),
        ("0 0 * * THU", "0 0 * * THU"),
        ("0  0 H  *\t*", "0  0 16  *\t*"),
        ("nonsense", "nonsense"),
    ] {
        assert_eq!(resolve_hash(text, "tenant", "etcd").unwrap(), resolved, "{text}");
    }
}

#[test]
fn a_fleet_is_spread_evenly() {
    const NAMES: u32 = 10_000;
    let (mut minutes, mut hours) = ([0_u32; 60], [0_u32; 24]);
    for index in 0..NAMES {
        let text = resolve_hash("H H * * *", "tenants", &format!("etcd-{index}")).unwrap();
        let mut numbers = text.split(' ').map_while(|number| number.parse::<usize>().ok());
        minutes[numbers.next().unwrap()] += 1;
        hours[numbers.next().unwrap()] += 1;
    }
    let extremes = |counts: &[u32]| (counts.iter().min().copied(), counts.iter().max().copied());
    println!("{NAMES} names of `H H * * *`: minutes {minutes:?}, hours {hours:?}");
    println!("least and most in a minute {:?}, in an hour {:?}", extremes(&minutes), extremes(&hours));
    // Six standard deviations of an even spread: 167 ± 77 names a minute and 417 ± 120 an hour.
    assert!(minutes.iter().all(|count| count.abs_diff(NAMES / 60) < 77), "{minutes:?}");
    assert!(hours.iter().all(|count| count.abs_diff(NAMES / 24) < 120), "{hours:?}");
}

#[test]
fn sentences() {
    let rome = TimeZone::parse("Europe/Rome").unwrap();
    let mut words = String::new();
    for text in [
        "14 9 * * 1-5",
        "0 0 * * *",
        "* * * * *",
        "*/5 * * * *",
        "30 * * * *",
        "0 */2 * * *",
        "0 */3 * * *",
        "5 4 1 * 1",
        "0 0 29 2 *",
        "15,45 1-5 * 1,7 *",
        "@weekly",
        "@every 90m",
        ", * * * *",
        "0 0 1,15 * *",
        "7 * * 6-8 sat,sun",
        "0 3 */2 * *",
        "5,6 * * * *",
        "*/10 3 * * *",
    ] {
        writeln!(words, "{text}: {}", Schedule::parse(text).unwrap().describe(Some(&rome))).unwrap();
    }
    writeln!(words, "{}", Schedule::parse("0 0 * * *").unwrap().describe(None)).unwrap();
    insta::assert_snapshot!(words);
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn fires(text: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let zone = TimeZone::parse(zone).unwrap();

    Schedule::parse(text).unwrap().fire_times(at(after), &zone).take(count).map(|at| at.to_string()).collect()
}

#[test]
fn changeovers_as_the_controller_meets_them() {
    // Skipped on the spring day.
    assert_eq!(
        fires("30 2 * * *", "America/New_York", "2026-03-07T08:00:00Z", 2),
        ["2026-03-09T06:30:00Z", "2026-03-10T06:30:00Z"]
    );
    // Twice on the autumn day.
    assert_eq!(
        fires("30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 3),
        ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-02T06:30:00Z"]
    );
    // Where midnight does not exist, a search that comes to the day through that midnight passes over the whole day.
    assert_eq!(
        fires("0 12 * * 5", "Africa/Cairo", "2026-04-17T11:00:00Z", 2),
        ["2026-05-01T09:00:00Z", "2026-05-08T09:00:00Z"]
    );
}

#[test]
fn the_search_ends_after_five_years() {
    assert_eq!(fires("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1), [""; 0]);
    assert_eq!(fires("0 0 29 2 *", "UTC", "2099-01-01T00:00:00Z", 1), ["2104-02-29T00:00:00Z"]);
}

#[test]
fn a_day_that_a_zone_skipped_is_no_trap() {
    assert_eq!(fires("0 0 31 12 *", "Pacific/Apia", "2011-12-05T00:00:00Z", 1), [""; 0]);
}

#[test]
fn every_counts_from_the_run_before() {
    assert_eq!(
        fires("@every 1.9s", "UTC", "2026-01-01T00:00:00.7Z", 2),
        ["2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"]
    );
    assert_eq!(fires("@every -1h", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-01-01T00:00:01Z"]);
    assert_eq!(fires("@every 1h", "UTC", "1969-12-31T23:59:59.5Z", 1), ["1970-01-01T00:59:59Z"]);
}

fn intervals(text: &str, zone: &str) -> Option<(u64, u64)> {
    let zone = TimeZone::parse(zone).unwrap();
    let intervals = Schedule::parse(text).unwrap().intervals(&zone, at("2026-01-01T00:00:00Z"))?;
    Some((intervals.shortest.as_secs(), intervals.longest.as_secs()))
}

#[test]
fn intervals_with_and_without_changeovers() {
    const HOUR: u64 = 3_600;
    for (text, zone, expected) in [
        ("0 3 * * *", "UTC", Some((24 * HOUR, 24 * HOUR))),
        ("0 5 * * *", "Europe/Rome", Some((23 * HOUR, 25 * HOUR))),
        ("30 2 * * *", "Europe/Rome", Some((HOUR, 47 * HOUR))),
        ("*/5 * * * *", "Europe/Rome", Some((300, 300))),
        ("15 * * * *", "Australia/Lord_Howe", Some((HOUR, HOUR + HOUR / 2))),
        ("0 12 * * 5", "Africa/Cairo", Some((168 * HOUR, 14 * 24 * HOUR - HOUR))),
        ("0 0 29 2 *", "UTC", Some((1_461 * 24 * HOUR, 2_921 * 24 * HOUR))),
        ("0 0 31 2 *", "UTC", None),
        ("@every 90m", "Europe/Rome", Some((5_400, 5_400))),
    ] {
        assert_eq!(intervals(text, zone), expected, "{text} {zone}");
    }
}

fn limits() -> ScheduleLimits {
    ScheduleLimits {
        min_interval: Duration::from_hours(1),
        max_interval: Some(Duration::from_hours(744)),
        windows: None,
        locks_zone: false,
    }
}

fn judged(text: &str, zone: Option<&str>, limits: &ScheduleLimits) -> Judged {
    judge(text, zone, &Place::annotations("tenant", "etcd"), limits, at("2026-06-01T00:00:00Z"))
}

#[test]
fn findings_in_words() {
    let night = Window { days: Weekdays::of(&[1, 2, 3, 4, 5]), from: 22 * 60, to: 4 * 60, zone: None };
    let nights = ScheduleLimits { windows: Some(vec![night]), ..limits() };
    let daily = ScheduleLimits { max_interval: Some(Duration::from_hours(25)), ..limits() };
    let sparse = ScheduleLimits { min_interval: Duration::from_hours(6), ..limits() };
    let mut words = String::new();
    for (text, zone, limits) in [
        ("0 0 * * 7", None, &limits()),
        ("0 0 31 2 *", None, &limits()),
        (", * * * *", None, &limits()),
        ("*/5 * * * *", None, &limits()),
        ("*/5 3 * * *", Some("Europe/Rome"), &limits()),
        ("0,30 3 1 1 *", None, &limits()),
        ("58 23 28-31 * *", None, &ScheduleLimits { min_interval: Duration::from_hours(48), ..limits() }),
        ("@every 90s", None, &limits()),
        ("@every 10000h", None, &limits()),
        ("@every 2h", None, &nights),
        ("0 0 1 1 *", None, &limits()),
        ("0 0 31 * *", None, &limits()),
        ("*/60 3 * * *", None, &limits()),
        ("0 3 */32,1-7 * 3", None, &limits()),
        ("30 2 * * *", Some("Europe/Rome"), &limits()),
        ("30 2 * * *", Some("Europe/Rome"), &daily),
        ("30 1 * * *", Some("America/New_York"), &sparse),
        ("0 12 * * 5", Some("Africa/Cairo"), &limits()),
        ("0 5 * * *", Some("Australia/Lord_Howe"), &limits()),
        ("0 12 * * *", None, &nights),
        ("0 3 * * 1", None, &nights),
        ("0 3 * * *", Some(""), &limits()),
        ("0 3 * * *", Some("Local"), &limits()),
        ("0 3 * * *", Some("utc"), &limits()),
        ("0 3 * * *", Some("europe/rome"), &limits()),
        ("0 3 * * *", Some("Europe/Roma"), &limits()),
        ("0 3 * * *", Some("Rome"), &limits()),
        ("0 3 * * *", Some("+05:00"), &limits()),
        ("0 3 * * *", Some("GMT+5"), &limits()),
        ("0 3 * * *", Some("../etc/passwd"), &limits()),
        ("0 3 * * *", Some("Etc/Unknown"), &limits()),
        ("@Daily", Some("Mars/Base"), &limits()),
    ] {
        let judged = judged(text, zone, limits);
        assert!(!judged.findings.is_empty(), "{text} {zone:?}");
        writeln!(words, "{text} {}", zone.unwrap_or("-")).unwrap();
        for finding in judged.findings {
            assert!(finding.brief.chars().count() <= WARNING_LIMIT);
            writeln!(words, "  {} {}\n    {}\n    {}", finding.severity, finding.field, finding.message, finding.brief)
                .unwrap();
        }
    }
    insta::assert_snapshot!(words);
}

#[test]
fn what_is_fine_has_no_findings() {
    for (text, zone) in [
        ("0 0 * * *", None),
        ("H H(0-5) * * *", Some("Etc/GMT+5")),
        ("0 * * * *", Some("Europe/Rome")),
        ("0 12 * * 0", Some("EST")),
        ("@hourly", Some("America/Argentina/ComodRivadavia")),
        ("@every 1h", None),
        ("0 5 * * *", Some("Pacific/Auckland")),
    ] {
        let judged = judged(text, zone, &limits());
        assert_eq!(judged.findings, [], "{text}");
        let resolved = judged.resolved.unwrap();
        assert_eq!(resolved.zone.as_ref().map(TimeZone::name), zone);
        assert!(Schedule::parse(&resolved.text).is_ok());
    }
}

#[test]
fn a_minimum_of_a_day_bears_a_short_night_but_no_repeated_run() {
    let day = ScheduleLimits { min_interval: Duration::from_hours(24), ..limits() };
    assert_eq!(judged("0 5 * * *", Some("Europe/Rome"), &day).findings, []);
    let codes: Vec<Code> = judged("30 2 * * *", Some("Europe/Rome"), &day).findings.iter().map(|f| f.code).collect();
    assert_eq!(codes, [Code::ScheduleTooOften, Code::ScheduleSkippedByDst, Code::ScheduleRepeatedByDst]);
}

#[test]
fn what_is_refused_is_not_resolved() {
    assert_eq!(judged("0 0 * * 7", None, &limits()).resolved, None);
    assert_eq!(judged("0 0 * * *", Some("Nowhere"), &limits()).resolved, None);
}

prop_compose! {
    fn field()(items in prop::collection::vec("[*?H]|[0-9]{1,2}|[0-6]-[0-9]|\\*/[0-9]{1,2}|H/[1-9]|H\\([0-3]-[4-6]\\)(/[12])?|[a-zA-Z]{1,4}|[-/,+L#~]{1,3}", 1..3)) -> String {
        items.join(",")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn judging_never_panics(text in "\\PC{0,40}", zone in "\\PC{0,20}|[A-Z][a-z]{2,6}/[A-Z][a-z]{2,6}", now in -62_000_000_000_i64..250_000_000_000) {
        let now = Timestamp::from_second(now).unwrap();
        let judged = judge(&text, Some(&zone), &Place::annotations("tenant", "etcd"), &limits(), now);
        prop_assert!(judged.resolved.is_some() || !judged.findings.is_empty());
    }

    #[test]
    fn corrections_resolve_and_parse(fields in prop::collection::vec(field(), 3..8)) {
        let text = fields.join(" ");
        if let Err(error) = outcome(&text) && let Some(suggestion) = error.suggestion {
            prop_assert!(outcome(&suggestion).is_ok(), "{text:?} → {suggestion:?}");
        }
    }

    #[test]
    fn hashes_resolve_to_schedules(low in 1_u64..7, more in 0_u64..5, step in 1_u64..6, namespace in "[a-z]{1,9}", name in "\\PC{0,9}") {
        for field in Field::ALL {
            let high = (low + more).min(field.max());
            let low = low.min(high);
            for item in ["H".to_owned(), format!("H/{step}"), format!("H({low}-{high})"), format!("H({low}-{high})/{}", step.min(high - low + 1)), format!("{low},H")] {
                let text = Field::ALL.map(|other| if other == field { item.as_str() } else { "*" }).join(" ");
                let resolved = resolve_hash(&text, &namespace, &name).unwrap();
                let schedule = Schedule::parse(&resolved);
                prop_assert!(schedule.as_ref().is_ok_and(|schedule| schedule.wide_step.is_none()), "{text} → {resolved}");
                prop_assert_eq!(resolve_hash(&resolved, "other", "other").unwrap(), resolved);
            }
        }
    }

    #[test]
    fn next_is_later_and_gaps_are_within_the_intervals(fields in prop::collection::vec(field(), 5), after in 1_700_000_000_i64..1_900_000_000, zone in 0_usize..6) {
        let zone = TimeZone::parse(["UTC", "Europe/Rome", "Africa/Cairo", "Australia/Lord_Howe", "America/Havana", "Africa/Casablanca"][zone]).unwrap();
        if let Ok(schedule) = outcome(&fields.join(" ")) {
            let now = Timestamp::from_second(after).unwrap();
            let intervals = schedule.intervals(&zone, now);
            let mut previous = now;
            // The intervals know the changeovers of five years.
            let horizon = now.checked_add(Duration::from_hours(1_826 * 24)).unwrap();
            let times = schedule.fire_times(now, &zone).take_while(|time| *time < horizon);
            for (index, time) in times.take(300).enumerate() {
                prop_assert!(time > previous);
                let gap = Duration::try_from(time.duration_since(previous)).unwrap();
                let intervals = intervals.unwrap();
                prop_assert!(index == 0 || gap >= intervals.shortest, "{gap:?} {intervals:?}");
                prop_assert!(gap <= intervals.longest, "{gap:?} {intervals:?}");
                previous = time;
            }
        }
    }
}

#[test]
fn a_window_counts_in_its_own_zone_all_year() {
    let window = |zone: Option<&str>| {
        let zone = zone.map(|name| TimeZone::parse(name).unwrap());
        ScheduleLimits {
            windows: Some(vec![Window { days: Weekdays::of(&[1, 2, 3, 4, 5]), from: 22 * 60, to: 4 * 60, zone }]),
            max_interval: None,
            ..limits()
        }
    };
    let fits = |text: &str, zone: Option<&str>, of_window: Option<&str>| {
        let findings = judged(text, zone, &window(of_window)).findings;
        !findings.iter().any(|finding| finding.code == Code::ScheduleOutsideWindow)
    };
    // Rome is one hour ahead of UTC in winter and two in summer.
    assert!(fits("0 20 * 6 1", None, Some("Europe/Rome")));
    assert!(!fits("0 20 * * 1", None, Some("Europe/Rome")));
    assert!(fits("0 21 * * 1-5", None, Some("Europe/Rome")));
    assert!(fits("30 1 * * 2-6", Some("Etc/UTC"), Some("Europe/Rome")));
    assert!(!fits("30 2 * * 2-6", Some("Etc/UTC"), Some("Europe/Rome")));
    assert!(fits("0 22 * * 1", Some("Europe/Rome"), Some("Europe/Rome")));
    assert!(fits("0 22 * * 1", Some("Europe/Rome"), Some("Europe/Berlin")));
    // The day turns with the zone: Monday 21:00 in New York is Tuesday in Tokyo.
    assert!(fits("0 9 * * 5", Some("America/New_York"), Some("Asia/Tokyo")));
    assert!(!fits("0 9 * * 6", Some("America/New_York"), Some("Asia/Tokyo")));
    // Half hours, and changeovers of only one of the two.
    assert!(fits("0 17 * * 1", None, Some("Asia/Kolkata")));
    assert!(!fits("15 16 * * 1", None, Some("Asia/Kolkata")));
    let whole = ScheduleLimits {
        windows: Some(vec![Window { days: Weekdays::ALL, from: 0, to: 1440, zone: None }]),
        ..window(None)
    };
    assert_eq!(judged("59 23 * * *", None, &whole).findings, []);
}
