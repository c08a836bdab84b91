//! What admission counts. Labels take values of closed sets only.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::{Entry, answer::Outcome};
use crate::{
    defrag::finding::{Finding, Severity},
    runtime::listen,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Review {
    entry: &'static str,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Found {
    entry: &'static str,
    code: &'static str,
    severity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct At {
    entry: &'static str,
}

/// The counters of admission; clones share them.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    reviews: Family<Review, Counter>,
    findings: Family<Found, Counter>,
    duration: Family<At, Histogram>,
    paced: Counter,
    /// Those of the listener.
    pub(super) listener: listen::ListenerMetrics,
}

impl Default for AdmissionMetrics {
    /// All at zero; each decision is there from the start, so that the first failure shows as an increase.
    fn default() -> Self {
        let reviews = Family::<Review, Counter>::default();
        for entry in Entry::ALL {
            for outcome in Outcome::ALL {
                drop(reviews.get_or_create(&Review { entry: entry.as_str(), decision: outcome.as_str() }));
            }
        }
        Self {
            reviews,
            findings: Family::default(),
            paced: Counter::default(),
            // 100 µs to 3.3 s: from an answer without a proof up to the request timeout.
            duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.0001, 2.0, 16))),
            listener: listen::ListenerMetrics::default(),
        }
    }
}

impl AdmissionMetrics {
    /// Counters that `registry` exports.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("admission");
        registry.register("reviews", "Reviews by entry and decision", metrics.reviews.clone());
        registry.register("findings", "Findings in assessed reviews by code", metrics.findings.clone());
        registry.register_with_unit(
            "review_duration",
            "Time from the request's headers to its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register(
            "paced_answers",
            "Answers that were delayed because their namespace sends many reviews",
            metrics.paced.clone(),
        );
        metrics.listener.register(registry);
        metrics
    }

    /// Takes note of an answer that waits.
    pub(super) fn paced(&self) {
        self.paced.inc();
    }

    pub(super) fn reviewed(&self, entry: Entry, outcome: Outcome, findings: &[Finding], took: Duration) {
        let (entry, decision) = (entry.as_str(), outcome.as_str());
        self.reviews.get_or_create(&Review { entry, decision }).inc();
        self.duration.get_or_create(&At { entry }).observe(took.as_secs_f64());
        for finding in findings {
            let severity = match finding.severity {
                Severity::Deny => "deny",
                Severity::Warn => "warn",
            };
            self.findings.get_or_create(&Found { entry, code: finding.code.as_str(), severity }).inc();
        }
    }
}
