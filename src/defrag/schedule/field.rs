//! The five fields and what each may hold.

use std::fmt;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One of the five fields of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// 0–59.
    Minute,
    /// 0–23.
    Hour,
    /// 1–31.
    DayOfMonth,
    /// 1–12, or `jan`–`dec`.
    Month,
    /// 0–6 with Sunday as 0, or `sun`–`sat`.
    DayOfWeek,
}

impl Field {
    /// The fields in the order in which they are written.
    pub const ALL: [Self; 5] = [Self::Minute, Self::Hour, Self::DayOfMonth, Self::Month, Self::DayOfWeek];

    /// The smallest value.
    #[must_use]
    pub const fn min(self) -> u64 {
        match self {
            Self::Minute | Self::Hour | Self::DayOfWeek => 0,
            Self::DayOfMonth | Self::Month => 1,
        }
    }

    /// The largest value.
    #[must_use]
    pub const fn max(self) -> u64 {
        match self {
            Self::Minute => 59,
            Self::Hour => 23,
            Self::DayOfMonth => 31,
            Self::Month => 12,
            Self::DayOfWeek => 6,
        }
    }

    /// The lower-case names of the values from [`Field::min`] on; empty where only numbers are allowed.
    #[must_use]
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => &MONTHS,
            Self::DayOfWeek => &WEEKDAYS,
            _ => &[],
        }
    }

    /// The value of a name in any case.
    #[must_use]
    pub(super) fn named(self, text: &str) -> Option<u64> {
        let names = self.names();
        if names.is_empty() || text.len() > 4 {
            return None;
        }
        // U+0130 is the one other letter whose lower case, as Go maps it, is a letter of these names.
        let mut letters = text.chars().map(|c| if c == '\u{130}' { 'i' } else { c.to_ascii_lowercase() });
        let wanted = [letters.next()?, letters.next()?, letters.next()?];
        if letters.next().is_some() {
            return None;
        }
        let index = names.iter().position(|name| name.chars().eq(wanted))?;
        Some(self.min() + index as u64)
    }

    /// How many values there are.
    #[must_use]
    pub const fn width(self) -> u64 {
        self.max() - self.min() + 1
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        })
    }
}
