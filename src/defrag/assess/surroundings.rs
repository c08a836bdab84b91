//! What a caller can see around a StatefulSet, and what is wrong with that.

use crate::defrag::{
    cronjob::{budget::Run, live::Live},
    etcd::Etcd,
    finding::{Code, Finding, quoted},
    keys::Key,
    statefulset::StatefulSet,
};

/// What a caller can see of the cluster besides the StatefulSet and the policies. What it cannot see is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The CronJobs of the namespace, or those of them that concern this etcd.
    pub cronjobs: Option<&'a [Live]>,
    /// The runs of this etcd that have ended.
    pub runs: Option<&'a [Run]>,
    /// The `defrag-now` token that was served last, as an earlier CronJob of this etcd said.
    pub served: Option<&'a str>,
    /// The runs that failed in a row, as an earlier CronJob of this etcd said.
    pub failed: Option<&'a str>,
    /// The Services of the namespace.
    pub services: Option<&'a [Service]>,
}

/// What matters of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Whether it gives its pods names and has no address (`clusterIP: None`).
    pub is_headless: bool,
    /// Whether pods that are not ready keep their names (`publishNotReadyAddresses`).
    pub publishes_not_ready: bool,
    /// Whether its selector takes in the pods of the StatefulSet.
    pub selects_members: bool,
}

impl Surroundings<'_> {
    /// Everything is seen, and nothing is there.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { cronjobs: Some(&[]), runs: Some(&[]), served: None, failed: None, services: Some(&[]) }
    }

    /// The CronJob of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Live> {
        self.cronjobs?.iter().find(|live| live.name() == name)
    }

    /// The names of the CronJobs that defragment this etcd besides the one of this name, in order.
    pub(super) fn rivals(&self, object: &StatefulSet, name: &str) -> Vec<&str> {
        let (statefulset, service) = (object.name(), object.spec.service_name.as_str());
        let others = self.cronjobs.into_iter().flatten();
        let others = others.filter(|live| live.name() != name && live.rivals(statefulset, service));
        let mut names: Vec<&str> = others.map(Live::name).collect();
        names.sort_unstable();
        names
    }
}

/// That another CronJob defragments this etcd.
pub(super) fn rival(name: &str) -> Finding {
    let quoted = quoted(name);
    Finding::new(
        Code::RivalDefragmenter,
        "metadata.name",
        format!("the CronJob {quoted} defragments this etcd too"),
        format!(
            "The CronJob {quoted} in the same namespace defragments this etcd too: two runs at once can take two members \
             away at the same time, and with them the quorum. Delete or suspend one of the two."
        ),
    )
}

/// That the Service under which runs reach the members hides those that are not ready, and the alarm NOSPACE makes all of them so.
pub(super) fn hides_members(services: Option<&[Service]>, etcd: &Etcd) -> Option<Finding> {
    let probe = etcd.unready_without_space.as_ref()?;
    let mut hiding = services?.iter().filter(|service| service.is_headless && !service.publishes_not_ready);
    let service = quoted(&hiding.find(|service| etcd.is_reached_by(&service.name))?.name);
    Some(Finding::new(
        Code::MembersHidden,
        "spec.serviceName",
        format!("under NOSPACE the Service {service} hides the members; set publishNotReadyAddresses"),
        format!(
            "The Service {service} has the names of ready members only, and the readiness probe ({probe}) may fail while the alarm \
             NOSPACE is raised. Then DNS has no name of any member, and a run, which would free the space, fails with \"no such \
             host\". Set publishNotReadyAddresses: true in that Service."
        ),
    ))
}

/// That no Service among those that are seen gives the members the names under which runs reach them: the one of that name is not
/// headless, or it is not there while another one selects the pods.
pub(super) fn unresolved_members(services: Option<&[Service]>, object: &StatefulSet, etcd: &Etcd) -> Option<Finding> {
    let services = services?;
    let (host, governing) = etcd.endpoints.iter().find_map(|endpoint| under_service(endpoint, object))?;
    let quoted_governing = quoted(governing);
    let (brief, why, remedy) = match services.iter().find(|service| service.name == governing) {
        Some(service) if service.is_headless => return None,
        Some(_) => (
            format!("the Service {quoted_governing} is not headless, so it gives the members no names"),
            "is not headless, and DNS has names of single pods under a headless Service only".to_owned(),
            "Delete that Service and create it again with clusterIP: None",
        ),
        None => {
            let other = quoted(&services.iter().find(|service| service.selects_members)?.name);
            (
                format!("no headless Service {quoted_governing}, so the members have no names"),
                format!("is not among the manifests, although the Service {other} is, which selects the pods"),
                "Create it with clusterIP: None and publishNotReadyAddresses: true",
            )
        }
    };
    Some(Finding::new(
        Code::MembersUnresolved,
        "spec.serviceName",
        brief,
        format!(
            "Runs reach the members by names under the Service {quoted_governing}, such as {}. That Service {why}. So every run \
             would fail with \"no such host\". {remedy}, or set {} to a URL of each member that other pods resolve.",
            quoted(host),
            Key::Endpoints.annotation()
        ),
    ))
}

/// The host of an endpoint that is the name of a pod of the StatefulSet, and the Service in that name.
fn under_service<'a>(endpoint: &'a str, object: &StatefulSet) -> Option<(&'a str, &'a str)> {
    let host = endpoint.split_once("://")?.1.split([':', '/']).next()?;
    let mut labels = host.split('.');
    let _: u32 = labels.next()?.strip_prefix(object.name())?.strip_prefix('-')?.parse().ok()?;
    let service = labels.next()?;
    labels.next().is_none_or(|namespace| namespace == object.namespace()).then_some((host, service))
}

/// That the name of the CronJob is taken.
pub(super) fn foreign(name: &str, why: &str) -> Finding {
    let quoted = quoted(name);
    Finding::new(
        Code::CronJobForeign,
        "metadata.name",
        format!("the CronJob {quoted} {why}"),
        format!(
            "The CronJob {quoted} {why}. It is not ours, so it is left alone, and this etcd gets no CronJob from us. \
             Delete or rename it, and ours takes its place at once."
        ),
    )
}

/// That no settings that could be in force are acceptable.
pub(super) fn no_settings() -> Finding {
    Finding::new(
        Code::NothingInForce,
        "metadata.annotations",
        "no settings are acceptable, not even the built-in ones; the CronJob is suspended",
        "No settings are acceptable for this etcd, not even the built-in ones. So its CronJob is suspended, and nobody \
         defragments this etcd until its own settings, or the defaults and limits of the policy, are corrected as the other \
         findings say.",
    )
}

/// That facts are needed which nobody ever knew.
pub(super) fn no_facts() -> Finding {
    Finding::new(
        Code::NothingInForce,
        "spec.template",
        "how to reach the members is not known and never was; the CronJob is suspended",
        "Members, endpoints or quota of this etcd cannot be read, and none are known from before. So its CronJob is suspended, \
         and nobody defragments this etcd until the pod template, or the annotation that states the fact, is corrected as the \
         other findings say.",
    )
}
