//! Endpoints from the annotation, compared with what the pod template shows.
//!
//! They are the way out if an etcd cannot be read, so parts that are not visible cause no finding. But a URL that no
//! pod can reach, a wrong scheme or port, or a list without some of the members means a run that fails, or members that
//! are never defragmented.

mod members;
mod ports;

use std::collections::BTreeSet;

use super::{
    cluster::{Cluster, same},
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

/// The longest host that the short form of a message shows, in characters.
const HOST_SHOWN: usize = 80;

/// The endpoints, and what they are held against.
struct Stated<'a, 'c> {
    context: &'a Context<'c>,
    /// The annotation that states them, or only their port.
    key: Key,
    cluster: &'a Cluster,
    replicas: u32,
    urls: Vec<Url>,
    /// Where etcd listens for clients and others reach it.
    listening: Vec<Url>,
    /// Whether each of its URLs for clients can be read.
    all_read: bool,
    peer_ports: BTreeSet<u16>,
    /// What the members call themselves.
    advertised: Vec<Url>,
    /// What follows the names of their pods there.
    form: Option<&'a str>,
}

/// What is found, and the scheme that the members are seen to speak where that is another one.
pub(super) struct Judgement {
    pub(super) findings: Vec<Finding>,
    pub(super) scheme: Option<Scheme>,
}

/// `form` is what follows the name of each pod, as the members call themselves.
pub(super) fn judge(
    context: &Context<'_>,
    cluster: &Cluster,
    replicas: u32,
    endpoints: &[String],
    form: Option<&str>,
) -> Judgement {
    let stated = Stated { form, ..Stated::of(context, Key::Endpoints, cluster, replicas, endpoints) };
    let scheme = stated.scheme().filter(|scheme| stated.differs(*scheme));
    let mut findings = Vec::new();
    findings.extend(stated.other_port());
    findings.extend(scheme.and_then(|scheme| stated.other_scheme(scheme)));
    findings.extend(stated.nobody_listens());
    findings.extend(stated.forwarded_by_nobody());
    findings.extend(stated.bare_names());
    findings.extend(stated.in_other_namespace());
    findings.extend(stated.under_other_service());
    findings.extend(stated.left_out());
    let twice = stated.twice();
    if twice.is_none() {
        findings.extend(stated.too_many());
    }
    findings.extend(twice);
    let refuses = findings.iter().any(Finding::denies);
    Judgement { findings, scheme: scheme.filter(|_| refuses) }
}

/// What is wrong with a port that a person states, as these endpoints have it.
pub(super) fn judge_port(
    context: &Context<'_>,
    cluster: &Cluster,
    replicas: u32,
    endpoints: &[String],
) -> Vec<Finding> {
    let stated = Stated::of(context, Key::ClientPort, cluster, replicas, endpoints);
    stated.other_port().into_iter().chain(stated.nobody_listens()).collect()
}

impl<'a, 'c> Stated<'a, 'c> {
    fn of(context: &'a Context<'c>, key: Key, cluster: &'a Cluster, replicas: u32, endpoints: &[String]) -> Self {
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
            key,
            cluster,
            replicas,
            urls: endpoints.iter().filter_map(|url| Url::parse(url)).collect(),
            listening: all.into_iter().filter(|url| !url.is_local()).collect(),
            all_read,
            peer_ports: peers.filter_map(|url| url.port).chain(cluster.peer_ports.iter().copied()).collect(),
            advertised: [list("advertise-client-urls"), list("initial-advertise-peer-urls")].concat(),
            form: None,
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

    /// Whether the members call themselves by the host of a URL.
    fn is_advertised(&self, url: &Url) -> bool {
        let plain = |host: &str| host.trim_end_matches('.').to_ascii_lowercase();
        self.advertised.iter().any(|own| same(&plain(&own.host), &plain(&url.host)))
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

    /// The list with the scheme and the port that etcd listens on, where both are known; the port, where only that is stated.
    fn corrected(&self) -> String {
        if let (Key::ClientPort, Some(port)) = (self.key, self.port()) {
            return format!("\"{port}\", or remove the annotation");
        }
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
        let note = self.context.overrides.note(&[self.key]);
        Finding::new(Code::EndpointsMismatch, self.key.field(), brief, format!("{message}{note}"))
    }

    /// URLs with the other scheme than the one that etcd listens with.
    fn other_scheme(&self, scheme: Scheme) -> Option<Finding> {
        let stated = if scheme == Scheme::Https { Scheme::Http } else { Scheme::Https };
        let served =
            |url: &&Url| self.listens_on(url.port) || self.context.sidecars.is_empty() || self.is_for_others(url);
        let annotation = Key::Endpoints.annotation();
        let (why, brief) = (
            format!("{annotation} has {stated} URLs, and this etcd listens for {scheme} only ({})", self.listen()),
            format!("etcd listens for {scheme} only; write {scheme}:// and not {stated}://"),
        );
        if self.urls.iter().filter(|url| self.is_member(url)).any(|url| served(&url)) {
            let message =
                format!("{why}: no connection would succeed, and each run would fail. Write {}.", self.corrected());
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

    /// Names of own pods in another namespace, where no pod of this StatefulSet is, in place of its own.
    fn in_other_namespace(&self) -> Option<Finding> {
        let is_elsewhere = |url: &&Url| self.ordinal(url).is_some() && self.context.is_elsewhere(url);
        let (elsewhere, here): (Vec<&Url>, Vec<&Url>) = self.urls.iter().partition(is_elsewhere);
        let url = elsewhere.first()?;
        // One etcd in several namespaces may have members of the same name there, beside those here.
        if here.len() >= usize::try_from(self.replicas).unwrap_or(usize::MAX) {
            return None;
        }
        let behind = format!("{}.{}.svc", self.context.sts.spec.service_name, self.context.sts.namespace());
        let each = |url: &Url| {
            let first = url.host.split('.').next().unwrap_or_default();
            Some(format!("{}://{first}.{behind}:{}", url.scheme?, url.port?))
        };
        let own: Vec<String> = elsewhere.iter().filter_map(|url| each(url)).collect();
        let host = &url.host;
        Some(self.finding(
            "endpoints has hosts in another namespace than this StatefulSet".to_owned(),
            &format!(
                "{} has the host {host}, which is in another namespace than {}: no pod of this StatefulSet is there, so the run \
                 would fail, or defragment another etcd. Write the name in its own namespace, such as \"{}\".",
                Key::Endpoints.annotation(),
                quoted(self.context.sts.namespace()),
                shorten(&own.join(","), SHOWN)
            ),
        ))
    }

    /// Names of own pods under another Service than the governing one. A warning, for DNS may be set up to have names that Kubernetes
    /// does not give (`endpoint_pod_names` of `CoreDNS`).
    fn under_other_service(&self) -> Option<Finding> {
        let here = || self.urls.iter().filter(|url| !self.context.is_elsewhere(url));
        let (url, service) = here().find_map(|url| Some((url, self.context.other_service(url)?)))?;
        let (host, governing) = (&url.host, &self.context.sts.spec.service_name);
        let why = if governing.is_empty() {
            "is empty. Write names of another kind, such as that of a Service for each pod.".to_owned()
        } else {
            let first = host.split('.').next().unwrap_or_default();
            format!("is {}. Write {first}.{}.", quoted(governing), self.behind_pods())
        };
        let finding = self.finding(
            format!("no pod has a name under {}: it is not spec.serviceName", quoted(&service)),
            &format!(
                "{} has the host {host}. Kubernetes gives the pods of a StatefulSet names under the Service of spec.serviceName only, so \
                 unless DNS has further names of pods, each run fails with \"no such host\". spec.serviceName {why}",
                Key::Endpoints.annotation(),
            ),
        );
        Some(finding.with_severity(Severity::Warn))
    }

    /// What follows the name of a pod: from the annotation, otherwise by convention.
    fn behind_pods(&self) -> String {
        let resolves = |url: &&Url| !self.context.is_elsewhere(url) && self.context.other_service(url).is_none();
        let here = self.urls.iter().filter(resolves);
        let stated = here.filter_map(|url| url.behind_pod(self.name())).find(|behind| !behind.is_empty());
        stated.or_else(|| self.form.map(str::to_owned)).unwrap_or_else(|| {
            let service = &self.context.sts.spec.service_name;
            let service = if service.is_empty() { "<service>" } else { service };
            format!("{service}.{}.svc", self.context.sts.namespace())
        })
    }
}
