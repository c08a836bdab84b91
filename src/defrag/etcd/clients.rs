//! What in the pod talks to its etcd, and with which certificates: probes, sidecars, scripts.
//!
//! Whoever does so shows a certificate that etcd accepts and the authority by which its own is verified.

use super::{
    context::{Context, Reading},
    launch::{self, Program, base},
    marks::is_known,
    options::Options,
    profile::Profile,
    setting::Setting,
    types::{ObjectKey, SecretPair},
};
use crate::defrag::statefulset::{Container, Exec};

/// The files that one client uses, as paths in its container.
struct Client<'a> {
    container: &'a Container,
    cert: Option<String>,
    key: Option<String>,
    ca: Option<String>,
}

/// The clients of an etcd, those that speak to nobody else first.
pub(super) struct Clients<'a>(Vec<Client<'a>>);

/// How a program is told its files: certificate, key, authority.
type Names = [&'static str; 3];

/// The variables of etcdctl.
const VARIABLES: Names = ["ETCDCTL_CERT", "ETCDCTL_KEY", "ETCDCTL_CACERT"];
/// Flags that mean nothing but a client of etcd: `HyperShift`'s health check, a kube-apiserver.
const OF_CLIENTS: [Names; 2] =
    [["client-cert-file", "client-key-file", "client-cacert-file"], ["etcd-certfile", "etcd-keyfile", "etcd-cafile"]];
/// The flags of etcdctl, of its second API, of curl and of wget.
const OF_TOOLS: [Names; 3] =
    [["cert", "key", "cacert"], ["cert-file", "key-file", "ca-file"], ["certificate", "private-key", "ca-certificate"]];
/// Flags that a program has beside `--cert` where it is a client of etcd and no server.
const TARGETS: [&str; 4] = ["endpoints", "endpoint", "etcd-endpoints", "service-endpoints"];

impl<'a> Clients<'a> {
    pub(super) fn of(context: &Context<'a>) -> Self {
        let mut clients = Self(Vec::new());
        let readings = || std::iter::once(context.etcd).chain(context.sidecars);
        for reading in readings() {
            clients.add(reading.container, VARIABLES.map(|name| path(reading.options.env(name))));
        }
        for reading in context.sidecars {
            for names in OF_CLIENTS {
                clients.add_flags(reading.container, &reading.options, names);
            }
        }
        for reading in readings() {
            for words in commands_beside(reading).iter().chain(&reading.options.clients) {
                clients.add_words(reading.container, words);
            }
        }
        for reading in context.sidecars {
            let options = &reading.options;
            let by_name = options.program.as_deref().is_some_and(|program| base(program) == "etcdctl");
            let druid = context.profile == Profile::EtcdDruid;
            if by_name || druid || TARGETS.iter().any(|flag| options.get(flag).is_some()) {
                clients.add_flags(reading.container, options, OF_TOOLS[0]);
            }
        }
        clients
    }

    /// The first pair of a certificate and a key in one mounted Secret.
    pub(super) fn pair(&self, context: &Context<'_>) -> Option<SecretPair> {
        self.0
            .iter()
            .find_map(|client| context.files.pair(client.container, client.cert.as_deref()?, client.key.as_deref()?))
    }

    /// The first authority in a mounted object.
    pub(super) fn ca(&self, context: &Context<'_>) -> Option<ObjectKey> {
        self.0.iter().find_map(|client| context.files.object(client.container, client.ca.as_deref()?))
    }

    fn add(&mut self, container: &'a Container, [cert, key, ca]: [Option<String>; 3]) {
        if cert.is_some() || ca.is_some() {
            self.0.push(Client { container, cert, key, ca });
        }
    }

    fn add_flags(&mut self, container: &'a Container, options: &Options, names: Names) {
        self.add(container, names.map(|flag| path(options.get(flag))));
    }

    fn add_words(&mut self, container: &'a Container, words: &[String]) {
        for names in OF_TOOLS {
            self.add(container, names.map(|flag| after(words, flag)));
        }
    }
}

/// The commands of a container that talk to an etcd, word by word: those of its script, its probes and its hook, and its own
/// where it is such a client.
pub(super) fn commands_of(reading: &Reading<'_>) -> Vec<Vec<String>> {
    let container = reading.container;
    let words: Vec<&str> = container.command.iter().chain(&container.args).map(String::as_str).collect();
    let own = match launch::program(&words, !container.command.is_empty()) {
        Program::Other(at) => words.get(at..).map(|words| words.iter().map(|word| (*word).to_owned()).collect()),
        _ => None,
    };
    reading.options.clients.iter().cloned().chain(own).chain(commands_beside(reading)).collect()
}

/// Those of its probes and of the hook behind its start.
fn commands_beside(reading: &Reading<'_>) -> Vec<Vec<String>> {
    let container = reading.container;
    let probes = [&container.liveness_probe, &container.readiness_probe, &container.startup_probe];
    let probes = probes.into_iter().flatten().filter_map(|probe| probe.exec.as_ref());
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()?.exec.as_ref());
    probes.chain(hook).flat_map(|exec| commands(exec, reading)).collect()
}

/// The commands of a probe or a hook that talk to an etcd, word by word.
fn commands(exec: &Exec, reading: &Reading<'_>) -> Vec<Vec<String>> {
    let words: Vec<&str> = exec.command.iter().map(String::as_str).collect();
    match launch::program(&words, true) {
        Program::Script(at) => words.get(at).map_or_else(Vec::new, |script| reading.options.clients_of(script)),
        Program::Other(at) => vec![exec.command.get(at..).unwrap_or_default().to_vec()],
        Program::EntryPoint | Program::Etcd(_) | Program::ScriptFile(_) => Vec::new(),
    }
}

/// The value of a setting where it is a path that can be read in full.
fn path(setting: Option<&Setting>) -> Option<String> {
    setting.and_then(|setting| setting.known()).filter(|path| path.starts_with('/')).map(str::to_owned)
}

/// The path that a flag of a command names, in either form.
fn after(words: &[String], flag: &str) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(rest) = word.trim_start_matches('-').strip_prefix(flag).filter(|_| word.starts_with('-')) else {
            continue;
        };
        let value = match rest.strip_prefix('=') {
            Some(value) => value,
            None if rest.is_empty() => words.next()?,
            None => continue,
        };
        return Some(value.to_owned()).filter(|value| is_known(value) && value.starts_with('/'));
    }
    None
}
