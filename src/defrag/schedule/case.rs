//! A schedule, and what it is held against.

use std::{cell::OnceCell, time::Duration};

use jiff::Timestamp;

use super::{
    spec::Schedule,
    window::{Openings, Window},
    zone::{Stretch, TimeZone},
};
use crate::defrag::{field::Field, finding::Finding, keys::Key};

/// What the policy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleLimits {
    /// Two consecutive fire times may not be closer.
    pub min_interval: Duration,
    /// Two consecutive fire times may not be further apart, where set.
    pub max_interval: Option<Duration>,
    /// When runs may start, where set.
    pub windows: Option<Vec<Window>>,
    /// Whether only the policy may set the time zone.
    pub locks_zone: bool,
}

/// The places of the schedule and its zone, and who may change them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The field of the schedule.
    pub schedule_field: Field,
    /// The field of the time zone.
    pub zone_field: Field,
    /// The namespace of the StatefulSet, for `H`.
    pub namespace: String,
    /// The name of the StatefulSet, for `H`.
    pub name: String,
}

impl Place {
    /// The annotations of a StatefulSet.
    pub fn annotations(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schedule_field: Key::Schedule.field(),
            zone_field: Key::TimeZone.field(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// Whether a field is one of a policy, where values are fields and not annotations.
pub(super) const fn is_policy(field: &Field) -> bool {
    matches!(field, Field::Default(_))
}

/// A schedule, and what it is held against.
pub(super) struct Case<'a> {
    /// As it is written, with `H`.
    pub(super) asked: &'a str,
    /// With the numbers that `H` stands for here.
    pub(super) text: &'a str,
    pub(super) schedule: &'a Schedule,
    pub(super) zone: &'a TimeZone,
    pub(super) limits: &'a ScheduleLimits,
    pub(super) now: Timestamp,
    /// For changeovers.
    pub(super) ahead: Vec<Stretch>,
    /// When the windows are open, once that is asked for.
    pub(super) openings: OnceCell<Option<Openings<'a>>>,
    pub(super) at: &'a Place,
    pub(super) field: &'a Field,
    pub(super) findings: Vec<Finding>,
}
