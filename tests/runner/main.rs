//! The runner of our own, `etcd-defrag-webhook defrag`, on real etcds, and its decisions beside those of etcd-defrag.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail loudly")]

mod access;
mod decisions;
mod engine;
mod interrupted;
mod proxied;
mod support;
mod whole;
