//! Values as straight-line functions of size and reclaimable space.
//!
//! Intervals forget that `dbSize - dbSizeInUse` is `dbSizeFree`; a [`Line`] does not. It describes the real number
//! behind a floating-point value up to an error that covers every rounding on the way.

/// Half a unit in the last place, relative; each rounding below is charged with eight of them.
const ROUNDING: f64 = f64::EPSILON * 4.0;

/// Whole numbers below this are exact, and so are their sums.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What exact values are multiples of: of 1 below [`EXACT`], of a finer power of two below that share of it.
const GRAINS: [f64; 2] = [1.0, GRAIN];
const GRAIN: f64 = 1.0 / 1024.0;

/// Keeps lines away from overflow and from the smallest numbers, where roundings are absolute.
const LARGE: f64 = 1e200;
const TINY: f64 = 1e-250;

/// `value = size × dbSize + free × dbSizeFree + constant ± error`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) size: f64,
    pub(super) free: f64,
    pub(super) constant: f64,
    pub(super) error: f64,
}

impl Line {
    pub(super) const fn exact(size: f64, free: f64, constant: f64) -> Self {
        Self { size, free, constant, error: 0.0 }
    }

    pub(super) fn constant(value: f64) -> Option<Self> {
        (value.abs() < LARGE).then_some(Self::exact(0.0, 0.0, value))
    }

    fn as_constant(self) -> Option<f64> {
        (self.size == 0.0 && self.free == 0.0 && self.error == 0.0).then_some(self.constant)
    }

    /// The value at a size and a reclaimable space, rounded.
    pub(super) fn at(self, (size, free): (f64, f64)) -> f64 {
        self.size * size + self.free * free + self.constant
    }

    /// A bound on the absolute value for sizes up to `limit`.
    pub(super) fn magnitude(self, limit: f64) -> f64 {
        (self.size.abs() + self.free.abs()) * limit + self.constant.abs() + self.error
    }

    fn is_multiple_of(self, grain: f64) -> bool {
        let whole = |value: f64| (value / grain).fract() == 0.0;
        self.error == 0.0 && whole(self.size) && whole(self.free) && whole(self.constant)
    }

    /// Whether each value up to `limit` is the real number itself, which no operation has rounded.
    pub(super) fn is_exact(self, limit: f64) -> bool {
        GRAINS.iter().any(|grain| self.is_multiple_of(*grain) && self.magnitude(limit) < EXACT * grain)
    }

    /// The same with the error of its own coefficients and of one rounding of the value, where there are any.
    fn rounded(mut self, exact: bool, limit: f64) -> Option<Self> {
        let magnitude = self.magnitude(limit);
        if magnitude.is_nan() || magnitude >= LARGE {
            return None;
        }
        if !exact {
            self.error += magnitude * ROUNDING + TINY;
        }
        Some(self)
    }

    pub(super) fn add(self, other: Self, limit: f64) -> Option<Self> {
        let sum = Self {
            size: self.size + other.size,
            free: self.free + other.free,
            constant: self.constant + other.constant,
            error: self.error + other.error,
        };
        let exact = GRAINS.iter().any(|grain| {
            self.is_multiple_of(*grain) && other.is_multiple_of(*grain) && sum.magnitude(limit) < EXACT * grain
        });
        sum.rounded(exact, limit)
    }

    pub(super) fn negate(self) -> Self {
        Self { size: -self.size, free: -self.free, constant: -self.constant, error: self.error }
    }

    pub(super) fn multiply(self, other: Self, limit: f64) -> Option<Self> {
        let (line, factor) = match (self.as_constant(), other.as_constant()) {
            (_, Some(factor)) => (self, factor),
            (Some(factor), None) => (other, factor),
            (None, None) => return None,
        };
        let product = Self {
            size: line.size * factor,
            free: line.free * factor,
            constant: line.constant * factor,
            error: line.error * factor.abs(),
        };
        let parts = [line.size, line.free, line.constant];
        let exact = parts.iter().all(|part| is_exact_product(*part, factor)) && product.is_exact(limit);
        product.rounded(exact, limit)
    }

    pub(super) fn divide(self, other: Self, limit: f64) -> Option<Self> {
        let divisor = other.as_constant().filter(|divisor| *divisor != 0.0)?;
        if is_power_of_two(divisor) {
            return self.multiply(Self::constant(1.0 / divisor)?, limit);
        }
        let quotient = Self {
            size: self.size / divisor,
            free: self.free / divisor,
            constant: self.constant / divisor,
            error: self.error / divisor.abs(),
        };
        quotient.rounded(false, limit)
    }

    /// The least and greatest value over `corners`, which are the corners of a convex region, widened by the error.
    pub(super) fn range(self, corners: &[(f64, f64)], limit: f64) -> (f64, f64) {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for corner in corners {
            let value = self.at(*corner);
            low = low.min(value);
            high = high.max(value);
        }
        let slack = if self.is_exact(limit) { 0.0 } else { self.error + self.magnitude(limit) * ROUNDING + TINY };
        (low - slack, high + slack)
    }

    /// The same where the corners are rounded.
    pub(super) fn wide_range(self, corners: &[(f64, f64)], limit: f64) -> (f64, f64) {
        let (low, high) = self.range(corners, limit);
        let slack = self.magnitude(limit) * ROUNDING * 4.0;
        (low - slack, high + slack)
    }

    /// The line that has the sign of `self / divisor - constant`, wherever the divisor is positive.
    ///
    /// A quotient that is not exactly the constant is rounded to one side of it: exact lines are multiples of a grain, which is
    /// more than the rounding where the product of constant and divisor is below [`EXACT`] times the grain. Any other line
    /// gets an error that is above the rounding.
    pub(super) fn over(self, divisor: Self, constant: Self, limit: f64) -> Option<Self> {
        constant.as_constant()?;
        let scaled = divisor.multiply(constant, limit)?;
        let mut line = self.add(scaled.negate(), limit)?;
        let exact = |grain: &f64| {
            let fits = |part: Self| part.is_multiple_of(*grain) && part.magnitude(limit) < EXACT * grain;
            fits(self) && fits(scaled) && fits(line)
        };
        if !GRAINS.iter().any(exact) {
            line.error += scaled.magnitude(limit) * ROUNDING + TINY;
        }
        Some(line)
    }

    /// Whether `other` is this line times a number, and whether that is positive. None, too, of lines with parts beyond any state.
    #[expect(clippy::cast_possible_truncation, reason = "exact lines are multiples of the grain, below 2^63 of them")]
    pub(super) fn direction(self, other: Self) -> Option<bool> {
        let parts = |line: Self| [line.size, line.free, line.constant].map(|part| (part / GRAIN) as i128);
        let pairs: Vec<(i128, i128)> = parts(self).into_iter().zip(parts(other)).collect();
        let same = |(one, two): &(i128, i128), (first, second): &(i128, i128)| {
            one.checked_mul(*second).is_some_and(|product| first.checked_mul(*two) == Some(product))
        };
        let parallel = pairs.iter().all(|pair| pairs.iter().all(|other| same(pair, other)));
        let both = pairs.iter().find(|(one, two)| *one != 0 && *two != 0);
        both.filter(|_| parallel).map(|(one, two)| (*one > 0) == (*two > 0))
    }
}

/// Whether the product of two numbers is one, so that nothing was rounded.
fn is_exact_product(part: f64, factor: f64) -> bool {
    let product = (part * factor).abs();
    let both = |grain: f64| (part / grain).fract() == 0.0 && (factor / grain).fract() == 0.0;
    part == 0.0 || is_power_of_two(factor) || GRAINS.iter().any(|grain| both(*grain) && product < EXACT * grain * grain)
}

fn is_power_of_two(value: f64) -> bool {
    const MANTISSA: u64 = (1 << (f64::MANTISSA_DIGITS - 1)) - 1;
    value.is_normal() && value.to_bits() & MANTISSA == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: f64 = 1e10;

    #[test]
    fn size_minus_in_use_is_free_without_error() {
        let size = Line::exact(1.0, 0.0, 0.0);
        let in_use = Line::exact(1.0, -1.0, 0.0);
        assert_eq!(size.add(in_use.negate(), LIMIT), Some(Line::exact(0.0, 1.0, 0.0)));
    }

    #[test]
    fn lines_beyond_any_state_have_no_direction() {
        let far = Line::exact(1e84, 0.0, 1e300);
        assert_eq!(far.direction(far), None);
        let near = Line::exact(1.0, -2.0, 0.0);
        assert_eq!(near.direction(near), Some(true));
        assert_eq!(near.direction(near.negate()), Some(false));
    }

    #[test]
    fn half_of_a_size_is_exact_and_a_tenth_is_not() {
        let (size, factor) = (Line::exact(1.0, 0.0, 0.0), |value| Line::exact(0.0, 0.0, value));
        for exact in [0.5, 0.75, 2.0, 0.25 + 0.125] {
            assert!(size.multiply(factor(exact), LIMIT).unwrap().is_exact(LIMIT), "{exact}");
        }
        assert_eq!(size.divide(factor(4.0), LIMIT), size.multiply(factor(0.25), LIMIT));
        for rounded in [0.1, 1e-9, 3.0 / 4096.0] {
            assert!(!size.multiply(factor(rounded), LIMIT).unwrap().is_exact(LIMIT), "{rounded}");
        }
        // Beyond 8 TiB a quarter of a byte has no place beside the size.
        assert!(!size.multiply(factor(0.75), 1e14).unwrap().is_exact(1e14));
    }

    #[test]
    fn a_line_knows_its_multiples() {
        let line = Line::exact(0.5, -1.0, 8.0);
        assert_eq!(line.direction(Line::exact(-1.0, 2.0, -16.0)), Some(false));
        assert_eq!(line.direction(Line::exact(0.25, -0.5, 4.0)), Some(true));
        assert_eq!(line.direction(Line::exact(0.5, -1.0, 9.0)), None);
        assert_eq!(line.direction(Line::exact(0.0, 0.0, 8.0)), None);
    }

    #[test]
    fn a_fraction_carries_an_error_that_covers_the_rounding() {
        let line = Line::exact(1.0, 0.0, 0.0).multiply(Line::exact(0.0, 0.0, 0.1), LIMIT).unwrap();
        assert!(line.error > 1e9 * f64::EPSILON);
        assert_eq!(line.multiply(line, LIMIT), None);
        let (low, high) = line.range(&[(3.0, 0.0); 5], LIMIT);
        assert!(low < 0.3 && 0.3 < high && high - low < 1e-4);
    }
}
