//! Compaction that somebody asks for where it is of no use, or unsafe.

use crate::defrag::{
    etcd::Etcd,
    finding::{Code, Finding},
    keys::Key,
    settings::Settings,
};

pub(super) fn judge(settings: &Settings, etcd: &Etcd) -> Vec<Finding> {
    if settings.compaction != Some(true) {
        return Vec::new();
    }
    redundant(etcd).into_iter().chain(unsafe_by_version(etcd)).collect()
}

/// Compaction before each run drops history that watchers may still need, for nothing where somebody compacts already.
fn redundant(etcd: &Etcd) -> Option<Finding> {
    let (who, brief) = match (&etcd.auto_compaction, &etcd.serves_apiserver) {
        (Some(own), _) => (
            format!("this etcd compacts itself ({own})"),
            "etcd compacts itself; compacting on each run makes watchers relist",
        ),
        (None, Some(evidence)) => (
            format!("this etcd serves a kube-apiserver, which compacts it every 5 minutes ({evidence})"),
            "a kube-apiserver compacts this etcd; compacting on each run makes watchers relist",
        ),
        (None, None) => return None,
    };
    Some(Finding::new(
        Code::CompactionRedundant,
        Key::Compaction.field(),
        brief,
        format!(
            "compaction is \"true\" although {who}: each run would compact to the newest revision even when nothing is defragmented, and every watcher further back has to list again. Remove the annotation or write \"false\"."
        ),
    ))
}

/// Versions that lose revisions when a member crashes after a compaction to the newest one.
fn unsafe_by_version(etcd: &Etcd) -> Option<Finding> {
    let (version, repaired) = etcd.loses_revisions()?;
    Some(Finding::new(
        Code::EtcdVersionUnsafe,
        Key::Compaction.field(),
        format!("etcd {version} can lose revisions after a compaction; write \"false\" or run {repaired}"),
        format!(
            "compaction is \"true\", and this etcd is {version}: when a member crashes after a compaction to the newest revision, it can lose revisions that the others have (etcd issue 17780). Remove the annotation or write \"false\", or upgrade to {repaired} or newer."
        ),
    ))
}
