//! The files that are shipped, read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file that the chart ships.
pub(crate) fn chart(name: &str) -> PathBuf {
    root().join("deploy/chart/etcd-defrag-webhook/files").join(name)
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every rule of a file of the chart.
fn rules(name: &str) -> Vec<Value> {
    let file = yaml(&chart(name));
    let groups = file["groups"].as_array().expect("groups").iter();
    groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

/// The alerts by name.
pub(crate) fn alerts() -> BTreeMap<String, Value> {
    rules("alerts.yaml").into_iter().map(|rule| (text(&rule["alert"]).to_owned(), rule)).collect()
}

/// The names of what is recorded.
pub(crate) fn recorded() -> BTreeSet<String> {
    rules("recording.yaml").iter().map(|rule| text(&rule["record"]).to_owned()).collect()
}

/// A text of a file, without which nothing makes sense.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The files of a folder with this ending, sorted.
pub(crate) fn files_in(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    found.sort();
    found
}

/// Every word of a text that could be the name of a metric.
pub(crate) fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).filter(|word| !word.is_empty()).collect()
}
