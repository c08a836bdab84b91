//! One option, and the place where it is set.

use super::marks::is_known;

/// An option's value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The expanded value; it may hold the marks of [`super::marks`].
    pub(super) value: String,
    /// The field path.
    pub(super) field: String,
    /// The flag or variable.
    pub(super) origin: String,
    /// Whether a script sets it.
    pub(super) by_script: bool,
}

impl Setting {
    /// The value, where it can be read in full.
    pub(super) fn known(&self) -> Option<&str> {
        is_known(&self.value).then_some(self.value.as_str())
    }

    /// Where a value comes from that cannot be read in full, in words.
    pub(super) fn place(&self) -> String {
        let Self { field, origin, .. } = self;
        if self.by_script {
            format!("the part of the script in {field} that sets {origin}")
        } else {
            format!("the object that {origin} of {field} refers to")
        }
    }
}
