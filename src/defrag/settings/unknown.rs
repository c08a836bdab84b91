//! Keys under our prefix that do not exist.

use std::collections::BTreeMap;

use crate::defrag::{
    field::Field,
    finding::{Code, Finding, quoted},
    keys::{ENABLED, Key, PREFIX, is_near_enabled, name_of},
    statefulset::StatefulSet,
};

/// Where a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Annotation,
    Label,
}

impl Place {
    const fn noun(self) -> &'static str {
        match self {
            Self::Annotation => "annotation",
            Self::Label => "label",
        }
    }
}

/// A finding for each key under our prefix that does not exist, with the nearest that does. A prefix in other letters makes
/// another key of it.
pub(super) fn keys(object: &StatefulSet) -> Vec<Finding> {
    let annotations = object.metadata.annotations.iter().flat_map(BTreeMap::keys).map(|key| (key, Place::Annotation));
    let labels = object.metadata.labels.iter().flat_map(BTreeMap::keys).map(|key| (key, Place::Label));
    annotations
        .chain(labels)
        .filter_map(|(key, place)| Some((key, name_of(key)?, place)))
        .filter(|(key, name, place)| match place {
            _ if !key.starts_with(PREFIX) => true,
            Place::Label => *key != ENABLED,
            Place::Annotation => Key::from_name(name).is_none(),
        })
        .map(|(key, name, place)| unknown(key, name, place))
        .collect()
}

fn unknown(key: &str, name: &str, place: Place) -> Finding {
    let advice = advice(key, name, place);
    let field = match place {
        Place::Label => Field::Label(key.to_owned().into()),
        Place::Annotation => Field::UnknownAnnotation(key.to_owned()),
    };
    let noun = place.noun();
    if !key.starts_with(PREFIX) {
        return Finding::new(
            Code::AnnotationUnknown,
            field,
            format!("{key}: {PREFIX} is written in small letters. {advice}"),
            format!(
                "The {noun} {} has the prefix {PREFIX} in other letters. For Kubernetes that is another {noun}, so it would be \
                 silently ignored. {advice}",
                quoted(key)
            ),
        );
    }
    Finding::new(
        Code::AnnotationUnknown,
        field,
        format!("{name}: {advice}"),
        format!("There is no {noun} {}: a setting with a wrong name would be silently ignored. {advice}", quoted(key)),
    )
}

fn advice(key: &str, name: &str, place: Place) -> String {
    let small = key.starts_with(PREFIX);
    match (Key::from_name(name), place) {
        (None, Place::Label) if is_near_enabled(name) => format!("Write {ENABLED}."),
        (None, Place::Annotation) if is_near_enabled(name) => {
            format!("{ENABLED} is a label: write it in metadata.labels.")
        }
        (Some(exact), Place::Label) => {
            format!("{} is an annotation: move it to metadata.annotations.", exact.annotation())
        }
        (Some(exact), Place::Annotation) if !small => format!("Write {}.", exact.annotation()),
        (_, Place::Label) => match Key::nearest(name) {
            Some(near) => format!("Did you mean the annotation {}?", near.annotation()),
            None => format!("Remove it: the only label is {ENABLED}, and settings are annotations."),
        },
        (_, Place::Annotation) => {
            if let Some(near) = Key::nearest(name) {
                return format!("Did you mean {}?", near.annotation());
            }
            let known = Key::ALL.iter().filter(|key| **key != Key::Defaulted);
            let known: Vec<&str> = known.map(|key| key.name()).collect();
            format!("Remove it, or use one of: {}.", known.join(", "))
        }
    }
}
