//! Names of pods that DNS does not have.
//!
//! A pod of a StatefulSet has a name under the Service of `spec.serviceName`, and under no other.

use super::{
    cluster,
    context::Context,
    setting::Setting,
    url::{Url, parse_list},
};
use crate::defrag::{
    dns::is_label,
    finding::{Code, Finding, Severity, quoted},
    keys::Key,
};

/// That the annotation `service` names another Service than the governing one.
pub(super) fn other_service(context: &Context<'_>) -> Option<Finding> {
    let governing = context.sts.spec.service_name.as_str();
    let service = context.overrides.service.as_deref().filter(|service| *service != governing)?;
    let annotation = Key::Service.annotation();
    let (why, instead) = if governing.is_empty() {
        ("which is empty".to_owned(), "Set".to_owned())
    } else {
        (format!("which is {}", quoted(governing)), format!("Remove {annotation}, or set"))
    };
    Some(Finding::new(
        Code::EndpointsMismatch,
        Key::Service.field(),
        format!("no pod has a name under {}: it is not spec.serviceName", quoted(service)),
        format!(
            "{annotation} is {}, and Kubernetes gives the pods of a StatefulSet names under the Service of spec.serviceName only, \
             {why}. No name under another Service resolves, so each run would fail with \"no such host\". {instead} {} to a URL of each \
             member that other pods resolve.{}",
            quoted(service),
            Key::Endpoints.annotation(),
            context.overrides.note(&[Key::Service, Key::Endpoints])
        ),
    ))
}

/// The domain of the cluster in a host of one of its pods or Services, where it has one and all of it is seen.
fn domain(url: &Url) -> Option<String> {
    let host = url.host.trim_end_matches('.').to_ascii_lowercase();
    let (_, domain) = host.split_once(".svc.")?;
    domain.split('.').all(is_label).then(|| domain.to_owned())
}

/// That the annotation `cluster-domain` names another domain than the members do. Members that call each other by names in a domain
/// would find each other nowhere if it were none; what they tell clients alone may be wrong for ever.
pub(super) fn other_domain(context: &Context<'_>) -> Option<Finding> {
    let stated = context.overrides.cluster_domain.as_deref()?;
    let set = |flag: &str| context.options().get(flag);
    let seen = |setting: Option<&Setting>, urls: Vec<Url>| {
        let here = urls.into_iter().filter(|url| !context.is_elsewhere(url));
        let domains: Vec<String> = here.filter_map(|url| domain(&url)).collect();
        Some((setting?.origin.clone(), domains))
    };
    let list = |flag: &str| seen(set(flag), set(flag).map_or_else(Vec::new, |setting| parse_list(&setting.value)));
    let cluster: Vec<Url> = cluster::entries(context).filter_map(|(_, url)| Url::parse(url)).collect();
    let by_peers = [seen(set("initial-cluster"), cluster), list("initial-advertise-peer-urls")];
    let all: Vec<(String, Vec<String>)> =
        by_peers.into_iter().chain([list("advertise-client-urls")]).flatten().collect();
    if all.iter().flat_map(|(_, domains)| domains).any(|domain| domain == stated) {
        return None;
    }
    let (origin, domain) = all.iter().find_map(|(origin, domains)| Some((origin, domains.first()?)))?;
    let is_by_peers =
        *origin != set("advertise-client-urls").map_or_else(String::new, |setting| setting.origin.clone());
    let annotation = Key::ClusterDomain.annotation();
    let finding = Finding::new(
        Code::EndpointsMismatch,
        Key::ClusterDomain.field(),
        format!("the members' names end in {}, not in {}", quoted(domain), quoted(stated)),
        format!(
            "{annotation} is {}, and the members have names that end in {} ({origin}). DNS has the names of pods under the domain of \
             the cluster only, so no other name resolves, and each run would fail with \"no such host\". Remove {annotation}, or set {} \
             to a URL of each member that other pods resolve.{}",
            quoted(stated),
            quoted(&format!("svc.{domain}")),
            Key::Endpoints.annotation(),
            context.overrides.note(&[Key::ClusterDomain, Key::Endpoints])
        ),
    );
    Some(if is_by_peers { finding } else { finding.with_severity(Severity::Warn) })
}

/// That no Service gives the pods names, and nothing else names a member.
pub(super) fn nowhere(context: &Context<'_>) -> Finding {
    Finding::new(
        Code::EndpointsUnknown,
        "spec.serviceName",
        format!("spec.serviceName is empty; {}", context.overrides.brief(Key::Endpoints)),
        format!(
            "spec.serviceName is empty, so Kubernetes gives the pods of {} no names, and the URLs that the members advertise do not \
             name them in another way. They cannot be reached one after the other. Set {} to a URL of each member that other pods resolve, \
             such as that of a Service for each pod. Or create the StatefulSet again with serviceName, the name of a headless Service \
             that selects its pods.{}",
            context.sts.name(),
            Key::Endpoints.annotation(),
            context.overrides.note(&[Key::Endpoints])
        ),
    )
}

/// That nothing visible gives the members a name that others resolve, and TLS accepts only a name that the certificate has.
pub(super) fn by_convention(context: &Context<'_>, endpoints: &[String], is_partly_seen: bool) -> Finding {
    let annotation = Key::Endpoints.annotation();
    let first = endpoints.first().map_or("", String::as_str);
    let field = context.options().get("advertise-client-urls").map(|setting| setting.field.clone());
    Finding::new(
        Code::EndpointsAssumed,
        field.unwrap_or_else(|| context.words_field()),
        format!("members assumed to be {first} and so on; their certificate may not have that name"),
        format!(
            "{}. A \
             member is reached by TLS only under a name that its certificate has, and it is not known whether it has these. To confirm \
             them, or to use others, write {annotation}: \"{}\".",
            if is_partly_seen {
                "The members advertise names with a domain that is not visible, so their names are used without it"
                    .to_owned()
            } else {
                format!(
                    "No visible URL names the pods of {} in a way that other pods resolve, so the usual names under the headless \
                     Service are used",
                    context.sts.name()
                )
            },
            endpoints.join(",")
        ),
    )
}
