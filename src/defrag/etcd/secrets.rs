//! The Secrets that a pod mounts, for people who have to name one.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::Context,
    types::{Kind, ObjectKey},
};
use crate::defrag::{finding::shorten, statefulset::Volume};

/// The most Secrets, and the most characters of all of them, that a message shows.
const MOST: usize = 12;
const SHOWN: usize = 700;

/// The flags of etcd that name its own certificates.
const OWN: [&str; 6] =
    ["cert-file", "key-file", "trusted-ca-file", "peer-cert-file", "peer-key-file", "peer-trusted-ca-file"];

/// What is known of one Secret.
#[derive(Default)]
struct Known<'a> {
    listed: BTreeSet<&'a str>,
    /// The keys that etcd itself uses.
    own: BTreeSet<String>,
}

/// The Secrets that the pod mounts, and which of their keys look like a client's certificate and key, as sentences to add;
/// nothing where there are none.
pub(super) fn in_words(context: &Context<'_>) -> String {
    let mut secrets: BTreeMap<&str, Known<'_>> = BTreeMap::new();
    for volume in &context.sts.spec.template.spec.volumes {
        for (name, keys) in of_volume(volume) {
            secrets.entry(name).or_default().listed.extend(keys);
        }
    }
    for object in OWN.iter().filter_map(|flag| object(context, flag)).filter(|object| object.kind == Kind::Secret) {
        if let Some(known) = secrets.get_mut(object.name.as_str()) {
            known.own.insert(object.key);
        }
    }
    if secrets.is_empty() {
        return String::new();
    }
    let count = secrets.len();
    let mut list: Vec<String> = secrets.iter().take(MOST).map(|(name, known)| known.in_words(name)).collect();
    if count > MOST {
        list.push(format!("{} more", count - MOST));
    }
    shorten(&format!(" The pod mounts {}.", list.join("; ")), SHOWN)
}

fn object(context: &Context<'_>, flag: &str) -> Option<ObjectKey> {
    context.files.object(context.container(), context.options().get(flag)?.known()?)
}

/// The Secrets of a volume, each with the keys that are listed.
fn of_volume(volume: &Volume) -> Vec<(&str, Vec<&str>)> {
    let direct = volume.secret.iter().map(|secret| (secret.secret_name.as_str(), &secret.items));
    let sources = volume.projected.iter().flat_map(|projected| &projected.sources);
    let projected = sources.filter_map(|source| source.secret.as_ref()).map(|s| (s.name.as_str(), &s.items));
    direct
        .chain(projected)
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, items)| (name, items.iter().map(|item| item.key.as_str()).collect()))
        .collect()
}

impl Known<'_> {
    fn in_words(&self, name: &str) -> String {
        let mut parts = Vec::new();
        if let Some((cert, key)) = self.pair() {
            parts.push(format!("{cert} and {key} look like a client's certificate and key"));
        }
        if !self.own.is_empty() {
            let own: Vec<&str> = self.own.iter().map(String::as_str).collect();
            parts.push(format!("etcd itself uses {}", own.join(", ")));
        }
        if self.listed.is_empty() {
            parts.push("its keys are not listed".to_owned());
        }
        if parts.is_empty() {
            let keys: Vec<&str> = self.listed.iter().take(MOST).copied().collect();
            parts.push(format!("keys {}", keys.join(", ")));
        }
        format!("the Secret {name} ({})", parts.join("; ").replace("; ", ", "))
    }

    /// A certificate and its key among those that are listed and that etcd does not use, one that says client first.
    fn pair(&self) -> Option<(&str, &str)> {
        let free = |key: &str| self.listed.get(key).copied().filter(|key| !self.own.contains(*key));
        let key_of = |cert: &str| {
            let stem = ["-cert.pem", ".crt", ".pem", ".cert"].iter().find_map(|end| cert.strip_suffix(end))?;
            let wanted = [format!("{stem}.key"), format!("{stem}-key.pem"), "key.pem".to_owned()];
            wanted.iter().filter(|key| *key != cert).find_map(|key| free(key))
        };
        let certs = || self.listed.iter().copied().filter(|cert| !cert.starts_with("ca") && free(cert).is_some());
        let pairs = || certs().filter_map(|cert| Some((cert, key_of(cert)?)));
        pairs().find(|(cert, _)| cert.contains("client")).or_else(|| pairs().next())
    }
}
