//! A document as it was written: every value with its line, and no key twice.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, Value};
use serde_saphyr::Spanned;

/// A value and the line that it is at; 0 where it is not written.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) line: u32,
    pub(super) value: Node,
}

/// A value of a document.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// A string, boolean or null.
    Scalar(Value),
    /// A number, and the line and the column where it begins.
    Number(Number, u32, u32),
    /// A list.
    List(Vec<Placed>),
    /// A mapping, in the order it was written. The line is that of the key: a value below it may begin further down.
    Mapping(Vec<(String, Placed)>),
}

/// What is known of an object besides its values.
#[derive(Debug)]
pub(super) struct Places {
    /// Where the object begins.
    first: u32,
    /// The line of each value, in the order of [`along`]: from 1, as if the object began in the first line, so that objects that look
    /// the same have the same lines; 0 where it is not written.
    pub(super) lines: Vec<u32>,
    /// Numbers that are written in another way than they are shown (`08`, `1e9`), by their place in that order.
    pub(super) written: Vec<(usize, Box<str>)>,
}

impl Places {
    /// Those of an object that begins in this line.
    pub(super) const fn from_line(first: u32) -> Self {
        Self { first, lines: Vec::new(), written: Vec::new() }
    }
}

impl Node {
    /// The value of a key of a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Mapping(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, placed)| &placed.value),
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

    /// About how many bytes of memory it uses.
    pub(super) fn bytes(&self) -> usize {
        const EACH: usize = 16;
        EACH + match self {
            Self::Scalar(Value::String(text)) => text.len(),
            Self::Scalar(_) | Self::Number(..) => 0,
            Self::List(items) => items.iter().map(|item| item.value.bytes()).sum(),
            Self::Mapping(entries) => entries.iter().map(|(key, item)| key.len() + item.value.bytes()).sum(),
        }
    }

    /// Adds a string where a mapping has no such key.
    pub(super) fn supply(&mut self, key: &str, text: &str) {
        if self.get(key).is_none()
            && let Self::Mapping(entries) = self
        {
            entries.push((key.to_owned(), Placed { line: 0, value: Self::Scalar(text.into()) }));
        }
    }

    /// The value without the places, which are added to `places`. `text` is the lines that it was read from.
    pub(super) fn into_value(self, text: &[&str], places: &mut Places) -> Value {
        let mut enter = |Placed { line, value }: Placed| {
            places.lines.push(if line < places.first { 0 } else { line + 1 - places.first });
            value.into_value(text, places)
        };
        match self {
            Self::Scalar(value) => value,
            Self::Number(number, line, column) => {
                let written = number_at(line, column, text).filter(|written| *written != number.to_string());
                if let Some(written) = written {
                    places.written.push((places.lines.len() - 1, written.into()));
                }
                Value::Number(number)
            }
            Self::List(items) => Value::Array(items.into_iter().map(enter).collect()),
            Self::Mapping(mut entries) => {
                entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
                Value::Object(entries.into_iter().map(|(key, item)| (key, enter(item))).collect())
            }
        }
    }
}

/// Calls `visit` for each value on the way along a path: with its number in the order of the values below `value`, where a value
/// is in front of what is below it and keys are sorted, and with what is left of the path.
pub(super) fn along(mut value: &Value, mut path: &str, mut visit: impl FnMut(usize, &str)) {
    let mut number = 0;
    loop {
        let mut found = None;
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    found = behind(path, &format!("[{index}]")).map(|rest| (item, rest));
                    if found.is_some() {
                        break;
                    }
                    number += size(item);
                }
            }
            Value::Object(fields) => {
                for (key, item) in fields {
                    found = behind(path, &join("", key)).map(|rest| (item, rest));
                    if found.is_some() {
                        break;
                    }
                    number += size(item);
                }
            }
            _ => {}
        }
        let Some((item, rest)) = found else { return };
        visit(number, rest);
        number += 1;
        value = item;
        path = rest.strip_prefix('.').unwrap_or(rest);
    }
}

/// What is behind a segment that a path begins with.
fn behind<'p>(path: &'p str, segment: &str) -> Option<&'p str> {
    path.strip_prefix(segment).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// How many values there are, with those below it.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        _ => 0,
    }
}

/// The number that begins at a place of the text.
fn number_at(line: u32, column: u32, text: &[&str]) -> Option<String> {
    let index = |number: u32| usize::try_from(number.checked_sub(1)?).ok();
    let rest = text.get(index(line)?)?.chars().skip(index(column)?);
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

impl<'de> Deserialize<'de> for Placed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::<Node>::deserialize(deserializer)?;
        let value = match value {
            Node::Number(number, ..) => Node::Number(number, narrow(defined.line()), narrow(defined.column())),
            other => other,
        };
        Ok(Self { line: narrow(referenced.line()), value })
    }
}

/// A line or a column; no input is as long as not to fit.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(0)
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
        Ok(Node::Number(value.into(), 0, 0))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into(), 0, 0))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a number that JSON can hold"))?;
        Ok(Node::Number(number, 0, 0))
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
        let mut mapping: Vec<(String, Placed)> = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some(Spanned { value: key, referenced, .. }) = entries.next_key::<Spanned<String>>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("the key \"{key}\" appears twice")));
            }
            let Placed { value, .. } = entries.next_value()?;
            mapping.push((key, Placed { line: narrow(referenced.line()), value }));
        }
        Ok(Node::Mapping(mapping))
    }
}
