//! The hours in which a policy allows runs to start.

use super::calendar::{Calendar, bits, values};

/// A set of weekdays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weekdays(u8);

impl Weekdays {
    /// Every day.
    pub const ALL: Self = Self(0x7f);

    /// These days, Sunday as 0; other numbers do not count.
    #[must_use]
    pub fn of(days: &[u8]) -> Self {
        Self(days.iter().filter(|day| **day < 7).fold(0, |set, day| set | 1 << day))
    }

    const fn contains(self, day: u32) -> bool {
        self.0 >> (day % 7) & 1 == 1
    }
}

/// A stretch of the day in which runs may start, in the schedule's own time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The days on which it begins.
    pub days: Weekdays,
    /// Minutes after midnight at which it begins, at most 1439.
    pub from: u16,
    /// Minutes after midnight at which it is over. Not after `from` means on the next day.
    pub to: u16,
}

impl Window {
    fn covers(self, weekday: u32, minute: u16) -> bool {
        if self.from < self.to {
            return self.days.contains(weekday) && (self.from..self.to).contains(&minute);
        }
        let yesterday = (weekday + 6) % 7;
        self.days.contains(weekday) && minute >= self.from || self.days.contains(yesterday) && minute < self.to
    }
}

/// A weekday (Sunday as 0) and minute of the day at which the schedule can fire outside all windows.
pub(super) fn outside(calendar: &Calendar, windows: &[Window]) -> Option<(u32, u16)> {
    // A day of the month falls on each weekday in some year.
    let weekdays = if calendar.is_weekly() { calendar.day_of_week } else { bits(0, 6) };
    values(weekdays).find_map(|weekday| {
        values(calendar.hour).find_map(|hour| {
            values(calendar.minute).find_map(|minute| {
                let of_day = u16::try_from(hour * 60 + minute).ok()?;
                let covered = windows.iter().any(|window| window.covers(weekday, of_day));
                (!covered).then_some((weekday, of_day))
            })
        })
    })
}
