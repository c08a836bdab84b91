//! Why a rule cannot be used, and why it cannot be evaluated at a state.

use std::fmt;

use thiserror::Error;

/// A rule that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("column {column}: found {found}, expected {expected}{}", Hint(.suggestion.as_deref()))]
pub struct RuleError {
    /// What kind of mistake it is.
    pub kind: RuleErrorKind,
    /// Where it is: the 1-based character of the rule.
    pub column: usize,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
    /// What to write instead, if known.
    pub suggestion: Option<String>,
}

/// What kind of mistake a [`RuleError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleErrorKind {
    /// Not an expression of the engine's language.
    Syntax,
    /// A number that the engine cannot read, mostly because it is too large.
    Literal,
    /// A name that the engine does not define.
    UnknownVariable,
    /// An operation that fails at every state because of the types of its operands.
    Type,
    /// Something that the language has and that a rule has no use for.
    Refused(Construct),
    /// Longer than [`MAX_LENGTH`](super::MAX_LENGTH) or deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    TooLarge,
}

/// What the engine's expression language has and a rule has no use for: a rule compares numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Construct {
    /// `"text"` or `` `text` ``.
    Text,
    /// `nil`.
    Nil,
    /// `[1, 2]`, `a[0]` and `a[0:1]`.
    Array,
    /// `{"a": 1}`.
    Object,
    /// `a.b`.
    Field,
    /// `a in b`.
    Membership,
    /// `f(a)`; the engine defines no function.
    Function,
    /// `a ** b` where `b` depends on the state, or is a fraction other than a half: its last digits depend on the
    /// processor that the engine runs on.
    Power,
}

impl fmt::Display for Construct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Nil => "nil",
            Self::Array => "an array or index",
            Self::Object => "an object",
            Self::Field => "a field access",
            Self::Membership => "the operator in",
            Self::Function => "a function call",
            Self::Power => "a power with such an exponent",
        })
    }
}

/// Why a rule has no value at a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("column {column}: {kind}")]
pub struct EvalError {
    /// What went wrong.
    pub kind: EvalErrorKind,
    /// The 1-based character where the sub-expression that failed begins.
    pub column: usize,
}

/// What goes wrong when a rule is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EvalErrorKind {
    /// `/` with a divisor of zero, whole or fractional.
    #[error("a division by zero")]
    DivisionByZero,
    /// `%` of whole numbers with a divisor of zero; this ends the engine's process.
    #[error("a remainder of a division by zero, which crashes the engine")]
    RemainderByZero,
    /// A bit operation on a fractional or too large number.
    #[error("a bit operation on a number that is not a 64-bit integer")]
    NotAnInteger,
    /// An operation on a value of the wrong type.
    #[error("an operation on a value of the wrong type")]
    WrongType,
    /// The value of the whole rule is a number.
    #[error("the rule is a number, neither true nor false")]
    NotABoolean,
}

struct Hint<'a>(Option<&'a str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}
