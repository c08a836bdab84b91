//! Ports of members that are stated, and whether etcd answers clients there.

use super::Stated;
use crate::defrag::{
    etcd::{
        listens::{self, Listens},
        marks::readable,
        url::{Url, parse_list},
    },
    finding::{Code, Finding, Severity, quoted},
    keys::Key,
};

/// The flags by which etcd answers at ports of its pod, and no client of its API there; what they are for in a word, and in the
/// middle of a sentence.
const OTHERS: [(&str, &str, &str); 2] = [
    ("listen-metrics-urls", "metrics", "etcd serves its metrics and its health and answers no client of its API"),
    ("listen-client-http-urls", "HTTP", "etcd serves HTTP only and answers no client of its API"),
];

/// What a port is for that is not for clients.
struct Purpose {
    /// In a word.
    brief: &'static str,
    /// What happens there, in the middle of a sentence.
    sentence: String,
}

impl Stated<'_, '_> {
    /// What else than clients etcd serves at the port of a URL, where it serves no clients there.
    fn purpose(&self, url: &Url) -> Option<Purpose> {
        let port = url.port.filter(|_| self.is_member(url) && !self.listens_on(url.port))?;
        if self.peer_ports.contains(&port) {
            let sentence = "the members of this etcd talk to each other and answer no client".to_owned();
            return Some(Purpose { brief: "peers", sentence });
        }
        OTHERS.iter().find_map(|(flag, brief, sentence)| {
            let setting = self.context.options().get(flag)?;
            let is_there = parse_list(&setting.value).iter().any(|url| !url.is_local() && url.port == Some(port));
            let sentence = || format!("{sentence} ({} {})", setting.origin, quoted(&readable(&setting.value)));
            is_there.then(|| Purpose { brief, sentence: sentence() })
        })
    }

    /// Whether etcd answers at the port of a URL, but no client.
    pub(super) fn is_for_others(&self, url: &Url) -> bool {
        self.purpose(url).is_some()
    }

    /// A URL with a port at which etcd answers, but no client.
    pub(super) fn other_port(&self) -> Option<Finding> {
        let (url, purpose) = self.urls.iter().find_map(|url| Some((url, self.purpose(url)?)))?;
        let port = url.port.unwrap_or_default();
        let instead = match self.port() {
            Some(client) => format!("Clients are served on {client} ({}). Write {}.", self.listen(), self.corrected()),
            None => "Write the port at which clients are served, 2379 unless it was changed.".to_owned(),
        };
        Some(self.finding(
            format!("port {port} is that of {}; write the port for clients", purpose.brief),
            &format!(
                "{} has port {port}, at which {}, so each run would fail. {instead}",
                self.key.annotation(),
                purpose.sentence
            ),
        ))
    }

    /// A port of a pod on which nothing visible listens.
    pub(super) fn nobody_listens(&self) -> Option<Finding> {
        if !self.all_read || self.listening.is_empty() || !self.context.sidecars.is_empty() {
            return None;
        }
        let mut pods = self.urls.iter().filter(|url| self.ordinal(url).is_some());
        let port = pods.find(|url| !self.listens_on(url.port) && !self.is_for_others(url))?.port?;
        let finding = self.finding(
            format!("nothing visible listens on port {port}"),
            &format!(
                "{} has port {port}, and nothing visible listens there: etcd serves clients at {}, and no other container runs \
                 beside it. If nothing else listens there, each run fails: write {}.",
                self.key.annotation(),
                self.listen(),
                self.corrected()
            ),
        );
        Some(finding.with_severity(Severity::Warn))
    }

    /// Pods whose etcd listens on loopback only, where no other container is seen to forward connections to it.
    pub(super) fn forwarded_by_nobody(&self) -> Option<Finding> {
        let Listens::Locally { urls, field } = listens::at(self.context.options()) else { return None };
        let containers = || self.context.sidecars.iter().map(|sidecar| sidecar.container);
        let has = |port: u16| containers().any(|one| one.ports.iter().any(|own| own.container_port == i32::from(port)));
        let port = self.urls.iter().filter(|url| self.ordinal(url).is_some()).filter_map(|url| url.port);
        let port = port.into_iter().find(|port| !has(*port))?;
        let annotation = Key::Endpoints.annotation();
        if self.context.sidecars.is_empty() {
            return Some(Finding::new(
                Code::EtcdUnreachable,
                field,
                "etcd listens on loopback only, and nothing beside it forwards to it",
                format!(
                    "{annotation} names pods of this StatefulSet, but their etcd listens for clients on {urls}, which only its own \
                     pod can dial, and the pod has no other container that could forward connections to it. So each run would \
                     fail. Add an address that other pods reach to --listen-client-urls, such as https://0.0.0.0:2379 with TLS and \
                     --client-cert-auth, or remove the label and defragment it from inside the pod."
                ),
            ));
        }
        let finding = self.finding(
            format!("etcd listens on loopback only, and no container has port {port}"),
            &format!(
                "{annotation} has port {port}, but etcd listens for clients on {urls}, which only its own pod can dial, and no other \
                 container of the pod has containerPort {port}. Unless one of them forwards connections from there to etcd, each run \
                 fails: write the port at which one does."
            ),
        );
        Some(finding.with_severity(Severity::Warn))
    }
}
