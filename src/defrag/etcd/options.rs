//! The options that an etcd runs with, from its command, its arguments and its environment.

use std::collections::BTreeMap;

use super::{
    config_file,
    expand::{Environment, OF_ETCD},
    flags::{self, Flags},
    home::Home,
    launch::{self, Change, Launched, Program, base},
    marks::{ADDRESS, POD, UNKNOWN, clean, readable},
    mounts::Files,
    setting::Setting,
    shell::{self, Shell},
};
use crate::defrag::{finding::quoted, statefulset::Container};

/// The options of one container.
#[derive(Debug)]
pub(super) struct Options {
    flags: BTreeMap<String, Setting>,
    /// The environment of the container.
    environment: Environment,
    /// The variables of etcd, as it finds them.
    variables: BTreeMap<String, Setting>,
    /// The program that is started, where the pod template names one.
    pub(super) program: Option<String>,
    /// How often a script starts etcd.
    pub(super) invocations: usize,
    /// What runs in place of a member, in words: a proxy, a client.
    pub(super) keeps_no_data: Option<String>,
    /// The commands of its script that talk to an etcd, word by word.
    pub(super) clients: Vec<Vec<String>>,
    /// Where its script is, if that defragments members.
    pub(super) defragments: Option<String>,
    /// The configuration file, which makes etcd ignore every flag and variable.
    config_file: Option<String>,
    /// Where options that cannot be read may be set, as text.
    unreadable: Vec<String>,
    started_at: Option<String>,
    /// Whether the image's own entry point starts etcd.
    pub(super) of_image: bool,
    /// Whether no option shows how that entry point does.
    sealed: bool,
    /// Whether etcd reads a configuration file that the image writes from visible variables, and nothing else.
    by_file_only: bool,
}

/// The URLs at which clients reach a member. What sets one of them, sets up a member.
const CLIENT_URLS: [&str; 2] = ["listen-client-urls", "advertise-client-urls"];
/// The flags that tell programs which etcd to connect to.
const OF_CLIENTS: [&str; 4] = ["endpoints", "etcd-endpoints", "etcd-servers", "etcd-address"];
/// Programs that only talk to an etcd, or wait.
const CLIENTS: [&str; 5] = ["etcdctl", "etcdutl", "sleep", "tail", "pause"];
/// The options that Bitnami's image takes from a file instead, where a variable of their name with `_FILE` behind it names one.
const BY_FILE: [&str; 15] = [
    "name",
    "log-level",
    "listen-client-urls",
    "advertise-client-urls",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "listen-peer-urls",
    "initial-advertise-peer-urls",
    "auto-tls",
    "cert-file",
    "key-file",
    "trusted-ca-file",
    "client-cert-auth",
    "peer-auto-tls",
];
/// What begins the variables that this image writes into a configuration file.
const OF_FILE: &str = "ETCD_CFG_";
/// Where Bitnami's image has its entry point, which reads the variables of etcd.
pub(super) const BITNAMI_SCRIPTS: &str = "/opt/bitnami/scripts/etcd/";
/// What an image's own entry point may be, or may run, where nothing says so.
const OF_IMAGES: [&str; 4] = [
    "etcd",
    "/opt/bitnami/scripts/etcd/entrypoint.sh",
    "/opt/bitnami/scripts/etcd/run.sh",
    "/opt/bitnami/scripts/etcd-env.sh",
];
/// The file that bash reads before a script, and the one that other shells may read.
const BASH_ENV: &str = "BASH_ENV";
const OF_SHELLS: [&str; 2] = [BASH_ENV, "ENV"];
/// Kubermatic's launcher, which computes the flags of etcd from its own.
const LAUNCHER: &str = "etcd-launcher";

/// What the words of a container are.
#[derive(Default)]
struct Launch {
    flags: BTreeMap<String, Setting>,
    variables: BTreeMap<String, Setting>,
    starts_etcd: bool,
    started_at: Option<String>,
    keeps_no_data: Option<String>,
    invocations: usize,
    clients: Vec<Vec<String>>,
    defragments: Option<String>,
    /// What hides options, in words.
    hidden: Option<String>,
    /// Whether a word of its command line may be a flag that cannot be seen.
    is_doubtful: bool,
    /// Whether etcd is given nothing of the container's environment.
    clears: bool,
}

/// A container, its words and its files.
struct Place<'a, 'f> {
    container: &'a Container,
    field: &'a str,
    words: &'a [(String, String)],
    files: &'a Files<'f>,
}

impl Launch {
    fn of(place: &Place<'_, '_>, environment: &mut Environment) -> Self {
        let words = place.words;
        let texts: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
        let Launched { program, changes, through, exports_all } =
            launch::launch(&texts, !place.container.command.is_empty());
        let mut launch = Self { clears: changes.contains(&Change::Clear), ..Self::default() };
        let mut shell = environment.clone();
        change(&mut shell, &changes, place.field);
        let started = |at: usize| texts.get(at).copied().unwrap_or_default();
        let mounts = place.files.mounts(place.container);
        let volume_of = |program: &str, path: Option<&str>| {
            launch::places(program, path).iter().find_map(|place| mounts.brings(place).map(str::to_owned))
        };
        let path = shell.get("PATH").map(|setting| setting.value.clone());
        let brought = |program: &str| {
            let volume = volume_of(program, path.as_deref())?;
            Some(format!("the program {} of the volume {}", quoted(&readable(program)), quoted(&volume)))
        };
        match program {
            Program::Etcd(at) if launch::is_proxy(started(at)) => {
                launch.keeps_no_data = Some(format!("etcd {}", started(at)));
            }
            Program::Etcd(at) => {
                let Flags { set, is_doubtful, .. } = Flags::of(words.get(at..).unwrap_or_default(), false);
                let field = words.get(at.saturating_sub(1)).map(|(_, field)| field.clone()).unwrap_or_default();
                launch.flags = set;
                launch.is_doubtful = is_doubtful;
                launch.hidden = brought(started(at.saturating_sub(1)));
                if launch.hidden.is_none() {
                    launch.starts_etcd = true;
                    launch.hidden = is_doubtful.then(|| format!("the object that a variable of {field} refers to"));
                    launch.started_at = Some(field);
                }
            }
            Program::Script(at) => {
                let field = words.get(at).map(|(_, field)| field.as_str()).unwrap_or_default();
                let is_brought = |program: &str, path: Option<&str>| volume_of(program, path).is_some();
                let given = texts.get(at + 1..).unwrap_or_default().iter().map(|word| (*word).to_owned()).collect();
                let environment_of = shell.clone();
                let shell = Shell { environment: environment_of, field, given, exports_all, is_brought: &is_brought };
                launch.by_script(started(at), shell, environment);
            }
            Program::ScriptFile(at) => {
                launch.hidden = Some(format!("the script {}", quoted(&readable(started(at)))));
            }
            Program::Other(at) => {
                let name = base(started(at));
                let Flags { set, is_doubtful, .. } = Flags::of(words.get(at + 1..).unwrap_or_default(), false);
                launch.flags = set;
                launch.is_doubtful = is_doubtful;
                let is_trusted = name == LAUNCHER || started(at).starts_with(BITNAMI_SCRIPTS);
                if CLIENTS.contains(&name) {
                    let does = texts.get(at + 1..).unwrap_or_default().iter().find(|word| !word.starts_with('-'));
                    let does =
                        does.filter(|_| name.starts_with("etcd")).map_or_else(String::new, |does| format!(" {does}"));
                    launch.keeps_no_data = Some(readable(&format!("{name}{does}")));
                } else if name != LAUNCHER && launch.is_client() {
                    launch.keeps_no_data = Some(readable(started(at)));
                } else if !is_trusted {
                    launch.hidden = Some(format!("the program {}", quoted(&readable(started(at)))));
                } else {
                    let field = words.last().map(|(_, field)| field.as_str()).unwrap_or_default();
                    let object = || format!("the object that a variable of {field} refers to");
                    launch.hidden = brought(started(at)).or_else(|| is_doubtful.then(object));
                }
            }
            Program::EntryPoint => {
                let Flags { set, is_doubtful, .. } = Flags::of(words, false);
                launch.flags = set;
                launch.is_doubtful = is_doubtful;
                launch.hidden = is_doubtful.then(|| "the object that a variable of args refers to".to_owned());
                if launch::is_proxy(started(0)) {
                    launch.keeps_no_data = Some(format!("etcd {}", started(0)));
                } else if CLIENTS.contains(&base(started(0))) {
                    launch.keeps_no_data = Some(readable(&format!("{} {}", base(started(0)), started(1))));
                } else {
                    launch.hidden = launch.hidden.or_else(|| OF_IMAGES.iter().find_map(|program| brought(program)));
                }
            }
        }
        if let Some(hidden) = through.iter().find_map(|at| brought(started(*at))) {
            launch.hidden = Some(hidden);
            launch.started_at = None;
        }
        if !matches!(program, Program::Script(_)) {
            launch.variables = shell.given_with(OF_ETCD);
        }
        if launch.is_doubtful {
            let last = words.last().map(|(_, field)| field.as_str()).unwrap_or_default();
            launch.doubt_variables(last);
        }
        launch
    }

    /// Whether the flags are those of a program that talks to an etcd, and none of a member.
    fn is_client(&self) -> bool {
        let has = |flags: &[&str]| flags.iter().any(|flag| self.flags.contains_key(*flag));
        has(&OF_CLIENTS) && !has(&CLIENT_URLS) && !has(&["data-dir", "initial-cluster", "name"])
    }

    /// A flag beats a variable, and a word that cannot be seen may be any flag.
    fn doubt_variables(&mut self, last: &str) {
        let script = self.started_at.as_deref().filter(|_| self.invocations > 0).map(str::to_owned);
        for (name, setting) in self.variables.iter_mut().filter(|(_, setting)| !setting.value.is_empty()) {
            let flag = format!("a flag in place of {}", clean(name));
            setting.value = UNKNOWN.to_string();
            setting.by_script = script.is_some();
            setting.origin = if setting.by_script { flag } else { format!("a variable that may hold {flag}") };
            setting.field = script.clone().unwrap_or_else(|| last.to_owned());
        }
    }

    fn by_script(&mut self, text: &str, shell: Shell<'_>, environment: &mut Environment) {
        let field = shell.field;
        let sourced = OF_SHELLS.iter().find_map(|name| {
            let setting = shell.environment.get(name).filter(|setting| names_a_file(setting))?;
            Some(format!("the file that {} of {} names", setting.origin, setting.field))
        });
        let script = shell::read(text, shell, sourced.is_some());
        self.starts_etcd = !script.invocations.is_empty();
        self.started_at = self.starts_etcd.then(|| field.to_owned());
        self.invocations = script.count;
        self.variables = script.variables;
        self.defragments = script.defragments.then(|| field.to_owned());
        let words = |words: &[String]| words.iter().map(|word| (word.clone(), field.to_owned())).collect::<Vec<_>>();
        let lines: Vec<Flags> =
            script.invocations.iter().map(|invocation| Flags::of(&words(invocation), true)).collect();
        self.is_doubtful = lines.iter().any(|flags| flags.is_doubtful);
        let is_opaque = script.opaque || self.is_doubtful;
        self.flags = flags::common(lines.into_iter().map(|flags| flags.set));
        for (name, setting) in script.for_clients {
            environment.give(&name, setting);
        }
        let client = || {
            let client =
                script.clients.iter().find(|words| words.first().is_some_and(|name| base(name) == "etcdctl"))?;
            let does = client.iter().skip(1).find(|word| !word.starts_with('-'));
            Some(format!("etcdctl {}", does.map_or("", String::as_str)))
        };
        if !self.starts_etcd && !script.runs_others {
            self.keeps_no_data = script.proxy.as_ref().map(|proxy| format!("etcd {proxy}")).or_else(client);
        }
        self.clients = script.clients;
        self.hidden = sourced.or_else(|| is_opaque.then(|| format!("a file or a command of the script in {field}")));
    }
}

/// Does to the environment what is done to it on the way to the program.
fn change(environment: &mut Environment, changes: &[Change<'_>], field: &str) {
    for change in changes {
        match *change {
            Change::Clear => environment.clear(),
            Change::Unset(name) => environment.take(name),
            Change::Set(name, value) => {
                let (value, field, origin) = (value.to_owned(), format!("{field}.command"), clean(name));
                environment.give(name, Setting { value, field, origin, by_script: false });
            }
        }
    }
}

/// Whether a variable names a file that a shell may read before its script.
fn names_a_file(setting: &Setting) -> bool {
    if setting.origin == BASH_ENV { !setting.value.is_empty() } else { setting.value.contains('/') }
}

impl Options {
    pub(super) fn read(container: &Container, field: &str, home: &Home<'_>, files: &Files<'_>) -> Self {
        let mut environment = Environment::of(container, field, home);
        // Variables of any other prefix are none that etcd reads.
        let of_etcd = |prefix: &str| "ETCD_".starts_with(prefix) || prefix.starts_with("ETCD_");
        let sources = container.env_from.iter().filter(|from| of_etcd(&from.prefix));
        let mut unreadable: Vec<String> = sources
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
        let launch = Launch::of(&Place { container, field, words: &words, files }, &mut environment);
        if launch.clears {
            unreadable.clear();
        }
        let of_image = program.as_deref().is_none_or(|program| program.starts_with(BITNAMI_SCRIPTS));
        let by_entry_point = of_image && !launch.starts_etcd && launch.keeps_no_data.is_none();
        unreadable.extend(launch.hidden);
        let mut options = Self {
            flags: launch.flags,
            environment,
            variables: launch.variables,
            program,
            invocations: launch.invocations,
            keeps_no_data: launch.keeps_no_data,
            clients: launch.clients,
            defragments: launch.defragments,
            config_file: None,
            unreadable,
            started_at: launch.started_at,
            of_image,
            sealed: false,
            by_file_only: false,
        };
        if by_entry_point && config_file::is_bitnami(container) {
            options.hide_what_files_hold();
            options.configured();
        }
        if by_entry_point && !CLIENT_URLS.iter().any(|flag| options.get(flag).is_some()) {
            let writes = options.environment.all().find(|(name, _)| options.by_file_only && name.starts_with(OF_FILE));
            let hidden = writes.map_or_else(
                || format!("the entry point of the image {}", quoted(&container.image)),
                |(name, _)| format!("the configuration file that the image writes because of {} (with it, etcd ignores its variables)", clean(name)),
            );
            options.unreadable.push(hidden);
            options.sealed = true;
        }
        if options.is_launched() {
            options.launched(field, home.namespace);
        }
        let by_image = options.program.is_none() || !options.starts_etcd();
        options.config_file = config_file::of(options.get("config-file"), by_image, container, files);
        if let Some(file) = &options.config_file {
            options.unreadable.insert(0, format!("the configuration file {}", quoted(file)));
        }
        // A proxy of the second API; 3.6 knows no such flag any more.
        if let Some(proxy) = options.get("proxy").filter(|proxy| matches!(proxy.value.as_str(), "on" | "readonly")) {
            options.keeps_no_data = Some(format!("etcd --proxy={}", proxy.value));
        }
        options
    }

    /// Whether Kubermatic's launcher starts etcd.
    pub(super) fn is_launched(&self) -> bool {
        self.program.as_deref().is_some_and(|program| base(program) == LAUNCHER)
    }

    /// The content of the files that variables name is not visible.
    fn hide_what_files_hold(&mut self) {
        for name in BY_FILE.map(variable) {
            let file = self.environment.get(&format!("{name}_FILE")).filter(|setting| !setting.value.is_empty());
            if let Some(file) = file {
                self.variables.insert(name, Setting { value: UNKNOWN.to_string(), ..file.clone() });
            }
        }
    }

    /// Bitnami's image writes the variables `ETCD_CFG_…` into a configuration file, and etcd then reads nothing else.
    fn configured(&mut self) {
        let written = self.environment.all().filter(|(_, setting)| !setting.value.is_empty());
        let flags: Vec<(String, Setting)> = written
            .filter_map(|(name, setting)| {
                let flag = name.strip_prefix(OF_FILE)?.to_ascii_lowercase().replace('_', "-");
                Some((flag, setting.clone()))
            })
            .collect();
        self.by_file_only = !flags.is_empty();
        self.flags.extend(flags);
    }

    /// What the launcher sets besides what is visible.
    fn launched(&mut self, field: &str, namespace: &str) {
        let urls = format!("https://{POD}.etcd.{}.svc.cluster.local:2379,https://{ADDRESS}:2379", clean(namespace));
        let field = format!("{field}.command");
        let setting = Setting { value: urls, field, origin: "the launcher's client URLs".to_owned(), by_script: false };
        self.flags.entry("advertise-client-urls".to_owned()).or_insert(setting);
    }

    /// The commands of another script in the same container that talk to an etcd, word by word.
    pub(super) fn clients_of(&self, script: &str) -> Vec<Vec<String>> {
        let environment = self.environment.clone();
        shell::read(
            &clean(script),
            Shell { environment, field: "", given: Vec::new(), exports_all: false, is_brought: &|_, _| false },
            false,
        )
        .clients
    }

    /// The value that etcd uses for `flag`: flags beat the environment, and a configuration file hides both. Empty
    /// variables count as unset, as they do for etcd.
    pub(super) fn get(&self, flag: &str) -> Option<&Setting> {
        if self.config_file.is_some() {
            return None;
        }
        let variables = Some(&self.variables).filter(|all| !self.by_file_only && !all.is_empty());
        let variable = || variables?.get(&variable(flag)).filter(|setting| !setting.value.is_empty());
        self.flags.get(flag).or_else(variable).filter(|setting| !is_no_file(flag, setting))
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

    /// Where options that cannot be read may be set, as text; empty if everything is visible.
    pub(super) fn unreadable(&self) -> Option<String> {
        (!self.unreadable.is_empty()).then(|| self.unreadable.iter().take(3).cloned().collect::<Vec<_>>().join(" and "))
    }

    /// The same but for the image's own entry point, which is no sign of an option.
    pub(super) fn elsewhere(&self) -> Option<String> {
        let shown =
            if self.sealed { self.unreadable.split_last().map_or(&[][..], |(_, rest)| rest) } else { &self.unreadable };
        (!shown.is_empty()).then(|| shown.iter().take(3).cloned().collect::<Vec<_>>().join(" and "))
    }

    /// Whether etcd itself is seen to be started, so that an absent flag is known to be absent.
    pub(super) const fn starts_etcd(&self) -> bool {
        self.started_at.is_some()
    }

    /// Where the words that start etcd are, if that is certain.
    pub(super) fn started_at(&self) -> Option<&str> {
        self.started_at.as_deref()
    }

    /// Whether a configuration file makes etcd ignore what is visible.
    pub(super) const fn has_config_file(&self) -> bool {
        self.config_file.is_some()
    }
}

/// Whether a flag that names a file names none: etcd takes that as not set, and its variable does not count either.
fn is_no_file(flag: &str, setting: &Setting) -> bool {
    flag.ends_with("-file") && setting.value.is_empty()
}

fn variable(flag: &str) -> String {
    format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests;
