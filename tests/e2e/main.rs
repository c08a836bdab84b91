//! End to end: the real binary against a real API server, controller manager and etcd.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

#[path = "../support/breaches.rs"]
mod breaches;
#[path = "../support/contradictions.rs"]
mod contradictions;
#[path = "../support/schedules.rs"]
mod generated;

mod accepted;
mod access;
mod admission;
mod blocked;
mod controlplane;
mod cronjob;
mod engine_image;
mod facts;
mod failures;
mod jobs;
mod lifecycle;
mod matrix;
mod orphans;
mod pause;
mod policies;
mod policies_admission;
mod policies_controller;
mod preflight;
mod proxy;
mod ran;
mod relabelled;
mod rendered;
mod reports;
mod rescue;
mod retry;
mod rights;
mod schedules;
mod status;
mod support;
mod vap;
