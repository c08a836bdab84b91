//! What a caller can see around a StatefulSet, and what is wrong with that.

use std::collections::BTreeMap;

use super::neighbours::Neighbours;
use crate::defrag::{
    cronjob::{
        budget::Run,
        live::Live,
        rival::{Defragments, Rivalry},
    },
    etcd::{Discovery, Etcd},
    finding::{Code, Finding, quoted},
    keys::Key,
    pause::Pause,
    statefulset::StatefulSet,
};

/// What a caller can see of the cluster besides the StatefulSet and the policies. What it cannot see is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The CronJobs of the namespace, or those of them that concern this etcd.
    pub cronjobs: Option<&'a [Live]>,
    /// The runs of this etcd that have ended.
    pub runs: Option<&'a [Run]>,
    /// What keeps the whole fleet from running; `None` where nothing does.
    pub pause: Option<&'a Pause>,
    /// The runs that failed in a row, as an earlier CronJob of this etcd recorded.
    pub failed: Option<&'a str>,
    /// Our own image, which runs where a policy says so.
    pub own_image: Option<&'a str>,
    /// The image of etcd-defrag where a policy names none; `None` for the newest that is known.
    pub engine_image: Option<&'a str>,
    /// Whose runs reach which members, where CronJobs do not show it.
    pub neighbours: Option<&'a Neighbours>,
    /// The Services of the namespace.
    pub services: Option<&'a [Service]>,
    /// The sizes in bytes of the volume claims of the namespace, by name, as far as they are seen.
    pub claims: Option<&'a BTreeMap<String, u64>>,
    /// What else defragments: CronJobs of other namespaces, and pods that do so again and again, as far as they are seen.
    pub others: &'a [Other],
}

/// What is no CronJob of the namespace, and defragments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it defragments.
    pub defragments: Defragments,
}

impl Other {
    /// Whether it defragments the etcd of this StatefulSet, as far as that is seen.
    fn rivals(&self, object: &StatefulSet, services: &[&str]) -> bool {
        if self.namespace != object.namespace() {
            return self.defragments.reaches(object);
        }
        let is_named = || services.iter().any(|service| self.defragments.names(service));
        let is_cronjob = self.kind == "CronJob";
        !is_cronjob
            && self.defragments.is_seen()
            && (self.defragments.rivals(object).is_some_and(|rivalry| rivalry.shared.is_none()) || is_named())
    }
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
    /// Whether its selector takes in the pods of the StatefulSet; `None` where it has none, and somebody writes its endpoints.
    pub selects_members: Option<bool>,
}

impl Surroundings<'_> {
    /// Everything is seen, and nothing is there.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            cronjobs: Some(&[]),
            runs: Some(&[]),
            pause: None,
            failed: None,
            own_image: None,
            engine_image: None,
            neighbours: None,
            services: Some(&[]),
            claims: None,
            others: &[],
        }
    }

    /// The same with the size of the claim that holds the database, where it is seen.
    pub(super) fn sized(&self, mut discovery: Discovery) -> Discovery {
        if let Some(volume) = discovery.etcd.as_mut().and_then(|etcd| etcd.data_volume.as_mut())
            && let Some(claim) = &volume.claim
        {
            volume.bytes = volume.bytes.or_else(|| self.claims?.get(claim).copied());
        }
        discovery
    }

    /// The CronJob of this name.
    pub(super) fn named(&self, name: &str) -> Option<&Live> {
        self.cronjobs?.iter().find(|live| live.name() == name)
    }

    /// The CronJobs that defragment this etcd besides the one of this name, or may, by name and with what shows it, in order.
    pub(super) fn rivals<'o>(&self, object: &'o StatefulSet, name: &str) -> Vec<(&str, Rivalry<'o>)> {
        let others = self.cronjobs.into_iter().flatten().filter(|live| live.name() != name);
        // One that names a Service in front of the members names them.
        let services = self.serving();
        let through = |live: &Live| {
            let defragments = live.defragments.as_deref()?;
            let is_named = services.iter().any(|service| defragments.names(service));
            is_named.then_some(Rivalry { is_seen: defragments.is_seen(), shared: None })
        };
        let rivalry = |live: &Live| live.rivals(object).or_else(|| through(live));
        let mut rivals: Vec<_> = others.filter_map(|live| Some((live.name(), rivalry(live)?))).collect();
        rivals.sort_unstable_by_key(|(name, _)| *name);
        rivals
    }

    /// Everything else that defragments this etcd.
    pub(super) fn other_rivals(&self, object: &StatefulSet) -> Vec<Finding> {
        let services = self.serving();
        self.others.iter().filter(|other| other.rivals(object, &services)).map(rival_elsewhere).collect()
    }

    /// The names of the Services that lead to the members, where they are seen.
    fn serving(&self) -> Vec<&str> {
        let selecting = self.services.into_iter().flatten().filter(|service| service.selects_members == Some(true));
        selecting.map(|service| service.name.as_str()).collect()
    }
}

const BOTH: &str = "two runs at once can make two members unavailable at the same time, and the quorum is lost";

/// That something else than a CronJob of the namespace defragments this etcd.
fn rival_elsewhere(other: &Other) -> Finding {
    let what = format!("the {} {}", other.kind, quoted(&format!("{}/{}", other.namespace, other.name)));
    Finding::new(
        Code::RivalDefragmenter,
        "metadata.name",
        format!("{what} defragments this etcd too"),
        format!(
            "Among the manifests {what} names members of this etcd and defragments them too: {BOTH}. Remove the defragmentation from one of \
             the two."
        ),
    )
}

/// That another CronJob defragments this etcd, or may.
pub(super) fn rival((name, rivalry): (&str, Rivalry<'_>)) -> Finding {
    let quoted_name = quoted(name);
    let shared = rivalry.shared.map(|(kind, name)| format!("the {kind:?} {}", quoted(name)));
    let (brief, message) = if rivalry.is_seen {
        let what = match shared {
            None => "defragments this etcd too".to_owned(),
            Some(shared) => format!("defragments an etcd and reads {shared}, as this etcd does"),
        };
        (
            format!("the CronJob {quoted_name} defragments this etcd too"),
            format!(
                "The CronJob {quoted_name} in the same namespace {what}: {BOTH}. Delete or suspend one of the two."
            ),
        )
    } else {
        let tie =
            shared.map_or_else(|| "names this etcd".to_owned(), |shared| format!("reads {shared}, as this etcd does"));
        (
            format!("the CronJob {quoted_name} runs a script that may defragment this etcd too"),
            format!(
                "The CronJob {quoted_name} in the same namespace has an image of etcd, {tie}, and runs a script that is not read here. \
                 If that defragments, {BOTH}. Read the script, and if it does, delete or suspend one of the two. The command check \
                 reads it where its ConfigMap is among the manifests."
            ),
        )
    };
    Finding::new(Code::RivalDefragmenter, "metadata.name", brief, message)
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
/// headless or selects other pods, or it is not there while another one selects the pods.
pub(super) fn unresolved_members(services: Option<&[Service]>, object: &StatefulSet, etcd: &Etcd) -> Option<Finding> {
    let services = services?;
    let (host, governing) = etcd.endpoints.iter().find_map(|endpoint| under_service(endpoint, object))?;
    // Under another Service no pod has a name, whatever that is like; that is said of whoever names it.
    if governing != object.spec.service_name {
        return None;
    }
    let quoted_governing = quoted(governing);
    let (brief, why, remedy) = match services.iter().find(|service| service.name == governing) {
        Some(service) if service.selects_members == Some(false) => (
            format!("the Service {quoted_governing} selects other pods, so the members have no names"),
            "selects other pods than those of this StatefulSet: its selector has labels that the pod template does not have".to_owned(),
            "Correct its selector",
        ),
        Some(service) if service.is_headless => return None,
        Some(_) => (
            format!("the Service {quoted_governing} is not headless, so it gives the members no names"),
            "is not headless, and DNS has names of single pods under a headless Service only".to_owned(),
            "Delete that Service and create it again with clusterIP: None",
        ),
        None => {
            let other = quoted(&services.iter().find(|service| service.selects_members == Some(true))?.name);
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
            "The CronJob {quoted} {why}. It is not managed by etcd-defrag-webhook, so it is not changed, and this etcd \
             gets no other CronJob. Delete or rename it, and a managed one is created at once."
        ),
    )
}

/// That no settings that could be in force are acceptable.
pub(super) fn no_settings() -> Finding {
    Finding::new(
        Code::NothingInForce,
        "metadata.annotations",
        "no settings are acceptable, not even the built-in ones; the CronJob is suspended",
        "No settings are acceptable for this etcd, not even the built-in ones. So its CronJob is suspended, and this \
         etcd is not defragmented until its own settings, or the defaults and limits of the policy, are corrected as the other \
         findings say.",
    )
}

/// The finding that required facts were never known.
pub(super) fn no_facts() -> Finding {
    Finding::new(
        Code::NothingInForce,
        "spec.template",
        "the members cannot be read and are not known from before; the CronJob is suspended",
        "Members, endpoints or quota of this etcd cannot be read, and none are known from before. So its CronJob is suspended, \
         and this etcd is not defragmented until the pod template, or the annotation that states the fact, is corrected as the \
         other findings say.",
    )
}
