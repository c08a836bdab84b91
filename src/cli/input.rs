//! Manifests from files, folders and standard input.

mod tree;
mod words;

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};
use serde_path_to_error::Segment;

pub(super) use self::tree::join;
use self::tree::{Node, Placed};
use super::output;
use crate::defrag::statefulset::StatefulSet;

/// The largest input, in bytes; a cluster's worth of StatefulSets is a tenth of it.
const LIMIT: u64 = 64 << 20;

/// Which manifests to read.
#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// Manifests in YAML or JSON; a folder stands for its *.yaml, *.yml and *.json files, "-" for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// The namespace of manifests that name none
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
}

/// One object of the input.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The object, whole.
    pub(super) value: Value,
    origin: Origin,
    lines: BTreeMap<String, u64>,
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

impl Files {
    /// Reads everything, in the order it was asked for, lists unrolled.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Document>> {
        read(&self.files)
    }

    /// Reads what can be read, and says what cannot.
    pub(super) fn read_each(&self) -> (Vec<Document>, Vec<anyhow::Error>) {
        let (mut documents, mut troubles) = (Vec::new(), Vec::new());
        for path in &self.files {
            match expand(std::slice::from_ref(path)) {
                Ok(files) => {
                    for file in files {
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
        &self.namespace
    }

    /// Whether standard input is one of the files.
    pub(super) fn include_stdin(&self) -> bool {
        self.files.iter().any(|file| file == Path::new("-"))
    }

    /// The StatefulSet that a document is, if it is one.
    pub(super) fn statefulset(&self, document: &Document) -> anyhow::Result<Option<StatefulSet>> {
        let Some(mut object) = document.statefulset()? else { return Ok(None) };
        object.metadata.namespace.get_or_insert_with(|| self.namespace.clone());
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
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for path in expand(paths)? {
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
            anyhow::anyhow!("{}: {path}: {}", self.place(&path), words::of(&error.inner().to_string()))
        })
    }

    /// The StatefulSet that this is, if it is one.
    pub(super) fn statefulset(&self) -> anyhow::Result<Option<StatefulSet>> {
        match self.kind() {
            (Some("apps/v1"), Some("StatefulSet")) => {}
            (version, Some("StatefulSet")) => bail!(
                "{}: a StatefulSet of apiVersion {}; the only version that Kubernetes serves is apps/v1",
                self.origin,
                version.map_or_else(|| "unknown".to_owned(), |version| format!("\"{version}\""))
            ),
            _ => return Ok(None),
        }
        let object: StatefulSet = self.typed()?;
        if object.name().is_empty() {
            bail!("{}: the StatefulSet has no metadata.name", self.origin);
        }
        Ok(Some(object))
    }
}

/// Folders replaced with the manifests right inside them, sorted by name, as kubectl does it.
fn expand(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let cannot = || format!("cannot list {}", path.display());
        let mut inside = Vec::new();
        for entry in path.read_dir().with_context(cannot)? {
            let entry = entry.with_context(cannot)?.path();
            let manifest = entry.extension().is_some_and(|ext| ext == "yaml" || ext == "yml" || ext == "json");
            if manifest && entry.is_file() {
                inside.push(entry);
            }
        }
        if inside.is_empty() {
            bail!("{} holds no *.yaml, *.yml or *.json file", path.display());
        }
        inside.sort();
        files.extend(inside);
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
    let bytes = bytes.with_context(|| format!("cannot read {name}"))?;
    if bytes.len() as u64 > LIMIT {
        bail!("{name} is larger than {} MiB", LIMIT >> 20);
    }
    Ok((name, bytes))
}

/// The objects of one input. What the API server would not read is an error that names file, document and line.
fn parse(name: &str, bytes: &[u8]) -> anyhow::Result<Vec<Document>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    if !utf16 && let Err(error) = std::str::from_utf8(bytes) {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        bail!("{name}:{}: not UTF-8", 1 + breaks(before));
    }
    let roots = match yaml(bytes, 0) {
        Ok(roots) => roots,
        // YAML holds JSON, but not a stream of objects without separators.
        Err(broken) => match json(bytes) {
            Some(Ok(roots)) => roots,
            Some(Err(broken)) if Path::new(name).extension().is_some_and(|ending| ending == "json") => {
                bail!("{name}:{broken}")
            }
            _ => bail!("{name}:{broken}"),
        },
    };
    let mut documents = Vec::new();
    for (index, Root { before, line, node: root }) in roots.into_iter().enumerate() {
        let origin = Origin { file: name.to_owned(), number: index + 1, line, before };
        if !matches!(root, Node::Mapping(_)) {
            bail!("{origin}: not a Kubernetes object: a mapping with apiVersion and kind is expected");
        }
        if root.text("kind").is_none() {
            output::note(&format!("{origin}: without a kind, so not a Kubernetes object; left out"));
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

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: document {}: {}", self.line, self.number, self.message)
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
    let mut roots = Vec::new();
    for root in serde_saphyr::read_with_options::<_, Placed>(&mut bytes, options) {
        let root = root.map_err(|error| Broken {
            line: before + error.location().map_or(1, |location| location.line()),
            number: roots.len() + 1,
            message: error.to_string(),
        })?;
        roots.push(Root { before, line: before + root.referenced.line(), node: root.value });
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
    let mut lines = BTreeMap::new();
    let value = node.into_value("", &mut |path, line| {
        if line > 0 {
            lines.insert(path, origin.before + line);
        }
    });
    documents.push(Document { value, origin, lines });
}

#[cfg(test)]
mod tests;
