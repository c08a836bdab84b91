//! The next fire time, step for step as robfig/cron v3's `SpecSchedule.Next` finds it: its answers around changeovers
//! depend on the way it takes, so the way is kept. Only stretches in which every step is plain are jumped over.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
};

use super::{
    calendar::{Calendar, above, bits, last},
    zone::{Clock, civil, seconds},
};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The year in which the search gives up, counted from the year in which it begins.
const SEARCH_YEARS: i16 = 5;

/// More steps than any search takes that ends: five years of days, and a day of hours and minutes at each.
const STEPS: u32 = 20_000;

/// The first fire time after the instant `after` (Unix seconds, rounded down).
///
/// None if there is none before the end of the fifth year after, if the calendar ends before, or if the search would never
/// end (a calendar day that a zone skipped as a whole, as Samoa did in 2011, traps robfig's search for ever).
pub(super) fn next(calendar: &Calendar, clock: &mut Clock<'_>, after: i64) -> Option<i64> {
    if calendar.is_empty() {
        return None;
    }
    let at = after.checked_add(1)?;
    let last_year = clock.civil(at)?.year().checked_add(SEARCH_YEARS)?;
    let mut search = Search { calendar, clock, at, aligned: false, steps: STEPS };
    loop {
        if search.now()?.year() > last_year {
            return None;
        }
        if search.month()? && search.day()? && search.hour()? && search.minute()? && search.second()? {
            return Some(search.at);
        }
    }
}

/// A search under way. Each field's method moves on to a time at which that field matches, and says `false` where it came
/// to the end of the next larger unit, so that the search has to begin again from the month.
struct Search<'c, 'z> {
    calendar: &'c Calendar,
    clock: &'c mut Clock<'z>,
    at: i64,
    /// Whether the smaller fields were set to their beginnings, which happens once in a search.
    aligned: bool,
    steps: u32,
}

impl Search<'_, '_> {
    fn now(&mut self) -> Option<DateTime> {
        self.clock.civil(self.at)
    }

    fn count(&mut self) -> Option<()> {
        self.steps = self.steps.checked_sub(1)?;
        Some(())
    }

    /// Sets the wall clock; the first time only.
    fn align(&mut self, wall: DateTime) -> Option<()> {
        if !self.aligned {
            self.aligned = true;
            self.at = self.clock.instant(seconds(wall)?)?;
        }
        Some(())
    }

    fn month(&mut self) -> Option<bool> {
        loop {
            let now = self.now()?;
            if self.calendar.has_month(now.month()) {
                return Some(true);
            }
            self.count()?;
            self.align(now.date().first_of_month().at(0, 0, 0, 0))?;
            let now = self.now()?;
            let (year, month) =
                if now.month() == 12 { (now.year().checked_add(1)?, 1) } else { (now.year(), now.month() + 1) };
            // A day that the month does not have counts on into the next one.
            let days_on = i64::from(now.day() - 1) * DAY;
            let wall = seconds(Date::new(year, month, 1).ok()?.to_datetime(now.time()))? + days_on;
            self.at = self.clock.instant(wall)?;
            if self.now()?.month() == 1 {
                return Some(false);
            }
        }
    }

    fn day(&mut self) -> Option<bool> {
        loop {
            let now = self.now()?;
            if self.calendar.days_around(now.date()) >> now.day() & 1 == 1 {
                return Some(true);
            }
            self.count()?;
            self.align(now.date().at(0, 0, 0, 0))?;
            let now = self.now()?;
            let until = above(self.calendar.days_around(now.date()), now.day()).unwrap_or(now.days_in_month() + 1);
            let target = self.at + i64::from(until - now.day()) * DAY;
            if now.time() == Time::midnight() && self.clock.is_settled(self.at, target) {
                self.at = target;
            } else {
                let tomorrow = self.clock.wall(self.at)? + DAY;
                self.at = self.clock.instant(tomorrow)?;
                match i64::from(self.now()?.hour()) {
                    0 => {}
                    late @ 13.. => self.at += (24 - late) * HOUR,
                    early => self.at -= early * HOUR,
                }
            }
            if self.now()?.day() == 1 {
                return Some(false);
            }
        }
    }

    fn hour(&mut self) -> Option<bool> {
        loop {
            let now = self.now()?;
            if self.calendar.has_hour(now.hour()) {
                return Some(true);
            }
            self.count()?;
            self.align(now.date().at(now.hour(), 0, 0, 0))?;
            let hour = self.now()?.hour();
            let steps = i64::from(above(self.calendar.hour, hour).unwrap_or(24) - hour);
            self.advance(steps, HOUR);
            if self.now()?.hour() == 0 {
                return Some(false);
            }
        }
    }

    fn minute(&mut self) -> Option<bool> {
        loop {
            let now = self.now()?;
            if self.calendar.has_minute(now.minute()) {
                return Some(true);
            }
            self.count()?;
            if !self.aligned {
                self.aligned = true;
                self.at -= self.at.rem_euclid(MINUTE);
            }
            let minute = self.now()?.minute();
            let steps = i64::from(above(self.calendar.minute, minute).unwrap_or(60) - minute);
            self.advance(steps, MINUTE);
            if self.now()?.minute() == 0 {
                return Some(false);
            }
        }
    }

    fn second(&mut self) -> Option<bool> {
        loop {
            let second = i64::from(self.now()?.second());
            if second == 0 {
                return Some(true);
            }
            self.count()?;
            self.aligned = true;
            self.advance(60 - second, 1);
            if self.now()?.second() == 0 {
                return Some(false);
            }
        }
    }

    /// As many steps as stay at one offset, else one.
    fn advance(&mut self, steps: i64, unit: i64) {
        let target = self.at + steps * unit;
        self.at = if self.clock.is_constant(self.at, target) { target } else { self.at + unit };
    }
}

/// The last matching wall-clock time before `wall`, both in seconds; none within nine years.
pub(super) fn last_before(calendar: &Calendar, wall: i64) -> Option<i64> {
    if calendar.is_empty() {
        return None;
    }
    let now = civil(wall.checked_sub(1)?)?;
    let (mut year, mut month) = (now.year(), now.month());
    // In the month of `wall` only the days up to its own count.
    let mut days = calendar.days_of(now.date()) & bits(0, now.day().unsigned_abs().into());
    for _ in 0..9 * 12 {
        while days != 0 {
            let day = last(days);
            days &= !(1 << day);
            let date = Date::new(year, month, i8::try_from(day).ok()?).ok()?;
            let clock = if date == now.date() { (now.hour(), now.minute()) } else { (23, 59) };
            if let Some((hour, minute)) = last_time(calendar, clock) {
                return seconds(date.at(hour, minute, 0, 0));
            }
        }
        (year, month) = if month == 1 { (year.checked_sub(1)?, 12) } else { (year, month - 1) };
        days = calendar.days_of(Date::new(year, month, 1).ok()?);
    }
    None
}

/// The last matching hour and minute of a day up to `limit`.
fn last_time(calendar: &Calendar, limit: (i8, i8)) -> Option<(i8, i8)> {
    let upto = |set: u64, value: i8| -> Option<i8> {
        let rest = set & bits(0, u64::try_from(value).ok()?);
        if rest == 0 { None } else { i8::try_from(last(rest)).ok() }
    };
    if calendar.has_hour(limit.0)
        && let Some(minute) = upto(calendar.minute, limit.1)
    {
        return Some((limit.0, minute));
    }
    let hour = upto(calendar.hour, limit.0 - 1)?;
    Some((hour, upto(calendar.minute, 59)?))
}

/// Unix seconds, rounded down as Go does before 1970.
pub(super) fn whole_seconds(at: Timestamp) -> i64 {
    at.as_second() - i64::from(at.subsec_nanosecond() < 0)
}
