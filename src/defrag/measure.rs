//! How much there is to read in a value, counted and not timed.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::VolumeResourceRequirements, apimachinery::pkg::api::resource::Quantity};

/// The most items of lists that are read of one object.
pub const MOST_ITEMS: usize = 2048;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The bytes of all texts.
    pub bytes: usize,
    /// The items of all lists and maps.
    pub items: usize,
}

/// A value of which one can count how much there is to read.
pub trait Measure {
    /// Adds what is in this value.
    fn measure(&self, tally: &mut Tally);
}

impl Measure for str {
    fn measure(&self, tally: &mut Tally) {
        tally.bytes = tally.bytes.saturating_add(self.len());
    }
}

impl Measure for String {
    fn measure(&self, tally: &mut Tally) {
        self.as_str().measure(tally);
    }
}

impl Measure for i32 {
    fn measure(&self, _: &mut Tally) {}
}

impl Measure for bool {
    fn measure(&self, _: &mut Tally) {}
}

impl Measure for Quantity {
    fn measure(&self, tally: &mut Tally) {
        self.0.measure(tally);
    }
}

impl<T: Measure> Measure for Option<T> {
    fn measure(&self, tally: &mut Tally) {
        if let Some(value) = self {
            value.measure(tally);
        }
    }
}

impl<T: Measure> Measure for Vec<T> {
    fn measure(&self, tally: &mut Tally) {
        tally.items = tally.items.saturating_add(self.len());
        for item in self {
            item.measure(tally);
        }
    }
}

impl<T: Measure> Measure for BTreeMap<String, T> {
    fn measure(&self, tally: &mut Tally) {
        tally.items = tally.items.saturating_add(self.len());
        for (key, value) in self {
            key.measure(tally);
            value.measure(tally);
        }
    }
}

impl Measure for VolumeResourceRequirements {
    fn measure(&self, tally: &mut Tally) {
        self.requests.measure(tally);
        self.limits.measure(tally);
    }
}
