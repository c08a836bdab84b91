//! What is watched, and what is kept of it in memory.

pub(super) mod cache;
pub(super) mod kept;
mod object_key;
pub(super) mod observed;
pub(super) mod watches;

pub(crate) use self::object_key::ObjectKey;
