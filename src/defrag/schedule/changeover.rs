//! What a zone's changeovers do to a schedule: fire times that do not exist, that happen twice, and the gaps around.
//!
//! Between changeovers a schedule runs as on any wall clock. So it is enough to follow it from the last fire time before
//! each changeover until the clock has left the hours that were skipped or repeated.

use super::{
    calendar::{Calendar, bits},
    gaps::Gap,
    next,
    zone::{Clock, DAY, Stretch, TimeZone, stretches},
};

/// How far ahead changeovers are checked, in seconds: five years, as far as the controller itself searches. The rules
/// of a zone seldom last longer, and a later assessment looks further ahead.
const HORIZON: i64 = 1_827 * DAY;

/// The most changeovers that are checked: two a year, and four where Ramadan suspends summer time.
const MOST: usize = 24;

/// Fire times that are followed around one changeover, more than minutes in the largest one (24 hours).
const MOST_FIRES: usize = 1_600;

/// No weekly schedule is followed further from a changeover, in seconds: a week between two runs, and some more where the
/// changeover costs one.
const FAR: i64 = 21 * DAY;

/// What happens to a schedule at the changeovers of the years ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// The shortest time between two fire times that lie on both sides of a changeover.
    pub shortest: Option<Crossing>,
    /// The longest such time.
    pub longest: Option<Crossing>,
    /// The first wall-clock time at which the schedule should fire and does not.
    pub skipped: Option<Skipped>,
    /// The first wall-clock time at which it fires twice.
    pub repeated: Option<i64>,
}

/// A fire time that a changeover costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// The clock never shows this time.
    NoSuchTime(i64),
    /// The clock shows it, but robfig's search comes from before the changeover and steps over it: in whole hours past a
    /// change of half an hour, or over a day without a midnight.
    PassedOver(i64),
}

/// Two consecutive fire times around a changeover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crossing {
    /// Unix seconds.
    pub gap: Gap,
    /// The seconds between them that a wall clock shows.
    pub on_the_wall: i64,
}

impl Effects {
    fn add(&mut self, crossing: Crossing) {
        if self.shortest.is_none_or(|known| crossing.gap.length() < known.gap.length()) {
            self.shortest = Some(crossing);
        }
        if self.longest.is_none_or(|known| crossing.gap.length() > known.gap.length()) {
            self.longest = Some(crossing);
        }
    }
}

/// The stretches of a zone whose changeovers count from `now` (Unix seconds) on.
pub(super) fn ahead(zone: &TimeZone, now: i64) -> Vec<Stretch> {
    stretches(zone, now, now.saturating_add(HORIZON), MOST)
}

/// The effects of the changeovers between the stretches [`ahead`].
pub(super) fn effects(calendar: &Calendar, zone: &TimeZone, ahead: &[Stretch]) -> Effects {
    let mut effects = Effects::default();
    let mut clock = Clock::knowing(zone, ahead);
    // A schedule may be rarer than changeovers: those before the fire time that was followed last are behind it.
    let mut reached = i64::MIN;
    // Most zones change their clocks on the same weekday at the same time, so a weekly schedule meets two kinds of
    // changeovers again and again.
    let weekly = calendar.is_weekly() || calendar.has_every_day();
    let repeats = weekly && calendar.month == bits(1, 12);
    let mut met: Vec<(i64, i64, i64)> = Vec::new();
    for (before, after) in ahead.iter().zip(ahead.iter().skip(1)) {
        if before.offset == after.offset || reached >= after.start {
            continue;
        }
        if repeats && before.length() > FAR && after.length() > FAR {
            let kind = ((after.start + before.offset).rem_euclid(7 * DAY), before.offset, after.offset);
            if met.contains(&kind) {
                continue;
            }
            met.push(kind);
        }
        reached = follow(calendar, &mut clock, *before, *after, &mut effects).unwrap_or(reached);
    }
    effects
}

/// Follows the fire times over one changeover, until the clock has left the hours that it skips or repeats. Says how far
/// it came.
fn follow(
    calendar: &Calendar,
    clock: &mut Clock<'_>,
    before: Stretch,
    after: Stretch,
    effects: &mut Effects,
) -> Option<i64> {
    let (at, skipped) = (after.start, after.start + before.offset..after.start + after.offset);
    let (mut from, mut wall) = last_fire(calendar, clock, before, skipped.start)?;
    // A schedule of every hour loses and repeats runs at each changeover without a change in its pace.
    let paced = calendar.hour == bits(0, 23);
    // And if it is of every day too, it goes on after the changeover as on any wall clock.
    let steady = paced && calendar.has_every_day() && calendar.month == bits(1, 12);
    let settled = at + (before.offset - after.offset).max(0);
    let mut expected_from = skipped.end;
    for _ in 0..MOST_FIRES {
        let to = next::next(calendar, clock, from)?;
        let shown = clock.wall(to)?;
        // A time that an earlier changeover repeated, of which the first was found.
        if to < at {
            (from, wall) = (to, shown);
            continue;
        }
        effects.add(Crossing { gap: Gap { from, to }, on_the_wall: shown - wall });
        if !paced {
            missed(calendar, clock, expected_from, shown, effects);
            // What fires now fired already when the clock showed this time before the changeover.
            if shown < skipped.start && effects.repeated.is_none() {
                effects.repeated = Some(shown);
            }
        }
        (from, wall, expected_from) = (to, shown, shown + 60);
        if to >= settled || steady {
            break;
        }
    }
    if !paced && effects.skipped.is_none() {
        let inside = next::next(calendar, &mut Clock::fixed(), skipped.start - 1);
        effects.skipped = inside.filter(|wall| skipped.contains(wall)).map(Skipped::NoSuchTime);
    }
    Some(from)
}

/// The last fire time before a changeover at which the wall shows `wall`, and what it shows then.
fn last_fire(calendar: &Calendar, clock: &mut Clock<'_>, before: Stretch, wall: i64) -> Option<(i64, i64)> {
    let mut wall = next::last_before(calendar, wall)?;
    if wall - before.offset >= before.start {
        return Some((wall - before.offset, wall));
    }
    loop {
        let instant = clock.instant(wall)?;
        // Else an earlier changeover skipped it.
        if clock.wall(instant)? == wall {
            return Some((instant, wall));
        }
        wall = next::last_before(calendar, wall)?;
    }
}

/// Notes a wall-clock time that is passed over.
fn missed(calendar: &Calendar, clock: &mut Clock<'_>, from: i64, fired: i64, effects: &mut Effects) {
    if effects.skipped.is_none()
        && let Some(expected) = next::next(calendar, &mut Clock::fixed(), from - 1)
        && expected < fired
    {
        let exists = clock.instant(expected).and_then(|instant| clock.wall(instant)) == Some(expected);
        effects.skipped = Some(if exists { Skipped::PassedOver(expected) } else { Skipped::NoSuchTime(expected) });
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{super::Schedule, *};

    /// The shortest and longest of all gaps over changeovers, fire time by fire time from some days before the first.
    fn counted(schedule: &Schedule, zone: &TimeZone, ahead: &[Stretch], days: i64) -> Option<(i64, i64)> {
        let changeovers: Vec<(i64, i64)> = ahead
            .iter()
            .zip(ahead.iter().skip(1))
            .filter(|(before, after)| before.offset != after.offset)
            .map(|(before, after)| (after.start, after.start + (before.offset - after.offset).max(0)))
            .collect();
        let (first, last) = (changeovers.first()?.0, changeovers.last()?.1);
        let start = Timestamp::from_second(first - days * 86_400).unwrap();
        let (mut previous, mut lengths) = (None, Vec::new());
        for time in schedule.fire_times(start, zone).map(Timestamp::as_second) {
            let previous = previous.replace(time);
            let crosses = |from: i64| changeovers.iter().any(|(at, settled)| time >= *at && from < *settled);
            lengths.extend(previous.filter(|from| crosses(*from)).map(|from| time - from));
            if time >= last {
                break;
            }
        }
        Some((*lengths.iter().min()?, *lengths.iter().max()?))
    }

    #[test]
    fn gaps_over_changeovers_as_counted_one_by_one() {
        const SIX_YEARS: i64 = 6 * 366;
        for zone in ["Europe/Rome", "Australia/Sydney", "Australia/Lord_Howe", "Africa/Cairo", "America/Havana"] {
            let zone = TimeZone::parse(zone).unwrap();
            for (text, days) in [
                ("0 0 1 1 *", SIX_YEARS),
                ("0 0 1 7 *", SIX_YEARS),
                ("0 0 29 2 *", SIX_YEARS),
                ("30 2 29 3 *", SIX_YEARS),
                ("30 2 25 10 *", SIX_YEARS),
                ("0 4 1,15 6,12 *", SIX_YEARS),
                ("0 0 1 1,7 *", SIX_YEARS),
                ("0 5 * * *", 9),
                ("30 2 * * *", 9),
                ("0 12 * * 5", 20),
                ("30 2 * * 0", 20),
                ("0 0 * * 5", 20),
                ("*/30 1-3 * * 0,1", 20),
                ("0 * * * *", 2),
            ] {
                let schedule = Schedule::parse(text).unwrap();
                let super::super::Spec::Calendar(calendar) = schedule.spec else { panic!() };
                for year in [2015, 2021, 2024, 2026] {
                    let now = (year - 1970) * 31_556_952;
                    let ahead = ahead(&zone, now);
                    let found = effects(&calendar, &zone, &ahead);
                    let length = |crossing: Option<Crossing>| crossing.map(|crossing| crossing.gap.length());
                    let found = length(found.shortest).zip(length(found.longest));
                    assert_eq!(found, counted(&schedule, &zone, &ahead, days), "{text} {zone} {year}");
                }
            }
        }
    }

    #[test]
    fn a_run_rarer_than_changeovers_is_not_missed_at_each() {
        let rome = TimeZone::parse("Europe/Rome").unwrap();
        for (text, expected) in [
            ("0 0 1 1 *", None),
            ("0 0 1 7 *", None),
            ("0 0 29 2 *", None),
            // 29 March 2026, 02:30.
            ("30 2 29 3 *", Some(Skipped::NoSuchTime(1_774_751_400))),
        ] {
            let super::super::Spec::Calendar(calendar) = Schedule::parse(text).unwrap().spec else { panic!() };
            // 1 June 2025.
            let effects = effects(&calendar, &rome, &ahead(&rome, 1_748_736_000));
            assert_eq!((effects.skipped, effects.repeated), (expected, None), "{text}");
        }
    }
}
