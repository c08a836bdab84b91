//! Constants that are at odds with the quota, or that do not say what they seem to.

mod wrap;

use super::{
    Rule, Variable,
    bounds::{Bounds, specialise},
    eval::{self, Value},
    linear::Line,
    program::{Binary, Instruction, Operation, is_constant},
    region::Region,
    words,
};
use crate::defrag::quantity::GIB;

/// Quotas that are written often, in GiB.
const COMMON_QUOTAS: [u64; 7] = [1, 2, 4, 6, 8, 10, 16];

/// A constant worth a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    /// In a few words.
    pub(super) brief: String,
    /// What it is and what to write instead.
    pub(super) message: String,
}

/// The suspicious constants of `rule` for an etcd with this quota, in the order of the rule.
pub(super) fn suspects(rule: &Rule, quota: u64, size_limit: u64) -> Vec<Suspect> {
    let program = &rule.program;
    let mut found: Vec<Suspect> = wrap::wrapped(rule).into_iter().map(|(text, value)| wrapped(text, value)).collect();
    for (index, step) in program.iter().enumerate() {
        let suspect = match step.operation {
            Operation::Binary(Binary::Divide) => whole_division(rule, index),
            Operation::Binary(Binary::Power) => power_of_product(rule, index),
            Operation::Binary(
                Binary::Less | Binary::Greater | Binary::LessOrEqual | Binary::GreaterOrEqual | Binary::Equal,
            ) => comparison(rule, index, quota, size_limit),
            _ => None,
        };
        found.extend(suspect.filter(|suspect| !found.contains(suspect)));
    }
    found
}

/// The instructions of both operands of the operator at `index`.
fn operands(program: &[Instruction], index: usize) -> Option<(&[Instruction], &[Instruction])> {
    let middle = program.get(index.checked_sub(1)?)?.first;
    let begin = program.get(index)?.first;
    Some((program.get(begin..middle)?, program.get(middle..index)?))
}

fn mentions(program: &[Instruction], variables: &[Variable]) -> bool {
    program.iter().any(|step| matches!(step.operation, Operation::Variable(variable) if variables.contains(&variable)))
}

/// A whole number that wraps around.
fn wrapped(text: &str, value: i64) -> Suspect {
    Suspect {
        brief: format!("{text} wraps around at 64 bits and is {value}"),
        message: format!(
            "{text} is {value} in the engine's language: whole numbers wrap around at 64 bits. Write the size in bytes that is \
             meant, such as 200*1024*1024 for 200 MiB."
        ),
    }
}

/// `80/100`: whole numbers that lose their fraction.
#[expect(clippy::cast_precision_loss, reason = "the quotient is only shown")]
fn whole_division(rule: &Rule, index: usize) -> Option<Suspect> {
    let (left, right) = operands(&rule.program, index)?;
    if !is_constant(left) || !is_constant(right) {
        return None;
    }
    let whole = |program: &[Instruction]| match eval::run(program, &[0.0; 5]) {
        Ok(Value::Integer(value)) => Some(value),
        _ => None,
    };
    let (a, b) = (whole(left)?, whole(right)?);
    if b == 0 || a.wrapping_rem(b) == 0 {
        return None;
    }
    let (text, got, meant) = (rule.part(index), a.wrapping_div(b), a as f64 / b as f64);
    Some(Suspect {
        brief: format!("{text} is {got}: whole numbers lose their fraction"),
        message: format!(
            "{text} is {got} in the engine's language, not {meant:.4}: a division of whole numbers drops the fraction. \
             Write the number itself, or make one side a fraction, as in {a}.0/{b}."
        ),
    })
}

/// `200*2**20`, which is (200*2)**20: the two operators bind equally and group from the left.
fn power_of_product(rule: &Rule, index: usize) -> Option<Suspect> {
    let base_index = rule.program.get(index - 1)?.first.checked_sub(1)?;
    let base = rule.program.get(base_index)?;
    let last_operand = rule.program.get(base_index.checked_sub(1)?)?;
    let bracketed = base.end > last_operand.end;
    if bracketed || !matches!(base.operation, Operation::Binary(Binary::Multiply | Binary::Divide)) {
        return None;
    }
    let (text, base_text) = (rule.part(index), rule.part(base_index));
    Some(Suspect {
        brief: format!("{text} is ({base_text}) to a power; put brackets around the power"),
        message: format!(
            "{text} raises {base_text} to a power: ** binds no more strongly than * in the engine's language. Put brackets \
             around the power, as in 200*(2**20)."
        ),
    })
}

fn comparison(rule: &Rule, index: usize, quota: u64, size_limit: u64) -> Option<Suspect> {
    let (left, right) = operands(&rule.program, index)?;
    if is_constant(left) == is_constant(right) {
        return None;
    }
    let (variable, constant, constant_index) = if is_constant(left) {
        (right, left, rule.program.get(index - 1)?.first.checked_sub(1)?)
    } else {
        (left, right, index - 1)
    };
    // What it became is no size that anybody meant.
    if wrap::wraps(constant) {
        return None;
    }
    let text = rule.part(index);
    if let ([Instruction { operation: Operation::Variable(Variable::DbQuotaUsage), .. }], Some(value)) =
        (variable, as_float(constant))
    {
        return usage(text, rule.part(constant_index), value);
    }
    let whole = (0, size_limit.cast_signed());
    let region = Region::new(whole, whole)?;
    let quota_as_float = as_f64(quota);
    let program = specialise(variable, quota_as_float);
    let line = Bounds::new(&program, quota_as_float, as_f64(size_limit)).set(&region)?.line?;
    let (bytes, of_size) = root(line, as_float(constant)?)?;
    let shown = words::size(bytes);
    if bytes > quota {
        return Some(Suspect {
            brief: format!("{text} compares with {shown}, above the quota"),
            message: format!(
                "{text} compares with {shown}, which is above this etcd's quota of {}; no database can reach that. \
                 Write a smaller number, or a share of dbQuota.",
                words::size(quota)
            ),
        });
    }
    let fixed = !mentions(variable, &[Variable::DbQuota, Variable::DbQuotaUsage]);
    let other = if of_size && fixed { other_quota(bytes, quota) } else { None }?;
    Some(Suspect {
        brief: format!("{text} looks written for a quota of {}", words::size(other)),
        message: format!(
            "{text} compares with {shown}, a share of a quota of {}, but this etcd's quota is {}. Write dbQuotaUsage > \
             0.8, which follows the quota.",
            words::size(other),
            words::size(quota)
        ),
    })
}

/// A usage compared with a number that no usage reaches.
fn usage(text: &str, constant: &str, value: f64) -> Option<Suspect> {
    if !(value > 1.0 && value <= 100.0) {
        return None;
    }
    if value < 2.0 {
        return Some(Suspect {
            brief: format!("{text}: no database gets above its quota"),
            message: format!(
                "{text} compares a ratio with {constant}: dbQuotaUsage is 1 for a full database, and no database can reach that. Write \
                 a share below 1, such as 0.8."
            ),
        });
    }
    let ratio = value / 100.0;
    Some(Suspect {
        brief: format!("{text}: a usage is a ratio, write {ratio}"),
        message: format!(
            "{text} compares a ratio with {constant}: dbQuotaUsage is 1 for a full database, so {constant} is {} % of the \
             quota. For {value} % write {ratio}.",
            value * 100.0
        ),
    })
}

fn as_float(program: &[Instruction]) -> Option<f64> {
    match eval::run(program, &[0.0; 5]).ok()? {
        Value::Integer(value) => Some(as_signed_f64(value)),
        Value::Float(value) => Some(value),
        Value::Boolean(_) => None,
    }
}

/// Where a line of the size, the space in use or the free space alone meets a constant, in bytes, and whether it is one
/// of the size.
#[expect(clippy::float_cmp, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn root(line: Line, constant: f64) -> Option<(u64, bool)> {
    let slope = if line.size == 0.0 { line.free } else { line.size };
    let one_variable = line.size == 0.0 || line.free == 0.0 || line.size == -line.free;
    let at = ((constant - line.constant) / slope).round();
    let fits = one_variable && (0.0..9e18).contains(&at);
    fits.then_some((at as u64, line.free == 0.0))
}

/// The common quota of which `bytes` is a share that people choose, unless it is one of this quota too, or a round size near this
/// quota.
fn other_quota(bytes: u64, quota: u64) -> Option<u64> {
    const ROUND: u64 = GIB / 2;
    if bytes.is_multiple_of(ROUND) && bytes >= quota / 2 {
        return None;
    }
    let is_share = |of: u64| (10..=20).any(|twentieths| (of / 20 * twentieths).abs_diff(bytes) <= 20);
    let other = COMMON_QUOTAS.into_iter().map(|gib| gib * GIB).find(|other| is_share(*other))?;
    (!is_share(quota)).then_some(other)
}

#[expect(clippy::cast_precision_loss, reason = "the engine rounds in the same way")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_precision_loss, reason = "the engine rounds in the same way")]
fn as_signed_f64(value: i64) -> f64 {
    value as f64
}
