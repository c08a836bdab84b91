//! What happens in a sequence, and how it happens to the server. An event that does not fit the moment does nothing, so that
//! any part of a sequence is a sequence.

use serde_json::json;

use super::{
    objects::{
        self, EDITS, ENGINE, FORGERIES, LABELS, MANAGED_BY, MANAGER, MEMBERS, POLICIES_SAY, QUOTAS, SECRETS, SETTINGS,
        STATEFULSET, SUSPENSIONS, TEMPLATES,
    },
    server::State,
    store::{CONFIGMAPS, CRONJOBS, Class, Key, NAMESPACES, POLICIES, STATEFULSETS, key, uid_of},
};
use harness::random::Random;

/// The StatefulSets of a sequence. The names are chosen to be mixed up; the last one is too long for a CronJob's name.
pub(crate) const SLOTS: &[(&str, &str)] = &[
    ("a", "etcd"),
    ("a", "etcd-1"),
    ("b", "etcd"),
    ("b", "etcd-of-a-tenant-whose-name-is-longer-than-that-of-a-cronjob"),
];
/// The names of their CronJobs.
const CRONJOB_NAMES: &[&str] = &[
    "etcd-defrag-job",
    "etcd-1-defrag-job",
    "etcd-defrag-job",
    "etcd-of-a-tenant-whose-name-is-l-90ec4b73-defrag-job",
];
const POLICY_NAMES: &[&str] = &["p0", "p1", "p2"];

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
    Scale {
        slot: usize,
        members: usize,
    },
    Quota {
        slot: usize,
        quota: usize,
    },
    Secret {
        slot: usize,
        secret: usize,
    },
    Suspend {
        slot: usize,
        suspension: usize,
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
    /// Somebody changes what our CronJob says to be in force.
    Forge {
        slot: usize,
        forgery: usize,
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
    /// Somebody pauses the whole fleet, or lets it go on.
    Halt {
        on: bool,
    },
    BreakWatches,
    ExpireVersions,
    Pause {
        milliseconds: u64,
    },
    /// Faults stop, and everything has to become and stay as it should be.
    Settle,
}

/// The labels of a StatefulSet, mostly some that enrol it: what is not enrolled shows little.
pub(crate) fn label(random: &mut Random) -> usize {
    if random.one_in(2) { random.below(2) } else { random.below(LABELS.len()) }
}

/// A random event: about two of five concern StatefulSets, one CronJobs, one policies, one the machinery.
pub(crate) fn random(random: &mut Random) -> Event {
    let slot = random.below(SLOTS.len());
    match random.below(120u64) {
        0..=9 => Event::Create { slot, label: label(random), setting: random.below(SETTINGS.len()) },
        10..=14 => Event::Label { slot, label: label(random) },
        15..=22 => Event::Annotate { slot, setting: random.below(SETTINGS.len()) },
        23..=26 => Event::Template { slot, template: random.below(TEMPLATES) },
        27..=31 => Event::Scale { slot, members: random.below(MEMBERS.len()) },
        32..=34 => Event::Quota { slot, quota: random.below(QUOTAS.len()) },
        35..=36 => Event::Secret { slot, secret: random.below(SECRETS.len()) },
        37..=39 => Event::Suspend { slot, suspension: random.below(SUSPENSIONS.len()) },
        40..=41 => Event::Delete { slot, orphan: random.one_in(3) },
        42..=44 => Event::Recreate { slot },
        45..=46 => Event::DefragNow { slot, token: random.below(100) },
        47 => Event::FinishJobs { failed: random.one_in(3) },
        48..=51 => Event::DeleteCronJob { slot },
        52..=59 => Event::EditCronJob { slot, edit: random.below(EDITS) },
        60..=63 => Event::Forge { slot, forgery: random.below(FORGERIES) },
        64 => Event::CopyCronJob { slot },
        65..=66 => Event::Foreign { slot, kind: random.below(3) },
        67..=68 => Event::Adoptable { slot },
        69..=71 => Event::RemoveForeign { slot },
        72 => Event::Rival { slot },
        73 => Event::RemoveRival { slot },
        74..=85 => Event::Policy {
            policy: random.below(POLICY_NAMES.len()),
            priority: random.below(3),
            selects: random.below(4),
            says: random.below(POLICIES_SAY),
        },
        86..=87 => Event::DeletePolicy { policy: random.below(POLICY_NAMES.len()) },
        88 => Event::DefinitionGone { told: random.one_in(2) },
        89..=90 => Event::DefinitionBack,
        91..=93 => Event::Namespace { namespace: random.below(2), gold: random.one_in(2) },
        94 => Event::Restart { replica: random.below(2) },
        95 => Event::Kill { replica: random.below(2) },
        96 => Event::CutOff { replica: random.below(2), seconds: random.below(40) },
        97 => Event::BreakWatches,
        98 => Event::ExpireVersions,
        99..=100 => Event::Settle,
        101 => Event::Halt { on: random.one_in(2) },
        102..=116 => Event::Pause { milliseconds: random.below(1500) },
        _ => Event::Pause { milliseconds: random.below(30_000) },
    }
}

/// Where the ConfigMap is that pauses the fleet.
pub(crate) fn pause() -> Key {
    key(CONFIGMAPS, "system", "etcd-defrag-webhook-pause")
}

pub(crate) fn statefulset(slot: usize) -> Key {
    let (namespace, name) = SLOTS[slot];
    key(STATEFULSETS, namespace, name)
}

/// Where the CronJob of a StatefulSet is.
pub(crate) fn cronjob(slot: usize) -> Key {
    let (namespace, _) = SLOTS[slot];
    key(CRONJOBS, namespace, CRONJOB_NAMES[slot])
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

/// Gives a policy that is there another schedule for those that follow it.
pub(crate) fn change_default(state: &mut State, policy: usize, schedule: &str) {
    let change = |object: &mut serde_json::Value| object["spec"]["defaults"]["schedule"] = json!(schedule);
    state.store.update(&key(POLICIES, "", POLICY_NAMES[policy]), "kubectl", change).unwrap();
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
            let _ = store.create(&statefulset(slot), objects::object(slot, label, setting), "kubectl", Class::Plain);
        }
        Event::Label { slot, label } => {
            let _ = store.update(&statefulset(slot), "kubectl", |object| objects::labelled(object, label));
        }
        Event::Annotate { slot, setting } => {
            let _ = store.update(&statefulset(slot), "kubectl", |object| objects::annotated(object, setting));
        }
        Event::Template { slot, template } => {
            let _ = store.update(&statefulset(slot), "kubectl", |object| objects::templated(object, template));
        }
        Event::Scale { slot, members } => {
            let _ = store.update(&statefulset(slot), "kubectl", |object| objects::scaled(object, members));
        }
        Event::Quota { slot, quota } => {
            let _ = store.update(&statefulset(slot), "kubectl", |object| objects::limited(object, quota));
        }
        Event::Secret { slot, secret } => {
            let _ = store.update(&statefulset(slot), "kubectl", |object| objects::certified(object, secret));
        }
        Event::Suspend { slot, suspension } => {
            let _ = store.update(&statefulset(slot), "kubectl", |object| objects::stopped(object, suspension));
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
                let _ = store.update(&cronjob(slot), "kubectl-edit", |object| objects::edited(object, edit));
            }
        }
        Event::Forge { slot, forgery } => {
            if ours(store, slot) {
                let _ = store.update(&cronjob(slot), "kubectl-edit", |object| objects::forged(object, forgery));
            }
        }
        Event::CopyCronJob { slot } => {
            let Some(found) = store.objects.get(&cronjob(slot)).cloned() else { return };
            let meta = &found.object["metadata"];
            let shows = meta["labels"][MANAGED_BY] == MANAGER && !meta["annotations"][STATEFULSET].is_null();
            if found.class == Class::Plain && shows {
                let target = key(CRONJOBS, &cronjob(slot).namespace, &format!("copy-of-{slot}"));
                let copy = objects::copied(&found.object, &target.name);
                let _ = store.create(&target, copy, "kubectl-create", Class::Plain);
            }
        }
        Event::Foreign { slot, kind } => {
            store.remove(&cronjob(slot));
            let mut made = objects::by_hand(&cronjob(slot), "busybox", "nothing of etcd");
            if kind > 0 {
                made = objects::by_hand(&cronjob(slot), ENGINE, &objects::endpoints(slot));
                let label = if kind == 1 { "argocd.argoproj.io/instance" } else { MANAGED_BY };
                made["metadata"]["labels"] = json!({label: "Helm"});
            }
            store.create(&cronjob(slot), made, "argocd", Class::Foreign).unwrap();
        }
        Event::Adoptable { slot } => {
            if cronjob(slot).name == format!("{}-defrag-job", SLOTS[slot].1) {
                let made = objects::by_hand(&cronjob(slot), ENGINE, &objects::endpoints(slot));
                let _ = store.create(&cronjob(slot), made, "kubectl-client-side-apply", Class::Adoptable);
            }
        }
        Event::RemoveForeign { slot } => {
            if store.objects.get(&cronjob(slot)).is_some_and(|found| found.class != Class::Plain) {
                store.remove(&cronjob(slot));
            }
        }
        Event::Rival { slot } => {
            let made = objects::by_hand(&rival(slot), ENGINE, &objects::endpoints(slot));
            let _ = store.create(&rival(slot), made, "kubectl", Class::Foreign);
        }
        Event::RemoveRival { slot } => store.remove(&rival(slot)),
        Event::Policy { policy, priority, selects, says } => {
            if !*no_policies {
                let key = key(POLICIES, "", POLICY_NAMES[policy]);
                let made = objects::policy(&key.name, priority, selects, says);
                if store.create(&key, made.clone(), "kubectl", Class::Plain).is_err() {
                    let change = |object: &mut serde_json::Value| {
                        object["spec"] = made["spec"].clone();
                        object["metadata"]["labels"] = made["metadata"]["labels"].clone();
                    };
                    store.update(&key, "kubectl", change).unwrap();
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
        Event::Halt { on: true } => {
            let map = json!({"metadata": {"namespace": "system", "name": pause().name}, "data": {"reason": "a test"}});
            let _ = store.create(&pause(), map, "kubectl-create", Class::Plain);
        }
        Event::Halt { on: false } => store.remove(&pause()),
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
