//! Where clients reach each member.

use super::{
    Context, DEFAULT_CLIENT_PORT, MAX_MEMBERS,
    marks::{POD, UNKNOWN},
    profile::Profile,
    setting::Setting,
    types::Scheme,
};
use crate::defrag::{
    dns::is_host_label,
    finding::{Code, Finding},
    keys::Key,
};

/// How the members are reached.
pub(super) struct Address {
    pub(super) scheme: Scheme,
    pub(super) service: String,
    pub(super) domain: Option<String>,
    pub(super) port: u16,
    pub(super) endpoints: Vec<String>,
}

/// A client URL in its parts, each as far as it can be seen.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    scheme: Option<Scheme>,
    host: String,
    port: Option<u16>,
}

pub(super) fn discover(context: &Context<'_>, replicas: u32, findings: &mut Vec<Finding>) -> Address {
    let urls = Urls::of(context);
    let member = urls.member(context.sts.name());
    let service = context
        .overrides
        .service
        .clone()
        .or_else(|| Some(context.sts.spec.service_name.clone()).filter(|name| !name.is_empty()))
        .or_else(|| {
            member.and_then(|url| url.host.split('.').nth(1)).filter(|name| is_host_label(name)).map(str::to_owned)
        })
        .unwrap_or_default();
    let domain = context.overrides.cluster_domain.clone().or_else(|| urls.domain(member));
    let port = context.overrides.client_port.or_else(|| urls.port(member)).unwrap_or_else(|| container_port(context));
    if let Some(endpoints) = context.overrides.endpoints.clone() {
        let https = endpoints.iter().any(|url| url.starts_with("https://"));
        let scheme = if https { Scheme::Https } else { Scheme::Http };
        return Address { scheme, service, domain, port, endpoints };
    }
    let scheme = urls.scheme(member).or_else(|| scheme_by_options(context));
    let mut address = Address { scheme: scheme.unwrap_or(Scheme::Http), service, domain, port, endpoints: Vec::new() };
    if scheme.is_none() {
        findings.push(scheme_unknown(context, &address));
    } else if address.service.is_empty() {
        findings.push(service_unknown(context));
    } else if replicas <= MAX_MEMBERS {
        let start = u32::try_from(context.sts.spec.ordinals.start).unwrap_or(0);
        let ordinals = (0..replicas).map(|n| u64::from(start) + u64::from(n));
        address.endpoints = ordinals.map(|ordinal| address.endpoint(context, ordinal)).collect();
    }
    address
}

impl Address {
    fn endpoint(&self, context: &Context<'_>, ordinal: u64) -> String {
        let Self { scheme, service, port, .. } = self;
        let (name, namespace) = (context.sts.name(), context.sts.namespace());
        let domain = self.domain.as_ref().map_or_else(String::new, |domain| format!(".{domain}"));
        format!("{scheme}://{name}-{ordinal}.{service}.{namespace}.svc{domain}:{port}")
    }
}

/// The client URLs in view, the best evidence first.
struct Urls {
    advertised: Vec<Url>,
    listening: Vec<Url>,
    /// What clients inside the pod are told to use.
    used: Vec<Url>,
}

impl Urls {
    fn of(context: &Context<'_>) -> Self {
        let list = |setting: Option<&Setting>| setting.map_or_else(Vec::new, |setting| parse_list(&setting.value));
        let mut used = list(context.options.env("ETCDCTL_ENDPOINTS"));
        if context.profile == Profile::EtcdDruid {
            used.extend(context.sidecars.iter().flat_map(|sidecar| list(sidecar.options.get("endpoints"))));
        }
        Self {
            advertised: list(context.options.get("advertise-client-urls")),
            listening: list(context.options.get("listen-client-urls")),
            used: used.into_iter().filter(|url| url.scheme.is_some()).collect(),
        }
    }

    /// The URL that names a single pod. Others, such as those of a Service in front of all members or of a pod's
    /// address, say nothing about the name of a member.
    fn member(&self, name: &str) -> Option<&Url> {
        self.advertised.iter().chain(&self.used).find(|url| {
            let first = url.host.split('.').next().unwrap_or_default();
            let ordinal = first.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
            first.chars().eq([POD]) || ordinal.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
    }

    /// All of them, those that only the pod itself can use last.
    fn by_reach(&self) -> impl Iterator<Item = &Url> {
        let all = || self.advertised.iter().chain(&self.listening).chain(&self.used);
        all().filter(|url| !url.is_local()).chain(all().filter(|url| url.is_local()))
    }

    fn scheme(&self, member: Option<&Url>) -> Option<Scheme> {
        member.and_then(|url| url.scheme).or_else(|| self.by_reach().find_map(|url| url.scheme))
    }

    fn port(&self, member: Option<&Url>) -> Option<u16> {
        member.and_then(|url| url.port).or_else(|| self.by_reach().find_map(|url| url.port))
    }

    fn domain(&self, member: Option<&Url>) -> Option<String> {
        member.into_iter().chain(&self.advertised).find_map(|url| {
            let (_, domain) = url.host.trim_end_matches('.').split_once(".svc.")?;
            domain.split('.').all(is_host_label).then(|| domain.to_owned())
        })
    }
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let scheme = match scheme {
            "http" => Some(Scheme::Http),
            "https" => Some(Scheme::Https),
            unknown if unknown.contains(UNKNOWN) => None,
            _ => return None,
        };
        let authority = rest.split(['/', '?']).next()?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok().filter(|port| *port > 0)),
            _ => (authority, None),
        };
        Some(Self { scheme, host: host.to_owned(), port })
    }

    fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.starts_with("127.") || self.host == "[::1]"
    }
}

fn parse_list(text: &str) -> Vec<Url> {
    text.split(',').filter_map(Url::parse).collect()
}

/// The port named `client`, else etcd's own.
fn container_port(context: &Context<'_>) -> u16 {
    let named = context.container.ports.iter().find(|port| port.name == "client");
    named
        .and_then(|port| u16::try_from(port.container_port).ok())
        .filter(|port| *port > 0)
        .unwrap_or(DEFAULT_CLIENT_PORT)
}

/// Without any URL: TLS where a certificate is configured, plain text where all options are in view, else unknown.
fn scheme_by_options(context: &Context<'_>) -> Option<Scheme> {
    if context.options.get("cert-file").is_some() || context.options.is_on("auto-tls") {
        Some(Scheme::Https)
    } else if context.options.unreadable().is_none() {
        Some(Scheme::Http)
    } else {
        None
    }
}

fn scheme_unknown(context: &Context<'_>, address: &Address) -> Finding {
    let place = context.options.unreadable().unwrap_or_default();
    let service = if address.service.is_empty() { "<service>" } else { &address.service };
    let (name, namespace, port) = (context.sts.name(), context.sts.namespace(), address.port);
    Finding::new(
        Code::EndpointsUnknown,
        Key::Endpoints.field(),
        format!("the client URLs cannot be seen; set {}", Key::Endpoints.annotation()),
        format!(
            "The client URLs of this etcd cannot be seen in the pod template: they may stand in {place}, which is not \
             read here, so not even http or https is known. Set {} to the URL of each member, such as \
             https://{name}-0.{service}.{namespace}.svc:{port},https://{name}-1.{service}.{namespace}.svc:{port}.",
            Key::Endpoints.annotation()
        ),
    )
}

fn service_unknown(context: &Context<'_>) -> Finding {
    Finding::new(
        Code::EndpointsUnknown,
        "spec.serviceName",
        format!("spec.serviceName is empty; set {}", Key::Service.annotation()),
        format!(
            "spec.serviceName is empty and no advertised client URL names a member, so the members of {} have no known \
             DNS names and cannot be defragmented one after the other. Set {} to the headless Service that selects the \
             pods, or {} to the URL of each member.",
            context.sts.name(),
            Key::Service.annotation(),
            Key::Endpoints.annotation()
        ),
    )
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
            assert_eq!(Url::parse(text), Some(Url { scheme, host: host.to_owned(), port }), "{text}");
        }
        for text in ["", "a:2379", "unix:///var/run/x", "$(X)://a"] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }
}
