//! A CronJob whose StatefulSet was deleted with `--cascade=orphan`.
//!
//! The garbage collector then removes the owner reference from it before the StatefulSet is gone; with every other
//! deletion the reference stays, and the garbage collector deletes the CronJob. The pods continue, and so do the runs,
//! until a StatefulSet of the same name takes the CronJob over or [`KEPT`] has passed. The CronJob itself contains
//! since when.

use std::time::Duration;

use jiff::{Timestamp, Unit};
use k8s_openapi::api::batch::v1::CronJob;
use kube::api::ObjectMeta;

use super::{
    name,
    names::ORPHANED_SINCE,
    ownership::{has_controller, statefulset_of_ours, written_by_us},
};

/// So long does an orphaned CronJob stay.
pub const KEPT: Duration = Duration::from_mins(10);

/// What happens to one of our CronJobs while there is no StatefulSet of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was not orphaned, or is not the one that a StatefulSet that comes back would have: it goes.
    Goes,
    /// It was orphaned, and nothing that could be true says since when: the time is noted on it.
    Unmarked,
    /// It was orphaned, and stays for so long yet.
    Stays(Duration),
    /// It was orphaned, and no StatefulSet was created.
    Expired,
}

/// What happens to our CronJob `live`, as the API server shows it, when there is no StatefulSet of this name.
///
/// A copy, or one from a backup, was not orphaned: our field manager never wrote it. Somebody who forges even that may
/// write CronJobs anyway.
#[must_use]
pub fn fate(live: &CronJob, statefulset: &str, now: Timestamp) -> Fate {
    let meta = &live.metadata;
    let expected = meta.name.as_deref() == Some(&name(statefulset)) && statefulset_of_ours(meta) == Some(statefulset);
    if !expected || has_controller(meta) || !written_by_us(meta) {
        return Fate::Goes;
    }
    // A time to come is that of a clock ahead of ours, or a forged one.
    let Some(age) = since(meta).and_then(|since| Duration::try_from(now.duration_since(since)).ok()) else {
        return Fate::Unmarked;
    };
    match KEPT.checked_sub(age) {
        Some(left) if !left.is_zero() => Fate::Stays(left),
        _ => Fate::Expired,
    }
}

/// Since when a CronJob is marked as orphaned.
#[must_use]
pub fn since(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.annotations.as_ref()?.get(ORPHANED_SINCE)?.parse().ok()
}

/// The mark for one that is orphaned since `now`, to the second.
#[must_use]
pub fn mark(now: Timestamp) -> String {
    let second = jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc);
    now.round(second).unwrap_or(now).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-03-01T12:00:00.7Z";

    /// Of a CronJob as the garbage collector leaves it, after a change.
    fn fate_of(change: impl FnOnce(&mut Value)) -> Fate {
        let mut live = json!({
            "metadata": {
                "name": "etcd-defrag-job", "namespace": "ns",
                "labels": {"app.kubernetes.io/managed-by": "etcd-defrag-webhook"},
                "annotations": {"etcd-defrag.io/statefulset": "etcd"},
                "managedFields": [{"manager": "etcd-defrag-webhook", "operation": "Apply"}],
            },
            "spec": {"schedule": "@daily", "jobTemplate": {}},
        });
        change(&mut live["metadata"]);
        fate(&serde_json::from_value(live).unwrap(), "etcd", NOW.parse().unwrap())
    }

    fn marked(time: &str) -> Fate {
        fate_of(|meta| meta["annotations"]["etcd-defrag.io/orphaned-since"] = json!(time))
    }

    #[test]
    fn an_orphan_is_marked_stays_for_ten_minutes_and_goes() {
        assert_eq!(fate_of(|_| {}), Fate::Unmarked);
        let created = json!([{"manager": "etcd-defrag-webhook", "operation": "Update"}]);
        assert_eq!(
            fate_of(|meta| meta["managedFields"] = created),
            Fate::Unmarked,
            "never written since it was created"
        );
        assert_eq!(mark(NOW.parse().unwrap()), "2026-03-01T12:00:00Z");
        assert_eq!(marked("2026-03-01T12:00:00Z"), Fate::Stays(Duration::from_millis(599_300)));
        assert_eq!(marked("2026-03-01T11:50:01Z"), Fate::Stays(Duration::from_millis(300)));
        assert_eq!(marked("2026-03-01T11:50:00Z"), Fate::Expired);
        assert_eq!(marked("2020-01-01T00:00:00Z"), Fate::Expired);
    }

    #[test]
    fn a_mark_that_cannot_be_true_is_written_again() {
        for forged in ["2999-01-01T00:00:00Z", "2026-03-01T12:00:01Z", "soon", "", "-1", "2026-03-01"] {
            assert_eq!(marked(forged), Fate::Unmarked, "{forged}");
        }
    }

    #[test]
    fn what_the_garbage_collector_takes_or_never_owned_goes_at_once() {
        let owner = |controller: bool| json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "etcd", "uid": "old", "controller": controller}]);
        assert_eq!(fate_of(|meta| meta["ownerReferences"] = owner(true)), Fate::Goes, "not orphaned");
        assert_eq!(
            fate_of(|meta| meta["ownerReferences"] = owner(false)),
            Fate::Unmarked,
            "owned by somebody else, too"
        );
        assert_eq!(fate_of(|meta| meta["name"] = json!("copy")), Fate::Goes, "no StatefulSet would take it over");
        assert_eq!(fate_of(|meta| meta["managedFields"] = json!([])), Fate::Goes, "a copy");
        let other = json!([{"manager": "velero", "operation": "Update"}]);
        assert_eq!(fate_of(|meta| meta["managedFields"] = other), Fate::Goes, "from a backup");
        assert_eq!(fate_of(|meta| meta["labels"] = json!({})), Fate::Goes);
        let another = json!({"etcd-defrag.io/statefulset": "other"});
        assert_eq!(fate_of(|meta| meta["annotations"] = another), Fate::Goes);
    }
}
