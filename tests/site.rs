//! The documentation as a book: every page is in it, the reference says what the types say, and links lead somewhere.
//! `UPDATE_MANIFESTS=1 cargo test --test site` writes the list of pages and the reference anew.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the lints know test functions, but not the helpers of tests"
)]

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Component, Path, PathBuf},
};

use etcd_defrag_webhook::defrag::policy;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn in_step(file: &Path, expected: &str) {
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        fs::write(file, expected).unwrap();
    }
    let found = fs::read_to_string(file).unwrap_or_default();
    assert!(found == expected, "{} is out of step: run UPDATE_MANIFESTS=1 cargo test --test site", file.display());
}

/// The Markdown files right in a folder, by name.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn title(page: &Path) -> String {
    let text = read(page);
    text.lines()
        .find_map(|line| line.strip_prefix("# "))
        .unwrap_or_else(|| panic!("{} has no title", page.display()))
        .to_owned()
}

/// `SUMMARY.md`: the pages in the order of the table in docs/README.md, with the pages of folders below them.
#[test]
fn every_page_is_in_the_book() {
    let docs = root().join("docs");
    let mut listed = BTreeSet::new();
    let mut summary = String::from("# Summary\n\n[Documentation](README.md)\n\n");
    for row in read(&docs.join("README.md")).lines().filter(|row| row.starts_with("| [")) {
        let target = row.split_once("](").unwrap().1.split(')').next().unwrap();
        if target.starts_with("..") {
            continue;
        }
        let path = docs.join(target);
        let folder = if path.is_dir() {
            Some(path.clone())
        } else {
            path.parent().filter(|dir| **dir != docs).map(Path::to_owned)
        };
        match &folder {
            // A chapter without a page of its own.
            Some(_) if path.is_dir() => {
                let mut heading = target.trim_end_matches('/').to_owned();
                heading[..1].make_ascii_uppercase();
                let _ = writeln!(summary, "- [{heading}]()");
            }
            _ => {
                let _ = writeln!(summary, "- [{}]({target})", title(&path));
                listed.insert(target.to_owned());
            }
        }
        for page in folder.iter().flat_map(|folder| pages(folder)).filter(|page| name(page) != "README.md") {
            let inside = page.strip_prefix(&docs).unwrap().to_str().unwrap().to_owned();
            let _ = writeln!(summary, "  - [{}]({inside})", title(&page));
        }
    }
    let there: BTreeSet<String> = pages(&docs).iter().map(|page| name(page)).collect();
    let own = ["README.md", "SUMMARY.md"].map(str::to_owned).into();
    let missing: Vec<&String> = there.difference(&own).filter(|page| !listed.contains(*page)).collect();
    assert!(missing.is_empty(), "the table in docs/README.md leaves out {missing:?}");
    in_step(&docs.join("SUMMARY.md"), &summary);
}

const REFERENCE: &str = "\
# The API of DefragPolicy

`etcd-defrag.io/v1alpha1`, kind `DefragPolicy`, cluster-scoped, short name `dfp`. [policies.md](policies.md) says how to use it. This page is made of
the definition, as `kubectl explain defragpolicy.spec --recursive` shows it.

";

/// What Kubernetes itself documents is not opened.
const OPAQUE: [&str; 6] =
    ["affinity", "tolerations", "topologySpreadConstraints", "resources", "namespaceSelector", "selector"];

#[test]
fn the_reference_is_what_the_types_say() {
    let definition = serde_json::to_value(policy::crd()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut page = REFERENCE.to_owned();
    for part in ["spec", "status"] {
        let _ = write!(page, "## {part}\n\n| field | type | default | what |\n| --- | --- | --- | --- |\n");
        fields(&mut page, "", &schema[part]);
        page.push('\n');
    }
    in_step(&root().join("docs/api.md"), &format!("{}\n", page.trim_end()));
}

/// A row for each field, and below it those of its own fields.
fn fields(page: &mut String, prefix: &str, schema: &Value) {
    for (key, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{key}");
        let default = match &field["default"] {
            Value::Null => "–".to_owned(),
            Value::Object(_) => "see its fields".to_owned(),
            value => format!("`{value}`"),
        };
        let mut what =
            field["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        for rule in field["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let _ = write!(what, " Refused otherwise: {}.", rule["message"].as_str().unwrap().trim_end_matches('.'));
        }
        let _ = writeln!(page, "| `{path}` | {} | {default} | {} |", kind(field), escaped(&what));
        if !OPAQUE.contains(&key.as_str()) {
            fields(page, &format!("{path}."), field);
            fields(page, &format!("{path}[]."), &field["items"]);
        }
    }
}

/// Text in a cell of a table, in which nothing is markup.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*")
}

fn kind(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        return values.iter().map(|value| format!("`{}`", value.as_str().unwrap())).collect::<Vec<_>>().join(", ");
    }
    let number = |key: &str| field[key].as_f64();
    match (field["type"].as_str(), number("minimum"), number("maximum")) {
        (Some("array"), ..) => format!("list of {}", kind(&field["items"])),
        (Some("object"), ..) if !field["additionalProperties"].is_null() => "map of string to string".to_owned(),
        (Some("integer"), Some(least), Some(most)) => format!("integer, {least} to {most}"),
        (Some(kind), ..) => kind.to_owned(),
        // A quantity, such as those of resources.
        (None, ..) => "string or integer".to_owned(),
    }
}

/// Of the pages that people read: files, and headings within them.
#[test]
fn links_lead_somewhere() {
    let mut files: Vec<PathBuf> =
        ["", "docs", "docs/findings", "docs/runbooks", "docs/decisions", "deploy/chart/etcd-defrag-webhook"]
            .iter()
            .flat_map(|folder| pages(&root().join(folder)))
            .collect();
    files.retain(|file| name(file) != "SUMMARY.md");
    let (mut seen, mut broken) = (0, Vec::new());
    for file in &files {
        for target in links(&read(file)) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (path, heading) =
                target.split_once('#').map_or((target.as_str(), None), |(path, rest)| (path, Some(rest)));
            let there = if path.is_empty() { file.clone() } else { normal(&file.parent().unwrap().join(path)) };
            let found = there.exists()
                && heading.is_none_or(|heading| there.is_file() && headings(&read(&there)).contains(heading));
            if !found {
                broken.push(format!("{}: {target}", file.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(seen > 200, "{seen} links in {} files", files.len());
}

/// The targets of links and images, but not what stands in code.
fn links(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every other part is between backquotes; a link whose text is code keeps its bracket outside.
        let prose: String =
            line.split('`').enumerate().map(|(part, text)| if part % 2 == 0 { text } else { "" }).collect();
        targets.extend(prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
    }
    targets
}

/// The anchors of a page, as GitHub and mdBook make them.
fn headings(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.starts_with('#'));
    lines
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}
