//! How long to wait after failures in a row.

use std::time::Duration;

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

/// The pause after so many failures in a row: `first` after one, twice as long with each further one, at most `longest`.
#[must_use]
pub fn pause(first: Duration, longest: Duration, failures: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(longest)
}

/// Pauses that double, and start again if all was well for as long as the longest of them. Each begins when it is
/// requested.
#[derive(Debug)]
pub struct Pauses {
    first: Duration,
    longest: Duration,
    failures: u32,
    until: Option<Instant>,
}

impl Pauses {
    /// Pauses between these two.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0, until: None }
    }

    /// Whether the last one is over.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }

    /// Begins the next one.
    pub fn start(&mut self) -> Duration {
        self.at(Instant::now())
    }

    fn at(&mut self, now: Instant) -> Duration {
        let calm = self.until.is_none_or(|until| now >= until + self.longest);
        self.failures = if calm { 1 } else { self.failures.saturating_add(1) };
        let pause = pause(self.first, self.longest, self.failures);
        self.until = Some(now + pause);
        pause
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.start())
    }
}

impl Backoff for Pauses {
    /// Nothing: a watch that is asked for again says that all is well before it has an answer.
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::watch;

    #[test]
    fn pauses_grow_to_the_longest_and_start_over_after_a_calm() {
        let (mut pauses, mut now) = (watch::pauses(), Instant::now());
        let mut lengths = Vec::new();
        for _ in 0..8 {
            lengths.push(pauses.at(now));
            pauses.reset();
            now += lengths[lengths.len() - 1] + Duration::from_millis(5);
        }
        assert_eq!(lengths[0], pauses.first);
        assert_eq!(lengths[7], pauses.longest);
        assert_eq!(pauses.at(now + pauses.longest), pauses.first);
    }
}
