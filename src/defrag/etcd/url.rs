//! A client URL in its parts, and who can reach it.

use std::net::IpAddr;

use super::{
    marks::{ADDRESS, POD, UNKNOWN, VALUE},
    types::Scheme,
};
use crate::defrag::dns::is_label;

/// A client URL in its parts, each as far as it can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: Option<Scheme>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Whether there is a port that is not visible.
    pub(super) hides_port: bool,
}

/// What the host of a URL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// The pod that dials it.
    Loopback,
    /// No address at all: all interfaces of the host that listens.
    Unspecified,
    /// The address of the pod, which no name covers.
    PodAddress,
    /// The bare name of a pod, which only that pod itself resolves.
    BarePod,
    /// A name or an address that any pod can dial.
    Named,
    /// It cannot be seen.
    Unknown,
}

impl Url {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let scheme = match scheme {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            unknown if unknown.contains([UNKNOWN, VALUE]) => None,
            _ => return None,
        };
        let authority = rest.split(['/', '?']).next()?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok().filter(|port| *port > 0)),
            _ => (authority, None),
        };
        let hides_port = port.is_none() && authority.ends_with([UNKNOWN, VALUE]);
        Some(Self { scheme, host: host.to_owned(), port, hides_port })
    }

    /// What its host is, to the StatefulSet of this name.
    pub(super) fn host(&self, statefulset: &str) -> Host {
        let host = self.host.trim_end_matches('.');
        let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        if bare.contains([UNKNOWN, VALUE]) {
            return Host::Unknown;
        }
        if bare.contains(ADDRESS) {
            return Host::PodAddress;
        }
        if let Ok(address) = bare.parse::<IpAddr>() {
            let address = address.to_canonical();
            return match address {
                address if address.is_loopback() => Host::Loopback,
                address if address.is_unspecified() => Host::Unspecified,
                _ => Host::Named,
            };
        }
        if bare.is_empty() {
            Host::Unspecified
        } else if bare == "localhost" || bare.ends_with(".localhost") || bare == "localhost.localdomain" {
            Host::Loopback
        } else if !bare.contains('.') && pod(bare, statefulset) {
            Host::BarePod
        } else {
            Host::Named
        }
    }

    /// The part of the host behind the name of a pod of the StatefulSet, such as `etcd.db.svc`; empty for a bare name.
    /// `None` where the host names no pod, or where that part is no name.
    pub(super) fn behind_pod(&self, statefulset: &str) -> Option<String> {
        let host = self.host.trim_end_matches('.');
        let (first, rest) = host.split_once('.').unwrap_or((host, ""));
        if !pod(first, statefulset) {
            return None;
        }
        let rest = rest.to_ascii_lowercase();
        if rest.is_empty() || rest.split('.').all(is_label) {
            return Some(rest);
        }
        // A domain that cannot be seen may be left out: the cluster's own is searched.
        let (known, _) = rest.split_once(".svc.")?;
        known.split('.').all(is_label).then(|| format!("{known}.svc"))
    }

    /// Whether a domain that is not visible follows the name of a pod, which [`Self::behind_pod`] leaves out.
    pub(super) fn hides_domain(&self, statefulset: &str) -> bool {
        let host = self.host.trim_end_matches('.').to_ascii_lowercase();
        let behind = host.split_once('.').map_or("", |(_, behind)| behind);
        self.behind_pod(statefulset).is_some_and(|known| known != behind)
    }

    /// The namespace that its host names: what precedes `svc`, or follows a pod of the StatefulSet and its governing
    /// Service.
    pub(super) fn namespace(&self, statefulset: &str, service: &str) -> Option<String> {
        let host = self.host.trim_end_matches('.').to_lowercase();
        let labels: Vec<&str> = host.split('.').collect();
        let in_front = labels.iter().skip(1).zip(labels.iter().skip(2)).find(|(_, next)| **next == "svc");
        let namespace = match (in_front, labels.as_slice()) {
            (Some((label, _)), _) => label,
            (None, [first, second, label]) if pod(first, statefulset) && *second == service => label,
            _ => return None,
        };
        is_label(namespace).then(|| (*namespace).to_owned())
    }

    /// The Service under which its host names a pod of the StatefulSet, as names in the cluster do: `etcd` in `etcd-0.etcd`,
    /// `etcd-0.etcd.db` and `etcd-0.etcd.db.svc.example`. Not so the name of a Service for each pod (`etcd-0.db.svc`), nor names in
    /// other domains. `namespace` is that of the StatefulSet.
    pub(super) fn service(&self, statefulset: &str, namespace: &str) -> Option<String> {
        let behind = self.behind_pod(statefulset)?;
        let labels: Vec<&str> = behind.split('.').collect();
        let service = match labels.as_slice() {
            [service] if *service != namespace => service,
            [service, label] if *label == namespace => service,
            [service, _, "svc", ..] => service,
            _ => return None,
        };
        Some((*service).to_owned()).filter(|service| !service.is_empty())
    }

    /// Whether its host is an address and no name.
    pub(super) fn is_address(&self) -> bool {
        let bare = self.host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(&self.host);
        bare.parse::<IpAddr>().is_ok()
    }

    pub(super) fn is_local(&self) -> bool {
        self.host("") == Host::Loopback
    }
}

/// Whether a label is the name of a pod of the StatefulSet.
pub(super) fn pod(label: &str, statefulset: &str) -> bool {
    label.chars().eq([POD]) || ordinal(label, statefulset).is_some()
}

/// The number of the pod that a label names.
pub(super) fn ordinal<'a>(label: &'a str, statefulset: &str) -> Option<&'a str> {
    let number = label.strip_prefix(statefulset)?.strip_prefix('-')?;
    (!statefulset.is_empty() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some(number)
}

/// The URLs of a list that commas part.
pub(super) fn parse_list(text: &str) -> Vec<Url> {
    text.split(',').filter_map(Url::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart() {
        for (text, scheme, host, port) in [
            ("https://a.b:2379", Some(Scheme::Https), "a.b", Some(2379)),
            ("http://a/", Some(Scheme::Http), "a", None),
            ("\u{E001}://a:1", None, "a", Some(1)),
            ("https://[::1]:2379", Some(Scheme::Https), "[::1]", Some(2379)),
            ("https://[::1]", Some(Scheme::Https), "[::1]", None),
            ("https://a:99999", Some(Scheme::Https), "a", None),
            (" https://a:0 ", Some(Scheme::Https), "a", None),
        ] {
            assert_eq!(
                Url::parse(text),
                Some(Url { scheme, host: host.to_owned(), port, hides_port: false }),
                "{text}"
            );
        }
        for text in ["https://a:\u{E001}", "https://0.0.0.0:\u{E003}", "https://\u{E001}", "https://a:\u{E001}/x"] {
            assert!(Url::parse(text).is_some_and(|url| url.hides_port), "{text}");
        }
        for text in ["", "a:2379", "unix:///var/run/x", "$(X)://a"] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }

    #[test]
    fn hosts_and_who_reaches_them() {
        for (host, expected) in [
            ("localhost", Host::Loopback),
            ("127.0.0.1", Host::Loopback),
            ("127.8.9.1", Host::Loopback),
            ("[::1]", Host::Loopback),
            ("[::ffff:127.0.0.1]", Host::Loopback),
            ("0.0.0.0", Host::Unspecified),
            ("[::]", Host::Unspecified),
            ("[0:0:0:0:0:0:0:0]", Host::Unspecified),
            ("", Host::Unspecified),
            ("\u{E002}", Host::PodAddress),
            ("[\u{E002}]", Host::PodAddress),
            ("\u{E000}", Host::BarePod),
            ("etcd-0", Host::BarePod),
            ("etcd", Host::Named),
            ("\u{E000}.etcd", Host::Named),
            ("etcd-0.etcd.db.svc.cluster.local.", Host::Named),
            ("10.0.0.1", Host::Named),
            ("\u{E001}", Host::Unknown),
            ("\u{E000}.\u{E001}", Host::Unknown),
        ] {
            let url = Url { scheme: None, host: host.to_owned(), port: None, hides_port: false };
            assert_eq!(url.host("etcd"), expected, "{host:?}");
        }
    }

    #[test]
    fn the_namespace_of_a_host() {
        for (host, expected) in [
            ("\u{E000}.a.b.svc.c", Some("b")),
            ("etcd-7.A.B.SVC.", Some("b")),
            ("etcd-7.cluster1.a.b.svc.clusterset.local", Some("b")),
            ("a.b.svc", Some("b")),
            ("etcd-0.a.b", Some("b")),
            ("\u{E000}.a.b", Some("b")),
            ("etcd-0.other.b", None),
            ("etcd-0.a.example.com", None),
            ("other-0.a.b", None),
            ("etcd-0.a", None),
            ("etcd-0.svc", None),
            ("\u{E000}.a.\u{E001}.svc", None),
            ("10.0.0.1", None),
            ("", None),
        ] {
            let url = Url { scheme: None, host: host.to_owned(), port: None, hides_port: false };
            assert_eq!(url.namespace("etcd", "a").as_deref(), expected, "{host:?}");
        }
    }

    #[test]
    fn the_service_under_which_a_pod_is_named() {
        for (host, expected) in [
            ("\u{E000}.a", Some("a")),
            ("etcd-7.A.b", Some("a")),
            ("\u{E000}.a.b.svc.c.", Some("a")),
            ("\u{E000}.a.b.svc.\u{E001}", Some("a")),
            ("\u{E000}.b", None),
            ("\u{E000}.b.svc", None),
            ("\u{E000}.b.svc.cluster.local", None),
            ("\u{E000}.cluster1.a.b.svc.clusterset.local", None),
            ("\u{E000}.example.com", None),
            ("\u{E000}", None),
            ("a.b.svc", None),
            ("other-0.a.b.svc", None),
        ] {
            let url = Url { scheme: None, host: host.to_owned(), port: None, hides_port: false };
            assert_eq!(url.service("etcd", "b").as_deref(), expected, "{host:?}");
        }
    }

    #[test]
    fn what_stands_behind_the_name_of_a_pod() {
        for (host, expected) in [
            ("\u{E000}.a.b.svc.c", Some("a.b.svc.c")),
            ("etcd-7.a.b.svc.c.", Some("a.b.svc.c")),
            ("\u{E000}.a.b", Some("a.b")),
            ("\u{E000}", Some("")),
            ("\u{E000}.a.b.svc.\u{E001}", Some("a.b.svc")),
            ("\u{E000}.a.b.svc.$(NOPE)", Some("a.b.svc")),
            ("\u{E000}.\u{E001}.b.svc.c", None),
            ("\u{E000}.a.\u{E001}", None),
            ("etcd.a.b", None),
            ("etcd-x.a.b", None),
            ("other-0.a.b", None),
        ] {
            let url = Url { scheme: None, host: host.to_owned(), port: None, hides_port: false };
            assert_eq!(url.behind_pod("etcd").as_deref(), expected, "{host:?}");
        }
    }
}
