//! Policies: the snapshot that everything goes by, and what their status says.

pub mod policy_snapshot;
pub(super) mod status;
