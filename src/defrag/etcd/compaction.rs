//! Whether a run compacts an etcd if no annotation decides it.

use std::fmt;

use super::{
    types::{AutoCompaction, Etcd, ServesApiServer},
    version::Version,
};
use crate::defrag::finding::quoted;

/// Why a run compacts an etcd only where somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoCompaction<'a> {
    /// It compacts itself.
    Itself(&'a AutoCompaction),
    /// This version loses revisions when a member crashes after a compaction to the newest one; the release that does not.
    LosesRevisions(Version, Version),
    /// A container of its pod has etcdctl compact it; which one.
    Beside(&'a str),
    /// The kube-apiserver that it serves compacts it; what shows that.
    ApiServer(&'a ServesApiServer),
}

impl Etcd {
    /// Why a run does not compact this etcd; `None` where it does, unless somebody says otherwise.
    #[must_use]
    pub fn no_compaction(&self) -> Option<NoCompaction<'_>> {
        let loses =
            || self.loses_revisions().map(|(version, repaired)| NoCompaction::LosesRevisions(version, repaired));
        let served = || self.serves_apiserver.as_ref().map(NoCompaction::ApiServer);
        let beside = || self.compacted_by.as_deref().map(NoCompaction::Beside);
        self.auto_compaction.as_ref().map(NoCompaction::Itself).or_else(loses).or_else(beside).or_else(served)
    }

    /// Its version, where that loses revisions when a member crashes after a compaction to the newest one, and the release that does not.
    #[must_use]
    pub fn loses_revisions(&self) -> Option<(Version, Version)> {
        self.version.and_then(|version| Some((version, version.keeps_revisions_from()?)))
    }
}

impl fmt::Display for NoCompaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself(own) => write!(f, "this etcd compacts itself ({own})"),
            Self::LosesRevisions(version, repaired) => {
                write!(f, "etcd {version} can lose revisions by it in a crash; {repaired} does not")
            }
            Self::Beside(container) => write!(f, "the container {} compacts this etcd", quoted(container)),
            Self::ApiServer(ServesApiServer { evidence, is_assumed: false }) => {
                write!(f, "a kube-apiserver compacts this etcd ({evidence})")
            }
            Self::ApiServer(ServesApiServer { evidence, is_assumed: true }) => {
                write!(f, "a kube-apiserver is assumed to compact this etcd ({evidence})")
            }
        }
    }
}
