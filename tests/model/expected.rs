//! What is there against what has to be there once everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    events::{self, SLOTS},
    objects::{IN_FORCE, MANAGED_BY, MANAGER, ORPHANED_SINCE, STATEFULSET},
    oracle::{self, Candidate, Expected, Oracle},
    server::State,
    store::{CRONJOBS, Class, Key, POLICIES, Stored},
};

/// What a policy's status has to count.
#[derive(Debug, Default, PartialEq)]
struct Count {
    matched: i64,
    violating: i64,
}

/// Everything that is not as it should be.
pub(crate) fn wrong(oracle: &Oracle, state: &State) -> Vec<String> {
    let mut wrong = state.violations.clone();
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut accounted: Vec<Key> = Vec::new();
    for slot in 0..SLOTS.len() {
        let Some(expected) = oracle.expects(state, slot) else { continue };
        if let Some(name) = &expected.policy.name {
            let count = counts.entry(name.clone()).or_default();
            count.matched += 1;
            count.violating += i64::from(expected.findings.iter().any(|code| oracle::denies(code)));
        }
        let at = events::cronjob(slot);
        match state.store.objects.get(&at) {
            Some(Stored { class: Class::Foreign, .. }) => {}
            Some(Stored { class: Class::Adoptable, .. }) if expected.prevented => {}
            Some(Stored { class: Class::Adoptable, .. }) => wrong.push(format!("{at:?} was not adopted")),
            None if expected.may_be_missing => {}
            None => wrong.push(format!("{at:?} is missing")),
            Some(Stored { object, .. }) => cronjob(&mut wrong, state, slot, object, &expected),
        }
        accounted.push(at);
    }
    for (at, found) in state.store.of(CRONJOBS) {
        if found.class == Class::Plain && shows_it_is_ours(&found.object) && !accounted.contains(at) {
            wrong.push(format!("{at:?} is one too many"));
        }
    }
    for (at, found) in state.store.of(POLICIES) {
        let status = &found.object["status"];
        let count = counts.remove(&at.name).unwrap_or_default();
        let said = Count {
            matched: status["matched"].as_i64().unwrap_or(-1),
            violating: status["violating"].as_i64().unwrap_or(-1),
        };
        if said != count {
            wrong.push(format!("the status of {} says {said:?} instead of {count:?}", at.name));
        }
        expect(
            &mut wrong,
            at,
            "what was observed",
            &status["observedGeneration"],
            &found.object["metadata"]["generation"],
        );
    }
    wrong
}

/// Compares what is ours of a CronJob; labels, annotations and owners of others may stand beside.
fn cronjob(wrong: &mut Vec<String>, state: &State, slot: usize, live: &Value, expected: &Expected) {
    let (at, (_, name)) = (events::cronjob(slot), SLOTS[slot]);
    let (meta, notes) = (&live["metadata"], &live["metadata"]["annotations"]);
    if !expected.unknowable {
        specification(wrong, &at, live, &expected.cronjobs);
    }
    for (label, value) in oracle::labels(name).as_object().unwrap() {
        expect(wrong, &at, label, &meta["labels"][label], value);
    }
    let owners = meta["ownerReferences"].as_array().cloned().unwrap_or_default();
    let controllers = json!(owners.into_iter().filter(|owner| owner["controller"] == true).collect::<Vec<_>>());
    let owner = json!([{
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": name, "uid": expected.look.uid, "controller": true,
    }]);
    expect(wrong, &at, "the controllers", &controllers, &owner);
    expect(wrong, &at, "its StatefulSet", &notes[STATEFULSET], &json!(name));
    expect(wrong, &at, "since when it is orphaned", &notes[ORPHANED_SINCE], &Value::Null);

    let rival = (has_rival(state, slot) && oracle::is_clear(&expected.look)).then_some("rival-defragmenter");
    let listed = |codes: &BTreeSet<&'static str>| {
        let all: BTreeSet<&str> = codes.iter().copied().chain(rival).collect();
        let list = all.into_iter().collect::<Vec<_>>().join(",");
        if list.is_empty() { Value::Null } else { json!(list) }
    };
    let (found, fits) = (&notes["etcd-defrag.io/findings"], |one: &&Candidate| live["spec"] == one.spec);
    let lists: Vec<Value> = expected.cronjobs.iter().filter(fits).map(|one| listed(&one.findings)).collect();
    if !expected.unknowable && !lists.is_empty() && !lists.contains(found) {
        wrong.push(format!("{at:?}: the findings: {found} instead of {lists:?}"));
    }
    expect(wrong, &at, "the policy", &notes["etcd-defrag.io/policy"], &json!(expected.policy.name));
    expect(wrong, &at, "the reason", &notes["etcd-defrag.io/policy-reason"], &json!(expected.policy.reason));
    let [recorded, created] = [&notes["etcd-defrag.io/created-at"], &meta["creationTimestamp"]]
        .map(|time| time.as_str().and_then(|time| time.parse::<Timestamp>().ok()));
    if recorded.zip(created).is_none_or(|(recorded, created)| recorded.duration_since(created).abs().as_secs() > 10) {
        wrong.push(format!("{at:?}: a record of a CronJob of {recorded:?}, and it is of {created:?}"));
    }
    let paused =
        state.store.get(&events::pause()).map_or(Value::Null, |map| match &map["metadata"]["creationTimestamp"] {
            Value::Null => json!("true"),
            since => since.clone(),
        });
    expect(wrong, &at, "since when the fleet is paused", &notes["etcd-defrag.io/paused"], &paused);
    let asked =
        &state.store.get(&events::statefulset(slot)).unwrap()["metadata"]["annotations"]["etcd-defrag.io/defrag-now"];
    if !expected.prevented && !asked.is_null() && live["spec"]["suspend"] == false {
        expect(wrong, &at, "the token served", &notes["etcd-defrag.io/last-defrag-now"], asked);
    }
}

/// Compares the specification with every one that may be there, and what is said to be in force with that.
fn specification(wrong: &mut Vec<String>, at: &Key, live: &Value, candidates: &[Candidate]) {
    // Two of them may have one specification: then what is said to be in force tells which of them it is.
    let differences = |candidate: &&Candidate| {
        (json_patch::diff(&live["spec"], &candidate.spec).0.len(), in_force(at, live, candidate).len())
    };
    let Some(nearest) = candidates.iter().min_by_key(differences) else {
        wrong.push(format!("{at:?} was made although something is refused"));
        return;
    };
    let others: BTreeSet<String> = candidates.iter().map(|other| other.spec.to_string()).collect();
    let among = if others.len() > 1 { format!(", the nearest of {}", others.len()) } else { String::new() };
    for change in &json_patch::diff(&live["spec"], &nearest.spec).0 {
        let path = change.path().to_string();
        let value = |spec: &Value| spec.pointer(&path).unwrap_or(&Value::Null).clone();
        let (found, wanted) = (value(&live["spec"]), value(&nearest.spec));
        wrong.push(format!("{}/{}: {path} is {found} instead of {wanted}{among}", at.namespace, at.name));
    }
    wrong.extend(in_force(at, live, nearest));
}

/// What is wrong with the record of what is in force, for one of the CronJobs that may be there.
fn in_force(at: &Key, live: &Value, candidate: &Candidate) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(text) = live["metadata"]["annotations"][IN_FORCE].as_str() else { return wrong };
    let (settings, policy) = (&candidate.in_force.settings, &candidate.in_force.policy);
    let record: Value = serde_json::from_str(text).unwrap_or_default();
    expect(&mut wrong, at, "the version of what is in force", &record["version"], &json!(1));
    expect(&mut wrong, at, "the policy of what is in force", &record["policy"], &json!(policy));
    if !settings.held {
        let said = &record["settings"];
        expect(&mut wrong, at, "the schedule in force", &said["schedule"], &json!(settings.schedule));
        expect(&mut wrong, at, "the rule in force", &said["rule"], &json!(settings.rule));
    }
    wrong
}

/// Whether a CronJob has our label and names its StatefulSet. Where somebody took either off before the StatefulSet was let
/// go of, it is not ours to delete any more.
fn shows_it_is_ours(cronjob: &Value) -> bool {
    let meta = &cronjob["metadata"];
    let owned =
        meta["ownerReferences"].as_array().is_some_and(|owners| owners.iter().any(|one| one["controller"] == true));
    meta["labels"][MANAGED_BY] == MANAGER && (owned || !meta["annotations"][STATEFULSET].is_null())
}

fn expect(wrong: &mut Vec<String>, at: &Key, what: &str, found: &Value, wanted: &Value) {
    if found != wanted {
        wrong.push(format!("{}/{}: {what}: {found} instead of {wanted}", at.namespace, at.name));
    }
}

/// Whether another CronJob, under another name, defragments this etcd.
fn has_rival(state: &State, slot: usize) -> bool {
    let (namespace, name) = SLOTS[slot];
    let pod = format!("https://{name}-0.");
    state.store.of(CRONJOBS).any(|(at, found)| {
        let first = &found.object["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
        at.namespace == namespace
            && found.class != Class::Plain
            && *at != events::cronjob(slot)
            && first["args"].to_string().contains(&pod)
    })
}
