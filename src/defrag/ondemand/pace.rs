//! How eager a policy is.

use std::time::Duration;

use crate::defrag::schedule;

/// How eager a policy is.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// How long after the end of a run the next may start.
    pub cooldown: Duration,
    /// The same near the quota.
    pub emergency_cooldown: Duration,
    /// The share of the quota from which on a run does not wait for a window.
    pub emergency_above: f64,
    /// When runs may start, where the policy says so.
    pub windows: Option<Vec<schedule::Window>>,
}
