//! Random numbers that a seed repeats.

use std::env;

/// A small reproducible generator (splitmix64); the seed is printed.
pub struct Random(u64);

#[expect(clippy::new_without_default, reason = "the clock or the environment is no default")]
impl Random {
    /// Seeded from `ORACLE_SEED`, else from the clock.
    pub fn new() -> Self {
        let seed = env::var("ORACLE_SEED").map_or_else(
            |_| std::time::UNIX_EPOCH.elapsed().map_or(1, |age| u64::try_from(age.as_nanos() & 0xffff_ffff).unwrap()),
            |text| text.parse().expect("a number"),
        );
        println!("ORACLE_SEED={seed}");
        Self(seed)
    }

    /// The sequence of one seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 below 0.
    pub fn below<N: TryFrom<u64> + TryInto<u64>>(&mut self, end: N) -> N {
        let end: u64 = end.try_into().ok().expect("no negative number");
        N::try_from(self.bits() % end.max(1)).ok().expect("less than the end")
    }

    /// Whether an event of probability 1/n happens.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Whether an event of this probability happens.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }
    pub fn word<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}
