//! Which members the runs of an etcd reach, for comparing them with those of others.

use serde::{Deserialize, Serialize};

use super::{
    MAX_MEMBERS,
    hosts::{place_of, statefulset_of},
};
use crate::defrag::{keys::Key, statefulset::StatefulSet};

/// The most URLs of one list that are compared; longer lists are refused.
const MOST: usize = MAX_MEMBERS as usize;

/// What the endpoints of an etcd lead to, each in one form whatever its name is, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reached(Box<[Box<str>]>);

impl Reached {
    /// Of client URLs, as pods of this namespace read them.
    pub fn of<'u>(endpoints: impl IntoIterator<Item = &'u str>, namespace: &str) -> Self {
        let places = endpoints.into_iter().take(MOST).filter_map(|url| place_of(url, namespace));
        Self::sorted(places.map(String::into_boxed_str).collect())
    }

    /// The pods of a StatefulSet.
    #[must_use]
    pub fn pods(object: &StatefulSet) -> Self {
        let (name, namespace) = (object.name(), object.namespace());
        let count = u32::try_from(object.replicas()).unwrap_or(0).min(MAX_MEMBERS);
        Self::sorted(object.ordinals(count).map(|number| format!("{name}-{number}/{namespace}").into()).collect())
    }

    /// What the annotation `endpoints` of a StatefulSet names.
    #[must_use]
    pub fn stated(object: &StatefulSet) -> Self {
        let stated = object.annotation(Key::Endpoints.annotation()).unwrap_or_default();
        Self::of(stated.split(',').map(str::trim).filter(|url| !url.is_empty()), object.namespace())
    }

    /// The same besides its own pods.
    #[must_use]
    pub fn besides(object: &StatefulSet) -> Self {
        let own = |place: &str| {
            let within = place.split_once('/').is_some_and(|(_, namespace)| namespace == object.namespace());
            within && statefulset_of(place) == Some(object.name())
        };
        Self(Self::stated(object).0.into_iter().filter(|place| !own(place)).collect())
    }

    fn sorted(mut places: Vec<Box<str>>) -> Self {
        places.sort_unstable();
        places.dedup();
        Self(places.into())
    }

    /// Whether nothing is reached.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many places are reached.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Each place.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The StatefulSets whose pods are among them, by name.
    pub fn statefulsets(&self) -> impl Iterator<Item = &str> {
        self.iter().filter_map(statefulset_of)
    }

    fn has(&self, place: &str) -> bool {
        self.0.binary_search_by(|own| (**own).cmp(place)).is_ok()
    }

    /// Whether a member is reached by both.
    #[must_use]
    pub fn shares(&self, other: &Self) -> bool {
        self.iter().any(|place| other.has(place))
    }

    /// Whether the other one reaches all that this one does, and this one reaches anything.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        !self.is_empty() && self.iter().all(|place| other.has(place))
    }
}
