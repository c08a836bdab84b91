//! What the reconciler counts.

pub(super) mod etcd_metrics;
pub(super) mod runs;

use std::fmt::{self, Write as _};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use self::etcd_metrics::EtcdMetrics;
pub use self::etcd_metrics::EtcdSeries;

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LookResult {
    /// Nothing had to be written.
    Unchanged,
    /// Something was written.
    Changed,
    /// It will be tried again.
    Failed,
}

impl EncodeLabelValue for LookResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Failed => "failed",
        })
    }
}

/// The labels of the reconciliation counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Labels {
    /// How it ended.
    pub result: LookResult,
}

/// The reconciler's metrics; a clone counts into the same numbers.
#[derive(Clone, Debug)]
pub struct ReconcileMetrics {
    /// Reconciliations by result.
    pub reconciliations: Family<Labels, Counter>,
    /// CronJobs that somebody had edited or deleted and that were repaired.
    pub repairs: Counter,
    /// Runs that failed.
    pub failed_runs: Counter,
    /// Runs whose container did not start, by cause and Job.
    pub not_started_runs: Counter,
    /// Runs that ended.
    pub(super) runs: runs::RunMetrics,
    /// StatefulSets that are enrolled; zero where another replica is the leader.
    pub enrolled: Gauge,
    /// Enrolled StatefulSets whose settings are refused.
    pub refused: Gauge,
    /// Enrolled StatefulSets whose CronJob's name is used by another object.
    pub foreign: Gauge,
    /// Since when the fleet is paused, in seconds since 1970; zero where it is not.
    pub paused_since: Gauge,
    /// 1 where this replica leads.
    pub leader: Gauge,
    /// The metrics of each enrolled etcd.
    pub(super) etcds: EtcdMetrics,
    /// Runs that start because of what was measured.
    pub on_demand: super::on_demand::metrics::OnDemandMetrics,
}

impl Default for ReconcileMetrics {
    fn default() -> Self {
        Self::of(EtcdSeries::default())
    }
}

impl ReconcileMetrics {
    /// All at zero; each result of a reconciliation is there from the start, so that the first failure shows as an increase.
    #[must_use]
    pub fn of(series: EtcdSeries) -> Self {
        let reconciliations = Family::<Labels, Counter>::default();
        for result in [LookResult::Unchanged, LookResult::Changed, LookResult::Failed] {
            drop(reconciliations.get_or_create(&Labels { result }));
        }
        Self {
            reconciliations,
            repairs: Counter::default(),
            failed_runs: Counter::default(),
            not_started_runs: Counter::default(),
            runs: runs::RunMetrics::default(),
            enrolled: Gauge::default(),
            refused: Gauge::default(),
            foreign: Gauge::default(),
            paused_since: Gauge::default(),
            leader: Gauge::default(),
            etcds: EtcdMetrics::of(series),
            on_demand: super::on_demand::metrics::OnDemandMetrics::default(),
        }
    }

    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("reconciliations", "Reconciliations by result", self.reconciliations.clone());
        registry.register("repairs", "CronJobs that were edited or deleted and repaired", self.repairs.clone());
        registry.register("failed_runs", "Defragmentation Jobs that failed", self.failed_runs.clone());
        registry.register(
            "not_started_runs",
            "Defragmentation Jobs whose container did not start, each cause once",
            self.not_started_runs.clone(),
        );
        registry.register("enrolled", "Enrolled StatefulSets", self.enrolled.clone());
        registry.register("refused", "Enrolled StatefulSets with refused settings", self.refused.clone());
        registry.register("foreign", "Enrolled StatefulSets whose CronJob name is taken", self.foreign.clone());
        registry.register(
            "paused_since_timestamp_seconds",
            "Since when the fleet is paused, in seconds since 1970; 0 if it is not",
            self.paused_since.clone(),
        );
        registry.register("leader", "Whether this replica leads the reconciler", self.leader.clone());
        registry.register_collector(Box::new(self.etcds.clone()));
        self.runs.register(registry);
        self.on_demand.register(registry);
    }

    pub(super) fn count(&self, result: LookResult) {
        self.reconciliations.get_or_create(&Labels { result }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_shows_what_was_counted() {
        let (metrics, mut registry, mut text) =
            (ReconcileMetrics::default(), Registry::with_prefix("etcd_defrag_webhook"), String::new());
        metrics.register(&mut registry);
        metrics.count(LookResult::Changed);
        metrics.leader.set(1);
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("etcd_defrag_webhook_reconciliations_total{result=\"changed\"} 1"), "{text}");
        assert!(text.contains("etcd_defrag_webhook_leader 1"), "{text}");
    }
}
