//! The variables of a script, as far as they are certain, and the words that they expand to.

mod child;
mod texts;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    arithmetic,
    later::Later,
    lex::{GIVEN, Piece, Word, is_position},
    several::{BLANKS, alternatives, one_of, unseen},
};
use crate::defrag::etcd::{
    expand::{Content, Environment, Exported, Known, OF_ETCD, Variable},
    marks::{ADDRESS, ONE_OF, POD, UNKNOWN, VALUE},
    setting::Setting,
};

/// The most characters that the texts may add up to of which variables are one.
const BUDGET: usize = 1 << 16;
/// Variables that a shell sets itself, or that are read-only.
const KEPT: [&str; 16] = [
    "UID",
    "EUID",
    "PPID",
    "BASHOPTS",
    "SHELLOPTS",
    "BASH_VERSINFO",
    "RANDOM",
    "SRANDOM",
    "SECONDS",
    "LINENO",
    "EPOCHSECONDS",
    "EPOCHREALTIME",
    "BASHPID",
    "FUNCNAME",
    "GROUPS",
    "_",
];

/// The variables of a shell.
pub(super) struct Variables<'a> {
    environment: Environment,
    /// The place of the script.
    field: &'a str,
    arrays: BTreeMap<String, Array>,
    /// Those that are set somewhere in a condition, a loop or a function.
    unsure: BTreeSet<String>,
    /// Whether each variable that is set from here on is given to programs (`set -a`).
    pub(super) exports_all: Exported,
    /// Whether anything may have been set by what is not read.
    pub(super) is_wild: bool,
    scopes: Vec<Scope>,
    undo: Vec<Undo>,
    /// The variables of etcd that were set, and whether it may be all of them, since somebody asked.
    changed: BTreeSet<String>,
    everything_changed: bool,
    /// Those that are read-only.
    locked: BTreeSet<String>,
    /// The program, as the script receives it.
    zero: String,
    /// Where each variable is set last.
    later: Later,
    /// Which part of the script is read.
    pub(super) now: usize,
    /// How many loops and functions surround it, and how many functions.
    pub(super) repeated: usize,
    pub(super) functions: usize,
    budget: usize,
}

/// The words in an array, and how many characters they have.
#[derive(Clone)]
struct Array {
    items: Vec<String>,
    length: usize,
}

/// A shell within the shell.
struct Scope {
    undo: usize,
    exports_all: Exported,
}

enum Undo {
    Variable(String, Option<Variable>),
    Array(String, Option<Array>),
    All(Known, BTreeMap<String, Array>, bool),
}

impl<'a> Variables<'a> {
    pub(super) fn of(environment: Environment, field: &'a str, given: Vec<String>, later: Later) -> Self {
        let mut given = given.into_iter();
        let zero = given.next().unwrap_or_default();
        let items: Vec<String> = given.collect();
        let arrays = BTreeMap::from([(GIVEN.to_owned(), Array::of(items))]);
        Self {
            environment,
            field,
            arrays,
            unsure: BTreeSet::new(),
            exports_all: Exported::No,
            is_wild: false,
            scopes: Vec::new(),
            undo: Vec::new(),
            changed: BTreeSet::new(),
            everything_changed: false,
            locked: BTreeSet::new(),
            zero,
            later,
            now: 0,
            repeated: 0,
            functions: 0,
            budget: BUDGET,
        }
    }

    /// A setting of the script.
    pub(super) fn setting(&self, name: &str, value: String) -> Setting {
        Setting { value, field: self.field.to_owned(), origin: name.to_owned(), by_script: true }
    }

    fn put(&mut self, name: &str, variable: Option<Variable>) {
        let before = self.environment.replace(name, variable);
        self.note(name);
        if !self.scopes.is_empty() {
            self.undo.push(Undo::Variable(name.to_owned(), before));
        }
    }

    fn note(&mut self, name: &str) {
        if name.starts_with(OF_ETCD) {
            self.changed.insert(name.to_owned());
        }
    }

    fn put_array(&mut self, name: &str, array: Option<Array>) {
        let before = match array {
            Some(array) => self.arrays.insert(name.to_owned(), array),
            None => self.arrays.remove(name),
        };
        if !self.scopes.is_empty() {
            self.undo.push(Undo::Array(name.to_owned(), before));
        }
    }

    /// Whether what is done to a variable holds from here on: it is `certain` here, and done nowhere else in a condition.
    fn settles(&mut self, name: &str, certain: bool) -> bool {
        let certain = certain && !self.locked.contains(name) && !KEPT.contains(&name);
        if !certain {
            self.unsure.insert(name.to_owned());
        }
        certain && !self.unsure.contains(name)
    }

    /// Makes the value of a variable unknown that is set in a loop, wherever it is read.
    pub(super) fn doubt(&mut self, name: &str) {
        self.unsure.insert(name.to_owned());
        if name == GIVEN {
            return self.set_array(name, vec![UNKNOWN.to_string()], false);
        }
        let before = self.texts_before(name);
        self.put_text(name, UNKNOWN.to_string(), before);
    }

    /// Makes what is set in a variable from here on unknown, since nothing but its value of now can be in it.
    pub(super) fn lock(&mut self, name: &str) {
        self.locked.insert(name.to_owned());
    }

    pub(super) fn set(&mut self, name: &str, value: String, certain: bool) {
        self.set_one_of(name, value, Vec::new(), certain);
    }

    /// Sets a variable to a value, of which these texts are all that it can be.
    fn set_one_of(&mut self, name: &str, value: String, texts: Vec<String>, certain: bool) {
        if self.settles(name, certain) {
            return self.put_text(name, value, texts);
        }
        let mut all = self.texts_before(name);
        all.extend(if texts.is_empty() { vec![value] } else { texts });
        let (value, texts) = self.either(all);
        self.put_text(name, value, texts);
    }

    fn put_text(&mut self, name: &str, value: String, one_of: Vec<String>) {
        let unseen = if self.environment.is_open() { Exported::Maybe } else { Exported::No };
        let before = self.environment.variable(name).map_or(unseen, |variable| variable.exported);
        let exported = before.or(self.exports_all);
        self.put(name, Some(Variable { setting: Some(self.setting(name, value)), exported, one_of }));
        if self.arrays.contains_key(name) {
            self.put_array(name, None);
        }
    }

    /// Sets a variable to several words.
    pub(super) fn set_array(&mut self, name: &str, items: Vec<String>, certain: bool) {
        let items = if self.settles(name, certain) { items } else { vec![self.either_items(name, &items)] };
        // No program is given an array.
        if name != GIVEN {
            let first = items.first().filter(|item| !item.starts_with(ONE_OF)).cloned();
            let setting = Some(self.setting(name, first.unwrap_or_else(|| UNKNOWN.to_string())));
            self.put(name, Some(Variable { setting, exported: Exported::No, one_of: Vec::new() }));
        }
        self.put_array(name, Some(Array::of(items)));
    }

    pub(super) fn export(&mut self, name: &str, exports: bool, certain: bool) {
        let before = self.environment.variable(name).cloned();
        let setting = match &before {
            Some(variable) => variable.setting.clone(),
            None if self.environment.is_open() => Some(self.setting(name, UNKNOWN.to_string())),
            None => None,
        };
        let certainly = if exports { Exported::Yes } else { Exported::No };
        let same = before.as_ref().is_some_and(|variable| variable.exported == certainly);
        let exported = if certain || same { certainly } else { Exported::Maybe };
        let one_of = before.map(|variable| variable.one_of).unwrap_or_default();
        self.put(name, Some(Variable { setting, exported, one_of }));
    }

    pub(super) fn unset(&mut self, name: &str, certain: bool) {
        if self.settles(name, certain) {
            self.put(name, Some(Variable { setting: None, exported: Exported::No, one_of: Vec::new() }));
            self.put_array(name, None);
        } else {
            self.set(name, String::new(), false);
        }
    }

    /// What is not read may have set any variable.
    pub(super) fn forget(&mut self) {
        let known = self.environment.forget();
        let arrays = std::mem::take(&mut self.arrays);
        let was_wild = std::mem::replace(&mut self.is_wild, true);
        self.everything_changed = true;
        if !self.scopes.is_empty() {
            self.undo.push(Undo::All(known, arrays, was_wild));
        }
    }

    /// Begins a shell within the shell.
    pub(super) fn open(&mut self) {
        self.scopes.push(Scope { undo: self.undo.len(), exports_all: self.exports_all });
    }

    /// Ends it: nothing that it set stays.
    pub(super) fn close(&mut self) {
        let Some(scope) = self.scopes.pop() else { return };
        self.exports_all = scope.exports_all;
        while self.undo.len() > scope.undo {
            match self.undo.pop() {
                Some(Undo::Variable(name, variable)) => {
                    self.environment.replace(&name, variable);
                    self.note(&name);
                }
                Some(Undo::Array(name, Some(items))) => {
                    self.arrays.insert(name, items);
                }
                Some(Undo::Array(name, None)) => {
                    self.arrays.remove(&name);
                }
                Some(Undo::All(known, arrays, was_wild)) => {
                    self.environment.recover(known);
                    self.arrays = arrays;
                    self.is_wild = was_wild;
                    self.everything_changed = true;
                }
                None => break,
            }
        }
    }

    /// The variables of etcd that may have changed since this was asked last, and whether it may be all of them.
    pub(super) fn take_changes(&mut self) -> (BTreeSet<String>, bool) {
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.everything_changed))
    }

    /// The variables of etcd that a program is given.
    pub(super) fn given(&self) -> BTreeMap<String, Setting> {
        self.environment.given_with(OF_ETCD)
    }

    pub(super) fn given_one(&self, name: &str) -> Option<Setting> {
        self.environment.given(name)
    }

    /// Those that etcd's own clients are given.
    pub(super) fn given_to_clients(&self) -> BTreeMap<String, Setting> {
        self.environment.given_with("ETCDCTL_")
    }

    /// Where programs are looked for, where that is known.
    pub(super) fn path(&self) -> Option<&str> {
        self.environment.get("PATH").map(|setting| setting.value.as_str())
    }

    /// The value of a variable.
    pub(super) fn text(&mut self, name: &str) -> String {
        if is_position(name) {
            let word = self.position(name).filter(|word| self.environment.spend(word.len()));
            return word.unwrap_or_else(|| UNKNOWN.to_string());
        }
        if self.is_set_later(name) {
            return unseen(self.later.may_have_blanks(name));
        }
        self.environment.shell(name)
    }

    /// The value of a word that is not split.
    pub(super) fn value(&mut self, pieces: &[Piece], certain: bool) -> String {
        let mut value = String::new();
        for piece in pieces {
            self.read(piece, certain, &mut value);
        }
        value
    }

    fn read(&mut self, piece: &Piece, certain: bool, out: &mut String) {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Variable { name, .. } => out.push_str(&self.text(name)),
            Piece::Default { name, sign, or_empty, word, .. } => {
                let value = self.or_default(name, *sign, *or_empty, word, certain);
                out.push_str(&value);
            }
            Piece::Array { name, .. } => {
                let items = self.items(name);
                let seen = |item: &String| if item.starts_with(ONE_OF) { unseen(true) } else { item.clone() };
                out.push_str(&items.iter().map(seen).collect::<Vec<_>>().join(" "));
            }
            Piece::Number(text) => out.push_str(&self.number(text)),
            Piece::Hostname => out.push_str(&self.environment.hostname),
            Piece::Pod => out.push(POD),
            Piece::Address => out.push(ADDRESS),
            Piece::Unknown => out.push(UNKNOWN),
        }
    }

    fn or_default(&mut self, name: &str, sign: char, or_empty: bool, word: &[Piece], certain: bool) -> String {
        let content = self.content(name);
        let has_value = match content {
            Content::Text => true,
            Content::Empty => !or_empty,
            Content::Unset => false,
            Content::Unknown => {
                let value = unseen(self.value(word, certain).contains(BLANKS) || self.text(name).contains(BLANKS));
                if sign == '=' {
                    self.set(name, value.clone(), certain);
                }
                return value;
            }
        };
        match (sign, has_value) {
            ('+', true) | ('-', false) => self.value(word, certain),
            ('+', false) => String::new(),
            (_, true) => self.text(name),
            ('=', false) => {
                let value = self.value(word, certain);
                self.set(name, value.clone(), certain);
                value
            }
            // The script ends there.
            _ => UNKNOWN.to_string(),
        }
    }

    fn number(&mut self, text: &str) -> String {
        let assigned = arithmetic::assigned(text);
        for name in &assigned {
            self.set(name, UNKNOWN.to_string(), false);
        }
        let number = if assigned.is_empty() { arithmetic::evaluate(text, &mut |name| self.text(name)) } else { None };
        number.map_or_else(|| VALUE.to_string(), |number| number.to_string())
    }

    /// The words in an array; a variable that is none has one.
    pub(super) fn items(&mut self, name: &str) -> Vec<String> {
        if name == GIVEN && (self.functions > 0 || !self.arrays.contains_key(name)) || self.is_set_later(name) {
            return vec![UNKNOWN.to_string()];
        }
        match self.arrays.get(name) {
            Some(array) if self.environment.spend(array.length) => array.items.clone(),
            Some(_) => vec![UNKNOWN.to_string()],
            None if self.environment.content(name) == Content::Unset => Vec::new(),
            None => vec![self.text(name)],
        }
    }

    /// Adds the words that `word` becomes: what is not quoted is split at blanks.
    pub(super) fn fields(&mut self, word: &Word, certain: bool, out: &mut Vec<String>) {
        if word.braced {
            out.extend(alternatives(word));
            return;
        }
        let splits_otherwise = self.environment.get("IFS").is_some();
        if let ([piece @ (Piece::Variable { quoted: false, .. } | Piece::Default { quoted: false, .. })], false) =
            (word.pieces.as_slice(), splits_otherwise)
            && let Some(texts) = self.texts_of(piece, certain)
        {
            return match texts.as_slice() {
                [text] => out.extend(text.split(BLANKS).filter(|part| !part.is_empty()).map(str::to_owned)),
                texts => out.push(one_of(texts)),
            };
        }
        // An array without words leaves nothing, between quotation marks too.
        let is_array = matches!(word.pieces.as_slice(), [Piece::Array { .. }]);
        let mut field = (word.quoted && !is_array).then(String::new);
        for piece in &word.pieces {
            match piece {
                Piece::Variable { quoted: false, .. } | Piece::Default { quoted: false, .. } => {
                    let mut text = String::new();
                    self.read(piece, certain, &mut text);
                    if splits_otherwise {
                        text = unseen(true);
                    }
                    split(&text, &mut field, out);
                }
                Piece::Array { name, quoted, joined } if !(*quoted && *joined) => {
                    for (index, item) in self.items(name).iter().enumerate() {
                        if index > 0 {
                            out.extend(field.take());
                        }
                        if item.starts_with(ONE_OF) {
                            out.push(item.clone());
                        } else if splits_otherwise && !quoted {
                            split(&unseen(true), &mut field, out);
                        } else if *quoted {
                            field.get_or_insert_default().push_str(item);
                        } else {
                            split(item, &mut field, out);
                        }
                    }
                }
                _ => self.read(piece, certain, field.get_or_insert_default()),
            }
        }
        out.extend(field);
    }

    /// Sets the variable that a word assigns to. Tells its name.
    pub(super) fn assign<'w>(&mut self, word: &'w Word, certain: bool) -> Option<&'w str> {
        let assigned = word.assigned()?;
        let name = assigned.name;
        if let Some(words) = &word.array {
            let mut items = if assigned.appends { self.items(name) } else { Vec::new() };
            for word in words {
                // `[index]=value`
                let is_item = word.literal().is_some_and(|text| text.starts_with('[') && text.contains("]="));
                if is_item {
                    items.push(UNKNOWN.to_string());
                } else {
                    self.fields(word, certain, &mut items);
                }
            }
            self.set_array(name, items, certain);
        } else if assigned.is_item {
            self.set(name, UNKNOWN.to_string(), false);
        } else {
            let texts = self.texts_assigned(word, certain).unwrap_or_default();
            let value = self.assigned(word, certain);
            self.set_one_of(name, value, texts, certain);
        }
        Some(name)
    }

    /// The value that a word assigns.
    pub(super) fn assigned(&mut self, word: &Word, certain: bool) -> String {
        let Some(assigned) = word.assigned() else { return String::new() };
        let mut value = if assigned.appends { self.text(assigned.name) } else { String::new() };
        let mut pieces = word.pieces.iter();
        if let Some(Piece::Literal(first)) = pieces.next() {
            value.push_str(first.get(assigned.length..).unwrap_or_default());
        }
        value.push_str(&self.value(pieces.as_slice(), certain));
        value
    }
}

impl Array {
    fn of(items: Vec<String>) -> Self {
        let length = items.iter().map(|item| item.len() + 1).sum();
        Self { items, length }
    }
}

/// Adds the words of `text`, the first of which goes on with the one that is open.
fn split(text: &str, field: &mut Option<String>, out: &mut Vec<String>) {
    for (index, part) in text.split(BLANKS).enumerate() {
        if index > 0 {
            out.extend(field.take());
        }
        if !part.is_empty() {
            field.get_or_insert_default().push_str(part);
        }
    }
}
