//! One option, and where it stands.

use super::marks::is_known;

/// An option's value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The expanded value; it may hold the marks of [`super::marks`].
    pub(super) value: String,
    /// The field path.
    pub(super) field: String,
    /// The flag or variable.
    pub(super) origin: String,
}

impl Setting {
    /// The value, where it can be read in full.
    pub(super) fn known(&self) -> Option<&str> {
        is_known(&self.value).then_some(self.value.as_str())
    }
}
