//! Writes to our CronJobs other than server-side apply of the whole object: separate annotations, and the whole object
//! when it is created.
//!
//! An apply removes the fields that we applied before and do not apply any more. It does not remove fields that we
//! created: the API server lists those under our name as an update, separate from what we apply. So the answer to an
//! apply is checked for such fields.

use kube::api::ObjectMeta;

use super::{
    names::{LAST_ON_DEMAND, LAST_RUN, NOT_STARTED, ON_DEMAND, ORPHANED_SINCE},
    ownership::entries_of_ours,
};
use crate::defrag::preflight;

/// An annotation that is written by itself, and stays whatever is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// What the last run did.
    LastRun,
    /// Why its last run has not started.
    NotStarted,
    /// Why runs on demand wait or cannot start.
    OnDemand,
    /// The last run on demand.
    LastOnDemand,
    /// What the last preflight found.
    Preflight,
    /// Since when its StatefulSet is gone without it.
    OrphanedSince,
}

impl Note {
    const ALL: [Self; 6] =
        [Self::LastRun, Self::NotStarted, Self::OnDemand, Self::LastOnDemand, Self::Preflight, Self::OrphanedSince];

    /// The key of the annotation.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::LastRun => LAST_RUN,
            Self::NotStarted => NOT_STARTED,
            Self::OnDemand => ON_DEMAND,
            Self::LastOnDemand => LAST_ON_DEMAND,
            Self::Preflight => preflight::ANNOTATION,
            Self::OrphanedSince => ORPHANED_SINCE,
        }
    }
}

/// A label or an annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// `labels` or `annotations`.
    pub field: &'static str,
    /// The key.
    pub key: String,
}

/// The labels and annotations of `live` that we wrote otherwise than by applying, and that are neither desired nor a [`Note`].
#[must_use]
pub fn left_over(live: &ObjectMeta, desired: &ObjectMeta) -> Vec<Mark> {
    let mut found = Vec::new();
    let maps = [("labels", &live.labels, &desired.labels), ("annotations", &live.annotations, &desired.annotations)];
    for entry in entries_of_ours(live).filter(|entry| entry.operation.as_deref() != Some("Apply")) {
        for (field, live, desired) in maps {
            let owned = entry.fields_v1.as_ref().and_then(|fields| fields.0.pointer(&format!("/f:metadata/f:{field}")));
            let keys = owned.and_then(|owned| owned.as_object()).into_iter().flatten();
            let keys = keys.filter_map(|(name, _)| name.strip_prefix("f:"));
            let is_in = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
                map.as_ref().is_some_and(|all| all.contains_key(key))
            };
            let stays = |key: &str| field == "annotations" && Note::ALL.iter().any(|note| note.key() == key);
            let over = keys.filter(|key| is_in(live, key) && !is_in(desired, key) && !stays(key));
            found.extend(over.map(|key| Mark { field, key: key.to_owned() }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    fn over(manager: &str, operation: &str, subresource: &str) -> Vec<String> {
        let fields = json!({"f:metadata": {
            "f:labels": {".": {}, "f:old": {}, "f:kept": {}},
            "f:annotations": {".": {}, "f:old": {}, "f:kept": {}, "f:gone": {}, "f:etcd-defrag.io/last-run": {}},
        }});
        let live = meta(json!({
            "labels": {"old": "1", "kept": "1", "theirs": "1"},
            "annotations": {"old": "1", "kept": "1", "theirs": "1", "etcd-defrag.io/last-run": "{}"},
            "managedFields": [
                {"manager": manager, "operation": operation, "subresource": subresource, "fieldsV1": fields},
                {"manager": "kubectl-label", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}}},
            ],
        }));
        let desired = meta(json!({"labels": {"kept": "1"}, "annotations": {"kept": "2"}}));
        left_over(&live, &desired).into_iter().map(|mark| format!("{} {}", mark.field, mark.key)).collect()
    }

    #[test]
    fn what_we_created_and_do_not_ask_for_any_more_is_left_over() {
        assert_eq!(over("etcd-defrag-webhook", "Update", ""), ["labels old", "annotations old"]);
        let nothing = Vec::<String>::new();
        assert_eq!(over("etcd-defrag-webhook", "Apply", ""), nothing, "an application takes that away itself");
        assert_eq!(over("etcd-defrag-webhook", "Update", "status"), nothing);
        assert_eq!(over("kubectl-edit", "Update", ""), nothing, "what others wrote is theirs");
    }
}
