//! Which members a cluster has, and which of them run outside of the StatefulSet.
//!
//! `--initial-cluster` is read at the first start of a member and is never updated: members of the same StatefulSet
//! that it names may be gone, and others may have been added. So only a host that is not a pod of this StatefulSet is
//! evidence: the etcd is spread over several StatefulSets.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::Context,
    hosts::{is_other_pod, pod_label},
    marks::{POD, UNKNOWN, readable},
    types::Scheme,
    url::{Host, Url, ordinal, parse_list, pod},
};
use crate::defrag::{
    finding::{Code, Finding, Severity, quoted, shorten},
    keys::{ENABLED, Key},
};

/// The longest list of members that a message shows, in characters, and the most members of one.
const SHOWN: usize = 800;
const MOST: usize = 16;
/// The name of a member that is given none.
const DEFAULT_NAME: &str = "default";
/// What to do with the others where their label may not say so.
const UNDER_A_POLICY: &str = "If a policy enrols every etcd and allows no opt-out, remove the label from the others instead: an etcd \
                              without it gets no CronJob if the endpoints of an enrolled one name all of its pods.";
/// The flags by which etcd asks elsewhere who the members are.
const DISCOVERY: [&str; 4] = ["discovery-srv", "discovery", "discovery-endpoints", "discovery-token"];

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
    /// Whether further ones may be named where that is not read.
    hides_some: bool,
    /// Whether each pod names itself and no other, so that each is an etcd of its own.
    is_each_alone: bool,
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
    let is_own = |member: &&Member<'_>| member.is_own(context, &doubled);
    let there: Vec<&str> =
        members.iter().filter(|member| member.is_there(context)).filter(is_own).map(Member::behind).collect();
    let outside =
        members.iter().filter(|member| names.len() > 1 && !(is_own(member) && member.may_be_beside(context, &there)));
    Cluster {
        count: u32::try_from(names.len()).unwrap_or(u32::MAX),
        outside: outside.map(|member| readable(&member.host)).collect(),
        all: members.iter().map(|member| readable(&member.host)).collect(),
        peer_ports,
        is_each_alone: matches!(members.as_slice(), [only] if only.name.chars().eq([POD]))
            && setting.is_some_and(|setting| setting.value.split(',').count() == 1),
        hides_some: setting.is_some_and(|setting| hides_some(context, &setting.value)),
        field: setting.map(|setting| setting.field.clone()).unwrap_or_default(),
        origin: setting.map(|setting| setting.origin.clone()).unwrap_or_default(),
    }
}

/// Whether a list may hold more members than are seen: a part of it is computed, and no name of the member itself.
fn hides_some(context: &Context<'_>, list: &str) -> bool {
    let own = context.options().get("name").map(|setting| setting.value.as_str());
    list.split(',').any(|entry| {
        let name = entry.trim().split_once('=').map_or(entry, |(name, _)| name);
        name.contains(UNKNOWN) && (Some(name) != own || name.len() == entry.trim().len())
    })
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

    /// The number of the pod of the StatefulSet that its host names.
    fn number(&self, context: &Context<'_>) -> Option<u64> {
        ordinal(self.first_label(), context.sts.name())?.parse().ok()
    }

    /// Whether its host names a pod that the StatefulSet has now, by its number.
    fn is_there(&self, context: &Context<'_>) -> bool {
        let there = context.sts.ordinals(u32::try_from(context.sts.replicas()).unwrap_or(0));
        self.number(context).is_some_and(|number| there.contains(&number))
    }

    /// What follows the name of the pod.
    fn behind(&self) -> &str {
        self.host.split_once('.').map_or("", |(_, behind)| behind)
    }

    /// Whether it may be a pod beside those that are `there`, which the StatefulSet had or will have: under the same Service, in the same
    /// namespace and domain, as far as both say.
    fn may_be_beside(&self, context: &Context<'_>, there: &[&str]) -> bool {
        let is_akin = |other: &&str| self.behind().split('.').zip(other.split('.')).all(|(one, two)| one == two);
        self.number(context).is_none() || self.is_there(context) || there.is_empty() || there.iter().any(is_akin)
    }

    fn is_under_our_service(&self, context: &Context<'_>) -> bool {
        let service = &context.sts.spec.service_name;
        let mut behind = self.host.split('.').skip(1);
        behind.next().is_none_or(|label| service.is_empty() || label == service)
            && behind.next().is_none_or(|label| context.may_be_in(label))
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

    /// Whether one of the members has this host, or is the same pod under another Service.
    pub(super) fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.all.iter().any(|member| self.is_named(member, &host))
    }

    /// Whether a host is the one of a member, or the same pod under another Service. Several members whose pods have
    /// the same name are in different namespaces or Kubernetes clusters, and only the whole host distinguishes them.
    fn is_named(&self, member: &str, host: &str) -> bool {
        let is_alone = |label: &str| self.all.iter().filter(|other| pod_label(other) == Some(label)).count() == 1;
        same(host, member) || pod_label(member).is_some_and(|label| pod_label(host) == Some(label) && is_alone(label))
    }

    /// The member whose StatefulSet is the one to enrol, the same for each of them: the first by name of those that are in Kubernetes.
    /// Nothing where only this one is known to be.
    fn keeper(&self) -> Option<&str> {
        let ours = self.all.iter().find(|host| !self.outside.contains(host));
        // What stands behind pod and Service: the namespace, and the domain of the cluster.
        let behind = |host: &str| host.splitn(3, '.').nth(2).map(str::to_owned);
        let is_inside = |host: &&String| {
            let is_akin = || ours.is_some_and(|own| behind(own) == behind(host));
            pod_label(host).is_some() && (host.split('.').any(|label| label == "svc") || is_akin())
        };
        self.all.iter().filter(is_inside).min().map(String::as_str)
    }

    /// The field path of the list, where by it each pod is an etcd of its own.
    pub(super) fn each_alone(&self) -> Option<String> {
        (self.is_each_alone && !self.hides_some).then(|| self.field.clone())
    }

    /// That this etcd has members outside of the StatefulSet, and how it is defragmented all the same.
    pub(super) fn elsewhere(&self, context: &Context<'_>, scheme: Scheme, port: u16) -> Finding {
        let annotation = Key::Endpoints.annotation();
        let urls: Vec<String> = self.all.iter().take(MOST).map(|host| format!("{scheme}://{host}:{port}")).collect();
        let elsewhere = self.keeper().filter(|keeper| self.outside.iter().any(|host| host == keeper));
        let (which, there, off) = match elsewhere {
            Some(keeper) => {
                let name = pod_label(keeper).and_then(|pod| pod.rsplit_once('-')).map_or(keeper, |(name, _)| name);
                let is_akin = name == context.sts.name();
                let kind = if is_akin { "that of the StatefulSets" } else { "the StatefulSet" };
                let which = format!("{kind} {}, which has the member {keeper}", quoted(name));
                // Of several of the same name this may be the one.
                (which, "there", if is_akin { "on the others" } else { "here and on the others" })
            }
            None => ("this one".to_owned(), "here", "on the others"),
        };
        let brief = match elsewhere {
            Some(_) => "enrol only the StatefulSet that the message names".to_owned(),
            None => context.overrides.brief(Key::Endpoints),
        };
        self.finding(
            format!("{} of {} members are outside; {brief}", self.outside.len(), self.count),
            &format!(
                "Each of these StatefulSets would get a CronJob of its own, and runs at the same time make several members \
                 unavailable, and the quorum is lost. Enrol only {which}: set {annotation} {there} to {}, the client URLs of \
                 all members, and write the label {ENABLED}: \"false\" {off}. {UNDER_A_POLICY}{}",
                quoted_whole(&urls.join(",")),
                context.overrides.note(&[Key::Endpoints])
            ),
        )
    }

    /// That a StatefulSet of one pod may be only a part of an etcd, if its list of members is not visible.
    pub(super) fn unseen(&self, context: &Context<'_>) -> Option<Finding> {
        let (field, why) = self.hidden(context)?;
        let finding = Finding::new(
            Code::MembersElsewhere,
            field,
            format!("the members are not visible; if there are more, {}", context.overrides.brief(Key::Endpoints)),
            format!(
                "This StatefulSet has one pod, and it is not known how many members its etcd has: {why}. If other StatefulSets have members of the same etcd, each gets a CronJob of its own, and \
                 runs at the same time make several members unavailable, and the quorum is lost. In that case enrol only one of \
                 them, with {} set to the client URL of every member, and write the label {ENABLED}: \"false\" on the others. \
                 {UNDER_A_POLICY}{}",
                Key::Endpoints.annotation(),
                context.overrides.note(&[Key::Endpoints])
            ),
        );
        Some(finding.with_severity(Severity::Warn))
    }

    /// Where members that are not visible may be named: the field path, and a sentence.
    pub(super) fn hidden(&self, context: &Context<'_>) -> Option<(String, String)> {
        if self.hides_some {
            let why = format!("{} is composed where it is not read, such as in a loop", self.origin);
            return Some((self.field.clone(), why));
        }
        let options = context.options();
        // etcd takes either a list or one of these.
        if let Some(setting) =
            DISCOVERY.iter().find_map(|flag| options.get(flag).filter(|found| !found.value.is_empty()))
        {
            return Some((
                setting.field.clone(),
                format!("{} makes etcd look its members up elsewhere", setting.origin),
            ));
        }
        let place = options.unreadable().filter(|_| options.get("initial-cluster").is_none())?;
        Some((context.words_field(), format!("--initial-cluster may be set in {place}, which is not read here")))
    }

    /// That `endpoints` leaves members out, if it does.
    pub(super) fn not_named(&self, context: &Context<'_>, endpoints: &[String]) -> Option<Finding> {
        let statefulset = context.sts.name();
        let host = |url: &String| Some(Url::parse(url)?.host.trim_end_matches('.').to_ascii_lowercase());
        let hosts: Vec<String> = endpoints.iter().filter_map(host).collect();
        let is_named = |member: &&String| hosts.iter().any(|host| self.is_named(member, host));
        let missing: Vec<&str> = self.all.iter().filter(|member| !is_named(member)).map(String::as_str).collect();
        // A member may be known to clients under another name than to its peers; a pod is not, but for its Service.
        let is_own = |host: &str| ordinal(host.split('.').next().unwrap_or_default(), statefulset).is_some();
        let (pods, others): (Vec<&String>, Vec<&String>) = hosts
            .iter()
            .filter(|host| !is_own(host) && !self.names(host))
            .partition(|host| is_other_pod(context, host));
        let pods_missing = missing.iter().filter(|host| pod_label(host).is_some()).count();
        let others_missing = (missing.len() - pods_missing).saturating_sub(pods.len());
        let named = (self.all.len() - missing.len() + others.len()).min(hosts.len());
        (pods_missing + others_missing > others.len()).then(|| {
            self.finding(
                format!("{} names {named} of {} members", Key::Endpoints.name(), self.count),
                &format!(
                    "{} leaves out {}: they would never be defragmented, and the run would not check their health. Name the \
                     client URL of every member there.{}",
                    Key::Endpoints.annotation(),
                    missing.iter().take(MOST).copied().collect::<Vec<_>>().join(", "),
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
                "This etcd has members that are not pods of this StatefulSet: {} names {}, and of these {} are elsewhere. \
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
pub(super) fn same(one: &str, other: &str) -> bool {
    let begins = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
    one == other || begins(one, other) || begins(other, one)
}

/// A value to write, between quotation marks.
fn quoted_whole(value: &str) -> String {
    format!("\"{}\"", shorten(value, SHOWN))
}
