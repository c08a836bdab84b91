//! What has to exist, from the events alone: a model that calls nothing of what it judges. It is told of every event as it
//! happens, and of every time when all is at rest.

mod cronjob;
mod facts;
mod history;
mod settings;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

pub(crate) use self::{
    cronjob::labels,
    facts::Look,
    history::InForce,
    settings::{Governing, denies, findings, is_clear, is_enrolled},
};
use self::{facts::Facts, history::History};
use super::{
    events::{self, Event, SLOTS},
    server::State,
    store::{Class, NAMESPACES, POLICIES, Stored, key},
};

/// A policy as it was at a moment.
#[derive(Clone, Debug, PartialEq)]
struct Policy {
    name: String,
    priority: i64,
    says: usize,
    namespaces: Value,
    objects: Value,
}

/// What a StatefulSet has to have.
pub(crate) struct Expected {
    pub(crate) look: Look,
    pub(crate) policy: Governing,
    /// Everything that is found of the StatefulSet alone.
    pub(crate) findings: BTreeSet<&'static str>,
    /// Something keeps its CronJob from being made.
    pub(crate) prevented: bool,
    /// There may be no CronJob.
    pub(crate) may_be_missing: bool,
    /// The CronJobs that it may have.
    pub(crate) cronjobs: Vec<Candidate>,
    /// Somebody destroyed what would have to be known.
    pub(crate) unknowable: bool,
}

/// A CronJob that a StatefulSet may have.
pub(crate) struct Candidate {
    pub(crate) in_force: InForce,
    pub(crate) spec: Value,
    /// Everything that is found then, rivals apart.
    pub(crate) findings: BTreeSet<&'static str>,
    facts: Facts,
}

#[derive(Default)]
pub(crate) struct Oracle {
    histories: [History; SLOTS.len()],
    /// The labels of each namespace, and the policies, in every state that they were in since everything was at rest last.
    namespaces: BTreeMap<String, Vec<Value>>,
    policies: Vec<Vec<Policy>>,
}

impl Oracle {
    /// Takes note of an event that has just happened, before the controller can react to it.
    pub(crate) fn happened(&mut self, event: &Event, state: &State) {
        if let Event::Forge { slot, .. } = *event {
            self.histories[slot].doubtful = true;
        }
        self.see(state);
    }

    /// Takes note of what is there.
    pub(crate) fn see(&mut self, state: &State) {
        for (slot, history) in self.histories.iter_mut().enumerate() {
            history.see(state.store.get(&events::statefulset(slot)));
            let ours = state.store.objects.get(&events::cronjob(slot)).filter(|found| found.class == Class::Plain);
            history.see_cronjob(ours.map(|found| &*found.object));
        }
        for (namespace, _) in SLOTS {
            let labels = &state.store.get(&key(NAMESPACES, "", namespace)).unwrap()["metadata"]["labels"];
            remember(self.namespaces.entry((*namespace).to_owned()).or_default(), labels.clone());
        }
        let now: Vec<Policy> = state.store.of(POLICIES).map(|(_, stored)| Policy::of(stored)).collect();
        let before = self.policies.last().cloned().unwrap_or_default();
        if now.is_empty() {
            // Where all go at once, they go in any order.
            for left in 1..1 << before.len() {
                let some = before.iter().enumerate().filter(|(index, _)| left >> index & 1 == 1);
                remember(&mut self.policies, some.map(|(_, policy)| policy.clone()).collect());
            }
        }
        remember(&mut self.policies, now);
    }

    /// What a StatefulSet has to have; `None` where there is no StatefulSet or it is not enrolled.
    pub(crate) fn expects(&self, state: &State, slot: usize) -> Option<Expected> {
        let look = Look::at(state.store.get(&events::statefulset(slot))?);
        let (history, (namespace, name)) = (&self.histories[slot], SLOTS[slot]);
        let policy = self.governing(namespace, &look).pop()?;
        if !is_enrolled(&look, &policy) {
            return None;
        }
        let mut governed: Vec<(&Value, Vec<Governing>)> = Vec::new();
        for look in history.looks.iter().flatten() {
            governed.push((&look.labels, self.governing(namespace, look)));
        }
        let policies = |look: &Look| governed.iter().find(|(labels, _)| **labels == look.labels).unwrap().1.as_slice();
        let possible = history.possible(&policy, policies);
        let readable = look.facts.are_readable();
        let seen = look.facts.quota.filter(|_| look.facts.runs_etcd);
        let facts = if readable { std::slice::from_ref(&look.facts) } else { history.facts.as_slice() };
        let mut suspended = history.suspended.clone();
        for look in history.looks.iter().flatten() {
            suspended.extend(policies(look).iter().filter_map(|policy| settings::suspension(look, policy)));
        }
        if let Some(suspend) = settings::suspension(&look, &policy) {
            suspended = BTreeSet::from([suspend]);
        }
        let paused = state.store.get(&events::pause()).is_some();
        let mut cronjobs = Vec::new();
        for in_force in possible.iter().flatten() {
            for facts in facts {
                for suspend in &suspended {
                    // What was known of an etcd without members does not lead to members that came back.
                    let nothing = in_force.settings.held || (facts.members == 0 && look.facts.members > 0);
                    let suspend = *suspend || nothing || facts.members == 0 || paused;
                    let spec = cronjob::spec((namespace, name), facts, &in_force.settings, &policy, suspend);
                    // A quota that is out of sight is the one that was known.
                    let mut findings = findings(&look, &policy, seen.or(facts.quota));
                    findings.extend(nothing.then_some("nothing-in-force"));
                    cronjobs.push(Candidate { in_force: in_force.clone(), spec, findings, facts: facts.clone() });
                }
            }
        }
        let rulings = settings::rulings(&look, &policy);
        Some(Expected {
            findings: findings(&look, &policy, seen),
            prevented: rulings.iter().any(|ruling| ruling.prevented),
            may_be_missing: possible.contains(&None),
            unknowable: history.lost && (!readable || rulings.iter().any(|ruling| ruling.refused)),
            look,
            policy,
            cronjobs,
        })
    }

    /// Goes on from what is there: everything is at rest, and as it should be.
    pub(crate) fn rests(&mut self, state: &State) {
        for slot in 0..SLOTS.len() {
            let expected = self.expects(state, slot);
            let ours = state.store.objects.get(&events::cronjob(slot)).filter(|found| found.class == Class::Plain);
            let fitting = |candidate: &Candidate| ours.is_some_and(|live| live.object["spec"] == candidate.spec);
            // A CronJob that has lost our marks stays where nothing is expected any more.
            let doubtful = ours.is_some() && expected.is_none();
            let candidates = expected.map_or_else(Vec::new, |expected| expected.cronjobs);
            let known = ours.is_none() || candidates.iter().any(fitting);
            let mut history = History { doubtful, lost: !known && !doubtful, ..History::default() };
            if ours.is_none() || doubtful || !known {
                history.given.insert(None);
            }
            for candidate in candidates.into_iter().filter(|candidate| !known || fitting(candidate)) {
                history.given.insert(Some(candidate.in_force));
                remember(&mut history.facts, candidate.facts);
            }
            self.histories[slot] = history;
        }
        self.namespaces.clear();
        self.policies.clear();
        self.see(state);
    }

    /// What governs a StatefulSet with the labels of a look: under each state of policies and namespaces, the present one last.
    fn governing(&self, namespace: &str, look: &Look) -> Vec<Governing> {
        let mut found = Vec::new();
        for policies in &self.policies {
            for labels in &self.namespaces[namespace] {
                remember(&mut found, governing(policies, labels, &look.labels));
            }
        }
        found
    }
}

/// Adds a state as the last one, once.
fn remember<T: PartialEq>(states: &mut Vec<T>, state: T) {
    states.retain(|known| *known != state);
    states.push(state);
}

impl Policy {
    fn of(stored: &Stored) -> Self {
        let (meta, spec) = (&stored.object["metadata"], &stored.object["spec"]);
        Self {
            name: meta["name"].as_str().unwrap().to_owned(),
            priority: spec["priority"].as_i64().unwrap(),
            says: meta["labels"]["says"].as_str().unwrap().parse().unwrap(),
            namespaces: spec["namespaceSelector"].clone(),
            objects: spec["selector"].clone(),
        }
    }
}

/// Of the policies whose labels are all there: the highest priority, then the first name.
fn governing(policies: &[Policy], namespace: &Value, object: &Value) -> Governing {
    let has = |labels: &Value, selector: &Value| {
        selector["matchLabels"].as_object().into_iter().flatten().all(|(name, value)| labels[name] == *value)
    };
    let selecting = policies.iter().filter(|one| has(namespace, &one.namespaces) && has(object, &one.objects));
    match selecting.min_by_key(|one| (Reverse(one.priority), &one.name)) {
        Some(Policy { name, priority, says, .. }) => Governing {
            says: Some(*says),
            name: Some(name.clone()),
            reason: format!("governed by DefragPolicy {name} (priority {priority}, the highest that selects it)"),
        },
        None => Governing {
            says: None,
            name: None,
            reason: "governed by the built-in policy, since no DefragPolicy selects it".to_owned(),
        },
    }
}
