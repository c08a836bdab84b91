//! How long a probe waits for an etcd that does not answer, before it gives up by itself.
//!
//! Measured with a defragmentation of 25 s: `etcdctl endpoint health` exits with 1 after 5.1 to 5.3 s
//! (`--command-timeout`, 5 s unless it is set), and `/health` answers 503 after 7.03 s while a write is in progress
//! (`ServerConfig.ReqTimeout`: 5 s and two elections). `/livez` and `/health?serializable=true` wait for the end.

use std::iter::once;

use super::{
    launch::base,
    options::{BITNAMI_SCRIPTS, Options},
};
use crate::defrag::duration;

/// The time-out of `etcdctl`, in seconds (`--command-timeout`).
const OF_ETCDCTL: u64 = 5;
/// That of a request within etcd, in seconds, without the elections that may be under way.
const OF_REQUEST: u64 = 5;
/// The time until an election, in milliseconds (`--election-timeout`).
const ELECTION: u64 = 1000;
/// Programs that ask etcd for no key.
const ASK_NOTHING: [&str; 35] = [
    "true", ":", "nc", "ncat", "netcat", "pgrep", "pidof", "ps", "ss", "netstat", "test", "[", "[[", "grep", "ls",
    "cat", "stat", "find", "kill", "echo", "printf", "exit", "return", "head", "tail", "wc", "awk", "sed", "cut", "tr",
    "sort", "date", "hostname", "id", "sleep",
];
/// Words of a shell that precede a command.
const OF_SHELL: [&str; 12] =
    ["if", "then", "elif", "else", "fi", "while", "until", "do", "done", "!", "exec", "command"];
const SHELLS: [&str; 5] = ["sh", "bash", "ash", "dash", "zsh"];

/// When a probe gives up by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// After how many seconds without an answer.
    pub(super) seconds: u64,
    /// What happens then, in words.
    pub(super) what: String,
}

impl Patience {
    fn new(seconds: u64, what: &str) -> Self {
        Self { seconds, what: what.to_owned() }
    }

    /// That of a request by HTTP.
    pub(super) fn of_request(path: &str, options: &Options) -> Option<Self> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let waits = query.split('&').any(|part| part == "serializable=true");
        (path == "/health" && !waits).then(|| {
            let election = options.get("election-timeout").and_then(|setting| setting.value.parse::<u64>().ok());
            let seconds = OF_REQUEST.saturating_add(election.unwrap_or(ELECTION).saturating_mul(2) / 1000);
            Self::new(seconds, "etcd answers 503")
        })
    }

    /// That of a command: the shortest of all that is seen in it.
    pub(super) fn of_command(command: &[String], options: &Options) -> Option<Self> {
        let text = command.join(" ");
        let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || "\"'`;|&(){}".contains(c)).collect();
        let runs = |program: &str| words.iter().any(|word| base(word) == program);
        // Bitnami's script for probes asks `etcdctl endpoint health`.
        let etcdctl = (runs("etcdctl") || words.iter().any(|word| word.starts_with(BITNAMI_SCRIPTS))).then(|| {
            let named = ["--command-timeout", "-command-timeout", "ETCDCTL_COMMAND_TIMEOUT"];
            let stated = named.iter().find_map(|name| value(&words, name).and_then(seconds));
            let given = || options.env("ETCDCTL_COMMAND_TIMEOUT").and_then(|setting| seconds(&setting.value));
            Self::new(stated.or_else(given).unwrap_or(OF_ETCDCTL), "etcdctl gives up")
        });
        let mut request = words.iter().filter_map(|word| word.find("/health").and_then(|at| word.get(at..)));
        let request = request.find_map(|path| Self::of_request(path, options));
        let flags: &[(&str, &[&str])] = &[("curl", &["-m", "--max-time"]), ("wget", &["-T", "--timeout"])];
        let by_flag = flags.iter().filter(|(program, _)| runs(program)).filter_map(|(program, names)| {
            let found = names.iter().find_map(|name| value(&words, name).and_then(seconds));
            found.map(|found| Self::new(found, &format!("{program} gives up")))
        });
        let timed = value(&words, "timeout").and_then(seconds).map(|found| Self::new(found, "it is ended by timeout"));
        let all = once(etcdctl).chain(once(request)).chain(once(timed)).flatten().chain(by_flag);
        all.min_by_key(|own| own.seconds)
    }
}

/// What follows a flag, in the same word or the next.
fn value<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    let joined = |word: &&'a str| word.strip_prefix(name)?.strip_prefix('=');
    let mut at = words.iter().enumerate();
    at.find_map(|(index, word)| {
        let next = || words.get(index + 1).copied().filter(|_| *word == name);
        joined(word).or_else(next)
    })
}

/// Whole seconds of a duration, or of a number of them.
fn seconds(text: &str) -> Option<u64> {
    let plain = text.split('.').next().and_then(|whole| whole.parse().ok());
    plain.or_else(|| duration::parse_unsigned(text).ok().map(|length| length.as_secs()))
}

/// Whether a command asks etcd for nothing that a defragmentation holds up: each program of it only connects, or looks at
/// processes and files, or asks for `/metrics` or `/version`.
pub(super) fn needs_no_key(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let by_shell = words.first().is_some_and(|program| SHELLS.contains(&base(program)));
    let text = match words.as_slice() {
        [_, flags, script] if by_shell && flags.starts_with('-') && flags.ends_with('c') => (*script).to_owned(),
        _ if by_shell => return false,
        words => words.join(" "),
    };
    if ["health", "readyz", "livez", "$(", "`"].iter().any(|part| text.contains(part)) {
        return false;
    }
    let mut commands = text.split([';', '|', '&', '(', ')', '{', '}', '\n']).filter_map(program).peekable();
    commands.peek().is_some()
        && commands.all(|(program, rest)| match base(program) {
            "curl" | "wget" => rest.contains("/metrics") || rest.contains("/version"),
            program => ASK_NOTHING.contains(&program),
        })
}

/// The program of a command, and what follows it.
fn program(command: &str) -> Option<(&str, &str)> {
    let mut rest = command.trim();
    while !rest.is_empty() {
        let (word, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let assigns = word.split_once('=').is_some_and(|(name, _)| super::expand::is_name(name));
        if !OF_SHELL.contains(&word) && !assigns && !word.starts_with(['>', '<']) && word != "2>" {
            return Some((word, behind));
        }
        rest = behind.trim();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        match text.strip_prefix("sh ") {
            Some(script) => ["sh", "-c", script].map(str::to_owned).to_vec(),
            None => text.split(' ').map(str::to_owned).collect(),
        }
    }

    #[test]
    fn what_asks_for_no_key() {
        for (text, expected) in [
            ("true", true),
            ("/bin/true", true),
            ("nc -z localhost 2379", true),
            ("sh nc -z localhost 2379", true),
            ("sh pgrep etcd", true),
            ("sh pgrep -x etcd >/dev/null && nc -z 127.0.0.1 2379 || exit 1", true),
            ("sh if [ -f /stop ]; then exit 0; fi; nc -z localhost 2379", true),
            ("sh test -d /data", true),
            ("curl -f http://localhost:2381/metrics", true),
            ("wget -qO- http://localhost:2381/version", true),
            ("curl -f http://localhost:2381/health", false),
            ("curl -f http://localhost:2381/v3/kv/range", false),
            ("etcdctl endpoint health", false),
            ("sh nc -z localhost 2379 && etcdctl get x", false),
            ("sh echo 'GET /health' | nc localhost 2379", false),
            ("sh test $(etcdctl get x)", false),
            ("sh /probe.sh", false),
            ("/probe.sh", false),
            ("sh -x", false),
            ("sh ;", false),
        ] {
            assert_eq!(needs_no_key(&words(text)), expected, "{text}");
        }
        assert!(!needs_no_key(&[]));
        assert!(!needs_no_key(&["sh".to_owned(), "true".to_owned()]));
    }
}
