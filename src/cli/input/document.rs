//! One object of the input, with the place of each of its values.

use std::{collections::BTreeSet, fmt, sync::Arc};

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::{
    remedy, template,
    tree::{Places, along, join},
    trouble::Trouble,
    words,
};
use crate::{
    defrag::{finding::quoted, statefulset::StatefulSet},
    runtime::packed::{Packed, Texts, word},
};

/// An object of the input as it is kept until all of the input is read: packed, as most of the memory of a large input would be
/// these.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Kept {
    /// Its apiVersion and kind.
    kind: Kind,
    content: Content,
    form: Form,
    place: Place,
}

/// What an object is, as far as that was found when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    StatefulSet,
    /// A StatefulSet that cannot be read, or what seems to be meant as one.
    Unreadable,
    Other,
}

/// An object in the form in which it is kept.
#[derive(Clone, Debug)]
enum Form {
    /// JSON of which nothing is shared yet, with the namespace and the name that are in it.
    Text(String, [String; 2]),
    /// JSON.
    Packed(Packed),
    /// One that reading JSON would change.
    Whole(Value),
}

/// The apiVersion and kind of an object; most have the same.
pub(super) type Kind = Arc<(Option<String>, Option<String>)>;

/// One object of the input.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Document {
    /// The object, whole.
    pub(in crate::cli) value: Value,
    place: Place,
}

/// Where an object and its values are.
#[derive(Clone, Debug)]
struct Place {
    origin: Origin,
    /// See [`Places`].
    lines: Arc<[u32]>,
    written: Box<[(usize, Box<str>)]>,
}

/// What many objects have in common, kept once.
#[derive(Debug, Default)]
pub(super) struct Shared {
    kinds: BTreeSet<Kind>,
    lines: BTreeSet<Arc<[u32]>>,
    texts: Texts,
}

/// Where an object comes from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) file: Arc<str>,
    /// Which document of the file, from 1; empty ones do not count.
    pub(super) number: usize,
    pub(super) line: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: document {}", self.file, self.line, self.number)
    }
}

impl Origin {
    /// The same behind so many documents.
    pub(super) fn behind(self, documents: usize) -> Self {
        Self { number: self.number + documents, ..self }
    }

    /// That the object at this place cannot be read.
    pub(super) fn trouble(&self, message: impl fmt::Display) -> anyhow::Error {
        Trouble::at(&self.file, self.line, format!("document {}: {message}", self.number))
    }
}

impl Kept {
    /// Keeps an object that was just read.
    pub(super) fn of(value: Value, origin: Origin, places: Places) -> Self {
        let of_meta = |key| value.get("metadata").and_then(|meta| meta.get(key)).map(word).unwrap_or_default();
        let text = survives(&value).then(|| Form::Text(value.to_string(), ["namespace", "name"].map(of_meta)));
        let place = Place { origin, lines: places.lines.into(), written: places.written.into() };
        let document = Document { value, place };
        let (version, kind) = document.kind();
        let kind = Kind::new((version.map(str::to_owned), kind.map(str::to_owned)));
        let content = match document.statefulset() {
            Ok(Some(_)) => Content::StatefulSet,
            Ok(None) => Content::Other,
            Err(_) => Content::Unreadable,
        };
        let Document { value, place } = document;
        Self { kind, content, form: text.unwrap_or(Form::Whole(value)), place }
    }

    /// Shares what others have too, behind so many documents.
    pub(super) fn share(&mut self, documents: usize, shared: &mut Shared) {
        self.place.origin.number += documents;
        self.kind = once(&mut shared.kinds, &self.kind);
        self.place.lines = once(&mut shared.lines, &self.place.lines);
        if let Form::Text(text, words) = &self.form {
            self.form = Form::Packed(shared.texts.pack(text, &words.each_ref().map(String::as_str)));
        }
    }

    /// The object again.
    pub(in crate::cli) fn open(&self) -> Document {
        Document { value: self.decoded().unwrap_or_default(), place: self.place.clone() }
    }

    /// Its apiVersion and kind.
    pub(in crate::cli) fn kind(&self) -> (Option<&str>, Option<&str>) {
        (self.kind.0.as_deref(), self.kind.1.as_deref())
    }

    /// Whether this is a DefragPolicy of any version.
    pub(in crate::cli) fn is_policy(&self) -> bool {
        self.kind().1 == Some("DefragPolicy")
    }

    /// Whether this is a StatefulSet that can be read.
    pub(in crate::cli) fn is_statefulset(&self) -> bool {
        self.content == Content::StatefulSet
    }

    /// Why this cannot be read, if it seems to be meant as a StatefulSet.
    pub(in crate::cli) fn trouble(&self) -> Option<anyhow::Error> {
        if self.content == Content::Unreadable { self.open().statefulset().err() } else { None }
    }

    /// The StatefulSet that this is, if it is one.
    pub(in crate::cli) fn statefulset(&self) -> anyhow::Result<Option<StatefulSet>> {
        match self.content {
            Content::StatefulSet => Ok(Some(self.decoded()?)),
            Content::Unreadable => self.open().statefulset(),
            Content::Other => Ok(None),
        }
    }

    fn decoded<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        match &self.form {
            Form::Text(text, _) => serde_json::from_str(text),
            Form::Packed(packed) => serde_json::from_str(&packed.text()),
            Form::Whole(value) => T::deserialize(value),
        }
    }
}

/// The one that is known already, if it is.
fn once<T: Ord + ?Sized>(known: &mut BTreeSet<Arc<T>>, one: &Arc<T>) -> Arc<T> {
    if let Some(known) = known.get(one) {
        return Arc::clone(known);
    }
    known.insert(Arc::clone(one));
    Arc::clone(one)
}

/// Whether a value is the same behind JSON, of which not every fraction is read exactly. The parser of the input lets half as
/// many levels through as that of JSON.
fn survives(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => items.iter().all(survives),
        Value::Object(fields) => fields.values().all(survives),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

impl Document {
    pub(super) fn origin(&self) -> &Origin {
        &self.place.origin
    }

    /// The file, as it was named.
    pub(in crate::cli) fn file(&self) -> &str {
        &self.origin().file
    }

    /// The line of a field, or of what is nearest around it.
    pub(in crate::cli) fn line(&self, field: &str) -> u64 {
        let mut line = self.origin().line;
        along(&self.value, field, |number, _| match self.place.lines.get(number) {
            None | Some(0) => {}
            Some(found) => line = self.origin().line + u64::from(*found) - 1,
        });
        line
    }

    /// The place of a field, as errors name it.
    pub(in crate::cli) fn place(&self, field: &str) -> String {
        format!("{}:{}: document {}", self.file(), self.line(field), self.origin().number)
    }

    /// How a number is written, where that is not how it is shown.
    fn written(&self, path: &str) -> Option<&str> {
        let mut number = None;
        along(&self.value, path, |found, rest| number = Some(found).filter(|_| rest.is_empty()));
        let written = self.place.written.iter().find(|(place, _)| Some(*place) == number);
        written.map(|(_, text)| &**text)
    }

    /// Its apiVersion and kind.
    pub(in crate::cli) fn kind(&self) -> (Option<&str>, Option<&str>) {
        let text = |key| self.value.get(key).and_then(Value::as_str);
        (text("apiVersion"), text("kind"))
    }

    /// The object of a type; the error says which field is of another.
    pub(in crate::cli) fn typed<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        // Most have no error, and to track where one is takes longer.
        T::deserialize(&self.value).or_else(|_| serde_path_to_error::deserialize(&self.value)).map_err(|error| {
            let path = error.path().iter().fold(String::new(), |path, segment| match segment {
                Segment::Seq { index } => format!("{path}[{index}]"),
                Segment::Map { key } => join(&path, key),
                Segment::Enum { .. } | Segment::Unknown => path,
            });
            let written = self.written(&path);
            let text = remedy::of(&self.value, &path, written);
            let why = words::of(&error.inner().to_string(), written, text.as_deref());
            Trouble::at(self.file(), self.line(&path), format!("document {}: {path}: {why}", self.origin().number))
        })
    }

    /// The StatefulSet that this is, if it is one.
    pub(in crate::cli) fn statefulset(&self) -> anyhow::Result<Option<StatefulSet>> {
        match self.kind() {
            (Some("apps/v1"), Some("StatefulSet")) => {}
            (version, Some("StatefulSet")) => {
                let version = version.map_or_else(|| "unknown".to_owned(), |version| format!("\"{version}\""));
                return Err(self.origin().trouble(format!(
                    "a StatefulSet of apiVersion {version}; the only version that Kubernetes serves is apps/v1"
                )));
            }
            (_, Some(kind)) if kind.eq_ignore_ascii_case("StatefulSet") => {
                let kind = quoted(kind);
                return Err(self.origin().trouble(format!("Kubernetes has no kind {kind}; write kind: StatefulSet")));
            }
            _ => return Ok(None),
        }
        if template::is_in(&self.value) {
            return Err(self.origin().trouble(template::ADVICE));
        }
        let object: StatefulSet = self.typed()?;
        if object.name().is_empty() {
            return Err(self.origin().trouble("the StatefulSet has no metadata.name"));
        }
        Ok(Some(object))
    }
}
