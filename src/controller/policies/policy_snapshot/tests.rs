use serde_json::{Value, json};

use super::*;

fn guarded(name: &str, generation: i64, spec: &Value) -> DeserializeGuard<DefragPolicy> {
    serde_json::from_value(json!({
        "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy",
        "metadata": {"name": name, "uid": name, "generation": generation}, "spec": spec,
    }))
    .unwrap()
}

fn waiting() -> watch::Sender<Completeness> {
    watch::channel(Completeness::Waiting(String::new())).0
}

#[test]
fn a_policy_is_read_once_a_generation() {
    let (mut builder, completeness) = (SnapshotBuilder::default(), waiting());
    let apply = |generation, priority| Ok(Event::Apply(guarded("a", generation, &json!({"priority": priority}))));
    assert!(builder.take_policy(apply(1, 5), &completeness));
    assert!(!builder.take_policy(apply(1, 5), &completeness), "a new status is no new policy");
    assert!(builder.take_policy(apply(2, 7), &completeness));
    assert_eq!(builder.snapshot().policies().iter().next().map(|one| one.priority), Some(7));
    assert!(builder.take_policy(Ok(Event::Delete(guarded("a", 2, &json!({})))), &completeness));
    assert!(builder.snapshot().policies().is_empty() && builder.compiled.is_empty());
}

#[test]
fn one_policy_that_cannot_be_decoded_does_not_hide_the_others() {
    let (mut builder, completeness) = (SnapshotBuilder::default(), waiting());
    for event in [
        Event::Init,
        Event::InitApply(guarded("bad", 1, &json!({"enrollment": "Some"}))),
        Event::InitApply(guarded("good", 1, &json!({}))),
        Event::InitDone,
    ] {
        builder.take_policy(Ok(event), &completeness);
    }
    assert!(builder.policies.ready());
    let snapshot = builder.snapshot();
    assert_eq!(snapshot.policies().iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["good"]);
}

#[test]
fn policies_are_forgotten_only_when_their_kind_is_gone_for_sure() {
    let not_found = || {
        let status = kube::core::Status::failure("404 page not found", "Failed to parse error data").with_code(404);
        Err(watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status))))
    };
    let (mut builder, completeness) = (SnapshotBuilder::default(), waiting());
    builder.take_policy(Ok(Event::Apply(guarded("a", 1, &json!({})))), &completeness);
    for _ in 1..MISSING_FOR_SURE {
        builder.take_policy(Ok(Event::Init), &completeness);
        assert!(!builder.take_policy(not_found(), &completeness));
    }
    builder.take_policy(Ok(Event::Init), &completeness);
    assert!(builder.take_policy(not_found(), &completeness));
    assert!(builder.snapshot().policies().is_empty());
    builder.take_namespace(Ok(Event::Init), &completeness);
    builder.take_namespace(Ok(Event::InitDone), &completeness);
    assert_eq!(builder.completeness(), Some(Completeness::Absent));
    builder.take_policy(Ok(Event::Init), &completeness);
    builder.take_policy(Ok(Event::InitDone), &completeness);
    assert_eq!(builder.completeness(), Some(Completeness::Synced));
}

#[test]
fn a_burst_is_taken_up_when_it_is_over_or_lasts_too_long() {
    let start = Instant::now();
    let first = Batch::at(start, None);
    assert_eq!(first.due(), start + QUIET);
    let mut batch = first;
    for step in 1..100 {
        batch = Batch::at(start + Duration::from_millis(step * 10), Some(batch));
    }
    assert_eq!(batch.due(), start + LATEST);
}

#[test]
fn a_namespace_waits_for_the_last_snapshot_only_and_a_policy_for_the_end_of_its_burst() {
    let sent = Instant::now();
    let at = |milliseconds| sent + Duration::from_millis(milliseconds);
    let due = |policies: &[u64], namespaces: &[u64]| {
        let mut gathered = Gathered::since(sent);
        for time in policies {
            gathered.policy(at(*time));
        }
        for time in namespaces {
            gathered.namespace(at(*time));
        }
        gathered.due()
    };
    assert_eq!(due(&[], &[]), None);
    assert_eq!(due(&[], &[5000]), Some(at(5000)), "at once");
    assert_eq!(due(&[], &[30, 60, 90]), Some(sent + QUIET), "with those that are made meanwhile");
    assert_eq!(due(&[5000, 5050], &[]), Some(at(5050) + QUIET));
    assert_eq!(due(&[5000, 5050], &[5060]), Some(at(5060)), "no policy keeps it waiting");
}

#[test]
fn a_definition_that_is_not_installed_is_asked_for_less_and_less_often() {
    let pauses = [1, 2, 3, 100].map(|times| missing_again(times).as_secs());
    assert_eq!(pauses, [5, 10, 15, 15]);
}
