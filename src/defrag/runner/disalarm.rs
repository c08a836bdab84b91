//! Whether NOSPACE may be cleared.

/// Of members by name and size of the database file, in bytes, those above `threshold` of the quota: while there is one, the
/// alarm stays. The comparison is the engine's, in floating point.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "the engine rounds to nearest in the same place")]
pub fn still_large<'a>(sizes: &[(&'a str, u64)], quota: u64, threshold: f64) -> Vec<&'a str> {
    let limit = quota as f64 * threshold;
    sizes.iter().filter(|(_, size)| *size as f64 > limit).map(|(name, _)| *name).collect()
}
