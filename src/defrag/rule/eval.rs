//! The value of a rule at one state, as the engine computes it.

use super::{
    error::EvalErrorKind,
    power,
    program::{Binary, Instruction, Operation, Types, Variable},
};

/// A value of the expression language, as far as rules use it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

/// The values of the variables, in the order of [`Variable::ALL`].
pub(super) type Variables = [f64; 5];

pub(super) const fn lookup(variables: &Variables, variable: Variable) -> f64 {
    let [size, in_use, free, quota, usage] = *variables;
    match variable {
        Variable::DbSize => size,
        Variable::DbSizeInUse => in_use,
        Variable::DbSizeFree => free,
        Variable::DbQuota => quota,
        Variable::DbQuotaUsage => usage,
    }
}

/// The index of the instruction that failed, and why.
pub(super) type Failure = (usize, EvalErrorKind);

/// Runs `program`. A program that does not leave a value behind gives [`EvalErrorKind::WrongType`].
pub(super) fn run(program: &[Instruction], variables: &Variables) -> Result<Value, Failure> {
    let mut stack: Vec<Value> = Vec::with_capacity(8);
    let missing = Value::Boolean(false);
    for (index, step) in program.iter().enumerate() {
        let value = match step.operation {
            Operation::Integer(value) => Ok(Value::Integer(value)),
            Operation::Float(value) => Ok(Value::Float(value)),
            Operation::Boolean(value) => Ok(Value::Boolean(value)),
            Operation::Variable(variable) => Ok(Value::Float(lookup(variables, variable))),
            Operation::Negate => negate(stack.pop().unwrap_or(missing)),
            Operation::Not => boolean(stack.pop().unwrap_or(missing)).map(|value| Value::Boolean(!value)),
            Operation::BitNot => integer(stack.pop().unwrap_or(missing)).map(|value| Value::Integer(!value)),
            Operation::Binary(operator) => {
                let (right, left) = (stack.pop().unwrap_or(missing), stack.pop().unwrap_or(missing));
                binary(operator, left, right)
            }
            Operation::Choose => {
                let (second, first) = (stack.pop().unwrap_or(missing), stack.pop().unwrap_or(missing));
                boolean(stack.pop().unwrap_or(missing)).map(|yes| if yes { first } else { second })
            }
        };
        stack.push(value.map_err(|kind| (index, kind))?);
    }
    stack.pop().ok_or((0, EvalErrorKind::WrongType))
}

/// The types that `left operator right` can have, `None` where it fails whatever the values.
pub(super) const fn result_types(operator: Binary, left: Types, right: Types) -> Option<Types> {
    let both_numeric = left.numeric() && right.numeric();
    let (fits, types) = match operator {
        Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => {
            (both_numeric, left.combined(right))
        }
        Binary::Power => (both_numeric, Types { integer: left.integer && right.integer, ..Types::FLOAT }),
        Binary::Equal | Binary::NotEqual => (true, Types::BOOLEAN),
        Binary::Less | Binary::Greater | Binary::LessOrEqual | Binary::GreaterOrEqual => (both_numeric, Types::BOOLEAN),
        Binary::And | Binary::Or => (left.boolean && right.boolean, Types::BOOLEAN),
        Binary::BitAnd | Binary::BitOr | Binary::BitXor | Binary::ShiftLeft | Binary::ShiftRight => {
            (both_numeric, Types::INTEGER)
        }
    };
    if fits { Some(types) } else { None }
}

pub(super) fn binary(operator: Binary, left: Value, right: Value) -> Result<Value, EvalErrorKind> {
    match operator {
        Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => {
            arithmetic(operator, left, right)
        }
        Binary::Power => raise(left, right),
        Binary::Equal => Ok(Value::Boolean(equal(left, right))),
        Binary::NotEqual => Ok(Value::Boolean(!equal(left, right))),
        Binary::Less | Binary::Greater | Binary::LessOrEqual | Binary::GreaterOrEqual => {
            order(operator, left, right).map(Value::Boolean)
        }
        Binary::And => Ok(Value::Boolean(boolean(left)? & boolean(right)?)),
        Binary::Or => Ok(Value::Boolean(boolean(left)? | boolean(right)?)),
        Binary::BitAnd => Ok(Value::Integer(integer(left)? & integer(right)?)),
        Binary::BitOr => Ok(Value::Integer(integer(left)? | integer(right)?)),
        Binary::BitXor => Ok(Value::Integer(integer(left)? ^ integer(right)?)),
        Binary::ShiftLeft => Ok(Value::Integer(shift(integer(left)?, integer(right)?, true))),
        Binary::ShiftRight => Ok(Value::Integer(shift(integer(left)?, integer(right)?, false))),
    }
}

fn arithmetic(operator: Binary, left: Value, right: Value) -> Result<Value, EvalErrorKind> {
    if let (Value::Integer(a), Value::Integer(b)) = (left, right) {
        return Ok(Value::Integer(match operator {
            Binary::Add => a.wrapping_add(b),
            Binary::Subtract => a.wrapping_sub(b),
            Binary::Multiply => a.wrapping_mul(b),
            Binary::Divide if b == 0 => return Err(EvalErrorKind::DivisionByZero),
            Binary::Divide => a.wrapping_div(b),
            _ if b == 0 => return Err(EvalErrorKind::RemainderByZero),
            _ => a.wrapping_rem(b),
        }));
    }
    let (a, b) = (number(left)?, number(right)?);
    Ok(Value::Float(match operator {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide if b == 0.0 => return Err(EvalErrorKind::DivisionByZero),
        Binary::Divide => a / b,
        _ => a % b,
    }))
}

fn raise(left: Value, right: Value) -> Result<Value, EvalErrorKind> {
    let result = power::power(number(left)?, number(right)?);
    if let (Value::Integer(_), Value::Integer(_)) = (left, right)
        && let Some(whole) = exact_integer(result)
    {
        return Ok(Value::Integer(whole));
    }
    Ok(Value::Float(result))
}

#[expect(clippy::float_cmp, reason = "this is the equality of the language")]
fn equal(left: Value, right: Value) -> bool {
    match (left, right) {
        (Value::Integer(a), Value::Integer(b)) => a == b,
        (Value::Boolean(a), Value::Boolean(b)) => a == b,
        _ => matches!((number(left), number(right)), (Ok(a), Ok(b)) if a == b),
    }
}

fn order(operator: Binary, left: Value, right: Value) -> Result<bool, EvalErrorKind> {
    let ordering = if let (Value::Integer(a), Value::Integer(b)) = (left, right) {
        Some(a.cmp(&b))
    } else {
        number(left)?.partial_cmp(&number(right)?)
    };
    Ok(ordering.is_some_and(|ordering| match operator {
        Binary::Less => ordering.is_lt(),
        Binary::Greater => ordering.is_gt(),
        Binary::LessOrEqual => ordering.is_le(),
        _ => ordering.is_ge(),
    }))
}

/// A shift as Go does it: by any distance, arithmetic to the right, and the other way for a negative distance.
pub(super) fn shift(value: i64, distance: i64, left: bool) -> i64 {
    let steps = u32::try_from(distance.unsigned_abs()).unwrap_or(u32::MAX);
    if left == (distance >= 0) { value.checked_shl(steps).unwrap_or(0) } else { value >> steps.min(63) }
}

fn negate(value: Value) -> Result<Value, EvalErrorKind> {
    match value {
        Value::Integer(value) => Ok(Value::Integer(value.wrapping_neg())),
        Value::Float(value) => Ok(Value::Float(-value)),
        Value::Boolean(_) => Err(EvalErrorKind::WrongType),
    }
}

fn boolean(value: Value) -> Result<bool, EvalErrorKind> {
    match value {
        Value::Boolean(value) => Ok(value),
        _ => Err(EvalErrorKind::WrongType),
    }
}

#[expect(clippy::cast_precision_loss, reason = "the language rounds to nearest here")]
fn number(value: Value) -> Result<f64, EvalErrorKind> {
    match value {
        Value::Integer(value) => Ok(value as f64),
        Value::Float(value) => Ok(value),
        Value::Boolean(_) => Err(EvalErrorKind::WrongType),
    }
}

fn integer(value: Value) -> Result<i64, EvalErrorKind> {
    match value {
        Value::Integer(value) => Ok(value),
        Value::Float(value) => exact_integer(value).ok_or(EvalErrorKind::NotAnInteger),
        Value::Boolean(_) => Err(EvalErrorKind::WrongType),
    }
}

/// The integer that equals `value`. 2^63 is none: Go on x86-64 converts it to a negative number.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
pub(super) fn exact_integer(value: f64) -> Option<i64> {
    let fits = value.fract() == 0.0 && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
    fits.then_some(value as i64)
}
