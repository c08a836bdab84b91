//! What a client connects to: this etcd, something else, or an unknown target.
//!
//! A client is evidence of what this etcd accepts only if it connects to this etcd. A client of another etcd, of a
//! bucket or of a vault has certificates, a login and a purpose that do not concern this one.

use std::collections::BTreeSet;

use super::{
    cluster, commands,
    context::{Context, Reading},
    launch::base,
    listens,
    marks::{UNKNOWN, VALUE, is_known},
    setting::Setting,
    types::DEFAULT_CLIENT_PORT,
    url::{Host, Url, parse_list},
};

/// Where a client connects, what is surer first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// To this etcd.
    Here,
    /// To this etcd, as far as is known: nothing visible contradicts it.
    Likely,
    /// To what may be this etcd and may be another one, such as a Service of the namespace.
    Near,
    /// Of a tool that talks to servers of any kind, it cannot be seen.
    Unseen,
    /// To something else.
    Elsewhere,
}

/// What connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    /// What talks to nothing but an etcd.
    OfEtcd,
    /// What talks to web servers of any kind: curl, wget.
    OfWeb,
}

/// What a host is to this etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A pod of the StatefulSet.
    Pod,
    /// Another name by which members are known to be reached.
    Known,
    /// A Service of the namespace that is called as this etcd is.
    Akin,
    /// Another Service of the namespace, or an address.
    Neighbour,
    Unknown,
    Outside,
}

/// Whether etcd answers at a port of its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hears {
    Yes,
    Maybe,
    No,
}

/// The variable of etcdctl, and the flags of etcdctl, of its second API and of other clients of an etcd.
const ENDPOINTS: &str = "ETCDCTL_ENDPOINTS";
const OF_COMMANDS: [&str; 3] = ["endpoints", "endpoint", "peers"];
const OF_CLIENTS: [&str; 7] = [
    "endpoints",
    "endpoint",
    "etcd-endpoints",
    "service-endpoints",
    "etcd-servers",
    "etcd-servers-overrides",
    "etcd-address",
];
/// The flags at whose URLs an etcd answers with its certificate for clients.
const LISTENS: [&str; 3] = ["listen-client-urls", "listen-client-http-urls", "listen-metrics-urls"];
/// Options of curl whose next word is no URL to connect to.
const NO_URLS: [&str; 12] = [
    "-H",
    "--header",
    "-d",
    "--data",
    "--data-raw",
    "--data-binary",
    "-e",
    "--referer",
    "-x",
    "--proxy",
    "-A",
    "--user-agent",
];
/// Options of curl that lead elsewhere than the URL says.
const REDIRECTS: [&str; 4] = ["--resolve", "--connect-to", "--unix-socket", "--abstract-unix-socket"];

/// What is known of this etcd that distinguishes its clients from others.
pub(super) struct Targets<'a, 'c> {
    context: &'c Context<'a>,
    /// The hosts that members are called by, in lower case.
    hosts: BTreeSet<String>,
    /// What follows the names of pods in them.
    forms: BTreeSet<String>,
    ports: BTreeSet<u16>,
    /// Whether these are all its ports.
    all_in_view: bool,
    /// Those of other etcds in the pod.
    of_others: BTreeSet<u16>,
}

impl<'a, 'c> Targets<'a, 'c> {
    pub(super) fn of(context: &'c Context<'a>) -> Self {
        let options = context.options();
        let list = |flag: &str| options.get(flag).map_or_else(Vec::new, |setting| parse_list(&setting.value));
        let advertised = list("advertise-client-urls");
        let stated = context.overrides.endpoints.iter().flatten().filter_map(|url| Url::parse(url));
        let mut named: Vec<Url> = stated.chain(advertised.iter().cloned()).collect();
        let mut ports: BTreeSet<u16> = named.iter().filter_map(|url| url.port).collect();
        named.extend(list("initial-advertise-peer-urls"));
        named.extend(cluster::entries(context).filter_map(|(_, url)| Url::parse(url)));
        let name = context.sts.name();
        let sidecars = context.sidecars.iter().filter_map(|sidecar| sidecar.options.get(LISTENS[0]));
        let of_others = sidecars.flat_map(|setting| parse_list(&setting.value)).filter_map(|url| url.port).collect();
        let all_in_view = options.get(LISTENS[0]).is_some_and(shows_ports);
        if all_in_view {
            ports.clear();
        } else {
            ports.insert(DEFAULT_CLIENT_PORT);
        }
        ports.extend(LISTENS.iter().flat_map(|flag| list(flag)).filter_map(|url| url.port));
        ports.extend(context.overrides.client_port);
        Self {
            context,
            hosts: named.iter().map(host_of).filter(|host| is_known(host)).collect(),
            forms: named.iter().filter_map(|url| url.behind_pod(name)).filter(|form| !form.is_empty()).collect(),
            ports,
            all_in_view,
            of_others,
        }
    }

    /// Where a command connects, of a container with this environment.
    pub(super) fn of_command(&self, reading: &Reading<'_>, words: &[String]) -> Target {
        if words.first().is_some_and(|program| matches!(base(program), "curl" | "wget")) {
            return self.of_web(words);
        }
        let stated: Vec<&str> = OF_COMMANDS.iter().flat_map(|flag| commands::values(words, flag)).collect();
        let hides = words.iter().any(|word| word.starts_with(UNKNOWN) || word.starts_with("--discovery-srv"));
        match stated.is_empty() {
            true if hides => self.by_default(reading).max(Target::Likely),
            true => self.by_default(reading),
            false => self.of_lists(stated),
        }
    }

    /// Where a container connects that is a client of an etcd by its own flags.
    pub(super) fn of_options(&self, reading: &Reading<'_>) -> Target {
        let stated = OF_CLIENTS.iter().filter_map(|flag| reading.options.get(flag));
        let stated: Vec<&str> = stated.map(|setting| setting.value.as_str()).collect();
        let is_etcdctl = || reading.options.program.as_deref().is_some_and(|program| base(program) == "etcdctl");
        match stated.is_empty() {
            true if is_etcdctl() => self.by_default(reading),
            true => Target::Likely,
            false => self.of_lists(stated),
        }
    }

    /// Where those of a container connect whose variables etcdctl reads: as its visible commands do, otherwise as the
    /// variables say.
    pub(super) fn of_environment(&self, reading: &Reading<'_>) -> Target {
        let commands = commands::of(reading);
        let speaks = commands.iter().filter(|words| words.first().is_some_and(|program| base(program) == "etcdctl"));
        speaks.map(|words| self.of_command(reading, words)).min().unwrap_or_else(|| self.by_default(reading))
    }

    /// Where a client of etcd connects that is given this URL.
    pub(super) fn of_url(&self, url: &Url) -> Target {
        self.judge(url, Tool::OfEtcd)
    }

    /// Where etcdctl connects without flags.
    fn by_default(&self, reading: &Reading<'_>) -> Target {
        match reading.options.env(ENDPOINTS).filter(|setting| !setting.value.is_empty()) {
            Some(setting) => self.of_lists(vec![setting.value.as_str()]),
            None if reading.container.env_from.is_empty() && self.ports.contains(&DEFAULT_CLIENT_PORT) => Target::Here,
            None => Target::Likely,
        }
    }

    /// The surest of several URLs, in lists that commas part, or as those of a kube-apiserver's groups.
    fn of_lists(&self, lists: Vec<&str>) -> Target {
        let entries = lists.into_iter().flat_map(|list| list.split([',', ';'])).map(str::trim);
        let urls = entries.filter(|entry| !entry.is_empty()).map(|entry| entry.rsplit('#').next().unwrap_or(entry));
        urls.map(|url| self.of_text(url)).min().unwrap_or(Target::Likely)
    }

    /// Where a client of etcd connects that is given this text, which may lack a scheme.
    fn of_text(&self, text: &str) -> Target {
        if listens::is_socket(text) || text.chars().eq([UNKNOWN]) {
            return Target::Likely;
        }
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        Url::parse(&with_scheme).map_or(Target::Likely, |url| self.of_url(&url))
    }

    /// Where curl or wget connect by TLS.
    fn of_web(&self, words: &[String]) -> Target {
        if words.iter().any(|word| REDIRECTS.iter().any(|option| word.starts_with(option))) {
            return Target::Unseen;
        }
        let behind = words.iter().skip(1).zip(words.iter());
        let operands = behind.filter(|(_, before)| !NO_URLS.contains(&before.as_str())).map(|(word, _)| word.as_str());
        let texts: Vec<&str> = operands.map(|word| word.strip_prefix("--url=").unwrap_or(word)).collect();
        let urls = texts.iter().filter(|text| !text.starts_with('-') && text.contains("://"));
        let found = urls.filter_map(|text| Url::parse(text)).map(|url| match url.scheme {
            Some(super::types::Scheme::Http) => Target::Elsewhere,
            _ => self.judge(&url, Tool::OfWeb),
        });
        // A word that cannot be seen may be one more.
        let hidden = texts.iter().filter(|text| text.starts_with([UNKNOWN, VALUE]) && !text.contains("://"));
        found.chain(hidden.map(|_| Target::Unseen)).min().unwrap_or(Target::Unseen)
    }

    fn judge(&self, url: &Url, tool: Tool) -> Target {
        let hears = self.hears(url, tool);
        match (self.place(url), hears, tool) {
            (Place::Pod | Place::Known, Hears::Yes, _) => Target::Here,
            (Place::Pod, Hears::Maybe, Tool::OfEtcd)
            | (Place::Known | Place::Akin | Place::Unknown, _, Tool::OfEtcd)
            | (Place::Akin, Hears::Yes, Tool::OfWeb) => Target::Likely,
            (Place::Pod, Hears::No, Tool::OfEtcd) => {
                if url.port.is_some_and(|port| self.of_others.contains(&port)) {
                    Target::Elsewhere
                } else {
                    Target::Near
                }
            }
            (Place::Neighbour, _, Tool::OfEtcd) | (Place::Neighbour, Hears::Yes, Tool::OfWeb) => Target::Near,
            (Place::Pod, Hears::Maybe, Tool::OfWeb) | (Place::Known | Place::Akin | Place::Unknown, _, Tool::OfWeb) => {
                Target::Unseen
            }
            (Place::Pod | Place::Neighbour, _, Tool::OfWeb) | (Place::Outside, _, _) => Target::Elsewhere,
        }
    }

    fn hears(&self, url: &Url, tool: Tool) -> Hears {
        let port = match tool {
            Tool::OfEtcd => url.port.or_else(|| (!url.hides_port).then_some(DEFAULT_CLIENT_PORT)),
            Tool::OfWeb => url.port.or_else(|| (!url.hides_port).then_some(443)),
        };
        match port {
            Some(port) if self.ports.contains(&port) => Hears::Yes,
            Some(_) if self.all_in_view => Hears::No,
            _ => Hears::Maybe,
        }
    }

    fn place(&self, url: &Url) -> Place {
        let statefulset = self.context.sts.name();
        let host = host_of(url);
        if self.hosts.contains(&host) && url.host(statefulset) == Host::Named {
            return Place::Known;
        }
        match url.host(statefulset) {
            Host::Loopback | Host::Unspecified | Host::PodAddress | Host::BarePod => return Place::Pod,
            Host::Named | Host::Unknown => {}
        }
        if url.is_address() {
            return Place::Neighbour;
        }
        if let Some(form) = url.behind_pod(statefulset).filter(|form| self.forms.contains(form)) {
            return if form.is_empty() { Place::Pod } else { Place::Known };
        }
        if self.context.is_elsewhere(url) {
            return Place::Outside;
        }
        let labels: Vec<&str> = host.split('.').collect();
        let (first, rest) = labels.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
        if url.behind_pod(statefulset).is_some() {
            return Place::Pod;
        }
        // The name of a pod that is computed stands in front of a Service.
        let service = if is_known(first) { Some(labels.as_slice()) } else { (!rest.is_empty()).then_some(rest) };
        match service.map(|labels| self.service(labels)) {
            Some(Place::Known | Place::Akin | Place::Neighbour) if !is_known(first) => Place::Unknown,
            Some(Place::Outside) if self.forms.contains(&rest.join(".")) => Place::Unknown,
            Some(place) => place,
            None => Place::Unknown,
        }
    }

    /// What the name of a Service is, from its first label on.
    fn service(&self, labels: &[&str]) -> Place {
        let [label, behind @ ..] = labels else { return Place::Unknown };
        if !labels.iter().all(|label| is_known(label)) {
            return Place::Unknown;
        }
        let in_namespace = match behind {
            [] => true,
            [namespace] | [namespace, "svc", ..] => self.context.may_be_in(namespace),
            _ => false,
        };
        if !in_namespace {
            return Place::Outside;
        }
        let own = &self.context.sts.spec.service_name;
        if label == own || self.context.overrides.service.as_deref() == Some(label) {
            return Place::Known;
        }
        let stem = own.strip_suffix("-headless").unwrap_or(own);
        let is_akin = [self.context.sts.name(), stem].iter().any(|name| is_part(name, label) || is_part(label, name));
        if is_akin { Place::Akin } else { Place::Neighbour }
    }
}

/// Whether a name is another one, or begins with it.
fn is_part(part: &str, name: &str) -> bool {
    !part.is_empty() && name.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Whether each URL of a list shows its port.
fn shows_ports(setting: &Setting) -> bool {
    let entries = setting.value.split(',').filter(|entry| !entry.trim().is_empty() && !listens::is_socket(entry));
    let mut urls = entries.map(Url::parse).peekable();
    urls.peek().is_some() && urls.all(|url| url.is_some_and(|url| url.port.is_some()))
}

fn host_of(url: &Url) -> String {
    url.host.trim_end_matches('.').to_ascii_lowercase()
}
