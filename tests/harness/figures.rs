//! What benches say of their measurements.

/// So much more than a goal is put down to the noise of the machine.
pub const MARGIN: f64 = 1.2;

/// Whether a goal is reached, or missed by no more than the margin.
pub const fn verdict(reached: bool, within: bool) -> &'static str {
    match (reached, within) {
        (true, _) => "reached",
        (false, true) => "within the margin",
        (false, false) => "MISSED",
    }
}

/// The value that this share of a hundred is below; `None` where nothing was measured.
pub fn percentile(values: &[f64], share: usize) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() * share / 100).copied()
}

/// The one in the middle; `None` where nothing was measured.
pub fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 50)
}
