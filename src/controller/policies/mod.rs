//! Policies: the snapshot that everything goes by, and what their status says.

mod engine;
pub mod policy_snapshot;
pub(super) mod status;
