//! A schedule, and what it is held against.

use std::{cell::OnceCell, time::Duration};

use jiff::Timestamp;

use super::{
    spec::Schedule,
    window::{Openings, Window},
    zone::{Stretch, TimeZone},
};
use crate::defrag::{field::Field, finding::Finding};

/// What the policy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleLimits {
    /// Two consecutive fire times may not be closer.
    pub min_interval: Duration,
    /// Two consecutive fire times may not be further apart, where set.
    pub max_interval: Option<Duration>,
    /// When runs may start, where set.
    pub windows: Option<Vec<Window>>,
}

/// A schedule, and what it is held against.
pub(super) struct Case<'a> {
    pub(super) text: &'a str,
    pub(super) schedule: &'a Schedule,
    pub(super) zone: &'a TimeZone,
    pub(super) limits: &'a ScheduleLimits,
    pub(super) now: Timestamp,
    /// For changeovers.
    pub(super) ahead: Vec<Stretch>,
    /// When the windows are open, once that is asked for.
    pub(super) openings: OnceCell<Option<Openings<'a>>>,
    pub(super) field: &'a Field,
    pub(super) findings: Vec<Finding>,
}
