//! Pace: answers are delayed for a namespace that sends more than its share of reviews, while other namespaces send
//! reviews, too.
//!
//! A call costs the API server many times what it costs us: it writes the objects as JSON and encrypts them, for each
//! call. So a namespace whose StatefulSets change all the time slows the writes of all others, however quick our
//! answers are. A later answer limits how often that happens.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher as _, Hash},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many are remembered before those without a delay are forgotten; beyond it, new ones are not delayed.
const REMEMBERED: usize = 1024;

/// Others count as active if their last request is no older.
const BESIDE: Duration = Duration::from_secs(1);

/// How much each may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Bytes in a second.
    pub rate: u64,
    /// Bytes at once before that.
    pub burst: u64,
    /// What a request costs besides its own bytes.
    pub overhead: u64,
    /// The longest that an answer waits.
    pub longest: Duration,
}

/// Who asks for how much; clones share it.
#[derive(Clone, Debug)]
pub struct Pace {
    share: Share,
    hasher: RandomState,
    asked: Arc<Mutex<Asked>>,
}

#[derive(Debug, Default)]
struct Asked {
    /// When each will have been given what it asked for, at its rate.
    through: HashMap<u64, Instant>,
    last: Option<(u64, Instant)>,
    /// The time of the last request of another one than the last.
    other: Option<Instant>,
}

impl Pace {
    /// A pace at which each gets this share.
    #[must_use]
    pub fn new(share: Share) -> Self {
        Self { share, hasher: RandomState::new(), asked: Arc::default() }
    }

    /// How long the answer to a request of so many bytes for `whom`, which came by this way, is delayed. Requests in
    /// the same name by different ways are not added up, and do not count as those of other namespaces.
    #[must_use]
    pub fn wait(&self, whom: &str, way: &impl Hash, bytes: usize, now: Instant) -> Duration {
        // Names are as long as whoever forges them likes.
        let (whom, who) = (self.hasher.hash_one(whom), self.hasher.hash_one((whom, way)));
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = !asked.beside(whom, now);
        if asked.through.len() >= REMEMBERED {
            asked.through.retain(|_, through| *through > now);
        }
        if asked.through.len() >= REMEMBERED && !asked.through.contains_key(&who) {
            return Duration::ZERO;
        }
        let through = asked.through.entry(who).or_insert(now);
        let owed = through.saturating_duration_since(now);
        let cost = self.at_rate((bytes as u64).saturating_add(self.share.overhead));
        // Nobody is called to account later for what it asked while it was alone, nor for more than it could be made to wait for.
        let most = if alone { Duration::ZERO } else { self.share.longest } + self.at_rate(self.share.burst);
        *through = now + (owed + cost).min(most);
        if alone { Duration::ZERO } else { owed.saturating_sub(self.at_rate(self.share.burst)).min(self.share.longest) }
    }

    fn at_rate(&self, bytes: u64) -> Duration {
        Duration::from_micros(bytes.saturating_mul(1_000_000) / self.share.rate.max(1))
    }
}

impl Asked {
    /// Takes note of a request; whether others ask too.
    fn beside(&mut self, whom: u64, now: Instant) -> bool {
        if let Some((last, at)) = self.last
            && last != whom
        {
            self.other = Some(at);
        }
        self.last = Some((whom, now));
        self.other.is_some_and(|other| now.saturating_duration_since(other) <= BESIDE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Share = Share { rate: 1000, burst: 500, overhead: 10, longest: Duration::from_secs(1) };

    /// How long the answers wait to requests of so many bytes from `who`, one each `every` milliseconds, with or without another
    /// one who asks in between.
    fn waits(pace: &Pace, bytes: usize, every: u64, beside: bool) -> Vec<u128> {
        let begun = Instant::now();
        let at = |number: u64| begun + Duration::from_millis(number * every);
        let requests = (0..50).map(|number| {
            if beside {
                assert_eq!(
                    pace.wait("other", &0, 0, at(number)),
                    Duration::ZERO,
                    "who asks for little waits for nobody"
                );
            }
            pace.wait("who", &0, bytes, at(number)).as_millis()
        });
        requests.collect()
    }

    #[test]
    fn whoever_asks_for_more_than_its_share_waits_while_others_ask() {
        let waits = waits(&Pace::new(SHARE), 190, 100, true);
        // Two hundred bytes each tenth of a second is twice the rate; half a second's worth of it is for nothing.
        assert_eq!(waits.first_chunk(), Some(&[0, 0, 0, 0, 0, 0]));
        assert_eq!(waits.get(6..9), Some([100, 200, 300].as_slice()));
        // A tenth of the longest wait has gone by since the last request.
        assert_eq!(waits.last(), Some(&900), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= 1000), "{waits:?}");
    }

    #[test]
    fn whoever_is_alone_waits_for_nothing_and_owes_nothing_later() {
        let pace = Pace::new(SHARE);
        assert_eq!(waits(&pace, 10_000, 1, false), [0; 50]);
        let now = Instant::now() + Duration::from_secs(2);
        assert_eq!(pace.wait("other", &0, 0, now), Duration::ZERO);
        assert_eq!(pace.wait("who", &0, 0, now), Duration::ZERO);
    }

    #[test]
    fn one_name_by_two_ways_is_alone_and_has_two_shares() {
        let pace = Pace::new(SHARE);
        let now = Instant::now();
        for number in 0..50 {
            assert_eq!(pace.wait("who", &(number % 2), 10_000, now), Duration::ZERO);
        }
        assert_eq!(pace.wait("other", &0, 0, now), Duration::ZERO);
        // By the first way much was asked for; by the third nothing yet.
        assert!(pace.wait("who", &0, 10_000, now) <= SHARE.longest);
        assert_eq!(pace.wait("who", &0, 0, now), SHARE.longest);
        assert_eq!(pace.wait("who", &2, 0, now), Duration::ZERO);
    }

    #[test]
    fn a_share_is_not_used_up_by_who_keeps_to_it() {
        assert_eq!(waits(&Pace::new(SHARE), 90, 100, true), [0; 50]);
    }

    #[test]
    fn no_more_are_remembered_than_may_be() {
        let pace = Pace::new(SHARE);
        let now = Instant::now();
        for number in 0..100_000 {
            assert_eq!(pace.wait(&format!("{number}"), &0, 100, now), Duration::ZERO);
        }
        assert_eq!(pace.asked.lock().unwrap().through.len(), REMEMBERED);
        // Those who owe nothing any more make room.
        let later = now + Duration::from_secs(5);
        let asks = ["other", "late", "other", "late"].map(|who| pace.wait(who, &0, 10_000, later));
        assert_eq!(asks, [Duration::ZERO, Duration::ZERO, Duration::ZERO, SHARE.longest]);
    }
}
