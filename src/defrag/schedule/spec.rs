//! What a schedule is once it has been read.

use std::{ops::Range, time::Duration};

use super::{calendar::Calendar, field::Field};

/// When a CronJob fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub(super) spec: Spec,
    pub(super) wide_step: Option<WideStep>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spec {
    /// Five fields, or a macro that stands for them.
    Calendar(Calendar),
    /// `@every`, in whole seconds, at least one.
    Every(i64),
}

/// An item whose step is at least as large as its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WideStep {
    pub field: Field,
    /// The place of the item, in bytes.
    pub item: Range<usize>,
    pub step: u64,
    /// How many values the range has.
    pub width: u64,
    /// The one value that the item stands for.
    pub value: u64,
}

/// Whole seconds as a duration.
pub(super) fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}
