//! Powers with a whole exponent, bit for bit as Go's `math.Pow` computes them.

const FRACTION_BITS: u32 = 52;
const EXPONENT_MASK: u64 = 0x7FF;
const EXPONENT_BIAS: i64 = 1023;

/// Whether [`power`] is exact for this exponent: whole, infinite, not a number or a half.
pub(super) fn is_supported(exponent: f64) -> bool {
    exponent.fract() == 0.0 || !exponent.is_finite() || exponent.abs().to_bits() == 0.5_f64.to_bits()
}

/// `base` to the power of an `exponent` that [`is_supported`].
#[expect(clippy::float_cmp, reason = "the special cases are exact values")]
pub(super) fn power(base: f64, exponent: f64) -> f64 {
    if exponent == 0.0 || base == 1.0 {
        return 1.0;
    }
    if exponent == 1.0 {
        return base;
    }
    if base.is_nan() || exponent.is_nan() {
        return f64::NAN;
    }
    if base == 0.0 {
        let odd = is_odd(exponent);
        return match (exponent < 0.0, base.is_sign_negative() && odd) {
            (true, true) => f64::NEG_INFINITY,
            (true, false) => f64::INFINITY,
            (false, true) => base,
            (false, false) => 0.0,
        };
    }
    if exponent.is_infinite() {
        return beyond(base, exponent);
    }
    if base == f64::NEG_INFINITY {
        return power(-0.0, -exponent);
    }
    if base == f64::INFINITY {
        return if exponent < 0.0 { 0.0 } else { f64::INFINITY };
    }
    if exponent == 0.5 {
        return base.sqrt();
    }
    if exponent == -0.5 {
        return 1.0 / base.sqrt();
    }
    if exponent.abs() >= 9_223_372_036_854_775_808.0 {
        return beyond(base, exponent);
    }
    by_squaring(base, exponent)
}

/// The power for an exponent so large that only the size of the base counts.
#[expect(clippy::float_cmp, reason = "minus one is the exact exception")]
fn beyond(base: f64, exponent: f64) -> f64 {
    if base == -1.0 {
        1.0
    } else if (base.abs() < 1.0) == (exponent > 0.0) {
        0.0
    } else {
        f64::INFINITY
    }
}

/// Go squares a mantissa in [½, 1) and counts powers of two beside it; the order of the roundings is part of the result.
#[expect(clippy::cast_possible_truncation, reason = "the caller checks that the exponent is below 2^63")]
fn by_squaring(base: f64, exponent: f64) -> f64 {
    let (mut square, mut square_exponent) = split(base);
    let (mut product, mut product_exponent) = (1.0_f64, 0_i64);
    let mut rest = exponent.abs() as i64;
    while rest != 0 {
        if !(-4096..=4096).contains(&square_exponent) {
            product_exponent += square_exponent;
            break;
        }
        if rest & 1 == 1 {
            product *= square;
            product_exponent += square_exponent;
        }
        square *= square;
        square_exponent <<= 1;
        if square < 0.5 {
            square += square;
            square_exponent -= 1;
        }
        rest >>= 1;
    }
    if exponent < 0.0 {
        product = 1.0 / product;
        product_exponent = -product_exponent;
    }
    load_exponent(product, product_exponent)
}

#[expect(clippy::cast_possible_truncation, reason = "below 2^53")]
fn is_odd(value: f64) -> bool {
    value.abs() < 9_007_199_254_740_992.0 && value.fract() == 0.0 && value as i64 & 1 == 1
}

/// A finite non-zero value as a mantissa in [½, 1), with its sign, and an exponent of two.
fn split(value: f64) -> (f64, i64) {
    let (normal, shift) = normalised(value);
    let bits = normal.to_bits();
    let exponent = exponent_bits(bits) - EXPONENT_BIAS + 1 + shift;
    let mantissa = bits & !(EXPONENT_MASK << FRACTION_BITS) | (EXPONENT_BIAS - 1).cast_unsigned() << FRACTION_BITS;
    (f64::from_bits(mantissa), exponent)
}

/// `fraction` × 2^`exponent`, as Go's `math.Ldexp`.
pub(super) fn load_exponent(fraction: f64, exponent: i64) -> f64 {
    if fraction == 0.0 || !fraction.is_finite() {
        return fraction;
    }
    let (normal, shift) = normalised(fraction);
    let bits = normal.to_bits();
    let mut exponent = exponent.saturating_add(shift).saturating_add(exponent_bits(bits) - EXPONENT_BIAS);
    if exponent < -1075 {
        return 0.0_f64.copysign(fraction);
    }
    if exponent > 1023 {
        return f64::INFINITY.copysign(fraction);
    }
    let mut scale = 1.0;
    if exponent < -1022 {
        exponent += 53;
        scale = 1.0 / 9_007_199_254_740_992.0;
    }
    let moved = bits & !(EXPONENT_MASK << FRACTION_BITS) | (exponent + EXPONENT_BIAS).cast_unsigned() << FRACTION_BITS;
    scale * f64::from_bits(moved)
}

fn normalised(value: f64) -> (f64, i64) {
    if value.abs() < f64::MIN_POSITIVE { (value * 4_503_599_627_370_496.0, -52) } else { (value, 0) }
}

fn exponent_bits(bits: u64) -> i64 {
    (bits >> FRACTION_BITS & EXPONENT_MASK).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "exact values")]
    fn small_powers_are_exact() {
        assert_eq!(power(2.0, 30.0), 1_073_741_824.0);
        assert_eq!(power(-2.0, 3.0), -8.0);
        assert_eq!(power(2.0, -2.0), 0.25);
        assert_eq!(power(9.0, 0.5), 3.0);
        assert_eq!(power(0.0, -1.0), f64::INFINITY);
        assert_eq!(power(-0.0, -3.0), f64::NEG_INFINITY);
        assert_eq!(power(2.0, -1074.0), 5e-324);
        assert_eq!(power(2.0, 1e300), f64::INFINITY);
    }

    #[test]
    fn halves_and_whole_exponents_only() {
        assert!(is_supported(30.0) && is_supported(-0.5) && is_supported(f64::INFINITY));
        assert!(!is_supported(0.3));
    }
}
