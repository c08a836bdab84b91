//! Number literals as Go's `strconv` reads them.

/// The value of an integer literal as scanned: decimal, `0x` (up to 64 bits, wrapping to negative numbers), `0X`, `0o`,
/// `0b` or a leading `0` for octal, with `_` between digits. `None` where Go reports an error.
pub(super) fn integer(literal: &str) -> Option<i64> {
    let (base, digits) = match literal.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, literal.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, literal.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, literal.get(2..)?),
        [b'0', _, ..] => (8, literal.get(1..)?),
        _ => (10, literal),
    };
    if !separators_are_fine(literal) {
        return None;
    }
    let value = u64::from_str_radix(&without_separators(digits), base).ok()?;
    // Only the lower-case prefix takes Go's unsigned path.
    if literal.starts_with("0x") { Some(value.cast_signed()) } else { i64::try_from(value).ok() }
}

/// The value of a floating-point literal as scanned, decimal or hexadecimal. `None` where Go reports an error, a value
/// beyond the largest number included.
pub(super) fn float(literal: &str) -> Option<f64> {
    if !separators_are_fine(literal) {
        return None;
    }
    let plain = without_separators(literal);
    let value = match plain.as_bytes() {
        [b'0', b'x' | b'X', ..] => hexadecimal(plain.get(2..)?)?,
        _ if plain.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) => {
            plain.parse::<f64>().ok()?
        }
        _ => return None,
    };
    value.is_finite().then_some(value)
}

/// The value of `1.8p3` (a hexadecimal mantissa, a decimal exponent of two), rounded to nearest, ties to even.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut exponent = decimal_exponent(exponent)?;
    exponent -= 4 * i64::try_from(fraction.len()).ok()?;
    let mut bits: u64 = 0;
    let mut lost = false;
    for digit in whole.chars().chain(fraction.chars()) {
        let digit = u64::from(digit.to_digit(16)?);
        if bits >> 60 == 0 {
            bits = bits << 4 | digit;
        } else {
            lost |= digit != 0;
            exponent += 4;
        }
    }
    Some(scaled(bits, lost, exponent))
}

/// The digits of an exponent with its sign, saturated far beyond what a `f64` can hold.
fn decimal_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value =
        digits.bytes().fold(0_i64, |value, b| if value < 10_000 { value * 10 + i64::from(b - b'0') } else { value });
    Some(if negative { -value } else { value })
}

/// `bits` × 2^`exponent`, a little more where `lost`, rounded once.
#[expect(clippy::cast_precision_loss, reason = "the bits are cut to 53 before")]
fn scaled(bits: u64, lost: bool, exponent: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let width = i64::from(64 - bits.leading_zeros());
    // The weight of the last bit that is kept: 53 bits, fewer among the subnormal numbers.
    let weight = (exponent + width - 53).max(-1074);
    let drop = weight - exponent;
    let kept = if drop <= 0 {
        bits.checked_shl(u32::try_from(-drop).unwrap_or(u32::MAX)).unwrap_or(0)
    } else if drop > 64 {
        0
    } else {
        let wide = u128::from(bits);
        let (quotient, rest, half) = (wide >> drop, wide & ((1 << drop) - 1), 1_u128 << (drop - 1));
        let up = rest > half || rest == half && (lost || quotient & 1 == 1);
        u64::try_from(quotient + u128::from(up)).unwrap_or(0)
    };
    if weight > 1100 {
        return f64::INFINITY;
    }
    super::power::load_exponent(kept as f64, weight)
}

fn without_separators(text: &str) -> String {
    text.chars().filter(|c| *c != '_').collect()
}

/// Whether each `_` stands between digits, where a base prefix counts as a digit.
fn separators_are_fine(literal: &str) -> bool {
    if !literal.contains('_') {
        return true;
    }
    let bytes = literal.as_bytes();
    let (mut digit_before, hexadecimal, skip) = match bytes {
        [b'0', b'x' | b'X', ..] => (true, true, 2),
        [b'0', b'b' | b'B' | b'o' | b'O', ..] => (true, false, 2),
        _ => (false, false, 0),
    };
    let mut separator_before = false;
    for byte in bytes.iter().skip(skip) {
        let digit = byte.is_ascii_digit() || hexadecimal && byte.is_ascii_hexdigit();
        match (digit, *byte == b'_') {
            (true, _) => separator_before = false,
            (false, true) if digit_before => separator_before = true,
            (false, true) => return false,
            (false, false) if separator_before => return false,
            (false, false) => {}
        }
        digit_before = digit;
    }
    !separator_before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_go_s() {
        for (literal, value) in [
            ("0", Some(0)),
            ("42", Some(42)),
            ("017", Some(15)),
            ("08", None),
            ("0x10", Some(16)),
            ("0XfF", Some(255)),
            ("0b101", Some(5)),
            ("0b12", None),
            ("0o17", Some(15)),
            ("1_000", Some(1000)),
            ("1__0", None),
            ("1_", None),
            ("0_7", Some(7)),
            ("0x_1", Some(1)),
            ("0x", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("0xFFFFFFFFFFFFFFFF", Some(-1)),
            ("0XFFFFFFFFFFFFFFFF", None),
            ("0x1_0000_0000_0000_0000", None),
        ] {
            assert_eq!(integer(literal), value, "{literal}");
        }
    }

    #[test]
    fn floats_are_go_s() {
        for (literal, value) in [
            (".8", Some(0.8)),
            ("1.", Some(1.0)),
            ("1e9", Some(1e9)),
            ("1_0.5e1_0", Some(10.5e10)),
            ("1e_5", None),
            ("09.5", Some(9.5)),
            ("1e", None),
            ("1e999", None),
            ("1e-999", Some(0.0)),
            ("1p3", None),
            ("0b1.5", None),
            ("0x1.8p3", Some(12.0)),
            ("0x1.8", None),
            ("0x.p1", None),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p-1075", Some(0.0)),
            ("0x1.8p-1075", Some(5e-324)),
            ("0x1p1023", Some(2f64.powi(1023))),
            ("0x1p1024", None),
            ("0x1fffffffffffff8p0", Some(144_115_188_075_855_868.0)),
            ("0x1.fffffffffffff8p1023", None),
        ] {
            assert_eq!(float(literal), value, "{literal}");
        }
    }
}
