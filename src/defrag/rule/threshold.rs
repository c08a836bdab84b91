//! The least size at which a rule fires along one edge of the state space.

use super::{
    Rule,
    bounds::{Bounds, Outcomes},
    region::{Region, Slice},
    space::Space,
};

/// The least size in bytes at which `rule` fires on `slice`; `None` where it never does or where `tries` regions do not
/// settle it.
pub(super) fn first_firing(
    rule: &Rule,
    bounds: &mut Bounds<'_>,
    space: &Space,
    slice: Slice,
    tries: usize,
) -> Option<u64> {
    // Regions in reverse: the one with the least sizes is looked at first.
    let mut open: Vec<Region> = Region::new(slice, (0, space.size_limit), (0, 0)).into_iter().collect();
    for _ in 0..tries {
        let region = open.pop()?;
        let outcomes = match region.single(space.quota) {
            Some(state) => Outcomes::at(rule, &state),
            None => bounds.outcomes(&region),
        };
        match (outcomes.fires, outcomes.is_single()) {
            (true, true) => return Some(region.size.0.cast_unsigned()),
            (true, false) => open.extend(region.split(bounds.cut, (true, false)).into_iter().rev().flatten()),
            (false, _) => {}
        }
    }
    None
}
