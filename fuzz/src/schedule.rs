//! Input: `SCHEDULE` or `SCHEDULE # TIME ZONE`.

use std::time::Duration;

use etcd_defrag_webhook::defrag::{
    finding::Code,
    schedule::{
        Judged, Place, Schedule, ScheduleError, ScheduleLimits, TimeZone, Weekdays, Window, judge, resolve_hash,
    },
};
use jiff::ToSpan as _;

use super::{NOW, parts, readable};

const NAMESPACE: &str = "kamaji-system";
const NAME: &str = "kamaji-etcd";

pub fn check(input: &[u8]) {
    let Some((text, zone_text)) = parts(input, " # ") else { return };
    let zone = zone_text.map(TimeZone::parse).transpose();
    if let Err(error) = &zone {
        let suggestion = error.suggestion.as_deref();
        assert!(suggestion.is_none_or(|zone| TimeZone::parse(zone).is_ok()), "{error}");
    }
    let schedule = read(text);
    let limits = [
        ScheduleLimits { min_interval: Duration::from_mins(10), max_interval: None, windows: None, locks_zone: false },
        ScheduleLimits {
            min_interval: Duration::from_hours(3),
            max_interval: Some(Duration::from_hours(8 * 24)),
            windows: Some(vec![Window { days: Weekdays::of(&[0, 3, 6]), from: 22 * 60, to: 6 * 60, zone: None }]),
            locks_zone: false,
        },
    ];
    for limits in &limits {
        let judged = judge(text, zone_text, &Place::annotations(NAMESPACE, NAME), limits, NOW);
        agrees(&judged, limits, schedule.is_some(), zone.is_ok());
    }
    if let Some(schedule) = schedule {
        fires(&schedule, &zone.ok().flatten().unwrap_or_else(TimeZone::utc));
    }
}

fn read(text: &str) -> Option<Schedule> {
    let resolved = resolve_hash(text, NAMESPACE, NAME).inspect_err(|error| correct(error, text)).ok()?;
    let schedule = Schedule::parse(&resolved).inspect_err(|error| correct(error, &resolved)).ok()?;
    assert_eq!(resolve_hash(&resolved, NAMESPACE, NAME).as_ref(), Ok(&resolved), "nothing is left to resolve");
    Some(schedule)
}

/// An error points at what it says it found, and its suggestion is one.
fn correct(error: &ScheduleError, text: &str) {
    let found: String = text.chars().skip(error.column - 1).take(error.length).collect();
    assert_eq!(found, error.found, "column {} of {text:?}: {error}", error.column);
    assert!(!error.to_string().contains(char::is_control), "{error}");
    if let Some(suggestion) = &error.suggestion {
        let resolved = resolve_hash(suggestion, NAMESPACE, NAME);
        assert!(resolved.is_ok_and(|resolved| Schedule::parse(&resolved).is_ok()), "{text:?}: {error}");
    }
}

fn agrees(judged: &Judged, limits: &ScheduleLimits, valid: bool, zone_valid: bool) {
    readable(&judged.findings);
    let found = |code| judged.findings.iter().any(|finding| finding.code == code);
    assert_eq!(found(Code::ScheduleInvalid), !valid, "{judged:?}");
    assert_eq!(found(Code::TimeZoneInvalid), !zone_valid, "{judged:?}");
    assert_eq!(judged.resolved.is_some(), valid && zone_valid, "{judged:?}");
    let Some(resolved) = &judged.resolved else { return };
    assert_eq!(Schedule::parse(&resolved.text).as_ref(), Ok(&resolved.schedule));
    assert_eq!(found(Code::ScheduleNeverFires), resolved.intervals.is_none(), "{judged:?}");
    let Some(intervals) = resolved.intervals else { return };
    assert!(!found(Code::ScheduleTooOften) || intervals.shortest < limits.min_interval, "{judged:?}");
    let long = limits.max_interval.is_some_and(|max| intervals.longest > max);
    assert!(!found(Code::ScheduleTooRare) || long, "{judged:?}");
}

/// Fire times come in order, at distances inside the bounds that are said of them.
fn fires(schedule: &Schedule, zone: &TimeZone) {
    assert!(!schedule.describe(None).is_empty() && !schedule.describe(Some(zone)).is_empty());
    let intervals = schedule.intervals(zone, NOW);
    // Bounds take in the changeovers of five years.
    let end = NOW + (4 * 365 * 24).hours();
    let mut last = NOW;
    let mut first = true;
    for fire in schedule.fire_times(NOW, zone).take(12) {
        assert!(fire > last, "{fire} after {last}: {schedule:?}");
        assert_eq!(schedule.next(last, zone), Some(fire), "{schedule:?}");
        let Some(bounds) = intervals else { panic!("{fire} although it never fires: {schedule:?}") };
        let gap = fire.duration_since(last).unsigned_abs();
        let inside = gap <= bounds.longest && (first || gap >= bounds.shortest);
        assert!(inside || fire > end, "{last} to {fire} in {zone}: {bounds:?}, {schedule:?}");
        (last, first) = (fire, false);
    }
}
