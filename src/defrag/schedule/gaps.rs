//! The exact shortest and longest time between consecutive fire times on a wall clock without changeovers.
//!
//! The days of a schedule depend only on months, days of the month and weekdays, which repeat after 400 years, and a
//! year is one of 14 kinds (leap or not, and the weekday of 1 January). So each kind is examined once, and 400 years
//! are composed of these kinds.

use jiff::civil::Date;

use super::{
    calendar::{Calendar, bits, last, values},
    zone::seconds,
};

const DAY: i64 = 86_400;

/// Years after which the calendar repeats.
const CYCLE: i16 = 400;

/// The longest that a day can be absent that exists at all: 29 February, across a year such as 2100.
const LONGEST_ABSENCE: i16 = 9;

const LENGTHS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Two consecutive fire times, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub from: i64,
    pub to: i64,
}

impl Gap {
    pub const fn length(self) -> i64 {
        self.to - self.from
    }

    const fn shifted(self, seconds: i64) -> Self {
        Self { from: self.from + seconds, to: self.to + seconds }
    }
}

/// The shortest and the longest gap, each where it is found first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gaps {
    pub shortest: Gap,
    pub longest: Gap,
}

impl Gaps {
    pub const fn add(&mut self, gap: Gap) {
        if gap.length() < self.shortest.length() {
            self.shortest = gap;
        }
        if gap.length() > self.longest.length() {
            self.longest = gap;
        }
    }

    const fn join(all: &mut Option<Self>, gap: Gap) {
        match all {
            Some(gaps) => gaps.add(gap),
            None => *all = Some(Self { shortest: gap, longest: gap }),
        }
    }

    fn join_all(all: &mut Option<Self>, more: Option<Self>, shift: i64) {
        if let Some(more) = more {
            Self::join(all, more.shortest.shifted(shift));
            Self::join(all, more.longest.shifted(shift));
        }
    }
}

/// The gaps on the wall clock in any stretch of 400 years, those of `year` first; none for a schedule that never fires.
pub(super) fn on_the_wall(calendar: &Calendar, year: i16) -> Option<Gaps> {
    if calendar.is_empty() {
        return None;
    }
    // The cycle is the same wherever it begins, so a year near the end of what can be written is as good as the first.
    let year = year.clamp(1, 9_000);
    let (days, first_day) = days(calendar, year)?;
    let (first, last) = calendar.ends_of_day();
    let mut gaps = None;
    Gaps::join_all(&mut gaps, within_a_day(calendar), first_day * DAY);
    let night = |gap: Gap| Gap { from: gap.from * DAY + last * 60, to: gap.to * DAY + first * 60 };
    Gaps::join(&mut gaps, night(days.shortest));
    Gaps::join(&mut gaps, night(days.longest));
    gaps
}

/// The gaps between the fire times of one day, counted from its midnight.
fn within_a_day(calendar: &Calendar) -> Option<Gaps> {
    let mut gaps = None;
    let first_hour = i64::from(calendar.hour.trailing_zeros()) * 3_600;
    pairs(calendar.minute, |from, to| {
        Gaps::join(&mut gaps, Gap { from: first_hour + from * 60, to: first_hour + to * 60 });
    });
    let (first, last) = (i64::from(calendar.minute.trailing_zeros()), last(calendar.minute));
    pairs(calendar.hour, |from, to| {
        Gaps::join(&mut gaps, Gap { from: from * 3_600 + last * 60, to: to * 3_600 + first * 60 });
    });
    gaps
}

fn pairs(set: u64, mut take: impl FnMut(i64, i64)) {
    let mut previous = None;
    for value in values(set) {
        if let Some(previous) = previous {
            take(previous, i64::from(value));
        }
        previous = Some(i64::from(value));
    }
}

/// What one kind of year has: its first and last matching day and the gaps between, counted in days from 1 January.
#[derive(Clone, Copy)]
struct Year {
    ends: Option<(i64, i64)>,
    gaps: Option<Gaps>,
}

impl Year {
    fn new(calendar: &Calendar, leap: bool, mut weekday: u32) -> Self {
        let (mut first, mut previous, mut gaps) = (None, None, None);
        let mut before = 0_i64;
        for (month, length) in (1..).zip(LENGTHS) {
            let length = if month == 2 && leap { 29 } else { length };
            for day in values(calendar.days(month, weekday, length)) {
                let day = before + i64::from(day) - 1;
                if let Some(previous) = previous {
                    Gaps::join(&mut gaps, Gap { from: previous, to: day });
                }
                first.get_or_insert(day);
                previous = Some(day);
            }
            before += i64::from(length);
            weekday = (weekday + length) % 7;
        }
        Self { ends: first.zip(previous), gaps }
    }
}

/// The gaps between matching days, in days since 1970, and the first matching day.
fn days(calendar: &Calendar, start: i16) -> Option<(Gaps, i64)> {
    let new_year = Date::new(start, 1, 1).ok()?;
    let mut day = seconds(new_year.at(0, 0, 0, 0))? / DAY;
    if calendar.has_every_day() && calendar.month == bits(1, 12) {
        let gap = Gap { from: day, to: day + 1 };
        return Some((Gaps { shortest: gap, longest: gap }, day));
    }
    let mut weekday = u32::from(new_year.weekday().to_sunday_zero_offset().unsigned_abs());
    if calendar.is_weekly() && calendar.month == bits(1, 12) {
        return weekly(calendar.day_of_week, day - i64::from(weekday));
    }
    let mut kinds: [[Option<Year>; 7]; 2] = [[None; 7]; 2];
    let (mut gaps, mut first, mut previous) = (None, None, None);
    for year in start..start + CYCLE + LONGEST_ABSENCE {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let kind = kinds.get_mut(usize::from(leap))?.get_mut(usize::try_from(weekday).ok()?)?;
        let kind = kind.get_or_insert_with(|| Year::new(calendar, leap, weekday));
        if let Some((from, to)) = kind.ends {
            if let Some(previous) = previous {
                Gaps::join(&mut gaps, Gap { from: previous, to: day + from });
            }
            Gaps::join_all(&mut gaps, kind.gaps, day);
            first.get_or_insert(day + from);
            previous = Some(day + to);
        }
        day += if leap { 366 } else { 365 };
        weekday = (weekday + if leap { 2 } else { 1 }) % 7;
    }
    gaps.zip(first)
}

/// The gaps of a set of weekdays; `sunday` is the day number of some Sunday.
fn weekly(weekdays: u64, sunday: i64) -> Option<(Gaps, i64)> {
    let first = i64::from(weekdays.trailing_zeros());
    let mut gaps = None;
    pairs(weekdays | (1 << (first + 7)), |from, to| {
        Gaps::join(&mut gaps, Gap { from: sunday + from, to: sunday + to });
    });
    gaps.map(|gaps| (gaps, sunday + first))
}

#[cfg(test)]
mod tests {
    use super::{super::Schedule, *};

    /// Every fire time of 409 years, one after the other.
    fn counted(calendar: &Calendar) -> Option<(i64, i64)> {
        let mut date = Date::new(2000, 1, 1).unwrap();
        let (mut previous, mut shortest, mut longest) = (None, i64::MAX, 0);
        while date.year() < 2409 {
            if calendar.days_of(date) >> date.day() & 1 == 1 {
                for hour in values(calendar.hour) {
                    for minute in values(calendar.minute) {
                        let at =
                            seconds(date.at(0, 0, 0, 0)).unwrap() + i64::from(hour) * 3600 + i64::from(minute) * 60;
                        if let Some(previous) = previous.replace(at) {
                            shortest = shortest.min(at - previous);
                            longest = longest.max(at - previous);
                        }
                    }
                }
            }
            date = date.tomorrow().unwrap();
        }
        (longest > 0).then_some((shortest, longest))
    }

    #[test]
    fn as_counted_day_by_day() {
        for text in [
            "0 3 * * *",
            "*/25 5,9 * * 2",
            "0 0 29 2 *",
            "0 0 30 * *",
            "0 0 31 * *",
            "5 4 1 * 1",
            "0 0 1 1 *",
            "0 0 */2 * *",
            "0 0 * 2 6",
            "0 0 13 * 5",
            "59 23 31 12 0",
            "30 1,13 * 1,12 2,4",
            "0 0 31 2 *",
            "0 0 30 2 *",
            "0 0 29 2 1",
            "*/30 7,8,23 1 * 1-5",
            "0 0 31 4,6,9,11 *",
            "0 0 * * 0,3",
            "17 4 28-31 * *",
            "0 0 , * 1",
            "0 0 , 2 1",
        ] {
            let super::super::Spec::Calendar(calendar) = Schedule::parse(text).unwrap().spec else { panic!() };
            let ours = on_the_wall(&calendar, 2026).map(|gaps| (gaps.shortest.length(), gaps.longest.length()));
            assert_eq!(ours, counted(&calendar), "{text}");
        }
    }
}
