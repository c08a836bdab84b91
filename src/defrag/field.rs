//! A place in an object: a [`Field`], which becomes text only when it is shown.

use std::{borrow::Cow, fmt};

use serde::{Serialize, Serializer};

use super::{
    keys::{ENABLED, Key},
    text::printable,
};

/// A place in a StatefulSet or in a DefragPolicy.
///
/// Code distinguishes places by the variant. The text is for people and for reports, and is never parsed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// A label under our prefix, whether there is such a label or not, by its full name.
    Label(Cow<'static, str>),
    /// The annotation of a key.
    Annotation(Key),
    /// An annotation under our prefix that is of no key, by its full name.
    UnknownAnnotation(String),
    /// The value of a key in the defaults of a policy.
    Default(Key),
    /// Any other place, by its path, such as `spec.replicas` or `metadata.name`.
    Path(Cow<'static, str>),
}

impl Field {
    /// The label that enrols a StatefulSet.
    pub const ENABLED: Self = Self::Label(Cow::Borrowed(ENABLED));
}

impl Key {
    /// The place of this annotation in an object.
    #[must_use]
    pub const fn field(self) -> Field {
        Field::Annotation(self)
    }

    /// The place of the value of this key in a policy.
    #[must_use]
    pub const fn default_field(self) -> Field {
        Field::Default(self)
    }
}

/// Control characters are escaped, as in all of a [`Finding`](super::finding::Finding).
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(name) => write!(f, "metadata.labels[{}]", printable(name)),
            Self::Annotation(key) => write!(f, "metadata.annotations[{}]", key.annotation()),
            Self::UnknownAnnotation(name) => write!(f, "metadata.annotations[{}]", printable(name)),
            Self::Default(key) => write!(f, "spec.defaults.{}", key.defaults_field()),
            Self::Path(path) => f.write_str(&printable(path)),
        }
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<&'static str> for Field {
    fn from(path: &'static str) -> Self {
        Self::Path(Cow::Borrowed(path))
    }
}

impl From<String> for Field {
    fn from(path: String) -> Self {
        Self::Path(Cow::Owned(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_the_path_that_people_know() {
        for (field, text) in [
            (Field::ENABLED, "metadata.labels[etcd-defrag.io/enabled]"),
            (Field::Label("etcd-defrag.io/a\nb".into()), "metadata.labels[etcd-defrag.io/a\\nb]"),
            (Key::TimeZone.field(), "metadata.annotations[etcd-defrag.io/time-zone]"),
            (
                Field::UnknownAnnotation("etcd-defrag.io/a\u{1b}".into()),
                "metadata.annotations[etcd-defrag.io/a\\u{1b}]",
            ),
            (Key::TimeZone.default_field(), "spec.defaults.timeZone"),
            ("spec.replicas".into(), "spec.replicas"),
            (format!("spec.template.spec.containers[{}].args", 1).into(), "spec.template.spec.containers[1].args"),
            ("a[\n]".into(), "a[\\n]"),
        ] {
            assert_eq!(field.to_string(), text);
            assert_eq!(serde_json::to_value(&field).unwrap(), text);
        }
    }
}
