//! The budget of an assessment: how much of one StatefulSet is read.
//!
//! The budget counts what there is to read, never the time, so that webhook, reconciler and command line have the same
//! result under any load. Reading takes a time that is linear in the size, except for a logarithm (`tests/growth`), so
//! an object within the budget is assessed within 20 ms of a core, and of a larger one only the size is read (`make
//! bench-judge`). Two parts have their own bounds: the members among `endpoints`
//! ([`MAX_MEMBERS`](super::etcd::MAX_MEMBERS)), and the regions that the analysis of a rule visits
//! ([`analyse`](super::rule::analyse)).

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    finding::{Code, Finding},
    keys::{ENABLED, Key, PREFIX, name_of},
    measure::{MOST_ITEMS, Measure as _, Tally},
    statefulset::{Spec, StatefulSet},
};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The bytes of the texts that are read: those of the pod template, the claims, and our labels and annotations.
    Bytes,
    /// The items of all lists that are read, such as arguments, variables, volumes and mounts.
    Items,
    /// The containers.
    Containers,
    /// The labels and annotations under our prefix.
    Keys,
    /// The invocations of etcd in the scripts of one container.
    Invocations,
}

impl Counted {
    /// Everything that is counted.
    pub const ALL: [Self; 5] = [Self::Bytes, Self::Items, Self::Containers, Self::Keys, Self::Invocations];

    /// The most that is read.
    #[must_use]
    pub const fn most(self) -> usize {
        match self {
            Self::Bytes => 64 << 10,
            Self::Items => MOST_ITEMS,
            Self::Containers | Self::Keys | Self::Invocations => 64,
        }
    }
}

/// More of something than is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Of what.
    pub counted: Counted,
    /// How much there is.
    pub found: usize,
}

impl Excess {
    /// What exceeds the budget, if that is known without reading it.
    #[must_use]
    pub fn of(object: &StatefulSet) -> Option<Self> {
        size(object).into_iter().find_map(|(counted, found)| Self::over(counted, found))
    }

    /// The excess, where this is more than is read.
    #[must_use]
    pub fn over(counted: Counted, found: usize) -> Option<Self> {
        (found > counted.most()).then_some(Self { counted, found })
    }

    /// What is too much, how much there is and how much is read, as the end of the sentence "it …".
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { counted, found } = *self;
        let most = counted.most();
        match counted {
            Counted::Bytes => {
                format!(
                    "has {found} bytes of text in its pod template and our labels and annotations, and at most {most} are read"
                )
            }
            Counted::Items => {
                format!("has {found} arguments, variables, volumes, mounts and the like, and at most {most} are read")
            }
            Counted::Containers => format!("has {found} containers, and at most {most} are read"),
            Counted::Keys => format!("has {found} labels and annotations under {PREFIX}, and at most {most} are read"),
            Counted::Invocations => {
                format!("starts etcd at {found} places of the script of a container, and at most {most} are read")
            }
        }
    }

    /// That nothing of the object is read.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let most = self.counted.most();
        let (field, what, cure) = match self.counted {
            Counted::Bytes => (
                "spec.template",
                "bytes",
                "Move scripts and long lists out of the pod template into a ConfigMap, and remove what etcd does not need",
            ),
            Counted::Items => {
                ("spec.template.spec", "items", "Remove what etcd does not need, or mount one volume in place of many")
            }
            Counted::Containers => (
                "spec.template.spec.containers",
                "containers",
                "Move what does not belong to etcd into pods of its own",
            ),
            Counted::Keys => ("metadata", "keys", "Remove those that do not exist"),
            Counted::Invocations => {
                ("spec.template.spec.containers", "invocations", "Let the script compute the flags and start etcd once")
            }
        };
        Finding::new(
            Code::TooMuchToRead,
            field,
            format!("{} {what}, at most {most} are read; nothing of it is assessed", self.found),
            format!(
                "The StatefulSet {}. No etcd needs so much, and reading it would delay the assessment of all others, so \
                 nothing of it is read and no setting of it is accepted; what was in force before stays in force. {cure}.",
                self.sentence()
            ),
        )
    }
}

/// How much there is to read in an object, as far as that is known without reading it.
#[must_use]
pub fn size(object: &StatefulSet) -> [(Counted, usize); 4] {
    let StatefulSet { metadata, spec } = object;
    let mut tally = Tally::default();
    spec.measure(&mut tally);
    object.name().measure(&mut tally);
    object.namespace().measure(&mut tally);
    let items = tally.items;
    let mut keys = 0;
    for (key, value) in metadata.labels.iter().chain(&metadata.annotations).flatten() {
        if name_of(key).is_some() {
            keys += 1;
            key.measure(&mut tally);
            value.measure(&mut tally);
        }
    }
    [
        (Counted::Containers, spec.template.spec.containers.len() + spec.template.spec.init_containers.len()),
        (Counted::Keys, keys),
        (Counted::Items, items),
        (Counted::Bytes, tally.bytes),
    ]
}

/// What is read of an object that is beyond the budget: who it is, whether it is enrolled, and whether no run may start.
#[must_use]
pub fn rest(object: &StatefulSet) -> StatefulSet {
    let ObjectMeta { name, generate_name, namespace, uid, labels, annotations, .. } = &object.metadata;
    let only = |map: &Option<BTreeMap<String, String>>, wanted: &str| {
        let (key, value) = map.as_ref()?.get_key_value(wanted)?;
        Some(BTreeMap::from([(key.clone(), value.clone())]))
    };
    let metadata = ObjectMeta {
        name: name.clone(),
        generate_name: generate_name.clone(),
        namespace: namespace.clone(),
        uid: uid.clone(),
        labels: only(labels, ENABLED),
        annotations: only(annotations, Key::Suspend.annotation()),
        ..ObjectMeta::default()
    };
    StatefulSet { metadata, spec: Spec { replicas: object.spec.replicas, ..Spec::default() } }
}

#[cfg(test)]
mod tests;
