//! How a live CronJob differs from the one that should be there.

use std::hash::{Hash as _, Hasher as _};

use k8s_openapi::{api::batch::v1::CronJob, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::api::ObjectMeta;
use serde::Serialize;

use super::{deferral, names::OURS};

/// The fields in which `live` differs from `desired`, as paths; empty if nothing has to be written.
///
/// The specification has to be equal. Labels, annotations and owner references of others are ignored.
#[must_use]
pub fn drift(live: &CronJob, desired: &CronJob) -> Vec<String> {
    let mut paths = metadata_drift(&live.metadata, &desired.metadata);
    paths.extend(spec_drift(live, desired));
    paths
}

/// Whether `live` differs from `desired` in nothing but our own annotations.
#[must_use]
pub fn only_in_our_annotations(live: &CronJob, desired: &CronJob) -> bool {
    let without = |cronjob: &CronJob| {
        let mut cronjob = cronjob.clone();
        if let Some(notes) = &mut cronjob.metadata.annotations {
            notes.retain(|key, _| !OURS.contains(&key.as_str()));
        }
        cronjob
    };
    drift(&without(live), &without(desired)).is_empty()
}

/// The part of [`drift`] in the metadata.
#[must_use]
pub fn metadata_drift(live: &ObjectMeta, desired: &ObjectMeta) -> Vec<String> {
    let mut paths = Vec::new();
    let empty = std::collections::BTreeMap::new();
    let (live_labels, live_notes) =
        (live.labels.as_ref().unwrap_or(&empty), live.annotations.as_ref().unwrap_or(&empty));
    for (key, value) in desired.labels.iter().flatten() {
        if live_labels.get(key) != Some(value) {
            paths.push(format!("metadata.labels[{key}]"));
        }
    }
    let notes = desired.annotations.as_ref().unwrap_or(&empty);
    for key in notes.keys().map(String::as_str).chain(OURS.iter().copied().filter(|key| !notes.contains_key(*key))) {
        if live_notes.get(key) != notes.get(key) {
            paths.push(format!("metadata.annotations[{key}]"));
        }
    }
    if !owners_match(
        live.owner_references.as_deref().unwrap_or_default(),
        desired.owner_references.as_deref().unwrap_or_default(),
    ) {
        paths.push("metadata.ownerReferences".to_owned());
    }
    paths
}

/// Whether each desired owner is there, and no controller besides.
fn owners_match(live: &[OwnerReference], desired: &[OwnerReference]) -> bool {
    let same = |a: &OwnerReference, b: &OwnerReference| {
        (&a.api_version, &a.kind, &a.name, &a.uid, a.controller)
            == (&b.api_version, &b.kind, &b.name, &b.uid, b.controller)
    };
    desired.iter().all(|wanted| live.iter().any(|owner| same(owner, wanted)))
        && live
            .iter()
            .filter(|owner| owner.controller == Some(true))
            .all(|owner| desired.iter().any(|wanted| same(owner, wanted)))
}

fn spec_drift(live: &CronJob, desired: &CronJob) -> Vec<String> {
    let mut live = live.spec.clone();
    deferral::canonical(&mut live);
    let (Ok(live), Ok(desired)) = (serde_json::to_value(&live), serde_json::to_value(&desired.spec)) else {
        return vec!["spec".to_owned()];
    };
    let mut paths: Vec<String> = json_patch::diff(&live, &desired)
        .iter()
        .map(|change| format!("spec{}", change.path().to_string().replace('/', ".")))
        .collect();
    paths.dedup();
    paths
}

/// A number that is equal for equal values and, but for an accident of one in 2^64, for no others.
#[must_use]
pub fn fingerprint(value: &impl Serialize) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    match serde_json::to_string(value) {
        Ok(text) => text.hash(&mut hasher),
        Err(_) => hasher.write_u8(0),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::names::FINDINGS, *};

    fn desired() -> Value {
        json!({
            "metadata": {
                "name": "etcd-defrag-job",
                "labels": {"app.kubernetes.io/managed-by": "etcd-defrag-webhook"},
                "annotations": {"etcd-defrag.io/statefulset": "etcd"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "etcd", "uid": "new", "controller": true}],
            },
            "spec": {"schedule": "0 0 * * *", "suspend": false, "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": {
                "containers": [{"name": "etcd-defrag", "args": ["--endpoints=a"]}],
            }}}}},
        })
    }

    fn paths(change: impl Fn(&mut Value)) -> Vec<String> {
        let mut live = desired();
        change(&mut live);
        drift(&serde_json::from_value(live).unwrap(), &serde_json::from_value(desired()).unwrap())
    }

    #[test]
    fn equal_is_no_drift_and_what_others_add_to_the_metadata_is_theirs() {
        assert!(paths(|_| {}).is_empty());
        assert!(paths(|live| live["metadata"]["labels"]["team"] = json!("x")).is_empty());
        assert!(paths(|live| live["metadata"]["annotations"]["note"] = json!("x")).is_empty());
        assert!(paths(|live| live["status"] = json!({"lastScheduleTime": "2026-01-01T00:00:00Z"})).is_empty());
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y"});
        assert!(
            paths(|live| live["metadata"]["ownerReferences"].as_array_mut().unwrap().push(owner.clone())).is_empty()
        );
    }

    #[test]
    fn every_change_of_the_specification_is_named() {
        assert_eq!(paths(|live| live["spec"]["schedule"] = json!("* * * * *")), ["spec.schedule"]);
        assert_eq!(paths(|live| live["spec"]["timeZone"] = json!("Etc/UTC")), ["spec.timeZone"]);
        let container = "spec.jobTemplate.spec.template.spec.containers.0";
        let change = |live: &mut Value| {
            live["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["x"]);
        };
        assert_eq!(paths(change), [format!("{container}.args.0")]);
    }

    #[test]
    fn our_own_marks_are_exact() {
        assert_eq!(
            paths(|live| live["metadata"]["labels"] = json!({})),
            ["metadata.labels[app.kubernetes.io/managed-by]"]
        );
        let stale = |live: &mut Value| live["metadata"]["annotations"][FINDINGS] = json!("single-member");
        assert_eq!(paths(stale), ["metadata.annotations[etcd-defrag.io/findings]"]);
        let removed = |live: &mut Value| live["metadata"]["annotations"] = json!({});
        assert_eq!(paths(removed), ["metadata.annotations[etcd-defrag.io/statefulset]"]);
    }

    #[test]
    fn an_owner_of_another_uid_or_none_is_drift() {
        assert_eq!(
            paths(|live| live["metadata"]["ownerReferences"][0]["uid"] = json!("old")),
            ["metadata.ownerReferences"]
        );
        assert_eq!(paths(|live| live["metadata"]["ownerReferences"] = json!([])), ["metadata.ownerReferences"]);
    }

    #[test]
    fn fingerprints_follow_the_value() {
        assert_eq!(fingerprint(&desired()), fingerprint(&desired()));
        assert_ne!(fingerprint(&json!(1)), fingerprint(&json!(2)));
    }
}
