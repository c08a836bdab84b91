//! Compaction that somebody asks for where it is of no use, or unsafe.

use crate::defrag::{
    etcd::{CompactionDoubt, Etcd, NoCompaction, ServesApiServer},
    finding::{Code, Finding, quoted},
    keys::Key,
    settings::Settings,
};

pub(super) fn judge(settings: &Settings, etcd: &Etcd) -> Vec<Finding> {
    match settings.compaction {
        Some(true) => {}
        Some(false) => return Vec::new(),
        None => return doubtful(etcd).into_iter().collect(),
    }
    redundant(etcd).into_iter().chain(unsafe_by_version(etcd)).collect()
}

/// An etcd of which is not known for sure whether anybody compacts it.
fn doubtful(etcd: &Etcd) -> Option<Finding> {
    match etcd.no_compaction() {
        None => etcd.compaction_doubt.as_ref().map(may_compact_itself),
        Some(NoCompaction::ApiServer(ServesApiServer { evidence, is_assumed: true })) => Some(assumed(evidence)),
        Some(_) => None,
    }
}

/// An etcd that no run compacts, since a kube-apiserver is assumed to.
fn assumed(evidence: &str) -> Finding {
    let annotation = Key::Compaction.annotation();
    Finding::new(
        Code::AutoCompactionDoubtful,
        Key::Compaction.field(),
        "a kube-apiserver is assumed to compact etcd: if none does, write \"true\"",
        format!(
            "No run compacts this etcd: a kube-apiserver, which compacts every 5 minutes, is assumed to use it, since {evidence}. Nothing else shows one. If nothing compacts, old revisions fill the database up to its quota, and a run cannot reclaim them. If no kube-apiserver uses this etcd, write {annotation}: \"true\"; if one does, \"false\"."
        ),
    )
}

/// An etcd that is set up to compact itself, and may not do so. A run compacts it.
fn may_compact_itself(doubt: &CompactionDoubt) -> Finding {
    let annotation = Key::Compaction.annotation();
    let (field, brief, message) = match doubt {
        CompactionDoubt::Unseen(place) => (
            Key::Compaction.field(),
            "etcd may compact itself: if so, write \"false\"".to_owned(),
            format!(
                "It is not known whether this etcd compacts itself: that may be set in {place}, which is not read here. So each run compacts it to the newest revision, and every watcher at an older revision has to list again. If etcd compacts itself, write {annotation}: \"false\"; if not, \"true\"."
            ),
        ),
        CompactionDoubt::KeepsAll { origin, retention, revisions, field } => (
            field.clone().into(),
            format!("{} keeps {revisions} revisions, so etcd compacts nothing", quoted(retention)),
            format!(
                "{origin} is {} and the mode is revision: etcd keeps {revisions} revisions, more than its database can hold, and so never compacts itself. Each run compacts it instead, and every watcher at an older revision has to list again. Write a number of revisions, such as 10000, or the mode periodic for a duration.",
                quoted(retention)
            ),
        ),
    };
    Finding::new(Code::AutoCompactionDoubtful, field, brief, message)
}

/// Compaction before each run drops history that watchers may still need, for nothing where somebody compacts already.
fn redundant(etcd: &Etcd) -> Option<Finding> {
    let (who, brief) = match (&etcd.auto_compaction, &etcd.serves_apiserver) {
        (None, _) if let Some(container) = &etcd.compacted_by => (
            format!("the container {} of its pod compacts this etcd", quoted(container)),
            "a container of the pod compacts etcd; compacting on each run makes watchers relist",
        ),
        (Some(own), _) => (
            format!("this etcd compacts itself ({own})"),
            "etcd compacts itself; compacting on each run makes watchers relist",
        ),
        // Who asks for it says that there is none.
        (None, Some(ServesApiServer { evidence, is_assumed: false })) => (
            format!("this etcd serves a kube-apiserver, which compacts it every 5 minutes ({evidence})"),
            "a kube-apiserver compacts this etcd; compacting on each run makes watchers relist",
        ),
        (None, _) => return None,
    };
    Some(Finding::new(
        Code::CompactionRedundant,
        Key::Compaction.field(),
        brief,
        format!(
            "compaction is \"true\" although {who}: each run would compact to the newest revision even when nothing is defragmented, and every watcher at an older revision has to list again. Remove the annotation or write \"false\"."
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::defrag::{
        assess::{Surroundings, assess},
        policy::Governing,
    };

    /// The finding on the compaction of an etcd with these arguments, and whether its runs compact.
    fn doubt(args: &[&str], image: &str, stated: Option<&str>) -> (Option<String>, bool) {
        let mut words = vec!["--data-dir=/d", "--listen-client-urls=http://0.0.0.0:2379"];
        words.extend(["--advertise-client-urls=http://$(POD).etcd.ns.svc:2379"]);
        words.extend(args);
        let env = json!([
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "HIDDEN", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "r"}}}
        ]);
        let etcd = json!({"name": "etcd", "image": image, "command": ["etcd"], "args": words, "env": env});
        let mut object = json!({
            "metadata": {"name": "etcd", "namespace": "ns", "labels": {"etcd-defrag.io/enabled": "true"}, "annotations": {}},
            "spec": {"replicas": 3, "serviceName": "etcd", "template": {"spec": {"containers": [etcd]}}}
        });
        if let Some(stated) = stated {
            object["metadata"]["annotations"][Key::Compaction.annotation()] = json!(stated);
        }
        let object = serde_json::from_value(object).unwrap();
        let now = "2026-11-24T00:00:00Z".parse().unwrap();
        let assessment = assess(&object, &Governing::built_in(), &Surroundings::default(), now);
        let mut doubts = assessment.findings.iter().filter(|finding| finding.code == Code::AutoCompactionDoubtful);
        let shown = doubts.next().map(|f| format!("{}\n{}: {}", f.brief, f.field, f.message));
        (shown, assessment.plan.unwrap().compaction)
    }

    #[test]
    fn an_etcd_that_may_not_compact_itself_is_compacted_and_named() {
        let image = "quay.io/coreos/etcd:v3.6.1";
        let hidden = ["--auto-compaction-retention=$(HIDDEN)"];
        let (unseen, compacts) = doubt(&hidden, image, None);
        assert!(compacts);
        insta::assert_snapshot!(unseen.unwrap());
        let (keeps_all, compacts) =
            doubt(&["--auto-compaction-mode=revision", "--auto-compaction-retention=5m"], image, None);
        assert!(compacts);
        insta::assert_snapshot!(keeps_all.unwrap());
        for stated in ["true", "false"] {
            assert_eq!(doubt(&hidden, image, Some(stated)), (None, stated == "true"), "{stated}");
        }
        let of_kcp = [
            hidden[0],
            "--trusted-ca-file=/etc/etcd/tls/client-ca/tls.crt",
            "--cert-file=/etc/etcd/tls/server/tls.crt",
        ];
        for (args, image, compacts) in [
            (&["--auto-compaction-retention=5m"][..], image, false),
            (&["--auto-compaction-retention=0"], image, true),
            (&[], image, true),
            // It loses revisions by it; a kube-apiserver compacts it.
            (&hidden, "quay.io/coreos/etcd:v3.5.10", false),
            (&of_kcp, image, false),
        ] {
            assert_eq!(doubt(args, image, None), (None, compacts), "{args:?} {image}");
        }
    }

    #[test]
    fn an_image_of_kubernetes_is_no_proof_that_somebody_compacts() {
        let image = "registry.k8s.io/etcd:3.6.8-0";
        let (assumed, compacts) = doubt(&[], image, None);
        assert!(!compacts);
        insta::assert_snapshot!(assumed.unwrap());
        for stated in ["true", "false"] {
            assert_eq!(doubt(&[], image, Some(stated)), (None, stated == "true"), "{stated}");
        }
        let of_kcp = ["--trusted-ca-file=/etc/etcd/tls/client-ca/tls.crt", "--cert-file=/etc/etcd/tls/server/tls.crt"];
        for args in [&["--auto-compaction-retention=5m"][..], &of_kcp] {
            assert_eq!(doubt(args, image, None), (None, false), "{args:?}");
        }
    }
}
