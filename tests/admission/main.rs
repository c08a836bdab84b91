//! Admission in process: decisions, patches, reviews through the router, and real TLS sockets.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]
#![allow(clippy::format_push_string, clippy::needless_pass_by_value, reason = "tests are read, not tuned")]

#[path = "../support/breaches.rs"]
mod breaches;

mod certificates;
mod client;
mod connections;
mod crowding;
mod decide;
mod drain;
mod enrollment;
mod fixtures;
mod patch;
mod policies;
mod probes;
mod reviews;
