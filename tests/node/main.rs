//! On a real node: etcds are pods, and the pod of our CronJob defragments them.
//!
//! Where no node can run each test says so and is counted as skipped.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod built_in;
mod failures;
mod field;
mod liveness;
mod measures;
mod on_demand;
mod partition;
mod preflight;
mod shapes;
mod slow;
mod support;
