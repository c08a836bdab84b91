//! States and sizes as text.

use super::State;
use crate::defrag::quantity::{MIB, human};

/// A number of bytes exactly, with the nearest MiB where that takes many digits.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn size(bytes: u64) -> String {
    let exact = human(bytes);
    if bytes >= MIB && exact.ends_with("bytes") {
        return format!("{exact} ({:.1} MiB)", bytes as f64 / MIB as f64);
    }
    exact
}

/// `a database of 8 GiB (100 % of the quota) with 4 GiB in use, 4 GiB to reclaim`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "whole percents are shown")]
pub fn database(state: &State) -> String {
    let percent = (state.db_size as f64 / state.quota.max(1) as f64 * 100.0).round();
    let [all, used, free] = [state.db_size, state.db_size_in_use, state.free()].map(size);
    let free = if state.free() == 0 { "nothing".to_owned() } else { free };
    format!("a database of {all} ({percent} % of the quota) with {used} in use, {free} to reclaim")
}

/// The same in a few words: `8 GiB, 4 GiB in use`.
pub(super) fn database_in_brief(state: &State) -> String {
    format!("{}, {} in use", brief_size(state.db_size), brief_size(state.db_size_in_use))
}

fn brief_size(bytes: u64) -> String {
    let text = size(bytes);
    text.split(" (").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        assert_eq!(size(7372 * MIB), human(7372 * MIB));
        assert_eq!(size(7_730_941_133), "7730941133 bytes (7372.8 MiB)");
    }
}
