//! On a real node, with the real Helm, cert-manager's real controllers and the project's own image: installed, used,
//! upgraded, uninstalled.
//!
//! Where no node can run each test says so and is counted as skipped.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod ipv6;
mod lifecycle;
mod pages;
mod support;
#[path = "../pages/table.rs"]
mod table;
