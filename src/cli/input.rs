//! Manifests from files, folders and standard input: a stream of documents, each with its place.

use std::{
    fmt, fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::defrag::statefulset::StatefulSet;

/// The name of standard input on the command line.
const STDIN: &str = "-";
/// The endings of manifests in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Where a document stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// The number of the document in it, from 1.
    pub document: usize,
    /// The line at which it starts, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A document with its place.
#[derive(Clone, Debug)]
pub struct Document {
    /// Where it stands.
    pub place: Place,
    /// All of it.
    pub value: Value,
}

impl Document {
    /// The StatefulSet that it is, if it is one.
    pub fn statefulset(&self) -> anyhow::Result<Option<StatefulSet>> {
        if self.value["kind"] != "StatefulSet" || self.value["apiVersion"] != "apps/v1" {
            return Ok(None);
        }
        let object = <StatefulSet as serde::Deserialize>::deserialize(&self.value);
        let place = &self.place;
        object
            .map(Some)
            .map_err(|error| anyhow::anyhow!("{place}: document {} is no StatefulSet of apps/v1: {error}", place.document))
    }
}

/// Reads every document of every file in order; lists are taken apart.
pub fn read(files: &[PathBuf]) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for file in files {
        if file.is_dir() {
            for entry in manifests(file)? {
                read_file(&entry, &mut documents)?;
            }
        } else {
            read_file(file, &mut documents)?;
        }
    }
    Ok(documents)
}

/// The manifests of a folder by name; folders in it are left out, as kubectl does.
fn manifests(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let reading = || format!("read the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if path.is_file() && ENDINGS.contains(&ending) {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        bail!("the folder {} holds no .yaml, .yml or .json file", folder.display());
    }
    Ok(files)
}

fn read_file(path: &Path, documents: &mut Vec<Document>) -> anyhow::Result<()> {
    let (name, bytes) = if path.as_os_str() == STDIN {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).context("read standard input")?;
        ("standard input".to_owned(), bytes)
    } else {
        (path.display().to_string(), fs::read(path).with_context(|| format!("read {}", path.display()))?)
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count();
        anyhow::anyhow!("{name}:{line}: the file is not UTF-8")
    })?;
    for (index, (line, part)) in split(text.trim_start_matches('\u{feff}')).into_iter().enumerate() {
        let place = Place { file: name.clone(), document: index + 1, line };
        let value = parse(&part, &place)?;
        take_apart(value, &place, documents);
    }
    Ok(())
}

fn parse(text: &str, place: &Place) -> anyhow::Result<Value> {
    serde_saphyr::from_str(text).map_err(|error| {
        let line = place.line + error.location().map_or(0, |at| usize::try_from(at.line()).unwrap_or(1).saturating_sub(1));
        let plain = error.without_snippet().to_string();
        anyhow::anyhow!("{}:{line}: document {} is not valid YAML: {plain}", place.file, place.document)
    })
}

/// Keeps what is a document; empty ones are none, and a list is its items.
fn take_apart(mut value: Value, place: &Place, documents: &mut Vec<Document>) {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match value.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => {
            documents.extend(items.into_iter().map(|value| Document { place: place.clone(), value }));
        }
        Some(other) => {
            value["items"] = other;
            documents.push(Document { place: place.clone(), value });
        }
        None if value.is_null() => {}
        None => documents.push(Document { place: place.clone(), value }),
    }
}

/// The documents of a stream with the line at which each starts. A marker is `---` at the start of a line, alone or
/// before a blank; inside a block scalar it would be indented.
fn split(text: &str) -> Vec<(usize, String)> {
    let mut parts = vec![(1, String::new())];
    for (index, line) in text.lines().enumerate() {
        let rest = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if let Some(rest) = rest {
            parts.push((index + 1, String::new()));
            if let Some((_, part)) = parts.last_mut() {
                // What stands beside the marker belongs to the document; blanks keep its column.
                part.push_str("   ");
                part.push_str(rest);
                part.push('\n');
            }
        } else if let Some((_, part)) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts.retain(|(_, part)| part.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_split_at_markers_and_keep_their_lines() {
        let text = "# only a comment\n---\na: 1\n---\n\n--- {b: 2}\n---\nc: |\n  ---\n  x\n";
        let parts: Vec<(usize, Value)> =
            split(text).into_iter().map(|(line, part)| (line, serde_saphyr::from_str(&part).unwrap())).collect();
        let expected = [(2, serde_json::json!({"a": 1})), (6, serde_json::json!({"b": 2})), (7, serde_json::json!({"c": "---\nx\n"}))];
        assert_eq!(parts, expected);
    }

    #[test]
    fn a_list_is_its_items() {
        let place = Place { file: "f".to_owned(), document: 1, line: 1 };
        let mut documents = Vec::new();
        take_apart(serde_json::json!({"kind": "List", "items": [{"kind": "A"}, {"kind": "B"}]}), &place, &mut documents);
        take_apart(serde_json::json!({"kind": "ConfigMap", "items": 1}), &place, &mut documents);
        take_apart(Value::Null, &place, &mut documents);
        let kinds: Vec<&str> = documents.iter().filter_map(|document| document.value["kind"].as_str()).collect();
        assert_eq!(kinds, ["A", "B", "ConfigMap"]);
    }
}
