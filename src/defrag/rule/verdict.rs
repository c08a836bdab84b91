//! What an analysis comes to, and how much it may cost.

use super::State;

/// How many instructions one analysis may bound. Chosen for one millisecond on a slow core.
pub(super) const BUDGET: usize = 24_000;

/// Whether a property holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds at every state.
    Proven,
    /// It does not hold at this state.
    Refuted(State),
    /// The budget was used up first.
    Undecided,
}

impl Verdict {
    /// The counterexample, if there is one.
    #[must_use]
    pub const fn counterexample(&self) -> Option<State> {
        match self {
            Self::Refuted(state) => Some(*state),
            Self::Proven | Self::Undecided => None,
        }
    }
}
