//! What concerns which StatefulSet: CronJobs, reports, policies and namespaces.

use std::collections::BTreeSet;

use super::{
    super::{
        ObjectKey,
        compliance::keep::Reports,
        watch::{
            cache::Change,
            kept::{KeptCronJob, KeptStatefulSet, STANDING_OUT},
        },
    },
    Leading,
};
use crate::defrag::{
    cronjob::{self, live::Live, ownership::statefulset_of},
    etcd::Reached,
    gives_way,
    policy::PolicySnapshot,
    statefulset::StatefulSet,
};

impl Leading {
    /// The CronJobs that concern a StatefulSet, however many there are in its namespace.
    pub(super) fn concerning(&self, key: &ObjectKey, object: Option<&StatefulSet>) -> Vec<Live> {
        let expected = cronjob::name(&key.name);
        let own = self.cronjobs.get(&ObjectKey::new(&key.namespace, &expected)).and_then(KeptCronJob::live);
        let standing_out = ObjectKey::new(&key.namespace, STANDING_OUT);
        let others = self.cronjobs.filed(&standing_out).filter(|(name, _)| *name != expected);
        let others = others.filter_map(|(_, kept)| kept.live());
        let others = others.filter(|live| live.concerns(&key.name, object, &expected));
        let sharing = object.into_iter().flat_map(|object| self.sharing(key, object));
        own.into_iter().chain(others).chain(sharing).collect()
    }

    /// The CronJobs of ours for other StatefulSets of the namespace whose runs reach members of this one, or may. They are found by
    /// what the StatefulSets state, not by going through them.
    fn sharing(&self, key: &ObjectKey, object: &StatefulSet) -> Vec<Live> {
        let (pods, besides) = (Reached::pods(object), Reached::besides(object));
        let mut names: BTreeSet<&str> = besides.statefulsets().collect();
        names.extend(self.reaching(&key.namespace, pods.iter().chain(besides.iter())));
        names.remove(key.name.as_str());
        let stated = Reached::stated(object);
        let cronjob = |name: &str| {
            let other = self.statefulset(&ObjectKey::new(&key.namespace, name))?;
            // What nobody asks for goes once this one reaches all of it.
            if gives_way(&other, &stated) {
                return None;
            }
            let live = self.cronjobs.get(&ObjectKey::new(&key.namespace, &cronjob::name(name)))?.live()?;
            live.ours.then_some(live)
        };
        names.into_iter().filter_map(cronjob).collect()
    }

    /// The StatefulSets of a namespace whose endpoints reach one of these places, by name.
    fn reaching<'p>(&self, namespace: &str, places: impl Iterator<Item = &'p str>) -> BTreeSet<&str> {
        places
            .flat_map(|place| self.statefulsets.filed(&ObjectKey::new(namespace, place)))
            .map(|(name, _)| name)
            .collect()
    }

    /// The reports that concern a StatefulSet; `None` while it is not known what there is.
    pub(super) fn reports_of(&self, key: &ObjectKey, object: Option<&StatefulSet>) -> Option<Reports> {
        let (kind, cache) = self.compliance.as_ref().filter(|(_, cache)| cache.ready())?;
        Some(Reports::of(*kind, cache, key, object))
    }

    /// Asks for a look at each StatefulSet that a changed CronJob concerns.
    pub(super) fn concerned(&mut self, change: &Change<KeptCronJob>) {
        for live in [&change.old, &change.new].into_iter().flatten().filter_map(KeptCronJob::live) {
            for name in self.sharing_runs(&change.key.namespace, &live) {
                self.queue.add(&ObjectKey::new(&change.key.namespace, &name));
            }
            if let Some(name) = statefulset_of(&live.meta) {
                self.queue.add(&ObjectKey::new(&change.key.namespace, name));
                if cronjob::name(name) == change.key.name && live.defragments.is_none() {
                    continue;
                }
            }
            let is_rival = |object: &KeptStatefulSet| {
                live.defragments.is_some() && object.object().is_some_and(|object| live.rivals(&object).is_some())
            };
            for (key, object) in self.statefulsets.within(&change.key.namespace) {
                if live.concerns(&key.name, None, &cronjob::name(&key.name)) || is_rival(object) {
                    self.queue.add(key);
                }
            }
        }
    }

    /// The StatefulSets whose members the runs of a CronJob of ours reach, besides the one that it is for, and those whose endpoints
    /// reach the same.
    fn sharing_runs(&self, namespace: &str, live: &Live) -> BTreeSet<String> {
        let own = statefulset_of(&live.meta);
        let mut names: BTreeSet<&str> = live.reached.statefulsets().collect();
        names.extend(self.reaching(namespace, live.reached.iter()));
        let is_known = |name: &&str| self.statefulsets.get(&ObjectKey::new(namespace, name)).is_some();
        names.into_iter().filter(|name| Some(*name) != own).filter(is_known).map(str::to_owned).collect()
    }

    /// Requests a reconciliation of each StatefulSet that is governed in another way than by the snapshot `before`. If
    /// only namespaces changed, those in other namespaces are not iterated over.
    pub(super) fn govern_anew(&mut self, before: &PolicySnapshot) {
        let (now, queue) = (&self.snapshot, &mut self.queue);
        if now.policies().is_same(before.policies()) {
            for namespace in now.namespaces_new_since(before) {
                // What is in a new one has waited for this.
                let is_new = !before.knows(namespace);
                let within = self.statefulsets.within(namespace);
                let anew = within.filter(|(key, object)| is_new || governed_anew(before, now, key, object));
                anew.for_each(|(key, _)| queue.add(key));
            }
        } else {
            let anew = self.statefulsets.iter().filter(|(key, object)| governed_anew(before, now, key, object));
            anew.for_each(|(key, _)| queue.add(key));
        }
    }
}

/// Whether another policy governs a StatefulSet than before, or the same one says something else.
fn governed_anew(before: &PolicySnapshot, now: &PolicySnapshot, key: &ObjectKey, object: &KeptStatefulSet) -> bool {
    let labels = object.labels();
    !before.govern(&key.namespace, &labels).is_same(&now.govern(&key.namespace, &labels))
}
