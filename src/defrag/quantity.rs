//! Kubernetes quantities, as bytes.

use thiserror::Error;

/// Bytes in a KiB.
pub const KIB: u64 = 1 << 10;
/// Bytes in a MiB.
pub const MIB: u64 = 1 << 20;
/// Bytes in a GiB.
pub const GIB: u64 = 1 << 30;

/// The largest quantity that Kubernetes and etcd can hold: both count bytes in a signed 64-bit integer.
const MAX: u128 = i64::MAX as u128;

/// Digits of a fraction that take part in the arithmetic; the digits after them only round up. Kubernetes itself keeps
/// nine.
const FRACTION_DIGITS: usize = 18;

/// Why a text is no amount of bytes; reads on from the quoted text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// Nothing was written.
    #[error("is empty, where a quantity such as 200Mi or 8Gi is expected")]
    Empty,
    /// There is no number in front.
    #[error("does not begin with a number, as 200Mi or 8Gi does")]
    Number,
    /// What follows the number is neither a suffix nor an exponent.
    #[error(
        "has a suffix that is none of Ki, Mi, Gi, Ti, Pi, Ei, k, M, G, T, P, E, m, u, n, and no exponent such as e9"
    )]
    Suffix,
    /// An amount of bytes cannot be below zero.
    #[error("is negative, which no amount can be")]
    Negative,
    /// More than 2^63 - 1.
    #[error("is above 9223372036854775807 bytes, the most that Kubernetes and etcd can hold")]
    TooLarge,
}

/// The bytes of a Kubernetes quantity, a fraction of a byte rounded up as Kubernetes does.
///
/// # Errors
///
/// The text is not of the grammar of `resource.Quantity`, is negative, or exceeds 2^63 - 1.
pub fn parse(text: &str) -> Result<u64, QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Empty);
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (number, suffix) = split_at_first(unsigned, |c| !c.is_ascii_digit() && c != '.');
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(QuantityError::Number);
    }
    let (binary, decimal) = scale(suffix)?;
    let bytes = multiply(whole, fraction, binary, decimal)?;
    if negative && bytes > 0 { Err(QuantityError::Negative) } else { Ok(bytes) }
}

fn split_at_first(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

/// The powers of two and of ten that a suffix stands for.
fn scale(suffix: &str) -> Result<(u32, i64), QuantityError> {
    Ok(match suffix {
        "" => (0, 0),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        _ => (0, i64::from(exponent(suffix).ok_or(QuantityError::Suffix)?)),
    })
}

fn exponent(suffix: &str) -> Option<i32> {
    let digits = suffix.strip_prefix(['e', 'E'])?;
    digits.bytes().any(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// `whole.fraction × 2^binary × 10^decimal`, rounded up.
fn multiply(whole: &str, fraction: &str, binary: u32, decimal: i64) -> Result<u64, QuantityError> {
    let digits: String = [whole, fraction].concat();
    let leading_zeros = length(&digits) - length(digits.trim_start_matches('0'));
    let significant = digits.trim_matches('0');
    if significant.is_empty() {
        return Ok(0);
    }
    // Where the point stands, counted from the first digit that is not zero.
    let integer_digits = length(whole) - leading_zeros + decimal;
    if integer_digits > 19 {
        return Err(QuantityError::TooLarge);
    }
    // Below one part in 10^18 even the largest suffix leaves nothing but the rounding up.
    if integer_digits < -36 {
        return Ok(1);
    }
    let mut integer: u128 = 0;
    let mut tail: u128 = 0;
    let mut tail_scale: u128 = 1;
    let mut tail_digits = 0;
    let mut inexact = false;
    let zeros_behind_the_point = usize::try_from(-integer_digits).unwrap_or(0);
    let integer_places = usize::try_from(integer_digits).unwrap_or(0);
    let padded = std::iter::repeat_n(b'0', zeros_behind_the_point).chain(significant.bytes());
    let padded = padded.chain(std::iter::repeat_n(b'0', integer_places.saturating_sub(significant.len())));
    for (place, digit) in padded.enumerate() {
        let value = u128::from(digit - b'0');
        if place < integer_places {
            integer = integer * 10 + value;
        } else if tail_digits < FRACTION_DIGITS {
            tail = tail * 10 + value;
            tail_scale *= 10;
            tail_digits += 1;
        } else {
            inexact |= value != 0;
        }
    }
    let shifted = integer.checked_mul(1 << binary).ok_or(QuantityError::TooLarge)?;
    let tail = tail << binary;
    let rounded = tail.div_ceil(tail_scale) + u128::from(inexact && tail.is_multiple_of(tail_scale));
    let total = shifted.checked_add(rounded).filter(|total| *total <= MAX).ok_or(QuantityError::TooLarge)?;
    u64::try_from(total).map_err(|_| QuantityError::TooLarge)
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

/// `bytes` in a binary unit that shows them exactly, with at most two decimals in the largest unit that fits and as a
/// whole number in smaller ones; else in bytes. A message must never round a number that a person is to copy.
#[must_use]
pub fn human(bytes: u64) -> String {
    const UNITS: [(&str, u64); 6] =
        [("EiB", 1 << 60), ("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)];
    let mut fitting = UNITS.iter().filter(|(_, unit)| bytes >= *unit).peekable();
    if let Some((name, unit)) = fitting.peek() {
        let (hundredths, unit) = (u128::from(bytes) * 100, u128::from(*unit));
        if hundredths.is_multiple_of(unit) {
            let (whole, part) = (hundredths / unit / 100, hundredths / unit % 100);
            let decimals = format!("{part:02}");
            let decimals = decimals.trim_end_matches('0');
            return if part == 0 { format!("{whole} {name}") } else { format!("{whole}.{decimals} {name}") };
        }
    }
    match (fitting.find(|(_, unit)| bytes.is_multiple_of(*unit)), bytes) {
        (Some((name, unit)), _) => format!("{} {name}", bytes / unit),
        (None, 1) => "1 byte".to_owned(),
        (None, _) => format!("{bytes} bytes"),
    }
}

/// `bytes` as they were measured, rounded for a sentence to three digits at most: `225 MiB`, `1.5 GiB`.
#[must_use]
pub fn rounded(bytes: u64) -> String {
    let units = [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let Some((name, shift)) = units.into_iter().find(|(_, shift)| bytes >> shift > 0) else { return human(bytes) };
    let (unit, bytes) = (1_u128 << shift, u128::from(bytes));
    if bytes >= 10 * unit {
        return format!("{} {name}", (bytes + unit / 2) / unit);
    }
    let tenths = (bytes * 10 + unit / 2) / unit;
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {name}"),
        (whole, part) => format!("{whole}.{part} {name}"),
    }
}

/// `bytes` as a quantity that parses back to it, in the largest unit that shows it as a whole number: `200Mi`.
#[must_use]
pub fn short(bytes: u64) -> String {
    let units = [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let unit = units.into_iter().find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| bytes.to_string(), |(name, shift)| format!("{}{name}", bytes >> shift))
}

/// A quantity of anything in billionths, which is as fine as Kubernetes counts; a part of one is rounded up.
///
/// # Errors
///
/// As [`parse`].
pub fn billionths(text: &str) -> Result<u128, QuantityError> {
    Ok(fine(text)?.0)
}

const ONE: u128 = 1_000_000_000;

/// The billionths, with the power of two of the suffix and the suffix.
fn fine(text: &str) -> Result<(u128, u32, &str), QuantityError> {
    // Refuses what is no quantity at all, and what is too large.
    parse(text)?;
    let unsigned = text.trim_start_matches(['+', '-']);
    let (number, suffix) = split_at_first(unsigned, |c| !c.is_ascii_digit() && c != '.');
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let (binary, decimal) = scale(suffix)?;
    let digits = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let mantissa: u128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| QuantityError::TooLarge)? };
    let mantissa = mantissa.checked_mul(1 << binary).ok_or(QuantityError::TooLarge)?;
    let power = decimal - length(fraction) + 9;
    let tens = u32::try_from(power.unsigned_abs()).ok().and_then(|power| 10_u128.checked_pow(power));
    let billionths = match tens {
        _ if mantissa == 0 => 0,
        Some(tens) if power >= 0 => mantissa.checked_mul(tens).ok_or(QuantityError::TooLarge)?,
        Some(tens) => mantissa.div_ceil(tens),
        None if power >= 0 => return Err(QuantityError::TooLarge),
        None => 1,
    };
    Ok((billionths, binary, suffix))
}

/// A quantity of anything in the form in which the API server gives it back: `0.5` as `500m`, `1024Mi` as `1Gi`.
///
/// # Errors
///
/// As [`parse`].
pub fn canonical(text: &str) -> Result<String, QuantityError> {
    const SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    let (billionths, binary, suffix) = fine(text)?;
    if billionths == 0 {
        return Ok("0".to_owned());
    }
    if binary > 0 && billionths.is_multiple_of(ONE) && billionths >= 1024 * ONE {
        return u64::try_from(billionths / ONE).map(short).map_err(|_| QuantityError::TooLarge);
    }
    let (mut value, mut step) = (billionths, 0_usize);
    while value.is_multiple_of(1000) && step + 1 < SUFFIXES.len() {
        (value, step) = (value / 1000, step + 1);
    }
    if suffix.len() > 1 && suffix.starts_with(['e', 'E']) && binary == 0 && step != 3 {
        return Ok(format!("{value}e{}", 3 * (i64::try_from(step).unwrap_or(3) - 3)));
    }
    Ok(format!("{value}{}", SUFFIXES.get(step).copied().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_suffix_and_exponent() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("+1", 1),
            ("-0", 0),
            ("1Ki", KIB),
            ("1Mi", MIB),
            ("8Gi", 8 * GIB),
            ("2Ti", 2 << 40),
            ("3Pi", 3 << 50),
            ("7Ei", 7 << 60),
            ("1k", 1_000),
            ("1M", 1_000_000),
            ("1G", 1_000_000_000),
            ("1T", 1_000_000_000_000),
            ("1P", 1_000_000_000_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("1e9", 1_000_000_000),
            ("1E9", 1_000_000_000),
            ("1e+3", 1_000),
            ("12e-1", 2),
            ("1e-400", 1),
            ("0e400", 0),
            ("1500m", 2),
            ("1m", 1),
            ("1u", 1),
            ("1n", 1),
            ("1000000000n", 1),
            ("1000000001n", 2),
            ("0.5Gi", GIB / 2),
            (".5Gi", GIB / 2),
            ("1.", 1),
            ("1.5Gi", GIB + GIB / 2),
            ("0.1", 1),
            ("1.0000000000000000000000000000001", 2),
            ("0.0000000000000000000000000000000000000000000001Ei", 1),
            ("00000000000000000000000000000000000000000000000000000001", 1),
            ("100000000000000000000000000000e-20", 1_000_000_000),
            ("9223372036854775807", u64::try_from(i64::MAX).unwrap()),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity() {
        for (text, error) in [
            ("", QuantityError::Empty),
            ("Gi", QuantityError::Number),
            (".", QuantityError::Number),
            ("1.2.3", QuantityError::Number),
            (" 1", QuantityError::Number),
            ("--1", QuantityError::Number),
            ("8GiB", QuantityError::Suffix),
            ("8 Gi", QuantityError::Suffix),
            ("8K", QuantityError::Suffix),
            ("8gi", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
            ("1e99999999999999", QuantityError::Suffix),
            ("1e5Gi", QuantityError::Suffix),
            ("-1", QuantityError::Negative),
            ("-1n", QuantityError::Negative),
            ("9223372036854775808", QuantityError::TooLarge),
            ("8Ei", QuantityError::TooLarge),
            ("10E", QuantityError::TooLarge),
            ("1e400", QuantityError::TooLarge),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn people_read_exact_numbers() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (8 * GIB, "8 GiB"),
            (200 * MIB, "200 MiB"),
            (GIB + GIB / 2, "1.5 GiB"),
            (GIB + GIB / 4, "1.25 GiB"),
            (GIB + MIB, "1025 MiB"),
            (1536, "1.5 KiB"),
            (GIB + KIB, "1048577 KiB"),
            (100_000_000, "100000000 bytes"),
            (u64::MAX, "18446744073709551615 bytes"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn what_was_measured_is_rounded() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (KIB, "1 KiB"),
            (225 * MIB + 300 * KIB, "225 MiB"),
            (225 * MIB + 512 * KIB, "226 MiB"),
            (GIB + GIB / 2 + 1, "1.5 GiB"),
            (10 * MIB - 1, "10 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(rounded(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn plain_bytes_read_back(bytes in 0..=i64::MAX.cast_unsigned()) {
            prop_assert_eq!(parse(&bytes.to_string()), Ok(bytes));
        }

        #[test]
        fn fractions_round_up(thousandths in 0..10_000_000_u64) {
            let text = format!("{}.{:03}Ki", thousandths / 1000, thousandths % 1000);
            prop_assert_eq!(parse(&text), Ok((thousandths * KIB).div_ceil(1000)));
        }

        #[test]
        fn any_text_ends(text in "[-+]?[0-9.]{0,60}([KMGTPE]i|[kMGTPEmun]|[eE][-+]?[0-9]{0,4})?") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn canonical_is_what_the_api_server_gives_back() {
        for (text, expected) in [
            ("0", "0"),
            ("0.0Gi", "0"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1000m", "1"),
            ("100m", "100m"),
            ("1", "1"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("1024Mi", "1Gi"),
            ("0.5Gi", "512Mi"),
            ("128Mi", "128Mi"),
            ("1023Ki", "1023Ki"),
            ("0.1Ki", "102400m"),
            ("0.5Ki", "512"),
            ("2.5Ki", "2560"),
            ("1e3", "1e3"),
            ("1e4", "10e3"),
            ("12E2", "1200"),
            ("1E", "1E"),
            ("1e-3", "1e-3"),
            ("0.0000000001", "1n"),
            ("+5", "5"),
            ("010", "10"),
            ("128M", "128M"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "-1", "x", "1Zi", "9Ei", "99999999999999999999999999999999999999999"] {
            assert!(canonical(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn canonical_and_short_keep_the_amount(text in "[0-9]{1,6}(\\.[0-9]{1,4})?(m|k|M|G|Ki|Mi|Gi|e3)?") {
            let canonical = canonical(&text).unwrap();
            prop_assert_eq!(parse(&canonical), parse(&text));
            prop_assert_eq!(super::canonical(&canonical), Ok(canonical));
            let bytes = parse(&text).unwrap();
            prop_assert_eq!(parse(&short(bytes)), Ok(bytes));
        }
    }
}
