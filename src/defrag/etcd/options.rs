//! The options that an etcd runs with, from its command, its arguments and its environment.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    expand::Environment,
    marks::{UNKNOWN, clean, readable},
    setting::Setting,
    shell,
};
use crate::defrag::{finding::quoted, statefulset::Container};

/// The options of one container.
#[derive(Debug)]
pub(super) struct Options {
    flags: BTreeMap<String, Setting>,
    environment: Environment,
    /// The program that is started, where the pod template names one.
    pub(super) program: Option<String>,
    /// How often a script starts etcd.
    pub(super) invocations: usize,
    /// Whether etcd itself is seen to be started, so that an absent flag is known to be absent.
    pub(super) starts_etcd: bool,
    /// The configuration file, which makes etcd ignore every flag and variable.
    config_file: Option<String>,
    /// Where options may stand that cannot be read from here, in words.
    unreadable: Vec<String>,
}

/// Flags of etcd that take no word after them.
const SWITCHES: [&str; 9] = [
    "client-cert-auth",
    "peer-client-cert-auth",
    "auto-tls",
    "peer-auto-tls",
    "strict-reconfig-check",
    "pre-vote",
    "enable-pprof",
    "force-new-cluster",
    "experimental-initial-corrupt-check",
];
/// Flags whose next word is theirs even if it begins with a dash.
const NUMBERS: [&str; 2] = ["quota-backend-bytes", "quota-backend-gb"];
/// Where Bitnami's image looks for a configuration file.
const BITNAMI_CONFIG: &str = "/opt/bitnami/etcd/conf";

impl Options {
    pub(super) fn read(container: &Container, field: &str, namespace: &str) -> Self {
        let mut environment = Environment::of(container, field, namespace);
        let mut unreadable: Vec<String> = container
            .env_from
            .iter()
            .map(|from| {
                let (kind, reference) = match (&from.config_map_ref, &from.secret_ref) {
                    (Some(reference), _) => ("ConfigMap", Some(reference)),
                    (None, reference) => ("Secret", reference.as_ref()),
                };
                format!("{kind} {} (envFrom)", quoted(reference.map_or("", |r| r.name.as_str())))
            })
            .collect();

        let sources = [("command", &container.command), ("args", &container.args)];
        let words: Vec<(String, String)> = sources
            .iter()
            .flat_map(|(part, words)| words.iter().map(move |word| (word, format!("{field}.{part}"))))
            .map(|(word, field)| (environment.expand(word), field))
            .collect();
        let program = (!container.command.is_empty()).then(|| words.first().map(|(word, _)| word.clone())).flatten();
        let mut starts_etcd = program.as_deref().is_some_and(shell::is_etcd);
        let mut invocations = 0;
        let flags = if let Some((script, field)) = script_of(&words, program.is_some()) {
            let script = shell::read(script, &mut environment, field);
            starts_etcd = !script.invocations.is_empty();
            invocations = script.count;
            if script.opaque {
                unreadable.push(format!("the script in {field}"));
            }
            common_flags(
                script
                    .invocations
                    .iter()
                    .map(|words| parse(&words.iter().map(|word| (word.clone(), field.clone())).collect::<Vec<_>>())),
            )
        } else {
            if words.iter().any(|(word, _)| word.starts_with(UNKNOWN)) {
                unreadable.push(format!("the object that a variable of {field} refers to"));
            }
            parse(&words)
        };
        let mut options = Self { flags, environment, program, invocations, starts_etcd, config_file: None, unreadable };
        options.config_file = options.get("config-file").map(|setting| readable(&setting.value));
        let bitnami = || container.volume_mounts.iter().any(|m| m.mount_path.trim_end_matches('/') == BITNAMI_CONFIG);
        if options.config_file.is_none() && bitnami() {
            options.config_file = Some(format!("{BITNAMI_CONFIG}/etcd.yaml"));
        }
        if let Some(file) = &options.config_file {
            options.unreadable.insert(0, format!("the configuration file {}", quoted(file)));
        }
        options
    }

    /// The value that etcd uses for `flag`: flags beat the environment, and a configuration file hides both. Empty
    /// variables count as unset, as they do for etcd.
    pub(super) fn get(&self, flag: &str) -> Option<&Setting> {
        if self.config_file.is_some() {
            return None;
        }
        self.flags.get(flag).or_else(|| self.env(&variable(flag)).filter(|setting| !setting.value.is_empty()))
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, flag: &str) -> bool {
        self.get(flag)
            .is_some_and(|setting| matches!(setting.value.as_str(), "true" | "1" | "t" | "T" | "TRUE" | "True"))
    }

    /// An environment variable.
    pub(super) fn env(&self, name: &str) -> Option<&Setting> {
        self.environment.get(name)
    }

    /// Where options may stand that cannot be read, in words; empty where everything is in view.
    pub(super) fn unreadable(&self) -> Option<String> {
        (!self.unreadable.is_empty()).then(|| self.unreadable.iter().take(3).cloned().collect::<Vec<_>>().join(" and "))
    }

    /// Whether a configuration file makes etcd ignore what is in view.
    pub(super) const fn has_config_file(&self) -> bool {
        self.config_file.is_some()
    }
}

fn variable(flag: &str) -> String {
    format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

/// The script behind `sh -c`, and where it stands.
fn script_of(words: &[(String, String)], has_command: bool) -> Option<(&str, &String)> {
    let (shell, _) = words.first().filter(|_| has_command)?;
    if !matches!(shell.rsplit('/').next()?, "sh" | "bash" | "ash" | "dash" | "busybox") {
        return None;
    }
    let option = words.iter().position(|(word, _)| {
        word.strip_prefix('-')
            .is_some_and(|letters| letters.ends_with('c') && letters.chars().all(|c| c.is_ascii_alphabetic()))
    })?;
    words.get(option + 1).map(|(script, field)| (script.as_str(), field))
}

/// Reads flags as Go's flag package does, `-k` and `--k`, `k=v` and `k v`; the last one wins.
fn parse(words: &[(String, String)]) -> BTreeMap<String, Setting> {
    let mut flags = BTreeMap::new();
    let mut words = words.iter().peekable();
    while let Some((word, field)) = words.next() {
        let Some(body) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            continue;
        };
        let (name, value) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
            continue;
        }
        let takes_next = |next: &str| NUMBERS.contains(&name) || !(SWITCHES.contains(&name) || next.starts_with('-'));
        let value = match value {
            Some(value) => value.to_owned(),
            None => {
                words.next_if(|(next, _)| takes_next(next)).map_or_else(|| "true".to_owned(), |(next, _)| next.clone())
            }
        };
        let setting = Setting { value, field: field.clone(), origin: clean(&format!("--{name}")) };
        flags.insert(name.to_owned(), setting);
    }
    flags
}

/// The flags that several invocations agree on; where they differ, the value is unknown.
fn common_flags(invocations: impl Iterator<Item = BTreeMap<String, Setting>>) -> BTreeMap<String, Setting> {
    let mut count = 0_usize;
    // With how many of the invocations have the flag.
    let mut common: BTreeMap<String, (Setting, usize)> = BTreeMap::new();
    for flags in invocations {
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
    use crate::defrag::statefulset::{EnvFrom, EnvVar, NameRef, VolumeMount};

    fn container(command: &[&str], args: &[&str]) -> Container {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Container { command: words(command), args: words(args), ..Container::default() }
    }

    fn value(container: &Container, flag: &str) -> Option<(String, String)> {
        let options = Options::read(container, "c", "ns");
        options.get(flag).map(|setting| (setting.value.clone(), setting.field.clone()))
    }

    #[expect(clippy::unnecessary_wraps, reason = "compared with an Option")]
    fn found(value: &str, field: &str) -> Option<(String, String)> {
        Some((value.to_owned(), field.to_owned()))
    }

    #[test]
    fn flags_in_all_their_forms() {
        for (command, args, expected) in [
            (vec!["etcd", "--x=1"], vec![], found("1", "c.command")),
            (vec!["etcd", "-x=1"], vec![], found("1", "c.command")),
            (vec!["etcd", "--x", "1"], vec![], found("1", "c.command")),
            (vec!["etcd"], vec!["-x", "1"], found("1", "c.args")),
            (vec!["etcd", "--x=1"], vec!["--x=2"], found("2", "c.args")),
            (vec!["etcd", "--x"], vec!["--y=2"], found("true", "c.command")),
            (vec!["etcd", "--x="], vec![], found("", "c.command")),
            (vec!["etcd", "--x=a=b"], vec![], found("a=b", "c.command")),
            (vec!["etcd", "--client-cert-auth", "--x", "1"], vec![], found("1", "c.command")),
            (vec!["tini", "--", "etcd", "--x=1"], vec![], found("1", "c.command")),
            (vec!["sh", "-c", "exec etcd --x=1"], vec![], found("1", "c.command")),
            (vec!["/bin/bash"], vec!["-ec", "etcd --x 1"], found("1", "c.args")),
            (vec!["sh", "-c", "if a; then etcd --x=1; else etcd --x=2; fi"], vec![], found("\u{E001}", "c.command")),
            (vec!["etcd"], vec!["x=1"], None),
            (vec![], vec![], None),
        ] {
            assert_eq!(value(&container(&command, &args), "x"), expected, "{command:?} {args:?}");
        }
        assert_eq!(
            value(&container(&["etcd", "--quota-backend-bytes", "-1"], &[]), "quota-backend-bytes"),
            found("-1", "c.command")
        );
    }

    #[test]
    fn flags_beat_the_environment_and_empty_variables_are_unset() {
        let mut etcd = container(&["etcd"], &[]);
        let var =
            |value: &str| EnvVar { name: "ETCD_DATA_DIR".to_owned(), value: Some(value.to_owned()), value_from: None };
        etcd.env = vec![var("/env")];
        assert_eq!(value(&etcd, "data-dir"), found("/env", "c.env[0].value"));
        etcd.args = vec!["--data-dir=/flag".to_owned()];
        assert_eq!(value(&etcd, "data-dir"), found("/flag", "c.args"));
        etcd.args.clear();
        etcd.env = vec![var("")];
        assert_eq!(value(&etcd, "data-dir"), None);
    }

    #[test]
    fn a_configuration_file_hides_everything() {
        let options = Options::read(&container(&["etcd", "--config-file=/etc/e.yml", "--x=1"], &[]), "c", "ns");
        assert_eq!(options.get("x"), None);
        assert_eq!(options.unreadable().as_deref(), Some("the configuration file \"/etc/e.yml\""));
        let mount = VolumeMount { mount_path: "/opt/bitnami/etcd/conf/".to_owned(), ..VolumeMount::default() };
        let bitnami = Container { volume_mounts: vec![mount], ..Container::default() };
        assert!(Options::read(&bitnami, "c", "ns").has_config_file());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let mut etcd = container(&["sh", "-c", "/start.sh"], &[]);
        let reference = |name: &str| Some(NameRef { name: name.to_owned() });
        etcd.env_from = vec![
            EnvFrom { config_map_ref: reference("conf"), ..EnvFrom::default() },
            EnvFrom { secret_ref: reference("pass"), ..EnvFrom::default() },
        ];
        assert_eq!(
            Options::read(&etcd, "c", "ns").unreadable().as_deref(),
            Some("ConfigMap \"conf\" (envFrom) and Secret \"pass\" (envFrom) and the script in c.command")
        );
    }
}
