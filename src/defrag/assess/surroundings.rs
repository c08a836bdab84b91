//! What a caller can see around a StatefulSet, and what is wrong with that.

use crate::defrag::{
    cronjob::{budget::Run, live::Live},
    etcd::Etcd,
    finding::{Code, Finding, quoted},
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
