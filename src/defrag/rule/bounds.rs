//! What a rule can be over a region of states.

use std::cmp::Ordering;

use super::{
    State,
    domain::{Floats, Integers, Set, Truths},
    eval::{self, Value},
    fact::{self, Corners, Fact},
    linear::Line,
    power,
    program::{Binary, Instruction, Operation},
    region::Region,
    whole::{bits, quotients},
};

/// What a rule can be over a region. At least one is set; a region of one state has exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub(super) fires: bool,
    pub(super) rests: bool,
    pub(super) fails: bool,
}

impl Outcomes {
    /// The outcome at one state.
    pub(super) fn at(rule: &super::Rule, state: &State) -> Self {
        match rule.evaluate(state) {
            Ok(true) => Self { fires: true, ..Self::default() },
            Ok(false) => Self { rests: true, ..Self::default() },
            Err(_) => Self { fails: true, ..Self::default() },
        }
    }

    pub(super) fn is_single(self) -> bool {
        u8::from(self.fires) + u8::from(self.rests) + u8::from(self.fails) == 1
    }
}

/// A program with the quota put in and every constant sub-expression computed.
///
/// A sub-expression that always fails is left unchanged: the failure belongs to each region.
pub(super) fn specialise(program: &[Instruction], quota: f64) -> Vec<Instruction> {
    let variables = [0.0, 0.0, 0.0, quota, 0.0];
    let mut folded: Vec<Instruction> = Vec::with_capacity(program.len());
    // For each value on the stack: where its instructions begin in `folded`, and whether it is a constant.
    let mut stack: Vec<(usize, bool)> = Vec::new();
    for step in program {
        let operands = match step.operation {
            Operation::Integer(_) | Operation::Float(_) | Operation::Boolean(_) | Operation::Variable(_) => 0,
            Operation::Negate | Operation::Not | Operation::BitNot => 1,
            Operation::Binary(_) => 2,
            Operation::Choose => 3,
        };
        let from = stack.len().saturating_sub(operands);
        let own = match step.operation {
            Operation::Variable(variable) => variable == super::Variable::DbQuota,
            _ => true,
        };
        let constant = own && stack.iter().skip(from).all(|(_, constant)| *constant);
        let begin = stack.get(from).map_or(folded.len(), |(begin, _)| *begin);
        stack.truncate(from);
        folded.push(*step);
        let mut known = false;
        if constant && let Ok(value) = eval::run(folded.get(begin..).unwrap_or_default(), &variables) {
            let operation = match value {
                Value::Integer(value) => Operation::Integer(value),
                Value::Float(value) => Operation::Float(value),
                Value::Boolean(value) => Operation::Boolean(value),
            };
            folded.truncate(begin);
            folded.push(Instruction { operation, ..*step });
            known = true;
        }
        stack.push((begin, known));
    }
    folded
}

/// Computes what a program can be over regions.
pub(super) struct Bounds<'a> {
    program: &'a [Instruction],
    quota: f64,
    /// The largest size, for the errors of lines.
    limit: f64,
    stack: Vec<Set>,
    corners: Corners,
    fails: bool,
    /// A line at whose root a region is best cut.
    pub(super) cut: Option<Line>,
    /// What is known besides of the states of a region.
    pub(super) facts: Vec<Fact>,
}

impl<'a> Bounds<'a> {
    pub(super) fn new(program: &'a [Instruction], quota: f64, limit: f64) -> Self {
        let (stack, corners, facts) = (Vec::with_capacity(16), Corners::new(), Vec::new());
        Self { program, quota, limit, stack, corners, fails: false, cut: None, facts }
    }

    /// What the program can be over `region`.
    pub(super) fn outcomes(&mut self, region: &Region) -> Outcomes {
        let Some(result) = self.set(region) else {
            return Outcomes { fails: true, ..Outcomes::default() };
        };
        let fails = self.fails || result.has_numbers();
        Outcomes { fires: result.truths.yes, rests: result.truths.no, fails }
    }

    /// The values that the program can have over `region`, `None` where every state fails.
    pub(super) fn set(&mut self, region: &Region) -> Option<Set> {
        self.stack.clear();
        self.corners.clear();
        if self.facts.is_empty() {
            self.corners.extend(region.corners());
        } else {
            self.corners = fact::corners(region, &self.facts, self.limit);
        }
        (self.fails, self.cut) = (false, None);
        for step in self.program {
            let set = self.step(step.operation, region);
            if set.is_empty() {
                return None;
            }
            self.stack.push(set);
        }
        self.stack.pop()
    }

    fn pop(&mut self) -> Set {
        self.stack.pop().unwrap_or(Set::NONE)
    }

    fn step(&mut self, operation: Operation, region: &Region) -> Set {
        match operation {
            Operation::Integer(value) => Set::integer(value),
            Operation::Float(value) => Set::floats(Floats::point(value), Line::constant(value)),
            Operation::Boolean(value) => Set::truths(Truths::point(value)),
            Operation::Variable(variable) => {
                let (low, high) = region.bounds(variable, self.quota);
                let whole = variable != super::Variable::DbQuotaUsage;
                let line = Region::line(variable, self.quota, self.limit);
                // A variable that is known not to be 0 divides without failing.
                let above_zero = line.is_some_and(|line| self.sign(line) == Some(Ordering::Greater));
                let low = if above_zero { low.max(f64::MIN_POSITIVE) } else { low };
                Set::floats(Floats { whole, ..Floats::between(low, high) }, line)
            }
            Operation::Negate => {
                let set = self.pop();
                self.fails |= !set.truths.is_empty();
                let integers = if set.integers.is_empty() {
                    Integers::NONE
                } else {
                    Integers::spanning(&[set.integers.low.checked_neg(), set.integers.high.checked_neg()])
                };
                let floats = if set.has_floats() { set.floats.negate() } else { Floats::NONE };
                // The negative of the least integer is itself, which the line does not know.
                let line = if integers == Integers::ALL { None } else { set.line.map(Line::negate) };
                Set { integers, floats, line, ..Set::NONE }
            }
            Operation::Not => {
                let set = self.pop();
                self.fails |= set.has_numbers();
                Set::truths(set.truths.not())
            }
            Operation::BitNot => {
                let set = self.pop();
                let integers = self.whole_numbers(&set);
                if integers.is_empty() {
                    return Set::NONE;
                }
                Set::integers(Integers { low: !integers.high, high: !integers.low })
            }
            Operation::Choose => {
                let (second, first, condition) = (self.pop(), self.pop(), self.pop());
                self.fails |= condition.has_numbers();
                match (condition.truths.yes, condition.truths.no) {
                    (true, true) => first.union(&second),
                    (true, false) => first,
                    (false, true) => second,
                    (false, false) => Set::NONE,
                }
            }
            Operation::Binary(operator) => {
                let (right, left) = (self.pop(), self.pop());
                self.binary(operator, &left, &right)
            }
        }
    }

    fn binary(&mut self, operator: Binary, left: &Set, right: &Set) -> Set {
        match operator {
            Binary::And | Binary::Or => {
                self.fails |= left.has_numbers() || right.has_numbers();
                let both =
                    if operator == Binary::And { left.truths.and(right.truths) } else { left.truths.or(right.truths) };
                Set::truths(both)
            }
            Binary::Equal | Binary::NotEqual => {
                let equal = self.equality(left, right);
                Set::truths(if operator == Binary::Equal { equal } else { equal.not() })
            }
            Binary::Less | Binary::Greater | Binary::LessOrEqual | Binary::GreaterOrEqual => {
                self.fails |= !left.truths.is_empty() || !right.truths.is_empty();
                Set::truths(self.order(operator, left, right))
            }
            Binary::BitAnd | Binary::BitOr | Binary::BitXor | Binary::ShiftLeft | Binary::ShiftRight => {
                let (a, b) = (self.whole_numbers(left), self.whole_numbers(right));
                if a.is_empty() || b.is_empty() { Set::NONE } else { Set::integers(bits(operator, a, b)) }
            }
            _ => {
                self.fails |= !left.truths.is_empty() || !right.truths.is_empty();
                if !left.has_numbers() || !right.has_numbers() {
                    return Set::NONE;
                }
                self.arithmetic(operator, left, right)
            }
        }
    }

    fn arithmetic(&mut self, operator: Binary, left: &Set, right: &Set) -> Set {
        if operator == Binary::Power {
            return raise(left, right);
        }
        let integers = if left.integers.is_empty() || right.integers.is_empty() {
            Integers::NONE
        } else {
            self.whole_arithmetic(operator, left.integers, right.integers)
        };
        // Two whole numbers stay whole; every other pair becomes floating-point.
        let mut floats = Floats::NONE;
        for (a, b, mixed) in [
            (left.floats, right.numbers(), left.has_floats()),
            (left.integers.to_floats(), right.floats, !left.integers.is_empty() && right.has_floats()),
        ] {
            if mixed {
                floats = floats.union(self.float_arithmetic(operator, a, b, right.line));
            }
        }
        // Whole results that wrap around or are cut off do not follow a line.
        let has_floats = !floats.is_empty() || floats.nan;
        let line = if integers.is_empty() && has_floats { self.line(operator, left.line, right.line) } else { None };
        if let Some(line) = line {
            floats = floats.within(self.range(line));
        }
        let is_quotient = operator == Binary::Divide && line.is_none() && integers.is_empty();
        let quotient = left.line.zip(right.line).filter(|_| is_quotient && right.numbers().low > 0.0);
        Set { integers, floats, truths: Truths::NONE, line: line.or_else(|| whole_line(integers)), quotient }
    }

    fn line(&self, operator: Binary, left: Option<Line>, right: Option<Line>) -> Option<Line> {
        let (left, right) = (left?, right?);
        match operator {
            Binary::Add => left.add(right, self.limit),
            Binary::Subtract => left.add(right.negate(), self.limit),
            Binary::Multiply => left.multiply(right, self.limit),
            Binary::Divide => left.divide(right, self.limit),
            _ => None,
        }
    }

    fn whole_arithmetic(&mut self, operator: Binary, a: Integers, b: Integers) -> Integers {
        let ends = [(a.low, b.low), (a.low, b.high), (a.high, b.low), (a.high, b.high)];
        match operator {
            Binary::Add => Integers::spanning(&[a.low.checked_add(b.low), a.high.checked_add(b.high)]),
            Binary::Subtract => Integers::spanning(&[a.low.checked_sub(b.high), a.high.checked_sub(b.low)]),
            Binary::Multiply => Integers::spanning(&ends.map(|(a, b)| a.checked_mul(b))),
            _ => {
                self.fails |= b.contains_zero();
                if b.single() == Some(0) { Integers::NONE } else { quotients(operator, a, b) }
            }
        }
    }

    fn float_arithmetic(&mut self, operator: Binary, a: Floats, b: Floats, divisor: Option<Line>) -> Floats {
        match operator {
            Binary::Add => a.add(b),
            Binary::Subtract => a.add(b.negate()),
            Binary::Multiply => a.multiply(b),
            Binary::Divide => {
                if b.contains_zero() {
                    self.fails = true;
                    self.cut = self.cut.or(divisor);
                }
                a.divide(b)
            }
            _ => a.remainder(b),
        }
    }

    /// The integers that a set converts to; whatever does not convert fails.
    fn whole_numbers(&mut self, set: &Set) -> Integers {
        const OUT_OF_RANGE: f64 = 9_223_372_036_854_775_808.0;
        self.fails |= !set.truths.is_empty() || set.floats.nan;
        let floats = set.floats;
        if floats.is_empty() {
            return set.integers;
        }
        if let Some(value) = floats.single() {
            let whole = eval::exact_integer(value);
            self.fails |= whole.is_none();
            return whole.map_or(set.integers, |value| set.integers.union(Integers::point(value)));
        }
        self.fails |= !floats.whole || floats.low < -OUT_OF_RANGE || floats.high >= OUT_OF_RANGE;
        // The largest number below 2^63 is the last that converts.
        let low = eval::exact_integer(floats.low.ceil().max(-OUT_OF_RANGE)).unwrap_or(i64::MAX);
        let high = eval::exact_integer(floats.high.floor().min(OUT_OF_RANGE.next_down())).unwrap_or(i64::MIN);
        if low > high { set.integers } else { set.integers.union(Integers { low, high }) }
    }

    /// The bounds of a line that has the sign of `left - right` as real numbers, where there is one.
    fn difference(&mut self, left: &Set, right: &Set) -> Option<(f64, f64)> {
        let line = match (left.quotient, right.quotient) {
            (None, None) => left.line?.add(right.line?.negate(), self.limit)?,
            (Some((line, divisor)), None) => line.over(divisor, right.line?, self.limit)?,
            (None, Some((line, divisor))) => line.over(divisor, left.line?, self.limit)?.negate(),
            (Some(_), Some(_)) => return None,
        };
        match self.sign(line) {
            Some(Ordering::Less) => return Some((f64::NEG_INFINITY, -f64::MIN_POSITIVE)),
            Some(Ordering::Equal) => return Some((0.0, 0.0)),
            Some(Ordering::Greater) => return Some((f64::MIN_POSITIVE, f64::INFINITY)),
            None => {}
        }
        let (low, high) = self.range(line);
        if low <= 0.0 && high >= 0.0 {
            self.cut = self.cut.or(Some(line));
        }
        Some((low, high))
    }

    fn range(&self, line: Line) -> (f64, f64) {
        if self.facts.is_empty() {
            line.range(&self.corners, self.limit)
        } else {
            line.wide_range(&self.corners, self.limit)
        }
    }

    /// What is known of the sign of a line.
    fn sign(&self, line: Line) -> Option<Ordering> {
        self.facts.iter().find_map(|fact| fact.sign_of(line)).filter(|_| line.is_exact(self.limit))
    }

    fn equality(&mut self, left: &Set, right: &Set) -> Truths {
        let mut equal = Truths::NONE;
        let (a, b) = (left.truths, right.truths);
        if !a.is_empty() && !b.is_empty() {
            equal = equal.union(Truths { yes: a.yes && b.yes || a.no && b.no, no: a.yes && b.no || a.no && b.yes });
        }
        // A truth value never equals a number.
        equal.no |= !a.is_empty() && right.has_numbers() || left.has_numbers() && !b.is_empty();
        if left.has_numbers() && right.has_numbers() {
            equal = equal.union(self.equal_numbers(left, right));
        }
        equal
    }

    #[expect(clippy::float_cmp, reason = "this is the equality of the language")]
    fn equal_numbers(&mut self, left: &Set, right: &Set) -> Truths {
        if !left.has_floats() && !right.has_floats() {
            let (a, b) = (left.integers, right.integers);
            let same = a.single().is_some() && a == b;
            return Truths { yes: a.low <= b.high && b.low <= a.high, no: !same };
        }
        let (a, b) = (left.numbers(), right.numbers());
        let mut truths = Truths {
            yes: a.low <= b.high && b.low <= a.high,
            no: a.nan || b.nan || !(a.low == a.high && b.low == b.high && a.low == b.low),
        };
        // Whole numbers compare exactly where both sides can be whole, which only matters beyond 2^53.
        if !left.integers.is_empty() && !right.integers.is_empty() {
            truths.no |= left.integers.single().is_none() || left.integers != right.integers;
        }
        match self.difference(left, right) {
            Some((low, high)) if low > 0.0 || high < 0.0 => truths.yes = false,
            Some((0.0, 0.0)) => truths.no = a.nan || b.nan,
            _ => {}
        }
        if truths.is_empty() { Truths::BOTH } else { truths }
    }

    fn order(&mut self, operator: Binary, left: &Set, right: &Set) -> Truths {
        let (left, right, or_equal) = match operator {
            Binary::Less => (left, right, false),
            Binary::LessOrEqual => (left, right, true),
            Binary::Greater => (right, left, false),
            _ => (right, left, true),
        };
        if !left.has_numbers() || !right.has_numbers() {
            return Truths::NONE;
        }
        let mut truths = Truths::NONE;
        if !left.integers.is_empty() && !right.integers.is_empty() {
            let (a, b) = (left.integers, right.integers);
            truths = if or_equal {
                Truths { yes: a.low <= b.high, no: a.high > b.low }
            } else {
                Truths { yes: a.low < b.high, no: a.high >= b.low }
            };
        }
        if left.has_floats() || right.has_floats() {
            let (a, b) = (left.numbers(), right.numbers());
            let mut floats = if or_equal {
                Truths { yes: a.low <= b.high, no: a.high > b.low }
            } else {
                Truths { yes: a.low < b.high, no: a.high >= b.low }
            };
            if a.is_empty() || b.is_empty() {
                floats = Truths::NONE;
            }
            if floats == Truths::BOTH
                && let Some((low, high)) = self.difference(left, right)
            {
                floats = if or_equal {
                    Truths { yes: low <= 0.0, no: high > 0.0 }
                } else {
                    Truths { yes: low < 0.0, no: high >= 0.0 }
                };
            }
            floats.no |= a.nan || b.nan;
            truths = truths.union(floats);
        }
        if truths.is_empty() { Truths::BOTH } else { truths }
    }
}

fn whole_line(integers: Integers) -> Option<Line> {
    integers.single().and_then(|value| Set::integer(value).line)
}

/// Powers: exact for one base, else bounded where the exponent is a small whole number.
fn raise(left: &Set, right: &Set) -> Set {
    let (base, exponent) = (left.numbers(), right.numbers());
    let unknown = Set {
        integers: if left.integers.is_empty() || right.integers.is_empty() { Integers::NONE } else { Integers::ALL },
        floats: Floats::ALL,
        ..Set::NONE
    };
    if left.truths.is_empty() && right.truths.is_empty() {
        let value = |set: &Set| match (set.integers.single(), set.floats.single()) {
            (Some(value), _) if !set.has_floats() => Some(Value::Integer(value)),
            (None, Some(value)) if set.integers.is_empty() => Some(Value::Float(value)),
            _ => None,
        };
        if let (Some(a), Some(b)) = (value(left), value(right)) {
            return match eval::binary(Binary::Power, a, b) {
                Ok(Value::Integer(value)) => Set::integer(value),
                Ok(Value::Float(value)) => Set::floats(Floats::point(value), Line::constant(value)),
                _ => unknown,
            };
        }
    }
    let Some(exponent) =
        exponent.single().filter(|exponent| (1.0..=64.0).contains(exponent) && exponent.fract() == 0.0)
    else {
        return unknown;
    };
    if base.is_empty() || base.nan || base.low < 0.0 || !left.integers.is_empty() || !base.high.is_finite() {
        return unknown;
    }
    // Repeated products round each time, so the ends are not quite ordered; the slack is far above that.
    let slack = 1e-12;
    let low = power::power(base.low, exponent) * (1.0 - slack) - f64::MIN_POSITIVE;
    let high = power::power(base.high, exponent) * (1.0 + slack) + f64::MIN_POSITIVE;
    Set::floats(Floats::between(low.max(0.0), high), None)
}
