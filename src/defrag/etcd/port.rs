//! The port at which a run reaches the members.

use std::collections::BTreeSet;

use super::{
    context::Context,
    types::{DEFAULT_CLIENT_PORT, Scheme},
    url::{Url, parse_list},
};
use crate::defrag::{
    finding::{Code, Finding},
    keys::Key,
    statefulset::Port as ContainerPort,
};

/// The port at which members talk to each other where nothing says another.
const DEFAULT_PEER_PORT: i32 = 2380;
/// The flags at whose URLs no client of etcd is answered.
const NOT_FOR_CLIENTS: [&str; 3] = ["listen-peer-urls", "initial-advertise-peer-urls", "listen-metrics-urls"];

/// The client port.
pub(super) enum Port {
    Known(u16),
    /// It is set where it is not read; the place, as text.
    Hidden(String),
}

impl Port {
    /// The number; etcd's default in examples where it is not known.
    pub(super) const fn number(&self) -> u16 {
        match self {
            Self::Known(number) => *number,
            Self::Hidden(_) => DEFAULT_CLIENT_PORT,
        }
    }
}

/// Where etcd is heard by others than its own pod.
pub(super) struct Listening {
    /// The ports, each with how it speaks there where that is seen.
    ports: Vec<(u16, Option<Scheme>)>,
    /// Whether one of its ports cannot be seen.
    hides_one: bool,
    /// Whether all its ports are visible.
    all_in_view: bool,
    /// Whether it has a certificate.
    has_certificate: bool,
    /// The ports of the other containers.
    of_others: BTreeSet<u16>,
}

impl Listening {
    pub(super) fn of(context: &Context<'_>, urls: &[Url]) -> Self {
        let set = context.options().get("listen-client-urls");
        let entries =
            set.map_or(0, |setting| setting.value.split(',').filter(|entry| !entry.trim().is_empty()).count());
        let reachable = || urls.iter().filter(|url| !url.is_local());
        let of_others = context.sidecars.iter().flat_map(|sidecar| &sidecar.container.ports);
        Self {
            ports: reachable().filter_map(|url| Some((url.port?, url.scheme))).collect(),
            hides_one: urls.iter().any(|url| url.hides_port),
            all_in_view: entries == urls.len() && reachable().count() > 0 && reachable().all(|url| url.port.is_some()),
            has_certificate: context.options().get("cert-file").is_some() || context.options().is_on("auto-tls"),
            of_others: of_others.filter_map(|port| u16::try_from(port.container_port).ok()).collect(),
        }
    }

    /// Whether etcd is seen to be heard at a port.
    fn has(&self, port: u16) -> bool {
        self.ports.iter().any(|(heard, _)| *heard == port)
    }

    /// How whatever answers at a port of the pod speaks, where that is etcd alone, in one way, as far as is seen. In front of an etcd
    /// that has no certificate, something else may end TLS.
    pub(super) fn scheme_at(&self, port: u16) -> Option<Scheme> {
        let mut schemes = self.ports.iter().filter(|(heard, _)| *heard == port).map(|(_, scheme)| *scheme);
        let first = schemes.next()??;
        let is_alone = self.all_in_view && !self.of_others.contains(&port);
        let is_etcds = first == Scheme::Https || self.has_certificate;
        (is_alone && is_etcds && schemes.all(|scheme| scheme == Some(first))).then_some(first)
    }

    /// Whether nothing in the pod answers at a port, as far as is seen.
    pub(super) fn is_deaf_at(&self, port: u16) -> bool {
        self.all_in_view && !self.has(port) && !self.of_others.contains(&port)
    }
}

/// The URLs that say something of the port.
pub(super) struct Dialled<'a> {
    /// The one that names a single pod.
    pub(super) member: Option<&'a Url>,
    /// Whether runs dial the pods, and not a Service in front of the only one.
    pub(super) pods: bool,
    /// All of them, those that others can dial first.
    pub(super) all: &'a [&'a Url],
    pub(super) listening: &'a Listening,
}

/// What is advertised counts where etcd listens there, or where nothing shows where it listens; then what it listens
/// on, for that is what can be reached; then the ports of the container. `hidden` says where URLs that cannot be read
/// may be set.
pub(super) fn discover(context: &Context<'_>, urls: &Dialled<'_>, hidden: impl Fn() -> Option<String>) -> Port {
    if let Some(port) = context.overrides.client_port {
        return Port::Known(port);
    }
    let heard = || urls.all.iter().filter_map(|url| url.port).find(|port| urls.listening.has(*port));
    if let Some(port) = urls.member.and_then(|url| url.port) {
        let deaf = urls.pods && urls.listening.is_deaf_at(port);
        return Port::Known(if deaf { heard().unwrap_or(port) } else { port });
    }
    if let Some(port) = heard() {
        return Port::Known(port);
    }
    let hides = urls.member.is_some_and(|url| url.hides_port) || urls.listening.hides_one;
    let known = urls.all.iter().filter(|_| !hides).find_map(|url| url.port);
    match known.or_else(|| of_container(context)) {
        Some(port) => Port::Known(port),
        None => hidden().map_or(Port::Known(DEFAULT_CLIENT_PORT), Port::Hidden),
    }
}

/// The port named `client`, else the only one, where that may be it.
fn of_container(context: &Context<'_>) -> Option<u16> {
    let ports = &context.container().ports;
    let only = || match ports.as_slice() {
        [only] if !is_for_others(context, only) => Some(only),
        _ => None,
    };
    let port = ports.iter().find(|port| port.name == "client").or_else(only)?;
    u16::try_from(port.container_port).ok().filter(|port| *port > 0)
}

/// Whether a port is that of peers or of metrics, by its name or by where etcd listens for these.
fn is_for_others(context: &Context<'_>, port: &ContainerPort) -> bool {
    let by_name = port.name.split('-').any(|part| matches!(part, "peer" | "peers" | "metrics"));
    let settings = NOT_FOR_CLIENTS.iter().filter_map(|flag| context.options().get(flag));
    let mut urls = settings.flat_map(|setting| parse_list(&setting.value)).filter_map(|url| url.port);
    by_name || port.container_port == DEFAULT_PEER_PORT || urls.any(|number| i32::from(number) == port.container_port)
}

/// That the port cannot be seen.
pub(super) fn unknown(context: &Context<'_>, place: &str) -> Finding {
    let (annotation, endpoints) = (Key::ClientPort.annotation(), Key::Endpoints.annotation());
    Finding::new(
        Code::EndpointsUnknown,
        Key::ClientPort.field(),
        format!("the client port is not visible; {}", context.overrides.brief(Key::ClientPort)),
        format!(
            "The client port of this etcd is not visible in the pod template: it may be set in {place}, which is not read here, and \
             no containerPort shows it. A run that dials the wrong port reaches no member, so {DEFAULT_CLIENT_PORT} is not \
             assumed. Set {annotation} to the port at which clients reach each member, or {endpoints} to the URL of each member.{}",
            context.overrides.note(&[Key::ClientPort, Key::Endpoints])
        ),
    )
}
