//! Constants that wrap around at 64 bits.

use super::super::{
    Rule,
    eval::{self, Value},
    program::{Binary, Instruction, Operation, is_constant},
};

/// The largest constants of the rule in which a whole number wraps around, each with its value, in the order of the rule.
pub(super) fn wrapped(rule: &Rule) -> Vec<(&str, i64)> {
    let program = &rule.program;
    let mut found = Vec::new();
    // From the end, a constant comes before its parts, and those are passed over.
    let mut rest = program.len();
    while let Some(index) = rest.checked_sub(1) {
        rest = index;
        let Some(step) = program.get(index) else { break };
        let Some(constant) = program.get(step.first..=index).filter(|part| part.len() > 1 && is_constant(part)) else {
            continue;
        };
        rest = step.first;
        if let (true, Ok(Value::Integer(value))) = (wraps(constant), eval::run(constant, &[0.0; 5])) {
            found.push((rule.part(index), value));
        }
    }
    found.reverse();
    found
}

/// Whether a sum, a difference or a product in a constant is beyond 64 bits.
pub(super) fn wraps(constant: &[Instruction]) -> bool {
    // The whole numbers, with room for one operation more; `None` for others.
    let mut stack: Vec<Option<i128>> = Vec::new();
    for step in constant {
        let value = match step.operation {
            Operation::Integer(value) => Some(value.into()),
            Operation::Float(_) => None,
            Operation::Negate => stack.pop().flatten().map(|value| -value),
            Operation::Binary(operator @ (Binary::Add | Binary::Subtract | Binary::Multiply)) => {
                let (right, left) = (stack.pop().flatten(), stack.pop().flatten());
                left.zip(right).map(|(left, right)| match operator {
                    Binary::Add => left + right,
                    Binary::Subtract => left - right,
                    _ => left * right,
                })
            }
            _ => return false,
        };
        if value.is_some_and(|value| i64::try_from(value).is_err()) {
            return true;
        }
        stack.push(value);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_that_wrap_around_are_named_whole_and_once() {
        let powers = format!("200{}", "*1024".repeat(8));
        for (rule, wanted) in [
            ("dbSizeFree > 17179869184*1073741824", &[("17179869184*1073741824", 0)][..]),
            (&format!("dbSizeFree > {powers}"), &[(powers.as_str(), 0)]),
            ("dbSize > 9223372036854775807 + 1", &[("9223372036854775807 + 1", i64::MIN)]),
            (
                "dbSize > 3*4611686018427387904 || dbSize < -2 - 9223372036854775807",
                &[("3*4611686018427387904", -4_611_686_018_427_387_904), ("-2 - 9223372036854775807", i64::MAX)],
            ),
            ("dbSizeFree*(4294967296*4294967296) > 1", &[("(4294967296*4294967296)", 0)]),
            ("dbSize > 9223372036854775807", &[]),
            ("dbSize > 9223372036854775806 + 1", &[]),
            ("dbSize > 1e18*1e18", &[]),
            ("dbSize > 2.0*9223372036854775807", &[]),
            ("dbSize > dbSizeFree*9223372036854775807", &[]),
            ("dbSize > 200*1024*1024", &[]),
            ("", &[]),
        ] {
            assert_eq!(wrapped(&Rule::parse(rule).unwrap()), wanted, "{rule}");
        }
    }
}
