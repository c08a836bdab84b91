//! A document as it was written: every value with its line, and no key twice.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A value and its place.
pub(super) type Placed = Spanned<Node>;

/// A value of a document.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// A string, number, boolean or null.
    Scalar(Value),
    /// A number that is written in another way than it is shown: `08`, `1e9`.
    Written(Number, Box<str>),
    /// A list.
    List(Vec<Placed>),
    /// A mapping, in the order it was written.
    Mapping(Vec<(Spanned<String>, Placed)>),
}

impl Node {
    /// The value of a key of a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Mapping(entries) => {
                entries.iter().find(|(name, _)| name.value == key).map(|(_, placed)| &placed.value)
            }
            _ => None,
        }
    }

    /// The string of a key of a mapping.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Self::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Adds a string where a mapping has no such key.
    pub(super) fn supply(&mut self, key: &str, text: &str) {
        if self.get(key).is_none()
            && let Self::Mapping(entries) = self
        {
            let value = Self::Scalar(Value::String(text.to_owned()));
            let nowhere = serde_saphyr::Location::UNKNOWN;
            entries.push((Spanned::new(key.to_owned(), nowhere, nowhere), Spanned::new(value, nowhere, nowhere)));
        }
    }

    /// Finds how numbers are written in `lines`, which they were read from.
    pub(super) fn find_written(&mut self, lines: &[&str]) {
        match self {
            Self::Scalar(_) | Self::Written(..) => {}
            Self::List(items) => items.iter_mut().for_each(|item| written(item, lines)),
            Self::Mapping(entries) => entries.iter_mut().for_each(|(_, item)| written(item, lines)),
        }
    }

    /// The value without the places; each place goes to `visit` with its path, and with what is written there where that is a
    /// number that looks otherwise.
    pub(super) fn into_value(self, path: &str, visit: &mut impl FnMut(String, u64, Option<Box<str>>)) -> Value {
        let mut enter = |path: String, line: u64, placed: Placed| match placed.value {
            Self::Written(number, text) => {
                visit(path, line, Some(text));
                Value::Number(number)
            }
            value => {
                visit(path.clone(), line, None);
                value.into_value(&path, visit)
            }
        };
        match self {
            Self::Scalar(value) => value,
            Self::Written(number, _) => Value::Number(number),
            Self::List(items) => {
                let place =
                    |(index, item): (usize, Placed)| enter(format!("{path}[{index}]"), item.referenced.line(), item);
                Value::Array(items.into_iter().enumerate().map(place).collect())
            }
            Self::Mapping(entries) => {
                // The line of the key: a value below it may begin further down.
                let place = |(key, item): (Spanned<String>, Placed)| {
                    let value = enter(join(path, &key.value), key.referenced.line(), item);
                    (key.value, value)
                };
                Value::Object(entries.into_iter().map(place).collect::<Map<_, _>>())
            }
        }
    }
}

fn written(placed: &mut Placed, lines: &[&str]) {
    let Node::Scalar(Value::Number(number)) = &placed.value else { return placed.value.find_written(lines) };
    if let Some(text) = number_at(placed.defined, lines).filter(|text| *text != number.to_string()) {
        placed.value = Node::Written(number.clone(), text.into());
    }
}

/// The number that begins at a place of the text.
fn number_at(place: serde_saphyr::Location, lines: &[&str]) -> Option<String> {
    let index = |number: u64| usize::try_from(number.checked_sub(1)?).ok();
    let rest = lines.get(index(place.line())?)?.chars().skip(index(place.column())?);
    let text: String = rest.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_')).collect();
    text.contains(|c: char| c.is_ascii_digit()).then_some(text)
}

/// The path of a key, as findings write it: `metadata.labels[example.org/key]`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if key.is_empty() || key.contains(['.', '/', '[', ']']) {
        format!("{path}[{key}]")
    } else if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a number that JSON can hold"))?;
        Ok(Node::Scalar(Value::Number(number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut mapping = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            if !seen.insert(key.value.clone()) {
                return Err(A::Error::custom(format_args!("the key \"{}\" appears twice", key.value)));
            }
            mapping.push((key, entries.next_value()?));
        }
        Ok(Node::Mapping(mapping))
    }
}
