//! Whose turn is next, and who leads in place of a leader whose turn it is.

use super::{health::CLOSE, observed::Status};

/// The next of those that remain, which are indices of `statuses`: the current leader is last.
#[must_use]
pub fn next(remaining: &[usize], statuses: &[Status]) -> Option<usize> {
    let follows = |at: &&usize| statuses.get(**at).is_some_and(|status| !status.leads());
    remaining.iter().find(follows).or_else(|| remaining.first()).copied()
}

/// The member that leadership is moved to: one whose turn is over and that is close to the leader, of those the one that is
/// closest, and of equals the first. `over` has indices of `statuses`.
#[must_use]
pub fn successor(over: &[usize], statuses: &[Status]) -> Option<usize> {
    let leader = statuses.iter().find(|status| status.leads())?;
    let behind = |at: usize| statuses.get(at).map(|status| leader.applied.saturating_sub(status.applied));
    let fit = |at: &usize| {
        let follows = statuses.get(*at).is_some_and(|status| !status.learner && !status.leads());
        follows && behind(*at).is_some_and(|entries| entries <= CLOSE)
    };
    over.iter().copied().filter(fit).min_by_key(|at| behind(*at))
}
