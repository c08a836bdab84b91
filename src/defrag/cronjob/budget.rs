//! How many runs in a row may fail: counted on the CronJob itself, so that neither a restart nor the clean-up of old Jobs
//! loses count.
//!
//! The annotation reads `2 until 2026-01-31T00:05:00Z under 1a2b3c4d5e6f`: how many failed in a row, the end of the last run
//! that was counted, and a hash of the settings. Other settings, or a new `defrag-now` token, start over.

use std::fmt::Write as _;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, JobCondition};
use sha2::{Digest as _, Sha256};

use super::{deferral, names::FAILED_RUNS};

/// A run that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// When.
    pub ended: Timestamp,
    /// Whether it failed.
    pub failed: bool,
}

impl Run {
    /// The run of a Job with these conditions, where it has ended. A deferred run is none: it neither failed nor did anything.
    #[must_use]
    pub fn of(conditions: &[JobCondition]) -> Option<Self> {
        let holds =
            |type_: &str| conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True");
        let (condition, failed) = match holds("Failed") {
            Some(failure) if deferral::is_deferral(failure) => return None,
            Some(failure) => (failure, true),
            None => (holds("Complete")?, false),
        };
        Some(Self { ended: condition.last_transition_time.as_ref()?.0, failed })
    }
}

/// What has been counted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Count {
    failed: u32,
    until: Timestamp,
    under: String,
}

impl Count {
    fn read(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [failed, "until", until, "under", under] = words.as_slice() else { return None };
        Some(Self { failed: failed.parse().ok()?, until: until.parse().ok()?, under: (*under).to_owned() })
    }

    fn write(&self) -> String {
        format!("{} until {} under {}", self.failed, self.until, self.under)
    }
}

/// Counts the runs that ended since, and where the budget is spent suspends the CronJob; how many failed then.
///
/// `before` is the current annotation. Without a budget nothing is counted.
pub(crate) fn apply(
    desired: &mut CronJob,
    budget: Option<i32>,
    token: Option<&str>,
    before: Option<&str>,
    runs: &[Run],
) -> Option<u32> {
    let budget = u32::try_from(budget?).ok()?;
    let under = settings(desired, token);
    let counted = before.and_then(Count::read);
    let last = runs.iter().map(|run| run.ended).max();
    let count = match counted {
        // Somebody did something about it: what failed before says nothing of the runs to come.
        Some(counted) if counted.under != under => {
            Count { failed: 0, until: last.map_or(counted.until, |last| last.max(counted.until)), under }
        }
        counted => fold(counted.unwrap_or(Count { failed: 0, until: Timestamp::MIN, under }), runs),
    };
    if count.until == Timestamp::MIN {
        return None;
    }
    let annotations = desired.metadata.annotations.get_or_insert_default();
    annotations.insert(FAILED_RUNS.to_owned(), count.write());
    let spent = count.failed >= budget;
    if spent {
        desired.spec.suspend = Some(true);
    }
    spent.then_some(count.failed)
}

/// Adds the runs that ended after the last that was counted. A success alone is not written down, since nothing changes.
fn fold(count: Count, runs: &[Run]) -> Count {
    let mut runs: Vec<Run> = runs.iter().copied().filter(|run| run.ended > count.until).collect();
    runs.sort_unstable();
    runs.into_iter().fold(count, |count, run| match (run.failed, count.failed) {
        (true, failed) => Count { failed: failed.saturating_add(1), until: run.ended, ..count },
        (false, 0) => count,
        (false, _) => Count { failed: 0, until: run.ended, ..count },
    })
}

/// A hash of what a CronJob asks for, whether it is suspended apart.
fn settings(desired: &CronJob, token: Option<&str>) -> String {
    let mut spec = desired.spec.clone();
    spec.suspend = None;
    let text = serde_json::to_string(&(spec, token)).unwrap_or_default();
    Sha256::digest(text).iter().take(6).fold(String::new(), |mut hash, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(second: i64, failed: bool) -> Run {
        Run { ended: Timestamp::from_second(second).unwrap(), failed }
    }

    /// Applies a budget of two; the annotation, and whether the CronJob is suspended.
    fn counted(before: Option<&str>, token: Option<&str>, runs: &[Run]) -> (Option<String>, bool) {
        let mut desired = CronJob::default();
        let spent = apply(&mut desired, Some(2), token, before, runs);
        let note = desired.metadata.annotations.and_then(|all| all.get(FAILED_RUNS).cloned());
        assert_eq!(spent.is_some(), desired.spec.suspend == Some(true));
        (note, spent.is_some())
    }

    #[test]
    fn two_failures_in_a_row_spend_a_budget_of_two_once() {
        let (first, spent) = counted(None, None, &[run(1, true)]);
        assert!(!spent);
        // The first Job is gone meanwhile, and what was counted stays.
        let (second, spent) = counted(first.as_deref(), None, &[run(2, true)]);
        assert!(spent && second.as_deref().unwrap().starts_with("2 until 1970-01-01T00:00:02Z under "));
        assert_eq!(counted(second.as_deref(), None, &[run(1, true), run(2, true)]), (second, true), "counted once");
    }

    #[test]
    fn a_run_that_was_put_off_is_none() {
        let condition = |code: u8| -> JobCondition {
            serde_json::from_value(serde_json::json!({
                "type": "Failed", "status": "True", "reason": "PodFailurePolicy", "lastTransitionTime": "2026-01-01T00:00:00Z",
                "message": format!("Container etcd-defrag for pod a/b failed with exit code {code} matching FailJob rule at index 0"),
            }))
            .unwrap()
        };
        assert_eq!(Run::of(&[condition(75)]), None);
        assert!(Run::of(&[condition(1)]).unwrap().failed);
    }

    #[test]
    fn a_success_between_starts_over_and_successes_alone_write_nothing() {
        assert_eq!(counted(None, None, &[run(1, false), run(2, false)]), (None, false));
        let (note, spent) = counted(None, None, &[run(3, true), run(1, true), run(2, false)]);
        assert!(!spent && note.unwrap().starts_with("1 until"));
    }

    #[test]
    fn another_setting_or_a_new_token_resumes() {
        let runs = [run(1, true), run(2, true)];
        let (note, spent) = counted(None, None, &runs);
        assert!(spent);
        let (note, spent) = counted(note.as_deref(), Some("again"), &runs);
        assert!(!spent, "the runs from before count no more");
        let (note, spent) = counted(note.as_deref(), Some("again"), &[run(3, true), run(2, true)]);
        assert!(!spent && note.as_deref().unwrap().starts_with("1 until"));
        assert!(counted(note.as_deref(), Some("again"), &[run(4, true)]).1);
    }

    #[test]
    fn without_a_budget_nothing_is_counted_and_nonsense_is_counted_anew() {
        let mut desired = CronJob::default();
        assert_eq!(apply(&mut desired, None, None, None, &[run(1, true)]), None);
        assert_eq!(desired, CronJob::default());
        assert!(counted(Some("many"), None, &[run(1, true), run(2, true)]).1);
    }
}
