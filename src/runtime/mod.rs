//! What the process needs around the webhook and the reconciler: certificates, probes, telemetry, an orderly end.

pub mod leadership;
pub mod mtls;
pub mod probes;
pub mod selfsigned;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
