//! Which members the stated endpoints name, and which they leave out.

use std::collections::BTreeSet;

use super::{HOST_SHOWN, SHOWN, Stated};
use crate::defrag::{
    etcd::{MAX_MEMBERS, hosts, url::Url},
    finding::{Code, Finding, Severity, shorten},
    keys::Key,
};

impl Stated<'_, '_> {
    fn ordinals(&self) -> std::ops::Range<u64> {
        self.context.sts.ordinals(self.replicas)
    }

    /// Whether a URL goes to a pod that is no member of this etcd, as far as is seen.
    fn is_stranger(&self, url: &Url) -> bool {
        hosts::is_other_pod(self.context, &url.host) && !self.cluster.names(&url.host) && !self.is_advertised(url)
    }

    /// Members that are not in the list, which would never be defragmented. Pods of something else in their place are
    /// another etcd: the run would defragment that one.
    pub(super) fn left_out(&self) -> Option<Finding> {
        if self.replicas > MAX_MEMBERS || !self.cluster.outside.is_empty() {
            return None;
        }
        let named: BTreeSet<u64> = self.urls.iter().filter_map(|url| self.ordinal(url)).collect();
        let missing: Vec<u64> = self.ordinals().filter(|ordinal| !named.contains(ordinal)).collect();
        let (strangers, others): (Vec<&Url>, Vec<&Url>) =
            self.urls.iter().filter(|url| self.ordinal(url).is_none()).partition(|url| self.is_stranger(url));
        let only_strangers = !strangers.is_empty() && strangers.len() == self.urls.len();
        // A member may have a name of its own in front.
        if missing.len() <= others.len() && !only_strangers {
            return None;
        }
        let missing: Vec<String> = missing.iter().map(|ordinal| format!("{}-{ordinal}", self.name())).collect();
        let all = self.all()?;
        if !strangers.is_empty() {
            return Some(self.strangers(&strangers, &missing, &all));
        }
        let (urls, replicas) = (self.urls.len(), self.replicas);
        let count = self.ordinals().filter(|ordinal| named.contains(ordinal)).count() + others.len();
        let found = if others.is_empty() {
            format!("leaves out {}", missing.join(", "))
        } else {
            format!("has {urls} {} for {replicas} members", if urls == 1 { "URL" } else { "URLs" })
        };
        Some(Finding::new(
            Code::MembersLeftOut,
            Key::Endpoints.field(),
            format!("endpoints names {count} of {replicas} members; name all"),
            format!(
                "spec.replicas is {replicas}, and {} {found}. A run defragments the members that are named and no others, so the \
                 others would reach their quota. Write the client URL of every member: {all}.{}",
                Key::Endpoints.annotation(),
                self.context.overrides.note(&[Key::Endpoints])
            ),
        ))
    }

    fn strangers(&self, strangers: &[&Url], missing: &[String], all: &str) -> Finding {
        let hosts: Vec<&str> = strangers.iter().map(|url| url.host.as_str()).collect();
        let are = if hosts.len() == 1 { "is not a pod" } else { "are not pods" };
        let rest = if missing.is_empty() { String::new() } else { format!(", and leaves out {}", missing.join(", ")) };
        self.finding(
            "endpoints names pods that are not members of this etcd; name its own".to_owned(),
            &format!(
                "{} names {}, which {are} of this StatefulSet and not another member that it shows{rest}. A run would defragment another etcd \
                 with the certificates and the rule of this one, and would not defragment members of this one. Write the client URL of \
                 every member: {all}.",
                Key::Endpoints.annotation(),
                shorten(&hosts.join(", "), SHOWN)
            ),
        )
    }

    /// The URL of each member, as a value to write.
    fn all(&self) -> Option<String> {
        let first = self.urls.iter().find(|url| self.ordinal(url).is_some()).or_else(|| self.urls.first())?;
        let port = if self.all_read && !self.listens_on(first.port) { self.port().or(first.port) } else { first.port }?;
        let scheme = self.scheme().or(first.scheme)?;
        let behind = self.behind_pods();
        // One that has no pods at the moment has the first one again once it is scaled up.
        let ordinals = self.context.sts.ordinals(self.replicas.max(1));
        let all: Vec<String> =
            ordinals.map(|ordinal| format!("{scheme}://{}-{ordinal}.{behind}:{port}", self.name())).collect();
        Some(format!("\"{}\"", shorten(&all.join(","), SHOWN)))
    }

    /// A member under two names, or whatever is in front of all of them.
    pub(super) fn twice(&self) -> Option<Finding> {
        let namespace = self.context.sts.namespace();
        let is_same = |one: &Url, other: &Url| {
            let one_pod = self.ordinal(one).is_some() || one.port == other.port;
            one_pod && one.host != other.host && is_same_host(&one.host, &other.host, namespace)
        };
        let (again, first) = self.urls.iter().enumerate().find_map(|(index, url)| {
            let before = self.urls.iter().take(index).find(|before| is_same(before, url))?;
            Some((&url.host, &before.host))
        })?;
        Some(Finding::new(
            Code::ValueInvalid,
            Key::Endpoints.field(),
            format!("endpoints names {} twice", shorten(first, HOST_SHOWN)),
            format!(
                "{} has {first} and {again}, two names of the same, so that member would be defragmented twice, and the \
                 number of members would be wrong. Write one client URL for each member.{}",
                Key::Endpoints.annotation(),
                self.context.overrides.note(&[Key::Endpoints])
            ),
        ))
    }

    /// More URLs than there are members.
    pub(super) fn too_many(&self) -> Option<Finding> {
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
        // Members elsewhere may be named where nothing is read.
        if gone.is_empty() && self.cluster.hidden(self.context).is_some() {
            return None;
        }
        let replicas = self.replicas;
        let which = match gone.as_slice() {
            [] => "nothing shows members elsewhere".to_owned(),
            gone => format!("{} would be beyond them", shorten(&gone.join(", "), SHOWN)),
        };
        let finding = self.finding(
            format!("endpoints has {count} URLs for {replicas} members"),
            &format!(
                "{} has {count} URLs, the StatefulSet has {replicas} pods, and {which}. A run goes to all {count}, and fails if one \
                 of them does not answer. If all are members of this etcd, keep them. Otherwise remove the URLs that are not members, or scale the StatefulSet.",
                Key::Endpoints.annotation()
            ),
        );
        Some(finding.with_severity(Severity::Warn))
    }
}

/// Whether two hosts are the same to a pod of this namespace: the search domains of Kubernetes complete the shorter one.
fn is_same_host(one: &str, other: &str, namespace: &str) -> bool {
    let plain = |host: &str| host.trim_end_matches('.').to_ascii_lowercase();
    let (one, other) = (plain(one), plain(other));
    let (long, short) = if one.len() > other.len() { (one, other) } else { (other, one) };
    let Some(rest) = long.strip_prefix(short.as_str()) else { return false };
    let Some(rest) = rest.strip_prefix('.') else { return rest.is_empty() };
    let is_domain = |rest: &str| rest == "svc" || rest.starts_with("svc.");
    // What ends in `svc` lacks only the domain of the cluster.
    let (label, behind) = rest.split_once('.').unwrap_or((rest, ""));
    let in_namespace = label == namespace && (behind.is_empty() || is_domain(behind));
    short.rsplit('.').next() == Some("svc") || is_domain(rest) || in_namespace
}

#[cfg(test)]
mod tests {
    use super::is_same_host;

    #[test]
    fn one_host_has_several_names_in_a_namespace() {
        for (one, other, expected) in [
            ("etcd-0.etcd", "etcd-0.etcd.db.svc", true),
            ("etcd-0.etcd.db.svc.cluster.local", "etcd-0.etcd.db.svc", true),
            ("etcd-0.etcd.db.", "ETCD-0.etcd.db", true),
            ("etcd-client", "etcd-client.db.svc", true),
            ("etcd-client.db", "etcd-client", true),
            ("etcd-client.db", "etcd-client.db.svc", true),
            ("etcd-0.etcd", "etcd-0.etcd.dev.svc", false),
            ("etcd-0.etcd", "etcd-0.etcd.dbx.svc", false),
            ("etcd-1.etcd", "etcd-10.etcd", false),
            ("etcd-0.etcd", "etcd-1.etcd", false),
            ("etcd", "etcd.example", false),
        ] {
            assert_eq!(is_same_host(one, other, "db"), expected, "{one} {other}");
            assert_eq!(is_same_host(other, one, "db"), expected, "{other} {one}");
        }
    }
}
