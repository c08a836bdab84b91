//! Other enrolled StatefulSets whose runs reach members of the same etcd.
//!
//! Two of them would mean two CronJobs that defragment the same members at the same time. If the runs of one reach all
//! pods of a StatefulSet which only a policy enrols, the other one is not enrolled: an etcd that is spread over several
//! StatefulSets is enrolled once.

use std::borrow::Borrow;

use super::enrollment::Enrollment;
use crate::defrag::{
    etcd::{self, Reached},
    keys::{ENABLED, Key, name_of},
    policy::Policy,
    settings as asking,
    statefulset::StatefulSet,
};

/// What the runs of enrolled StatefulSets reach, by namespace and name.
#[derive(Clone, Debug, Default)]
pub struct Neighbours(Vec<Neighbour>);

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Neighbour {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) reached: Reached,
}

impl Neighbours {
    /// The neighbours of StatefulSets, each with the policy that governs it. If none of them has endpoints besides its
    /// own pods, none reaches the pods of another one, and nothing more is read.
    pub fn of<S: Borrow<StatefulSet>, P: Borrow<Policy>>(objects: impl Iterator<Item = (S, P)> + Clone) -> Self {
        if objects.clone().all(|(object, _)| Reached::besides(object.borrow()).is_empty()) {
            return Self::default();
        }
        let all: Vec<(Neighbour, Option<Reached>)> = objects
            .filter_map(|(object, policy)| {
                let object = object.borrow();
                let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
                let neighbour = Neighbour { namespace, name, reached: reached(object, policy.borrow())? };
                Some((neighbour, (!is_asked_for(object)).then(|| Reached::pods(object))))
            })
            .collect();
        let is_covered = |one: &Neighbour, pods: &Option<Reached>| {
            let others = || all.iter().filter(|(other, _)| !is_same(other, one));
            pods.as_ref().is_some_and(|pods| others().any(|(other, _)| pods.is_within(&other.reached)))
        };
        let remaining = all.iter().filter(|(one, pods)| !is_covered(one, pods));
        Self(remaining.map(|(one, _)| one.clone()).collect())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Neighbour> {
        self.0.iter()
    }
}

fn is_same(one: &Neighbour, other: &Neighbour) -> bool {
    (&one.namespace, &one.name) == (&other.namespace, &other.name)
}

/// What the runs of a StatefulSet would reach, where it is enrolled and its endpoints are accepted.
fn reached(object: &StatefulSet, policy: &Policy) -> Option<Reached> {
    if Enrollment::of(object, policy) != Enrollment::Enrolled {
        return None;
    }
    let overrides = asking::parse(object, policy).overrides;
    let discovery = etcd::discover(object, &overrides);
    let is_refused = discovery.findings.iter().any(|finding| finding.denies() && finding.code.hides_a_fact());
    let endpoints = discovery.etcd.filter(|_| !is_refused)?.endpoints;
    Some(Reached::of(endpoints.iter().map(String::as_str), object.namespace()))
}

/// Whether a person asks for a StatefulSet, and not a policy only: by a label that was not filled in, or by endpoints.
pub(super) fn is_asked_for(object: &StatefulSet) -> bool {
    let filled_in = object.annotation(Key::Defaulted.annotation()).unwrap_or_default();
    let is_filled_in = || filled_in.split(',').any(|name| Some(name.trim()) == name_of(ENABLED));
    object.label(ENABLED) == Some("true") && !is_filled_in() || object.annotation(Key::Endpoints.annotation()).is_some()
}

/// Whether a StatefulSet needs no CronJob of its own beside one whose runs reach these members: all its pods are among them, and no
/// person asks for one.
#[must_use]
pub fn gives_way(object: &StatefulSet, to: &Reached) -> bool {
    !is_asked_for(object) && Reached::pods(object).is_within(to)
}
