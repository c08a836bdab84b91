//! What is counted of on-demand defragmentation.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// How asking a Prometheus ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Asked {
    /// It answered.
    Answered,
    /// It did not, or not in a way that can be used.
    Failed,
}

/// The result of the last measurement of an etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outlook {
    /// Measured, and the rule holds for no member.
    NotRequired,
    /// The rule holds, and the run waits.
    Waiting,
    /// It cannot be measured.
    Unmeasured,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AskedLabels {
    pub(super) result: Asked,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutlookLabels {
    pub(super) outlook: Outlook,
}

/// The metrics of on-demand defragmentation.
#[derive(Clone, Debug, Default)]
pub struct OnDemandMetrics {
    pub(super) asked: Family<AskedLabels, Counter>,
    pub(super) started: Counter,
    pub(super) etcds: Family<OutlookLabels, Gauge>,
    pub(super) answered_at: Gauge,
    pub(super) pass: Gauge<f64, AtomicU64>,
}

impl OnDemandMetrics {
    /// Adds the metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let (asked, started) = (self.asked.clone(), self.started.clone());
        registry.register("prometheus_asked", "Queries of Prometheus for the whole fleet, by result", asked);
        registry.register("on_demand_runs", "Defragmentation Jobs started because of what was measured", started);
        registry.register(
            "on_demand_etcds",
            "Etcds under policies with metrics.prometheus, by the last measurement",
            self.etcds.clone(),
        );
        registry.register(
            "prometheus_last_answer_timestamp_seconds",
            "When Prometheus last answered, in seconds since 1970; 0 if it never did",
            self.answered_at.clone(),
        );
        registry.register(
            "on_demand_pass_seconds",
            "How long the last pass took, from the query of Prometheus to the last Job that was started",
            self.pass.clone(),
        );
    }
}
