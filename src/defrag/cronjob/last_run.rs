//! The result of the last run of an etcd, as it is stored on its CronJob: short, for people and for the next leader.

use jiff::Timestamp;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::{names::LAST_RUN, ownership::annotation};
use crate::defrag::{
    quantity::rounded,
    run_result::{Did, Outcome as Reported, RunResult},
};

/// The longest text that is read, in bytes.
const LIMIT: usize = 1024;
/// The longest name of a Job that is read, in bytes.
const LONGEST_NAME: usize = 63;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Every member that the rule asked for was defragmented.
    Defragmented,
    /// The rule asked for no member.
    NothingToDo,
    /// It succeeded, and the engine reports no details.
    Succeeded,
    /// The cluster was not healthy enough, so it was deferred.
    Deferred,
    /// It failed.
    Failed,
}

impl Outcome {
    /// In a word or two.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Defragmented => "defragmented",
            Self::NothingToDo => "nothing to do",
            Self::Succeeded => "succeeded",
            Self::Deferred => "deferred",
            Self::Failed => "failed",
        }
    }
}

/// The details from an engine that reports them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Members {
    /// How many the cluster has.
    pub members: u32,
    /// How many were defragmented.
    pub defragmented: u32,
    /// How many were checked and not changed.
    pub skipped: u32,
    /// What they gave back, in bytes.
    pub reclaimed: u64,
    /// How long members were blocked, in seconds, one after the other.
    pub blocked_seconds: f64,
}

/// The retry of a run that certainly changed no member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Retry {
    /// It is retried, not before this time.
    After(Timestamp),
    /// It was retried, as this Job.
    Started(String),
    /// It is not retried: why, as the end of a sentence with "because".
    Dropped(String),
}

/// The last run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// When it ended.
    pub ended: Timestamp,
    /// Its Job.
    pub job: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long the Job took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// What was done; `None` if the engine does not report it.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Members>,
    /// Its retry, if it certainly changed no member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

impl LastRun {
    /// What a CronJob says of its last run.
    #[must_use]
    pub fn on(cronjob: &ObjectMeta) -> Option<Self> {
        Self::read(annotation(cronjob, LAST_RUN)?)
    }

    /// The result of a Job that ended, with the report of its engine. `deferred` is from the Job's condition or the
    /// exit code.
    #[must_use]
    pub fn of(
        job: &str,
        (started, ended): (Option<Timestamp>, Timestamp),
        (failed, deferred): (bool, bool),
        result: Option<&RunResult>,
    ) -> Self {
        let reported = result.map(|result| result.outcome);
        let outcome = match (failed, reported) {
            (true, Some(Reported::Deferred)) => Outcome::Deferred,
            (true, _) if deferred => Outcome::Deferred,
            (true, _) => Outcome::Failed,
            (false, Some(Reported::Done)) => Outcome::Defragmented,
            (false, Some(Reported::NothingToDo | Reported::Checked)) => Outcome::NothingToDo,
            (false, Some(Reported::Deferred | Reported::Failed) | None) => Outcome::Succeeded,
        };
        let seconds = started.map(|started| ended.duration_since(started).as_secs().max(0));
        Self { ended, job: job.to_owned(), outcome, seconds, members: result.map(Members::of), retry: None }
    }

    /// The text of the annotation.
    #[must_use]
    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the annotation; `None` if it is not in our form.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let run: Self = serde_json::from_str(text).ok().filter(|_| text.len() <= LIMIT)?;
        let sound = run.members.is_none_or(|members| members.blocked_seconds.is_finite());
        (sound && run.job.len() <= LONGEST_NAME).then_some(run)
    }

    /// In a cell of a table: how it ended, which members, what they gave back, how long it took.
    #[must_use]
    pub fn in_short(&self) -> String {
        let took = self.seconds.map(|seconds| format!(" {seconds}s")).unwrap_or_default();
        match (self.outcome, self.members) {
            (Outcome::Defragmented, Some(members)) => {
                let Members { defragmented, members, reclaimed, .. } = members;
                format!("{defragmented}/{members} -{}{took}", rounded(reclaimed))
            }
            (outcome, _) => format!("{}{took}", outcome.in_words()),
        }
    }
}

impl Members {
    fn of(result: &RunResult) -> Self {
        let count = |did: Did| result.members.iter().filter(|member| member.did == did).count();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            members: result.members_total.max(number(result.members.len())),
            defragmented: number(result.defragmented()),
            skipped: number(count(Did::Skipped)),
            reclaimed: result.reclaimed(),
            blocked_seconds: result.seconds_blocked(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result(outcome: &str) -> RunResult {
        let member = |name: &str, did: &str, after: u64| json!({"name": name, "did": did, "sizeBefore": 100 << 20, "sizeAfter": after << 20, "seconds": 1.5});
        let members = [member("a", "Defragmented", 25), member("b", "Defragmented", 25), member("c", "Skipped", 0)];
        let value = json!({"version": 1, "outcome": outcome, "members": members, "membersTotal": 3, "seconds": 66.0});
        RunResult::read(&value.to_string()).unwrap()
    }

    fn run(ends: (bool, bool), result: Option<&RunResult>) -> LastRun {
        let at = |second| Timestamp::from_second(second).unwrap();
        LastRun::of("e-defrag-job-1", (Some(at(100)), at(166)), ends, result)
    }

    #[test]
    fn what_each_engine_tells_stands_on_the_cronjob_and_is_read_again() {
        let runs = [
            run((false, false), Some(&result("Done"))),
            run((false, false), Some(&result("NothingToDo"))),
            run((false, false), None),
            run((true, false), Some(&result("Deferred"))),
            run((true, true), None),
            run((true, false), Some(&result("Failed"))),
            run((true, false), None),
            // A message that is forged does not make a success of a failure, nor the other way round.
            run((true, false), Some(&result("Done"))),
            run((false, false), Some(&result("Failed"))),
        ];
        for run in &runs {
            assert_eq!(LastRun::read(&run.write()).as_ref(), Some(run));
        }
        for retry in [
            Retry::After(Timestamp::from_second(766).unwrap()),
            Retry::Started("e-defrag-job-2".to_owned()),
            Retry::Dropped("the CronJob is suspended".to_owned()),
        ] {
            let run = LastRun { retry: Some(retry), ..runs[3].clone() };
            assert_eq!(LastRun::read(&run.write()), Some(run));
        }
        insta::assert_snapshot!(runs[0].write(), @r#"{"ended":"1970-01-01T00:02:46Z","job":"e-defrag-job-1","outcome":"Defragmented","seconds":66,"members":3,"defragmented":2,"skipped":1,"reclaimed":157286400,"blockedSeconds":3.0}"#);
        insta::assert_snapshot!(runs.map(|run| run.in_short()).join("\n"), @r"
        2/3 -150 MiB 66s
        nothing to do 66s
        succeeded 66s
        deferred 66s
        deferred 66s
        failed 66s
        failed 66s
        failed 66s
        succeeded 66s
        ");
    }

    #[test]
    fn what_somebody_else_wrote_there_is_read_within_bounds() {
        let good = run((false, false), Some(&result("Done"))).write();
        assert!(LastRun::read(&good.replace("e-defrag-job-1", &"x".repeat(64))).is_none());
        assert!(LastRun::read(&format!("{good}{}", " ".repeat(LIMIT))).is_none());
        for nonsense in ["", "{}", "[]", "2026-01-01T00:00:00Z", r#"{"ended":"x","job":"y","outcome":"Failed"}"#] {
            assert_eq!(LastRun::read(nonsense), None, "{nonsense}");
        }
    }
}
