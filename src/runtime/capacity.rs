//! How much is in use of what is limited: connections, handshakes, bytes of bodies, slots.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Connections past their handshake.
    Connections,
    /// TLS handshakes under way.
    Handshakes,
    /// Bytes of request bodies in memory.
    BodyBytes,
    /// Requests that are assessed.
    Slots,
}

impl Resource {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Handshakes => "handshakes",
            Self::BodyBytes => "body_bytes",
            Self::Slots => "slots",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    resource: &'static str,
}

/// The metrics of all resources; clones share them.
#[derive(Clone, Debug, Default)]
pub struct CapacityMetrics {
    in_use: Family<Of, Gauge>,
    limit: Family<Of, Gauge>,
    turned_away: Family<Of, Counter>,
}

impl CapacityMetrics {
    /// Has `registry` export them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("in_use", "How much of a limited resource is in use", self.in_use.clone());
        registry.register("limit", "How much of a limited resource there is", self.limit.clone());
        registry.register(
            "turned_away",
            "Connections, handshakes and requests that were ended or rejected at a limit",
            self.turned_away.clone(),
        );
    }

    /// The meter of a resource of which there is `limit`.
    #[must_use]
    pub fn meter(&self, resource: Resource, limit: usize) -> Meter {
        let of = Of { resource: resource.as_str() };
        self.limit.get_or_create(&of).set(count(limit));
        let in_use = self.in_use.get_or_create(&of).clone();
        Meter { in_use, turned_away: self.turned_away.get_or_create(&of).clone() }
    }
}

/// The meter of one resource.
#[derive(Clone, Debug)]
pub struct Meter {
    in_use: Gauge,
    turned_away: Counter,
}

impl Meter {
    pub(super) fn set(&self, in_use: usize) {
        self.in_use.set(count(in_use));
    }

    pub(super) fn turned_away(&self) {
        self.turned_away.inc();
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
