//! The base of the webhook and the reconciler: TLS, HTTP with its limits, leadership, back-off, probes, telemetry, an
//! orderly shutdown. It imports neither of them.

pub(crate) mod api_error;
pub mod backoff;
pub mod bind;
pub mod bodies;
pub mod capacity;
pub mod clock;
pub mod cores;
pub mod exposition;
pub mod holding;
pub mod leadership;
pub mod limits;
pub mod listen;
pub mod mtls;
pub mod pace;
pub(crate) mod packed;
pub mod peer;
pub mod probes;
pub mod pulse;
pub mod selfsigned;
pub mod shutdown;
pub mod slots;
pub mod telemetry;
pub mod tls;
pub(crate) mod watch;
pub(crate) mod watched;
