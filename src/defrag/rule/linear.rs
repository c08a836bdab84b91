//! Values as straight-line functions of size and reclaimable space.
//!
//! Intervals forget that `dbSize - dbSizeInUse` is `dbSizeFree`; a [`Line`] does not. It describes the real number
//! behind a floating-point value up to an error that covers every rounding on the way.

/// Half a unit in the last place, relative; each rounding below is charged with eight of them.
const ROUNDING: f64 = f64::EPSILON * 4.0;

/// Whole numbers below this are exact, and so are their sums.
const EXACT: f64 = 9_007_199_254_740_992.0;

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

    /// A bound on the absolute value for sizes up to `limit`.
    fn magnitude(self, limit: f64) -> f64 {
        (self.size.abs() + self.free.abs()) * limit + self.constant.abs() + self.error
    }

    fn whole(self) -> bool {
        self.error == 0.0 && self.size.fract() == 0.0 && self.free.fract() == 0.0 && self.constant.fract() == 0.0
    }

    /// The same with the error of its own coefficients and of one rounding of the value, where there are any.
    fn rounded(mut self, exact: bool, limit: f64) -> Option<Self> {
        let magnitude = self.magnitude(limit);
        if magnitude.is_nan() || magnitude >= LARGE {
            return None;
        }
        if !(exact && magnitude < EXACT) {
            self.error += magnitude * ROUNDING + TINY;
        }
        Some(self)
    }

    pub(super) fn add(self, other: Self, limit: f64) -> Option<Self> {
        let exact = self.whole() && other.whole() && self.magnitude(limit).max(other.magnitude(limit)) < EXACT;
        let sum = Self {
            size: self.size + other.size,
            free: self.free + other.free,
            constant: self.constant + other.constant,
            error: self.error + other.error,
        };
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
        let exact = line.whole() && factor.fract() == 0.0;
        let product = Self {
            size: line.size * factor,
            free: line.free * factor,
            constant: line.constant * factor,
            error: line.error * factor.abs(),
        };
        product.rounded(exact, limit)
    }

    pub(super) fn divide(self, other: Self, limit: f64) -> Option<Self> {
        let divisor = other.as_constant().filter(|divisor| *divisor != 0.0)?;
        let quotient = Self {
            size: self.size / divisor,
            free: self.free / divisor,
            constant: self.constant / divisor,
            error: self.error / divisor.abs(),
        };
        quotient.rounded(false, limit)
    }

    /// The least and greatest value over `corners`, which are the corners of a convex region, widened by the error.
    pub(super) fn range(self, corners: &[(f64, f64); 5], limit: f64) -> (f64, f64) {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (size, free) in corners {
            let value = self.size * size + self.free * free + self.constant;
            low = low.min(value);
            high = high.max(value);
        }
        let magnitude = self.magnitude(limit);
        let slack = if self.whole() && magnitude < EXACT { 0.0 } else { self.error + magnitude * ROUNDING + TINY };
        (low - slack, high + slack)
    }
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
    fn a_fraction_carries_an_error_that_covers_the_rounding() {
        let line = Line::exact(1.0, 0.0, 0.0).multiply(Line::exact(0.0, 0.0, 0.1), LIMIT).unwrap();
        assert!(line.error > 1e9 * f64::EPSILON);
        assert_eq!(line.multiply(line, LIMIT), None);
        let (low, high) = line.range(&[(3.0, 0.0); 5], LIMIT);
        assert!(low < 0.3 && 0.3 < high && high - low < 1e-4);
    }
}
