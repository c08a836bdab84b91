//! Whether other tenants can live with an attack.

use std::fmt;

use crate::victim::Seen;

/// The goal: how much slower the 99th percentile of another tenant may be than under the same attack without webhooks.
const GOAL: f64 = 1.5;

/// Where the goal is missed, how much slower than with a webhook that allows everything. Equal webhooks differ by chance: with 400
/// writes each and the exponential tail of queues, the ratio of two 95th percentiles has a standard deviation of 10 %, and that
/// of two 99th percentiles of 15 % (for the quantile q of n: the root of 2 q / (1 - q) / n, divided by the logarithm of
/// 1 / (1 - q)). Each limit is more than two of them; the 95th percentile finds an answer that is slow in general, the 99th one
/// that is slow at times.
const EQUAL_95: f64 = 1.25;
const EQUAL_99: f64 = 1.5;

/// What another tenant's writes took during an attack, in relation to the same attack without us.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// The 99th percentile in relation to no webhook.
    to_none: f64,
    /// The 95th percentile in relation to a webhook that allows everything, and the 99th.
    to_null: [f64; 2],
}

impl Verdict {
    /// Of what was seen with our webhook, with one that allows everything, and with none.
    pub(crate) fn of(ours: &Seen, null: &Seen, none: &Seen) -> Self {
        let ratio = |other: &Seen, share| {
            let [own, other] = [ours, other].map(|seen| seen.percentile(share).as_secs_f64());
            own / other
        };
        Self { to_none: ratio(none, 99), to_null: [ratio(null, 95), ratio(null, 99)] }
    }

    fn reached(self) -> bool {
        self.to_none <= GOAL
    }

    /// Whether our webhook costs others what any costs them.
    fn like_any(self) -> bool {
        let [of_95, of_99] = self.to_null;
        of_95 <= EQUAL_95 && of_99 <= EQUAL_99
    }

    /// Whether what is missed, if anything is, is the API server's own cost.
    pub(crate) fn passes(self) -> bool {
        self.reached() || self.like_any()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [of_95, of_99] = self.to_null;
        let outcome = match (self.reached(), self.like_any()) {
            (true, _) => "goal reached",
            (false, true) => "goal missed by the API server's own cost",
            (false, false) => "GOAL MISSED",
        };
        write!(
            f,
            "{outcome}: p99 {:.2} of none; of a webhook that allows everything p95 {of_95:.2}, p99 {of_99:.2}",
            self.to_none
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A hundred writes, of which so many take long.
    fn seen(usual: u64, long: u64, of_them: usize) -> Seen {
        let took = |number| Duration::from_millis(if number < of_them { long } else { usual });
        Seen { took: (0..100).map(took).collect(), ..Seen::default() }
    }

    #[test]
    fn a_goal_that_is_missed_passes_only_where_any_webhook_misses_it() {
        let none = seen(50, 100, 10);
        let verdict = |ours, null| Verdict::of(&ours, &null, &none);
        let reached = verdict(seen(50, 150, 10), seen(50, 50, 0));
        assert!(reached.passes() && reached.to_string().starts_with("goal reached: p99 1.50 of none"), "{reached}");
        let like_any = verdict(seen(50, 250, 10), seen(50, 200, 10));
        assert!(like_any.passes() && like_any.to_string().contains("own cost"), "{like_any}");
        let slower = verdict(seen(50, 260, 10), seen(50, 200, 10));
        assert!(!slower.passes() && slower.to_string().starts_with("GOAL MISSED"), "{slower}");
        // As quick as the other but for the last hundredth.
        let at_times = verdict(seen(200, 310, 2), seen(200, 200, 0));
        assert!(!at_times.passes(), "{at_times}");
    }
}
