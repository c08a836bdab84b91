//! The result of the last preflight, as it is stored on the CronJob, for people and for the next leader.

use std::fmt;

use jiff::Timestamp;

use super::access::Access;
use crate::defrag::{run_result::RunResult, runner::differing_quota, text::shorten};

/// The longest text, in characters.
const TEXT: usize = 700;
/// The longest annotation that is read, in bytes.
const LIMIT: usize = 8192;

/// What is written of a preflight that went well.
pub const WELL: &str = "reached all members and logged in; nothing was changed";

/// The same, with what our own runner found: a quota that is not the one that the rule is evaluated with.
#[must_use]
pub fn well(found: Option<&RunResult>, quota: u64) -> String {
    let members = found.map(|found| found.members.as_slice()).unwrap_or_default();
    match differing_quota(members, quota) {
        Some(differs) => format!("{WELL}; {differs}"),
        None => WELL.to_owned(),
    }
}

/// How a preflight ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is under way.
    Running,
    /// All members were reached and logged in to.
    Succeeded,
    /// They were not, or the Job did not start.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        })
    }
}

/// What the last preflight found. The annotation reads
/// `Failed 2026-01-31T00:05:00Z access 1a2b3c4d5e6f engine 0a1b2c3d4e5f tries 2 job etcd-defrag-job-0123456789: text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// How it ended.
    pub outcome: Outcome,
    /// When it ended, or began where it is in progress.
    pub at: Timestamp,
    /// What was tried.
    pub access: Access,
    /// How many have been tried in a row, with this one.
    pub tries: u32,
    /// The name of its Job.
    pub job: String,
    /// What was found, for people.
    pub text: String,
}

impl Record {
    /// The text of the annotation.
    #[must_use]
    pub fn write(&self) -> String {
        let Self { outcome, at, access: Access { facts, engine }, tries, job, text } = self;
        let text = shorten(text, TEXT);
        format!("{outcome} {at} access {facts} engine {engine} tries {tries} job {job}: {text}")
    }

    /// Reads the annotation; `None` if it is not in our form.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > LIMIT {
            return None;
        }
        let (head, text) = text.split_once(": ")?;
        let words: Vec<&str> = head.split(' ').collect();
        let [outcome, at, "access", facts, "engine", engine, "tries", tries, "job", job] = words.as_slice() else {
            return None;
        };
        let outcome = match *outcome {
            "Running" => Outcome::Running,
            "Succeeded" => Outcome::Succeeded,
            "Failed" => Outcome::Failed,
            _ => return None,
        };
        Some(Self {
            outcome,
            at: at.parse().ok()?,
            access: Access { facts: (*facts).to_owned(), engine: (*engine).to_owned() },
            tries: tries.parse().ok()?,
            job: (*job).to_owned(),
            text: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let record = Record {
            outcome: Outcome::Failed,
            at: "2026-01-31T00:05:00Z".parse().unwrap(),
            access: Access { facts: "1a".to_owned(), engine: "2b".to_owned() },
            tries: 2,
            job: "etcd-defrag-job-0123456789".to_owned(),
            text: "x509: certificate signed by unknown authority".to_owned(),
        };
        let text = "Failed 2026-01-31T00:05:00Z access 1a engine 2b tries 2 job etcd-defrag-job-0123456789: \
                    x509: certificate signed by unknown authority";
        assert_eq!(record.write(), text);
        assert_eq!(Record::read(text), Some(record.clone()));
        let long = Record { text: "é".repeat(5000), ..record };
        assert_eq!(Record::read(&long.write()).unwrap().text.chars().count(), TEXT);
    }

    #[test]
    fn a_quota_that_differs_is_said() {
        let found = |quota: u64| {
            let text = format!(
                r#"{{"version":1,"outcome":"Checked","members":[{{"name":"e-0","did":"Checked","quota":{quota}}}],"membersTotal":1}}"#
            );
            RunResult::read(&text).unwrap()
        };
        assert_eq!(
            well(Some(&found(8 << 30)), 2 << 30),
            format!(
                "{WELL}; e-0: its quota is 8 GiB, and the rule was evaluated with 2 GiB: set etcd-defrag.io/quota to 8Gi"
            )
        );
        assert_eq!(well(Some(&found(2 << 30)), 2 << 30), WELL);
        assert_eq!(well(Some(&found(0)), 2 << 30), WELL, "a server that does not say it");
        assert_eq!(well(None, 2 << 30), WELL);
    }

    #[test]
    fn what_is_not_ours_is_nothing() {
        let long = format!("Failed 2026-01-31T00:05:00Z access 1a engine 2b tries 2 job j: {}", "x".repeat(LIMIT));
        for text in ["", "true", "Failed: x", "Failed now access 1a engine 2b tries 2 job j: x", &long] {
            assert_eq!(Record::read(text), None, "{text}");
        }
    }
}
