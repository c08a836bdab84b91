//! Where clients reach each member.

use super::{
    MAX_MEMBERS, cluster,
    context::Context,
    marks::{ADDRESS, UNKNOWN, VALUE, readable},
    options::Options,
    port::{self, Dialled, Listening, Port},
    profile::Profile,
    setting::Setting,
    stated,
    types::{Etcd, Scheme},
    url::{Host, Url, parse_list},
};
use crate::defrag::{
    dns::{is_label, is_subdomain},
    finding::{Code, Finding, Severity, quoted, shorten},
    keys::Key,
};

/// The longest list of URLs that a message shows, in characters.
const SHOWN: usize = 160;

/// How the members are reached.
pub(super) struct Address {
    pub(super) scheme: Scheme,
    pub(super) service: String,
    pub(super) domain: Option<String>,
    pub(super) port: u16,
    pub(super) endpoints: Vec<String>,
    /// The members of the cluster, wherever they run.
    pub(super) members: u32,
    /// Whether some of them run outside of the StatefulSet.
    pub(super) is_spread: bool,
    /// Whether the engine is to leave out the health check that dials the advertised client URLs.
    pub(super) skips_health_check: bool,
}

pub(super) fn discover(context: &Context<'_>, replicas: u32, findings: &mut Vec<Finding>) -> Address {
    let urls = Urls::of(context);
    let name = context.sts.name();
    // One member alone is whatever it advertises, be it the name of a Service.
    let alone = urls.alone(context, replicas);
    let member = urls.member(name).or(alone);
    let form = urls.form(context, alone.is_none());
    let service = context
        .overrides
        .service
        .clone()
        .or_else(|| Some(context.sts.spec.service_name.clone()).filter(|name| !name.is_empty()))
        .or_else(|| form.as_ref()?.split('.').next().filter(|name| is_label(name)).map(str::to_owned))
        .unwrap_or_default();
    let domain = context.overrides.cluster_domain.clone().or_else(|| urls.domain(member));
    let dials_pods = alone.is_none() || form.is_some();
    let port = urls.port(context, member, dials_pods);
    let cluster = cluster::of(context);
    let is_spread = !cluster.outside.is_empty();
    let members = if is_spread { cluster.count } else { replicas };
    let mut address = Address {
        scheme: Scheme::Http,
        service,
        domain,
        port: port.number(),
        endpoints: Vec::new(),
        members,
        is_spread,
        skips_health_check: false,
    };
    if let Some(endpoints) = context.overrides.endpoints.clone() {
        address.scheme =
            if endpoints.iter().any(|url| url.starts_with("https://")) { Scheme::Https } else { Scheme::Http };
        let judgement = stated::judge(context, &cluster, replicas, &endpoints);
        findings.extend(judgement.findings);
        address.scheme = judgement.scheme.unwrap_or(address.scheme);
        if is_spread {
            let left_out = cluster.not_named(context, &endpoints);
            if left_out.is_none() {
                address.members = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
            }
            findings.extend(left_out);
        }
        // Others than the pods of this StatefulSet are members too, whatever shows it.
        let named = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        if !is_spread && replicas > 0 && named > replicas {
            address.members = named;
        }
        let all = endpoints.len() >= usize::try_from(cluster.count.max(replicas)).unwrap_or(usize::MAX);
        address.endpoints = endpoints;
        address.judge_health_check(context, &urls, all, findings);
        return address;
    }
    if let Listens::Locally { urls, field } = listens(context.options()) {
        findings.push(listens_locally(context, &urls, field));
        return address;
    }
    findings.extend(urls.in_other_namespace(context));
    let scheme = urls.scheme(member).or_else(|| scheme_by_options(context));
    address.scheme = scheme.unwrap_or(Scheme::Http);
    if scheme.is_none() {
        findings.push(scheme_unknown(context, &address));
    } else if form.is_none() && alone.is_none() && address.service.is_empty() {
        findings.push(service_unknown(context));
    } else if let Port::Hidden(place) = port {
        findings.push(port::unknown(context, &place));
    } else if replicas <= MAX_MEMBERS {
        if is_spread {
            findings.push(cluster.elsewhere(context, address.scheme, address.port));
        }
        let start = context.sts.first_ordinal();
        let ordinals = (0..replicas).map(|n| u64::from(start) + u64::from(n));
        address.endpoints = if let (Some(url), None) = (alone, &form) {
            vec![format!("{}://{}:{}", address.scheme, url.host.trim_end_matches('.'), address.port)]
        } else {
            let behind = form.unwrap_or_else(|| address.convention(context));
            let host = |ordinal| format!("{}://{name}-{ordinal}.{behind}:{}", address.scheme, address.port);
            ordinals.map(host).collect()
        };
        address.judge_health_check(context, &urls, !is_spread, findings);
    }
    address
}

impl Address {
    /// What stands behind the name of a pod where nothing shows how the members call themselves.
    fn convention(&self, context: &Context<'_>) -> String {
        let domain = self.domain.as_ref().map_or_else(String::new, |domain| format!(".{domain}"));
        format!("{}.{}.svc{domain}", self.service, context.sts.namespace())
    }

    /// The engine's first health check dials what the members advertise. Where a run cannot reach one of these URLs, the
    /// check is left out, as long as `all` members are among the endpoints and are checked by those.
    fn judge_health_check(&mut self, context: &Context<'_>, urls: &Urls, all: bool, findings: &mut Vec<Finding>) {
        let Some((setting, url, why)) = urls.unreachable(context) else { return };
        if self.endpoints.is_empty() {
            return;
        }
        self.skips_health_check = all;
        let url = quoted(&readable(&url));
        let finding = Finding::new(
            Code::AdvertisedUnreachable,
            setting.field.clone(),
            format!("the members advertise {url}: {}", why.brief),
            format!(
                "The members advertise {url} to clients ({}): {}. The first health check of the engine dials the \
                 advertised URLs and would end every run. {} To have it checked, advertise {}.",
                setting.origin,
                why.sentence,
                if all {
                    "So it is left out (--skip-healthcheck-cluster-endpoints), and the endpoints of the run, which name \
                     every member, are checked instead."
                } else {
                    "It cannot be left out, since the endpoints do not name every member: name them all."
                },
                why.instead
            ) + &if all { String::new() } else { context.overrides.note(&[Key::Endpoints]) },
        );
        let severity = if all { finding.severity } else { Severity::Deny };
        findings.push(finding.with_severity(severity));
    }
}

/// Why no pod reaches a URL.
struct Why {
    brief: &'static str,
    sentence: &'static str,
    /// What to advertise instead.
    instead: &'static str,
}

const NAME_OF_POD: &str = "the name of the pod under the headless Service";

/// The client URLs in view, the best evidence first.
struct Urls {
    /// What the members advertise, each with its text.
    advertised: Vec<(Url, String)>,
    listening: Vec<Url>,
    heard: Listening,
    /// What clients inside the pod are told to use.
    used: Vec<Url>,
    /// What the members tell each other.
    peers: Vec<Url>,
    advertising: Option<Setting>,
    /// The first advertised URL that is not used, since it names another namespace and the policy locks addresses.
    elsewhere: Option<String>,
}

impl Urls {
    fn of(context: &Context<'_>) -> Self {
        let options = context.options();
        let list = |setting: Option<&Setting>| setting.map_or_else(Vec::new, |setting| parse_list(&setting.value));
        let mut used = list(options.env("ETCDCTL_ENDPOINTS"));
        if context.profile == Profile::EtcdDruid {
            used.extend(context.sidecars.iter().flat_map(|sidecar| list(sidecar.options.get("endpoints"))));
        }
        let advertising = options.get("advertise-client-urls").cloned();
        let texts = advertising.iter().flat_map(|setting| setting.value.split(','));
        let mut peers = list(options.get("initial-advertise-peer-urls"));
        peers.extend(cluster::entries(context).filter_map(|(_, url)| Url::parse(url)));
        // What is locked to what is discovered does not follow the pod template into other namespaces.
        let locks = [Key::Endpoints, Key::Service].iter().any(|key| context.overrides.locked.contains(key));
        let namespace = context.sts.namespace();
        let is_ours = |url: &Url| !locks || namespace_in(&url.host).is_none_or(|other| other == namespace);
        let advertised = texts.filter_map(|text| Some((Url::parse(text)?, text.trim().to_owned())));
        let (advertised, elsewhere): (Vec<_>, Vec<_>) = advertised.partition(|(url, _)| is_ours(url));
        peers.retain(is_ours);
        used.retain(|url| url.scheme.is_some() && is_ours(url));
        let elsewhere = elsewhere.into_iter().next().map(|(_, text)| text);
        let listening = list(options.get("listen-client-urls"));
        let heard = Listening::of(context, &listening);
        Self { advertised, listening, heard, used, peers, advertising, elsewhere }
    }

    fn for_clients(&self) -> impl Iterator<Item = &Url> {
        self.advertised.iter().map(|(url, _)| url).chain(&self.used)
    }

    /// The URL that names a single pod, one with a domain first. Others, such as those of a Service in front of all members
    /// or of a pod's address, say nothing about the name of a member.
    fn member(&self, name: &str) -> Option<&Url> {
        let named = || self.for_clients().filter(|url| url.behind_pod(name).is_some());
        named().find(|url| url.host(name) != Host::BarePod).or_else(|| named().next())
    }

    /// What stands behind the name of each pod, as the members call themselves; nothing where settings say otherwise. The
    /// certificate of a member has that name. What they call each other serves where nothing is known of what clients are told.
    fn form(&self, context: &Context<'_>, among_peers: bool) -> Option<String> {
        let overrides = context.overrides;
        if overrides.service.is_some() || overrides.cluster_domain.is_some() {
            return None;
        }
        let peers = self.peers.iter().filter(|_| among_peers);
        let mut forms = self.for_clients().chain(peers).filter_map(|url| url.behind_pod(context.sts.name()));
        forms.find(|form| !form.is_empty())
    }

    /// What the only member advertises, where that is a name or an address that others can dial.
    fn alone(&self, context: &Context<'_>, replicas: u32) -> Option<&Url> {
        let overrides = context.overrides;
        if replicas != 1 || overrides.service.is_some() || overrides.cluster_domain.is_some() {
            return None;
        }
        let named = |url: &&Url| {
            let host = url.host.trim_end_matches('.');
            url.host(context.sts.name()) == Host::Named && (is_subdomain(host) || url.is_address())
        };
        self.advertised.iter().map(|(url, _)| url).find(named)
    }

    /// All of them, those that only the pod itself can use last.
    fn by_reach(&self) -> impl Iterator<Item = &Url> {
        let all = || self.advertised.iter().map(|(url, _)| url).chain(&self.listening).chain(&self.used);
        all().filter(|url| !url.is_local()).chain(all().filter(|url| url.is_local()))
    }

    fn scheme(&self, member: Option<&Url>) -> Option<Scheme> {
        member.and_then(|url| url.scheme).or_else(|| self.by_reach().find_map(|url| url.scheme))
    }

    fn port(&self, context: &Context<'_>, member: Option<&Url>, dials_pods: bool) -> Port {
        let all: Vec<&Url> = self.by_reach().collect();
        let urls = Dialled { member, pods: dials_pods, all: &all, listening: &self.heard };
        port::discover(context, &urls, || hidden(context))
    }

    fn domain(&self, member: Option<&Url>) -> Option<String> {
        member.into_iter().chain(self.advertised.iter().map(|(url, _)| url)).find_map(|url| {
            let (_, domain) = url.host.trim_end_matches('.').split_once(".svc.")?;
            domain.split('.').all(is_label).then(|| domain.to_owned())
        })
    }

    /// That what is advertised is not used, since it is in another namespace.
    fn in_other_namespace(&self, context: &Context<'_>) -> Option<Finding> {
        let (url, setting) = self.elsewhere.as_ref().zip(self.advertising.as_ref())?;
        let url = quoted(&readable(url));
        let finding = Finding::new(
            Code::KeyLocked,
            setting.field.clone(),
            format!("{url} is in another namespace, and the policy locks addresses: not used"),
            format!(
                "The members advertise {url} ({}), which is in another namespace than {}. The policy locks the addresses of runs to \
                 what is discovered here, so that URL is not used, and runs go to the pods of this StatefulSet. Advertise the name \
                 of the pod in its own namespace.",
                setting.origin,
                quoted(context.sts.namespace())
            ),
        );
        Some(finding.with_severity(Severity::Warn))
    }

    /// The first advertised URL that a run cannot dial, and why.
    fn unreachable(&self, context: &Context<'_>) -> Option<(&Setting, String, Why)> {
        let setting = self.advertising.as_ref()?;
        if self.is_replaced() {
            return None;
        }
        self.advertised.iter().find_map(|(url, text)| {
            let why = match url.host(context.sts.name()) {
                Host::Loopback => Why {
                    brief: "that is another pod's own address",
                    sentence: "in every other pod that is the pod itself",
                    instead: NAME_OF_POD,
                },
                Host::Unspecified => Why {
                    brief: "that is no address of a member",
                    sentence: "that is an address to listen on, and whoever dials it reaches itself",
                    instead: NAME_OF_POD,
                },
                Host::BarePod => Why {
                    brief: "no other pod resolves that name",
                    sentence: "no other pod resolves the bare name of a pod",
                    instead: NAME_OF_POD,
                },
                Host::PodAddress if url.scheme != Some(Scheme::Http) => Why {
                    brief: "no certificate has that address",
                    sentence: "the address changes with the pod, so no certificate names it, and TLS refuses it",
                    instead: NAME_OF_POD,
                },
                Host::PodAddress | Host::Named if self.is_deaf(context, url) => Why {
                    brief: "nothing listens on that port",
                    sentence: "etcd listens on other ports, so nothing answers there",
                    instead: "a port that etcd listens on",
                },
                Host::PodAddress | Host::Named | Host::Unknown => return None,
            };
            Some((setting, text.clone(), why))
        })
    }

    /// Whether nothing in the pod listens where this URL of the pod leads.
    fn is_deaf(&self, context: &Context<'_>, url: &Url) -> bool {
        let of_pod = url.host.contains(ADDRESS) || url.behind_pod(context.sts.name()).is_some();
        of_pod && url.port.is_some_and(|port| self.heard.is_deaf_at(port))
    }

    /// Whether etcd advertises the address of its pod in place of what it is told: it does so for its own default while it
    /// listens on all IPv4 interfaces (`embed.Config.UpdateDefaultClusterFromName`).
    fn is_replaced(&self) -> bool {
        let default = matches!(self.advertised.as_slice(), [(_, text)] if text == "http://localhost:2379");
        default && self.listening.first().is_some_and(|url| url.host == "0.0.0.0")
    }
}

/// The namespace in a host, where that has the form of Kubernetes: in front of `svc`.
fn namespace_in(host: &str) -> Option<&str> {
    let mut labels = host.split('.').skip(1).peekable();
    while let Some(label) = labels.next() {
        if labels.peek() == Some(&"svc") {
            return is_label(label).then_some(label);
        }
    }
    None
}

/// Where an etcd listens for clients.
pub(super) enum Listens {
    /// On these URLs, which only its own pod can dial, as a person reads them.
    Locally { urls: String, field: String },
    /// Where others reach it, or where that cannot be seen.
    Elsewhere,
}

/// Without a flag an etcd listens on loopback, which is certain where all its options are in view.
pub(super) fn listens(options: &Options) -> Listens {
    let Some(setting) = options.get("listen-client-urls") else {
        return match options.started_at() {
            Some(field) if options.unreadable().is_none() => {
                Listens::Locally { urls: "http://localhost:2379, its default".to_owned(), field: field.to_owned() }
            }
            _ => Listens::Elsewhere,
        };
    };
    let local = |text: &str| {
        let socket = text.trim().starts_with("unix://") || text.trim().starts_with("unixs://");
        socket || Url::parse(text).is_some_and(|url| url.is_local())
    };
    let mut urls = setting.value.split(',').filter(|url| !url.trim().is_empty()).peekable();
    if urls.peek().is_some() && urls.all(local) {
        Listens::Locally { urls: shorten(&readable(&setting.value), SHOWN), field: setting.field.clone() }
    } else {
        Listens::Elsewhere
    }
}

/// Without any URL: TLS where a certificate is configured, plain text where all options are in view, else unknown.
fn scheme_by_options(context: &Context<'_>) -> Option<Scheme> {
    if context.options().get("cert-file").is_some() || context.options().is_on("auto-tls") {
        Some(Scheme::Https)
    } else if hidden(context).is_none() {
        Some(Scheme::Http)
    } else {
        None
    }
}

/// Where the client URLs may stand that cannot be seen, in words.
fn hidden(context: &Context<'_>) -> Option<String> {
    let options = context.options();
    let behind = |flag: &str| {
        let setting = options.get(flag).filter(|setting| setting.value.contains([UNKNOWN, VALUE]))?;
        Some(setting.place())
    };
    options.unreadable().or_else(|| ["advertise-client-urls", "listen-client-urls"].into_iter().find_map(behind))
}

fn scheme_unknown(context: &Context<'_>, address: &Address) -> Finding {
    let place = hidden(context).unwrap_or_default();
    let service = if address.service.is_empty() { "<service>" } else { &address.service };
    let (name, namespace, port) = (context.sts.name(), context.sts.namespace(), address.port);
    // All of them, for people copy what is shown.
    let members = u64::from(address.members.clamp(1, MAX_MEMBERS));
    let start = u64::from(context.sts.first_ordinal());
    let each: Vec<String> = (start..start + members)
        .map(|ordinal| format!("https://{name}-{ordinal}.{service}.{namespace}.svc:{port}"))
        .collect();
    Finding::new(
        Code::EndpointsUnknown,
        Key::Endpoints.field(),
        format!("the client URLs cannot be seen; {}", context.overrides.brief(Key::Endpoints)),
        format!(
            "The client URLs of this etcd cannot be seen in the pod template: they may stand in {place}, which is not \
             read here, so not even http or https is known. Set {} to the URL of each member, such as {}.{}",
            Key::Endpoints.annotation(),
            each.join(","),
            context.overrides.note(&[Key::Endpoints])
        ),
    )
}

fn service_unknown(context: &Context<'_>) -> Finding {
    Finding::new(
        Code::EndpointsUnknown,
        "spec.serviceName",
        format!("spec.serviceName is empty; {}", context.overrides.brief(Key::Service)),
        format!(
            "spec.serviceName is empty and no advertised client URL names a member, so the members of {} have no known \
             DNS names and cannot be defragmented one after the other. Set {} to the headless Service that selects the \
             pods, or {} to the URL of each member.{}",
            context.sts.name(),
            Key::Service.annotation(),
            Key::Endpoints.annotation(),
            context.overrides.note(&[Key::Service, Key::Endpoints])
        ),
    )
}

fn listens_locally(context: &Context<'_>, urls: &str, field: String) -> Finding {
    Finding::new(
        Code::EtcdUnreachable,
        field,
        "etcd listens on loopback only: no run reaches it",
        format!(
            "This etcd listens for clients on {urls}, which only its own pod can dial, so no run reaches it. To have it \
             defragmented, add an address that other pods reach to --listen-client-urls, such as \
             https://0.0.0.0:2379 with TLS and --client-cert-auth. Otherwise take the label off, and defragment it from \
             inside the pod. Where something in the pod forwards connections to it, set {} to the URL of each member there.{}",
            Key::Endpoints.annotation(),
            context.overrides.note(&[Key::Endpoints])
        ),
    )
}

/// Whether a URL is one that every pod resolves to itself: a loopback address, or one to listen on.
pub(in crate::defrag) fn reaches_only_itself(url: &str) -> bool {
    Url::parse(url).is_some_and(|url| matches!(url.host(""), Host::Loopback | Host::Unspecified))
}

impl Etcd {
    /// Whether a member is reached by a name under the headless Service of this name.
    #[must_use]
    pub fn is_reached_by(&self, service: &str) -> bool {
        let mut hosts = self.endpoints.iter().filter_map(|url| Url::parse(url)).map(|url| url.host);
        hosts.any(|host| host.split('.').nth(1) == Some(service))
    }
}
