//! Admission: bytes → review → StatefulSet → assessment → decision → bytes.
//!
//! Everything but [`server`] is pure. An answer reads nothing but its request and a snapshot of policies and namespaces, so
//! a dry run gets the same answer and leaves no trace.

use std::fmt;

pub mod answer;
pub mod audit;
pub mod decide;
pub mod metrics;
pub mod patch;
pub mod registration;
pub mod reply;
pub mod review;
pub mod server;
pub mod vap;

mod enroll;
mod status_subresource;
mod trace;
mod validate;
mod warnings;
mod write;

pub use metrics::AdmissionMetrics;

/// What the API server asks of us; each is a webhook entry with a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Enrols a new etcd without the label where its policy enrols all. Fails open.
    Enroll,
    /// Fills in what the policy gives where our own keys change; of other updates it refuses those that bring in keys under our
    /// prefix which do not exist, and warns about edits of the specification. Fails open.
    Mutate,
    /// Refuses harmful settings of a new object. Fails open: nothing that it would refuse makes a CronJob.
    Create,
    /// Refuses harmful settings; matches only updates of our own keys. Fails closed.
    Validate,
    /// The same for writes of the status, on any StatefulSet, and refuses Secrets and addresses that they bring in. Fails closed.
    Status,
}

impl Entry {
    /// Every entry.
    pub const ALL: [Self; 5] = [Self::Enroll, Self::Mutate, Self::Create, Self::Validate, Self::Status];

    /// The HTTP path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Enroll => "/enroll",
            Self::Mutate => "/mutate",
            Self::Create => "/create",
            Self::Validate => "/validate",
            Self::Status => "/status",
        }
    }

    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Mutate => "mutate",
            Self::Create => "create",
            Self::Validate => "validate",
            Self::Status => "status",
        }
    }

    /// Whether the API server refuses a write of this entry if it was not assessed.
    #[must_use]
    pub const fn fails_closed(self) -> bool {
        matches!(self, Self::Validate | Self::Status)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
