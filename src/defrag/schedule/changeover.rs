//! What a zone's changeovers do to a schedule: fire times that do not exist, that happen twice, and the gaps around.
//!
//! Between changeovers a schedule runs as on any wall clock. So it is enough to follow it from the last fire time before
//! each changeover until the clock has left the hours that were skipped or repeated.

use super::{
    calendar::{Calendar, bits},
    gaps::Gap,
    next,
    zone::{Clock, Stretch, TimeZone, stretches},
};

/// How far ahead changeovers are looked at, in seconds: five years, as far as the controller itself searches. The rules of a
/// zone seldom live longer, and whoever judges again later sees further.
const HORIZON: i64 = 1_827 * 86_400;

/// The most changeovers that are looked at: two a year, and four where Ramadan suspends summer time.
const MOST: usize = 24;

/// Fire times that are followed around one changeover, more than minutes in the largest one (24 hours).
const MOST_FIRES: usize = 1_600;

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
    for (before, after) in ahead.iter().zip(ahead.iter().skip(1)) {
        if before.offset != after.offset {
            follow(calendar, &mut clock, (after.start, before.offset, after.offset), &mut effects);
        }
    }
    effects
}

/// Follows the fire times over one changeover: its instant, and the offsets before and after.
fn follow(calendar: &Calendar, clock: &mut Clock<'_>, (at, before, after): (i64, i64, i64), effects: &mut Effects) {
    let Some(last) = next::last_before(calendar, at + before) else { return };
    // A schedule of every hour loses and repeats runs at each changeover without a change in its pace.
    let paced = calendar.hour == bits(0, 23);
    let settled = at + (before - after).max(0);
    let (mut from, mut expected_from) = (last - before, at + after);
    for _ in 0..MOST_FIRES {
        let Some(to) = next::next(calendar, clock, from) else { return };
        let wall = |instant: i64| instant + if instant < at { before } else { after };
        effects.add(Crossing { gap: Gap { from, to }, on_the_wall: wall(to) - wall(from) });
        if !paced {
            missed(calendar, expected_from, wall(to), effects);
            // What fires now fired already when the clock showed this time before the changeover.
            if to >= at && wall(to) < at + before && effects.repeated.is_none() {
                effects.repeated = Some(wall(to));
            }
        }
        expected_from = wall(to) + 60;
        from = to;
        if to >= settled {
            break;
        }
    }
    if !paced && after > before && effects.skipped.is_none() {
        let inside = next::next(calendar, &mut Clock::fixed(), at + before - 1);
        effects.skipped = inside.filter(|wall| *wall < at + after).map(Skipped::NoSuchTime);
    }
}

/// Notes a wall-clock time that exists and is passed over.
fn missed(calendar: &Calendar, from: i64, fired: i64, effects: &mut Effects) {
    if effects.skipped.is_none()
        && let Some(expected) = next::next(calendar, &mut Clock::fixed(), from - 1)
        && expected < fired
    {
        effects.skipped = Some(Skipped::PassedOver(expected));
    }
}
