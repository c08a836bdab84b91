//! One input, read a document at a time.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::value::RawValue;

use super::{
    document::{Kept, Origin, Shared},
    template,
    tree::{Node, Placed, Places},
    trouble::Trouble,
    yaml_words,
};
use crate::cli::{in_order::in_order, output};

/// The mark that a text in UTF-8 may begin with.
const MARK: &[u8] = b"\xef\xbb\xbf";
/// How much of an input is read at a time, in bytes, up to the next separator: a few documents.
const MUCH: usize = 16 << 10;
/// The largest input, in bytes; a cluster's worth of StatefulSets is a tenth of it.
const LIMIT: u64 = 64 << 20;
/// The most that documents with anchors may be together once their aliases are replaced, as [`Node::bytes`] counts.
const MOST: usize = 256 << 20;

const NO_OBJECT: &str = "not a Kubernetes object: a mapping with apiVersion and kind is expected";
const NO_ITEMS: &str = "a List without objects: write them under items, each as an entry that begins with \"- \"";

/// The objects of a file, or of standard input.
pub(super) fn load(path: &Path) -> anyhow::Result<Vec<Kept>> {
    if path == Path::new("-") {
        return parse("stdin", io::stdin().lock());
    }
    let name = path.display().to_string();
    parse(&name, File::open(path).map_err(|error| unreadable(&name, &error))?)
}

fn unreadable(name: &str, error: &io::Error) -> anyhow::Error {
    Trouble::of_file(name, format!("cannot read {name}: {error}"))
}

/// The objects of one input. What the API server would not read is an error that names file, document and line.
pub(super) fn parse(name: &str, input: impl Read) -> anyhow::Result<Vec<Kept>> {
    // Of what claims to be JSON, errors are those of JSON, which has no separator of documents.
    let is_json = Path::new(name).extension().is_some_and(|ending| ending == "json");
    let mut pieces = Pieces { input: BufReader::new(input.take(LIMIT + 1)), begun: Vec::new(), are_whole: is_json };
    let file: Arc<str> = name.into();
    let (mut lines, mut is_first) = (0, true);
    let next = || {
        let mut piece = pieces.next().map_err(|error| unreadable(name, &error))?;
        if std::mem::take(&mut is_first) && piece.starts_with(MARK) {
            piece.drain(..MARK.len());
        }
        let before = lines;
        lines += breaks(&piece);
        Ok(Some((piece, before)).filter(|(piece, _)| !piece.is_empty()))
    };
    // Behind a part that cannot be read, no other one is read by itself.
    let is_over = AtomicBool::new(false);
    let read = |(piece, before): (Vec<u8>, usize)| {
        let part = if is_over.load(Ordering::Relaxed) { None } else { Part::read(&file, &piece, before) };
        is_over.fetch_or(part.is_none(), Ordering::Relaxed);
        (piece, before, part)
    };
    let mut objects = Objects::default();
    let mut rest = None;
    in_order(next, read, |(piece, before, part)| {
        match part {
            Some(part) if rest.is_none() => objects.add(part),
            // What an error says depends on what is behind it, and has the line in the file.
            _ => rest.get_or_insert_with(|| vec![b'\n'; before]).extend(piece),
        }
        Ok(())
    })?;
    pieces.check_size(name)?;
    if let Some(rest) = rest {
        let part = objects.read_rest(&file, &rest)?;
        objects.add(part);
    }
    objects.finish()
}

/// The parts of an input, each with some of its documents; what is no stream of YAML is one part.
struct Pieces<R> {
    input: BufReader<io::Take<R>>,
    /// The separator that the next part begins with.
    begun: Vec<u8>,
    are_whole: bool,
}

impl<R: Read> Pieces<R> {
    /// The next part; an empty one at the end.
    fn next(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = std::mem::take(&mut self.begun);
        if self.are_whole {
            self.input.read_to_end(&mut piece)?;
            return Ok(piece);
        }
        loop {
            let start = piece.len();
            if self.input.read_until(b'\n', &mut piece)? == 0 {
                return Ok(piece);
            }
            if start >= MUCH && piece.get(start..).is_some_and(is_separator) {
                self.begun = piece.split_off(start);
                return Ok(piece);
            }
        }
    }

    fn check_size(&self, name: &str) -> anyhow::Result<()> {
        if self.input.get_ref().limit() > 0 {
            return Ok(());
        }
        Err(Trouble::of_file(name, format!("{name} is larger than {} MiB", LIMIT >> 20)))
    }
}

/// Whether a line begins a document wherever it is: nothing of YAML goes on behind it.
fn is_separator(line: &[u8]) -> bool {
    line.strip_prefix(b"---").is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Whether an ampersand is where a value may begin. Shells have others: `a && b`, `2>&1`, `a &`.
pub(super) fn may_have_anchors(text: &[u8]) -> bool {
    let begins = |before: &u8| before.is_ascii_whitespace() || b"[{,:".contains(before);
    let is_one = |(at, byte): (usize, &u8)| {
        let (before, behind) = (at.checked_sub(1).and_then(|at| text.get(at)), text.get(at + 1));
        *byte == b'&'
            && before.is_none_or(begins)
            && behind.is_some_and(|next| !next.is_ascii_whitespace() && *next != b'&')
    };
    text.iter().enumerate().any(is_one)
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
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
    }
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

/// The objects of an input so far.
#[derive(Default)]
struct Objects {
    /// How many documents there were.
    documents: usize,
    kept: Vec<Kept>,
    shared: Shared,
    notes: Vec<String>,
    /// What is wrong with the first document that is no object; an error in the YAML behind it is said instead.
    trouble: Option<anyhow::Error>,
    is_template: bool,
}

impl Objects {
    fn add(&mut self, part: Part) {
        for content in part.content {
            if self.trouble.is_some() {
                break;
            }
            match content {
                Content::Object(mut kept) => {
                    kept.share(self.documents, &mut self.shared);
                    self.kept.push(kept);
                }
                Content::NoKind(origin) => {
                    let origin = origin.behind(self.documents);
                    self.notes.push(format!("{origin}: without a kind, so not a Kubernetes object; skipped"));
                }
                Content::Wrong(origin, why) => self.trouble = Some(origin.behind(self.documents).trouble(why)),
            }
        }
        self.documents += part.documents;
        self.is_template |= part.is_template;
    }

    fn finish(self) -> anyhow::Result<Vec<Kept>> {
        for note in self.notes {
            output::note(&note);
        }
        self.trouble.map_or(Ok(self.kept), Err)
    }

    /// Reads the rest of an input, of which something is not as most are. Its lines are counted from the first of the input.
    fn read_rest(&self, file: &Arc<str>, rest: &[u8]) -> anyhow::Result<Part> {
        let utf16 = rest.starts_with(b"\xff\xfe") || rest.starts_with(b"\xfe\xff");
        if !utf16 && let Err(error) = std::str::from_utf8(rest) {
            let intact = rest.get(..error.valid_up_to()).unwrap_or_default();
            return Err(Trouble::at(file, 1 + breaks(intact) as u64, "not UTF-8"));
        }
        let mut part = Part::of(file);
        let Err(mut broken) = part.add_yaml(rest, 0) else { return Ok(part) };
        broken.number += self.documents;
        // YAML holds JSON, but not a stream of objects without separators.
        if self.documents == 0 && rest.trim_ascii_start().starts_with(b"{") {
            part = Part::of(file);
            match part.add_json(rest) {
                Ok(()) => return Ok(part),
                Err(broken) if Path::new(&**file).extension().is_some_and(|ending| ending == "json") => {
                    return Err(broken.in_file(file));
                }
                Err(_) => {}
            }
        }
        if self.is_template || std::str::from_utf8(rest).is_ok_and(template::is_one) {
            template::ADVICE.clone_into(&mut broken.message);
        }
        Err(broken.in_file(file))
    }
}

/// What a part of an input has. Documents are counted from its first one.
struct Part {
    file: Arc<str>,
    documents: usize,
    content: Vec<Content>,
    /// Whether it is a template of Helm.
    is_template: bool,
}

enum Content {
    Object(Kept),
    NoKind(Origin),
    /// What is no object, and why.
    Wrong(Origin, &'static str),
}

impl Part {
    fn of(file: &Arc<str>) -> Self {
        Self { file: Arc::clone(file), documents: 0, content: Vec::new(), is_template: false }
    }

    /// Reads a part that is as most are: in UTF-8, without an error, and without anchors, as what their aliases make of an input is limited
    /// for all of it. It begins behind so many lines.
    fn read(file: &Arc<str>, piece: &[u8], before: usize) -> Option<Self> {
        let mut part = Self::of(file);
        (!may_have_anchors(piece) && part.add_quickly(piece, before)).then_some(part)
    }

    fn add_quickly(&mut self, piece: &[u8], before: usize) -> bool {
        let Ok(text) = std::str::from_utf8(piece) else { return false };
        let Ok(roots) = serde_saphyr::from_multiple_with_options(text, options()) else { return false };
        let lines: Vec<&str> = text.split('\n').collect();
        for root in roots {
            self.add(root, before, &lines);
        }
        self.is_template |= template::is_one(text);
        true
    }

    /// Adds a document of `text`.
    fn add(&mut self, Placed { line, value: root }: Placed, before: usize, text: &[&str]) {
        self.documents += 1;
        let origin =
            Origin { file: Arc::clone(&self.file), number: self.documents, line: before as u64 + u64::from(line) };
        self.unroll(origin, line, root, text);
    }

    /// Adds the object, or for a list each of its items. `line` is where it begins in `text`.
    fn unroll(&mut self, origin: Origin, line: u32, mut node: Node, text: &[&str]) {
        if !matches!(node, Node::Mapping(_)) {
            return self.content.push(Content::Wrong(origin, NO_OBJECT));
        }
        let Some(kind) = node.text("kind") else { return self.content.push(Content::NoKind(origin)) };
        let list_of = kind.strip_suffix("List").map(str::to_owned);
        if let (Some(kind), Node::Mapping(entries)) = (&list_of, &mut node)
            && let Some(position) =
                entries.iter().position(|(key, item)| key == "items" && matches!(item.value, Node::List(_)))
        {
            let (_, items) = entries.swap_remove(position);
            let version = node.text("apiVersion").map(str::to_owned);
            let Node::List(items) = items.value else { return };
            let before = origin.line - u64::from(line);
            for Placed { line, value: mut item } in items {
                // The API server leaves these out of the items of a typed list.
                if !kind.is_empty() {
                    item.supply("kind", kind);
                    item.supply("apiVersion", version.as_deref().unwrap_or_default());
                }
                self.unroll(Origin { line: before + u64::from(line), ..origin.clone() }, line, item, text);
            }
            return;
        }
        if list_of.is_some_and(|kind| kind.is_empty()) {
            return self.content.push(Content::Wrong(origin, NO_ITEMS));
        }
        let mut places = Places::from_line(line);
        let value = node.into_value(text, &mut places);
        self.content.push(Content::Object(Kept::of(value, origin, places)));
    }

    fn add_yaml(&mut self, mut bytes: &[u8], before: usize) -> Result<(), Broken> {
        let text: Vec<&str> = std::str::from_utf8(bytes).map(|text| text.split('\n').collect()).unwrap_or_default();
        let mut total = 0;
        for root in serde_saphyr::read_with_options::<_, Placed>(&mut bytes, options()) {
            let root = root.map_err(|error| {
                let line = error.location().map_or(1, |location| location.line());
                let written = usize::try_from(line - 1).ok().and_then(|index| text.get(index));
                let message = yaml_words::of(&error, written.copied().unwrap_or_default());
                Broken { line: before as u64 + line, number: self.documents + 1, message }
            })?;
            let line = before as u64 + u64::from(root.line);
            total += root.value.bytes();
            self.add(root, before, &text);
            if total > MOST {
                let message = format!("with its aliases replaced, the input is larger than {} MiB", MOST >> 20);
                return Err(Broken { line, number: self.documents, message });
            }
        }
        Ok(())
    }

    /// Adds a stream of JSON objects.
    fn add_json(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
        let (mut lines, mut seen) = (0, 0);
        while let Some(object) = stream.next() {
            let number = self.documents + 1;
            let object =
                object.map_err(|error| Broken { line: error.line() as u64, number, message: error.to_string() })?;
            let end = stream.byte_offset();
            let start = end.saturating_sub(object.get().len());
            lines += breaks(bytes.get(seen..start).unwrap_or_default());
            let object = object.get().as_bytes();
            if !self.add_quickly(object, lines) {
                self.add_yaml(object, lines).map_err(|broken| Broken { number, ..broken })?;
            }
            lines += breaks(bytes.get(start..end).unwrap_or_default());
            seen = end;
        }
        Ok(())
    }
}

fn breaks(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').skip(1).count()
}
