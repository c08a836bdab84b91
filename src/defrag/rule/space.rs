//! The states that a database can be in.

use super::{State, region::Region};
use crate::defrag::{
    policy::Limits,
    quantity::{KIB, MIB},
};

/// The size of the smallest database, in bytes: five pages of 4 KiB, which etcd 3.4, 3.5, 3.6 and 3.7 report of one that nobody
/// has written to, and after its defragmentation. bbolt writes four into a new file (two meta pages, the free list and an
/// empty leaf), and etcd's first buckets take a fifth.
pub const SMALLEST_DATABASE: u64 = 20 * KIB;

/// The largest size that is examined: beyond it, sums of sizes would not fit the engine's integers.
const LARGEST: u64 = 1 << 62;

/// The bounds of the state space and of the properties, in bytes.
pub(super) struct Space {
    pub(super) quota: u64,
    pub(super) quota_as_float: f64,
    pub(super) size_least: i64,
    pub(super) size_limit: i64,
    /// The least size that counts for "always true": no database with data is smaller.
    pub(super) least_real: i64,
    /// The least size above the ceiling.
    pub(super) above_ceiling: i64,
    /// The least reclaimable space that is more than enough.
    pub(super) enough: i64,
}

impl Space {
    #[expect(clippy::cast_precision_loss, reason = "the engine rounds to nearest in the same place")]
    pub(super) fn new(quota: u64, limits: &Limits) -> Self {
        let quota = quota.clamp(1, LARGEST / 2);
        let size_limit = quota.saturating_add(quota / 4).next_multiple_of(MIB).cast_signed();
        let size_least = SMALLEST_DATABASE.cast_signed();
        // The quotient grows with the size, so halving finds the first size above the ceiling.
        let (mut low, mut high) = (size_least, size_limit + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if middle as f64 / quota as f64 > limits.quota_ceiling { high = middle } else { low = middle + 1 }
        }
        let enough = limits.enough_to_reclaim(quota).min(LARGEST).cast_signed() + 1;
        let least_real = MIB.min(quota / 16).max(SMALLEST_DATABASE).cast_signed();
        Self { quota, quota_as_float: quota as f64, size_least, size_limit, least_real, above_ceiling: low, enough }
    }

    /// All that decides: the rest of it follows.
    pub(super) fn decides(&self) -> [i64; 6] {
        let Self { quota, quota_as_float: _, size_least, size_limit, least_real, above_ceiling, enough } = *self;
        [quota.cast_signed(), size_least, size_limit, least_real, above_ceiling, enough]
    }

    /// The size of a full database.
    pub(super) fn full(&self) -> u64 {
        self.quota.max(SMALLEST_DATABASE)
    }

    pub(super) fn state(&self, size: u64, free: u64) -> State {
        State { db_size: size, db_size_in_use: size.saturating_sub(free), quota: self.quota }
    }

    /// States that are easy to picture, the most telling first.
    pub(super) fn telling_states(&self) -> impl Iterator<Item = State> + '_ {
        let quota = self.quota;
        let rounded = move |size: u64| if quota >= 64 * MIB { size.next_multiple_of(MIB) } else { size };
        let sizes = [
            quota,
            rounded(quota / 2),
            rounded(quota / 100 * 95),
            rounded(quota / 4),
            rounded(quota / 4 * 3),
            rounded(quota / 16),
            self.above_ceiling.cast_unsigned(),
            self.size_limit.cast_unsigned(),
            100 * MIB,
            MIB,
            SMALLEST_DATABASE,
        ];
        let enough = self.enough.cast_unsigned();
        let possible = self.size_least.cast_unsigned()..=self.size_limit.cast_unsigned();
        sizes.into_iter().filter(move |size| possible.contains(size)).flat_map(move |size| {
            let little = size <= MIB;
            [0, size / 2, size, size / 4, size / 8, rounded(enough), 1]
                .into_iter()
                .filter(move |free| *free <= size && (little || *free != 1))
                .map(move |free| self.state(size, free))
        })
    }

    pub(super) fn is_real(&self, region: &Region) -> bool {
        region.size.1 >= self.least_real
    }

    pub(super) fn is_missed(&self, state: &State) -> bool {
        state.db_size.cast_signed() >= self.above_ceiling && state.free().cast_signed() >= self.enough
    }
}
