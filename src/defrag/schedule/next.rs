//! The next fire time, step for step as robfig/cron v3's `SpecSchedule.Next` finds it: its answers around changeovers
//! depend on the way it takes, so the way is kept. Only stretches in which every step is plain are jumped over.

use jiff::{Timestamp, civil::Date};

use super::{
    calendar::{Calendar, above, bits, last},
    zone::{Clock, DAY, HOUR, MINUTE, Reading, civil, seconds},
};

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
    let now = clock.read(at)?;
    let last_year = now.date.year().checked_add(SEARCH_YEARS)?;
    if let Some(soon) = within_the_hour(calendar, clock, at, now) {
        return Some(soon);
    }
    let mut search = Search { calendar, clock, at, now, aligned: false, steps: STEPS };
    loop {
        if search.now.date.year() > last_year {
            return None;
        }
        if search.month()? && search.day()? && search.hour()? && search.minute()? && search.second()? {
            return Some(search.at);
        }
    }
}

/// The first fire time from `at` on in the same hour, where no step of the search would leave it.
fn within_the_hour(calendar: &Calendar, clock: &Clock<'_>, at: i64, now: Reading) -> Option<i64> {
    let second = now.second();
    let day = calendar.has_month(now.date.month()) && calendar.days_around(now.date) >> now.day() & 1 == 1;
    // Some offsets of old have seconds.
    if !day || !calendar.has_hour(now.hour()) || at.rem_euclid(MINUTE) != second {
        return None;
    }
    if second == 0 && calendar.has_minute(now.minute()) {
        return Some(at);
    }
    let minutes = above(calendar.minute, now.minute())? - now.minute();
    let start = at - second;
    (minutes * MINUTE <= clock.steady(start)).then_some(start + minutes * MINUTE)
}

/// A search under way. Each field's method moves on to a time at which that field matches, and says `false` where it came
/// to the end of the next larger unit, so that the search has to begin again from the month.
struct Search<'c, 'z> {
    calendar: &'c Calendar,
    clock: &'c mut Clock<'z>,
    at: i64,
    /// What the wall shows then.
    now: Reading,
    /// Whether the smaller fields were set to their beginnings, which happens once in a search.
    aligned: bool,
    steps: u32,
}

impl Search<'_, '_> {
    fn go(&mut self, at: i64) -> Option<()> {
        self.at = at;
        self.now = self.clock.read(at)?;
        Some(())
    }

    fn count(&mut self) -> Option<()> {
        self.steps = self.steps.checked_sub(1)?;
        Some(())
    }

    /// Sets the wall clock; the first time only.
    fn align(&mut self, wall: i64) -> Option<()> {
        if self.aligned {
            return Some(());
        }
        self.aligned = true;
        self.go(self.clock.instant(wall)?)
    }

    fn month(&mut self) -> Option<bool> {
        while !self.calendar.has_month(self.now.date.month()) {
            self.count()?;
            self.align(self.now.midnight() - (self.now.day() - 1) * DAY)?;
            // A day that the next month does not have counts on into the one after.
            let length = i64::from(self.now.date.days_in_month());
            self.go(self.clock.instant(self.now.wall + length * DAY)?)?;
            if self.now.date.month() == 1 {
                return Some(false);
            }
        }
        Some(true)
    }

    fn day(&mut self) -> Option<bool> {
        while self.calendar.days_around(self.now.date) >> self.now.day() & 1 == 0 {
            self.count()?;
            self.align(self.now.midnight())?;
            let end = i64::from(self.now.date.days_in_month()) + 1;
            let until = above(self.calendar.days_around(self.now.date), self.now.day()).unwrap_or(end);
            let days = (until - self.now.day()).min(self.clock.settled(self.at) / DAY);
            if self.now.of_day == 0 && days > 0 {
                self.go(self.at + days * DAY)?;
            } else {
                self.go(self.clock.instant(self.now.wall + DAY)?)?;
                match self.now.hour() {
                    0 => {}
                    late @ 13.. => self.go(self.at + (24 - late) * HOUR)?,
                    early => self.go(self.at - early * HOUR)?,
                }
            }
            if self.now.day() == 1 {
                return Some(false);
            }
        }
        Some(true)
    }

    fn hour(&mut self) -> Option<bool> {
        while !self.calendar.has_hour(self.now.hour()) {
            self.count()?;
            self.align(self.now.wall - self.now.of_day % HOUR)?;
            let hour = self.now.hour();
            self.advance(above(self.calendar.hour, hour).unwrap_or(24) - hour, HOUR)?;
            if self.now.hour() == 0 {
                return Some(false);
            }
        }
        Some(true)
    }

    fn minute(&mut self) -> Option<bool> {
        while !self.calendar.has_minute(self.now.minute()) {
            self.count()?;
            if !self.aligned {
                self.aligned = true;
                self.go(self.at - self.at.rem_euclid(MINUTE))?;
            }
            let minute = self.now.minute();
            self.advance(above(self.calendar.minute, minute).unwrap_or(60) - minute, MINUTE)?;
            if self.now.minute() == 0 {
                return Some(false);
            }
        }
        Some(true)
    }

    fn second(&mut self) -> Option<bool> {
        while self.now.second() != 0 {
            self.count()?;
            self.aligned = true;
            self.advance(60 - self.now.second(), 1)?;
            if self.now.second() == 0 {
                return Some(false);
            }
        }
        Some(true)
    }

    /// As many steps as stay at one offset, else one.
    fn advance(&mut self, steps: i64, unit: i64) -> Option<()> {
        let steps = steps.min(self.clock.steady(self.at) / unit).max(1);
        self.go(self.at + steps * unit)
    }
}

/// The last matching wall-clock time before `wall`, both in seconds; none within nine years.
pub(super) fn last_before(calendar: &Calendar, wall: i64) -> Option<i64> {
    if calendar.is_empty() {
        return None;
    }
    let before = wall.checked_sub(1)?;
    let today = civil(before)?.date();
    let (mut year, mut month) = (today.year(), today.month());
    // In the month of `wall` only the days up to its own count.
    let mut days = calendar.days_of(today) & bits(0, today.day().unsigned_abs().into());
    for _ in 0..9 * 12 {
        while days != 0 {
            let day = last(days);
            days &= !(1 << day);
            let date = Date::new(year, month, i8::try_from(day).ok()?).ok()?;
            let limit = if date == today { before.rem_euclid(DAY) } else { DAY - 1 };
            if let Some(of_day) = last_time(calendar, limit) {
                return Some(seconds(date.at(0, 0, 0, 0))? + of_day);
            }
        }
        (year, month) = if month == 1 { (year.checked_sub(1)?, 12) } else { (year, month - 1) };
        days = calendar.days_of(Date::new(year, month, 1).ok()?);
    }
    None
}

/// The last matching time of a day up to `limit`, both in seconds since midnight.
fn last_time(calendar: &Calendar, limit: i64) -> Option<i64> {
    let upto = |set: u64, value: i64| -> Option<i64> {
        let rest = set & bits(0, u64::try_from(value).ok()?);
        (rest != 0).then(|| last(rest))
    };
    let hour = limit / HOUR;
    if calendar.has_hour(hour)
        && let Some(minute) = upto(calendar.minute, limit % HOUR / MINUTE)
    {
        return Some(hour * HOUR + minute * MINUTE);
    }
    Some(upto(calendar.hour, hour - 1)? * HOUR + upto(calendar.minute, 59)? * MINUTE)
}

/// Unix seconds, rounded down as Go does before 1970.
pub(super) fn whole_seconds(at: Timestamp) -> i64 {
    at.as_second() - i64::from(at.subsec_nanosecond() < 0)
}
