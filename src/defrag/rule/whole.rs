//! What operators on whole numbers can give.

use super::{
    domain::Integers,
    eval::{self, Value},
    program::Binary,
};

/// Whole quotients or remainders by the numbers of `b` other than zero.
pub(super) fn quotients(operator: Binary, a: Integers, b: Integers) -> Integers {
    let single = a.single().zip(b.single());
    if operator == Binary::Divide {
        if let Some((a, b)) = single {
            return Integers::point(a.wrapping_div(b));
        }
        if !b.contains_zero() {
            let ends = [(a.low, b.low), (a.low, b.high), (a.high, b.low), (a.high, b.high)];
            return Integers::spanning(&ends.map(|(a, b)| a.checked_div(b)));
        }
        // A divisor of one or minus one gives the largest quotients.
        return Integers::spanning(&[Some(a.low), Some(a.high), a.low.checked_neg(), a.high.checked_neg()]);
    }
    if let Some((a, b)) = single {
        return Integers::point(a.wrapping_rem(b));
    }
    // A remainder has the sign of the dividend and is smaller than the divisor.
    let most = b.low.unsigned_abs().max(b.high.unsigned_abs()).saturating_sub(1);
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    Integers { low: a.low.max(-most).min(0), high: a.high.min(most).max(0) }
}

/// Bit operations: exact for one number on each side, by the number of bits where nothing is negative.
pub(super) fn bits(operator: Binary, a: Integers, b: Integers) -> Integers {
    if let (Some(x), Some(y)) = (a.single(), b.single()) {
        return match eval::binary(operator, Value::Integer(x), Value::Integer(y)) {
            Ok(Value::Integer(value)) => Integers::point(value),
            _ => Integers::ALL,
        };
    }
    let non_negative = a.low >= 0 && b.low >= 0;
    let mask = |value: i64| i64::MAX >> (value.leading_zeros().saturating_sub(1)).min(63);
    match operator {
        Binary::BitAnd if non_negative => Integers { low: 0, high: a.high.min(b.high) },
        Binary::BitOr if non_negative => Integers { low: a.low.max(b.low), high: mask(a.high | b.high) },
        Binary::BitXor if non_negative => Integers { low: 0, high: mask(a.high | b.high) },
        Binary::ShiftLeft | Binary::ShiftRight => {
            let Some(distance) = b.single() else {
                let lessens = operator == Binary::ShiftRight && non_negative;
                return if lessens {
                    Integers { low: 0, high: eval::shift(a.high, b.low, false) }
                } else {
                    Integers::ALL
                };
            };
            let left = (operator == Binary::ShiftLeft) == (distance >= 0);
            let ends = [a.low, a.high].map(|value| {
                let moved = eval::shift(value, distance, operator == Binary::ShiftLeft);
                let back = eval::shift(moved, distance, operator != Binary::ShiftLeft);
                (!left || back == value && distance.unsigned_abs() < 64).then_some(moved)
            });
            Integers::spanning(&ends)
        }
        _ => Integers::ALL,
    }
}
