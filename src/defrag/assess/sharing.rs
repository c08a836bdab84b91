//! What is wrong where the runs for several StatefulSets reach members of one etcd, and which one of them is kept.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    neighbours::{Neighbours, is_asked_for},
    surroundings::Surroundings,
};
use crate::defrag::{
    cronjob::ownership::statefulset_of,
    etcd::{Etcd, Reached},
    finding::{Code, Finding, Severity, quoted},
    keys::{ENABLED, Key},
    statefulset::StatefulSet,
};

/// That others are enrolled with the same members.
pub(super) struct Shared {
    pub(super) finding: Finding,
    /// Whether the one to keep is another one, and its runs reach all members that this one's do.
    pub(super) is_in_vain: bool,
}

impl Surroundings<'_> {
    /// What the runs of others reach, each with its namespace and name.
    fn others<'s>(&'s self, object: &'s StatefulSet) -> impl Iterator<Item = (&'s str, &'s str, &'s Reached)> {
        let ours = self.cronjobs.into_iter().flatten().filter(|live| live.ours);
        let by_cronjob = ours.filter_map(move |live| {
            let name = statefulset_of(&live.meta)?;
            Some((live.meta.namespace.as_deref().unwrap_or(object.namespace()), name, &live.reached))
        });
        let seen = self.neighbours.into_iter().flat_map(Neighbours::iter);
        let by_neighbour = seen.map(|one| (one.namespace.as_str(), one.name.as_str(), &one.reached));
        by_cronjob
            .chain(by_neighbour)
            .filter(move |(namespace, name, _)| (*namespace, *name) != (object.namespace(), object.name()))
    }

    /// Whether another enrolled StatefulSet has runs that reach all pods of this one, which is not enrolled by itself.
    pub(super) fn covers(&self, object: &StatefulSet) -> bool {
        let mut others = self.others(object).peekable();
        if others.peek().is_none() || is_asked_for(object) {
            return false;
        }
        let pods = Reached::pods(object);
        others.any(|(_, _, reached)| pods.is_within(reached))
    }

    /// That the runs of other enrolled StatefulSets reach the members that this one's would, unless one of the `findings` says that its
    /// members are not known.
    pub(super) fn shared(&self, object: &StatefulSet, etcd: Option<&Etcd>, findings: &[Finding]) -> Option<Shared> {
        if findings.iter().any(|finding| finding.denies() && finding.code.hides_a_fact()) {
            return None;
        }
        let own = (object.namespace(), object.name());
        let reached = Reached::of(etcd?.endpoints.iter().map(String::as_str), own.0);
        let sharing = self.others(object).filter(|(_, _, other)| other.shares(&reached));
        let others: BTreeMap<(&str, &str), &Reached> =
            sharing.map(|(namespace, name, other)| ((namespace, name), other)).collect();
        // As seen from each of them the same one is kept: whose runs reach most, else the first by name.
        let most = others.iter().max_by_key(|(place, other)| (other.len(), Reverse(**place)))?;
        let keeps_own = (reached.len(), Reverse(own)) > (most.1.len(), Reverse(*most.0));
        let in_words = |(namespace, name): &(&str, &str)| {
            if *namespace == own.0 { quoted(name) } else { quoted(&format!("{namespace}/{name}")) }
        };
        let all: Vec<String> = others.keys().map(in_words).collect();
        let is_one = all.len() == 1;
        let all = all.join(", ");
        let (nouns, them) =
            if is_one { (format!("StatefulSet {all} is"), "it") } else { (format!("StatefulSets {all} are"), "them") };
        let remedy = if keeps_own {
            format!(
                "So only this one is to have runs, and {} refused. Write {ENABLED}: \"false\" on {all}",
                if is_one { "it is" } else { "they are" }
            )
        } else {
            format!("So only {} is to have runs. Write {ENABLED}: \"false\" on this one", in_words(most.0))
        };
        let finding = Finding::new(
            Code::MembersElsewhere,
            Key::Endpoints.field(),
            "another StatefulSet is enrolled with the same members; enrol only one of them",
            format!(
                "The {nouns} enrolled too, and the runs for {them} reach members that those for this one reach: runs at the same time make \
                 several members unavailable, and the quorum is lost. {remedy}. All members have to be in {} of the one that has \
                 runs. If the policy allows no opt-out, remove the label and that annotation instead.",
                Key::Endpoints.annotation()
            ),
        );
        Some(Shared {
            finding: if keeps_own { finding.with_severity(Severity::Warn) } else { finding },
            is_in_vain: !keeps_own && reached.is_within(most.1),
        })
    }
}

#[cfg(test)]
mod tests;
