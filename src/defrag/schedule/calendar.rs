//! A parsed schedule as sets of bits, and its days.

use jiff::civil::Date;

/// The values of the five fields, bit n for value n.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Calendar {
    pub minute: u64,
    pub hour: u64,
    pub day_of_month: u64,
    pub month: u64,
    pub day_of_week: u64,
    /// Whether the field carries the star bit; if either does, a day has to match both day fields, else one.
    pub star_day_of_month: bool,
    pub star_day_of_week: bool,
}

/// The bits `low..=high`.
pub(super) const fn bits(low: u64, high: u64) -> u64 {
    if low > high || high > 63 {
        return 0;
    }
    (u64::MAX >> (63 - high)) & (u64::MAX << low)
}

/// The days of a week, seven bits, repeated over the 31 days of a month.
const WEEKS: u64 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28 | 1 << 35;

impl Calendar {
    /// The matching days of a month, bit n for day n. `first_weekday` is that of day 1, Sunday as 0.
    pub fn days(&self, month: u32, first_weekday: u32, length: u32) -> u64 {
        if self.month >> month & 1 == 0 {
            return 0;
        }
        self.any_days(first_weekday, length)
    }

    /// [`Calendar::days`] whatever the month.
    fn any_days(&self, first_weekday: u32, length: u32) -> u64 {
        let by_week = (self.day_of_week.wrapping_mul(WEEKS) >> first_weekday) << 1;
        let days = if self.needs_both() { self.day_of_month & by_week } else { self.day_of_month | by_week };
        days & bits(1, u64::from(length))
    }

    /// The days that match by the day fields alone in the month of this date.
    pub fn days_around(&self, date: Date) -> u64 {
        let weekday = date.first_of_month().weekday().to_sunday_zero_offset();
        self.any_days(weekday.unsigned_abs().into(), date.days_in_month().unsigned_abs().into())
    }

    /// The matching days in the month of this date.
    pub fn days_of(&self, date: Date) -> u64 {
        if self.has_month(date.month()) { self.days_around(date) } else { 0 }
    }

    pub fn has_month(&self, month: i8) -> bool {
        self.month >> month & 1 == 1
    }

    pub fn has_hour(&self, hour: i64) -> bool {
        self.hour >> hour & 1 == 1
    }

    pub fn has_minute(&self, minute: i64) -> bool {
        self.minute >> minute & 1 == 1
    }

    const fn needs_both(&self) -> bool {
        self.star_day_of_month || self.star_day_of_week
    }

    /// Whether every day of every matching month matches.
    pub const fn has_every_day(&self) -> bool {
        let (by_month, by_week) = (self.day_of_month == bits(1, 31), self.day_of_week == bits(0, 6));
        if self.needs_both() { by_month && by_week } else { by_month || by_week }
    }

    /// Whether only the day of week decides.
    pub const fn is_weekly(&self) -> bool {
        if self.needs_both() { self.day_of_month == bits(1, 31) } else { self.day_of_month == 0 }
    }

    /// Whether some field is an empty set.
    pub const fn is_empty(&self) -> bool {
        let no_day = if self.needs_both() {
            self.day_of_month == 0 || self.day_of_week == 0
        } else {
            self.day_of_month == 0 && self.day_of_week == 0
        };
        self.minute == 0 || self.hour == 0 || self.month == 0 || no_day
    }

    /// First and last minute of a matching day.
    pub const fn ends_of_day(&self) -> (i64, i64) {
        (
            self.hour.trailing_zeros() as i64 * 60 + self.minute.trailing_zeros() as i64,
            last(self.hour) * 60 + last(self.minute),
        )
    }
}

/// The highest bit of a set that is not empty.
pub(super) const fn last(set: u64) -> i64 {
    63 - set.leading_zeros() as i64
}

/// The lowest value above `value`, if the set has one.
pub(super) fn above(set: u64, value: i64) -> Option<i64> {
    let rest = set.checked_shr(u32::try_from(value).ok()? + 1).unwrap_or(0);
    (rest != 0).then(|| value + 1 + i64::from(rest.trailing_zeros()))
}

/// The values of a set, ascending.
pub(super) fn values(set: u64) -> impl Iterator<Item = u32> {
    let mut rest = set;
    std::iter::from_fn(move || {
        if rest == 0 {
            return None;
        }
        let value = rest.trailing_zeros();
        rest &= rest - 1;
        Some(value)
    })
}
