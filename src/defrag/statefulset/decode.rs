//! Decoding no more of a StatefulSet than is read, however much there is.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use k8s_openapi::{
    api::core::v1::VolumeResourceRequirements,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::defrag::{
    keys,
    measure::{MOST_ITEMS, Measure, Tally},
};

/// A part of a StatefulSet. `null` reads as the default, as the API server treats it.
pub(super) trait Part: Sized {
    fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

pub(super) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Whether a part is what one that is not there reads as, so that it needs not be written.
pub(super) fn is_default<T: Default + PartialEq>(part: &T) -> bool {
    *part == T::default()
}

macro_rules! plain {
    ($($type:ty)+) => {
        $(impl Part for $type {
            fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                nullable(deserializer)
            }
        })+
    };
}

plain!(String i32 BTreeMap<String, String> VolumeResourceRequirements);

impl<T: DeserializeOwned> Part for Option<T> {
    fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// Of a list that is longer than is read, what is behind is counted only.
impl<T: Default + DeserializeOwned> Part for Vec<T> {
    fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(List(PhantomData))
    }
}

struct List<T>(PhantomData<T>);

impl<'de, T: Default + Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_none<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while items.len() <= MOST_ITEMS {
            let Some(item) = sequence.next_element()? else { return Ok(items) };
            items.push(item);
        }
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            items.push(T::default());
        }
        Ok(items)
    }
}

/// The metadata that is read. Who owns which field is not: that can be as large as the object.
#[derive(Default, Deserialize)]
#[serde(default, expecting = "ObjectMeta", rename_all = "camelCase")]
struct Metadata {
    annotations: Option<Strings<true>>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    generate_name: Option<String>,
    generation: Option<i64>,
    labels: Option<Strings<false>>,
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    uid: Option<String>,
}

pub(super) fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let meta: Metadata = nullable(deserializer)?;
    Ok(ObjectMeta {
        annotations: meta.annotations.map(Strings::into),
        creation_timestamp: meta.creation_timestamp,
        deletion_timestamp: meta.deletion_timestamp,
        generate_name: meta.generate_name,
        generation: meta.generation,
        labels: meta.labels.map(Strings::into),
        name: meta.name,
        namespace: meta.namespace,
        resource_version: meta.resource_version,
        uid: meta.uid,
        ..ObjectMeta::default()
    })
}

/// Labels or annotations, of `OURS` only those under our prefix, and without a value those that are meant to be. Where there are only
/// others, the map is there and empty.
///
/// The API server sends them in order, and a map is made of a sorted list in a fraction of the time that inserting takes.
struct Strings<const OURS: bool>(Vec<(String, String)>);

impl<const OURS: bool> From<Strings<OURS>> for BTreeMap<String, String> {
    fn from(Strings(list): Strings<OURS>) -> Self {
        list.into_iter().collect()
    }
}

/// Labels or annotations under our prefix; the others are never kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ours(pub BTreeMap<String, String>);

impl Part for Ours {
    fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        nullable(deserializer)
    }
}

impl<'de> Deserialize<'de> for Ours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Strings(mut list) = Strings::<true>::deserialize(deserializer)?;
        list.retain(|(key, _)| keys::name_of(key).is_some());
        Ok(Self(list.into_iter().collect()))
    }
}

impl Measure for Ours {
    fn measure(&self, tally: &mut Tally) {
        self.0.measure(tally);
    }
}

impl<'de, const OURS: bool> Deserialize<'de> for Strings<OURS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self(Vec::new()))
    }
}

impl<'de, const OURS: bool> Visitor<'de> for Strings<OURS> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if !OURS || keys::name_of(&key).is_some() {
                self.0.push((key, map.next_value()?));
                continue;
            }
            map.next_value::<IgnoredAny>()?;
            // That it is there is reported; nobody reads what it says.
            if keys::meant(&key).is_some() {
                self.0.push((key, String::new()));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::StatefulSet, *};

    #[test]
    fn a_list_that_is_longer_than_is_read_is_counted_to_its_end() {
        for length in [0, MOST_ITEMS, MOST_ITEMS + 1, MOST_ITEMS + 2, 3 * MOST_ITEMS] {
            let words: Vec<String> = (0..length).map(|number| number.to_string()).collect();
            let object = json!({"spec": {"template": {"spec": {"containers": [{"args": words, "command": null}]}}}});
            let object: StatefulSet = serde_json::from_value(object).unwrap();
            let container = &object.spec.template.spec.containers[0];
            assert_eq!((container.args.len(), container.command.len()), (length, 0));
            let read = length.min(MOST_ITEMS + 1);
            assert_eq!(container.args[..read], words[..read]);
        }
    }

    #[test]
    fn of_the_annotations_only_ours_are_kept_and_a_map_of_others_is_there() {
        let annotations = |value: serde_json::Value| {
            let object = json!({"metadata": {"annotations": value, "managedFields": [{"manager": "m"}]}});
            serde_json::from_value::<StatefulSet>(object).unwrap().metadata.annotations
        };
        let ours = |key: &str| Some(BTreeMap::from([(key.to_owned(), "x".to_owned())]));
        assert_eq!(annotations(json!({"etcd-defrag.io/rule": "x", "a": "b", "c": 1})), ours("etcd-defrag.io/rule"));
        assert_eq!(annotations(json!({"Etcd-Defrag.io/rule": "x", "a": "b"})), ours("Etcd-Defrag.io/rule"));
        let meant = Some(BTreeMap::from([("etcd-defrag/rule".to_owned(), String::new())]));
        assert_eq!(annotations(json!({"etcd-defrag/rule": "x", "a": "b"})), meant);
        assert_eq!(annotations(json!({"a": "b"})), Some(BTreeMap::new()), "a patch adds to it and replaces it not");
        assert_eq!(annotations(json!(null)), None);
    }
}
