//! What happens in a sequence, and how it happens to the server. An event that does not fit the moment does nothing, so that
//! any part of a sequence is a sequence.

use serde_json::{Value, json};

use etcd_defrag_webhook::defrag::cronjob::{self, MANAGED_BY, MANAGER, STATEFULSET};

use super::{
    random::Random,
    server::State,
    store::{CRONJOBS, Class, Key, NAMESPACES, POLICIES, STATEFULSETS, key, uid_of},
};

/// The StatefulSets of a sequence. The names are chosen to be mixed up; the last one is too long for a CronJob's name.
pub(crate) const SLOTS: &[(&str, &str)] = &[
    ("a", "etcd"),
    ("a", "etcd-1"),
    ("b", "etcd"),
    ("b", "etcd-of-a-tenant-whose-name-is-longer-than-that-of-a-cronjob"),
];
const POLICY_NAMES: &[&str] = &["p0", "p1", "p2"];
/// The engine as defrag.sh runs it.
const ENGINE: &str = "ghcr.io/ahrtr/etcd-defrag:v0.14.0";

/// One event; the numbers choose among the variants below.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Create {
        slot: usize,
        label: usize,
        setting: usize,
    },
    Label {
        slot: usize,
        label: usize,
    },
    Annotate {
        slot: usize,
        setting: usize,
    },
    Template {
        slot: usize,
        template: usize,
    },
    Delete {
        slot: usize,
        orphan: bool,
    },
    Recreate {
        slot: usize,
    },
    DefragNow {
        slot: usize,
        token: u64,
    },
    FinishJobs {
        failed: bool,
    },
    DeleteCronJob {
        slot: usize,
    },
    EditCronJob {
        slot: usize,
        edit: usize,
    },
    CopyCronJob {
        slot: usize,
    },
    /// A CronJob of somebody else takes the name, from ours if that is there.
    Foreign {
        slot: usize,
        kind: usize,
    },
    Adoptable {
        slot: usize,
    },
    RemoveForeign {
        slot: usize,
    },
    Rival {
        slot: usize,
    },
    RemoveRival {
        slot: usize,
    },
    Policy {
        policy: usize,
        priority: u64,
        selects: usize,
        says: usize,
    },
    DeletePolicy {
        policy: usize,
    },
    /// The definition goes, and the policies with it; unless `told`, when no watch is there to hear of them.
    DefinitionGone {
        told: bool,
    },
    DefinitionBack,
    Namespace {
        namespace: usize,
        gold: bool,
    },
    Restart {
        replica: usize,
    },
    Kill {
        replica: usize,
    },
    CutOff {
        replica: usize,
        seconds: u64,
    },
    BreakWatches,
    ExpireVersions,
    Pause {
        milliseconds: u64,
    },
    /// Faults stop, and everything has to become and stay as it should be.
    Settle,
}

const LABELS: &[(Option<&str>, bool)] = &[
    (Some("true"), false),
    (Some("true"), true),
    (Some("false"), false),
    (None, true),
    (None, false),
    (Some("yes"), false),
];
const SETTINGS: &[&[(&str, &str)]] = &[
    &[],
    &[("schedule", "5 3 * * *")],
    &[("schedule", "7 7 * * *"), ("wait-between-members", "45s")],
    &[("suspend", "true")],
    &[("schedule", "0 */2 * * *")],
    &[("schedule", "* * * * *")],
    &[("shedule", "5 3 * * *")],
    &[("suspend", "yes")],
];
const TEMPLATES: usize = 5;
const EDITS: usize = 11;

/// A random event: about two of five concern StatefulSets, one CronJobs, one policies, one the machinery.
pub(crate) fn random(random: &mut Random) -> Event {
    let slot = random.below(SLOTS.len());
    match random.below(100u64) {
        0..=9 => Event::Create { slot, label: random.below(3), setting: random.below(SETTINGS.len()) },
        10..=14 => Event::Label { slot, label: random.below(LABELS.len()) },
        15..=22 => Event::Annotate { slot, setting: random.below(SETTINGS.len()) },
        23..=27 => Event::Template { slot, template: random.below(TEMPLATES) },
        28..=30 => Event::Delete { slot, orphan: random.one_in(3) },
        31..=34 => Event::Recreate { slot },
        35..=36 => Event::DefragNow { slot, token: random.below(100) },
        37 => Event::FinishJobs { failed: random.one_in(3) },
        38..=42 => Event::DeleteCronJob { slot },
        43..=50 => Event::EditCronJob { slot, edit: random.below(EDITS) },
        51 => Event::CopyCronJob { slot },
        52..=54 => Event::Foreign { slot, kind: random.below(3) },
        55..=56 => Event::Adoptable { slot },
        57..=59 => Event::RemoveForeign { slot },
        60 => Event::Rival { slot },
        61 => Event::RemoveRival { slot },
        62..=71 => Event::Policy {
            policy: random.below(POLICY_NAMES.len()),
            priority: random.below(3),
            selects: random.below(4),
            says: random.below(8),
        },
        72..=73 => Event::DeletePolicy { policy: random.below(POLICY_NAMES.len()) },
        74 => Event::DefinitionGone { told: random.one_in(2) },
        75..=76 => Event::DefinitionBack,
        77..=79 => Event::Namespace { namespace: random.below(2), gold: random.one_in(2) },
        80 => Event::Restart { replica: random.below(2) },
        81 => Event::Kill { replica: random.below(2) },
        82 => Event::CutOff { replica: random.below(2), seconds: random.below(40) },
        83 => Event::BreakWatches,
        84 => Event::ExpireVersions,
        85 => Event::Settle,
        86..=97 => Event::Pause { milliseconds: random.below(1500) },
        _ => Event::Pause { milliseconds: random.below(30_000) },
    }
}

pub(crate) fn statefulset(slot: usize) -> Key {
    let (namespace, name) = SLOTS[slot];
    key(STATEFULSETS, namespace, name)
}

/// Where the CronJob of a StatefulSet is.
pub(crate) fn cronjob(slot: usize) -> Key {
    let (namespace, name) = SLOTS[slot];
    key(CRONJOBS, namespace, &cronjob::name(name))
}

fn rival(slot: usize) -> Key {
    let (namespace, name) = SLOTS[slot];
    key(CRONJOBS, namespace, &format!("nightly-{}", &name[..name.len().min(20)]))
}

/// Makes the namespaces.
pub(crate) fn begin(state: &mut State) {
    for name in ["a", "b"] {
        let namespace = json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}});
        state.store.create(&key(NAMESPACES, "", name), namespace, "kubectl", Class::Plain).unwrap();
    }
}

/// Makes an event of objects happen. What a user is refused has not happened.
#[allow(clippy::too_many_lines, reason = "one arm for each event")]
pub(crate) fn happen(event: &Event, state: &mut State) {
    let State { store, no_policies, .. } = state;
    let ours = |store: &super::store::Store, slot: usize| {
        store.objects.get(&cronjob(slot)).is_some_and(|found| found.class == Class::Plain)
    };
    match *event {
        Event::Create { slot, label, setting } => {
            let _ = store.create(&statefulset(slot), object(slot, label, setting), "kubectl", Class::Plain);
        }
        Event::Label { slot, label } => {
            let _ = store.update(&statefulset(slot), "kubectl", |object| labelled(object, label));
        }
        Event::Annotate { slot, setting } => {
            let _ = store.update(&statefulset(slot), "kubectl", |object| annotated(object, setting));
        }
        Event::Template { slot, template } => {
            let _ = store.update(&statefulset(slot), "kubectl", |object| templated(object, template));
        }
        Event::Delete { slot, orphan } => {
            let Some(uid) = store.get(&statefulset(slot)).map(uid_of) else { return };
            if orphan {
                store.orphan(&uid);
            }
            store.remove(&statefulset(slot));
        }
        Event::Recreate { slot } => {
            let Some(mut object) = store.get(&statefulset(slot)).cloned() else { return };
            store.remove(&statefulset(slot));
            object["metadata"].as_object_mut().unwrap().remove("uid");
            store.create(&statefulset(slot), object, "kubectl", Class::Plain).unwrap();
        }
        Event::DefragNow { slot, token } => {
            let _ = store.update(&statefulset(slot), "kubectl", |object| {
                object["metadata"]["annotations"]["etcd-defrag.io/defrag-now"] = json!(token.to_string());
            });
        }
        Event::FinishJobs { failed } => store.finish_jobs(failed),
        Event::DeleteCronJob { slot } => {
            if ours(store, slot) {
                store.remove(&cronjob(slot));
            }
        }
        Event::EditCronJob { slot, edit } => {
            if ours(store, slot) {
                let _ = store.update(&cronjob(slot), "kubectl-edit", |object| edited(object, edit));
            }
        }
        Event::CopyCronJob { slot } => {
            let Some(found) = store.objects.get(&cronjob(slot)).cloned() else { return };
            let meta = &found.object["metadata"];
            let shows = meta["labels"][MANAGED_BY] == MANAGER && !meta["annotations"][STATEFULSET].is_null();
            if found.class == Class::Plain && shows {
                let mut copy = (*found.object).clone();
                let target = key(CRONJOBS, &cronjob(slot).namespace, &format!("copy-of-{slot}"));
                copy["metadata"]["name"] = json!(target.name);
                copy["metadata"].as_object_mut().unwrap().remove("uid");
                let _ = store.create(&target, copy, "kubectl-create", Class::Plain);
            }
        }
        Event::Foreign { slot, kind } => {
            store.remove(&cronjob(slot));
            let mut made = by_hand(&cronjob(slot), "busybox", "nothing of etcd");
            if kind > 0 {
                made = by_hand(&cronjob(slot), ENGINE, &endpoints(slot));
                let label = if kind == 1 { "argocd.argoproj.io/instance" } else { MANAGED_BY };
                made["metadata"]["labels"] = json!({label: "Helm"});
            }
            store.create(&cronjob(slot), made, "argocd", Class::Foreign).unwrap();
        }
        Event::Adoptable { slot } => {
            if cronjob(slot).name == format!("{}-defrag-job", SLOTS[slot].1) {
                let made = by_hand(&cronjob(slot), ENGINE, &endpoints(slot));
                let _ = store.create(&cronjob(slot), made, "kubectl-client-side-apply", Class::Adoptable);
            }
        }
        Event::RemoveForeign { slot } => {
            if store.objects.get(&cronjob(slot)).is_some_and(|found| found.class != Class::Plain) {
                store.remove(&cronjob(slot));
            }
        }
        Event::Rival { slot } => {
            let made = by_hand(&rival(slot), ENGINE, &endpoints(slot));
            let _ = store.create(&rival(slot), made, "kubectl", Class::Foreign);
        }
        Event::RemoveRival { slot } => store.remove(&rival(slot)),
        Event::Policy { policy, priority, selects, says } => {
            if !*no_policies {
                let (key, spec) = (key(POLICIES, "", POLICY_NAMES[policy]), policy_spec(priority, selects, says));
                let made = json!({"metadata": {"name": key.name}, "spec": spec});
                if store.create(&key, made, "kubectl", Class::Plain).is_err() {
                    store.update(&key, "kubectl", |object| object["spec"] = spec).unwrap();
                }
            }
        }
        Event::DeletePolicy { policy } => store.remove(&key(POLICIES, "", POLICY_NAMES[policy])),
        Event::DefinitionGone { told } => {
            for policy in POLICY_NAMES {
                store.remove(&key(POLICIES, "", policy));
            }
            *no_policies = true;
            state.broken += u64::from(!told);
        }
        Event::DefinitionBack => {
            if std::mem::take(no_policies) {
                // What was before is not known to the new one.
                store.version += 1;
                store.oldest = store.version;
            }
        }
        Event::Namespace { namespace, gold } => {
            let key = key(NAMESPACES, "", ["a", "b"][namespace]);
            let tier = if gold { json!("gold") } else { json!("clay") };
            store.update(&key, "kubectl", |object| object["metadata"]["labels"]["tier"] = tier).unwrap();
        }
        Event::BreakWatches => state.broken += 1,
        Event::ExpireVersions => {
            state.broken += 1;
            store.oldest = store.version + 1;
            // As if somebody had written something else: a list is newer than what is gone.
            store.version += 1;
        }
        Event::Restart { .. } | Event::Kill { .. } | Event::CutOff { .. } | Event::Pause { .. } | Event::Settle => {}
    }
}

fn object(slot: usize, label: usize, setting: usize) -> Value {
    let mut object: Value = serde_saphyr::from_str(include_str!("../../examples/kamaji-etcd.yaml")).unwrap();
    let (namespace, name) = SLOTS[slot];
    object["metadata"] = json!({"namespace": namespace, "name": name});
    labelled(&mut object, label);
    annotated(&mut object, setting);
    ready(&mut object);
    object
}

/// All members are ready, as a run on request asks for.
fn ready(object: &mut Value) {
    object["status"] = json!({"readyReplicas": object["spec"]["replicas"]});
}

fn labelled(object: &mut Value, label: usize) {
    let (enabled, team) = LABELS[label];
    let mut labels = json!({});
    if let Some(enabled) = enabled {
        labels["etcd-defrag.io/enabled"] = json!(enabled);
    }
    if team {
        labels["team"] = json!("blue");
    }
    object["metadata"]["labels"] = labels;
}

fn annotated(object: &mut Value, setting: usize) {
    let mut annotations = json!({});
    for (key, value) in SETTINGS[setting] {
        annotations[format!("etcd-defrag.io/{key}")] = json!(value);
    }
    object["metadata"]["annotations"] = annotations;
}

/// Sound, none running, another quota, a volume that is too small (refused, but not for what the settings say), no etcd.
fn templated(object: &mut Value, template: usize) {
    let sound: Value = serde_saphyr::from_str(include_str!("../../examples/kamaji-etcd.yaml")).unwrap();
    object["spec"] = sound["spec"].clone();
    let spec = &mut object["spec"];
    match template {
        1 => spec["replicas"] = json!(0),
        2 => spec["replicas"] = json!(5),
        3 => spec["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("1Gi"),
        4 => spec["template"]["spec"]["containers"] = json!([{"name": "web", "image": "nginx:1"}]),
        _ => {}
    }
    ready(object);
}

fn edited(object: &mut Value, edit: usize) {
    let meta = &mut object["metadata"];
    let without = |value: &mut Value, key: &str| {
        value.as_object_mut().map(|fields| fields.remove(key));
    };
    let pod = "/spec/jobTemplate/spec/template/spec/containers";
    match edit {
        0 => object["spec"]["schedule"] = json!("1 1 1 1 *"),
        1 => without(&mut meta["labels"], MANAGED_BY),
        2 => without(&mut meta["annotations"], STATEFULSET),
        3 => without(meta, "ownerReferences"),
        4 => object["spec"]["timeZone"] = json!("Etc/UTC"),
        5 => meta["labels"]["theirs"] = json!("kept"),
        6 => object["spec"]["suspend"] = json!(true),
        7 => meta["annotations"]["etcd-defrag.io/findings"] = json!("stale"),
        8 => object.pointer_mut(pod).unwrap()[0]["args"] = json!(["--cluster"]),
        9 => object.pointer_mut(pod).unwrap().as_array_mut().unwrap().push(json!({"name": "sidecar", "image": "x"})),
        _ => object["status"]["lastScheduleTime"] = json!("2026-01-01T00:00:00Z"),
    }
}

fn endpoints(slot: usize) -> String {
    let (namespace, name) = SLOTS[slot];
    format!("--endpoints=https://{name}-0.kamaji-etcd.{namespace}.svc.cluster.local:2379")
}

fn by_hand(key: &Key, image: &str, arg: &str) -> Value {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "run", "image": image, "args": [arg]}]});
    json!({
        "metadata": {"name": key.name, "namespace": key.namespace},
        "spec": {"schedule": "11 11 11 11 *", "jobTemplate": {"spec": {"template": {"spec": pod}}}},
    })
}

fn policy_spec(priority: u64, selects: usize, says: usize) -> Value {
    let mut spec = match says {
        0 => json!({"defaults": {"schedule": "3 2 * * *"}}),
        1 => json!({"defaults": {"schedule": "4 2 * * *"}, "job": {"podLabels": {"team": "platform"}}}),
        2 | 3 => json!({"enrollment": "All", "allowOptOut": says == 3}),
        4 => json!({"defaults": {"schedule": "0 0 31 2 *"}}),
        5 => {
            json!({"defaults": {"schedule": "0 * * * *"}, "limits": {"minInterval": "12h", "minIntervalWithoutFloor": "12h"}})
        }
        6 => json!({"validationActions": ["Warn"], "limits": {"windows": [{"from": "22:00", "to": "06:00"}]}}),
        _ => json!({"limits": {"windows": [{"from": "22:00", "to": "06:00"}], "minWaitBetweenMembers": "40s"}}),
    };
    spec["priority"] = json!(priority);
    match selects {
        0 => {}
        1 => spec["namespaceSelector"] = json!({"matchLabels": {"tier": "gold"}}),
        2 => spec["selector"] = json!({"matchLabels": {"team": "blue"}}),
        _ => spec["selector"] = json!({"matchLabels": {"no": "object"}}),
    }
    spec
}
