//! Which etcds another CronJob defragments, if any.
//!
//! A CronJob defragments if it runs the engine, if it has etcdctl defragment, or if its command says so, whatever the
//! program is. The hosts in its arguments and variables show which etcd that is; if they name no pods, the Secrets and
//! ConfigMaps that it shares with the etcd do, such as the client certificate.

mod kubectl;

use std::cell::OnceCell;

use k8s_openapi::api::{
    batch::v1::CronJob,
    core::v1::{Container, PodSpec},
};

use self::kubectl::Kubectl;
use super::ownership::{is_engine, pod};
use crate::defrag::{
    etcd::{self, Kind, ObjectKey},
    statefulset::{self, StatefulSet},
};

/// The most Secrets and ConfigMaps of one pod that are compared.
const MOST_OBJECTS: usize = 64;
/// The most pods of a StatefulSet whose names are looked for.
const MOST_PODS: u32 = 9;
/// ConfigMaps that every namespace has.
const EVERYWHERE: [&str; 2] = ["kube-root-ca.crt", "openshift-service-ca.crt"];
/// How kubectl takes a StatefulSet in front of its name and a slash.
const STATEFULSETS: [&str; 4] = ["sts", "statefulset", "statefulsets", "statefulset.apps"];
/// Words of a container that only saves or restores data.
const SAVES: [&str; 3] = ["backup", "snapshot", "restore"];

/// Returns the text of a script by its ConfigMap and key, if it is available.
pub type Scripts<'a> = dyn Fn(&ObjectKey) -> Option<&'a str> + 'a;

/// A CronJob that defragments an etcd, or runs a script that may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defragments {
    /// Whether it certainly does; otherwise it runs a script that is not available.
    is_seen: bool,
    names: Names,
    /// Whether its hosts are pods.
    names_pods: bool,
    /// What it gives to kubectl.
    kubectl: Kubectl,
    /// Hashes of the Secrets and ConfigMaps that it reads, in order.
    objects: Box<[u64]>,
}

/// What makes a CronJob a rival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rivalry<'a> {
    /// Whether it certainly defragments; otherwise it runs a script that is not available.
    pub is_seen: bool,
    /// What it shares with the etcd; `None` where it names that.
    pub shared: Option<(Kind, &'a str)>,
}

/// What the containers of a CronJob do.
#[derive(Default)]
struct Read {
    /// The words and variables of those that defragment.
    seen: String,
    /// Those of containers with scripts that are not available.
    unread: String,
    is_seen: bool,
    is_unread: bool,
}

impl Defragments {
    /// What a CronJob does; `None` where it has nothing to do with defragmentation, or is suspended.
    pub(super) fn of(live: &CronJob, scripts: Option<&Scripts<'_>>) -> Option<Self> {
        if live.spec.suspend == Some(true) {
            return None;
        }
        Self::of_pod(pod(live)?, scripts)
    }

    /// The same of any pod.
    #[must_use]
    pub fn of_pod(pod: &PodSpec, scripts: Option<&Scripts<'_>>) -> Option<Self> {
        let mut read = Read::default();
        let reduced = OnceCell::new();
        let reduced = || reduced.get_or_init(|| as_of_statefulset(pod)).as_ref();
        let files = OnceCell::new();
        for (index, container) in pod.containers.iter().chain(pod.init_containers.iter().flatten()).enumerate() {
            let files = || files.get_or_init(|| scripts_of(pod, reduced)).get(index).map_or(&[][..], Vec::as_slice);
            read.add(container, files, scripts);
        }
        let text = if read.is_seen { read.seen } else { read.unread };
        (read.is_seen || read.is_unread).then(|| Self {
            is_seen: read.is_seen,
            names_pods: names_pods(&text),
            names: Names::of(&text),
            kubectl: Kubectl::of(&text),
            objects: reduced().map_or_else(Box::default, hashes),
        })
    }

    /// Whether it concerns the etcd of this StatefulSet, and by what.
    #[must_use]
    pub fn rivals<'a>(&self, object: &'a StatefulSet) -> Option<Rivalry<'a>> {
        let is_seen = self.is_seen;
        let selects = || self.kubectl.select(&object.spec.selector.match_labels);
        if self.names(object.name()) || self.names(&object.spec.service_name) || selects() {
            return Some(Rivalry { is_seen, shared: None });
        }
        if self.names_pods || self.objects.is_empty() {
            return None;
        }
        let is_shared = |object: &(Kind, &str)| self.objects.binary_search(&of_object(*object)).is_ok();
        let shared = objects(&object.spec.template.spec).find(is_shared)?;
        Some(Rivalry { is_seen, shared: Some(shared) })
    }

    /// Whether it certainly defragments the etcd of this StatefulSet from another namespace. From there, only names
    /// with the namespace lead to it: `<service>.<namespace>`, those of its pods, or kubectl with the namespace as an
    /// option.
    #[must_use]
    pub fn reaches(&self, object: &StatefulSet) -> bool {
        let by_kubectl = || {
            self.kubectl.names(object.namespace())
                && (self.names(object.name()) || self.kubectl.select(&object.spec.selector.match_labels))
        };
        if self.is_seen && by_kubectl() {
            return true;
        }
        if object.spec.service_name.is_empty() {
            return false;
        }
        let service = format!("{}.{}", object.spec.service_name, object.namespace());
        let pods = object.ordinals(MOST_PODS).map(|number| format!("{}-{number}.{service}", object.name()));
        self.is_seen && (self.names(&service) || pods.into_iter().any(|pod| self.names(&pod)))
    }

    /// Whether it is seen to defragment, and not only to run a script that may.
    #[must_use]
    pub const fn is_seen(&self) -> bool {
        self.is_seen
    }

    /// Whether it names a StatefulSet by a pod, or a Service.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        self.names.has(name)
    }
}

impl Read {
    /// `files` are those of ConfigMaps that the container runs.
    fn add<'f>(
        &mut self,
        container: &Container,
        files: impl FnOnce() -> &'f [ObjectKey],
        scripts: Option<&Scripts<'_>>,
    ) {
        let words = || container.command.iter().flatten().chain(container.args.iter().flatten());
        let values = container.env.iter().flatten().filter_map(|variable| variable.value.as_ref());
        let mut text = String::new();
        for part in words().chain(values) {
            text.push_str(part);
            text.push('\n');
        }
        let image = container.image.as_deref().unwrap_or_default();
        let by_hand = |text: &str| text.contains("etcdctl") && text.contains("defrag");
        // A run on the files of an etcd that is not running is none.
        let by_word = || !text.contains("--data-dir") && words().any(|word| says_defrag(word));
        if is_engine(image) || by_hand(&text) || by_word() {
            self.is_seen = true;
            self.seen.push_str(&text);
            return;
        }
        let is_etcd = etcd::is_etcd_image(image);
        if scripts.is_none() && !is_etcd {
            return;
        }
        for file in files() {
            match scripts.and_then(|scripts| scripts(file)) {
                Some(script) if by_hand(script) => {
                    self.is_seen = true;
                    self.seen.push_str(&text);
                    self.seen.push_str(script);
                }
                Some(_) => {}
                None => {
                    let saves = |text: &str| SAVES.iter().any(|word| text.contains(word));
                    if is_etcd && !saves(&text) && !saves(image) && !saves(&container.name) {
                        self.is_unread = true;
                        self.unread.push_str(&text);
                    }
                }
            }
        }
    }
}

/// The files of ConfigMaps that each container runs, init containers last.
fn scripts_of<'p>(pod: &PodSpec, reduced: impl FnOnce() -> Option<&'p statefulset::PodSpec>) -> Vec<Vec<ObjectKey>> {
    let volumes = pod.volumes.iter().flatten();
    if volumes.clone().all(|volume| volume.config_map.is_none() && volume.projected.is_none()) {
        return Vec::new();
    }
    reduced().map_or_else(Vec::new, etcd::scripts)
}

/// The pod as the assessment reads those of a StatefulSet.
fn as_of_statefulset(pod: &PodSpec) -> Option<statefulset::PodSpec> {
    serde_json::from_value(serde_json::to_value(pod).ok()?).ok()
}

/// The Secrets and ConfigMaps of a pod that not every pod has.
fn objects(pod: &statefulset::PodSpec) -> impl Iterator<Item = (Kind, &str)> {
    let special = |(kind, name): &(Kind, &str)| *kind == Kind::Secret || !EVERYWHERE.contains(name);
    etcd::objects(pod).filter(special).take(MOST_OBJECTS)
}

fn hashes(pod: &statefulset::PodSpec) -> Box<[u64]> {
    let mut hashes: Vec<u64> = objects(pod).map(of_object).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes.into()
}

fn of_object((kind, name): (Kind, &str)) -> u64 {
    let mut hash = Hash::default();
    hash.add(match kind {
        Kind::Secret => b's',
        Kind::ConfigMap => b'c',
    });
    name.bytes().for_each(|byte| hash.add(byte));
    hash.0
}

/// Whether a word or a script says that something is defragmented: `defrag`, `defragment`, `etcd-defragger`.
fn says_defrag(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part.starts_with("defrag"))
}

/// Whether a text has the host of a pod of a StatefulSet, `<name>-<number>.<service>`.
fn names_pods(text: &str) -> bool {
    text.split(|c: char| !of_host(c)).any(|host| {
        let pod = host.split_once('.').and_then(|(pod, _)| pod.rsplit_once('-'));
        pod.is_some_and(|(name, number)| {
            !name.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    })
}

/// The StatefulSets that a text may name: by a pod, `<name>-<number>` or with a variable in place of the number, as `sts/<name>`
/// for kubectl, or by a Service of the same name as a host. Kept are hashes, so that a CronJob with a long script takes neither memory nor time when it is looked up in. Two names with
/// the same hash make at most a warning too many.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Names(Box<[u64]>);

impl Names {
    /// No name of an object is longer, in bytes.
    const LONGEST: usize = 253;

    fn of(text: &str) -> Self {
        let mut names = Vec::new();
        let (mut rest, mut previous) = (text, "");
        while let Some(start) = rest.find(of_host) {
            let (between, host) = rest.split_at(start);
            let end = host.find(|c| !of_host(c)).unwrap_or(host.len());
            let (host, after) = host.split_at(end);
            let is_whole = after.starts_with(':') || between == "/" && STATEFULSETS.contains(&previous);
            Self::of_word(host.as_bytes(), is_whole, &mut names);
            // A loop over the pods.
            if let Some(name) = host.strip_suffix('-').filter(|_| after.starts_with(['$', '{'])) {
                Self::of_word(name.as_bytes(), true, &mut names);
            }
            (rest, previous) = (after, host);
        }
        names.sort_unstable();
        names.dedup();
        Self(names.into())
    }

    /// The names with which a word of letters, digits, hyphens and dots can begin, and the word where it is one as a whole.
    fn of_word(word: &[u8], is_whole: bool, names: &mut Vec<u64>) {
        let mut hash = Hash::default();
        for (at, byte) in word.iter().enumerate().take(Self::LONGEST + 1) {
            let behind = word.get(at + 1..).unwrap_or_default();
            let number = || {
                let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
                digits > 0 && matches!(behind.get(digits), None | Some(b'.'))
            };
            if at > 0 && (*byte == b'.' || *byte == b'-' && number()) {
                names.push(hash.0);
            }
            hash.add(*byte);
        }
        if is_whole && word.len() <= Self::LONGEST {
            names.push(hash.0);
        }
    }

    fn has(&self, name: &str) -> bool {
        let mut hash = Hash::default();
        name.bytes().for_each(|byte| hash.add(byte));
        !name.is_empty() && self.0.binary_search(&hash.0).is_ok()
    }
}

/// Whether this can be part of the name of a host.
fn of_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.')
}

/// FNV-1a, which goes on from any beginning of a text.
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

#[cfg(test)]
mod tests;
