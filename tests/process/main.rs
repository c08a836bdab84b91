//! `serve` as a process of a cluster: its certificates, who may call it, and what becomes of it when the cluster fails.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod availability;
mod broken;
#[path = "../support/caller.rs"]
mod caller;
mod client_auth;
#[path = "../support/crowd.rs"]
mod crowd;
mod crowding;
mod ipv6;
mod load;
mod self_signed;
mod support;
mod tracing;
