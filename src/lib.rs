//! Placeholder.
pub mod admission;
pub mod defrag;
pub mod runtime;
