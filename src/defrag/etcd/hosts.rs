//! What a host in a client URL resolves to: a pod, a Service, or something outside the names of the cluster.

use super::{context::Context, url::pod};

/// Domains of a single label that networks give to hosts outside of a cluster: those of RFC 2606, 6761, 6762 and 8375, and others
/// that are in common use for that.
const OUTSIDE: [&str; 13] = [
    "local",
    "localdomain",
    "internal",
    "intranet",
    "private",
    "lan",
    "home",
    "corp",
    "net",
    "com",
    "org",
    "test",
    "example",
];

/// A host in lower case and without the dot at its end, and its labels.
fn plain(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// The name and the number of the pod that a label may be.
fn numbered(label: &str) -> Option<(&str, &str)> {
    let (name, number) = label.rsplit_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !name.is_empty() && !is_dashed_address(label)).then_some((name, number))
}

/// Whether a label is an address as DNS names pods without a name: `10-0-0-1`.
fn is_dashed_address(label: &str) -> bool {
    label.split('-').count() == 4 && label.split('-').all(|part| part.parse::<u8>().is_ok())
}

/// Whether a host is the name of a pod, and of no pod of this StatefulSet, whatever Services there are: `other-0.other`,
/// `other-0.other.db` and `other-0.other.db.svc.cluster.local`. Not so the name of a Service, of something outside of the cluster,
/// or an address.
pub(super) fn is_other_pod(context: &Context<'_>, host: &str) -> bool {
    let host = plain(host);
    let namespace = context.sts.metadata.namespace.as_deref();
    let governing = context.sts.spec.service_name.as_str();
    let labels: Vec<&str> = host.split('.').collect();
    let Some(first) = labels.first().filter(|first| !pod(first, context.sts.name()) && !is_dashed_address(first))
    else {
        return false;
    };
    let is_pod = numbered(first).is_some();
    match labels.as_slice() {
        // A Service has one label in front of its namespace.
        [_, _, _, "svc", ..] => true,
        [_, service, label] => Some(*label) == namespace && (is_pod || *service == governing),
        [_, service] => {
            namespace.is_some_and(|own| own != *service)
                && (*service == governing || is_pod && !OUTSIDE.contains(service))
        }
        _ => false,
    }
}

/// The first label of a host that is the name of a pod of a StatefulSet, as far as that is known.
pub(super) fn pod_label(host: &str) -> Option<&str> {
    let (first, _) = host.split_once('.')?;
    numbered(first).map(|_| first)
}

/// What a host leads to, the same for each of its names: `etcd-0/db` for `etcd-0.etcd`, `etcd-0.etcd.db` and
/// `etcd-0.etcd.db.svc.cluster.local`, `etcd/db` for a Service, else the host. `namespace` is that of the object that
/// contains it. For pods the Service does not matter: they are distinguished by their names.
fn place(host: &str, namespace: &str) -> String {
    let host = plain(host);
    let labels: Vec<&str> = host.split('.').collect();
    let is_pod = |first: &str| numbered(first).is_some();
    match labels.as_slice() {
        [first] if !first.starts_with('[') => format!("{first}/{namespace}"),
        [first, _, within, "svc", ..] | [first, within, "svc", ..] => format!("{first}/{within}"),
        [first, label] if *label == namespace => format!("{first}/{namespace}"),
        [first, label] if is_pod(first) && !OUTSIDE.contains(label) => format!("{first}/{namespace}"),
        [first, _, within] if *within == namespace && is_pod(first) => format!("{first}/{within}"),
        _ => host,
    }
}

/// What a client URL leads to. The port distinguishes Services and addresses, but not pods.
pub(super) fn place_of(url: &str, namespace: &str) -> Option<String> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next()?.trim();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    };
    let place = place(host, namespace);
    let (first, within) = place.split_once('/').unwrap_or((&place, ""));
    if host.is_empty() {
        None
    } else if !within.is_empty() && numbered(first).is_some() {
        Some(place)
    } else {
        Some(format!("{place}:{port}"))
    }
}

/// The StatefulSet whose pod a place is, where it can be one.
pub(super) fn statefulset_of(place: &str) -> Option<&str> {
    let (first, within) = place.split_once('/')?;
    let (name, _) = numbered(first)?;
    (!within.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_one_host_lead_to_one_place() {
        for (url, expected) in [
            ("https://etcd-0.etcd:2379", "etcd-0/db"),
            ("https://ETCD-0.etcd.db.:2379", "etcd-0/db"),
            ("http://etcd-0.other.db.svc:1", "etcd-0/db"),
            ("http://etcd-0.other.db.svc.cluster.local:1", "etcd-0/db"),
            ("http://etcd-0.etcd.dev.svc.cluster.local:1", "etcd-0/dev"),
            ("http://etcd-0.db.svc:2379", "etcd-0/db"),
            ("http://etcd-client:2379", "etcd-client/db:2379"),
            ("http://etcd-client.db:2379", "etcd-client/db:2379"),
            ("http://etcd-client.db.svc.cluster.local:2379", "etcd-client/db:2379"),
            ("http://etcd-0.example:2379", "etcd-0.example:2379"),
            ("http://etcd-0.example.com:2379", "etcd-0.example.com:2379"),
            ("http://10.0.0.1:2379", "10.0.0.1:2379"),
            ("http://[::1]:2379", "[::1]:2379"),
            ("http://10-0-0-1.etcd.db.svc:2379", "10-0-0-1/db:2379"),
        ] {
            assert_eq!(place_of(url, "db").as_deref(), Some(expected), "{url}");
        }
        assert_eq!(place_of("http://:2379", "db"), None);
        assert_eq!(statefulset_of("etcd-a-0/db"), Some("etcd-a"));
        for place in ["etcd-client/db:2379", "10.0.0.1:2379", "etcd-0.example:2379"] {
            assert_eq!(statefulset_of(place), None, "{place}");
        }
    }
}
