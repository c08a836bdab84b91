//! The hours in which a policy allows runs to start.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    calendar::{Calendar, bits, values},
    describe::WEEKDAYS,
    zone::TimeZone,
};

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

/// A part of the day in which runs may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The days on which it begins.
    pub days: Weekdays,
    /// Minutes after midnight at which it begins, at most 1439.
    pub from: u16,
    /// Minutes after midnight at which it is over, at most 1440. Not after `from` means on the next day.
    pub to: u16,
    /// The zone of `from` and `to`; without one, that of the schedule.
    pub zone: Option<TimeZone>,
}

impl Window {
    fn covers(&self, weekday: u32, minute: u16) -> bool {
        if self.from < self.to {
            return self.days.contains(weekday) && (self.from..self.to).contains(&minute);
        }
        let yesterday = (weekday + 6) % 7;
        self.days.contains(weekday) && minute >= self.from || self.days.contains(yesterday) && minute < self.to
    }

    /// The days on which it is open, Sunday as 0: on which it begins, and on which it goes on where it ends on the next day.
    pub(super) fn weekdays(&self) -> [Vec<u32>; 2] {
        let begins = |day: &u32| self.days.contains(*day);
        let goes_on = |day: &u32| self.to <= self.from && self.days.contains((day + 6) % 7);
        [(0..7).filter(begins).collect(), (0..7).filter(goes_on).collect()]
    }

    /// The window in words, such as `Monday and Friday 22:00 to 04:00 in Europe/Rome`.
    pub(super) fn describe(&self) -> String {
        let days: Vec<&str> = WEEKDAYS
            .iter()
            .zip(0..)
            .filter(|(_, day)| self.days != Weekdays::ALL && self.days.contains(*day))
            .map(|(name, _)| *name)
            .collect();
        let days = if days.is_empty() { String::new() } else { format!("{} ", days.join(", ")) };
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let zone = self.zone.as_ref().map_or_else(String::new, |zone| format!(" in {zone}"));
        format!("{days}{} to {}{zone}", clock(self.from), clock(self.to))
    }
}

/// Whether one of `windows` is open at `now`; `zone` is that of windows without one of their own.
#[must_use]
pub fn any_open(windows: &[Window], zone: &TimeZone, now: Timestamp) -> bool {
    windows.iter().any(|window| {
        let local = window.zone.as_ref().unwrap_or(zone).rules().to_datetime(now);
        let weekday = u32::try_from(local.weekday().to_sunday_zero_offset()).unwrap_or(0);
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(0);
        window.covers(weekday, minute)
    })
}

/// A weekday (Sunday as 0) and a minute of the day.
pub(super) type Wall = (u32, u16);

/// When windows are open, by the clock of a schedule.
pub(super) struct Openings<'a> {
    windows: &'a [Window],
    shifts: BTreeMap<Vec<i32>, u64>,
}

impl<'a> Openings<'a> {
    /// Those of `windows` in `zone`.
    ///
    /// Where a window has a zone of its own, both zones' offsets from `now` on for [`YEARS`] are compared, month by month: a
    /// schedule has to keep to the windows at each difference that holds in a month in which it fires.
    pub(super) fn of(zone: &TimeZone, windows: &'a [Window], now: Timestamp) -> Self {
        let zones: Vec<&TimeZone> = windows.iter().map(|window| window.zone.as_ref().unwrap_or(zone)).collect();
        Self { windows, shifts: shifts(zone, &zones, now) }
    }

    /// The times of the day at which windows begin, by the clock of the schedule, in minutes after midnight.
    pub(super) fn begins(&self) -> BTreeSet<u32> {
        const DAY: i32 = 24 * 60;
        let all = self.shifts.keys().flat_map(|shifts| self.windows.iter().zip(shifts));
        let begins = all.map(|(window, ahead)| (i32::from(window.from) - ahead).rem_euclid(DAY));
        begins.filter_map(|minute| u32::try_from(minute).ok()).collect()
    }

    /// When the schedule can fire outside all windows, by its own clock.
    pub(super) fn outside(&self, calendar: &Calendar) -> Option<Wall> {
        // A day of the month falls on each weekday in some year.
        let weekdays = if calendar.is_weekly() { calendar.day_of_week } else { bits(0, 6) };
        values(weekdays).find_map(|weekday| {
            values(calendar.hour).find_map(|hour| {
                values(calendar.minute).find_map(|minute| {
                    let of_day = u16::try_from(hour * 60 + minute).ok()?;
                    let mut held = self.shifts.iter().filter(|(_, months)| *months & calendar.month != 0);
                    let covered = held.all(|(shifts, _)| {
                        self.windows.iter().zip(shifts).any(|(window, minutes)| {
                            let (weekday, minute) = shifted((weekday, of_day), *minutes);
                            window.covers(weekday, minute)
                        })
                    });
                    (!covered).then_some((weekday, of_day))
                })
            })
        })
    }
}

fn shifted((weekday, minute): Wall, by: i32) -> Wall {
    const WEEK: i32 = 7 * 24 * 60;
    let at = (i32::try_from(weekday).unwrap_or(0) * 24 * 60 + i32::from(minute) + by).rem_euclid(WEEK);
    (u32::try_from(at / (24 * 60)).unwrap_or(0), u16::try_from(at % (24 * 60)).unwrap_or(0))
}

/// By how many minutes the clock of each of `zones` is ahead of that of `zone`, with the months (bits, by the clock of
/// `zone`) in which that is so.
fn shifts(zone: &TimeZone, zones: &[&TimeZone], now: Timestamp) -> BTreeMap<Vec<i32>, u64> {
    const ALL_YEAR: u64 = 0x1ffe;
    if zones.iter().all(|other| *other == zone) {
        return BTreeMap::from([(vec![0; zones.len()], ALL_YEAR)]);
    }
    let offset = |zone: &TimeZone, at: Timestamp| zone.rules().to_offset(at).seconds();
    let mut shifts = BTreeMap::new();
    // Day by day, since offsets change on days that differ between zones; the day before a change and the day after it
    // are both looked at.
    for day in 0..YEARS * 366 {
        let Ok(at) = now.checked_add(SignedDuration::from_hours(24 * day)) else { break };
        let own = zone.rules().to_offset(at);
        let ahead = zones.iter().map(|other| (offset(other, at) - own.seconds()).div_euclid(60)).collect();
        *shifts.entry(ahead).or_insert(0) |= 1 << own.to_datetime(at).month();
    }
    shifts
}

/// How far ahead offsets are checked: the tz database changes, and a later assessment uses it.
const YEARS: i64 = 3;
