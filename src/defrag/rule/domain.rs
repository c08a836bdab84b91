//! Sets of values that a sub-expression can have over a region of states.
//!
//! Intervals here bound the floating-point results themselves, not the real numbers behind them. Each operation of the
//! engine rounds to nearest, which keeps the order, so the same operation on the ends of an interval gives the ends of
//! the result and nothing has to be widened.

use super::linear::Line;

/// The floating-point numbers from `low` to `high` (none where `low > high`), and perhaps not-a-number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Floats {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) nan: bool,
    /// Whether all finite ones are whole numbers.
    pub(super) whole: bool,
}

/// The integers from `low` to `high` (none where `low > high`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Integers {
    pub(super) low: i64,
    pub(super) high: i64,
}

/// A set of truth values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Truths {
    pub(super) yes: bool,
    pub(super) no: bool,
}

/// Everything that a sub-expression can be over a region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Set {
    pub(super) integers: Integers,
    pub(super) floats: Floats,
    pub(super) truths: Truths,
    /// The number as a function of the state, where that is a straight line.
    pub(super) line: Option<Line>,
    /// The two lines of which it is the quotient, the second one positive; there is then no [`Set::line`].
    pub(super) quotient: Option<(Line, Line)>,
}

impl Floats {
    pub(super) const NONE: Self = Self { low: f64::INFINITY, high: f64::NEG_INFINITY, nan: false, whole: true };
    pub(super) const ALL: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY, nan: true, whole: false };

    pub(super) const fn point(value: f64) -> Self {
        if value.is_nan() {
            return Self { nan: true, ..Self::NONE };
        }
        Self { low: value, high: value, nan: false, whole: value.is_infinite() || value % 1.0 == 0.0 }
    }

    pub(super) fn between(low: f64, high: f64) -> Self {
        Self { low, high, nan: false, whole: false }
    }

    pub(super) fn is_empty(self) -> bool {
        self.low > self.high
    }

    pub(super) fn contains_zero(self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }

    fn infinite(self) -> bool {
        self.low.is_infinite() || self.high.is_infinite()
    }

    /// The one number that it can be.
    #[expect(clippy::float_cmp, reason = "an interval of one number has equal ends")]
    pub(super) fn single(self) -> Option<f64> {
        (self.low == self.high && !self.nan).then_some(self.low)
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            nan: self.nan || other.nan,
            whole: self.whole && other.whole,
        }
    }

    /// The same without what lies outside of `low` to `high`, one unit in the last place of which is given away.
    pub(super) fn within(self, (low, high): (f64, f64)) -> Self {
        let (low, high) = (self.low.max(low.next_down()), self.high.min(high.next_up()));
        // An empty result would mean that the two bounds contradict each other; the wider one is then the safe one.
        if low > high { self } else { Self { low, high, ..self } }
    }

    pub(super) fn negate(self) -> Self {
        Self { low: -self.high, high: -self.low, ..self }
    }

    pub(super) fn add(self, other: Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return Self { nan: true, ..Self::NONE };
        }
        let opposite = self.low == f64::NEG_INFINITY && other.high == f64::INFINITY
            || self.high == f64::INFINITY && other.low == f64::NEG_INFINITY;
        if opposite {
            return Self::ALL;
        }
        Self {
            low: self.low + other.low,
            high: self.high + other.high,
            nan: self.nan || other.nan,
            whole: self.whole && other.whole,
        }
    }

    pub(super) fn multiply(self, other: Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return Self { nan: true, ..Self::NONE };
        }
        if self.infinite() && other.contains_zero() || other.infinite() && self.contains_zero() {
            return Self::ALL;
        }
        let products = [self.low * other.low, self.low * other.high, self.high * other.low, self.high * other.high];
        Self { nan: self.nan || other.nan, whole: self.whole && other.whole, ..hull(&products) }
    }

    /// The quotients by the numbers of `divisor` other than zero; [`Floats::NONE`] where there are none.
    pub(super) fn divide(self, divisor: Self) -> Self {
        let mut result = Self { nan: self.nan || divisor.nan, ..Self::NONE };
        if self.is_empty() {
            return result;
        }
        let least = if divisor.whole { 1.0 } else { f64::from_bits(1) };
        let positive = (divisor.low.max(least), divisor.high);
        let negative = (divisor.low, divisor.high.min(-least));
        for (low, high) in [positive, negative] {
            if low > high {
                continue;
            }
            if self.infinite() && (low.is_infinite() || high.is_infinite()) {
                return Self::ALL;
            }
            let quotients = [self.low / low, self.low / high, self.high / low, self.high / high];
            result = result.union(Self { nan: false, whole: false, ..hull(&quotients) });
        }
        result.whole = false;
        result
    }

    pub(super) fn remainder(self, divisor: Self) -> Self {
        if let (Some(a), Some(b)) = (self.single(), divisor.single()) {
            return Self::point(a % b);
        }
        if self.is_empty() || divisor.is_empty() {
            return Self { nan: true, ..Self::NONE };
        }
        let least_divisor = if divisor.contains_zero() { 0.0 } else { divisor.low.abs().min(divisor.high.abs()) };
        let nan = self.nan || divisor.nan || divisor.contains_zero() || self.infinite();
        if self.low >= 0.0 && self.high < least_divisor {
            return Self { nan, ..self };
        }
        let greatest = divisor.low.abs().max(divisor.high.abs());
        Self {
            low: if self.low < 0.0 { self.low.max(-greatest) } else { 0.0 },
            high: if self.high > 0.0 { self.high.min(greatest) } else { 0.0 },
            nan,
            whole: self.whole && divisor.whole,
        }
    }
}

fn hull(values: &[f64; 4]) -> Floats {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Floats { low, high, nan: false, whole: false }
}

impl Integers {
    pub(super) const NONE: Self = Self { low: i64::MAX, high: i64::MIN };
    pub(super) const ALL: Self = Self { low: i64::MIN, high: i64::MAX };

    pub(super) const fn point(value: i64) -> Self {
        Self { low: value, high: value }
    }

    pub(super) const fn is_empty(self) -> bool {
        self.low > self.high
    }

    pub(super) const fn single(self) -> Option<i64> {
        if self.low == self.high { Some(self.low) } else { None }
    }

    pub(super) const fn contains_zero(self) -> bool {
        self.low <= 0 && self.high >= 0
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// The range that `ends` span, or every integer where one of them wraps around.
    pub(super) fn spanning(ends: &[Option<i64>]) -> Self {
        ends.iter().fold(Self::NONE, |all, end| end.map_or(Self::ALL, |end| all.union(Self::point(end))))
    }

    /// The same numbers as the engine converts them.
    #[expect(clippy::cast_precision_loss, reason = "rounding to nearest keeps the order")]
    pub(super) fn to_floats(self) -> Floats {
        if self.is_empty() {
            return Floats::NONE;
        }
        Floats { low: self.low as f64, high: self.high as f64, nan: false, whole: true }
    }
}

impl Truths {
    pub(super) const NONE: Self = Self { yes: false, no: false };
    pub(super) const BOTH: Self = Self { yes: true, no: true };

    pub(super) const fn point(value: bool) -> Self {
        Self { yes: value, no: !value }
    }

    pub(super) const fn is_empty(self) -> bool {
        !self.yes && !self.no
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self { yes: self.yes || other.yes, no: self.no || other.no }
    }

    pub(super) const fn not(self) -> Self {
        Self { yes: self.no, no: self.yes }
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self { yes: self.yes && other.yes, no: self.no && !other.is_empty() || other.no && !self.is_empty() }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }
}

impl Set {
    pub(super) const NONE: Self =
        Self { integers: Integers::NONE, floats: Floats::NONE, truths: Truths::NONE, line: None, quotient: None };

    pub(super) const fn truths(truths: Truths) -> Self {
        Self { truths, ..Self::NONE }
    }

    pub(super) const fn floats(floats: Floats, line: Option<Line>) -> Self {
        Self { floats, line, ..Self::NONE }
    }

    pub(super) const fn integers(integers: Integers) -> Self {
        Self { integers, ..Self::NONE }
    }

    /// A whole number with its line.
    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 there is no line")]
    pub(super) fn integer(value: i64) -> Self {
        let line = if value.unsigned_abs() < 1 << 53 { Line::constant(value as f64) } else { None };
        Self { line, ..Self::integers(Integers::point(value)) }
    }

    /// Whether every state fails here.
    pub(super) fn is_empty(&self) -> bool {
        self.truths.is_empty() && !self.has_numbers()
    }

    pub(super) fn has_floats(&self) -> bool {
        !self.floats.is_empty() || self.floats.nan
    }

    pub(super) fn has_numbers(&self) -> bool {
        self.has_floats() || !self.integers.is_empty()
    }

    /// All numbers as floating-point ones.
    pub(super) fn numbers(&self) -> Floats {
        self.integers.to_floats().union(self.floats)
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self {
            integers: self.integers.union(other.integers),
            floats: self.floats.union(other.floats),
            truths: self.truths.union(other.truths),
            line: None,
            quotient: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotient_by_a_whole_number_is_bounded() {
        let size = Floats { whole: true, ..Floats::between(0.0, 8.0) };
        let quotient = Floats::between(0.0, 4.0).divide(size);
        assert_eq!((quotient.low, quotient.high, quotient.nan), (0.0, 4.0, false));
    }

    #[test]
    fn infinities_meet_in_not_a_number() {
        assert!(Floats::point(f64::INFINITY).add(Floats::point(f64::NEG_INFINITY)).nan);
        assert!(Floats::point(f64::INFINITY).multiply(Floats::between(0.0, 1.0)).nan);
    }

    #[test]
    fn three_valued_logic() {
        assert_eq!(Truths::BOTH.and(Truths::point(false)), Truths::point(false));
        assert_eq!(Truths::BOTH.or(Truths::point(true)), Truths::point(true));
        assert_eq!(Truths::BOTH.and(Truths::point(true)), Truths::BOTH);
    }
}
