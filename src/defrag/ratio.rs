//! Ratios as people write them: `80%` or `0.8`.

use std::ops::RangeInclusive;

use thiserror::Error;

/// The longest ratio that is read, in characters.
const MAX_LENGTH: usize = 32;

/// Why a text is no ratio strictly between 0 and 1; reads on from the quoted text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("is neither a percentage between 0% and 100% nor a number between 0 and 1, both exclusive; write {instead}")]
pub struct RatioError {
    /// What to write instead.
    pub instead: String,
}

/// Reads a ratio strictly between 0 and 1, written as a percentage (`80%`, `2.5%`) or as a decimal fraction (`0.8`).
///
/// The result is the floating-point number that is nearest to what is written. Signs, blanks, exponents and numbers that
/// round to 0 or 1 are errors.
pub fn parse(text: &str) -> Result<f64, RatioError> {
    let (digits, percent) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
    // The exponent moves the decimal point before the one rounding to binary, which a division by 100 would follow.
    let value = is_decimal(digits)
        .then(|| format!("{digits}e{}", if percent { -2 } else { 0 }).parse::<f64>().ok())
        .flatten()
        .filter(|value| *value > 0.0 && *value < 1.0);
    value.ok_or_else(|| RatioError { instead: instead(text, digits, percent) })
}

impl RatioError {
    /// The same error with a proposal that is in a range.
    #[must_use]
    pub fn within(self, text: &str, range: &RangeInclusive<f64>) -> Self {
        let proposed = self.instead.strip_prefix(EXAMPLE).unwrap_or(&self.instead);
        if parse(proposed).or_else(|_| parse(text.trim())).is_ok_and(|ratio| range.contains(&ratio)) {
            return self;
        }
        let usual = 0.8_f64.min(*range.end()).max(*range.start());
        Self { instead: format!("{EXAMPLE}{}", exact(usual)) }
    }
}

/// The text before a proposal that is only one of many.
const EXAMPLE: &str = "for example ";

/// The ratio as it can be written: as a percentage if that is the same number, otherwise as a fraction.
#[must_use]
pub fn exact(ratio: f64) -> String {
    let percent = percent(ratio);
    if parse(&percent) == Ok(ratio) { percent } else { ratio.to_string() }
}

/// The ratio as a percentage, with at most six decimals.
#[must_use]
pub fn percent(ratio: f64) -> String {
    let text = format!("{:.6}", ratio * 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.len() <= MAX_LENGTH && digits(whole) && digits(fraction)
}

fn instead(text: &str, digits: &str, percent: bool) -> String {
    let value = digits.trim().parse::<f64>().unwrap_or(0.0);
    // Of a small number nobody can tell whether 8 is 8% or 0.8, and of 1.5 what it is a share of.
    if !percent && is_decimal(digits) && (10.0..100.0).contains(&value) {
        format!("{digits}%")
    } else if text.trim() != text && parse(text.trim()).is_ok() {
        "it without blanks".to_owned()
    } else {
        format!("{EXAMPLE}80%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_and_fractions_are_exact() {
        for (text, value) in
            [("80%", 0.8), ("0.8", 0.8), ("2.5%", 0.025), ("99.9%", 0.999), ("0.07", 0.07), ("7%", 0.07), ("29%", 0.29)]
        {
            assert_eq!(parse(text).unwrap().to_bits(), f64::to_bits(value), "{text}");
        }
    }

    #[test]
    fn a_percentage_reads_as_it_was_written() {
        for text in ["80%", "7%", "2.5%", "29%", "99.999%"] {
            assert_eq!(percent(parse(text).unwrap()), text);
        }
        assert_eq!((percent(0.0), percent(1.0)), ("0%".to_owned(), "100%".to_owned()));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "%",
            "0",
            "0%",
            "1",
            "100%",
            "1.0",
            "101%",
            "80",
            "-0.5",
            "+0.5",
            "1e-1",
            "0x1p-1",
            ".8",
            "0.",
            " 0.8",
            "0.8 ",
            "80 %",
            "80%%",
            "0,8",
            "nan",
            "inf",
            "0.99999999999999999999",
            "0_8%",
            "٨٠%",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse(&"9".repeat(100_000)).is_err());
    }

    #[test]
    fn the_error_says_what_to_write() {
        for (text, instead) in [
            ("80", "80%"),
            ("12.5", "12.5%"),
            ("8", "for example 80%"),
            ("1.5", "for example 80%"),
            (" 0.8", "it without blanks"),
            ("1", "for example 80%"),
            ("0%", "for example 80%"),
        ] {
            assert_eq!(parse(text).unwrap_err().instead, instead, "{text}");
        }
        insta::assert_snapshot!(parse("80").unwrap_err(), @"is neither a percentage between 0% and 100% nor a number between 0 and 1, both exclusive; write 80%");
    }
}
