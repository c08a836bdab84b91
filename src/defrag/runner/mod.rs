//! What our own runner decides, from what it observed of a cluster: whether the endpoints are its members, whether the cluster
//! is healthy enough to take a member away for a while, whose turn is next, what still fits into the time, and how the run
//! ended. [`crate::defrag::rule`] says whether a member is worth it.
//!
//! ```text
//! status and member list of each endpoint ──► roster ──► health ──► turn ──► rule ──► defragment ──┐
//!                                               ▲                     deadline: else deferred      │
//!                                               └──────────────────────────────────────────────────┘
//! ```

mod deadline;
mod disalarm;
mod ending;
mod health;
mod observed;
mod quota;
mod roster;
mod turn;

pub use self::{
    deadline::{Deadline, PATIENCE_OF_A_CHECK},
    disalarm::still_large,
    ending::{differing_quota, outcome, reason_of_check},
    health::{CLOSE, Unhealthy, healthy},
    observed::{Alarm, AlarmKind, Listed, Reached, Status, hex},
    quota::mismatch,
    roster::{Mismatch, Seat, roster},
    turn::{next, successor},
};

#[cfg(test)]
mod tests;
