//! The grammar, as robfig/cron v3's `ParseStandard` has it and as Kubernetes calls it.

use std::ops::Range;

use super::{
    calendar::{Calendar, bits},
    error::{Problem, ScheduleError},
    field::Field,
    spec::{Schedule, Spec, WideStep},
};
use crate::defrag::duration;

/// A field or a part of one, with its place in the whole text in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'t> {
    pub text: &'t str,
    pub start: usize,
}

impl Token<'_> {
    pub fn range(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// The text up to the first `separator` and, where there is one, what follows it.
    pub fn split_once(self, separator: char) -> (Self, Option<Self>) {
        match self.text.split_once(separator) {
            None => (self, None),
            Some((head, tail)) => (
                Self { text: head, start: self.start },
                Some(Self { text: tail, start: self.start + head.len() + separator.len_utf8() }),
            ),
        }
    }

    /// The items of a list; empty ones do not count.
    pub fn items(self) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        std::iter::from_fn(move || {
            loop {
                let (item, tail) = rest?.split_once(',');
                rest = tail;
                if !item.text.is_empty() {
                    return Some(item);
                }
            }
        })
    }
}

/// The white-space separated parts of a text.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = text.get(from..)?;
        let start = from + rest.find(|c: char| !c.is_whitespace())?;
        let rest = text.get(start..)?;
        let length = rest.find(char::is_whitespace).unwrap_or(rest.len());
        from = start + length;
        Some(Token { text: rest.get(..length)?, start })
    })
}

/// The five fields of a text.
pub(super) fn fields(text: &str) -> Result<[Token<'_>; 5], ScheduleError> {
    let mut all = tokens(text);
    let mut found = [Token { text: "", start: 0 }; 5];
    for (count, slot) in found.iter_mut().enumerate() {
        match all.next() {
            Some(token) => *slot = token,
            None if count == 0 => return Err(ScheduleError::new(text, None, 0..text.len(), Problem::Empty)),
            None => return Err(ScheduleError::new(text, None, 0..text.len(), Problem::FieldCount(count))),
        }
    }
    match all.next() {
        None => Ok(found),
        Some(extra) => {
            let count = 6 + all.count();
            Err(ScheduleError::new(text, None, extra.range(), Problem::FieldCount(count)))
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Schedule, ScheduleError> {
    if let Some(at) = text.find("TZ") {
        let prefixed = text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ="));
        let zone = prefixed.and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
        return Err(ScheduleError::new(text, None, at..at + 2, Problem::TimeZoneInside(zone)));
    }
    if text.starts_with('@') {
        return parse_macro(text);
    }
    let fields = fields(text)?;
    let mut wide_step = None;
    let mut sets = [(0, false); 5];
    for ((field, token), set) in Field::ALL.into_iter().zip(fields).zip(&mut sets) {
        for item in token.items() {
            let (values, star) = parse_item(text, field, item, &mut wide_step)?;
            set.0 |= values;
            set.1 |= star;
        }
    }
    let [(minute, _), (hour, _), (day_of_month, star_day_of_month), (month, _), (day_of_week, star_day_of_week)] = sets;
    let calendar = Calendar { minute, hour, day_of_month, month, day_of_week, star_day_of_month, star_day_of_week };
    Ok(Schedule { spec: Spec::Calendar(calendar), wide_step })
}

/// One item of a list: its values, and whether it carries the star bit.
fn parse_item(
    text: &str,
    field: Field,
    item: Token<'_>,
    wide_step: &mut Option<WideStep>,
) -> Result<(u64, bool), ScheduleError> {
    let fail = |token: Token<'_>, problem| Err(ScheduleError::new(text, Some(field), token.range(), problem));
    let (base, step) = item.split_once('/');
    let (first, second) = base.split_once('-');
    let mut star = first.text == "*" || first.text == "?";
    let (low, mut high) = if star {
        (field.min(), field.max())
    } else {
        let low = value(text, field, first)?;
        match second {
            None => (low, low),
            Some(second) if second.text.contains('-') => return fail(item, Problem::TooManyHyphens),
            Some(second) => (low, value(text, field, second)?),
        }
    };
    let step = match step {
        None => 1,
        Some(step) if step.text.contains('/') => return fail(item, Problem::TooManySlashes),
        Some(token) => {
            let step = number(text, field, token)?;
            if second.is_none() {
                high = field.max();
            }
            star &= step <= 1;
            if step == 0 {
                return fail(token, Problem::StepZero);
            }
            step
        }
    };
    if low < field.min() {
        return fail(first, Problem::BelowMinimum(low));
    }
    if high > field.max() {
        let token = if low > field.max() { first } else { second.unwrap_or(first) };
        return fail(token, Problem::AboveMaximum(high));
    }
    if low > high {
        let problem = if low > field.max() { Problem::AboveMaximum(low) } else { Problem::Backwards };
        return fail(base, problem);
    }
    let width = high - low + 1;
    if step > 1 && step >= width && wide_step.is_none() {
        *wide_step = Some(WideStep { field, item: item.range(), step, width, value: low });
    }
    Ok((stepped(low, high, step), star))
}

/// Every `step`-th value of `low..=high`.
pub(super) fn stepped(low: u64, high: u64, step: u64) -> u64 {
    if step == 1 {
        return bits(low, high);
    }
    let (mut set, mut value) = (0, low);
    while value <= high {
        set |= 1 << value;
        value = value.saturating_add(step);
    }
    set
}

/// A value as a name or a number; the bounds are checked by the caller.
pub(super) fn value(text: &str, field: Field, token: Token<'_>) -> Result<u64, ScheduleError> {
    field.named(token.text).map_or_else(|| number(text, field, token), Ok)
}

fn number(text: &str, field: Field, token: Token<'_>) -> Result<u64, ScheduleError> {
    let problem = match token.text.parse::<i64>() {
        Ok(number) => match u64::try_from(number) {
            Ok(number) => return Ok(number),
            Err(_) => Problem::Negative,
        },
        Err(_) if token.text.is_empty() => Problem::Missing,
        Err(_) => Problem::NotAValue,
    };
    let range = if token.text.is_empty() { around(text, token) } else { token.range() };
    Err(ScheduleError::new(text, Some(field), range, problem))
}

/// The item around a part that is missing, so that a message has something to show.
fn around(text: &str, token: Token<'_>) -> Range<usize> {
    let separates = |c: char| c == ',' || c.is_whitespace();
    let before = text.get(..token.start).unwrap_or_default();
    let after = text.get(token.start..).unwrap_or_default();
    let start = before
        .rfind(separates)
        .map_or(0, |at| at + before.get(at..).and_then(|s| s.chars().next()).map_or(1, char::len_utf8));
    let end = token.start + after.find(separates).unwrap_or(after.len());
    start..end
}

const EVERY: &str = "@every ";

fn parse_macro(text: &str) -> Result<Schedule, ScheduleError> {
    let every_day = Calendar {
        minute: 1,
        hour: 1,
        day_of_month: bits(1, 31),
        month: bits(1, 12),
        day_of_week: bits(0, 6),
        star_day_of_month: true,
        star_day_of_week: true,
    };
    let calendar = match text {
        "@yearly" | "@annually" => {
            Calendar { day_of_month: 1 << 1, month: 1 << 1, star_day_of_month: false, ..every_day }
        }
        "@monthly" => Calendar { day_of_month: 1 << 1, star_day_of_month: false, ..every_day },
        "@weekly" => Calendar { day_of_week: 1, star_day_of_week: false, ..every_day },
        "@daily" | "@midnight" => every_day,
        "@hourly" => Calendar { hour: bits(0, 23), ..every_day },
        _ => {
            let Some(period) = text.strip_prefix(EVERY) else {
                return Err(ScheduleError::new(text, None, 0..text.len(), Problem::UnknownMacro));
            };
            return match duration::parse(period) {
                // Whatever is below a second counts as one; fractions of a second are dropped.
                Ok(nanos) => Ok(Schedule { spec: Spec::Every((nanos / duration::SECOND).max(1)), wide_step: None }),
                Err(error) => Err(ScheduleError::new(
                    text,
                    None,
                    EVERY.len()..text.len(),
                    Problem::EveryDuration(Box::new(error)),
                )),
            };
        }
    };
    Ok(Schedule { spec: Spec::Calendar(calendar), wide_step: None })
}
