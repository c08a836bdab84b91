//! Placeholder.
pub mod defrag;
