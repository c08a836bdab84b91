//! Where a rule fires, as a table for a terminal.

use std::fmt::Write as _;

use super::{Rule, State, words};
use crate::defrag::quantity::MIB;

/// Sizes in percent of the quota.
const SIZES: [u64; 10] = [110, 100, 95, 90, 80, 70, 50, 30, 20, 10];

/// Reclaimable space in percent of the size.
const SHARES: [u64; 8] = [0, 1, 5, 10, 25, 50, 75, 100];

/// A table of states: a line for each size, a column for each reclaimable share of it, and whether `rule` fires there.
#[must_use]
pub fn picture(rule: &Rule, quota: u64) -> String {
    let mut text = String::from("size of the database     reclaimable share of it\n                   ");
    for share in SHARES {
        let _ = write!(text, "{:>6}", format!("{share}%"));
    }
    text.push('\n');
    for percent in SIZES {
        let db_size = part(quota, percent);
        // Labels are cut to whole MiB where there are any.
        let shown = if db_size >= MIB { db_size / MIB * MIB } else { db_size };
        let label = format!("{percent}% {}", words::size(shown));
        let _ = write!(text, "{label:>19}");
        for share in SHARES {
            let db_size_in_use = db_size - part(db_size, share);
            let mark = match rule.evaluate(&State { db_size, db_size_in_use, quota }) {
                Ok(true) => "fires",
                Ok(false) => "-",
                Err(_) => "fails",
            };
            let _ = write!(text, "{mark:>6}");
        }
        text.push('\n');
    }
    text
}

fn part(of: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(of) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}
