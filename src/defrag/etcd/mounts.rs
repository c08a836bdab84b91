//! From a path in a container to the Secret or ConfigMap that holds the file.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use super::types::{Kind, ObjectKey, SecretPair};
use crate::defrag::{
    etcd::marks::is_known,
    statefulset::{Container, KeyToPath, PodSpec, Volume, VolumeMount},
};

/// The files in the volumes of a pod. Each volume is read once, however many containers look something up in it.
pub(super) struct Files<'a> {
    volumes: BTreeMap<&'a str, (&'a Volume, OnceCell<Held<'a>>)>,
    /// The volumes that init containers can write to, each with the path inside it.
    prepared: BTreeSet<(&'a str, &'a str)>,
}

/// What a volume holds.
struct Held<'a> {
    /// The keys that are listed, by their paths.
    listed: BTreeMap<String, Object<'a>>,
    /// The object that may hold any other file under its own name, where only one leaves no doubt which.
    whole: Option<(Kind, &'a str)>,
    /// Whether some object may hold files that are not listed.
    open: bool,
}

/// The most names in the path of a program that is looked for.
const DEEPEST_PROGRAM: usize = 64;

/// Kind, name and key.
type Object<'a> = (Kind, &'a str, &'a str);

impl<'a> Files<'a> {
    pub(super) fn of(pod: &'a PodSpec) -> Self {
        let mut volumes = BTreeMap::new();
        for volume in &pod.volumes {
            volumes.entry(volume.name.as_str()).or_insert_with(|| (volume, OnceCell::new()));
        }
        let mounts = pod.init_containers.iter().flat_map(|container| &container.volume_mounts);
        let prepared = mounts.map(|mount| (mount.name.as_str(), mount.sub_path.trim_matches('/'))).collect();
        Self { volumes, prepared }
    }

    /// The object and key behind `path`: longest mount, then the volume, through `subPath` and `items`.
    pub(super) fn object(&self, container: &Container, path: &str) -> Option<ObjectKey> {
        if !is_known(path) {
            return None;
        }
        let (mount, inside) = mount_of(container, path)?;
        let (volume, held) = self.volumes.get(mount.name.as_str())?;
        let held = held.get_or_init(|| Held::by(volume));
        let (kind, name, key) = held.listed.get(&inside.join("/")).copied().or_else(|| {
            let (kind, name) = held.whole?;
            let [key] = inside.as_slice() else { return None };
            Some((kind, name, *key))
        })?;
        Some(ObjectKey { kind, name: name.to_owned(), key: key.to_owned() })
    }

    /// The same where the manifest names that file itself: by a list of keys, or as a mount of its own.
    pub(super) fn stated(&self, container: &Container, path: &str) -> Option<ObjectKey> {
        let is_mount = |mount: &VolumeMount| {
            !mount.sub_path.is_empty() && components(&mount.mount_path).is_some_and(|at| components(path) == Some(at))
        };
        let (mount, inside) = mount_of(container, path)?;
        let (volume, held) = self.volumes.get(mount.name.as_str())?;
        let held = held.get_or_init(|| Held::by(volume));
        let is_stated = is_mount(mount) || held.listed.contains_key(&inside.join("/"));
        if is_stated { self.object(container, path) } else { None }
    }

    /// The files of a folder that a list of keys names, with what is behind them.
    pub(super) fn listed_in(&self, container: &Container, folder: &str) -> Vec<(String, ObjectKey)> {
        let found = || {
            let (mount, inside) = mount_of(container, folder)?;
            let (volume, held) = self.volumes.get(mount.name.as_str())?;
            let held = held.get_or_init(|| Held::by(volume));
            let prefix = if inside.is_empty() { String::new() } else { inside.join("/") + "/" };
            let below = held.listed.range(prefix.clone()..);
            let below = below.map_while(|(path, object)| Some((path.strip_prefix(&prefix)?, object)));
            let files = below.filter(|(name, _)| !name.contains('/'));
            let files = files.map(|(file, (kind, name, key))| {
                (file.to_owned(), ObjectKey { kind: *kind, name: (*name).to_owned(), key: (*key).to_owned() })
            });
            Some(files.collect())
        };
        found().unwrap_or_default()
    }

    /// Whether some volume lists a key of an object.
    pub(super) fn lists(&self, object: &ObjectKey) -> bool {
        let same = |(kind, name, key): &Object<'_>| *kind == object.kind && *name == object.name && *key == object.key;
        self.volumes.values().any(|(volume, held)| held.get_or_init(|| Held::by(volume)).listed.values().any(same))
    }

    /// Whether a volume brings a file to `path`, as far as is known: an empty folder brings none unless an init
    /// container fills it, and a list of keys only those.
    pub(super) fn may_hold(&self, container: &Container, path: &str) -> bool {
        let Some((mount, inside)) = mount_of(container, path) else { return false };
        let Some((volume, held)) = self.volumes.get(mount.name.as_str()) else { return true };
        if volume.empty_dir.is_some() {
            return self.prepared.contains(&(mount.name.as_str(), mount.sub_path.trim_matches('/')));
        }
        if objects(volume).is_empty() {
            return true;
        }
        let held = held.get_or_init(|| Held::by(volume));
        held.open || held.listed.contains_key(&inside.join("/"))
    }

    /// Where each folder and file of a container comes from, by its path.
    pub(super) fn mounts<'c>(&'c self, container: &'c Container) -> Mounts<'c, 'a> {
        let mounts = container.volume_mounts.iter();
        let mounted = mounts.filter_map(|mount| Some((components(&mount.mount_path)?, mount))).collect();
        Mounts { files: self, mounted }
    }

    /// A certificate and a private key in the same Secret, by their paths.
    pub(super) fn pair(&self, container: &Container, cert: &str, key: &str) -> Option<SecretPair> {
        let cert = self.object(container, cert)?;
        let key = self.object(container, key)?;
        (cert.kind == Kind::Secret && key.kind == Kind::Secret && cert.name == key.name).then_some(SecretPair {
            name: cert.name,
            cert_key: cert.key,
            key_key: key.key,
        })
    }
}

/// The mounts of a container, by the names in their paths.
pub(super) struct Mounts<'c, 'a> {
    files: &'c Files<'a>,
    mounted: BTreeMap<Vec<&'c str>, &'c VolumeMount>,
}

impl Mounts<'_, '_> {
    /// The volume that brings a file to `path` out of a ConfigMap or a Secret, which are too small for a program such as etcd.
    pub(super) fn brings(&self, path: &str) -> Option<&str> {
        let path = components(path).filter(|path| path.len() <= DEEPEST_PROGRAM)?;
        let (depth, mount) =
            (0..=path.len()).rev().find_map(|depth| Some((depth, *self.mounted.get(path.get(..depth)?)?)))?;
        let mut inside = inside_volume(&mount.sub_path)?;
        inside.extend(path.get(depth..)?);
        let (volume, held) = self.files.volumes.get(mount.name.as_str())?;
        if objects(volume).is_empty() {
            return None;
        }
        let held = held.get_or_init(|| Held::by(volume));
        // No key has a slash in it.
        let may_hold = (held.open && inside.len() == 1) || held.listed.contains_key(&inside.join("/"));
        may_hold.then_some(mount.name.as_str())
    }
}

impl<'a> Held<'a> {
    fn by(volume: &'a Volume) -> Self {
        let mut listed: BTreeMap<String, Object<'a>> = BTreeMap::new();
        let mut whole = Vec::new();
        for (kind, name, items) in objects(volume) {
            if items.is_empty() {
                whole.push((kind, name));
            }
            // In one object the first key of a path counts, of several objects the last one.
            let mut seen = BTreeSet::new();
            for item in items {
                let Some(path) = inside_volume(&item.path).map(|path| path.join("/")) else { continue };
                if path.is_empty() {
                    continue;
                }
                if seen.insert(path.clone()) && !name.is_empty() && !item.key.is_empty() {
                    listed.insert(path, (kind, name, &item.key));
                }
            }
        }
        let open = !whole.is_empty();
        let whole = match whole.as_slice() {
            [(kind, name)] if !name.is_empty() => Some((*kind, *name)),
            _ => None,
        };
        Self { listed, whole, open }
    }
}

/// The Secrets and ConfigMaps that a volume is made of.
pub(super) fn objects(volume: &Volume) -> Vec<(Kind, &str, &[KeyToPath])> {
    if let Some(secret) = &volume.secret {
        return vec![(Kind::Secret, &secret.secret_name, &secret.items)];
    }
    if let Some(config_map) = &volume.config_map {
        return vec![(Kind::ConfigMap, &config_map.name, &config_map.items)];
    }
    let sources = volume.projected.iter().flat_map(|projected| &projected.sources);
    let objects = sources.flat_map(|source| {
        let secret = source.secret.as_ref().map(|s| (Kind::Secret, s.name.as_str(), s.items.as_slice()));
        let map = source.config_map.as_ref().map(|c| (Kind::ConfigMap, c.name.as_str(), c.items.as_slice()));
        secret.into_iter().chain(map)
    });
    objects.collect()
}

/// The mount that `path` lies on, and the names of the path inside its volume.
fn mount_of<'a>(container: &'a Container, path: &'a str) -> Option<(&'a VolumeMount, Vec<&'a str>)> {
    let path = components(path)?;
    let mounts = container.volume_mounts.iter().filter_map(|mount| {
        let at = components(&mount.mount_path)?;
        path.starts_with(&at).then_some((at.len(), mount))
    });
    let (depth, mount) = mounts.max_by_key(|(depth, _)| *depth)?;
    let mut inside = inside_volume(&mount.sub_path)?;
    inside.extend(path.get(depth..)?);
    Some((mount, inside))
}

/// The volume that `path` lies on, by name.
pub(super) fn volume_of<'a>(container: &'a Container, path: &str) -> Option<&'a str> {
    // What cannot be seen is at most a name in the path, and matters only above the mount.
    let path = components(path)?;
    let mounts = container.volume_mounts.iter().filter_map(|mount| {
        let at = components(&mount.mount_path)?;
        path.starts_with(&at).then_some((at.len(), mount.name.as_str()))
    });
    mounts.max_by_key(|(depth, _)| *depth).map(|(_, name)| name)
}

/// The names in the path of a container, without those that `..` removes; `None` if that is not known, and for
/// an empty path.
fn components(path: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    for name in names_of(path) {
        if name == ".." {
            // What cannot be seen may be several names.
            if !names.pop().is_none_or(is_known) {
                return None;
            }
        } else {
            names.push(name);
        }
    }
    (!names.is_empty()).then_some(names)
}

/// The names in a path inside a volume, where Kubernetes refuses one that climbs.
fn inside_volume(path: &str) -> Option<Vec<&str>> {
    let names: Vec<&str> = names_of(path).collect();
    (!names.contains(&"..")).then_some(names)
}

fn names_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> (PodSpec, Container) {
        let pod = serde_json::json!({
            "volumes": [
                {"name": "whole", "secret": {"secretName": "s-whole"}},
                {"name": "items", "secret": {"secretName": "s-items", "items": [
                    {"key": "tls.crt", "path": "a/server.pem"}
                ]}},
                {"name": "map", "configMap": {"name": "m-ca"}},
                {"name": "mixed", "projected": {"sources": [
                    {"secret": {"name": "p-server", "items": [
                        {"key": "ca.crt", "path": "ca.crt"}, {"key": "tls.crt", "path": "server.pem"}
                    ]}},
                    {"secret": {"name": "p-whole"}},
                    {"configMap": {"name": "p-map", "items": [{"key": "bundle", "path": "bundle.crt"}]}}
                ]}},
                {"name": "doubtful", "projected": {"sources": [{"secret": {"name": "a"}}, {"secret": {"name": "b"}}]}},
                {"name": "nameless", "secret": {}}
            ],
            "containers": [{"volumeMounts": [
                {"name": "whole", "mountPath": "/certs/"},
                {"name": "items", "mountPath": "/certs/deep"},
                {"name": "map", "mountPath": "/ca"},
                {"name": "mixed", "mountPath": "//mixed"},
                {"name": "doubtful", "mountPath": "/doubtful"},
                {"name": "nameless", "mountPath": "/nameless"},
                {"name": "whole", "mountPath": "/one/file.crt", "subPath": "tls.crt"},
                {"name": "items", "mountPath": "/sub", "subPath": "a"},
                {"name": "gone", "mountPath": "/gone"}
            ]}]
        });
        let pod: PodSpec = serde_json::from_value(pod).unwrap();
        let container = pod.containers[0].clone();
        (pod, container)
    }

    #[test]
    fn paths_lead_to_their_objects() {
        let (pod, container) = pod();
        for (path, expected) in [
            ("/certs/tls.crt", Some("Secret s-whole tls.crt")),
            ("/certs//./tls.crt", Some("Secret s-whole tls.crt")),
            ("/certs/deep/a/server.pem", Some("Secret s-items tls.crt")),
            ("/certs/deep/server.pem", None),
            ("/certs/sub/tls.crt", None),
            ("/certs", None),
            ("/certsx/tls.crt", None),
            ("/certs/../etc/passwd", None),
            ("/certs/../ca/ca.crt", Some("ConfigMap m-ca ca.crt")),
            ("/../ca/x/.././ca.crt", Some("ConfigMap m-ca ca.crt")),
            ("/certs/deep/../tls.crt", Some("Secret s-whole tls.crt")),
            ("/certs/..", None),
            ("/ca/ca.crt", Some("ConfigMap m-ca ca.crt")),
            ("/mixed/ca.crt", Some("Secret p-server ca.crt")),
            ("/mixed/server.pem", Some("Secret p-server tls.crt")),
            ("/mixed/bundle.crt", Some("ConfigMap p-map bundle")),
            ("/mixed/other", Some("Secret p-whole other")),
            ("/doubtful/tls.crt", None),
            ("/nameless/tls.crt", None),
            ("/one/file.crt", Some("Secret s-whole tls.crt")),
            ("/sub/server.pem", Some("Secret s-items tls.crt")),
            ("/gone/x", None),
            ("/certs/\u{E001}", None),
            ("", None),
        ] {
            let found = Files::of(&pod).object(&container, path).map(|o| format!("{:?} {} {}", o.kind, o.name, o.key));
            assert_eq!(found.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_a_volume_can_hold_it_brings() {
        let (pod, container) = pod();
        let files = Files::of(&pod);
        let mounts = files.mounts(&container);
        for (path, expected) in [
            ("/certs/etcd", Some("whole")),
            ("/x/../certs/./etcd", Some("whole")),
            ("/certs/deep/etcd", None),
            ("/certs/deep/a/server.pem", Some("items")),
            ("/ca/etcd", Some("map")),
            ("/ca/bin/etcd", None),
            ("/one/file.crt", Some("whole")),
            ("/one/other", None),
            ("/usr/local/bin/etcd", None),
            ("/gone/etcd", None),
            ("", None),
        ] {
            assert_eq!(mounts.brings(path), expected, "{path}");
        }
    }

    #[test]
    fn a_pair_needs_one_secret() {
        let (pod, container) = pod();
        let files = Files::of(&pod);
        let expected = SecretPair { name: "s-whole".into(), cert_key: "tls.crt".into(), key_key: "tls.key".into() };
        assert_eq!(files.pair(&container, "/certs/tls.crt", "/certs/tls.key"), Some(expected));
        assert_eq!(files.pair(&container, "/certs/tls.crt", "/mixed/server.pem"), None);
        assert_eq!(files.pair(&container, "/ca/tls.crt", "/ca/tls.key"), None);
    }
}
