//! Sets of states: boxes of sizes and reclaimable space under the diagonal where everything is reclaimable.

use super::{State, linear::Line, program::Variable};

/// Every state with `size.0 ≤ dbSize ≤ size.1`, `free.0 ≤ dbSizeFree ≤ free.1` and `dbSizeFree ≤ dbSize`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) size: (i64, i64),
    pub(super) free: (i64, i64),
}

impl Region {
    /// The region without its parts that hold no state, `None` where nothing is left.
    pub(super) fn new(size: (i64, i64), free: (i64, i64)) -> Option<Self> {
        let size = (size.0.max(free.0), size.1);
        let free = (free.0, free.1.min(size.1));
        (size.0 <= size.1 && free.0 <= free.1).then_some(Self { size, free })
    }

    /// Whether it has the state of this size and reclaimable space.
    pub(super) fn holds(&self, size: i64, free: i64) -> bool {
        (self.size.0..=self.size.1).contains(&size) && (self.free.0..=self.free.1.min(size)).contains(&free)
    }

    /// The one state that is left, if only one is.
    pub(super) fn single(&self, quota: u64) -> Option<State> {
        (self.size.0 == self.size.1 && self.free.0 == self.free.1).then(|| Self::state(self.size.0, self.free.0, quota))
    }

    /// The state of this size and reclaimable space.
    pub(super) fn state(size: i64, free: i64, quota: u64) -> State {
        State { db_size: unsigned(size), db_size_in_use: unsigned(size.saturating_sub(free)), quota }
    }

    /// The least and greatest value of a variable.
    #[expect(clippy::cast_precision_loss, reason = "rounding to nearest keeps the order")]
    pub(super) fn bounds(&self, variable: Variable, quota: f64) -> (f64, f64) {
        let size = (self.size.0 as f64, self.size.1 as f64);
        match variable {
            Variable::DbQuota => (quota, quota),
            Variable::DbQuotaUsage => (size.0 / quota, size.1 / quota),
            Variable::DbSize => size,
            Variable::DbSizeFree => (self.free.0 as f64, self.free.1 as f64),
            Variable::DbSizeInUse => ((self.size.0 - self.free.1).max(0) as f64, (self.size.1 - self.free.0) as f64),
        }
    }

    /// A variable as a function of size and free.
    pub(super) fn line(variable: Variable, quota: f64, limit: f64) -> Option<Line> {
        // Beyond 2^53 the engine rounds the variables themselves.
        let rounded = |size: f64, free: f64| Line {
            error: if limit < 9e15 { 0.0 } else { limit * f64::EPSILON },
            ..Line::exact(size, free, 0.0)
        };
        match variable {
            Variable::DbQuota => Line::constant(quota),
            Variable::DbQuotaUsage => rounded(1.0, 0.0).divide(Line::constant(quota)?, limit),
            Variable::DbSize => Some(rounded(1.0, 0.0)),
            Variable::DbSizeFree => Some(rounded(0.0, 1.0)),
            Variable::DbSizeInUse => Some(rounded(1.0, -1.0)),
        }
    }

    /// The corners of the region in their order; the box loses its corner beyond the diagonal.
    #[expect(clippy::cast_precision_loss, reason = "a line carries an error for sizes beyond 2^53")]
    pub(super) fn corners(&self) -> [(f64, f64); 5] {
        let ((s0, s1), (f0, f1)) = (self.size, self.free);
        [(s0, f0), (s1, f0), (s1, f1), (s0.max(f1), f1), (s0, f1.min(s0))].map(|(s, f)| (s as f64, f as f64))
    }

    /// What of the region is within a set of states, or nearer to it than rounding can distinguish.
    #[expect(clippy::cast_possible_truncation, reason = "beyond the bounds of a region nothing is cut off")]
    pub(super) fn around(&self, corners: &[(f64, f64)], limit: f64) -> Option<Self> {
        let slack = 2.0 + limit * f64::EPSILON * 16.0;
        let part = |(low, high): (i64, i64), of: fn(&(f64, f64)) -> f64| {
            let least = corners.iter().map(of).fold(f64::INFINITY, f64::min) - slack;
            let most = corners.iter().map(of).fold(f64::NEG_INFINITY, f64::max) + slack;
            (low.max(least.floor() as i64), high.min(most.ceil() as i64))
        };
        Self::new(part(self.size, |corner| corner.0), part(self.free, |corner| corner.1))
    }

    /// Two halves, cut where `line` changes its sign, else in the middle of the relatively longer side.
    /// `axes` says whether the rule depends on the size and on the reclaimable space.
    pub(super) fn split(&self, line: Option<Line>, axes: (bool, bool)) -> [Option<Self>; 2] {
        let root = line.and_then(|line| self.root(line));
        let (by_size, at) = root.unwrap_or_else(|| self.middle(axes));
        let (size, free) = (self.size, self.free);
        if by_size {
            [Self::new((size.0, at), free), Self::new((at + 1, size.1), free)]
        } else {
            [Self::new(size, (free.0, at)), Self::new(size, (at + 1, free.1))]
        }
    }

    fn middle(&self, axes: (bool, bool)) -> (bool, i64) {
        let width = |(low, high): (i64, i64)| high - low;
        // Compared without division; a side at small numbers is relatively long.
        let relative = |side: (i64, i64)| (i128::from(width(side)) << 32) / (i128::from(side.1) + 1);
        let by_size = if width(self.free) == 0 || width(self.size) == 0 {
            width(self.size) > 0
        } else {
            axes.0 && (!axes.1 || relative(self.size) >= relative(self.free))
        };
        let (low, high) = if by_size { self.size } else { self.free };
        (by_size, low + (high - low) / 2)
    }

    /// Where to cut so that `line` has one sign on each side as far as a straight cut along an axis can do that.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "any cut is sound")]
    fn root(&self, line: Line) -> Option<(bool, i64)> {
        let spans = [self.size, self.free].map(|(low, high)| (high - low) as f64);
        let [size_effect, free_effect] = [line.size.abs() * spans[0], line.free.abs() * spans[1]];
        let by_size = size_effect >= free_effect;
        let (slope, side, other) = if by_size {
            (line.size, self.size, line.free * (self.free.0 as f64 + spans[1] / 2.0))
        } else {
            (line.free, self.free, line.size * (self.size.0 as f64 + spans[0] / 2.0))
        };
        let at = (-(line.constant + other) / slope).floor();
        // A root outside would cut off one column at a time.
        let inside = at >= side.0 as f64 && at <= side.1 as f64;
        (inside && side.0 < side.1).then(|| (by_size, (at as i64).clamp(side.0, side.1 - 1)))
    }

    /// States of this region, roundest first: multiples of large powers of two before single bytes.
    pub(super) fn round_states(&self, quota: u64) -> impl Iterator<Item = State> + '_ {
        [30_u32, 28, 26, 24, 22, 20, 16, 10, 0].into_iter().flat_map(move |shift| {
            let size = round_within(self.size, shift);
            let states = size.map(|size| {
                let free = (self.free.0, self.free.1.min(size));
                [round_within(free, shift), Some(free.0), Some(free.1)]
                    .into_iter()
                    .flatten()
                    .filter(move |free| (self.free.0..=self.free.1).contains(free))
                    .map(move |free| Self::state(size, free, quota))
            });
            states.into_iter().flatten()
        })
    }
}

/// The least multiple of 2^`shift` in the range.
fn round_within((low, high): (i64, i64), shift: u32) -> Option<i64> {
    let unit = 1_i64 << shift;
    let at = low.checked_add(unit - 1)? / unit * unit;
    (at <= high).then_some(at)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
