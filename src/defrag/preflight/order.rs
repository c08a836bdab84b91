//! Which preflights come first, and how a new image of the engine is tried over a fleet.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::when::Why;

/// So many preflights run at once.
pub const PLACES: usize = 10;
/// So many etcds try a new image before the others do.
const SAMPLE: usize = 10;
/// Over so long the others follow.
const ROLLOUT: SignedDuration = SignedDuration::from_hours(24);

/// A preflight that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting<T> {
    /// Whose.
    pub of: T,
    /// Why.
    pub why: Why,
    /// When its CronJob was made.
    pub made: Option<Timestamp>,
}

/// The order of those that are due: changed access first, then what was labelled last (before a backlog of many that have been
/// there for long), then those that failed, then a new image.
#[must_use]
pub fn in_order<T>(mut due: Vec<Waiting<T>>) -> Vec<Waiting<T>> {
    due.sort_by(|a, b| a.why.cmp(&b.why).then(b.made.cmp(&a.made)));
    due
}

/// Whether enough etcds have tried an image, or try it now, so that the rest may follow over a day.
#[must_use]
pub const fn is_sample_full(tried: usize) -> bool {
    tried >= SAMPLE
}

/// When an etcd tries an image that has been known since then, after the sample: spread by namespace and name.
#[must_use]
pub fn rollout_at(namespace: &str, name: &str, since: Timestamp) -> Timestamp {
    let digest = Sha256::digest(format!("{namespace}/{name}"));
    let share = digest.iter().take(3).fold(0_i64, |number, byte| number * 256 + i64::from(*byte));
    let seconds = ROLLOUT.as_secs() * share / (1 << 24);
    since.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_label_comes_before_a_backlog() {
        let at = |second| Timestamp::from_second(second).ok();
        let one = |of: &'static str, why, made| Waiting { of, why, made };
        let due = vec![
            one("image", Why::Engine, at(900)),
            one("old", Why::New, at(1)),
            one("failed", Why::Failed, at(900)),
            one("fresh", Why::New, at(800)),
            one("changed", Why::Changed, at(1)),
        ];
        let order: Vec<_> = in_order(due).into_iter().map(|one| one.of).collect();
        assert_eq!(order, ["changed", "fresh", "old", "failed", "image"]);
    }

    #[test]
    fn the_rest_follows_within_a_day() {
        let since = Timestamp::from_second(1000).unwrap();
        let mut hours = [0; 24];
        for number in 0..1000 {
            let at = rollout_at("tenants", &format!("etcd-{number}"), since);
            let seconds = at.duration_since(since).as_secs();
            hours[usize::try_from(seconds / 3600).unwrap()] += 1;
        }
        assert!(hours.iter().all(|count| (15..80).contains(count)), "{hours:?}");
        assert!(!is_sample_full(9) && is_sample_full(10));
    }
}
