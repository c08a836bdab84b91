//! What is counted of runs that have ended.

use std::{fmt, sync::atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family},
    registry::{Registry, Unit},
};

use crate::defrag::cronjob::last_run::Outcome;

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        use fmt::Write as _;
        encoder.write_str(match self {
            Self::Defragmented => "defragmented",
            Self::NothingToDo => "nothing_to_do",
            Self::Succeeded => "succeeded",
            Self::Deferred => "deferred",
            Self::Failed => "failed",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(in crate::controller) struct RunLabels {
    pub(in crate::controller) outcome: Outcome,
}

/// The metrics of runs, over the whole fleet.
#[derive(Clone, Debug)]
pub struct RunMetrics {
    pub(in crate::controller) runs: Family<RunLabels, Counter>,
    pub(in crate::controller) reclaimed: Counter,
    pub(in crate::controller) blocked: Counter<f64, AtomicU64>,
    pub(in crate::controller) retried: Counter,
}

impl Default for RunMetrics {
    /// All at zero, each outcome from the start, so that the first one shows as an increase.
    fn default() -> Self {
        let runs = Family::<RunLabels, Counter>::default();
        for outcome in
            [Outcome::Defragmented, Outcome::NothingToDo, Outcome::Succeeded, Outcome::Deferred, Outcome::Failed]
        {
            drop(runs.get_or_create(&RunLabels { outcome }));
        }
        let (reclaimed, blocked, retried) = (Counter::default(), Counter::default(), Counter::default());
        Self { runs, reclaimed, blocked, retried }
    }
}

impl RunMetrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("runs", "Runs that ended, by result", self.runs.clone());
        registry.register_with_unit(
            "reclaimed",
            "What runs reclaimed on members, as far as the engine reports it",
            Unit::Bytes,
            self.reclaimed.clone(),
        );
        registry.register_with_unit(
            "blocked",
            "How long members were blocked by their defragmentation, as far as the engine reports it",
            Unit::Seconds,
            self.blocked.clone(),
        );
        registry.register("retried_runs", "Runs that changed no member and were retried", self.retried.clone());
    }
}
