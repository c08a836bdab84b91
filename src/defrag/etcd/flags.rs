//! Flags as Go's flag package reads them.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    marks::{ONE_OF, UNKNOWN},
    setting::Setting,
};

/// Flags of etcd that take no word after them.
const SWITCHES: [&str; 36] = [
    "client-cert-auth",
    "peer-client-cert-auth",
    "auto-tls",
    "peer-auto-tls",
    "strict-reconfig-check",
    "pre-vote",
    "enable-pprof",
    "enable-v2",
    "enable-grpc-gateway",
    "enable-log-rotation",
    "debug",
    "version",
    "force-new-cluster",
    "unsafe-no-fsync",
    "socket-reuse-port",
    "socket-reuse-address",
    "initial-election-tick-advance",
    "discovery-insecure-transport",
    "discovery-insecure-skip-tls-verify",
    "peer-skip-client-san-verification",
    "experimental-peer-skip-client-san-verification",
    "compact-hash-check-enabled",
    "enable-distributed-tracing",
    "memory-mlock",
    "experimental-initial-corrupt-check",
    "experimental-compact-hash-check-enabled",
    "experimental-enable-distributed-tracing",
    "experimental-enable-lease-checkpoint",
    "experimental-enable-lease-checkpoint-persist",
    "experimental-memory-mlock",
    "experimental-stop-grpc-service-on-defrag",
    "experimental-txn-mode-write-with-shared-buffer",
    "insecure-skip-tls-verify",
    "insecure-transport",
    "cluster",
    "help",
];
/// Flags of etcd whose next word is theirs, whatever it says.
const VALUED: [&str; 31] = [
    "name",
    "data-dir",
    "wal-dir",
    "snapshot-count",
    "heartbeat-interval",
    "election-timeout",
    "max-snapshots",
    "max-wals",
    "max-request-bytes",
    "max-txn-ops",
    "quota-backend-bytes",
    "quota-backend-gb",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "initial-advertise-peer-urls",
    "listen-peer-urls",
    "listen-client-urls",
    "listen-metrics-urls",
    "advertise-client-urls",
    "auto-compaction-mode",
    "auto-compaction-retention",
    "cert-file",
    "key-file",
    "trusted-ca-file",
    "peer-cert-file",
    "peer-key-file",
    "peer-trusted-ca-file",
    "log-level",
    "logger",
    "config-file",
];
/// Those of them with which etcd does not start where the word after them is a flag.
const CHECKED: [&str; 7] = [
    "initial-cluster",
    "initial-cluster-state",
    "initial-advertise-peer-urls",
    "listen-peer-urls",
    "listen-client-urls",
    "listen-metrics-urls",
    "advertise-client-urls",
];
/// How many flags are copied to follow words that are one of several texts.
const MOST_COPIES: usize = 4096;

/// What stands next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Next {
    /// A flag.
    #[default]
    Flag,
    /// The value of this flag.
    Value(String),
    /// One of both.
    Either,
}

/// The flags of one command line.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    pub(super) set: BTreeMap<String, Setting>,
    /// Whether a word may be a flag that cannot be seen.
    pub(super) is_doubtful: bool,
    next: Next,
    /// Those that were set since a word hid all in front of it.
    fresh: Vec<String>,
    copies: usize,
}

impl Flags {
    /// Reads `-k` and `--k`, `k=v` and `k v`; the last one wins. So a word that cannot be seen hides the value of each flag in
    /// front of it.
    pub(super) fn of(words: &[(String, String)], by_script: bool) -> Self {
        let mut flags = Self::default();
        for (word, field) in words {
            flags.take(word, field, by_script);
        }
        flags
    }

    fn take(&mut self, word: &str, field: &str, by_script: bool) {
        if let Some(texts) = word.strip_prefix(ONE_OF) {
            return self.branch(texts, field, by_script);
        }
        match std::mem::take(&mut self.next) {
            Next::Value(name) if VALUED.contains(&name.as_str()) || !word.starts_with('-') => {
                self.put(&name, word, field, by_script);
            }
            Next::Either if !self.copies(1) => self.hide(by_script),
            Next::Either => {
                let taken = self.clone();
                self.word(word, field, by_script);
                let flag = std::mem::take(self);
                *self = Self::merged(vec![taken, flag]);
            }
            Next::Flag | Next::Value(_) => self.word(word, field, by_script),
        }
    }

    fn put(&mut self, name: &str, value: &str, field: &str, by_script: bool) {
        let value = if value.contains(ONE_OF) { UNKNOWN.to_string() } else { value.to_owned() };
        self.fresh.push(name.to_owned());
        let setting = Setting { value, field: field.to_owned(), origin: format!("--{name}"), by_script };
        self.set.insert(name.to_owned(), setting);
    }

    fn word(&mut self, word: &str, field: &str, by_script: bool) {
        if word.starts_with(UNKNOWN) {
            return self.hide(by_script);
        }
        let Some(body) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { return };
        let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
            return;
        }
        self.put(name, value.unwrap_or("true"), field, by_script);
        if value.is_none() && !SWITCHES.contains(&name) {
            self.next = Next::Value(name.to_owned());
        }
    }

    /// Whatever was set may be set again by what cannot be seen.
    fn hide(&mut self, by_script: bool) {
        self.is_doubtful = true;
        for name in std::mem::take(&mut self.fresh) {
            let Some(setting) = self.set.get_mut(&name) else { continue };
            if setting.value != UNKNOWN.to_string() && !by_script {
                setting.origin = format!("a variable behind {}", setting.origin);
            }
            setting.value = UNKNOWN.to_string();
        }
    }

    /// Whether all flags may be copied so often.
    fn copies(&mut self, times: usize) -> bool {
        self.copies += times * (self.set.len() + 1);
        self.copies <= MOST_COPIES
    }

    /// Takes a word that becomes one of several texts, which are split at blanks.
    fn branch(&mut self, texts: &str, field: &str, by_script: bool) {
        if !self.copies(texts.split(ONE_OF).count()) {
            self.next = Next::Flag;
            return self.hide(by_script);
        }
        let is_checked = matches!(&self.next, Next::Value(name) if CHECKED.contains(&name.as_str()));
        let all = || texts.split(ONE_OF).map(str::trim);
        let fills = all().any(|text| !text.is_empty());
        let branches = all().filter(|text| !(is_checked && fills && text.is_empty())).map(|text| {
            let mut flags = self.clone();
            for word in text.split_whitespace() {
                flags.take(word, field, by_script);
            }
            flags
        });
        *self = Self::merged(branches.collect());
    }

    fn merged(all: Vec<Self>) -> Self {
        let is_doubtful = all.iter().any(|flags| flags.is_doubtful);
        let copies = all.iter().map(|flags| flags.copies).max().unwrap_or_default();
        let first = all.first().map(|flags| flags.next.clone()).unwrap_or_default();
        let agree = all.iter().all(|flags| flags.next == first);
        let waiting: Vec<String> = all
            .iter()
            .filter(|_| !agree)
            .filter_map(|flags| match &flags.next {
                Next::Value(name) => Some(name.clone()),
                Next::Flag | Next::Either => None,
            })
            .collect();
        let mut set = common(all.into_iter().map(|flags| flags.set));
        for name in waiting {
            if let Some(setting) = set.get_mut(&name) {
                setting.value = UNKNOWN.to_string();
            }
        }
        let fresh = set.keys().cloned().collect();
        Self { set, is_doubtful, next: if agree { first } else { Next::Either }, fresh, copies }
    }
}

/// The flags that several command lines agree on; where they differ, the value is unknown.
pub(super) fn common(lines: impl Iterator<Item = BTreeMap<String, Setting>>) -> BTreeMap<String, Setting> {
    let mut count = 0_usize;
    // With how many of the lines have the flag.
    let mut common: BTreeMap<String, (Setting, usize)> = BTreeMap::new();
    for flags in lines {
        count += 1;
        for (name, setting) in flags {
            match common.entry(name) {
                Entry::Vacant(entry) => {
                    entry.insert((setting, 1));
                }
                Entry::Occupied(mut entry) => {
                    let (known, having) = entry.get_mut();
                    *having += 1;
                    if known.value != setting.value {
                        known.value = UNKNOWN.to_string();
                    }
                }
            }
        }
    }
    let settled = common.into_iter().map(|(name, (mut setting, having))| {
        if having < count {
            setting.value = UNKNOWN.to_string();
        }
        (name, setting)
    });
    settled.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> (String, bool) {
        let words: Vec<(String, String)> = words.split(',').map(|word| (word.to_owned(), "f".to_owned())).collect();
        let flags = Flags::of(&words, true);
        let set: Vec<String> = flags.set.iter().map(|(name, setting)| format!("{name}={}", setting.value)).collect();
        (set.join(" ").replace(UNKNOWN, "?"), flags.is_doubtful)
    }

    #[test]
    fn a_flag_that_has_a_value_takes_whatever_stands_next() {
        for (words, expected) in [
            ("--name,--quota-backend-bytes=8", "name=--quota-backend-bytes=8"),
            ("--initial-cluster-token,--name=a", "initial-cluster-token=--name=a"),
            ("--client-cert-auth,--name,a", "client-cert-auth=true name=a"),
            ("--other,--name,a", "name=a other=true"),
            ("--other,x,--name=a", "name=a other=x"),
        ] {
            assert_eq!(read(words), (expected.to_owned(), false), "{words}");
        }
    }

    #[test]
    fn what_cannot_be_seen_hides_the_flags_in_front_of_it() {
        for (words, expected, doubtful) in [
            ("--a=1,?,--b=2", "a=? b=2", true),
            ("--a=1,--name,?,--b=2", "a=1 b=2 name=?", false),
            ("--a=1,--client-cert-auth,?", "a=? client-cert-auth=?", true),
        ] {
            assert_eq!(read(&words.replace('?', "\u{E001}")), (expected.to_owned(), doubtful), "{words}");
        }
    }

    #[test]
    fn one_of_several_texts_hides_what_they_differ_in() {
        for (words, expected, doubtful) in [
            ("--a=1,||--a=2", "a=?", false),
            ("--a=1,||--b=2", "a=1 b=?", false),
            ("--a=1,||--a=2,--a=3", "a=3", false),
            ("--a=1,||?", "a=?", true),
            ("|--a=1 --b=1|--a=1", "a=1 b=?", false),
            ("--name,|x|y,--a=1", "a=1 name=?", false),
            ("--name,|x|y --a=2,--b=1", "a=? b=1 name=?", false),
            // Nothing is left of the word, so that the next flag may be the value.
            ("--name,||x,--a=1,--b=1", "a=? b=1 name=?", false),
            ("--name,||x,--data-dir,/x,--b=1", "b=1 data-dir=? name=?", false),
            // An etcd whose members were a flag would not start.
            ("--initial-cluster,||x,--a=1", "a=1 initial-cluster=x", false),
            ("||--name,--a=1,--b=1", "a=? b=1 name=?", false),
        ] {
            let marked = words.replace('|', "\u{E004}").replace('?', "\u{E001}");
            assert_eq!(read(&marked), (expected.to_owned(), doubtful), "{words}");
        }
        let many = vec!["\u{E004}\u{E004}--b=1"; MOST_COPIES].join(",");
        assert_eq!(read(&format!("--a=1,{many}")), ("a=? b=?".to_owned(), true));
    }
}
