//! Durations as Go writes them (`1m30s`), because the engine and Kubernetes read them that way.
//!
//! The syntax and every limit are those of `time.ParseDuration` and `Duration.String` in Go's standard library.

use std::{fmt::Write, time::Duration};

use thiserror::Error;

use super::finding::quoted;

/// Nanoseconds in a second.
pub const SECOND: i64 = 1_000_000_000;

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Spellings that people try, each with the factor and unit that Go has for it.
const FOREIGN_UNITS: [(&str, u64, &str); 19] = [
    ("d", 24, "h"),
    ("day", 24, "h"),
    ("days", 24, "h"),
    ("w", 168, "h"),
    ("week", 168, "h"),
    ("weeks", 168, "h"),
    ("hr", 1, "h"),
    ("hrs", 1, "h"),
    ("hour", 1, "h"),
    ("hours", 1, "h"),
    ("min", 1, "m"),
    ("mins", 1, "m"),
    ("minute", 1, "m"),
    ("minutes", 1, "m"),
    ("sec", 1, "s"),
    ("secs", 1, "s"),
    ("second", 1, "s"),
    ("seconds", 1, "s"),
    ("msec", 1, "ms"),
];

/// The largest magnitude that Go's arithmetic holds on the way; a positive result is one less.
const LIMIT: u64 = 1 << 63;

/// Why a text is no Go duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Neither number nor unit where one is needed.
    #[error("{} is not a duration: write a number and a unit, such as 30s, 1m30s or 2h", quoted(.0))]
    Malformed(String),
    /// A number without a unit.
    #[error("{} has a number without a unit: write for example {}", quoted(.0), quoted(.1))]
    MissingUnit(String, String),
    /// A unit that Go does not know; the last part is what to write, where that is clear.
    #[error("{} has the unit {}, which Go durations do not have (they have ns, us, ms, s, m, h){}", quoted(.0), quoted(.1), write_instead(.2.as_deref()))]
    UnknownUnit(String, String, Option<String>),
    /// More than about 292 years.
    #[error("{} does not fit a duration: the longest is 2562047h47m16.854775807s", quoted(.0))]
    Overflow(String),
    /// Negative where only zero and more make sense.
    #[error("{} is negative: write a duration of zero or more, such as 30s", quoted(.0))]
    Negative(String),
}

fn write_instead(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |text| format!(": write {}", quoted(text)))
}

impl DurationError {
    /// The corrected text, where it is clear; it parses.
    #[must_use]
    pub fn suggestion(&self) -> Option<&str> {
        match self {
            Self::MissingUnit(_, suggestion) => Some(suggestion),
            Self::UnknownUnit(_, _, suggestion) => suggestion.as_deref(),
            _ => None,
        }
    }
}

impl DurationError {
    /// The same error with its suggestion where that `fits`, else with this one, or with none.
    pub(crate) fn suggesting(self, fits: impl Fn(&str) -> bool, otherwise: &str) -> Self {
        match self {
            Self::MissingUnit(text, suggestion) if !fits(&suggestion) => Self::MissingUnit(text, otherwise.to_owned()),
            Self::UnknownUnit(text, unit, Some(suggestion)) if !fits(&suggestion) => {
                Self::UnknownUnit(text, unit, None)
            }
            error => error,
        }
    }
}

/// Parses what Go's `time.ParseDuration` parses, to nanoseconds.
///
/// # Errors
///
/// Exactly where Go returns an error. Go's one slip is kept: two parts of 2⁶³ ns each wrap to zero.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    nanoseconds(text).map_err(|fault| match fault {
        Fault::Malformed => DurationError::Malformed(text.to_owned()),
        Fault::MissingUnit => DurationError::MissingUnit(text.to_owned(), with_unit(text)),
        Fault::UnknownUnit(unit) => DurationError::UnknownUnit(text.to_owned(), unit.to_owned(), with_go_units(text)),
        Fault::Overflow => DurationError::Overflow(text.to_owned()),
    })
}

/// A [`DurationError`] without its suggestion, which itself has to be parsed.
enum Fault<'t> {
    Malformed,
    MissingUnit,
    UnknownUnit(&'t str),
    Overflow,
}

fn nanoseconds(text: &str) -> Result<i64, Fault<'_>> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(Fault::Malformed);
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole_digits, after) = digits(rest);
        let whole = leading_integer(whole_digits).ok_or(Fault::Overflow)?;
        let (fraction_digits, after) = match after.strip_prefix('.') {
            Some(after) => digits(after),
            None => ("", after),
        };
        if whole_digits.is_empty() && fraction_digits.is_empty() {
            return Err(Fault::Malformed);
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit_name, after) = after.split_at_checked(end).unwrap_or((after, ""));
        if unit_name.is_empty() {
            return Err(Fault::MissingUnit);
        }
        let Some(&(_, unit)) = UNITS.iter().find(|(name, _)| *name == unit_name) else {
            return Err(Fault::UnknownUnit(unit_name));
        };
        if whole > LIMIT / unit {
            return Err(Fault::Overflow);
        }
        let mut part = whole * unit;
        part = part.wrapping_add(fraction_of(fraction_digits, unit));
        if part > LIMIT {
            return Err(Fault::Overflow);
        }
        total = total.wrapping_add(part);
        if total > LIMIT {
            return Err(Fault::Overflow);
        }
        rest = after;
    }
    if negative {
        return Ok(0_i64.wrapping_sub_unsigned(total));
    }
    i64::try_from(total).map_err(|_| Fault::Overflow)
}

/// [`parse`] for settings in which a negative duration makes no sense.
///
/// # Errors
///
/// As [`parse`], and for a negative duration.
pub fn parse_unsigned(text: &str) -> Result<Duration, DurationError> {
    u64::try_from(parse(text)?).map(Duration::from_nanos).map_err(|_| DurationError::Negative(text.to_owned()))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn leading_integer(digits: &str) -> Option<u64> {
    digits.bytes().try_fold(0_u64, |value, digit| {
        if value > LIMIT / 10 {
            return None;
        }
        let next = value * 10 + u64::from(digit - b'0');
        (next <= LIMIT).then_some(next)
    })
}

/// The fraction of a unit in nanoseconds, in the floating-point arithmetic that Go uses: digits beyond what 63 bits
/// hold are dropped.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the rounding is Go's, and the product is at most one unit"
)]
fn fraction_of(digits: &str, unit: u64) -> u64 {
    let (mut value, mut scale) = (0_u64, 1_f64);
    for digit in digits.bytes() {
        if value > (LIMIT - 1) / 10 {
            break;
        }
        let next = value * 10 + u64::from(digit - b'0');
        if next > LIMIT {
            break;
        }
        value = next;
        scale *= 10.0;
    }
    if value == 0 { 0 } else { (value as f64 * (unit as f64 / scale)) as u64 }
}

/// The text with seconds for every number that has no unit.
fn with_unit(text: &str) -> String {
    let seconds = format!("{text}s");
    if nanoseconds(&seconds).is_ok() { seconds } else { "30s".to_owned() }
}

/// The text with foreign units put into Go's, if that makes it parse.
fn with_go_units(text: &str) -> Option<String> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    let mut out = String::new();
    let mut rest = compact.as_str();
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at_checked(number_end)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        match FOREIGN_UNITS.iter().find(|(name, ..)| *name == unit) {
            Some((_, factor, go)) => {
                let number: u64 = number.parse().ok()?;
                write!(out, "{}{go}", number.checked_mul(*factor)?).ok()?;
            }
            None => write!(out, "{number}{unit}").ok()?,
        }
        rest = after;
    }
    nanoseconds(&out).is_ok().then_some(out)
}

/// The duration as Go prints it, such as `1m30s`, `0s` or `1.5µs`: what an engine flag shows.
#[must_use]
pub fn format_go(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 {
        return match nanos {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanos}ns"),
            1_000..1_000_000 => format!("{}{}µs", nanos / 1_000, decimals(nanos % 1_000, 3)),
            _ => format!("{}{}ms", nanos / 1_000_000, decimals(nanos % 1_000_000, 6)),
        };
    }
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let small = format!("{}{}s", seconds % 60, decimals(nanos, 9));
    match (hours, minutes) {
        (0, 0) => small,
        (0, _) => format!("{minutes}m{small}"),
        _ => format!("{hours}h{minutes}m{small}"),
    }
}

fn decimals(fraction: u32, width: usize) -> String {
    if fraction == 0 {
        return String::new();
    }
    let digits = format!("{fraction:0width$}");
    format!(".{}", digits.trim_end_matches('0'))
}

/// The duration for a sentence, such as `1 minute 30 seconds`; a fraction of a second is kept, nothing is `0 seconds`.
#[must_use]
pub fn in_words(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let mut words = Vec::new();
    for (amount, unit) in [(seconds / 86_400, "day"), (seconds / 3_600 % 24, "hour"), (seconds / 60 % 60, "minute")] {
        if amount > 0 {
            words.push(format!("{amount} {unit}{}", if amount == 1 { "" } else { "s" }));
        }
    }
    let small = format!("{}{}", seconds % 60, decimals(nanos, 9));
    if small != "0" || words.is_empty() {
        words.push(format!("{small} second{}", if small == "1" { "" } else { "s" }));
    }
    words.join(" ")
}

/// A duration of a policy as a person would write it: in seconds up to ten minutes, with `gap` before the unit.
pub(crate) fn in_seconds(duration: Duration, gap: &str) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() == 0 && seconds <= 600 {
        return format!("{seconds}{gap}s");
    }
    let whole = format_go(duration);
    let minutes = whole.strip_suffix("m0s").map_or(whole.clone(), |minutes| format!("{minutes}m"));
    minutes.strip_suffix("h0m").map_or(minutes.clone(), |hours| format!("{hours}h"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_go_parses() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("+5s", 5 * SECOND),
            ("1m30s", 90 * SECOND),
            ("1.5h", 5_400 * SECOND),
            (".5s", SECOND / 2),
            ("5.s", 5 * SECOND),
            ("1µs1μs1us", 3_000),
            ("-1m", -60 * SECOND),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("0.3333333333333333333h", 1_200 * SECOND),
            ("9223372036854775808ns9223372036854775808ns", 0),
        ] {
            assert_eq!(parse(text), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn what_go_refuses() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "s",
            ".s",
            "3",
            "1d",
            " 1s",
            "1s ",
            "1 s",
            "--1s",
            "9223372036854775808ns",
            "1e3s",
            "٣s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refusals_in_words() {
        let words: Vec<String> = ["", "30", "1d", "1d12h", "5 min", "3 fortnights", "3000000h"]
            .iter()
            .map(|text| parse(text).unwrap_err().to_string())
            .chain([parse_unsigned("-5s").unwrap_err().to_string()])
            .collect();
        insta::assert_snapshot!(words.join("\n"));
    }

    #[test]
    fn words_for_people() {
        assert_eq!(in_words(Duration::from_secs(90)), "1 minute 30 seconds");
        assert_eq!(in_words(Duration::from_hours(1)), "1 hour");
        assert_eq!(in_words(Duration::from_mins(2881)), "2 days 1 minute");
        assert_eq!(in_words(Duration::from_millis(1_500)), "1.5 seconds");
        assert_eq!(in_words(Duration::ZERO), "0 seconds");
    }

    #[test]
    fn as_go_prints() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_661_000_000_001, "1h1m1.000000001s"),
        ] {
            assert_eq!(format_go(Duration::from_nanos(nanos)), text);
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,24}|[-+0-9.hmsunµ]{0,40}") {
            if let Err(error) = parse(&text) && let Some(suggestion) = error.suggestion() {
                prop_assert!(parse(suggestion).is_ok(), "{suggestion}");
            }
        }

        #[test]
        fn what_is_printed_parses_back(nanos in 0..i64::MAX) {
            let duration = Duration::from_nanos(nanos.unsigned_abs());
            prop_assert_eq!(parse(&format_go(duration)), Ok(nanos));
        }
    }
}
