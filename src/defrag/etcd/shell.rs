//! Shell scripts that start etcd, as far as their words are plain.
//!
//! Nothing is executed and no branch is taken. A script is cut into simple commands; the ones that run etcd give up their
//! words, and what is set before them is followed where it is set whatever happens. What is set in a condition, a loop or a
//! function, or computed, is unknown; what could set anything (`source`, `eval`, `export $(…)`) makes every variable unknown, and
//! the script opaque: then what is absent may yet be set.

mod arithmetic;
mod builtins;
mod lex;
mod starts;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    lex::{Command, Item, Piece, Word, is_identifier, lex},
    starts::{Overlay, Starts},
    variables::Variables,
};
use super::{
    expand::{Environment, Exported},
    launch::{self, Change, Program, base, is_etcd},
    marks::{UNKNOWN, is_known},
    setting::Setting,
};
use crate::defrag::budget::Counted;

/// Flags of etcd that never stand without a value.
const VALUED: [&str; 10] = [
    "name",
    "data-dir",
    "wal-dir",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "initial-advertise-peer-urls",
    "listen-peer-urls",
    "listen-client-urls",
    "advertise-client-urls",
];

/// What a script says about etcd.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// The arguments of each invocation of etcd, of not more than are read.
    pub(super) invocations: Vec<Vec<String>>,
    /// How many invocations there are.
    pub(super) count: usize,
    /// Whether the script may do more than can be seen.
    pub(super) opaque: bool,
    /// The words of each command that talks to an etcd, of not more than are read.
    pub(super) clients: Vec<Vec<String>>,
    /// What of etcd's program it starts that is no member, such as `grpc-proxy`.
    pub(super) proxy: Option<String>,
    /// Whether it runs a program that might start an etcd.
    pub(super) runs_others: bool,
    /// Whether it has a member defragment.
    pub(super) defragments: bool,
    /// The variables of etcd, as that finds them.
    pub(super) variables: BTreeMap<String, Setting>,
    /// Those of etcd's clients.
    pub(super) for_clients: BTreeMap<String, Setting>,
}

/// How a script is run.
pub(super) struct Shell<'a> {
    pub(super) environment: Environment,
    /// Where the script stands.
    pub(super) field: &'a str,
    /// Whether all variables that it sets are given to programs.
    pub(super) exports_all: bool,
    /// Whether a program, looked for by this `PATH`, comes from a volume that holds no etcd.
    pub(super) is_brought: &'a dyn Fn(&str, Option<&str>) -> bool,
}

/// Programs that talk to an etcd, or may do so.
const CLIENTS: [&str; 4] = ["etcdctl", "etcdutl", "curl", "wget"];
/// Programs that start no etcd.
const HARMLESS: [&str; 59] = [
    "set", "echo", "printf", "sleep", "date", "true", "false", "test", "[", "[[", ":", "cd", "mkdir", "chmod", "chown",
    "cp", "mv", "rm", "ls", "cat", "grep", "awk", "sed", "cut", "tr", "head", "tail", "sort", "hostname", "seq",
    "exit", "return", "wait", "trap", "ping", "nslookup", "nc", "tar", "gzip", "aws", "gsutil", "mc", "break",
    "continue", "shift", "touch", "tee", "find", "export", "sync", "jq", "id", "ln", "kill", "umask", "ulimit",
    "shopt", "exec", "command",
];

/// The words with which etcd starts no member.
const ONLY_SPEAKS: [&str; 5] = ["--version", "-version", "--help", "-help", "-h"];

const KEYWORDS: [&str; 15] =
    ["if", "then", "elif", "else", "fi", "while", "until", "do", "done", "esac", "{", "}", "!", "time", "coproc"];
/// What sets each variable that its words name.
const SETTERS: [&str; 8] = ["read", "mapfile", "readarray", "getopts", "unset", "printf", "let", "select"];

/// Reads `script` as the shell runs it, which may have read a file before that is not in view.
pub(super) fn read(script: &str, shell: Shell<'_>, after_file: bool) -> Script {
    let (items, opaque) = lex(script);
    let mut variables = Variables::of(shell.environment, shell.field);
    if after_file {
        variables.forget();
    }
    if shell.exports_all {
        variables.exports_all = Exported::Yes;
    }
    for name in set_in_loops(&items) {
        variables.doubt(name);
    }
    let script = Script { opaque, ..Script::default() };
    let (starts, frames) = (Starts::default(), Vec::new());
    let mut reader = Reader { script, variables, starts, frames, depth: 0, is_brought: shell.is_brought };
    for item in &items {
        reader.take(item);
    }
    let Reader { mut script, variables, starts, .. } = reader;
    script.opaque |= script.invocations.is_empty();
    script.for_clients = variables.given_to_clients();
    script.variables = starts.settle(&variables);
    script
}

/// What stands around a command.
enum Frame {
    Parentheses,
    /// A `case`, and whether a pattern comes next.
    Case(bool),
}

struct Reader<'a> {
    script: Script,
    variables: Variables<'a>,
    starts: Starts,
    frames: Vec<Frame>,
    /// How many conditions, loops and functions stand around a command.
    depth: usize,
    is_brought: &'a dyn Fn(&str, Option<&str>) -> bool,
}

impl Reader<'_> {
    fn take(&mut self, item: &Item) {
        match item {
            Item::Command(command) => self.command(command),
            // A pattern may begin with one.
            Item::Open if self.awaits_pattern() => {}
            Item::Open => {
                self.frames.push(Frame::Parentheses);
                self.variables.open();
            }
            Item::Close => match self.frames.last_mut() {
                Some(Frame::Case(pattern)) => *pattern = false,
                Some(Frame::Parentheses) => {
                    self.frames.pop();
                    self.variables.close();
                }
                None => {}
            },
            Item::Branch => {
                if let Some(Frame::Case(pattern)) = self.frames.last_mut() {
                    *pattern = true;
                }
            }
            Item::Arithmetic(text) => {
                for name in arithmetic::assigned(text) {
                    self.variables.set(name, UNKNOWN.to_string(), false);
                }
            }
        }
    }

    fn awaits_pattern(&self) -> bool {
        matches!(self.frames.last(), Some(Frame::Case(true)))
    }

    fn command(&mut self, command: &Command) {
        let Some(words) = self.behind_keywords(&command.words) else { return };
        let certain = self.depth == 0 && !command.conditional;
        if command.apart {
            self.variables.open();
        }
        self.simple(words, certain);
        if command.apart {
            self.variables.close();
        }
    }

    /// The words of a command behind the keywords in front of it; `None` where there is no command.
    fn behind_keywords<'w>(&mut self, mut words: &'w [Word]) -> Option<&'w [Word]> {
        while let [first, rest @ ..] = words {
            let Some(word) = first.literal() else { break };
            if self.awaits_pattern() && word != "esac" {
                return None;
            }
            match word {
                "for" | "select" => {
                    self.depth += 1;
                    if let Some(name) = rest.first().and_then(Word::literal) {
                        self.variables.set(name, UNKNOWN.to_string(), false);
                    }
                    return None;
                }
                "case" => {
                    self.depth += 1;
                    self.frames.push(Frame::Case(true));
                    return None;
                }
                "function" => {
                    let (name, body) = rest.split_first()?;
                    self.define(name.literal().unwrap_or_default().trim_end_matches("()"));
                    words = body;
                    continue;
                }
                "esac" if matches!(self.frames.last(), Some(Frame::Case(_))) => {
                    self.frames.pop();
                }
                _ => {}
            }
            if let Some(name) = word.strip_suffix("()") {
                self.define(name);
            } else if KEYWORDS.contains(&word) {
                self.depth = deeper(self.depth, word);
            } else {
                break;
            }
            words = rest;
        }
        Some(words)
    }

    /// A function may stand for a program that is known here.
    fn define(&mut self, name: &str) {
        self.script.opaque |= is_etcd(name) || builtins::is_builtin(name) || launch::wraps(name);
    }

    fn simple(&mut self, words: &[Word], certain: bool) {
        let assigning = words.iter().take_while(|word| word.assigned().is_some()).count();
        let (assignments, words) = words.split_at_checked(assigning).unwrap_or_default();
        if words.is_empty() {
            for word in assignments {
                self.variables.assign(word, certain);
            }
            return;
        }
        for word in words.iter().filter(|word| word.has_effects()) {
            self.variables.fields(word, certain, &mut Vec::new());
        }
        let mut words = words.iter();
        let mut all = Vec::new();
        while all.is_empty() {
            let Some(word) = words.next() else { return };
            self.variables.fields(word, certain, &mut all);
        }
        let Some(program) = all.first().cloned() else { return };
        if builtins::is_special(&program) {
            for assigned in assignments.iter().filter_map(Word::assigned) {
                self.variables.set(assigned.name, UNKNOWN.to_string(), false);
            }
        }
        if !is_known(&program) {
            self.script.opaque = true;
        } else if builtins::is_builtin(&program) {
            self.arguments(words.as_slice(), certain, &mut all);
            self.script.opaque |=
                builtins::run(&program, all.get(1..).unwrap_or_default(), &mut self.variables, certain);
        } else if is_etcd(&program) || launch::wraps(&program) || launch::is_shell(&program) {
            let mut overlay = Overlay::default();
            for word in assignments {
                let value = self.variables.assigned(word, certain);
                overlay.set.extend(word.assigned().map(|assigned| (assigned.name.to_owned(), Some(value))));
            }
            self.arguments(words.as_slice(), certain, &mut all);
            self.launch(&all, overlay, certain);
        } else if CLIENTS.contains(&base(&program)) {
            self.script.defragments |=
                words.clone().any(|word| word.literal() == Some("defrag")) && !is_offline(words.as_slice());
            if self.script.clients.len() < Counted::Invocations.most() {
                self.arguments(words.as_slice(), certain, &mut all);
                self.script.clients.push(all);
            }
        } else if !HARMLESS.contains(&base(&program)) {
            self.script.runs_others = true;
        }
    }

    /// Adds what words become as the arguments of a command. What fills an array is done.
    fn arguments(&mut self, words: &[Word], certain: bool, out: &mut Vec<String>) {
        for word in words {
            if word.array.is_some() {
                out.extend(self.variables.assign(word, certain).map(str::to_owned));
            } else if word.assigned().is_some() {
                out.push(self.variables.value(&word.pieces, certain));
            } else {
                self.variables.fields(word, certain, out);
            }
        }
    }

    /// Takes in a command that runs etcd, itself or behind another program.
    fn launch(&mut self, words: &[String], mut overlay: Overlay, certain: bool) {
        let texts: Vec<&str> = words.iter().map(String::as_str).collect();
        let launched = launch::launch(&texts, true);
        for change in &launched.changes {
            match *change {
                Change::Clear => overlay.clear(),
                Change::Unset(name) => overlay.set(name, None),
                Change::Set(name, value) => overlay.set(name, Some(value)),
            }
        }
        match launched.program {
            Program::Etcd(at) => {
                let arguments = words.get(at..).unwrap_or_default();
                let mut programs = launched.through.iter().copied().chain([at.saturating_sub(1)]);
                let path = self.variables.path();
                if programs.any(|at| texts.get(at).is_some_and(|program| (self.is_brought)(program, path))) {
                    self.script.opaque = true;
                    self.script.runs_others = true;
                } else if arguments.first().is_some_and(|word| ONLY_SPEAKS.contains(&word.as_str())) {
                    // It says something of itself and ends.
                } else if let Some(proxy) = arguments.first().filter(|word| launch::is_proxy(word)) {
                    self.script.proxy = Some(proxy.clone());
                } else {
                    self.start(arguments, overlay);
                }
            }
            Program::Other(at) => {
                let words = words.get(at..).unwrap_or_default();
                let Some((program, arguments)) = words.split_first() else { return };
                if !is_known(program) {
                    self.script.opaque = true;
                } else if builtins::is_builtin(program) {
                    self.script.opaque |= builtins::run(program, arguments, &mut self.variables, certain);
                } else if CLIENTS.contains(&base(program)) {
                    self.script.clients.push(words.to_vec());
                } else if launch::is_shell(program) {
                    // It reads its script from somewhere else.
                    self.script.opaque = true;
                } else if !HARMLESS.contains(&base(program)) && !launch::wraps(program) {
                    self.script.runs_others = true;
                }
            }
            Program::Script(at) => {
                self.script.runs_others = true;
                self.script.opaque |= texts.get(at).is_some_and(|script| !is_known(script) || script.contains("etcd"));
            }
            Program::EntryPoint | Program::ScriptFile(_) => self.script.runs_others = true,
        }
    }

    /// Takes in one start of etcd.
    fn start(&mut self, arguments: &[String], overlay: Overlay) {
        self.script.count += 1;
        if self.script.count > Counted::Invocations.most() {
            return;
        }
        self.script.opaque |= self.variables.is_wild && !overlay.clears;
        let before = std::iter::once("").chain(arguments.iter().map(String::as_str));
        self.script.opaque |=
            arguments.iter().zip(before).any(|(word, before)| word.starts_with(UNKNOWN) && !takes_a_value(before));
        self.starts.add(&mut self.variables, overlay);
        self.script.invocations.push(arguments.to_vec());
    }
}

/// Whether the word after this one is its value, and no flag whatever it says: scripts name the peers in a loop, and write
/// `--initial-cluster ${PEERS}`.
fn takes_a_value(word: &str) -> bool {
    let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    flag.is_some_and(|flag| VALUED.contains(&flag))
}

/// Whether a client defragments files and no member.
fn is_offline(words: &[Word]) -> bool {
    words.iter().any(|word| matches!(word.pieces.first(), Some(Piece::Literal(text)) if text.starts_with("--data-dir")))
}

/// The depth of conditions, loops and functions behind a keyword.
fn deeper(depth: usize, keyword: &str) -> usize {
    match keyword {
        "if" | "while" | "until" | "{" => depth + 1,
        "fi" | "done" | "esac" | "}" => depth.saturating_sub(1),
        _ => depth,
    }
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word) || matches!(word, "for" | "select")
}

/// The variables that are set somewhere in a loop: at its beginning they may have the value from its end.
fn set_in_loops(items: &[Item]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut loops = 0_usize;
    for item in items {
        let words = match item {
            Item::Command(command) => command.words.as_slice(),
            Item::Arithmetic(text) if loops > 0 => {
                names.extend(arithmetic::assigned(text));
                continue;
            }
            _ => continue,
        };
        let mut words = words.iter().peekable();
        while let Some(keyword) = words.next_if(|word| word.literal().is_some_and(is_keyword)) {
            match keyword.literal() {
                Some("for" | "while" | "until" | "select") => loops += 1,
                Some("done") => loops = loops.saturating_sub(1),
                _ => {}
            }
        }
        if loops == 0 {
            continue;
        }
        let sets_all = words.peek().and_then(|word| word.literal()).is_some_and(|word| SETTERS.contains(&word));
        for word in words {
            names.extend(word.assigned().map(|assigned| assigned.name));
            names.extend(word.literal().filter(|text| sets_all && is_identifier(text)));
            names.extend(word.pieces.iter().filter_map(|piece| match piece {
                Piece::Default { name, sign: '=', .. } => Some(name.as_str()),
                _ => None,
            }));
        }
    }
    names
}

#[cfg(test)]
mod tests;
