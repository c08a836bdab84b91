//! The Helm chart: rendered by the real Helm, and every object tried on a real API server.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod cluster;
mod digests;
mod documents;
mod kustomize;
mod monitoring;
mod peers;
mod platform;
mod readme;
mod rendered;
mod rights;
mod schema;
mod support;
mod values;
