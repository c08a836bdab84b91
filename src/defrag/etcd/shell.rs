//! Shell scripts that start etcd, if they are simple enough.
//!
//! Nothing is executed and no branch is taken. A script is split into simple commands; the arguments of those that run
//! etcd are read, and variables are followed if they are set on every path. A variable that is set in a condition, a
//! loop or a function, or that is computed, is unknown; a command that could set anything (`source`, `eval`, `export
//! $(…)`) makes every variable unknown, and the script opaque: then an option that is not visible may still be set.

mod arithmetic;
mod builtins;
mod groups;
mod later;
mod lex;
mod nested;
mod several;
mod starts;
mod variables;

use std::collections::BTreeMap;

use self::{
    groups::groups,
    later::{Later, set_in_loops},
    lex::{Command, GIVEN, Item, KEYWORDS, Piece, Word, lex},
    starts::{Overlay, Starts},
    variables::Variables,
};
use super::{
    expand::{Environment, Exported},
    launch::{self, Change, Program, base, is_etcd},
    marks::{ONE_OF, UNKNOWN, is_known},
    setting::Setting,
};
use crate::defrag::budget::Counted;

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
    /// The place of the script.
    pub(super) field: &'a str,
    /// Whether all variables that it sets are given to programs.
    pub(super) exports_all: bool,
    /// The words behind the script: how it is called, then `$1` and the following.
    pub(super) given: Vec<String>,
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

/// How many words of a loop are followed.
const MOST_WORDS: usize = 8;

/// Reads `script` as the shell runs it, which may have read a file before that is not visible.
pub(super) fn read(script: &str, shell: Shell<'_>, after_file: bool) -> Script {
    let (items, opaque) = lex(script);
    let mut variables = Variables::of(shell.environment, shell.field, shell.given, Later::of(&items));
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
    let is_brought = shell.is_brought;
    let mut reader = Reader {
        script,
        variables,
        starts,
        frames,
        blocks: Vec::new(),
        groups: groups(&items),
        defines: false,
        conditional: false,
        reads_pipe: false,
        nested: 0,
        is_brought,
    };
    for (index, item) in items.iter().enumerate() {
        reader.variables.now = index;
        reader.take(item);
    }
    let Reader { mut script, variables, starts, .. } = reader;
    script.opaque |= script.invocations.is_empty();
    script.for_clients = variables.given_to_clients();
    script.variables = starts.settle(&variables);
    script
}

/// What surrounds a command.
enum Frame {
    Parentheses,
    /// A `case`, and whether a pattern comes next.
    Case(bool),
}

/// What may contain a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// What is done in it is done whatever happens.
    Group,
    Once,
    Loop,
    Function,
}

struct Reader<'a> {
    script: Script,
    variables: Variables<'a>,
    starts: Starts,
    frames: Vec<Frame>,
    /// The groups, conditions, loops and functions that surround a command, and whether each has a shell of its own.
    blocks: Vec<(Block, bool)>,
    /// Whether each group has one.
    groups: BTreeMap<usize, bool>,
    /// Whether the body of a function comes next.
    defines: bool,
    /// Whether the command that is read runs only where a test held, and whether it, or what it begins, reads from a pipe.
    conditional: bool,
    reads_pipe: bool,
    /// How many scripts within the script were followed.
    nested: usize,
    is_brought: &'a dyn Fn(&str, Option<&str>) -> bool,
}

impl Reader<'_> {
    fn take(&mut self, item: &Item) {
        match item {
            Item::Command(command) => self.command(command),
            // A pattern may begin with one.
            Item::Open if self.awaits_pattern() => {}
            Item::Open => {
                if std::mem::take(&mut self.defines) {
                    self.variables.doubt(GIVEN);
                }
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
        (self.conditional, self.reads_pipe) = (command.conditional, command.piped);
        let Some(words) = self.behind_keywords(&command.words) else { return };
        let certain = self.blocks.iter().all(|(block, _)| *block == Block::Group) && !command.conditional;
        let apart = std::mem::take(&mut self.reads_pipe) || command.apart;
        if apart {
            self.variables.open();
        }
        self.simple(words, certain);
        if apart {
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
                    self.enter(Block::Loop);
                    if let Some(name) = rest.first().and_then(Word::literal) {
                        self.count_through(name, rest.get(2..).unwrap_or_default());
                    }
                    return None;
                }
                "case" => {
                    self.enter(Block::Once);
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
                self.step(word);
            } else {
                break;
            }
            words = rest;
        }
        Some(words)
    }

    /// Sets the variable of a loop to each of its words.
    fn count_through(&mut self, name: &str, words: &[Word]) {
        let all: Option<Vec<&str>> = words.iter().map(|word| word.literal().filter(|_| !word.braced)).collect();
        let all = all.filter(|all| !all.is_empty() && all.len() <= MOST_WORDS);
        for word in all.unwrap_or_default() {
            self.variables.set(name, word.to_owned(), false);
        }
        if words.is_empty()
            || words.len() > MOST_WORDS
            || words.iter().any(|word| word.literal().is_none() || word.braced)
        {
            self.variables.set(name, UNKNOWN.to_string(), false);
        }
    }

    fn enter(&mut self, block: Block) {
        let is_apart = std::mem::take(&mut self.reads_pipe);
        if is_apart {
            self.variables.open();
        }
        self.variables.repeated += usize::from(matches!(block, Block::Loop | Block::Function));
        self.variables.functions += usize::from(block == Block::Function);
        self.blocks.push((block, is_apart));
    }

    /// Goes into a group. What a shell of its own does in it, is undone at its end, and so certain until then.
    fn group(&mut self) {
        let runs_apart = self.groups.get(&self.variables.now).copied();
        self.reads_pipe |= runs_apart == Some(true);
        let is_certain = self.reads_pipe || (runs_apart == Some(false) && !self.conditional);
        self.enter(if is_certain { Block::Group } else { Block::Once });
    }

    fn leave(&mut self) {
        let (block, is_apart) = self.blocks.pop().unwrap_or((Block::Once, false));
        self.variables.repeated -= usize::from(matches!(block, Block::Loop | Block::Function));
        self.variables.functions -= usize::from(block == Block::Function);
        if is_apart {
            self.variables.close();
        }
    }

    /// Goes into what a keyword begins, or out of what it ends.
    fn step(&mut self, keyword: &str) {
        match keyword {
            "while" | "until" => self.enter(Block::Loop),
            "{" if std::mem::take(&mut self.defines) => self.enter(Block::Function),
            "{" => self.group(),
            "if" => self.enter(Block::Once),
            "fi" | "done" | "esac" | "}" => self.leave(),
            _ => {}
        }
    }

    /// A function may stand for a program that is known here.
    fn define(&mut self, name: &str) {
        self.defines = true;
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
                for word in assignments {
                    let value = self.variables.assigned(word, certain);
                    all.extend(word.assigned().and_then(|assigned| starts::flag_of_etcdctl(assigned.name, &value)));
                }
                self.arguments(words.as_slice(), certain, &mut all);
                self.script.clients.push(all.iter().map(|word| seen(word)).collect());
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
                    let given = overlay.for_etcdctl();
                    let words = words.iter().take(1).chain(&given).chain(words.iter().skip(1));
                    self.script.clients.push(words.map(|word| seen(word)).collect());
                } else if launch::is_shell(program) {
                    // It reads its script from somewhere else.
                    self.script.opaque = true;
                } else if !HARMLESS.contains(&base(program)) && !launch::wraps(program) {
                    self.script.runs_others = true;
                }
            }
            Program::Script(at) if self.follows(words, &launched, at, &overlay) => {}
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
        self.starts.add(&mut self.variables, overlay);
        self.script.invocations.push(arguments.to_vec());
    }
}

/// A word as far as it is seen.
fn seen(word: &str) -> String {
    if word.contains(ONE_OF) { UNKNOWN.to_string() } else { word.to_owned() }
}

/// Whether a client defragments files and no member.
fn is_offline(words: &[Word]) -> bool {
    words.iter().any(|word| matches!(word.pieces.first(), Some(Piece::Literal(text)) if text.starts_with("--data-dir")))
}

#[cfg(test)]
mod tests;
