//! A parsed rule: instructions in the order in which the engine's library computes them.
//!
//! Operands come before their operator, so evaluation needs a list of values and no recursion. The library evaluates
//! both sides of `&&`, `||` and `? :` whatever their values; the order of instructions does the same.

use std::{fmt, str::FromStr};

/// What a rule can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variable {
    /// The size of the database file, in bytes.
    DbSize,
    /// The part of it that holds data, in bytes.
    DbSizeInUse,
    /// The rest, in bytes: what a defragmentation gives back.
    DbSizeFree,
    /// The quota, in bytes.
    DbQuota,
    /// The size divided by the quota, 0.8 for 80 %.
    DbQuotaUsage,
}

impl Variable {
    /// Every variable there is.
    pub const ALL: [Self; 5] = [Self::DbSize, Self::DbSizeInUse, Self::DbSizeFree, Self::DbQuota, Self::DbQuotaUsage];

    /// The name in a rule.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DbSize => "dbSize",
            Self::DbSizeInUse => "dbSizeInUse",
            Self::DbSizeFree => "dbSizeFree",
            Self::DbQuota => "dbQuota",
            Self::DbQuotaUsage => "dbQuotaUsage",
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variable {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|variable| variable.name() == name).ok_or(())
    }
}

/// An operator with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    Equal,
    NotEqual,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    And,
    Or,
    BitAnd,
    BitOr,
    BitXor,
    ShiftLeft,
    ShiftRight,
}

/// One step of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operation {
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Variable(Variable),
    Negate,
    Not,
    BitNot,
    Binary(Binary),
    /// `condition ? first : second`, all three computed before.
    Choose,
}

/// A step and its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Instruction {
    pub(super) operation: Operation,
    /// The bytes of the rule that this sub-expression takes.
    pub(super) start: usize,
    pub(super) end: usize,
    /// The index of the first instruction that belongs to this sub-expression.
    pub(super) first: usize,
}

/// Whether a program has one value, whatever the state is.
pub(super) fn is_constant(program: &[Instruction]) -> bool {
    !program.iter().any(|step| matches!(step.operation, Operation::Variable(_)))
}

/// Whether a program depends on the size and on the reclaimable space.
pub(super) fn axes(program: &[Instruction]) -> (bool, bool) {
    let uses = |wanted: &[Variable]| {
        program.iter().any(|step| matches!(step.operation, Operation::Variable(variable) if wanted.contains(&variable)))
    };
    let both = uses(&[Variable::DbSizeInUse]);
    (both || uses(&[Variable::DbSize, Variable::DbQuotaUsage]), both || uses(&[Variable::DbSizeFree]))
}

/// The types that a sub-expression can have; more than one only after `? :` and `**`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Types {
    pub(super) integer: bool,
    pub(super) float: bool,
    pub(super) boolean: bool,
}

impl Types {
    pub(super) const INTEGER: Self = Self { integer: true, float: false, boolean: false };
    pub(super) const FLOAT: Self = Self { integer: false, float: true, boolean: false };
    pub(super) const BOOLEAN: Self = Self { integer: false, float: false, boolean: true };

    pub(super) const fn numeric(self) -> bool {
        self.integer || self.float
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self {
            integer: self.integer || other.integer,
            float: self.float || other.float,
            boolean: self.boolean || other.boolean,
        }
    }

    /// The type of a sum and the like: whole where both sides are.
    pub(super) const fn combined(self, other: Self) -> Self {
        Self {
            integer: self.integer && other.integer,
            float: self.float && other.numeric() || self.numeric() && other.float,
            boolean: false,
        }
    }
}
