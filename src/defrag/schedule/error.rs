//! Why a text is not a valid schedule, in messages that say what to write instead.

use std::{fmt, ops::Range};

use super::field::Field;
use crate::defrag::{duration::DurationError, finding::quoted, keys::Key};

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// Nothing but white space.
    Empty,
    /// `TZ` somewhere in the text, with the zone where it is `TZ=` or `CRON_TZ=` in front.
    TimeZoneInside(Option<String>),
    /// Not five fields but this many.
    FieldCount(usize),
    /// An `@` word that is not one of the macros.
    UnknownMacro,
    /// `@every` with something that is no Go duration.
    EveryDuration(Box<DurationError>),
    /// Neither a number nor, where there are any, a name.
    NotAValue,
    /// A number is missing before or after `-` or `/`.
    Missing,
    /// A negative number.
    Negative,
    /// A value below the field's smallest.
    BelowMinimum(u64),
    /// A value above the field's largest.
    AboveMaximum(u64),
    /// A range whose end comes before its beginning.
    Backwards,
    /// A step of zero.
    StepZero,
    /// More than one hyphen in a range.
    TooManyHyphens,
    /// More than one slash in an item.
    TooManySlashes,
    /// `H` followed by something that is not `(a-b)`, `/n` or both.
    HashSyntax,
    /// `H/n` with an n larger than the number of values it steps over (the second number).
    HashStepBeyondRange(u64, u64),
}

/// A schedule that Kubernetes would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleError {
    /// What is wrong.
    pub problem: Problem,
    /// The field, where the problem is inside one.
    pub field: Option<Field>,
    /// Where the offending part begins, in characters, the first being 1.
    pub column: usize,
    /// How many characters the offending part has.
    pub length: usize,
    /// The offending part.
    pub found: String,
    /// The whole schedule, corrected, where a correction is clear; it resolves and parses.
    pub suggestion: Option<String>,
}

impl ScheduleError {
    /// The problem with the part of `text` at the bytes `range`.
    pub(super) fn new(text: &str, field: Option<Field>, range: Range<usize>, problem: Problem) -> Self {
        let found = text.get(range.clone()).unwrap_or_default();
        let before = text.get(..range.start).unwrap_or_default();
        Self {
            problem,
            field,
            column: before.chars().count() + 1,
            length: found.chars().count(),
            found: found.to_owned(),
            suggestion: None,
        }
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = quoted(&self.found);
        let allowed = Allowed(self.field);
        match &self.problem {
            Problem::Empty => {
                write!(f, "the schedule is empty; it needs minute, hour, day of month, month and day of week")
            }
            Problem::TimeZoneInside(zone) => {
                let annotation = Key::TimeZone.annotation();
                write!(
                    f,
                    "Kubernetes refuses \"TZ\" anywhere in a schedule; set the zone with the annotation {annotation}"
                )?;
                match zone {
                    Some(zone) => write!(f, ": {}", quoted(zone)),
                    None => f.write_str(" instead"),
                }
            }
            Problem::FieldCount(count) => {
                write!(
                    f,
                    "a schedule has exactly 5 fields (minute, hour, day of month, month, day of week), this has {count}"
                )?;
                if *count > 5 { write!(f, "; Kubernetes has neither seconds nor years") } else { Ok(()) }
            }
            Problem::UnknownMacro => write!(
                f,
                "{found} is not a macro; there are @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly and @every \
                 <duration>, all in lower case and with nothing around them"
            ),
            Problem::EveryDuration(error) => write!(f, "@every needs a duration as Go writes it: {error}"),
            Problem::NotAValue => write!(f, "{found} is not {allowed}"),
            Problem::Missing => write!(f, "{found} lacks a number before or after its \"-\" or \"/\""),
            Problem::Negative => write!(f, "{found} is negative, and no number of a schedule is"),
            Problem::BelowMinimum(_) => write!(f, "{found} is too small: it has to be {allowed}"),
            Problem::AboveMaximum(_) => write!(f, "{found} is too large: it has to be {allowed}"),
            Problem::Backwards => write!(f, "the range {found} ends before it begins, and ranges do not wrap around"),
            Problem::StepZero => write!(f, "a step of 0 goes nowhere; it has to be at least 1"),
            Problem::TooManyHyphens => write!(f, "{found} has more than one hyphen; a range is two values"),
            Problem::TooManySlashes => write!(f, "{found} has more than one slash; a range has one step"),
            Problem::HashSyntax => write!(f, "{found} is not one of the forms H, H(a-b), H/n and H(a-b)/n"),
            Problem::HashStepBeyondRange(step, width) => {
                write!(f, "{found} steps by {step} through only {width} values, which cannot be every {step}")
            }
        }
    }
}

/// What a field allows, for a sentence.
struct Allowed(Option<Field>);

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(field) = self.0 else { return f.write_str("a number") };
        write!(f, "a number from {} to {}", field.min(), field.max())?;
        if let [first, .., last] = field.names() { write!(f, " or a name from {first} to {last}") } else { Ok(()) }
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = self.field {
            write!(f, "{field}, ")?;
        }
        write!(f, "column {}: ", self.column)?;
        self.describe(f)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, ". Write {}", quoted(suggestion)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ScheduleError {}
