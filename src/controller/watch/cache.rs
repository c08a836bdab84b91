//! The last known state of the objects of one kind, reduced to what is needed, and what changed.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use kube::runtime::watcher::Event;

use super::ObjectKey;

/// A reduced object that knows whether a change is worth a look.
pub(crate) trait Cached: Clone {
    /// Whether a reconciliation could come to another result for `self` than for `old`.
    fn differs(&self, old: &Self) -> bool;

    /// Under which names of its namespace it is found besides its own: see [`Cache::filed`].
    fn filed_under(&self) -> BTreeSet<Cow<'_, str>> {
        BTreeSet::new()
    }
}

/// One object that changed: before and after, where it existed.
#[derive(Debug)]
pub(crate) struct Change<T> {
    pub(crate) key: ObjectKey,
    pub(crate) old: Option<T>,
    pub(crate) new: Option<T>,
}

/// The objects of one kind, sorted, so that those of a namespace are adjacent.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    objects: BTreeMap<ObjectKey, T>,
    /// The names of objects, by what they are filed under.
    filed: BTreeMap<ObjectKey, BTreeSet<String>>,
    /// The keys seen since a list began; everything else is gone when it ends.
    listed: Option<BTreeSet<ObjectKey>>,
    ready: bool,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), filed: BTreeMap::new(), listed: None, ready: false }
    }
}

impl<T: Cached> Cache<T> {
    /// Whether one whole list has been seen.
    pub(crate) const fn ready(&self) -> bool {
        self.ready
    }

    /// The object of this key.
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<&T> {
        self.objects.get(key)
    }

    /// Every object with its key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &T)> {
        self.objects.iter()
    }

    /// The objects of a namespace.
    pub(crate) fn within<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = (&'a ObjectKey, &'a T)> {
        let first = ObjectKey { namespace: namespace.to_owned(), name: String::new() };
        self.objects.range(first..).take_while(move |(key, _)| key.namespace == namespace)
    }

    /// The objects that are filed under this name, with their own. What this takes depends on how many those are, and not on how many there are in
    /// the namespace.
    pub(crate) fn filed<'a>(&'a self, under: &ObjectKey) -> impl Iterator<Item = (&'a str, &'a T)> + use<'a, T> {
        let names = self.filed.get(under).into_iter().flatten();
        let namespace = under.namespace.clone();
        names.filter_map(move |name| {
            let object = self.objects.get(&ObjectKey { namespace: namespace.clone(), name: name.clone() })?;
            Some((name.as_str(), object))
        })
    }

    /// Takes in a watch event. `reduce` gives the part that is kept; `None` keeps nothing of the object.
    pub(crate) fn take<K: kube::Resource>(
        &mut self,
        event: Event<K>,
        reduce: impl FnOnce(K) -> Option<T>,
    ) -> Vec<Change<T>> {
        match event {
            Event::Init => {
                self.listed = Some(BTreeSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let key = ObjectKey::of(object.meta());
                if let Some(listed) = &mut self.listed {
                    listed.insert(key.clone());
                }
                self.put(key, reduce(object)).into_iter().collect()
            }
            Event::InitDone => {
                self.ready = true;
                let Some(listed) = self.listed.take() else { return Vec::new() };
                let gone: Vec<ObjectKey> = self.objects.keys().filter(|key| !listed.contains(key)).cloned().collect();
                gone.into_iter().filter_map(|key| self.put(key, None)).collect()
            }
            Event::Apply(object) => {
                let key = ObjectKey::of(object.meta());
                self.put(key, reduce(object)).into_iter().collect()
            }
            Event::Delete(object) => self.put(ObjectKey::of(object.meta()), None).into_iter().collect(),
        }
    }

    fn put(&mut self, key: ObjectKey, new: Option<T>) -> Option<Change<T>> {
        let old = match &new {
            Some(new) => self.objects.insert(key.clone(), new.clone()),
            None => self.objects.remove(&key),
        };
        self.file(&key, old.as_ref(), new.as_ref());
        let changed = match (&old, &new) {
            (None, None) => false,
            (Some(old), Some(new)) => new.differs(old),
            _ => true,
        };
        changed.then_some(Change { key, old, new })
    }

    fn file(&mut self, key: &ObjectKey, old: Option<&T>, new: Option<&T>) {
        let [old, new] = [old, new].map(|object| object.map(T::filed_under).unwrap_or_default());
        for gone in old.difference(&new) {
            let gone = ObjectKey::new(&key.namespace, gone);
            if let Some(names) = self.filed.get_mut(&gone) {
                names.remove(&key.name);
                if names.is_empty() {
                    self.filed.remove(&gone);
                }
            }
        }
        for come in new.difference(&old) {
            self.filed.entry(ObjectKey::new(&key.namespace, come)).or_default().insert(key.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    impl Cached for i64 {
        fn differs(&self, old: &Self) -> bool {
            self != old
        }

        fn filed_under(&self) -> BTreeSet<Cow<'_, str>> {
            let signs = (*self < 0).then_some("negative").into_iter();
            signs.chain((self.abs() >= 1000).then_some("large")).map(Cow::from).collect()
        }
    }

    fn object(namespace: &str, name: &str, generation: i64) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                generation: Some(generation),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn take(cache: &mut Cache<i64>, event: Event<ConfigMap>) -> Vec<String> {
        cache.take(event, |object| object.metadata.generation).into_iter().map(|change| change.key.name).collect()
    }

    #[test]
    fn what_vanished_during_a_disconnect_is_a_change() {
        let mut cache = Cache::default();
        take(&mut cache, Event::Init);
        assert_eq!(take(&mut cache, Event::InitApply(object("ns", "a", 1))), ["a"]);
        assert_eq!(take(&mut cache, Event::InitApply(object("ns", "b", 1))), ["b"]);
        assert!(!cache.ready());
        take(&mut cache, Event::InitDone);
        assert!(cache.ready());

        take(&mut cache, Event::Init);
        assert!(take(&mut cache, Event::InitApply(object("ns", "b", 1))).is_empty());
        assert_eq!(cache.get(&ObjectKey::new("ns", "a")), Some(&1), "a list under way hides nothing");
        assert_eq!(take(&mut cache, Event::InitDone), ["a"]);
        assert_eq!(cache.get(&ObjectKey::new("ns", "a")), None);
    }

    #[test]
    fn churn_that_does_not_matter_is_no_change() {
        let mut cache = Cache::default();
        assert_eq!(take(&mut cache, Event::Apply(object("ns", "a", 1))), ["a"]);
        assert!(take(&mut cache, Event::Apply(object("ns", "a", 1))).is_empty());
        assert_eq!(take(&mut cache, Event::Apply(object("ns", "a", 2))), ["a"]);
        assert_eq!(take(&mut cache, Event::Delete(object("ns", "a", 2))), ["a"]);
        assert!(take(&mut cache, Event::Delete(object("ns", "a", 2))).is_empty());
    }

    #[test]
    fn what_is_filed_is_found_without_the_others() {
        let mut cache = Cache::default();
        let filed = |cache: &Cache<i64>, namespace: &str, under: &str| {
            cache
                .filed(&ObjectKey::new(namespace, under))
                .map(|(name, object)| format!("{name}={object}"))
                .collect::<Vec<_>>()
        };
        for (namespace, name, generation) in [("a", "x", -1), ("a", "y", -2), ("a", "z", 7), ("b", "x", -3)] {
            take(&mut cache, Event::Apply(object(namespace, name, generation)));
        }
        assert_eq!(filed(&cache, "a", "negative"), ["x=-1", "y=-2"]);
        assert_eq!(filed(&cache, "b", "negative"), ["x=-3"]);
        take(&mut cache, Event::Apply(object("a", "x", -1000)));
        assert_eq!(filed(&cache, "a", "negative"), ["x=-1000", "y=-2"]);
        assert_eq!(filed(&cache, "a", "large"), ["x=-1000"], "one may be filed under several names");
        take(&mut cache, Event::Apply(object("a", "x", 1000)));
        take(&mut cache, Event::Delete(object("a", "y", -2)));
        assert_eq!(filed(&cache, "a", "large"), ["x=1000"]);
        assert!(filed(&cache, "a", "negative").is_empty());
        for event in [Event::Init, Event::InitApply(object("a", "z", 7)), Event::InitDone] {
            take(&mut cache, event);
        }
        assert!(cache.filed.is_empty(), "what is gone is not filed, and what nobody looks for neither");
    }

    #[test]
    fn a_namespace_is_not_mixed_up_with_a_longer_one() {
        let mut cache = Cache::default();
        for namespace in ["a", "a-b", "ab", "b"] {
            take(&mut cache, Event::Apply(object(namespace, "x", 1)));
        }
        let found: Vec<_> = cache.within("a").map(|(key, _)| key.namespace.clone()).collect();
        assert_eq!(found, ["a"]);
    }
}
