//! The rule that says when to defragment: read, evaluated and proven.
//!
//! The language is that of `github.com/maja42/goval` v1.6.0 as etcd-defrag calls it: five variables, all floating-point
//! numbers, no functions, and a result that must be true or false. [`Rule::parse`] and [`Rule::evaluate`] give exactly
//! its answers; constructs of the language that a rule does not need are refused by name ([`Construct`]). [`analyse`]
//! examines a rule on every state that a database can be in, [`judge`] turns that into findings.
//!
//! ```text
//! text ── lex ── parse ──▶ instructions ──┬─ eval ───────────────▶ true, false or an error at one state
//!                                         └─ bounds ── analysis ──▶ proven, refuted or undecided over all states
//! ```
//!
//! Facts worth knowing: whole and floating-point numbers differ (`80/100` is 0); `&&`, `||` and `? :` compute both sides
//! whatever the first says, so an error on either side is an error of the rule; a division by zero is an error for both
//! kinds of numbers, a floating-point remainder by zero is not; whole numbers wrap around at 64 bits; an unclosed `/*`
//! comment reaches to the end; `a<-b` is `a < -b`, `a--b` is an error; the empty rule (no character at all, not even a
//! blank) is always true.

mod analysis;
mod bounds;
mod compile;
mod domain;
mod error;
mod eval;
mod fact;
mod implication;
mod judge;
mod kept;
mod lex;
mod linear;
mod number;
mod parse;
mod picture;
mod power;
mod program;
mod region;
mod space;
mod suggest;
mod suspect;
mod threshold;
mod verdict;
mod whole;
mod words;

pub use self::{
    analysis::{Analysis, analyse},
    compile::{Thresholds, compile, compile_within},
    error::{Construct, EvalError, EvalErrorKind, RuleError, RuleErrorKind},
    implication::{FRAGMENTATION_ALERT, FRAGMENTATION_ALERT_CONDITION, implies, quiets_alert},
    judge::{Judged, judge, out_of_reach},
    kept::{first_firing, forget_analyses},
    parse::{MAX_DEPTH, MAX_LENGTH},
    picture::picture,
    program::Variable,
    space::SMALLEST_DATABASE,
    verdict::Verdict,
    words::database,
};

use self::{
    eval::Value,
    program::{Instruction, Operation},
};

/// The empty rule.
const ALWAYS: [Instruction; 1] = [Instruction { operation: Operation::Boolean(true), start: 0, end: 0, first: 0 }];

/// The state at which the engine tries every rule before it does anything, whatever the real etcd is like.
pub const ENGINE_SAMPLE: State = State { db_size: 100 << 20, db_size_in_use: 60 << 20, quota: 2 << 30 };

/// A state of one member's database, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The size of the database file.
    pub db_size: u64,
    /// The part of it that holds data.
    pub db_size_in_use: u64,
    /// The quota.
    pub quota: u64,
}

impl State {
    /// What a defragmentation would reclaim, in bytes.
    #[must_use]
    pub const fn free(&self) -> u64 {
        self.db_size.saturating_sub(self.db_size_in_use)
    }

    /// The value that each variable of a rule has here.
    #[must_use]
    pub fn values(&self) -> [(Variable, f64); 5] {
        let values = self.variables();
        Variable::ALL.map(|variable| (variable, eval::lookup(&values, variable)))
    }

    /// The variables as the engine derives them from 64-bit integers.
    #[expect(clippy::cast_precision_loss, reason = "the engine rounds to nearest in the same places")]
    fn variables(&self) -> eval::Variables {
        let [size, in_use, quota] = [self.db_size, self.db_size_in_use, self.quota].map(u64::cast_signed);
        let free = size.wrapping_sub(in_use);
        [size as f64, in_use as f64, free as f64, quota as f64, size as f64 / quota as f64]
    }
}

/// A rule that the engine's language accepts.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    text: String,
    /// Empty for the empty rule.
    program: Vec<Instruction>,
}

impl Rule {
    /// Reads a rule; the empty text is the rule that is always true.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let program = if text.is_empty() { Vec::new() } else { parse::parse(text)? };
        Ok(Self { text: text.to_owned(), program })
    }

    /// The text that was read.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the engine defragments a member in this state.
    pub fn evaluate(&self, state: &State) -> Result<bool, EvalError> {
        if self.program.is_empty() {
            return Ok(true);
        }
        match eval::run(&self.program, &state.variables()) {
            Ok(Value::Boolean(value)) => Ok(value),
            Ok(_) => Err(self.located(self.program.len() - 1, EvalErrorKind::NotABoolean)),
            Err((index, kind)) => Err(self.located(index, kind)),
        }
    }

    /// Whether what is added behind the rule would belong to a comment.
    fn ends_in_comment(&self) -> bool {
        lex::comment_at_end(&self.text).is_some()
    }

    /// Whether the rule is a choice `a ? b : c` as a whole, so that what is added behind it would belong to `c`.
    fn is_choice(&self) -> bool {
        self.program.last().is_some_and(|last| matches!(last.operation, Operation::Choose))
    }

    /// What is computed; the empty rule is one, too.
    fn instructions(&self) -> &[Instruction] {
        if self.program.is_empty() { &ALWAYS } else { &self.program }
    }

    fn located(&self, index: usize, kind: EvalErrorKind) -> EvalError {
        let start = self.program.get(index).map_or(0, |step| step.start);
        EvalError { kind, column: lex::column(&self.text, start) }
    }

    /// The text of the sub-expression that instruction `index` ends.
    fn part(&self, index: usize) -> &str {
        self.program.get(index).and_then(|step| self.text.get(step.start..step.end)).unwrap_or_default()
    }
}

impl std::str::FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        Self::parse(text)
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod proofs;
#[cfg(test)]
mod tests;
