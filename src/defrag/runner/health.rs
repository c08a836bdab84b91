//! Whether a cluster is healthy enough for one of its members to be away for a while.

use super::observed::{Alarm, AlarmKind, Status, hex};

/// How many entries of the log a member may be behind its leader to count as caught up. The two are not read at the
/// same instant, and a busy cluster writes some thousand entries a second; etcd itself refuses writes at 5,000.
pub const CLOSE: u64 = 1_000;

/// Why no member may be taken away now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unhealthy {
    /// A voter does not answer a linearizable read.
    #[error("{member} does not answer a read: {why}")]
    Read {
        /// Its name.
        member: String,
        /// What came instead.
        why: String,
    },
    /// An alarm that no defragmentation cures.
    #[error("{member} has raised the alarm {alarm}: no member is defragmented before it is cleared")]
    Alarm {
        /// The member's name.
        member: String,
        /// CORRUPT, or the number of another one.
        alarm: String,
    },
    /// A voter without a leader.
    #[error("{member} knows no leader")]
    NoLeader {
        /// Its name.
        member: String,
    },
    /// Voters that follow different leaders.
    #[error("{first} and {second} do not agree on the leader")]
    Leaders {
        /// A member.
        first: String,
        /// One that follows another leader.
        second: String,
    },
    /// A voter that is behind.
    #[error("{member} is {entries} entries behind the leader, and at most {CLOSE} is close enough")]
    Behind {
        /// Its name.
        member: String,
        /// By how much.
        entries: u64,
    },
}

impl Unhealthy {
    /// Whether it may be over in a moment without anybody doing something.
    #[must_use]
    pub const fn passes(&self) -> bool {
        !matches!(self, Self::Alarm { .. })
    }
}

/// Whether every voter reads, follows the same leader and is close to it, and no alarm but NOSPACE is raised. `voters` has
/// each voter's name and status, and what its linearizable read gave.
pub fn healthy(voters: &[(&str, Status, Result<(), String>)], alarms: &[Alarm]) -> Result<(), Unhealthy> {
    let name = |id: u64| {
        let known = voters.iter().find(|(_, status, _)| status.member == id);
        known.map_or_else(|| hex(id), |(name, ..)| (*name).to_owned())
    };
    for alarm in alarms {
        let text = match alarm.kind {
            AlarmKind::NoSpace => continue,
            AlarmKind::Corrupt => "CORRUPT".to_owned(),
            AlarmKind::Other(number) => format!("number {number}"),
        };
        return Err(Unhealthy::Alarm { member: name(alarm.member), alarm: text });
    }
    for (member, _, read) in voters {
        if let Err(why) = read {
            return Err(Unhealthy::Read { member: (*member).to_owned(), why: why.clone() });
        }
    }
    for (member, status, _) in voters {
        if status.leader == 0 {
            return Err(Unhealthy::NoLeader { member: (*member).to_owned() });
        }
    }
    let Some((first, of_first, _)) = voters.first() else { return Ok(()) };
    if let Some((second, ..)) = voters.iter().find(|(_, status, _)| status.leader != of_first.leader) {
        return Err(Unhealthy::Leaders { first: (*first).to_owned(), second: (*second).to_owned() });
    }
    let Some((_, leader, _)) = voters.iter().find(|(_, status, _)| status.leads()) else {
        return Err(Unhealthy::NoLeader { member: (*first).to_owned() });
    };
    for (member, status, _) in voters {
        let entries = leader.applied.saturating_sub(status.applied);
        if entries > CLOSE {
            return Err(Unhealthy::Behind { member: (*member).to_owned(), entries });
        }
    }
    Ok(())
}
