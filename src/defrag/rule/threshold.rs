//! The least size at which a rule fires.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    Rule, State,
    bounds::{Bounds, Outcomes, specialise},
    program::axes,
    region::Region,
    space::Space,
    verdict::BUDGET,
};
use crate::defrag::policy::Limits;

/// The state with the least size at which `rule` fires, for an etcd with this quota in bytes; `None` where it never does or where
/// the budget does not settle it.
pub(super) fn first_firing(rule: &Rule, quota: u64, limits: &Limits) -> Option<State> {
    let space = Space::new(quota, limits);
    let program = specialise(rule.instructions(), space.quota_as_float);
    #[expect(clippy::cast_precision_loss, reason = "a bound, rounded up by the doubling")]
    let mut bounds = Bounds::new(&program, space.quota_as_float, space.size_limit as f64 * 2.0);
    // The region with the least sizes is looked at first, of several the smallest.
    let key = |region: Region| Reverse((region.size, region.free));
    let whole = Region::new((space.size_least, space.size_limit), (0, space.size_limit));
    let mut open: BinaryHeap<_> = whole.map(key).into_iter().collect();
    for _ in 0..BUDGET / (program.len() + 8) {
        let Reverse((size, free)) = open.pop()?;
        let region = Region { size, free };
        let outcomes = match region.single(space.quota) {
            Some(state) => Outcomes::at(rule, &state),
            None => bounds.outcomes(&region),
        };
        match (outcomes.fires, outcomes.is_single()) {
            (true, true) => return Some(space.state(size.0.cast_unsigned(), free.1.min(size.0).cast_unsigned())),
            (true, false) => open.extend(region.split(bounds.cut, axes(&program)).into_iter().flatten().map(key)),
            (false, _) => {}
        }
    }
    None
}
