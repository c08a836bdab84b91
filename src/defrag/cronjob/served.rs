//! Which `defrag-now` token requests a run: one that was changed after its CronJob was created.
//!
//! The record is two annotations of the CronJob: the token that was served last, and the creation time of the CronJob
//! that it was written for. A time, and not the uid, since it is known when the CronJob is created, which saves a write
//! for each new CronJob. If there is no record of this CronJob, because it is new, or the record was lost or restored
//! from a backup, it is not known what was served, and the current token counts as served. The same holds if a
//! StatefulSet takes over a CronJob that continued without one.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::CronJob;
use kube::api::ObjectMeta;

use super::{
    names::{CREATED_AT, LAST_DEFRAG_NOW},
    ownership::annotation,
};

/// How far our clock and the one of the API server may differ; beyond it, a new CronJob is written once more.
const SKEW: SignedDuration = SignedDuration::from_secs(10);

/// The token of a StatefulSet that asks for a run. `cronjob` is what is there of its CronJob, `statefulset` its own uid.
#[must_use]
pub fn asks<'a>(present: Option<&'a str>, cronjob: &ObjectMeta, statefulset: Option<&str>) -> Option<&'a str> {
    match Record::of(cronjob, statefulset) {
        Record::Missing => None,
        Record::Served(served) => present.filter(|token| !token.is_empty() && served != Some(*token)),
    }
}

/// Notes on a CronJob that is to be what counts as served once it is. `ours` is the one that is there.
pub(super) fn note(desired: &mut CronJob, present: Option<&str>, ours: Option<&ObjectMeta>, statefulset: Option<&str>) {
    let served = match ours.map(|ours| Record::of(ours, statefulset)) {
        Some(Record::Served(served)) => served,
        Some(Record::Missing) | None => present,
    };
    if let Some(token) = served.filter(|token| !token.is_empty()) {
        note_served(desired, token);
    }
    if let Some(at) = ours.and_then(|ours| recorded_on(ours).or_else(|| created(ours))) {
        sign(desired, at);
    }
}

/// Notes that a token was served.
pub fn note_served(desired: &mut CronJob, token: &str) {
    let notes = desired.metadata.annotations.get_or_insert_default();
    notes.insert(LAST_DEFRAG_NOW.to_owned(), token.to_owned());
}

/// Records the CronJob that the record is for: the one with this creation time.
pub fn sign(desired: &mut CronJob, at: Timestamp) {
    let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    desired.metadata.annotations.get_or_insert_default().insert(CREATED_AT.to_owned(), at);
}

/// The same without the record, which differs from one CronJob of a StatefulSet to the next.
#[must_use]
pub fn without_record(meta: &ObjectMeta) -> ObjectMeta {
    let mut meta = meta.clone();
    if let Some(notes) = &mut meta.annotations {
        notes.retain(|key, _| key != LAST_DEFRAG_NOW && key != CREATED_AT);
    }
    meta
}

/// What is on record of a CronJob.
enum Record<'a> {
    /// Nothing: it is none of this CronJob, or of this CronJob as one of another StatefulSet.
    Missing,
    /// The token that was served last, if one was.
    Served(Option<&'a str>),
}

impl<'a> Record<'a> {
    fn of(cronjob: &'a ObjectMeta, statefulset: Option<&str>) -> Self {
        let owned = |uid: &str| cronjob.owner_references.iter().flatten().any(|owner| owner.uid == uid);
        if recorded_on(cronjob).is_some() && statefulset.is_none_or(owned) {
            Self::Served(annotation(cronjob, LAST_DEFRAG_NOW))
        } else {
            Self::Missing
        }
    }
}

/// What the record says of when its CronJob was created, where that is this one.
fn recorded_on(cronjob: &ObjectMeta) -> Option<Timestamp> {
    let recorded: Timestamp = annotation(cronjob, CREATED_AT)?.parse().ok()?;
    (recorded.duration_since(created(cronjob)?).abs() <= SKEW).then_some(recorded)
}

fn created(cronjob: &ObjectMeta) -> Option<Timestamp> {
    cronjob.creation_timestamp.as_ref().map(|time| time.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CREATED: &str = "2026-03-01T12:00:00Z";

    /// A CronJob with this record and this owner, created at noon.
    fn cronjob((token, on): (Option<&str>, Option<&str>), owner: &str) -> ObjectMeta {
        let notes = json!({LAST_DEFRAG_NOW: token, CREATED_AT: on});
        let notes = notes.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
        let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "etcd", "uid": owner});
        let notes: serde_json::Map<_, _> = notes.map(|(key, value)| (key.clone(), value.clone())).collect();
        let meta = json!({"creationTimestamp": CREATED, "annotations": notes, "ownerReferences": [owner]});
        serde_json::from_value(meta).unwrap()
    }

    /// What asks at a CronJob, and what is then recorded: the token and the time.
    fn result(present: Option<&str>, meta: &ObjectMeta) -> (Option<String>, Option<String>, Option<String>) {
        let mut desired = CronJob::default();
        note(&mut desired, present, Some(meta), Some("s"));
        let notes = desired.metadata.annotations.unwrap_or_default();
        let asks = asks(present, meta, Some("s")).map(str::to_owned);
        (asks, notes.get(LAST_DEFRAG_NOW).cloned(), notes.get(CREATED_AT).cloned())
    }

    #[test]
    fn a_value_that_became_new_asks_and_no_other() {
        let some = |text: &str| Some(text.to_owned());
        let cases = [
            // The CronJob, the token that is there: what asks, what is recorded.
            ((None, Some(CREATED)), "s", Some("b"), (some("b"), None)),
            ((Some("a"), Some(CREATED)), "s", Some("b"), (some("b"), some("a"))),
            ((Some("a"), Some(CREATED)), "s", Some("a"), (None, some("a"))),
            ((Some("a"), Some(CREATED)), "s", Some(""), (None, some("a"))),
            ((Some("a"), Some(CREATED)), "s", None, (None, some("a"))),
            ((None, Some(CREATED)), "s", None, (None, None)),
            // No record: made just now, or by an earlier version.
            ((None, None), "s", Some("b"), (None, some("b"))),
            ((Some("a"), None), "s", Some("b"), (None, some("b"))),
            ((Some("a"), None), "s", None, (None, None)),
            // Restored from a backup.
            ((Some("a"), Some("2026-02-28T12:00:00Z")), "s", Some("b"), (None, some("b"))),
            ((Some("a"), Some("2026-03-01T12:00:11Z")), "s", Some("b"), (None, some("b"))),
            ((Some("a"), Some("2026-03-01T11:59:49Z")), "s", Some("b"), (None, some("b"))),
            // Of an earlier version, or of nobody.
            ((Some("a"), Some("0d3f")), "s", Some("b"), (None, some("b"))),
            // Taken over from a StatefulSet that is gone.
            ((Some("a"), Some(CREATED)), "t", Some("b"), (None, some("b"))),
        ];
        for (record, owner, present, (asks, token)) in cases {
            let found = result(present, &cronjob(record, owner));
            assert_eq!(found, (asks, token, some(CREATED)), "{record:?} of {owner}, {present:?}");
        }
        // Two clocks that differ a little: the record stays as it was written, so that nothing has to be written again.
        for near in ["2026-03-01T12:00:10Z", "2026-03-01T11:59:50Z"] {
            let found = result(Some("b"), &cronjob((Some("a"), Some(near)), "s"));
            assert_eq!(found, (some("b"), some("a"), some(near)));
        }
    }

    #[test]
    fn what_is_there_when_the_cronjob_is_made_counts_as_served() {
        let mut desired = CronJob::default();
        note(&mut desired, Some("a"), None, Some("s"));
        assert_eq!(desired.metadata.annotations, Some([(LAST_DEFRAG_NOW.to_owned(), "a".to_owned())].into()));
        sign(&mut desired, CREATED.parse().unwrap());
        let made = cronjob((Some("a"), Some(CREATED)), "s");
        assert_eq!(desired.metadata.annotations, made.annotations);
        assert_eq!((asks(Some("a"), &made, Some("s")), asks(Some("b"), &made, Some("s"))), (None, Some("b")));
        assert_eq!(
            without_record(&desired.metadata),
            ObjectMeta { annotations: Some([].into()), ..ObjectMeta::default() }
        );
    }
}
