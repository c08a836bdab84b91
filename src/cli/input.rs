//! Manifests from files, folders and standard input.

mod folder;
mod remedy;
mod template;
mod tree;
mod trouble;
mod words;
mod yaml_words;

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};
use serde_path_to_error::Segment;

use self::tree::{Node, Placed};
pub(super) use self::{tree::join, trouble::Trouble};
use super::{output, progress::Progress};
use crate::defrag::{finding::quoted, statefulset::StatefulSet};

/// The largest input, in bytes; a cluster's worth of StatefulSets is a tenth of it.
const LIMIT: u64 = 64 << 20;

/// Which manifests to read.
#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// Manifests in YAML or JSON: files, folders with *.yaml, *.yml and *.json files, or "-" for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Read subfolders, too, as kubectl does
    #[arg(short = 'R', long)]
    recursive: bool,
    /// The namespace of manifests without one; if it is not set, "default", and names of members in other namespaces are accepted
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// One object of the input.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The object, whole.
    pub(super) value: Value,
    origin: Origin,
    lines: BTreeMap<String, u64>,
    /// Numbers that are written in another way than they are shown, by their paths.
    written: BTreeMap<String, Box<str>>,
}

/// Where an object comes from.
#[derive(Clone, Debug)]
struct Origin {
    file: String,
    /// Which document of the file, from 1; empty ones do not count.
    number: usize,
    line: u64,
    /// The lines of the file that the parser did not see.
    before: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: document {}", self.file, self.line, self.number)
    }
}

impl Origin {
    /// That the object at this place cannot be read.
    fn trouble(&self, message: impl fmt::Display) -> anyhow::Error {
        Trouble::at(&self.file, self.line, format!("document {}: {message}", self.number))
    }
}

impl Files {
    /// Reads everything, in the order it was asked for, lists unrolled.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Document>> {
        read(&self.paths, self.recursive)
    }

    /// Reads what can be read, and says what cannot.
    pub(super) fn read_each(&self) -> (Vec<Document>, Vec<anyhow::Error>) {
        let (mut documents, mut troubles) = (Vec::new(), Vec::new());
        for path in &self.paths {
            match expand(std::slice::from_ref(path), self.recursive) {
                Ok(files) => {
                    let progress = Progress::of(files.len());
                    for file in files {
                        progress.step(&format!("reading {}", file.display()));
                        match load(&file).and_then(|(name, bytes)| parse(&name, &bytes)) {
                            Ok(read) => documents.extend(read),
                            Err(trouble) => troubles.push(trouble),
                        }
                    }
                }
                Err(trouble) => troubles.push(trouble),
            }
        }
        (documents, troubles)
    }

    /// The namespace of manifests that name none.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    /// Whether standard input is one of the files.
    pub(super) fn include_stdin(&self) -> bool {
        self.paths.iter().any(|file| file == Path::new("-"))
    }

    /// The StatefulSet that a document is, if it is one.
    pub(super) fn statefulset(&self, document: &Document) -> anyhow::Result<Option<StatefulSet>> {
        let Some(mut object) = document.statefulset()? else { return Ok(None) };
        object.metadata.namespace = object.metadata.namespace.or_else(|| self.namespace.clone());
        Ok(Some(object))
    }

    /// Says so where nothing of the input concerns us: an empty answer must not look like a good one.
    pub(super) fn note_if_none(statefulsets: usize) {
        if statefulsets == 0 {
            output::note("there is no StatefulSet in the input");
        }
    }
}

/// The objects of files and folders, in order, lists unrolled.
pub(super) fn read(paths: &[PathBuf], recursive: bool) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    let files = expand(paths, recursive)?;
    let progress = Progress::of(files.len());
    for path in files {
        progress.step(&format!("reading {}", path.display()));
        let (name, bytes) = load(&path)?;
        documents.extend(parse(&name, &bytes)?);
    }
    Ok(documents)
}

impl Document {
    /// The file, as it was named.
    pub(super) fn file(&self) -> &str {
        &self.origin.file
    }

    /// The line of a field, or of what is nearest around it.
    pub(super) fn line(&self, field: &str) -> u64 {
        let mut path = field;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            // A key in brackets may hold dots.
            let cut = if path.ends_with(']') { path.rfind('[') } else { path.rfind(['.', '[']) };
            match cut.and_then(|cut| path.get(..cut)) {
                Some(parent) => path = parent,
                None => return self.origin.line,
            }
        }
    }

    /// The place of a field, as errors name it.
    pub(super) fn place(&self, field: &str) -> String {
        format!("{}:{}: document {}", self.origin.file, self.line(field), self.origin.number)
    }

    /// Whether this is a DefragPolicy of any version.
    pub(super) fn is_policy(&self) -> bool {
        self.kind().1 == Some("DefragPolicy")
    }

    /// Its apiVersion and kind.
    pub(super) fn kind(&self) -> (Option<&str>, Option<&str>) {
        let text = |key| self.value.get(key).and_then(Value::as_str);
        (text("apiVersion"), text("kind"))
    }

    /// The object of a type; the error says which field is of another.
    pub(super) fn typed<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_path_to_error::deserialize(&self.value).map_err(|error| {
            let path = error.path().iter().fold(String::new(), |path, segment| match segment {
                Segment::Seq { index } => format!("{path}[{index}]"),
                Segment::Map { key } => join(&path, key),
                Segment::Enum { .. } | Segment::Unknown => path,
            });
            let written = self.written.get(&path).map(AsRef::as_ref);
            let text = remedy::of(&self.value, &path, written);
            let why = words::of(&error.inner().to_string(), written, text.as_deref());
            Trouble::at(self.file(), self.line(&path), format!("document {}: {path}: {why}", self.origin.number))
        })
    }

    /// The StatefulSet that this is, if it is one.
    pub(super) fn statefulset(&self) -> anyhow::Result<Option<StatefulSet>> {
        match self.kind() {
            (Some("apps/v1"), Some("StatefulSet")) => {}
            (version, Some("StatefulSet")) => {
                let version = version.map_or_else(|| "unknown".to_owned(), |version| format!("\"{version}\""));
                return Err(self.origin.trouble(format!(
                    "a StatefulSet of apiVersion {version}; the only version that Kubernetes serves is apps/v1"
                )));
            }
            (_, Some(kind)) if kind.eq_ignore_ascii_case("StatefulSet") => {
                let kind = quoted(kind);
                return Err(self.origin.trouble(format!("Kubernetes has no kind {kind}; write kind: StatefulSet")));
            }
            _ => return Ok(None),
        }
        if template::is_in(&self.value) {
            return Err(self.origin.trouble(template::ADVICE));
        }
        let object: StatefulSet = self.typed()?;
        if object.name().is_empty() {
            return Err(self.origin.trouble("the StatefulSet has no metadata.name"));
        }
        Ok(Some(object))
    }
}

/// Folders replaced with the manifests in them.
fn expand(paths: &[PathBuf], recursive: bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(folder::manifests(path, recursive)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn load(path: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let read = |reader: &mut dyn Read| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        reader.take(LIMIT + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    let bytes = if path == Path::new("-") {
        read(&mut io::stdin().lock())
    } else {
        File::open(path).and_then(|mut file| read(&mut file))
    };
    let bytes = bytes.map_err(|error| Trouble::of_file(&name, format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > LIMIT {
        return Err(Trouble::of_file(&name, format!("{name} is larger than {} MiB", LIMIT >> 20)));
    }
    Ok((name, bytes))
}

/// The objects of one input. What the API server would not read is an error that names file, document and line.
fn parse(name: &str, bytes: &[u8]) -> anyhow::Result<Vec<Document>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    if !utf16 && let Err(error) = std::str::from_utf8(bytes) {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        return Err(Trouble::at(name, 1 + breaks(before), "not UTF-8"));
    }
    let roots = match yaml(bytes, 0) {
        Ok(roots) => roots,
        // YAML holds JSON, but not a stream of objects without separators.
        Err(broken) => match json(bytes) {
            Some(Ok(roots)) => roots,
            Some(Err(broken)) if Path::new(name).extension().is_some_and(|ending| ending == "json") => {
                return Err(broken.in_file(name));
            }
            _ if std::str::from_utf8(bytes).is_ok_and(template::is_one) => {
                return Err(Broken { message: template::ADVICE.to_owned(), ..broken }.in_file(name));
            }
            _ => return Err(broken.in_file(name)),
        },
    };
    let mut documents = Vec::new();
    for (index, Root { before, line, node: root }) in roots.into_iter().enumerate() {
        let origin = Origin { file: name.to_owned(), number: index + 1, line, before };
        if !matches!(root, Node::Mapping(_)) {
            return Err(origin.trouble("not a Kubernetes object: a mapping with apiVersion and kind is expected"));
        }
        if root.text("kind").is_none() {
            output::note(&format!("{origin}: without a kind, so not a Kubernetes object; skipped"));
            continue;
        }
        unroll(origin, root, &mut documents);
    }
    Ok(documents)
}

/// Why an input cannot be read.
struct Broken {
    line: u64,
    number: usize,
    message: String,
}

impl Broken {
    fn in_file(&self, name: &str) -> anyhow::Error {
        Trouble::at(name, self.line, format!("document {}: {}", self.number, self.message))
    }
}

/// A document of an input.
struct Root {
    /// The lines of the file that the parser did not see.
    before: u64,
    /// Where it begins in the file.
    line: u64,
    node: Node,
}

fn yaml(mut bytes: &[u8], before: u64) -> Result<Vec<Root>, Broken> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 8_000_000,
            max_nodes: 4_000_000,
            max_documents: 100_000,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        emit_comments: false,
        // As Kubernetes reads `defaultMode: 0440`.
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let text: Vec<&str> = std::str::from_utf8(bytes).map(|text| text.split('\n').collect()).unwrap_or_default();
    let mut roots = Vec::new();
    for root in serde_saphyr::read_with_options::<_, Placed>(&mut bytes, options) {
        let root = root.map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            let written = usize::try_from(line - 1).ok().and_then(|index| text.get(index));
            let message = yaml_words::of(&error, written.copied().unwrap_or_default());
            Broken { line: before + line, number: roots.len() + 1, message }
        })?;
        let (line, mut node) = (before + root.referenced.line(), root.value);
        node.find_written(&text);
        roots.push(Root { before, line, node });
    }
    Ok(roots)
}

/// A stream of JSON objects; nothing where the input does not look like one.
fn json(bytes: &[u8]) -> Option<Result<Vec<Root>, Broken>> {
    bytes.trim_ascii_start().starts_with(b"{").then(|| {
        let mut roots = Vec::new();
        let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
        let (mut lines, mut seen) = (0, 0);
        while let Some(object) = stream.next() {
            let number = roots.len() + 1;
            let object =
                object.map_err(|error| Broken { line: error.line() as u64, number, message: error.to_string() })?;
            let end = stream.byte_offset();
            let start = end.saturating_sub(object.get().len());
            lines += breaks(bytes.get(seen..start).unwrap_or_default());
            roots.extend(yaml(object.get().as_bytes(), lines).map_err(|broken| Broken { number, ..broken })?);
            lines += breaks(bytes.get(start..end).unwrap_or_default());
            seen = end;
        }
        Ok(roots)
    })
}

fn breaks(bytes: &[u8]) -> u64 {
    bytes.split(|byte| *byte == b'\n').skip(1).count() as u64
}

/// Adds the object, or for a list each of its items.
fn unroll(origin: Origin, mut node: Node, documents: &mut Vec<Document>) {
    let list_of = node.text("kind").and_then(|kind| kind.strip_suffix("List")).map(str::to_owned);
    if let (Some(kind), Node::Mapping(entries)) = (list_of, &mut node)
        && let Some(position) =
            entries.iter().position(|(key, item)| key.value == "items" && matches!(item.value, Node::List(_)))
    {
        let (_, items) = entries.swap_remove(position);
        let version = node.text("apiVersion").map(str::to_owned);
        let Node::List(items) = items.value else { return };
        for item in items {
            let mut item_node = item.value;
            // The API server leaves these out of the items of a typed list.
            if !kind.is_empty() {
                item_node.supply("kind", &kind);
                item_node.supply("apiVersion", version.as_deref().unwrap_or_default());
            }
            let line = origin.before + item.referenced.line();
            unroll(Origin { line, ..origin.clone() }, item_node, documents);
        }
        return;
    }
    let (mut lines, mut written) = (BTreeMap::new(), BTreeMap::new());
    let value = node.into_value("", &mut |path: String, line, text| {
        if let Some(text) = text {
            written.insert(path.clone(), text);
        }
        if line > 0 {
            lines.insert(path, origin.before + line);
        }
    });
    documents.push(Document { value, origin, lines, written });
}

#[cfg(test)]
mod tests;
