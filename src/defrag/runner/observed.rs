//! What is observed of a cluster. Each text in it is of others.

use crate::defrag::rule::State;

/// A member in the member list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: u64,
    /// Its name; empty where it was added and never started.
    pub name: String,
    /// The client URLs that it advertises.
    pub urls: Vec<String>,
    /// Whether it does not vote.
    pub learner: bool,
}

impl Listed {
    /// What people call it.
    #[must_use]
    pub fn title(&self) -> String {
        if self.name.is_empty() { format!("{} (never started)", hex(self.id)) } else { self.name.clone() }
    }
}

/// An id as etcd's own programs print it.
#[must_use]
pub fn hex(id: u64) -> String {
    format!("{id:x}")
}

/// What a member says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The cluster's id.
    pub cluster: u64,
    /// Its own id.
    pub member: u64,
    /// The id of the leader that it knows; 0 where it knows none.
    pub leader: u64,
    /// The index up to which it has applied the log of the cluster.
    pub applied: u64,
    /// The revision of its store.
    pub revision: i64,
    /// The size of its database file, in bytes.
    pub db_size: u64,
    /// The part of it that holds data, in bytes.
    pub db_size_in_use: u64,
    /// Its quota, in bytes; 0 where it does not say one (before etcd 3.6, and in early 3.6 where none is set).
    pub quota: u64,
    /// Whether it does not vote.
    pub learner: bool,
}

impl Status {
    /// Whether it leads.
    #[must_use]
    pub const fn leads(&self) -> bool {
        self.member == self.leader
    }

    /// The state that a rule is evaluated on.
    #[must_use]
    pub const fn state(&self, quota: u64) -> State {
        State { db_size: self.db_size, db_size_in_use: self.db_size_in_use, quota }
    }
}

/// What is there behind an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The URL.
    pub endpoint: String,
    /// What the member behind it says of itself.
    pub status: Status,
    /// The members of the cluster as it knows them.
    pub list: Vec<Listed>,
}

/// The kind of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlarmKind {
    /// The quota was reached: nothing can be written. A defragmentation may cure it.
    NoSpace,
    /// The members hold different data.
    Corrupt,
    /// One that is not known here.
    Other(i32),
}

/// An alarm that is raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The member that raised it.
    pub member: u64,
    /// What it says.
    pub kind: AlarmKind,
}
