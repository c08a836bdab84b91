//! From a path in a container to the Secret or ConfigMap that holds the file.

use super::types::{Kind, ObjectKey, SecretPair};
use crate::defrag::{
    etcd::marks::is_known,
    statefulset::{Container, KeyToPath, PodSpec, Volume},
};

/// The object and key behind `path`: longest mount, then the volume, through `subPath` and `items`.
pub(super) fn object(pod: &PodSpec, container: &Container, path: &str) -> Option<ObjectKey> {
    if !is_known(path) {
        return None;
    }
    let path = components(path)?;
    let mounts = container.volume_mounts.iter().filter_map(|mount| {
        let at = components(&mount.mount_path)?;
        path.starts_with(&at).then_some((at.len(), mount))
    });
    let (depth, mount) = mounts.max_by_key(|(depth, _)| *depth)?;
    let mut inside = components_or_none(&mount.sub_path)?;
    inside.extend(path.get(depth..)?);
    let volume = pod.volumes.iter().find(|volume| volume.name == mount.name)?;
    in_volume(volume, &inside.join("/"))
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

/// A certificate and a private key in the same Secret, by their paths.
pub(super) fn pair(pod: &PodSpec, container: &Container, cert: &str, key: &str) -> Option<SecretPair> {
    let cert = object(pod, container, cert)?;
    let key = object(pod, container, key)?;
    (cert.kind == Kind::Secret && key.kind == Kind::Secret && cert.name == key.name).then_some(SecretPair {
        name: cert.name,
        cert_key: cert.key,
        key_key: key.key,
    })
}

fn in_volume(volume: &Volume, path: &str) -> Option<ObjectKey> {
    if let Some(secret) = &volume.secret {
        return in_object(Kind::Secret, &secret.secret_name, &secret.items, path);
    }
    if let Some(config_map) = &volume.config_map {
        return in_object(Kind::ConfigMap, &config_map.name, &config_map.items, path);
    }
    let sources = &volume.projected.as_ref()?.sources;
    let objects = || {
        sources.iter().flat_map(|source| {
            let secret = source.secret.as_ref().map(|s| (Kind::Secret, &s.name, &s.items));
            secret.into_iter().chain(source.config_map.as_ref().map(|c| (Kind::ConfigMap, &c.name, &c.items)))
        })
    };
    let listed = objects().filter(|(_, _, items)| !items.is_empty());
    if let Some(found) = listed.filter_map(|(kind, name, items)| in_object(kind, name, items, path)).next_back() {
        return Some(found);
    }
    // A source without items may hold the file under its own name, but only one source leaves no doubt which.
    let mut whole = objects().filter(|(_, _, items)| items.is_empty());
    match (whole.next(), whole.next()) {
        (Some((kind, name, items)), None) => in_object(kind, name, items, path),
        _ => None,
    }
}

fn in_object(kind: Kind, name: &str, items: &[KeyToPath], path: &str) -> Option<ObjectKey> {
    let key = if items.is_empty() {
        (!path.is_empty() && !path.contains('/')).then_some(path)?
    } else {
        let wanted = components(path)?;
        items.iter().find(|item| components(&item.path).is_some_and(|at| at == wanted))?.key.as_str()
    };
    (!name.is_empty() && !key.is_empty()).then(|| ObjectKey { kind, name: name.to_owned(), key: key.to_owned() })
}

/// The names in a path; `None` for a path that climbs.
fn components(path: &str) -> Option<Vec<&str>> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    (!names.is_empty() && !names.contains(&"..")).then_some(names)
}

fn components_or_none(path: &str) -> Option<Vec<&str>> {
    if path.is_empty() { Some(Vec::new()) } else { components(path) }
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
            let found = object(&pod, &container, path).map(|o| format!("{:?} {} {}", o.kind, o.name, o.key));
            assert_eq!(found.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_pair_needs_one_secret() {
        let (pod, container) = pod();
        let expected = SecretPair { name: "s-whole".into(), cert_key: "tls.crt".into(), key_key: "tls.key".into() };
        assert_eq!(pair(&pod, &container, "/certs/tls.crt", "/certs/tls.key"), Some(expected));
        assert_eq!(pair(&pod, &container, "/certs/tls.crt", "/mixed/server.pem"), None);
        assert_eq!(pair(&pod, &container, "/ca/tls.crt", "/ca/tls.key"), None);
    }
}
