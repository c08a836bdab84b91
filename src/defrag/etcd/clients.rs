//! What in the pod talks to its etcd, and with which certificates: probes, sidecars, scripts.
//!
//! Whoever does so shows a certificate that etcd accepts and the authority by which its own is verified.

use super::{
    commands::{of_hook, of_probes, values},
    context::{Context, Reading},
    launch::base,
    marks::is_known,
    profile::Profile,
    setting::Setting,
    targets::{Target, Targets},
    types::{ObjectKey, SecretPair},
};
use crate::defrag::statefulset::Container;

/// The files that one client uses, as paths in its container.
struct Client<'a> {
    container: &'a Container,
    target: Target,
    /// Whether it is a probe.
    is_probe: bool,
    cert: Option<String>,
    key: Option<String>,
    ca: Option<String>,
}

/// The clients of an etcd, the most certain first, and of these those that connect to nothing else. A client of
/// something else is not included.
pub(super) struct Clients<'a>(Vec<Client<'a>>);

/// What a client uses, and by which container where it may be that of another server.
pub(super) struct Used<T> {
    pub(super) what: T,
    pub(super) doubtful: Option<String>,
    /// Whether only probes use it.
    pub(super) of_probes: bool,
}

/// The flags of a program for its files: certificate, key, authority.
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
    pub(super) fn of(context: &Context<'a>, targets: &Targets<'_, '_>) -> Self {
        let mut clients = Self(Vec::new());
        let readings = || std::iter::once(context.etcd).chain(context.sidecars);
        for reading in readings() {
            let files = VARIABLES.map(|name| path(reading.options.env(name)));
            clients.add(reading.container, files, || targets.of_environment(reading));
        }
        for reading in context.sidecars {
            for names in OF_CLIENTS {
                clients.add_flags(reading, names, targets);
            }
        }
        for reading in readings() {
            for words in &of_probes(reading) {
                clients.add_words(reading, words, true, targets);
            }
            for words in of_hook(reading).iter().chain(&reading.options.clients) {
                clients.add_words(reading, words, false, targets);
            }
        }
        for reading in context.sidecars {
            let options = &reading.options;
            let by_name = options.program.as_deref().is_some_and(|program| base(program) == "etcdctl");
            let druid = context.profile == Profile::EtcdDruid;
            if by_name || druid || TARGETS.iter().any(|flag| options.get(flag).is_some()) {
                clients.add_flags(reading, OF_TOOLS[0], targets);
            }
        }
        clients.0.sort_by_key(|client| client.target);
        clients
    }

    /// The first pair of a certificate and a key in one mounted Secret, of the clients that connect so.
    pub(super) fn pair(&self, context: &Context<'_>, targets: &[Target]) -> Option<Used<SecretPair>> {
        self.first(targets, |client| {
            context.files.pair(client.container, client.cert.as_deref()?, client.key.as_deref()?)
        })
    }

    /// The first authority in a mounted object, of the clients that connect so.
    pub(super) fn ca(&self, context: &Context<'_>, targets: &[Target]) -> Option<Used<ObjectKey>> {
        self.first(targets, |client| context.files.object(client.container, client.ca.as_deref()?))
    }

    fn first<T: PartialEq>(&self, targets: &[Target], find: impl Fn(&Client<'_>) -> Option<T>) -> Option<Used<T>> {
        let mut clients = self.0.iter().filter(|client| targets.contains(&client.target));
        let (client, what) = clients.find_map(|client| Some((client, find(client)?)))?;
        let doubtful = (client.target > Target::Likely).then(|| client.container.name.clone());
        let mut others = self.0.iter().filter(|client| !client.is_probe);
        let of_probes = client.is_probe && !others.any(|client| find(client).as_ref() == Some(&what));
        Some(Used { what, doubtful, of_probes })
    }

    fn add_words(&mut self, reading: &Reading<'a>, words: &[String], is_probe: bool, targets: &Targets<'_, '_>) {
        let known = self.0.len();
        for names in OF_TOOLS {
            let files = names.map(|flag| after(words, flag));
            self.add(reading.container, files, || targets.of_command(reading, words));
        }
        self.0.iter_mut().skip(known).for_each(|client| client.is_probe = is_probe);
    }

    fn add(&mut self, container: &'a Container, files: [Option<String>; 3], target: impl FnOnce() -> Target) {
        let [cert, key, ca] = files;
        if cert.is_none() && ca.is_none() {
            return;
        }
        let target = target();
        if target != Target::Elsewhere {
            self.0.push(Client { container, target, is_probe: false, cert, key, ca });
        }
    }

    fn add_flags(&mut self, reading: &Reading<'a>, names: Names, targets: &Targets<'_, '_>) {
        let files = names.map(|flag| path(reading.options.get(flag)));
        self.add(reading.container, files, || targets.of_options(reading));
    }
}

/// The value of a setting where it is a path that can be read in full.
fn path(setting: Option<&Setting>) -> Option<String> {
    setting.and_then(|setting| setting.known()).filter(|path| path.starts_with('/')).map(str::to_owned)
}

/// The path that a flag of a command names.
fn after(words: &[String], flag: &str) -> Option<String> {
    let first = values(words, flag).into_iter().next()?;
    Some(first.to_owned()).filter(|value| is_known(value) && value.starts_with('/'))
}
