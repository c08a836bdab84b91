//! The result of a run of our own runner, as it is written to the termination message of its container and read from
//! its Pod: JSON of at most [`LIMIT`] bytes.
//!
//! The message is external text: anybody who may write the status of a Pod, or runs another image with our arguments,
//! can write it. It is read within bounds, and each text in it is converted to one line of printable characters.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{quantity, text::shorten};

/// The most that a result takes, in bytes: what Kubernetes keeps of the termination message of a container.
pub const LIMIT: usize = 4096;
/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// The status with which the runner ends where it is done, or where there was nothing to do.
pub const EXIT_DONE: u8 = 0;
/// The status with which the runner ends where something failed.
pub const EXIT_FAILED: u8 = 1;
/// The status with which the runner ends where it gave up waiting for a better moment (`EX_TEMPFAIL` of sysexits.h).
pub const EXIT_DEFERRED: u8 = 75;

/// Characters of a reason, of a member's note and of a name that are kept at most.
const REASON: usize = 300;
const NOTE: usize = 160;
const NAME: usize = 120;
/// No run takes longer, in seconds: what is read beyond it is cut to it.
const LONGEST: f64 = 1e9;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Every member that the rule asked for was defragmented.
    Done,
    /// The rule asked for no member.
    NothingToDo,
    /// The cluster did not become healthy in time, or the run was stopped: it may be retried.
    Deferred,
    /// Something is wrong that another try does not cure by itself.
    Failed,
    /// A dry run: everything was checked, nothing was changed.
    Checked,
}

impl Outcome {
    /// The status with which the process ends.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Done | Self::NothingToDo | Self::Checked => EXIT_DONE,
            Self::Deferred => EXIT_DEFERRED,
            Self::Failed => EXIT_FAILED,
        }
    }
}

/// What was done with one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Did {
    /// Its database was defragmented.
    Defragmented,
    /// Nothing was to be done: the rule was false, or it is a learner.
    Skipped,
    /// Its defragmentation was begun and did not end well; the member may still be at work.
    Failed,
    /// The run did not come to it.
    NotTouched,
    /// A dry run checked it; any other would have defragmented it.
    Checked,
}

/// One member of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The name that the member list has.
    #[serde(default)]
    pub name: String,
    /// The URL that it was reached by.
    #[serde(default)]
    pub endpoint: String,
    /// What was done with it.
    pub did: Did,
    /// The size of its database file before, in bytes; 0 where it is not known.
    #[serde(default)]
    pub size_before: u64,
    /// The size of its database file after, in bytes; 0 where it is not known.
    #[serde(default)]
    pub size_after: u64,
    /// Its quota as the server says it, in bytes; 0 where it does not (before etcd 3.6, and where none is set in early 3.6).
    #[serde(default)]
    pub quota: u64,
    /// How long its defragmentation took, in seconds: it was blocked for that long.
    #[serde(default)]
    pub seconds: f64,
    /// Whether it led the cluster when its turn came, or, where its turn did not come, at the start.
    #[serde(default)]
    pub leader: bool,
    /// A note; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Member {
    /// Whether a defragmentation of it was begun.
    #[must_use]
    pub const fn touched(&self) -> bool {
        matches!(self.did, Did::Defragmented | Did::Failed)
    }

    /// The bytes that its defragmentation gave back.
    #[must_use]
    pub const fn reclaimed(&self) -> u64 {
        if matches!(self.did, Did::Defragmented) { self.size_before.saturating_sub(self.size_after) } else { 0 }
    }

    fn cleaned(&mut self, note: usize) {
        for (text, limit) in [(&mut self.name, NAME), (&mut self.endpoint, NAME), (&mut self.note, note)] {
            *text = cut(text, limit);
        }
        self.seconds = seconds(self.seconds);
    }

    /// What is omitted first if there is no room: a member that was not changed.
    const fn weight(&self) -> u8 {
        match self.did {
            Did::NotTouched => 0,
            Did::Skipped | Did::Checked => 1,
            Did::Defragmented => 2,
            Did::Failed => 3,
        }
    }
}

/// Members for which there was no room, so that the sums stay right without them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LeftOut {
    /// How many.
    pub members: u32,
    /// Of those: how many were begun, whatever came of it.
    pub touched: u32,
    /// Of those: how many were defragmented.
    pub defragmented: u32,
    /// The bytes that they gave back.
    pub reclaimed: u64,
}

impl LeftOut {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, member: &Member) {
        self.members = self.members.saturating_add(1);
        self.touched = self.touched.saturating_add(member.touched().into());
        self.defragmented = self.defragmented.saturating_add((member.did == Did::Defragmented).into());
        self.reclaimed = self.reclaimed.saturating_add(member.reclaimed());
    }
}

/// What a run did. As JSON it has the members before everything that is longer than a word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunResult {
    /// [`VERSION`].
    pub version: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// The members in the order in which they were, or would have been, defragmented.
    #[serde(default)]
    pub members: Vec<Member>,
    /// What there was no room for.
    #[serde(default, skip_serializing_if = "LeftOut::is_none")]
    pub left_out: LeftOut,
    /// How many members the cluster has; 0 if it is not known.
    #[serde(default)]
    pub members_total: u32,
    /// How long the run took, in seconds.
    #[serde(default)]
    pub seconds: f64,
    /// The member that led at the start, where leadership was moved; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub leader_from: String,
    /// The member to which leadership was moved; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub leader_to: String,
    /// Why it ended as it did, in a sentence without its full stop; empty where there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Why a text is no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is nothing.
    #[error("the termination message is empty")]
    Empty,
    /// Longer than anything that a runner writes, in bytes.
    #[error("the termination message has {0} bytes, and a result has at most {LIMIT}")]
    TooLong(usize),
    /// No JSON, or not that of a result.
    #[error("the termination message is not a result of a run: {0}")]
    Form(String),
    /// A version that is not known here.
    #[error("the result of the run has version {0}, and this program reads version {VERSION}")]
    Version(u32),
}

impl RunResult {
    /// A result without members.
    #[must_use]
    pub fn new(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self {
            version: VERSION,
            outcome,
            members: Vec::new(),
            left_out: LeftOut::default(),
            members_total: 0,
            seconds: 0.0,
            leader_from: String::new(),
            leader_to: String::new(),
            reason: reason.into(),
        }
    }

    /// Reads what a runner wrote. Fields that are not known here are passed over, and each text is made one line of
    /// printable characters.
    pub fn read(text: &str) -> Result<Self, ReadError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ReadError::Empty);
        }
        if text.len() > LIMIT {
            return Err(ReadError::TooLong(text.len()));
        }
        let mut result: Self =
            serde_json::from_str(text).map_err(|error| ReadError::Form(shorten(&error.to_string(), 200)))?;
        if result.version != VERSION {
            return Err(ReadError::Version(result.version));
        }
        result.clean(NOTE);
        Ok(result)
    }

    /// The result as JSON in at most [`LIMIT`] bytes. If it would be longer, notes are shortened first, and then
    /// members are omitted, first those that were not changed; [`LeftOut`] counts them.
    #[must_use]
    pub fn write(&self) -> String {
        let mut cut = self.clone();
        for note in [NOTE, NOTE / 2, NOTE / 4, 0] {
            cut.clean(note);
            if let Some(json) = cut.fitting() {
                return json;
            }
        }
        loop {
            let least = cut.members.iter().map(Member::weight).min();
            let Some(at) = cut.members.iter().rposition(|member| Some(member.weight()) == least) else { break };
            cut.left_out.add(&cut.members.remove(at));
            if let Some(json) = cut.fitting() {
                return json;
            }
        }
        // Without members the texts are bounded well below the limit.
        serde_json::to_string(&cut).unwrap_or_default()
    }

    fn fitting(&self) -> Option<String> {
        serde_json::to_string(self).ok().filter(|json| json.len() <= LIMIT)
    }

    fn clean(&mut self, note: usize) {
        for (text, limit) in [(&mut self.reason, REASON), (&mut self.leader_from, NAME), (&mut self.leader_to, NAME)] {
            *text = cut(text, limit);
        }
        self.seconds = seconds(self.seconds);
        for member in &mut self.members {
            member.cleaned(note);
        }
    }

    /// Whether the run began no defragmentation of any member, so that it may be started again.
    #[must_use]
    pub fn no_member_was_touched(&self) -> bool {
        self.left_out.touched == 0 && !self.members.iter().any(Member::touched)
    }

    /// The bytes that the members gave back.
    #[must_use]
    pub fn reclaimed(&self) -> u64 {
        let bytes = self.members.iter().map(Member::reclaimed);
        bytes.fold(self.left_out.reclaimed, u64::saturating_add)
    }

    /// How many members were defragmented.
    #[must_use]
    pub fn defragmented(&self) -> usize {
        let here = self.members.iter().filter(|member| member.did == Did::Defragmented).count();
        here.saturating_add(usize::try_from(self.left_out.defragmented).unwrap_or(usize::MAX))
    }

    /// How many seconds members were blocked, in all: the sum of what each defragmentation took.
    #[must_use]
    pub fn seconds_blocked(&self) -> f64 {
        self.members.iter().filter(|member| member.touched()).map(|member| member.seconds).sum()
    }

    /// The members that the cluster has, as far as is known.
    fn total(&self) -> usize {
        let said = usize::try_from(self.members_total).unwrap_or(usize::MAX);
        let left_out = usize::try_from(self.left_out.members).unwrap_or(usize::MAX);
        said.max(self.members.len().saturating_add(left_out))
    }
}

/// One sentence for people, without its full stop: `3 of 3 members, 225 MiB reclaimed, 4.1 s, leader moved from etcd-0 to
/// etcd-1`.
impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, done) = (self.total(), self.defragmented());
        let members = if total == 1 { "member" } else { "members" };
        match self.outcome {
            Outcome::Done => write!(f, "{done} of {total} {members}")?,
            Outcome::NothingToDo => write!(f, "nothing to do for {total} {members}")?,
            Outcome::Checked => write!(f, "{total} {members} checked, nothing changed")?,
            Outcome::Deferred if self.no_member_was_touched() => {
                f.write_str("deferred before any member was changed")?;
            }
            Outcome::Deferred => write!(f, "deferred after {done} of {total} {members}")?,
            Outcome::Failed if self.no_member_was_touched() => f.write_str("failed before any member was changed")?,
            Outcome::Failed => write!(f, "failed after {done} of {total} {members}")?,
        }
        if done > 0 {
            write!(f, ", {} reclaimed", quantity::rounded(self.reclaimed()))?;
        }
        write!(f, ", {:.1} s", self.seconds)?;
        if !self.leader_to.is_empty() {
            write!(f, ", leader moved from {} to {}", self.leader_from, self.leader_to)?;
        }
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}

/// `text` as one line of at most `limit` characters; nothing at all where that is 0.
fn cut(text: &str, limit: usize) -> String {
    if limit == 0 { String::new() } else { shorten(text, limit) }
}

/// A number of seconds that can be printed, in whole milliseconds, so that what is written is what is read.
fn seconds(given: f64) -> f64 {
    let seconds = if given.is_finite() { given.clamp(0.0, LONGEST) } else { 0.0 };
    // A negative zero becomes a plain one.
    (seconds * 1e3).round() / 1e3 + 0.0
}

#[cfg(test)]
mod tests;
