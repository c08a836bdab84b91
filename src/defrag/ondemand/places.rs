//! The places for runs on demand under one policy, and their order.
//!
//! A run occupies a place until it ends, and is never displaced. So no namespace takes the last place if there are
//! several and other namespaces are under the policy, etcds that had a place recently come after the others, and there
//! is one additional place for an etcd that is too close to its quota to wait.

use std::{cmp::Ordering, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};

use super::{Aim, Hold, Pace, decide::nearest_first};

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// One of as many as the policy says.
    Shared,
    /// The one besides, for an etcd above `emergencyAbove`.
    Kept,
}

/// The places under one policy, and the namespaces that hold them.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// How many there are, without the one that is kept.
    allowed: usize,
    /// Every namespace under the policy: how many of the shared places it holds.
    shared: BTreeMap<String, usize>,
    /// Which namespace holds the place that is kept, and how many runs are in it: after a change of leader there may be two.
    kept: BTreeMap<String, usize>,
    /// When each namespace took a place last, as far as anybody knows.
    served: BTreeMap<String, Timestamp>,
}

/// An etcd whose rule holds.
#[derive(Clone, Copy, Debug)]
pub struct Wanting<'a> {
    /// Which one.
    pub aim: &'a Aim,
    /// The share of its quota that its fullest member takes.
    pub usage: f64,
}

impl Places {
    /// So many places, none of them taken.
    #[must_use]
    pub fn new(allowed: u32) -> Self {
        Self { allowed: usize::try_from(allowed).unwrap_or(1).max(1), ..Self::default() }
    }

    /// Takes note of a namespace with an etcd under the policy, and of when it took a place last.
    pub fn note(&mut self, namespace: &str, served: Option<Timestamp>) {
        if !self.shared.contains_key(namespace) {
            self.shared.insert(namespace.to_owned(), 0);
        }
        if let Some(at) = served {
            let known = self.served.entry(namespace.to_owned()).or_insert(at);
            *known = at.max(*known);
        }
    }

    /// Has a run of a namespace take a place.
    pub fn take(&mut self, namespace: &str, place: Place) {
        let of = match place {
            Place::Shared => &mut self.shared,
            Place::Kept => &mut self.kept,
        };
        *of.entry(namespace.to_owned()).or_default() += 1;
    }

    /// How many shared places are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.allowed.saturating_sub(self.shared.values().sum())
    }

    /// Whether the place that is kept is free.
    #[must_use]
    pub fn kept_is_free(&self) -> bool {
        self.kept.values().sum::<usize>() == 0
    }

    /// Whether an etcd of this namespace may take one of the shared places now.
    pub fn shared(&self, namespace: &str) -> Result<(), Hold> {
        let allowed = u32::try_from(self.allowed).unwrap_or(u32::MAX);
        if self.free() == 0 {
            return Err(Hold::Crowded { allowed });
        }
        let others = self.shared.keys().any(|other| other != namespace);
        let most = if others { self.allowed.saturating_sub(1).max(1) } else { self.allowed };
        let held = self.shared.get(namespace).copied().unwrap_or(0);
        if held >= most { Err(Hold::NamespaceShare { allowed }) } else { Ok(()) }
    }

    /// The order in which etcds come: of each namespace the nearest to its quota first, and namespaces in turn, the one with the
    /// fewest places first, then one that took none within the cooldown, then the one that waits longest, then the nearest to
    /// its quota. Returned are indices of `wanting`.
    #[must_use]
    pub fn order(&self, wanting: &[Wanting<'_>], pace: &Pace, now: Timestamp) -> Vec<usize> {
        let nearest = |a: &Wanting<'_>, b: &Wanting<'_>| nearest_first((a.usage, a.aim), (b.usage, b.aim));
        let mut sorted: Vec<(usize, &Wanting<'_>)> = wanting.iter().enumerate().collect();
        sorted.sort_by(|a, b| nearest(a.1, b.1));
        let mut turns: BTreeMap<&str, usize> = BTreeMap::new();
        let cooldown = SignedDuration::try_from(pace.cooldown).unwrap_or(SignedDuration::MAX);
        let mut ranked: Vec<(usize, Option<Timestamp>, usize, &Wanting<'_>)> = Vec::with_capacity(wanting.len());
        for (index, one) in sorted {
            let namespace = one.aim.namespace.as_str();
            let holds = |of: &BTreeMap<String, usize>| of.get(namespace).copied().unwrap_or(0);
            let turn = turns.entry(namespace).or_insert_with(|| holds(&self.shared) + holds(&self.kept));
            let lately = self.served.get(namespace).filter(|at| now.duration_since(**at) < cooldown);
            ranked.push((*turn, lately.copied(), index, one));
            *turn += 1;
        }
        ranked.sort_by(|a, b| match (a.0, a.1).cmp(&(b.0, b.1)) {
            Ordering::Equal => nearest(a.3, b.3),
            other => other,
        });
        ranked.into_iter().map(|(.., index, _)| index).collect()
    }
}

#[cfg(test)]
mod tests;
