//! Which members a cluster has, and which of them run outside of the StatefulSet.
//!
//! `--initial-cluster` is read at the first start of a member and stands there ever after, whatever became of the cluster:
//! members of the same StatefulSet that it names may be gone, and others may have come. So only a host that is no pod of this
//! StatefulSet says something: the etcd is spread over several.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::Context,
    marks::readable,
    types::Scheme,
    url::{Host, Url, ordinal, parse_list, pod},
};
use crate::defrag::{
    finding::{Code, Finding, shorten},
    keys::Key,
};

/// The longest list of members that a message shows, in characters, and the most members of one.
const SHOWN: usize = 800;
const MOST: usize = 16;
/// The name of a member that is given none.
const DEFAULT_NAME: &str = "default";

/// The members that the flag names.
pub(super) struct Cluster {
    /// How many there are.
    pub(super) count: u32,
    /// The hosts of all.
    all: Vec<String>,
    /// The hosts of those that are no pods of this StatefulSet.
    pub(super) outside: Vec<String>,
    /// The ports at which the members talk to each other.
    pub(super) peer_ports: BTreeSet<u16>,
    field: String,
    origin: String,
}

/// The entries of `--initial-cluster`: names and URLs.
pub(super) fn entries<'a>(context: &Context<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let setting = context.options().get("initial-cluster");
    setting.into_iter().flat_map(|setting| setting.value.split(',')).filter_map(|entry| entry.trim().split_once('='))
}

pub(super) fn of(context: &Context<'_>) -> Cluster {
    let name = context.sts.name();
    let setting = context.options().get("initial-cluster");
    let mut members: Vec<Member<'_>> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut peer_ports = BTreeSet::new();
    for (member, url) in entries(context) {
        let Some(url) = Url::parse(url) else { continue };
        let host = url.host.trim_end_matches('.').to_ascii_lowercase();
        peer_ports.extend(url.port);
        if seen.insert((member, host.clone())) {
            members.push(Member { name: member, host, kind: url.host(name) });
        }
    }
    let names: BTreeSet<&str> = members.iter().map(|member| member.name).collect();
    let doubled = Doubled::of(context, &members);
    let outside = members.iter().filter(|member| names.len() > 1 && !member.is_own(context, &doubled));
    Cluster {
        count: u32::try_from(names.len()).unwrap_or(u32::MAX),
        outside: outside.map(|member| readable(&member.host)).collect(),
        all: members.iter().map(|member| readable(&member.host)).collect(),
        peer_ports,
        field: setting.map(|setting| setting.field.clone()).unwrap_or_default(),
        origin: setting.map(|setting| setting.origin.clone()).unwrap_or_default(),
    }
}

/// One member as the flag names it.
struct Member<'a> {
    name: &'a str,
    host: String,
    kind: Host,
}

impl Member<'_> {
    fn first_label(&self) -> &str {
        self.host.split('.').next().unwrap_or_default()
    }

    /// Whether this is a pod of the StatefulSet: its host is one, or its name is that of the member itself, which etcd looks
    /// for in the list.
    fn is_own(&self, context: &Context<'_>, doubled: &Doubled<'_>) -> bool {
        let statefulset = context.sts.name();
        match self.kind {
            Host::Named if pod(self.first_label(), statefulset) => {
                !doubled.hosts.contains(self.host.as_str())
                    || self.is_under_our_service(context)
                        && doubled.domain.as_deref().is_none_or(|own| own == self.domain())
            }
            Host::Named => match context.options().get("name").map(|setting| setting.value.as_str()) {
                None => self.name == DEFAULT_NAME,
                Some(own) if pod(own, statefulset) => pod(self.name, statefulset),
                Some(own) => self.name == own,
            },
            Host::Loopback | Host::Unspecified | Host::PodAddress | Host::BarePod | Host::Unknown => true,
        }
    }

    fn is_under_our_service(&self, context: &Context<'_>) -> bool {
        let service = &context.sts.spec.service_name;
        let mut behind = self.host.split('.').skip(1);
        behind.next().is_none_or(|label| service.is_empty() || label == service)
            && behind.next().is_none_or(|label| label == context.sts.namespace())
    }

    fn domain(&self) -> &str {
        domain(&self.host)
    }
}

/// The domain of a cluster in a host, empty where it has none.
fn domain(host: &str) -> &str {
    host.trim_end_matches('.').split_once(".svc.").map_or("", |(_, domain)| domain)
}

/// The hosts of pods whose number several members have: StatefulSets of the same name, under different Services, in different
/// namespaces or in different Kubernetes clusters.
struct Doubled<'a> {
    hosts: BTreeSet<&'a str>,
    /// The domain of our own cluster, where they differ by that.
    domain: Option<String>,
}

impl<'a> Doubled<'a> {
    fn of(context: &Context<'_>, members: &'a [Member<'_>]) -> Self {
        let mut by_number: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for member in members {
            if let Some(number) = ordinal(member.first_label(), context.sts.name()) {
                by_number.entry(number).or_default().insert(member.name, &member.host);
            }
        }
        let hosts: BTreeSet<&str> =
            by_number.into_values().filter(|members| members.len() > 1).flat_map(BTreeMap::into_values).collect();
        let ours = || {
            members.iter().filter(|member| hosts.contains(member.host.as_str()) && member.is_under_our_service(context))
        };
        let domains: BTreeSet<&str> = ours().map(Member::domain).collect();
        let domain = (domains.len() > 1).then(|| own_domain(context, members)).map(|own| {
            own.filter(|own| domains.contains(own.as_str()))
                .or_else(|| ours().next().map(|member| member.domain().to_owned()))
                .unwrap_or_default()
        });
        Self { hosts, domain }
    }
}

/// The domain of the cluster that the StatefulSet is in: that of the member whose name is its own, else that of what it
/// advertises.
fn own_domain(context: &Context<'_>, members: &[Member<'_>]) -> Option<String> {
    if let Some(domain) = &context.overrides.cluster_domain {
        return Some(domain.clone());
    }
    let own = context.options().get("name").and_then(|name| members.iter().find(|member| member.name == name.value));
    let advertised = || {
        let flags = ["advertise-client-urls", "initial-advertise-peer-urls"];
        let settings = flags.iter().filter_map(|flag| context.options().get(flag));
        let mut urls = settings.flat_map(|setting| parse_list(&setting.value));
        urls.find(|url| url.behind_pod(context.sts.name()).is_some_and(|behind| !behind.is_empty()))
    };
    own.map(|member| member.domain().to_owned())
        .or_else(|| advertised().map(|url| domain(&url.host).to_ascii_lowercase()))
}

impl Cluster {
    /// Whether one of the members has this host, or one that begins with it or with which it begins.
    pub(super) fn has(&self, host: &str) -> bool {
        self.all.iter().any(|member| same(host, member))
    }

    /// That this etcd has members outside of the StatefulSet, and how it is defragmented all the same.
    pub(super) fn elsewhere(&self, context: &Context<'_>, scheme: Scheme, port: u16) -> Finding {
        let annotation = Key::Endpoints.annotation();
        let urls: Vec<String> = self.all.iter().take(MOST).map(|host| format!("{scheme}://{host}:{port}")).collect();
        self.finding(
            format!("{} of {} members are outside; {}", self.outside.len(), self.count, context.overrides.brief(Key::Endpoints)),
            &format!(
                "Each of these StatefulSets would get a CronJob of its own, and runs at the same time take several members \
                 away at once, and the quorum with them. Enrol one of them, with {annotation}: {}, the client URLs of all \
                 members, and leave the label off the others.{}",
                quoted_whole(&urls.join(",")),
                context.overrides.note(&[Key::Endpoints])
            ),
        )
    }

    /// That `endpoints` leaves members out, if it does.
    pub(super) fn not_named(&self, context: &Context<'_>, endpoints: &[String]) -> Option<Finding> {
        let statefulset = context.sts.name();
        let hosts: Vec<String> = endpoints.iter().filter_map(|url| Some(Url::parse(url)?.host)).collect();
        let is_named = |member: &&String| hosts.iter().any(|host| same(host, member));
        let missing: Vec<&str> =
            self.all.iter().filter(|member| !is_named(member)).map(String::as_str).take(MOST).collect();
        // A member may be known to clients under another name than to its peers.
        let others = hosts.iter().filter(|host| {
            let own = ordinal(host.split('.').next().unwrap_or_default(), statefulset).is_some();
            !own && !self.all.iter().any(|member| same(host, member))
        });
        (missing.len() > others.count()).then(|| {
            self.finding(
                format!("{} names {} of {} members", Key::Endpoints.name(), hosts.len(), self.count),
                &format!(
                    "{} leaves out {}: they would never be defragmented, and the run would not see their health. Name the \
                     client URL of every member there.{}",
                    Key::Endpoints.annotation(),
                    missing.join(", "),
                    context.overrides.note(&[Key::Endpoints])
                ),
            )
        })
    }

    fn finding(&self, brief: String, advice: &str) -> Finding {
        let list = |hosts: &[String]| shorten(&hosts.iter().take(MOST).cloned().collect::<Vec<_>>().join(", "), SHOWN);
        Finding::new(
            Code::MembersElsewhere,
            self.field.clone(),
            brief,
            format!(
                "This etcd has members that are no pods of this StatefulSet: {} names {}, and of these {} are elsewhere. \
                 {advice} If the cluster has other members by now, correct {}.",
                self.origin,
                list(&self.all),
                list(&self.outside),
                self.origin
            ),
        )
    }
}

/// Whether two hosts may be the same: one of them may leave out the end of the other.
fn same(one: &str, other: &str) -> bool {
    let begins = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
    one == other || begins(one, other) || begins(other, one)
}

/// A value to write, between quotation marks.
fn quoted_whole(value: &str) -> String {
    format!("\"{}\"", shorten(value, SHOWN))
}
