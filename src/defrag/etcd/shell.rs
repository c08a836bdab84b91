//! Shell scripts that start etcd, as far as their words are plain.
//!
//! Nothing is executed and no construct is followed. A script is cut into simple commands; the ones that run etcd give
//! up their words, and whatever could change those words from afar (`eval`, `source`, `"$@"`, here-documents) makes
//! the script opaque: then what is absent may yet be set.

mod lex;

use std::collections::BTreeSet;

use self::lex::{Command, Piece, Word, lex};
use super::{
    expand::Environment,
    launch::{self, Program, base, is_etcd},
    marks::{ADDRESS, POD, UNKNOWN, is_known},
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
}

/// Programs that talk to an etcd, or may do so.
const CLIENTS: [&str; 4] = ["etcdctl", "etcdutl", "curl", "wget"];
/// Programs that start no etcd.
const HARMLESS: [&str; 52] = [
    "set", "echo", "printf", "sleep", "date", "true", "false", "test", "[", "[[", ":", "cd", "mkdir", "chmod", "chown",
    "cp", "mv", "rm", "ls", "cat", "grep", "awk", "sed", "cut", "tr", "head", "tail", "sort", "hostname", "seq",
    "exit", "return", "wait", "trap", "ping", "nslookup", "nc", "tar", "gzip", "aws", "gsutil", "mc", "break",
    "continue", "shift", "touch", "tee", "find", "export", "sync", "jq", "id",
];

const KEYWORDS: [&str; 16] = [
    "if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "{", "}",
    "!",
];
const PREFIXES: [&str; 5] = ["exec", "command", "nohup", "env", "export"];
const OPAQUE: [&str; 12] =
    [".", "source", "eval", "read", "unset", "declare", "typeset", "readonly", "local", "mapfile", "getopts", "alias"];

/// Reads `script`, which runs in `environment`; what it sets whatever happens is set there.
pub(super) fn read(script: &str, environment: &mut Environment, field: &str) -> Script {
    let (commands, opaque) = lex(script);
    let unsure = set_conditionally(&commands);
    let mut script = Script { opaque, ..Script::default() };
    let mut depth = 0_usize;
    for command in &commands {
        let mut words = command.words.as_slice();
        let mut prefixed = false;
        while let [first, rest @ ..] = words {
            let word = first.literal();
            if let Some(name) = first.assigned() {
                let (_, value) = evaluate(first, environment);
                let sure = depth == 0 && !command.conditional && !unsure.contains(name);
                let value = if sure { after_equals(&value).to_owned() } else { UNKNOWN.to_string() };
                environment.set(name, value, field);
            } else if !prefixed && word.is_some_and(|w| KEYWORDS.contains(&w)) {
                depth = deeper(depth, word);
                if let (Some("for"), Some(name)) = (word, rest.first().and_then(Word::literal)) {
                    environment.set(name, UNKNOWN.to_string(), field);
                }
                if matches!(word, Some("for" | "case" | "function")) {
                    words = &[];
                    break;
                }
            } else if !word
                .is_some_and(|w| PREFIXES.contains(&w) || if prefixed { w.starts_with('-') } else { w.ends_with("()") })
            {
                break;
            }
            prefixed |= word.is_some_and(|w| PREFIXES.contains(&w));
            words = rest;
        }
        script.run(words, environment);
    }
    script.opaque |= script.invocations.is_empty();
    script
}

impl Script {
    /// Takes in one command that runs a program.
    fn run(&mut self, words: &[Word], environment: &mut Environment) {
        let Some(name) = words.first() else { return };
        let (_, program) = evaluate(name, environment);
        let words = if launch::wraps(&program) {
            let known: Vec<String> = words.iter().map(|word| evaluate(word, environment).1).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            match launch::program(&known, true) {
                Program::Etcd(at) => words.get(at.saturating_sub(1)..).unwrap_or_default(),
                Program::Other(at) => words.get(at..).unwrap_or_default(),
                Program::EntryPoint | Program::Script(_) | Program::ScriptFile(_) => &[],
            }
        } else {
            words
        };
        let [name, arguments @ ..] = words else {
            self.runs_others = true;
            return;
        };
        let (_, program) = evaluate(name, environment);
        if OPAQUE.contains(&program.as_str()) || !is_known(&program) {
            self.opaque = true;
        } else if is_etcd(&program) {
            match starts_proxy(arguments) {
                Some(proxy) => self.proxy = Some(proxy.to_owned()),
                None => self.start(arguments, environment),
            }
        } else if CLIENTS.contains(&base(&program)) {
            if self.clients.len() < Counted::Invocations.most() {
                let mut words = vec![program];
                for argument in arguments {
                    expand(argument, environment, &mut words);
                }
                self.clients.push(words);
            }
        } else if !HARMLESS.contains(&base(&program)) {
            self.runs_others = true;
        }
    }

    /// Takes in one start of etcd.
    fn start(&mut self, arguments: &[Word], environment: &mut Environment) {
        self.count += 1;
        if self.count > Counted::Invocations.most() {
            return;
        }
        let mut invocation = Vec::new();
        for argument in arguments {
            self.opaque |= expand(argument, environment, &mut invocation);
        }
        self.invocations.push(invocation);
    }
}

/// The depth of conditions, loops and functions behind a keyword.
fn deeper(depth: usize, keyword: Option<&str>) -> usize {
    match keyword {
        Some("if" | "for" | "while" | "until" | "case" | "{" | "function") => depth + 1,
        Some("fi" | "done" | "esac" | "}") => depth.saturating_sub(1),
        _ => depth,
    }
}

/// The variables that are set somewhere inside a condition, a loop or a function.
fn set_conditionally(commands: &[Command]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut depth = 0;
    for Command { words, conditional } in commands {
        let mut prefixed = false;
        for word in words {
            let text = word.literal();
            if let Some(name) = word.assigned() {
                if depth > 0 || *conditional {
                    names.insert(name);
                }
            } else if text.is_some_and(|w| PREFIXES.contains(&w)) {
                prefixed = true;
            } else if text.is_some_and(|w| !prefixed && KEYWORDS.contains(&w)) {
                depth = deeper(depth, text);
            } else if !text.is_some_and(|w| w.ends_with("()") || (prefixed && w.starts_with('-'))) {
                break;
            }
        }
    }
    names
}

/// The subcommand of etcd's program that runs no member.
fn starts_proxy(arguments: &[Word]) -> Option<&str> {
    arguments.first().and_then(Word::literal).filter(|word| launch::is_proxy(word))
}

fn after_equals(text: &str) -> &str {
    text.split_once('=').map_or("", |(_, value)| value)
}

/// The value of a word that is not split; whether it begins with something unknown comes first.
fn evaluate(word: &Word, environment: &mut Environment) -> (bool, String) {
    let mut value = String::new();
    for piece in &word.pieces {
        match piece {
            Piece::Literal(text) => value.push_str(text),
            Piece::Variable { name, .. } => value.push_str(&environment.shell(name)),
            Piece::Pod => value.push(POD),
            Piece::Address => value.push(ADDRESS),
            Piece::Unknown => value.push(UNKNOWN),
        }
    }
    (value.starts_with(UNKNOWN), value)
}

/// Adds the words that `word` becomes; unquoted variables are split at blanks. Tells whether one of them may be a flag
/// that cannot be seen.
fn expand(word: &Word, environment: &mut Environment, out: &mut Vec<String>) -> bool {
    let splits = word.pieces.iter().any(|piece| matches!(piece, Piece::Variable { quoted: false, .. }));
    let (hidden, value) = evaluate(word, environment);
    if splits {
        out.extend(value.split_whitespace().map(str::to_owned));
    } else {
        out.push(value);
    }
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::statefulset::{Container, EnvVar};

    fn run(script: &str) -> (Vec<Vec<String>>, bool) {
        let env = [("SVC", "etcd"), ("ARGS", "--a=1  --b=2"), ("QUOTA", "7")].map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            value_from: None,
        });
        let container = Container { env: env.to_vec(), ..Container::default() };
        let mut environment = Environment::of(&container, "c", "ns");
        let script = read(script, &mut environment, "f");
        (script.invocations, script.opaque)
    }

    #[test]
    fn plain_words_of_etcd() {
        for (script, words) in [
            ("exec etcd --a=1", vec!["--a=1"]),
            ("/usr/bin/etcd --a 1 \\\n  --b=2\n", vec!["--a", "1", "--b=2"]),
            (
                "set -eu; mkdir -p /x && exec /bin/etcd '--a=x y' \"--b=$SVC\" --c=${SVC}d",
                vec!["--a=x y", "--b=etcd", "--c=etcdd"],
            ),
            ("S=$(cat /etc/state) T=1 /usr/bin/etcd --a", vec!["--a"]),
            ("etcd $ARGS --c=$QUOTA", vec!["--a=1", "--b=2", "--c=7"]),
            ("QUOTA=9\nexport SVC=x\netcd --q=$QUOTA --s=$SVC", vec!["--q=9", "--s=x"]),
            ("# etcd --not=this\netcd --this # --nor-this", vec!["--this"]),
            ("etcd --a > /dev/null 2>&1", vec!["--a"]),
            ("etcd --n=${HOSTNAME} --m=$(hostname)", vec!["--n=\u{E000}", "--m=\u{E000}"]),
            ("etcd --n=$(hostname -i)", vec!["--n=\u{E002}"]),
            ("etcd --n=$(hostname -f) --m=${SVC:-x} --o=`x y`", vec!["--n=\u{E001}", "--m=\u{E001}", "--o=\u{E001}"]),
            ("etcd --a\\ b=\"c \\\" \\d\" $", vec!["--a b=c \" \\d", "$"]),
            ("exec env A=b etcd --a", vec!["--a"]),
            ("etcd --a=$(echo \")\" '(' (x)) --b", vec!["--a=\u{E001}", "--b"]),
        ] {
            assert_eq!(run(script), (vec![words.into_iter().map(str::to_owned).collect()], false), "{script}");
        }
    }

    #[test]
    fn a_condition_makes_assignments_unknown_but_not_the_words() {
        let script = "if [[ -f /x ]]; then\n  export QUOTA=9\nfi\netcd --q=$QUOTA --s=$SVC";
        assert_eq!(run(script), (vec![vec!["--q=\u{E001}".to_owned(), "--s=etcd".to_owned()]], false));
        let (both, opaque) = run("if x; then exec etcd --a=1; else exec etcd --a=2; fi");
        assert_eq!((both.len(), opaque), (2, false));
    }

    #[test]
    fn what_is_set_whatever_happens_is_known_beside_conditions() {
        for (script, value) in [
            ("A=1; if x; then B=2; fi; etcd --a=$A", "--a=1"),
            ("if x; then A=2; fi; A=1; etcd --a=$A", "--a=\u{E001}"),
            ("f() { A=2; }; A=1; f; etcd --a=$A", "--a=\u{E001}"),
            ("A=1; case $x in y) B=1;; esac; etcd --a=$A", "--a=1"),
            ("for A in 1 2; do x; done; etcd --a=$A", "--a=\u{E001}"),
            ("A=1; [ -f /x ] && A=2; etcd --a=$A", "--a=\u{E001}"),
            ("A=1; x || A=2; etcd --a=$A", "--a=\u{E001}"),
            ("mkdir /x && A=1 && etcd --a=$A", "--a=1"),
            ("HOST=$(hostname); for i in 1; do ping x; done; etcd --a=$HOST", "--a=\u{E000}"),
        ] {
            assert_eq!(run(script).0, vec![vec![value.to_owned()]], "{script}");
        }
    }

    #[test]
    fn programs_behind_others_and_clients() {
        assert_eq!(run("exec gosu etcd etcd --a").0, vec![vec!["--a".to_owned()]]);
        let mut environment = Environment::of(&Container::default(), "c", "ns");
        let script = read("while true; do etcdctl --cert=/x snapshot save y; sleep 9; done", &mut environment, "f");
        assert_eq!(script.clients, [["etcdctl", "--cert=/x", "snapshot", "save", "y"]]);
        assert!(script.opaque && !script.runs_others);
        assert!(read("etcdctl get x; /start.sh", &mut environment, "f").runs_others);
        assert_eq!(read("exec etcd gateway start", &mut environment, "f").proxy.as_deref(), Some("gateway"));
    }

    #[test]
    fn what_hides_words_is_opaque() {
        for script in [
            "",
            "/start.sh",
            "etcd \"$@\"",
            "etcd $1",
            ". /etc/env\netcd --a",
            "eval etcd",
            "source x; etcd",
            "cat <<E | etcd",
            "etcd 'x",
            "etcd \"x",
            "etcd --a=$(x",
            "$CMD --a",
            "etcd grpc-proxy start",
        ] {
            assert!(run(script).1, "{script}");
        }
    }
}
