//! Endpoints that a person states, held against what is in view.
//!
//! They are the way out where an etcd cannot be read, so nothing is said against what cannot be seen. But a URL that no pod
//! reaches, that has the scheme or the port of something else, or a list that leaves members out, is a run that fails or an etcd
//! of which a part is never defragmented.

use std::collections::BTreeSet;

use super::{
    MAX_MEMBERS,
    cluster::Cluster,
    context::Context,
    marks::readable,
    setting::Setting,
    types::Scheme,
    url::{Host, Url, ordinal, parse_list},
};
use crate::defrag::{
    finding::{Code, Finding, Severity, quoted, shorten},
    keys::Key,
};

/// The longest list of URLs that a message shows, in characters: that of nine members.
const SHOWN: usize = 1_200;

/// The endpoints, and what they are held against.
struct Stated<'a, 'c> {
    context: &'a Context<'c>,
    cluster: &'a Cluster,
    replicas: u32,
    urls: Vec<Url>,
    /// Where etcd listens for clients and others reach it.
    listening: Vec<Url>,
    /// Whether each of its URLs for clients can be read.
    all_read: bool,
    peer_ports: BTreeSet<u16>,
}

/// What is found, and the scheme that the members are seen to speak where that is another one.
pub(super) struct Judgement {
    pub(super) findings: Vec<Finding>,
    pub(super) scheme: Option<Scheme>,
}

pub(super) fn judge(context: &Context<'_>, cluster: &Cluster, replicas: u32, endpoints: &[String]) -> Judgement {
    let stated = Stated::of(context, cluster, replicas, endpoints);
    let scheme = stated.scheme().filter(|scheme| stated.differs(*scheme));
    let mut findings = Vec::new();
    findings.extend(stated.peer_port());
    findings.extend(scheme.and_then(|scheme| stated.other_scheme(scheme)));
    findings.extend(stated.nobody_listens());
    findings.extend(stated.bare_names());
    findings.extend(stated.left_out());
    findings.extend(stated.too_many());
    let refuses = findings.iter().any(Finding::denies);
    Judgement { findings, scheme: scheme.filter(|_| refuses) }
}

impl<'a, 'c> Stated<'a, 'c> {
    fn of(context: &'a Context<'c>, cluster: &'a Cluster, replicas: u32, endpoints: &[String]) -> Self {
        let options = context.options();
        let list = |flag: &str| options.get(flag).map_or_else(Vec::new, |setting| parse_list(&setting.value));
        let listen = options.get("listen-client-urls");
        let all = list("listen-client-urls");
        let is_read = |url: &Url| url.scheme.is_some() && url.port.is_some();
        let all_read =
            listen.is_some_and(|setting| setting.value.split(',').count() == all.len()) && all.iter().all(is_read);
        let peers = list("listen-peer-urls").into_iter().chain(list("initial-advertise-peer-urls"));
        Self {
            context,
            cluster,
            replicas,
            urls: endpoints.iter().filter_map(|url| Url::parse(url)).collect(),
            listening: all.into_iter().filter(|url| !url.is_local()).collect(),
            all_read,
            peer_ports: peers.filter_map(|url| url.port).chain(cluster.peer_ports.iter().copied()).collect(),
        }
    }

    fn name(&self) -> &str {
        self.context.sts.name()
    }

    /// The number of the pod of this StatefulSet that a URL names.
    fn ordinal(&self, url: &Url) -> Option<u64> {
        ordinal(url.host.split('.').next().unwrap_or_default(), self.name())?.parse().ok()
    }

    /// Whether a URL goes to a member itself, and to nothing in front of it.
    fn is_member(&self, url: &Url) -> bool {
        self.ordinal(url).is_some() || self.cluster.has(&url.host)
    }

    fn listens_on(&self, port: Option<u16>) -> bool {
        self.listening.iter().any(|url| url.port == port)
    }

    /// The one scheme of all URLs at which others reach etcd.
    fn scheme(&self) -> Option<Scheme> {
        let first = self.listening.first()?.scheme?;
        (self.all_read && self.listening.iter().all(|url| url.scheme == Some(first))).then_some(first)
    }

    fn differs(&self, scheme: Scheme) -> bool {
        self.urls.iter().any(|url| url.scheme.is_some_and(|stated| stated != scheme))
    }

    /// The one port at which others reach etcd.
    fn port(&self) -> Option<u16> {
        let ports: BTreeSet<u16> = self.listening.iter().filter_map(|url| url.port).collect();
        ports.first().copied().filter(|_| self.all_read && ports.len() == 1)
    }

    /// The list with the scheme and the port that etcd listens on, where both are known.
    fn corrected(&self) -> String {
        let port_of = |url: &Url| {
            let wrong = self.all_read && self.is_member(url) && !self.listens_on(url.port);
            if wrong { self.port().or(url.port) } else { url.port }
        };
        let urls: Vec<String> = self
            .urls
            .iter()
            .filter_map(|url| {
                let scheme = self.scheme().or(url.scheme)?;
                Some(format!("{scheme}://{}:{}", url.host, port_of(url)?))
            })
            .collect();
        format!("\"{}\"", shorten(&urls.join(","), SHOWN))
    }

    fn listen(&self) -> String {
        let words = |setting: &Setting| format!("{} {}", setting.origin, quoted(&readable(&setting.value)));
        self.context.options().get("listen-client-urls").map_or_else(String::new, words)
    }

    fn finding(&self, brief: String, message: &str) -> Finding {
        let note = self.context.overrides.note(&[Key::Endpoints]);
        Finding::new(Code::EndpointsMismatch, Key::Endpoints.field(), brief, format!("{message}{note}"))
    }

    /// A URL with the port at which members talk to each other.
    fn peer_port(&self) -> Option<Finding> {
        let url = self
            .urls
            .iter()
            .filter(|url| self.is_peer_port(url))
            .find(|url| self.is_member(url) && !self.listens_on(url.port))?;
        let port = url.port.unwrap_or_default();
        let instead = match self.port() {
            Some(client) => format!("Clients are served on {client} ({}). Write {}.", self.listen(), self.corrected()),
            None => "Write the port at which clients are served, 2379 unless it was changed.".to_owned(),
        };
        Some(self.finding(
            format!("port {port} is that of peers; write the port for clients"),
            &format!(
                "{} has port {port}, at which the members of this etcd talk to each other and answer no client, so each run \
                 would fail. {instead}",
                Key::Endpoints.annotation()
            ),
        ))
    }

    /// URLs with the other scheme than the one that etcd listens with.
    fn other_scheme(&self, scheme: Scheme) -> Option<Finding> {
        let stated = if scheme == Scheme::Https { Scheme::Http } else { Scheme::Https };
        let served =
            |url: &&Url| self.listens_on(url.port) || self.context.sidecars.is_empty() || self.is_peer_port(url);
        let annotation = Key::Endpoints.annotation();
        let (why, brief) = (
            format!("{annotation} has {stated} URLs, and this etcd listens for {scheme} only ({})", self.listen()),
            format!("etcd listens for {scheme} only; write {scheme}:// and not {stated}://"),
        );
        if self.urls.iter().filter(|url| self.is_member(url)).any(|url| served(&url)) {
            let message =
                format!("{why}: no connection would come about, and each run would fail. Write {}.", self.corrected());
            return Some(self.finding(brief, &message));
        }
        // Of members, a sidecar may end or begin TLS; of other hosts, whatever stands in front.
        if self.urls.iter().any(|url| self.is_member(url)) {
            return None;
        }
        let message = format!(
            "{why}. Unless what answers there turns one into the other, each run fails: then write {scheme}://."
        );
        Some(
            self.finding(format!("etcd listens for {scheme} only, and endpoints has {stated}"), &message)
                .with_severity(Severity::Warn),
        )
    }

    fn is_peer_port(&self, url: &Url) -> bool {
        url.port.is_some_and(|port| self.peer_ports.contains(&port))
    }

    /// A port of a pod at which nothing in view listens.
    fn nobody_listens(&self) -> Option<Finding> {
        if !self.all_read || self.listening.is_empty() || !self.context.sidecars.is_empty() {
            return None;
        }
        let mut pods = self.urls.iter().filter(|url| self.ordinal(url).is_some());
        let port = pods.find(|url| !self.listens_on(url.port) && !self.is_peer_port(url))?.port?;
        let finding = self.finding(
            format!("nothing in view listens on port {port}"),
            &format!(
                "{} has port {port}, and nothing in view listens there: etcd serves clients at {}, and no other container runs \
                 beside it. If nothing else listens there, each run fails: write {}.",
                Key::Endpoints.annotation(),
                self.listen(),
                self.corrected()
            ),
        );
        Some(finding.with_severity(Severity::Warn))
    }

    /// Hosts that are the bare name of a pod, which resolve only where a Service has that name too.
    fn bare_names(&self) -> Option<Finding> {
        let url = self.urls.iter().find(|url| url.host(self.name()) == Host::BarePod)?;
        let host = &url.host;
        let finding = self.finding(
            format!("{host} is the bare name of a pod; write it with its Service"),
            &format!(
                "{} has the host {host}, the bare name of a pod: unless a Service has that name too, nothing resolves it, and each \
                 run fails. Write the name under the headless Service, such as {host}.{}.",
                Key::Endpoints.annotation(),
                self.behind_pods()
            ),
        );
        Some(finding.with_severity(Severity::Warn))
    }

    /// What stands behind the name of a pod: as it is stated, else by convention.
    fn behind_pods(&self) -> String {
        let stated = self.urls.iter().filter_map(|url| url.behind_pod(self.name())).find(|behind| !behind.is_empty());
        stated.unwrap_or_else(|| {
            let service = &self.context.sts.spec.service_name;
            let service = if service.is_empty() { "<service>" } else { service };
            format!("{service}.{}.svc", self.context.sts.namespace())
        })
    }

    fn ordinals(&self) -> std::ops::Range<u64> {
        let start = u64::from(self.context.sts.first_ordinal());
        start..start + u64::from(self.replicas)
    }

    /// Pods that the list leaves out: nobody would ever defragment them.
    fn left_out(&self) -> Option<Finding> {
        if self.replicas == 0 || self.replicas > MAX_MEMBERS || !self.cluster.outside.is_empty() {
            return None;
        }
        let named: BTreeSet<u64> = self.urls.iter().filter_map(|url| self.ordinal(url)).collect();
        let missing: Vec<u64> = self.ordinals().filter(|ordinal| !named.contains(ordinal)).collect();
        // A member may have a name of its own in front.
        let others = self.urls.iter().filter(|url| self.ordinal(url).is_none()).count();
        if missing.len() <= others {
            return None;
        }
        let (count, replicas) = (self.urls.len(), self.replicas);
        let first = self.urls.iter().find(|url| self.ordinal(url).is_some()).or_else(|| self.urls.first())?;
        let port = if self.all_read && !self.listens_on(first.port) { self.port().or(first.port) } else { first.port }?;
        let scheme = self.scheme().or(first.scheme)?;
        let behind = self.behind_pods();
        let all: Vec<String> =
            self.ordinals().map(|ordinal| format!("{scheme}://{}-{ordinal}.{behind}:{port}", self.name())).collect();
        let missing: Vec<String> = missing.iter().map(|ordinal| format!("{}-{ordinal}", self.name())).collect();
        let found = if others == 0 {
            format!("leaves out {}", missing.join(", "))
        } else {
            format!("has {count} {} for {replicas} members", if count == 1 { "URL" } else { "URLs" })
        };
        Some(Finding::new(
            Code::MembersLeftOut,
            Key::Endpoints.field(),
            format!("endpoints names {count} of {replicas} members; name all"),
            format!(
                "spec.replicas is {replicas}, and {} {found}. A run defragments the members that are named and no others, so the \
                 others would reach their quota. Write the client URL of every member: \"{}\".{}",
                Key::Endpoints.annotation(),
                shorten(&all.join(","), SHOWN),
                self.context.overrides.note(&[Key::Endpoints])
            ),
        ))
    }

    /// More URLs than there are members.
    fn too_many(&self) -> Option<Finding> {
        let count = u32::try_from(self.urls.len()).unwrap_or(u32::MAX);
        if self.replicas == 0 || count <= self.replicas || !self.cluster.outside.is_empty() {
            return None;
        }
        let ordinals = self.ordinals();
        let gone: Vec<&str> = self
            .urls
            .iter()
            .filter(|url| self.ordinal(url).is_some_and(|ordinal| !ordinals.contains(&ordinal)))
            .map(|url| url.host.as_str())
            .collect();
        let options = self.context.options();
        // Members elsewhere may stand where nothing is read.
        if gone.is_empty() && options.unreadable().is_some() && options.get("initial-cluster").is_none() {
            return None;
        }
        let replicas = self.replicas;
        let which = match gone.as_slice() {
            [] => "nothing in view shows members elsewhere".to_owned(),
            gone => format!("{} would be beyond them", shorten(&gone.join(", "), SHOWN)),
        };
        let finding = self.finding(
            format!("endpoints has {count} URLs for {replicas} members"),
            &format!(
                "{} has {count} URLs, the StatefulSet has {replicas} pods, and {which}. A run goes to all {count}, and fails where \
                 one of them answers nobody. Remove the URLs that are no members, or scale the StatefulSet.",
                Key::Endpoints.annotation()
            ),
        );
        Some(finding.with_severity(Severity::Warn))
    }
}
