//! Where clients reach each member.

use super::{
    MAX_MEMBERS,
    cluster::{self, Cluster},
    context::Context,
    listens::{self, Listens},
    marks::{ADDRESS, UNKNOWN, VALUE, readable},
    names,
    port::{self, Dialled, Listening, Port},
    profile::Profile,
    setting::Setting,
    stated,
    targets::{Target, Targets},
    types::{Etcd, Scheme},
    url::{Host, Url, parse_list},
};
use crate::defrag::{
    dns::{is_label, is_subdomain},
    finding::{Code, Finding, Severity, quoted},
    keys::Key,
};

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
    /// The field path of what shows that each pod is an etcd of its own.
    pub(super) each_alone: Option<String>,
    /// Whether the engine is to leave out the health check that dials the advertised client URLs.
    pub(super) skips_health_check: bool,
}

pub(super) fn discover(
    context: &Context<'_>,
    targets: &Targets<'_, '_>,
    replicas: u32,
    findings: &mut Vec<Finding>,
) -> Address {
    let urls = Urls::of(context, targets);
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
        each_alone: cluster.each_alone().filter(|_| replicas > 1),
        skips_health_check: false,
    };
    if let Some(endpoints) = context.overrides.endpoints.clone() {
        address.state(endpoints, context, (&urls, &cluster), replicas, form.as_deref(), findings);
        return address;
    }
    if let Some(finding) = names::other_service(context) {
        findings.push(finding);
        return address;
    }
    if let Some(finding) = names::other_domain(context) {
        let refuses = finding.denies();
        findings.push(finding);
        if refuses {
            return address;
        }
    }
    if let Listens::Locally { urls, field } = listens::at(context.options()) {
        findings.push(listens::locally(context, &urls, field));
        return address;
    }
    let heard = dials_pods && matches!(port, Port::Known(_));
    let scheme = urls.scheme(member, heard.then(|| port.number())).or_else(|| scheme_by_options(context));
    address.scheme = scheme.unwrap_or(Scheme::Http);
    if scheme.is_none() {
        findings.push(scheme_unknown(context, &address));
    } else if form.is_none() && alone.is_none() && address.service.is_empty() {
        findings.push(names::nowhere(context));
    } else if let Port::Hidden(place) = port {
        findings.push(port::unknown(context, &place));
    } else if replicas <= MAX_MEMBERS {
        if is_spread {
            findings.push(cluster.elsewhere(context, address.scheme, address.port));
        } else if replicas == 1 {
            findings.extend(cluster.unseen(context));
        }
        address.endpoints = if let (Some(url), None) = (alone, &form) {
            vec![format!("{}://{}:{}", address.scheme, url.host.trim_end_matches('.'), address.port)]
        } else {
            let stated = context.overrides.service.is_some() || context.overrides.cluster_domain.is_some();
            let is_partly_seen = form.is_some() && member.is_some_and(|url| url.hides_domain(name));
            let is_assumed = (form.is_none() || is_partly_seen)
                && !stated
                && address.scheme == Scheme::Https
                && !context.profile.names_pods();
            let behind = form.unwrap_or_else(|| address.convention(context));
            let host = |ordinal| format!("{}://{name}-{ordinal}.{behind}:{}", address.scheme, address.port);
            let endpoints: Vec<String> = context.sts.ordinals(replicas).map(host).collect();
            findings.extend(is_assumed.then(|| names::by_convention(context, &endpoints, is_partly_seen)));
            endpoints
        };
        if dials_pods && context.overrides.client_port.is_some() {
            findings.extend(stated::judge_port(context, &cluster, replicas, &address.endpoints));
        }
        address.judge_health_check(context, &urls, !is_spread, findings);
    }
    address
}

impl Address {
    /// The members under the endpoints that a person states.
    fn state(
        &mut self,
        endpoints: Vec<String>,
        context: &Context<'_>,
        (urls, cluster): (&Urls, &Cluster),
        replicas: u32,
        form: Option<&str>,
        findings: &mut Vec<Finding>,
    ) {
        self.scheme =
            if endpoints.iter().any(|url| url.starts_with("https://")) { Scheme::Https } else { Scheme::Http };
        let judgement = stated::judge(context, cluster, replicas, &endpoints, form);
        findings.extend(judgement.findings);
        self.scheme = judgement.scheme.unwrap_or(self.scheme);
        if self.is_spread {
            let left_out = cluster.not_named(context, &endpoints);
            if left_out.is_none() {
                self.members = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
            }
            findings.extend(left_out);
        }
        // Others than the pods of this StatefulSet are members too, whatever shows it.
        let named = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        if !self.is_spread && replicas > 0 && named > replicas {
            self.members = named;
        }
        let all = endpoints.len() >= usize::try_from(cluster.count.max(replicas)).unwrap_or(usize::MAX);
        // The certificate has the names that are stated, and perhaps not those that are advertised.
        self.skips_health_check = all && self.scheme == Scheme::Https && urls.are_others(context, &endpoints);
        self.endpoints = endpoints;
        self.judge_health_check(context, urls, all, findings);
    }

    /// What follows the name of a pod if nothing shows how the members call themselves.
    fn convention(&self, context: &Context<'_>) -> String {
        let domain = self.domain.as_ref().map_or_else(String::new, |domain| format!(".{domain}"));
        format!("{}.{}.svc{domain}", self.service, context.sts.namespace())
    }

    /// The engine's first health check dials what the members advertise. If a run cannot reach one of these URLs, the
    /// check is skipped, as long as `all` members are among the endpoints and are checked by those.
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
                    "So this check is skipped (--skip-healthcheck-cluster-endpoints), and the endpoints of the run, which \
                     name every member, are checked instead."
                } else {
                    "The check cannot be skipped, since the endpoints do not name every member: name them all."
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

/// The visible client URLs, the best evidence first.
struct Urls {
    /// What the members advertise, each with its text.
    advertised: Vec<(Url, String)>,
    listening: Vec<Url>,
    heard: Listening,
    /// The URLs for clients inside the pod.
    used: Vec<Url>,
    /// The URLs that members give each other.
    peers: Vec<Url>,
    advertising: Option<Setting>,
    /// The first advertised URL that is not used, since it names another namespace.
    elsewhere: Option<String>,
}

impl Urls {
    fn of(context: &Context<'_>, targets: &Targets<'_, '_>) -> Self {
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
        // A pod has no name in another namespace: what is advertised there is another etcd's, or was copied with a manifest.
        let advertised = texts.filter_map(|text| Some((Url::parse(text)?, text.trim().to_owned())));
        let (elsewhere, advertised): (Vec<_>, Vec<_>) = advertised.partition(|(url, _)| context.is_elsewhere(url));
        peers.retain(|url| !context.is_elsewhere(url));
        used.retain(|url| url.scheme.is_some() && targets.of_url(url) != Target::Elsewhere);
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

    /// What follows the name of each pod, as the members call themselves; nothing where settings say otherwise. The
    /// certificate of a member has that name. What they call each other serves where nothing is known of what clients
    /// are told.
    fn form(&self, context: &Context<'_>, among_peers: bool) -> Option<String> {
        let overrides = context.overrides;
        if overrides.service.is_some() || overrides.cluster_domain.is_some() {
            return None;
        }
        let peers = self.peers.iter().filter(|_| among_peers);
        let urls = self.for_clients().chain(peers).filter(|url| context.other_service(url).is_none());
        urls.filter_map(|url| url.behind_pod(context.sts.name())).find(|form| !form.is_empty())
    }

    /// What the only member advertises, where that is a name or an address that others can dial.
    fn alone(&self, context: &Context<'_>, replicas: u32) -> Option<&Url> {
        let overrides = context.overrides;
        if replicas != 1 || overrides.service.is_some() || overrides.cluster_domain.is_some() {
            return None;
        }
        let named = |url: &&Url| {
            let host = url.host.trim_end_matches('.');
            url.host(context.sts.name()) == Host::Named
                && context.other_service(url).is_none()
                && (is_subdomain(host) || url.is_address())
        };
        self.advertised.iter().map(|(url, _)| url).find(named)
    }

    /// All of them, those that only the pod itself can use last.
    fn by_reach(&self) -> impl Iterator<Item = &Url> {
        let all = || self.advertised.iter().map(|(url, _)| url).chain(&self.listening).chain(&self.used);
        all().filter(|url| !url.is_local()).chain(all().filter(|url| url.is_local()))
    }

    /// How the members are spoken to. At the port of the pods that runs dial, what listens there counts: etcd
    /// advertises any URL.
    fn scheme(&self, member: Option<&Url>, dialled: Option<u16>) -> Option<Scheme> {
        let heard = dialled.and_then(|port| self.heard.scheme_at(port));
        heard.or_else(|| member.and_then(|url| url.scheme)).or_else(|| self.by_reach().find_map(|url| url.scheme))
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

    /// Whether `endpoints` have other hosts than what is advertised, all of them: there is a reason for that, such as a
    /// certificate that has the one name and not the other.
    fn are_others(&self, context: &Context<'_>, endpoints: &[String]) -> bool {
        let name = context.sts.name();
        let form = |url: &Url| url.behind_pod(name).unwrap_or_else(|| url.host.trim_end_matches('.').to_lowercase());
        let is_seen = |(url, _): &(Url, String)| url.host(name) != Host::Unknown;
        let advertised: Vec<String> = self.advertised.iter().map(|(url, _)| form(url)).collect();
        let mut stated = endpoints.iter().filter_map(|url| Url::parse(url));
        !advertised.is_empty()
            && self.advertised.iter().all(is_seen)
            && stated.all(|url| !advertised.contains(&form(&url)))
    }

    /// The first advertised URL that a run cannot dial, and why.
    fn unreachable(&self, context: &Context<'_>) -> Option<(&Setting, String, Why)> {
        let setting = self.advertising.as_ref()?;
        if let Some(text) = &self.elsewhere {
            let why = Why {
                brief: "that is in another namespace",
                sentence: "that is in another namespace, where no pod of this StatefulSet is, so it is not used",
                instead: "the name of the pod in its own namespace",
            };
            return Some((setting, text.clone(), why));
        }
        if self.is_replaced() {
            return None;
        }
        if let Some(text) = setting.value.split(',').find(|text| !setting.by_script && text.contains("$(")) {
            let why = Why {
                brief: "a variable in it is not replaced",
                sentence: "Kubernetes replaces $(NAME) only where the container has that variable, and in its list before what \
                           uses it; else etcd gets these characters",
                instead: NAME_OF_POD,
            };
            return Some((setting, text.trim().to_owned(), why));
        }
        self.advertised.iter().find_map(|(url, text)| {
            if context.other_service(url).is_some() {
                let why = Why {
                    brief: "no pod has a name under that Service",
                    sentence: "a pod has a name under the Service of spec.serviceName only, and that is another one",
                    instead: "the name of the pod under the Service of spec.serviceName",
                };
                return Some((setting, text.clone(), why));
            }
            let why = match url.host(context.sts.name()) {
                Host::Loopback => Why {
                    brief: "that is another pod's own address",
                    sentence: "in every other pod that is the pod itself",
                    instead: NAME_OF_POD,
                },
                Host::Unspecified => Why {
                    brief: "that is not an address of a member",
                    sentence: "that is an address to listen on, and a client that dials it reaches itself",
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
                Host::PodAddress | Host::Named => match self.answers_otherwise(context, url)? {
                    Scheme::Https => Why {
                        brief: "only TLS there",
                        sentence: "etcd listens there for TLS only, so plain text gets no answer",
                        instead: "an https URL",
                    },
                    Scheme::Http => Why {
                        brief: "no TLS there",
                        sentence: "etcd listens there without TLS, whatever certificate it has, so no TLS connection succeeds",
                        instead: "an http URL, or listen for https",
                    },
                },
                Host::Unknown => return None,
            };
            Some((setting, text.clone(), why))
        })
    }

    /// Whether nothing in the pod listens where this URL of the pod leads.
    fn is_deaf(&self, context: &Context<'_>, url: &Url) -> bool {
        of_pod(context, url) && url.port.is_some_and(|port| self.heard.is_deaf_at(port))
    }

    /// How etcd speaks where this URL of the pod leads, if that is another way than the URL says.
    fn answers_otherwise(&self, context: &Context<'_>, url: &Url) -> Option<Scheme> {
        let heard = self.heard.scheme_at(url.port.filter(|_| of_pod(context, url))?)?;
        url.scheme.filter(|scheme| *scheme != heard).map(|_| heard)
    }

    /// Whether etcd advertises the address of its pod instead of the configured one: it does so for its own default
    /// while it listens on all IPv4 interfaces (`embed.Config.UpdateDefaultClusterFromName`).
    fn is_replaced(&self) -> bool {
        let default = matches!(self.advertised.as_slice(), [(_, text)] if text == "http://localhost:2379");
        default && self.listening.first().is_some_and(|url| url.host == "0.0.0.0")
    }
}

/// Whether a URL leads to the pod itself.
fn of_pod(context: &Context<'_>, url: &Url) -> bool {
    url.host.contains(ADDRESS) || url.behind_pod(context.sts.name()).is_some()
}

/// Without any URL: TLS if a certificate is configured, plain text if all options are visible, otherwise unknown.
fn scheme_by_options(context: &Context<'_>) -> Option<Scheme> {
    let certificate = context.options().get("cert-file");
    if certificate.is_some_and(|setting| !is_blank(setting)) || context.options().is_on("auto-tls") {
        Some(Scheme::Https)
    } else if hidden(context).is_none() && certificate.is_none() {
        Some(Scheme::Http)
    } else {
        None
    }
}

/// Whether nothing at all is seen of a flag, which then may not be there.
fn is_blank(setting: &Setting) -> bool {
    setting.value.chars().eq([UNKNOWN])
}

/// Where client URLs that are not visible may be set, as text.
fn hidden(context: &Context<'_>) -> Option<String> {
    let options = context.options();
    let behind = |flag: &str| {
        let setting = options.get(flag).filter(|setting| setting.value.contains([UNKNOWN, VALUE]))?;
        Some(setting.place())
    };
    options.unreadable().or_else(|| ["advertise-client-urls", "listen-client-urls"].into_iter().find_map(behind))
}

fn scheme_unknown(context: &Context<'_>, address: &Address) -> Finding {
    let certificate = || context.options().get("cert-file").map(Setting::place);
    let place = hidden(context).or_else(certificate).unwrap_or_default();
    let service = if address.service.is_empty() { "<service>" } else { &address.service };
    let (name, namespace, port) = (context.sts.name(), context.sts.namespace(), address.port);
    // All of them, for people copy what is shown.
    let each: Vec<String> = context
        .sts
        .ordinals(address.members.clamp(1, MAX_MEMBERS))
        .map(|ordinal| format!("https://{name}-{ordinal}.{service}.{namespace}.svc:{port}"))
        .collect();
    Finding::new(
        Code::EndpointsUnknown,
        Key::Endpoints.field(),
        format!("the client URLs are not visible; {}", context.overrides.brief(Key::Endpoints)),
        format!(
            "The client URLs of this etcd are not visible in the pod template: they may be set in {place}, which is not \
             read here, so not even http or https is known. Set {} to the URL of each member, such as {}.{}",
            Key::Endpoints.annotation(),
            each.join(","),
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
