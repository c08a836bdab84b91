//! The retry of a run that certainly changed no member, at least ten minutes later. No other run is retried.
//!
//! The state is part of [`LastRun`](super::cronjob::last_run::LastRun), as [`Retry`], so that the next leader knows it,
//! and so that the end of any later run replaces it.

use jiff::{SignedDuration, Timestamp};

use super::{
    cronjob::last_run::Retry,
    ondemand::Hold,
    run_result::{Outcome, RunResult},
    schedule::{TimeZone, Window, any_open},
};

/// So long after its end a run is retried, at the earliest.
pub const PAUSE: SignedDuration = SignedDuration::from_mins(10);
/// So much later it is not started any more.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// So old may the last look at a pod be that is gone when its Job has failed, and that had not started by then.
pub const FRESH: SignedDuration = SignedDuration::from_secs(90);
/// By so much more than [`PAUSE`] clocks of the cluster may be ahead of ours.
const SKEW: SignedDuration = SignedDuration::from_hours(1);

/// What the pods of a Job that has failed show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// They could not be read.
    Unknown,
    /// There is none any more.
    Gone,
    /// There are some, and the container of none of them has started.
    NotStarted,
    /// A container has started.
    Started,
}

/// What is known of a Job that has failed.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// What our own runner wrote; the engine etcd-defrag writes nothing of the kind.
    pub result: Option<&'a RunResult>,
    /// What its pods show now.
    pub pods: Pods,
    /// Whether its controller never counted a pod of it.
    pub no_pod_ever: bool,
    /// When its pod was seen last, had not started, and no word of a start has come since.
    pub waiting: Option<Timestamp>,
    /// When it failed.
    pub failed: Timestamp,
}

/// Whether no member was touched, beyond doubt.
#[must_use]
pub fn touched_nothing(known: &Evidence<'_>) -> bool {
    if let Some(result) = known.result {
        return matches!(result.outcome, Outcome::Deferred | Outcome::Failed) && result.no_member_was_touched();
    }
    match known.pods {
        Pods::NotStarted => true,
        Pods::Gone => known.no_pod_ever || known.waiting.is_some_and(|seen| known.failed.duration_since(seen) <= FRESH),
        Pods::Started | Pods::Unknown => false,
    }
}

/// Whether a run is retried now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// Now, where nothing else speaks against it.
    Now,
    /// Not before this time.
    At(Timestamp),
    /// It waits, because of this.
    Waits(Hold),
    /// Never any more.
    Never,
}

/// When a run is retried, by the record on its CronJob. `next` is the next scheduled one.
#[must_use]
pub fn when(
    retry: Option<&Retry>,
    windows: Option<&[Window]>,
    zone: &TimeZone,
    next: Option<Timestamp>,
    now: Timestamp,
) -> When {
    let Some(Retry::After(after)) = retry else { return When::Never };
    let since = now.duration_since(*after);
    if since > KEPT || -since > PAUSE + SKEW {
        return When::Never;
    }
    if since < SignedDuration::ZERO {
        return When::At(*after);
    }
    if next.is_some_and(|next| next.duration_since(now) < PAUSE) {
        return When::Waits(Hold::NextRun);
    }
    if windows.is_some_and(|windows| !any_open(windows, zone, now)) {
        return When::Waits(Hold::OutsideWindows);
    }
    When::Now
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::defrag::schedule::Weekdays;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn result(outcome: &str, did: &[&str]) -> RunResult {
        let members: Vec<_> = did.iter().map(|did| json!({"name": "e", "did": did})).collect();
        RunResult::read(&json!({"version": 1, "outcome": outcome, "members": members}).to_string()).unwrap()
    }

    const GONE: Evidence<'_> =
        Evidence { result: None, pods: Pods::Gone, no_pod_ever: false, waiting: None, failed: Timestamp::UNIX_EPOCH };

    #[test]
    fn a_run_of_our_own_runner_touched_nothing_where_its_result_says_so() {
        for (outcome, did, expected) in [
            ("Deferred", &["NotTouched", "NotTouched"][..], true),
            ("Failed", &["Skipped", "NotTouched"], true),
            ("Failed", &[], true),
            ("Deferred", &["Defragmented", "NotTouched"], false),
            ("Failed", &["Failed", "NotTouched"], false),
            // A message that does not fit a Job that failed.
            ("Done", &["Skipped"], false),
            ("NothingToDo", &["Skipped"], false),
            ("Checked", &["Checked"], false),
        ] {
            let result = result(outcome, did);
            let known = Evidence { result: Some(&result), pods: Pods::Started, ..GONE };
            assert_eq!(touched_nothing(&known), expected, "{outcome} {did:?}");
        }
        let left_out =
            json!({"version": 1, "outcome": "Failed", "members": [], "leftOut": {"members": 9, "touched": 1}});
        let left_out = RunResult::read(&left_out.to_string()).unwrap();
        assert!(!touched_nothing(&Evidence { result: Some(&left_out), pods: Pods::Started, ..GONE }));
    }

    /// The engine etcd-defrag reports nothing: only a container that never started changed nothing.
    #[test]
    fn without_a_result_only_a_container_that_never_started_touched_nothing() {
        let with = |pods, no_pod_ever, waiting: Option<i64>| {
            let waiting = waiting.map(second);
            touched_nothing(&Evidence { pods, no_pod_ever, waiting, failed: second(1000), ..GONE })
        };
        assert!(with(Pods::NotStarted, false, None));
        assert!(with(Pods::Gone, true, None), "a quota that had no room");
        assert!(with(Pods::Gone, false, Some(910)), "an image that could not be pulled until the deadline");
        assert!(!with(Pods::Gone, false, Some(909)), "nobody knows what came after that");
        assert!(!with(Pods::Gone, false, None));
        for pods in [Pods::Started, Pods::Unknown] {
            assert!(!with(pods, true, Some(1000)), "{pods:?}");
        }
    }

    #[test]
    fn a_run_is_started_once_more_ten_minutes_later_in_a_window_and_not_beside_the_next_one() {
        let after = second(600);
        let window = Window { days: Weekdays::ALL, from: 0, to: 30, zone: None };
        let windows = Some(std::slice::from_ref(&window));
        let when = |now: i64, next: i64, windows: Option<&[Window]>| {
            super::when(Some(&Retry::After(after)), windows, &TimeZone::utc(), Some(second(next)), second(now))
        };
        assert_eq!(when(599, 90_000, None), When::At(after));
        assert_eq!(when(600, 90_000, None), When::Now);
        assert_eq!(when(600, 1199, None), When::Waits(Hold::NextRun));
        assert_eq!(when(600, 1200, None), When::Now);
        assert_eq!(when(1799, 90_000, windows), When::Now);
        assert_eq!(when(1800, 90_000, windows), When::Waits(Hold::OutsideWindows));
        assert_eq!(when(86_400, 172_800, windows), When::Now, "the next night");
        assert_eq!(when(87_000, 172_800, None), When::Now);
        assert_eq!(when(87_001, 172_800, None), When::Never);
        // Times to come that no clock of the cluster has.
        assert_eq!(when(-3601, 90_000, None), When::Never);
        let never = |retry: Option<Retry>| super::when(retry.as_ref(), None, &TimeZone::utc(), None, second(600));
        assert_eq!(never(None), When::Never);
        assert_eq!(never(Some(Retry::Started("e-defrag-job-2".to_owned()))), When::Never);
        assert_eq!(never(Some(Retry::Dropped("it was suspended".to_owned()))), When::Never);
    }
}
