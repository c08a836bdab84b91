//! The port at which a run reaches the members.

use super::{context::Context, types::DEFAULT_CLIENT_PORT, url::Url};
use crate::defrag::{
    finding::{Code, Finding},
    keys::Key,
};

/// The client port.
pub(super) enum Port {
    Known(u16),
    /// It stands where it is not read; where that is, in words.
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

/// The URLs that say something of the port.
pub(super) struct Dialled<'a> {
    /// The one that names a single pod.
    pub(super) member: Option<&'a Url>,
    /// Whether runs dial the pods, and not a Service in front of the only one.
    pub(super) pods: bool,
    pub(super) listening: &'a [Url],
    /// All of them, those that others can dial first.
    pub(super) all: &'a [&'a Url],
}

/// What is advertised counts where etcd listens there, or where nothing shows where it listens; then what it listens on, for that is
/// what can be reached; then the ports of the container. `hidden` says where URLs may stand that cannot be read.
pub(super) fn discover(context: &Context<'_>, urls: &Dialled<'_>, hidden: impl Fn() -> Option<String>) -> Port {
    if let Some(port) = context.overrides.client_port {
        return Port::Known(port);
    }
    let listening = || urls.listening.iter().filter(|url| !url.is_local()).find_map(|url| url.port);
    if let Some(port) = urls.member.and_then(|url| url.port) {
        let deaf = urls.pods && is_deaf(context, urls.listening, port);
        return Port::Known(if deaf { listening().unwrap_or(port) } else { port });
    }
    if let Some(port) = listening() {
        return Port::Known(port);
    }
    let hides = urls.member.is_some_and(|url| url.hides_port) || urls.listening.iter().any(|url| url.hides_port);
    let place = hidden();
    let known = urls.all.iter().filter(|_| !hides).find_map(|url| url.port);
    match (known.or_else(|| of_container(context)), place) {
        (Some(port), _) => Port::Known(port),
        (None, Some(place)) => Port::Hidden(place),
        (None, None) => Port::Known(DEFAULT_CLIENT_PORT),
    }
}

/// Whether etcd is seen to listen on other ports only, and no other container of the pod has this one.
pub(super) fn is_deaf(context: &Context<'_>, listening: &[Url], port: u16) -> bool {
    let set = context.options().get("listen-client-urls");
    let entries = set.map_or(0, |setting| setting.value.split(',').filter(|entry| !entry.trim().is_empty()).count());
    let reachable = || listening.iter().filter(|url| !url.is_local());
    let all_in_view = entries == listening.len() && reachable().count() > 0;
    let elsewhere = || {
        let ports = context.sidecars.iter().flat_map(|sidecar| &sidecar.container.ports);
        ports.into_iter().any(|other| other.container_port == i32::from(port))
    };
    all_in_view && reachable().all(|url| url.port.is_some_and(|listens| listens != port)) && !elsewhere()
}

/// The port named `client`, else the only one.
fn of_container(context: &Context<'_>) -> Option<u16> {
    let ports = &context.container().ports;
    let only = || match ports.as_slice() {
        [only] => Some(only),
        _ => None,
    };
    let port = ports.iter().find(|port| port.name == "client").or_else(only)?;
    u16::try_from(port.container_port).ok().filter(|port| *port > 0)
}

/// That the port cannot be seen.
pub(super) fn unknown(place: &str) -> Finding {
    let (annotation, endpoints) = (Key::ClientPort.annotation(), Key::Endpoints.annotation());
    Finding::new(
        Code::EndpointsUnknown,
        Key::ClientPort.field(),
        format!("the client port cannot be seen; set {annotation}"),
        format!(
            "The client port of this etcd cannot be seen in the pod template: it may stand in {place}, which is not read here, and \
             no containerPort shows it. A run that dials the wrong port reaches no member, so {DEFAULT_CLIENT_PORT} is not \
             assumed. Set {annotation} to the port at which clients reach each member, or {endpoints} to the URL of each member."
        ),
    )
}
