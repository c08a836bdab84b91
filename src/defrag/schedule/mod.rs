//! CronJob schedules: exactly the strings that Kubernetes accepts, exactly the instants at which they fire, and which of
//! them would harm an etcd.
//!
//! ```text
//! "H 3 * * 1-5" ── resolve_hash ──► "17 3 * * 1-5" ── Schedule::parse ──► Schedule ─┬─ next, fire_times
//!                                                                                   ├─ intervals
//!                                                                 judge = all of it ┴─ describe
//! ```
//!
//! Equality with the Go module that Kubernetes uses is proven by the differential test `tests/oracle_schedule.rs`. Why no
//! cron crate does the arithmetic: `docs/decisions/001-schedule-arithmetic.md`.

mod advice;
mod calendar;
mod case;
mod changeover;
mod describe;
mod error;
mod field;
mod gaps;
mod hash;
mod judge;
mod nearest;
mod next;
mod parse;
mod spec;
mod spread;
mod suggest;
mod unusual;
mod window;
mod zone;

use std::{str::FromStr, time::Duration};

use jiff::Timestamp;

pub use self::{
    case::{Place, ScheduleLimits},
    error::{Problem, ScheduleError},
    field::Field,
    hash::resolve_hash,
    judge::{Judged, Resolved, judge},
    spec::Schedule,
    window::{Weekdays, Window, any_open},
    zone::{TimeZone, TimeZoneError},
};
use self::{
    spec::{Spec, seconds},
    zone::Clock,
};

/// How far apart fire times are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// The least time between two consecutive fire times.
    pub shortest: Duration,
    /// The most.
    pub longest: Duration,
}

impl Schedule {
    /// Parses what Kubernetes accepts for a new CronJob: `ParseStandard` of robfig/cron v3, and no `TZ` anywhere. `H` is
    /// resolved beforehand ([`resolve_hash`]).
    ///
    /// # Errors
    ///
    /// Where Kubernetes refuses; the error says where, why and what to write instead.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        parse::parse(text).map_err(|error| error.with_suggestion(text))
    }

    /// The first fire time after `after`, as robfig/cron v3 finds it: in the hour that a changeover skips nothing fires,
    /// in the hour that it repeats everything fires twice, and the search ends with the fifth year after. `@every` counts
    /// from `after`.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.fire_times(after, zone).next()
    }

    /// The fire times after `after`, each found from the one before. Ends where [`Schedule::next`] finds none.
    #[must_use]
    pub fn fire_times<'z>(&self, after: Timestamp, zone: &'z TimeZone) -> FireTimes<'z> {
        FireTimes { spec: self.spec, clock: Clock::new(zone), last: next::whole_seconds(after) }
    }

    /// The exact shortest and longest time between consecutive fire times; none for a schedule that never fires.
    ///
    /// On the wall clock all 400 years of the calendar's cycle count, so a leap day is as much as 8 years from the next
    /// (the controller's own search gives up after five, and finds it when it looks again). The changeovers of `zone` in the
    /// five years from `now` count with what the tz database says about them: a gap over one is shorter or longer by
    /// the change, a time that is repeated is close to itself, and one that is skipped leaves a hole.
    #[must_use]
    pub fn intervals(&self, zone: &TimeZone, now: Timestamp) -> Option<Intervals> {
        let calendar = match &self.spec {
            Spec::Every(period) => {
                let period = seconds(*period);
                return Some(Intervals { shortest: period, longest: period });
            }
            Spec::Calendar(calendar) => calendar,
        };
        let wall = gaps::on_the_wall(calendar, year_of(now))?;
        let ahead = changeover::ahead(zone, next::whole_seconds(now));
        Some(Intervals::of(&wall, &changeover::effects(calendar, zone, &ahead)))
    }

    /// The schedule in a sentence, such as `At 09:14, Monday to Friday, Europe/Rome`. Without a zone the controller
    /// manager's is meant.
    #[must_use]
    pub fn describe(&self, zone: Option<&TimeZone>) -> String {
        describe::describe(&self.spec, zone)
    }
}

impl Intervals {
    fn of(wall: &gaps::Gaps, effects: &changeover::Effects) -> Self {
        let crossing = |crossing: Option<changeover::Crossing>| crossing.map(|crossing| crossing.gap.length());
        let shortest = crossing(effects.shortest).into_iter().fold(wall.shortest.length(), i64::min);
        let longest = crossing(effects.longest).into_iter().fold(wall.longest.length(), i64::max);
        Self { shortest: seconds(shortest), longest: seconds(longest) }
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        Self::parse(text)
    }
}

/// The fire times of a schedule, in order.
#[derive(Debug)]
pub struct FireTimes<'z> {
    spec: Spec,
    clock: Clock<'z>,
    last: i64,
}

impl Iterator for FireTimes<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        self.last = match &self.spec {
            Spec::Every(period) => self.last.checked_add(*period)?,
            Spec::Calendar(calendar) => next::next(calendar, &mut self.clock, self.last)?,
        };
        Timestamp::from_second(self.last).ok()
    }
}

fn year_of(now: Timestamp) -> i16 {
    jiff::tz::Offset::UTC.to_datetime(now).year()
}

#[cfg(test)]
mod tests;
