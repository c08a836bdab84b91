//! What has to be there once everything has come to rest: a model that knows no queue, no cache and no history.

use std::{cmp::Reverse, collections::BTreeMap};

use etcd_defrag_webhook::defrag::{
    Enrollment, cronjob,
    cronjob::{MANAGED_BY, MANAGER, STATEFULSET},
    policy::{self, DefragPolicy, Policy},
    resolve,
    statefulset::StatefulSet,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    events::{self, SLOTS},
    server::State,
    store::{CRONJOBS, Class, Key, NAMESPACES, POLICIES, Stored, key},
};

/// What a policy's status has to count.
#[derive(Debug, Default, PartialEq)]
struct Count {
    matched: i64,
    violating: i64,
}

/// A policy that governs: its name, its priority, what it says.
type Governing = Option<(String, i64, Policy)>;

/// Everything that is not as it should be.
pub(crate) fn wrong(state: &State) -> Vec<String> {
    let mut wrong = state.violations.clone();
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut accounted: Vec<Key> = Vec::new();
    for slot in 0..SLOTS.len() {
        let Some(live) = state.store.get(&events::statefulset(slot)) else { continue };
        let governing = governing(state, live);
        let policy = governing.as_ref().map_or_else(Policy::built_in, |(.., policy)| policy.clone());
        let object: StatefulSet = serde_json::from_value(live.clone()).unwrap();
        let judged = resolve(&object, &policy, Timestamp::now());
        let enrolled = !matches!(judged.enrollment, Enrollment::NotEnrolled | Enrollment::OptedOut);
        if !enrolled {
            continue;
        }
        if let Some((name, ..)) = &governing {
            let count = counts.entry(name.clone()).or_default();
            count.matched += 1;
            count.violating += i64::from(judged.denials().next().is_some());
        }
        let at = events::cronjob(slot);
        accounted.push(at.clone());
        let found = state.store.objects.get(&at);
        let has = judged.plan.is_some();
        match (found, judged.plan.or(judged.follow)) {
            (Some(Stored { class: Class::Foreign, .. }), _) => {}
            (Some(Stored { class: Class::Adoptable, .. }), _) if !has => {}
            (Some(Stored { class: Class::Adoptable, .. }), _) => wrong.push(format!("{at:?} was not adopted")),
            (None, _) if has => wrong.push(format!("{at:?} is missing")),
            // Where the settings are refused the last good one stays, if there was one.
            (None, _) => {}
            (Some(found), plan) => {
                let mut codes: Vec<&str> = judged.findings.iter().map(|finding| finding.code.as_str()).collect();
                codes.extend(
                    has_rival(state, slot)
                        .then_some("rival-defragmenter")
                        .filter(|_| enrolled && judged.enrollment == Enrollment::Enrolled),
                );
                codes.sort_unstable();
                codes.dedup();
                let codes = if codes.is_empty() { Value::Null } else { json!(codes.join(",")) };
                let notes = &found.object["metadata"]["annotations"];
                expect(&mut wrong, &at, "the findings", &notes["etcd-defrag.io/findings"], &codes);
                if let Some(plan) = plan {
                    let desired = serde_json::to_value(cronjob::build(&plan, &policy)).unwrap();
                    compare(&mut wrong, &at, &found.object, &desired);
                    let (name, why) = match &governing {
                        Some((name, priority, _)) => (
                            json!(name),
                            format!(
                                "governed by DefragPolicy {name} (priority {priority}, the highest that selects it)"
                            ),
                        ),
                        None => (
                            Value::Null,
                            "governed by the built-in policy, since no DefragPolicy selects it".to_owned(),
                        ),
                    };
                    expect(&mut wrong, &at, "the policy", &notes["etcd-defrag.io/policy"], &name);
                    expect(&mut wrong, &at, "the reason", &notes["etcd-defrag.io/policy-reason"], &json!(why));
                }
                let asked = &live["metadata"]["annotations"]["etcd-defrag.io/defrag-now"];
                if has && !asked.is_null() && found.object["spec"]["suspend"] == false {
                    expect(&mut wrong, &at, "the token served", &notes["etcd-defrag.io/last-defrag-now"], asked);
                }
            }
        }
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

/// Compares what is ours of a CronJob; labels, annotations and owners of others may stand beside.
fn compare(wrong: &mut Vec<String>, at: &Key, live: &Value, desired: &Value) {
    expect(wrong, at, "the specification", &live["spec"], &desired["spec"]);
    for field in ["labels", "annotations"] {
        for (name, value) in desired["metadata"][field].as_object().into_iter().flatten() {
            expect(wrong, at, name, &live["metadata"][field][name], value);
        }
    }
    let owners = live["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    let controllers = json!(owners.into_iter().filter(|owner| owner["controller"] == true).collect::<Vec<_>>());
    expect(wrong, at, "the controllers", &controllers, &desired["metadata"]["ownerReferences"]);
    // Our marks, once more in words of their own.
    expect(wrong, at, "the mark", &live["metadata"]["labels"][MANAGED_BY], &json!(MANAGER));
    expect(wrong, at, "its StatefulSet", &live["metadata"]["annotations"][STATEFULSET], &controllers[0]["name"]);
}

/// Of the policies whose labels are all there: the highest priority, then the first name.
fn governing(state: &State, object: &Value) -> Governing {
    let namespace = object["metadata"]["namespace"].as_str().unwrap();
    let namespace = state.store.get(&key(NAMESPACES, "", namespace)).unwrap();
    let has = |labels: &Value, selector: &Value| {
        selector["matchLabels"].as_object().into_iter().flatten().all(|(name, value)| labels[name] == *value)
    };
    let mut selecting: Vec<&Value> = state
        .store
        .of(POLICIES)
        .map(|(_, stored)| &*stored.object)
        .filter(|policy| {
            has(&namespace["metadata"]["labels"], &policy["spec"]["namespaceSelector"])
                && has(&object["metadata"]["labels"], &policy["spec"]["selector"])
        })
        .collect();
    let rank = |policy: &Value| {
        (Reverse(policy["spec"]["priority"].as_i64().unwrap()), policy["metadata"]["name"].as_str().unwrap().to_owned())
    };
    selecting.sort_by_key(|policy| rank(policy));
    let first = *selecting.first()?;
    let (Reverse(priority), name) = rank(first);
    let read: DefragPolicy = serde_json::from_value(first.clone()).unwrap();
    let policy = policy::compile(&read, Timestamp::now()).policy;
    Some((name, priority, (*policy).clone()))
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
