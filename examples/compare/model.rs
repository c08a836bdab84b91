//! What was measured, in seconds since the Job was created.

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Interval {
    pub(crate) fn length(self) -> f64 {
        self.to - self.from
    }
}

/// One member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    pub(crate) name: String,
    /// Its defragmentations.
    pub(crate) blocked: Vec<Interval>,
    /// The writes through it that failed.
    pub(crate) failed: Vec<Interval>,
}

/// One run of a Job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    /// Whose CronJob it is of.
    pub(crate) who: &'static str,
    pub(crate) lanes: Vec<Lane>,
    /// Until the last thing that was looked at.
    pub(crate) length: f64,
    /// Bytes, in all members together; negative where they have grown.
    pub(crate) reclaimed: i64,
    pub(crate) exit_code: i64,
    /// Seconds that the engine waits for a member.
    pub(crate) timeout: f64,
    /// Members that took longer.
    pub(crate) timeouts: usize,
    pub(crate) writes: u64,
    pub(crate) failed: u64,
    /// Of all writes, in seconds.
    pub(crate) slowest: f64,
    /// CPU time that the median member has used; 0 where nothing was defragmented.
    pub(crate) cpu_seconds: f64,
}

impl Run {
    pub(crate) fn members_blocked(&self) -> usize {
        self.lanes.iter().filter(|lane| !lane.blocked.is_empty()).count()
    }

    fn blocked(&self) -> impl Iterator<Item = Interval> + '_ {
        self.lanes.iter().flat_map(|lane| lane.blocked.iter().copied())
    }

    /// Seconds, of all members together.
    pub(crate) fn blocked_in_all(&self) -> f64 {
        self.blocked().map(Interval::length).sum()
    }

    /// Seconds.
    pub(crate) fn longest_blocked(&self) -> f64 {
        self.blocked().map(Interval::length).fold(0.0, f64::max)
    }

    /// When at least two members were blocked, and the most that were.
    pub(crate) fn overlaps(&self) -> (Vec<Interval>, usize) {
        let mut changes: Vec<(f64, bool)> =
            self.blocked().flat_map(|one| [(one.from, true), (one.to, false)]).collect();
        // One that ends when another begins does not overlap with it.
        changes.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        let (mut now, mut most, mut since) = (0_usize, 0, None);
        let mut overlaps = Vec::new();
        for (at, begins) in changes {
            now = if begins { now + 1 } else { now.saturating_sub(1) };
            most = most.max(now);
            if now >= 2 {
                since = since.or(Some(at));
            } else if let Some(from) = since.take() {
                overlaps.push(Interval { from, to: at });
            }
        }
        (overlaps, most)
    }

    pub(crate) fn reclaimed_in_words(&self) -> String {
        let sign = if self.reclaimed < 0 { "−" } else { "" };
        format!("{sign}{}", about(self.reclaimed.unsigned_abs()))
    }

    pub(crate) fn in_a_line(&self) -> String {
        let writes = format!("{} of {} writes failed", self.failed, self.writes);
        match self.members_blocked() {
            0 => format!("no member blocked, {writes}"),
            _ => format!("{:.0} s blocked, {} reclaimed, {writes}", self.blocked_in_all(), self.reclaimed_in_words()),
        }
    }

    /// What was wrong with its end.
    pub(crate) fn failure(&self) -> Option<String> {
        match (self.exit_code, self.timeouts) {
            (0, 0) => None,
            (code, 0) => Some(format!("exit {code}")),
            (code, timeouts) => Some(format!("{timeouts} time-outs, exit {code}")),
        }
    }
}

/// A size in three digits or so.
pub(crate) fn about(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is rounded")]
    let mib = bytes as f64 / f64::from(1 << 20);
    match mib {
        0.0 => "0 MiB".to_owned(),
        ..10.0 => format!("{mib:.1} MiB"),
        10.0..10240.0 => format!("{mib:.0} MiB"),
        _ => format!("{:.0} GiB", mib / 1024.0),
    }
}

/// The same for all three.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) title: String,
    /// Of defrag.sh, and ours with each engine.
    pub(crate) runs: Vec<Run>,
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn run(blocked: &[&[(f64, f64)]]) -> Run {
        let interval = |&(from, to): &(f64, f64)| Interval { from, to };
        let lane = |(index, blocked): (usize, &&[(f64, f64)])| Lane {
            name: format!("etcd-{index}"),
            blocked: blocked.iter().map(interval).collect(),
            failed: Vec::new(),
        };
        Run { lanes: blocked.iter().enumerate().map(lane).collect(), ..Run::default() }
    }

    #[test]
    fn one_after_another_does_not_overlap() {
        let run = run(&[&[(0.0, 2.0)], &[(2.0, 5.0)], &[]]);
        assert_eq!(run.overlaps(), (Vec::new(), 1));
        assert_eq!((run.members_blocked(), run.blocked_in_all(), run.longest_blocked()), (2, 5.0, 3.0));
    }

    #[test]
    fn sizes_are_rounded() {
        for (bytes, words) in [(0, "0 MiB"), (70_000, "0.1 MiB"), (300 << 20, "300 MiB"), (25_000_000_000, "23 GiB")] {
            assert_eq!(about(bytes), words);
        }
    }

    #[test]
    fn overlaps_last_while_two_or_more_are_blocked() {
        let run = run(&[&[(0.0, 4.0)], &[(3.0, 9.0)], &[(3.5, 5.0), (8.0, 10.0)]]);
        let overlaps = vec![Interval { from: 3.0, to: 5.0 }, Interval { from: 8.0, to: 9.0 }];
        assert_eq!(run.overlaps(), (overlaps, 3));
    }
}
