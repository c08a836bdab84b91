//! Alerts, recording rules, dashboards and our own metrics, in a real Prometheus that scrapes a real etcd, a real API server and a
//! real `serve`.
//!
//! Where there is no Prometheus to be had each test says so and is counted as skipped; `ETCD_DEFRAG_PROMETHEUS=required`, as in
//! CI, makes that a failure.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod dashboards;
mod files;
mod live;
mod nospace;
mod plots;
mod rules;
mod webhook;
mod world;
