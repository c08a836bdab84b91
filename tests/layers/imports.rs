//! The modules of a crate, and what its files import from each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

use super::source::{Token, closing, tokens};

/// One file imports another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    pub from: String,
    pub to: String,
    line: usize,
    path: String,
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} imports {} ({})", self.from, self.line, self.to, self.path)
    }
}

/// What was read; a file that imports another in several places counts once.
pub struct Crate {
    pub files: BTreeSet<String>,
    pub imports: Vec<Import>,
}

/// Reads the crate whose `lib.rs` and `main.rs` are in `src`.
pub fn read(src: &Path) -> Crate {
    read_as(src, "etcd_defrag_webhook")
}

/// Reads a crate that its binary knows as `name`.
pub fn read_as(src: &Path, name: &str) -> Crate {
    let mut reader = Reader { src, name, modules: Vec::new() };
    for root in ["lib.rs", "main.rs"] {
        reader.file(root, None);
    }
    let mut imports = BTreeMap::<(&str, &str), Import>::new();
    for (at, module) in reader.modules.iter().enumerate() {
        for Named { path, line, passed_on } in &module.named {
            if *passed_on && !path.last().is_some_and(|name| module.mentioned.contains(name)) {
                continue;
            }
            let Some(found) = reader.find(at, path, 0) else { continue };
            let (from, to) = (&*module.file, reader.file_of(found));
            let import = Import { from: from.to_owned(), to: to.to_owned(), line: *line, path: path.join("::") };
            let first = imports.entry((from, to)).or_insert_with(|| import.clone());
            *first = import.min(first.clone());
        }
    }
    imports.retain(|(from, to), _| from != to);
    let files = reader.modules.iter().map(|module| module.file.clone()).collect();
    Crate { files, imports: imports.into_values().collect() }
}

/// A module: a file or a part of one.
struct Module {
    file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names that `use` brings in, and what they stand for.
    uses: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    defined: BTreeSet<String>,
    /// The names in the code that is no `use`.
    mentioned: BTreeSet<String>,
    named: Vec<Named>,
}

/// A path that the code names.
struct Named {
    path: Vec<String>,
    line: usize,
    /// Named in a `pub use`.
    passed_on: bool,
}

/// Where a path leads.
#[derive(Clone, Copy)]
enum Found {
    Module(usize),
    /// Something that the module defines.
    In(usize),
}

struct Reader<'a> {
    src: &'a Path,
    name: &'a str,
    modules: Vec<Module>,
}

impl Reader<'_> {
    fn file(&mut self, file: &str, parent: Option<usize>) -> usize {
        let text = std::fs::read_to_string(self.src.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let module = self.module(file, parent);
        self.items(module, &tokens(&text));
        module
    }

    fn module(&mut self, file: &str, parent: Option<usize>) -> usize {
        self.modules.push(Module {
            file: file.to_owned(),
            parent,
            children: BTreeMap::new(),
            uses: BTreeMap::new(),
            globs: Vec::new(),
            defined: BTreeSet::new(),
            mentioned: BTreeSet::new(),
            named: Vec::new(),
        });
        self.modules.len() - 1
    }

    fn items(&mut self, module: usize, tokens: &[Token]) {
        let text = |at: usize| tokens.get(at).map_or("", |token: &Token| token.text.as_str());
        let (mut at, mut depth) = (0, 0_usize);
        while at < tokens.len() {
            match (text(at), text(at + 1), text(at + 2)) {
                ("pub", "(", _) => at = closing(tokens, at + 1),
                ("use", next, _) if next != "<" => {
                    let before = self.modules[module].named.len();
                    let end = self.used(module, tokens, at + 1, &[]);
                    if at.checked_sub(1).is_some_and(|before| ["pub", ")"].contains(&text(before))) {
                        self.modules[module].named[before..].iter_mut().for_each(|named| named.passed_on = true);
                    }
                    at = end;
                }
                ("mod", name, ";") => {
                    let file = self.child_file(module, name);
                    let child = self.file(&file, Some(module));
                    self.modules[module].children.insert(name.to_owned(), child);
                    at += 1;
                }
                ("mod", name, "{") => {
                    let end = closing(tokens, at + 2);
                    let file = self.modules[module].file.clone();
                    let child = self.module(&file, Some(module));
                    self.modules[module].children.insert(name.to_owned(), child);
                    self.items(child, &tokens[at + 3..end]);
                    at = end;
                }
                ("fn" | "struct" | "enum" | "const" | "static" | "type" | "trait", name, _) if depth == 0 => {
                    self.modules[module].defined.insert(name.to_owned());
                    at += 1;
                }
                ("{", ..) => depth += 1,
                ("}", ..) => depth = depth.saturating_sub(1),
                (first, "::", _) if is_name(first) => {
                    self.modules[module].mentioned.insert(first.to_owned());
                    let mut path = vec![first.to_owned()];
                    let line = tokens[at].line;
                    while text(at + 1) == "::" && is_name(text(at + 2)) {
                        path.push(text(at + 2).to_owned());
                        at += 2;
                    }
                    self.modules[module].named.push(Named { path, line, passed_on: false });
                }
                (name, ..) if is_name(name) => {
                    self.modules[module].mentioned.insert(name.to_owned());
                }
                _ => {}
            }
            at += 1;
        }
    }

    fn child_file(&self, module: usize, name: &str) -> String {
        let file = self.modules[module].file.as_str();
        let folder = match file.rsplit_once('/') {
            _ if ["lib.rs", "main.rs"].contains(&file) => String::new(),
            Some((folder, "mod.rs")) => format!("{folder}/"),
            _ => format!("{}/", file.trim_end_matches(".rs")),
        };
        let flat = format!("{folder}{name}.rs");
        if self.src.join(&flat).exists() { flat } else { format!("{folder}{name}/mod.rs") }
    }

    /// Reads one branch of a `use` from `at` on, below `prefix`; says where it ends.
    fn used(&mut self, module: usize, tokens: &[Token], mut at: usize, prefix: &[String]) -> usize {
        let mut path = prefix.to_vec();
        let mut alias = None;
        let line = tokens[at].line;
        while let Some(token) = tokens.get(at) {
            match token.text.as_str() {
                "{" => {
                    let end = closing(tokens, at);
                    while at < end {
                        at = self.used(module, tokens, at + 1, &path);
                    }
                    return end + 1;
                }
                ";" | "," | "}" => break,
                "as" => {
                    alias = tokens.get(at + 1).map(|token| token.text.clone());
                    at += 1;
                }
                "::" => {}
                name => path.push(name.to_owned()),
            }
            at += 1;
        }
        self.leaf(module, path, alias, line, prefix.len());
        at
    }

    fn leaf(&mut self, module: usize, mut path: Vec<String>, alias: Option<String>, line: usize, prefix: usize) {
        if path.len() == prefix {
            return;
        }
        let module = &mut self.modules[module];
        if path.last().is_some_and(|last| last == "*") {
            path.pop();
            module.globs.push(path.clone());
        } else {
            if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            let name = alias.or_else(|| path.last().cloned()).unwrap_or_default();
            module.uses.insert(name, path.clone());
        }
        module.named.push(Named { path, line, passed_on: false });
    }

    fn file_of(&self, found: Found) -> &str {
        let (Found::Module(module) | Found::In(module)) = found;
        &self.modules[module].file
    }

    /// Where `path` leads, written in module `at`; `None` for what is not of this crate.
    fn find(&self, at: usize, path: &[String], depth: usize) -> Option<Found> {
        let (first, rest) = path.split_first()?;
        // A name that stands for itself, as in `use name;`, leads nowhere.
        if depth > 16 {
            return None;
        }
        let mut found = match first.as_str() {
            "crate" => Found::Module(self.root(at)),
            name if name == self.name => Found::Module(0),
            "self" => Found::Module(at),
            "super" => Found::Module(self.modules[at].parent?),
            name => self.member(at, name, depth)?,
        };
        for segment in rest {
            let Found::Module(module) = found else { break };
            found = match segment.as_str() {
                "super" => Found::Module(self.modules[module].parent?),
                name => self.member(module, name, depth).unwrap_or(Found::In(module)),
            };
        }
        Some(found)
    }

    fn member(&self, module: usize, name: &str, depth: usize) -> Option<Found> {
        let Module { children, uses, globs, defined, .. } = &self.modules[module];
        if let Some(child) = children.get(name) {
            return Some(Found::Module(*child));
        }
        if let Some(path) = uses.get(name).filter(|path| path.as_slice() != [name]) {
            return self.find(module, path, depth + 1);
        }
        if defined.contains(name) {
            return Some(Found::In(module));
        }
        let globs = globs.iter().filter_map(|glob| self.find(module, glob, depth + 1));
        let mut modules = globs.filter_map(|found| if let Found::Module(module) = found { Some(module) } else { None });
        modules.find_map(|glob| self.member(glob, name, depth + 1))
    }

    fn root(&self, mut module: usize) -> usize {
        while let Some(parent) = self.modules[module].parent {
            module = parent;
        }
        module
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
