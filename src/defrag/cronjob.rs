//! Builds the CronJob of a plan that is free of errors.
//!
//! Every field that the API server would default is written out, so that a live CronJob equals the built one exactly
//! when nobody has changed it.

pub mod beside;
pub mod budget;
pub mod changes;
pub mod deferral;
pub mod drift;
pub mod last_run;
pub mod live;
pub mod names;
pub mod next_run;
pub mod orphan;
pub mod ownership;
pub mod record;
pub mod rival;
pub mod served;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

pub use self::names::{CONTAINER, MANAGED_BY, MANAGER, NAME_LIMIT, STATEFULSET, SUFFIX, name};
use self::{
    live::Live,
    names::{
        CA_VOLUME, CLIENT_VOLUME, FAILED_RUNS, FINDINGS, IN_FORCE, PASSWORD, PAUSED, POLICY, POLICY_REASON,
        SKIP_HEALTH_CHECK, USER,
    },
    record::Record,
};
use super::{
    assess::{Plan, Surroundings},
    duration,
    engine::{self, ImageSource},
    etcd::{DEFAULT_QUOTA, Kind, UserName},
    facts::Facts,
    finding::Finding,
    keys::Key,
    policy::{
        Governing, Policy,
        api::{self, Engine, Mesh, PodUser},
    },
};
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobSpec, JobSpec, JobTemplateSpec},
        core::v1::{
            Capabilities, ConfigMapVolumeSource, Container, EnvVar, EnvVarSource, KeyToPath, PodSecurityContext,
            PodSpec, PodTemplateSpec, SeccompProfile, SecretKeySelector, SecretVolumeSource, SecurityContext, Volume,
            VolumeMount,
        },
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

/// What our own image is called where it is built, and in the plain manifests.
pub const OWN_IMAGE: &str = concat!("etcd-defrag-webhook:", env!("CARGO_PKG_VERSION"));
const CA_DIR: &str = "/etc/etcd-defrag/ca";
const CLIENT_DIR: &str = "/etc/etcd-defrag/client";
/// An unprivileged user that owns nothing, as distroless images have it.
const NOBODY: i64 = 65532;
/// The annotation that keeps Linkerd from adding a sidecar: the pods that are excluded from meshes have it.
pub(in crate::defrag) const NO_SIDECAR: (&str, &str) = ("linkerd.io/inject", "disabled");
/// Annotations that take the profile of AppArmor or seccomp away from a pod, in clusters old enough to read them.
const UNCONFINING: [&str; 3] = [
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
];
/// Readable by the group only: the volume belongs to the pod's group.
const SECRET_MODE: i32 = 0o440;

/// The CronJob that should exist.
#[derive(Clone, Debug)]
pub struct Built {
    /// The CronJob, with every field that is ours.
    pub cronjob: CronJob,
    /// Whether it takes the place of one that defrag.sh made.
    pub adopts: bool,
    /// How many runs failed in a row, where that spends the failure budget of the policy and suspends it.
    pub spent: Option<u32>,
}

/// Builds the CronJob of a plan, with what is reported and recorded on it. `ours` is the one that is there.
pub(super) fn built(
    plan: &Plan,
    governing: &Governing,
    findings: &[Finding],
    ours: Option<&Live>,
    around: &Surroundings<'_>,
    adopts: bool,
) -> Built {
    let own_image = around.own_image.or(ours.and_then(|ours| ours.own_image.as_deref()));
    let (image, _) = image(&governing.policy.job.shape, own_image, around.engine_image);
    let mut cronjob = build(plan, &governing.policy, image);
    let record = Record {
        policy: governing.name().map(ToOwned::to_owned),
        settings: plan.given.clone(),
        rule: plan.given.as_ref().filter(|given| !given.contains_key(&Key::Rule)).map(|_| plan.rule.clone()),
        suspend: plan.suspend,
        facts: plan.facts.clone(),
    };
    let notes = cronjob.metadata.annotations.get_or_insert_default();
    notes.extend(governing.name().map(|name| (POLICY.to_owned(), name.to_owned())));
    notes.insert(POLICY_REASON.to_owned(), governing.why());
    notes.extend(codes(findings).map(|codes| (FINDINGS.to_owned(), codes)));
    notes.extend(around.pause.map(|pause| (PAUSED.to_owned(), pause.mark())));
    notes.extend(record.write().map(|record| (IN_FORCE.to_owned(), record)));
    served::note(&mut cronjob, plan.defrag_now.as_deref(), ours.map(|ours| &ours.meta), plan.uid.as_deref());
    let allowed = governing.policy.job.shape.failure_budget;
    let failed = ours.and_then(|ours| ours.annotation(FAILED_RUNS)).or(around.failed);
    let runs = around.runs.unwrap_or_default();
    let spent = budget::apply(&mut cronjob, allowed, plan.defrag_now.as_deref(), failed, runs);
    Built { cronjob, adopts, spent }
}

/// The codes of all findings, sorted, each once: what the annotation [`FINDINGS`] holds.
fn codes(findings: &[Finding]) -> Option<String> {
    let codes: BTreeSet<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
    (!codes.is_empty()).then(|| codes.into_iter().collect::<Vec<_>>().join(","))
}

/// The CronJob of a plan, before anything is reported on it. The owner reference is there where the uid of the StatefulSet
/// is known.
fn build(plan: &Plan, policy: &Policy, image: &str) -> CronJob {
    let labels = labels(&plan.name);
    let shape = &policy.job.shape;
    CronJob {
        metadata: ObjectMeta {
            name: Some(name(&plan.name)),
            namespace: Some(plan.namespace.clone()),
            labels: Some(labels.clone()),
            annotations: Some(BTreeMap::from([(STATEFULSET.to_owned(), plan.name.clone())])),
            owner_references: plan.uid.as_ref().map(|uid| vec![owner(&plan.name, uid)]),
            ..ObjectMeta::default()
        },
        spec: CronJobSpec {
            schedule: plan.schedule.clone(),
            time_zone: plan.settings.time_zone.clone(),
            concurrency_policy: Some("Forbid".to_owned()),
            starting_deadline_seconds: Some(shape.starting_deadline_seconds.into()),
            suspend: Some(plan.suspended),
            successful_jobs_history_limit: Some(shape.successful_jobs_history_limit),
            failed_jobs_history_limit: Some(shape.failed_jobs_history_limit),
            job_template: JobTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels.clone()),
                    annotations: Some(BTreeMap::from([(STATEFULSET.to_owned(), plan.name.clone())])),
                    ..ObjectMeta::default()
                }),
                spec: Some(job(plan, policy, image, labels)),
            },
        },
        status: None,
    }
}

/// The image of the runs, and where it comes from. Our own one is known where we run as a pod; elsewhere it is what the image is
/// called when it is built. `engine` is that of etcd-defrag where the policy names none.
#[must_use]
pub fn image<'a>(shape: &'a api::Job, own: Option<&'a str>, engine: Option<&'a str>) -> (&'a str, ImageSource) {
    match (shape.engine, shape.image.as_deref()) {
        (Engine::EtcdDefrag, written) => engine::image(written, engine.unwrap_or(engine::IMAGE)),
        (Engine::BuiltIn, Some(image)) if !engine::is_etcd_defrag(image) => (image, ImageSource::Policy),
        (Engine::BuiltIn, _) => (own.unwrap_or(OWN_IMAGE), ImageSource::NotSet),
    }
}

/// The controller reference of a StatefulSet to its CronJob.
#[must_use]
pub fn owner(statefulset: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "StatefulSet".to_owned(),
        name: statefulset.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// The recommended labels. A StatefulSet's name may be longer than a label's value, so the instance is cut.
fn labels(statefulset: &str) -> BTreeMap<String, String> {
    let instance: String = statefulset.chars().take(63).collect();
    BTreeMap::from([
        (MANAGED_BY.to_owned(), MANAGER.to_owned()),
        ("app.kubernetes.io/name".to_owned(), "etcd-defrag".to_owned()),
        ("app.kubernetes.io/instance".to_owned(), instance.trim_end_matches(['-', '.']).to_owned()),
    ])
}

fn job(plan: &Plan, policy: &Policy, image: &str, ours: BTreeMap<String, String>) -> JobSpec {
    let shape = &policy.job.shape;
    let mut labels = shape.pod_labels.clone();
    labels.extend(ours);
    let mut annotations = shape.pod_annotations.clone();
    // The schema refuses these; a policy that never saw it must not lift Pod Security "restricted" either.
    annotations.retain(|key, _| !UNCONFINING.iter().any(|prefix| key.starts_with(prefix)));
    if shape.mesh == Mesh::Exclude {
        // A sidecar that never ends would keep the Job from ending. Istio's newer injectors read the label, older ones and
        // Linkerd's the annotations.
        labels.insert("sidecar.istio.io/inject".to_owned(), "false".to_owned());
        annotations.insert(NO_SIDECAR.0.to_owned(), NO_SIDECAR.1.to_owned());
        annotations.insert("sidecar.istio.io/inject".to_owned(), "false".to_owned());
    }
    JobSpec {
        backoff_limit: Some(0),
        active_deadline_seconds: Some(i64::try_from(plan.deadline.as_secs()).unwrap_or(i64::MAX)),
        pod_failure_policy: (shape.engine == Engine::BuiltIn).then(deferral::policy),
        ttl_seconds_after_finished: Some(shape.ttl_seconds_after_finished),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(labels),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            }),
            spec: Some(pod(plan, policy, image)),
        },
        ..JobSpec::default()
    }
}

fn pod(plan: &Plan, policy: &Policy, image: &str) -> PodSpec {
    let (mounts, volumes) = tls_files(plan.facts.as_ref());
    let shape = &policy.job.shape;
    let number = (shape.security_context == PodUser::Fixed).then_some(NOBODY);
    PodSpec {
        affinity: shape.affinity.clone(),
        automount_service_account_token: Some(false),
        containers: vec![Container {
            name: CONTAINER.to_owned(),
            image: Some(image.to_owned()),
            image_pull_policy: Some(shape.image_pull_policy.to_string()),
            args: Some(args(plan, shape)),
            env: Some(credentials(plan)).filter(|env| !env.is_empty()),
            resources: Some(policy.job.resources.clone()),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
                read_only_root_filesystem: Some(true),
                ..SecurityContext::default()
            }),
            termination_message_path: Some("/dev/termination-log".to_owned()),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            volume_mounts: Some(mounts).filter(|mounts| !mounts.is_empty()),
            ..Container::default()
        }],
        dns_policy: Some("ClusterFirst".to_owned()),
        enable_service_links: Some(false),
        image_pull_secrets: some_list(&shape.image_pull_secrets),
        node_selector: Some(shape.node_selector.clone()).filter(|labels| !labels.is_empty()),
        priority_class_name: shape.priority_class_name.clone(),
        restart_policy: Some("Never".to_owned()),
        runtime_class_name: shape.runtime_class_name.clone(),
        scheduler_name: Some("default-scheduler".to_owned()),
        security_context: Some(PodSecurityContext {
            fs_group: number,
            run_as_group: number,
            run_as_non_root: Some(true),
            run_as_user: number,
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        // The older of the two names is filled in by the API server.
        service_account: shape.service_account_name.clone(),
        service_account_name: shape.service_account_name.clone(),
        termination_grace_period_seconds: Some(30),
        tolerations: some_list(&shape.tolerations),
        topology_spread_constraints: some_list(&shape.topology_spread_constraints),
        volumes: Some(volumes).filter(|volumes| !volumes.is_empty()),
        ..PodSpec::default()
    }
}

fn some_list<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// The engine's arguments. The kubelet expands `$(NAME)` in them, so a literal dollar is doubled.
fn args(plan: &Plan, shape: &api::Job) -> Vec<String> {
    let (settings, facts) = (&plan.settings, plan.facts.as_ref());
    let endpoints = facts.map(|facts| facts.endpoints.join(",")).unwrap_or_default();
    let mut args = vec![format!("--endpoints={endpoints}")];
    if facts.is_some_and(|facts| facts.skips_health_check) {
        args.push(SKIP_HEALTH_CHECK.to_owned());
    }
    if facts.is_some_and(|facts| facts.ca.is_some()) {
        args.push(format!("--cacert={CA_DIR}/ca.crt"));
    }
    if facts.is_some_and(|facts| facts.client.is_some()) {
        args.push(format!("--cert={CLIENT_DIR}/tls.crt"));
        args.push(format!("--key={CLIENT_DIR}/tls.key"));
    }
    args.extend([
        format!("--etcd-storage-quota-bytes={}", facts.map_or(DEFAULT_QUOTA, |facts| facts.quota)),
        format!("--defrag-rule={}", plan.rule),
        format!("--command-timeout={}", duration::format_go(plan.command_timeout)),
        format!("--wait-between-defrags={}", duration::format_go(settings.wait)),
        "--continue-on-error=false".to_owned(),
        format!("--compaction={}", plan.compaction),
        format!("--move-leader={}", settings.move_leader),
        format!("--auto-disalarm={}", settings.auto_disalarm),
    ]);
    if facts.is_some_and(|facts| facts.login.is_some()) {
        // The engine logs in anew for each request, and its 2 s are too short for a member that is busy: checking a
        // password costs a tenth of a second of processor time, more where the processor is shared or limited.
        args.push("--dial-timeout=20s".to_owned());
    }
    if settings.auto_disalarm {
        args.push(format!("--disalarm-threshold={}", settings.disalarm_below));
    }
    if shape.engine == Engine::BuiltIn {
        // Half of the slack is for the start of the pod, the other half for waiting until all members are well.
        let slack = u64::try_from(shape.deadline_slack_seconds).unwrap_or_default() / 2;
        let deadline = plan.deadline.saturating_sub(Duration::from_secs(slack));
        args.insert(0, "defrag".to_owned());
        args.push(format!("--deadline={}", duration::format_go(deadline)));
    }
    args.into_iter().map(|arg| arg.replace('$', "$$")).collect()
}

/// User name and password of etcd RBAC, from their Secret.
fn credentials(plan: &Plan) -> Vec<EnvVar> {
    let Some(secret) = plan.facts.as_ref().and_then(|facts| facts.login.as_ref()) else { return Vec::new() };
    let from = |variable: &str, key: &str| EnvVar {
        name: variable.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector { name: secret.name.clone(), key: key.to_owned(), optional: None }),
            ..EnvVarSource::default()
        }),
    };
    let user = match &secret.user {
        UserName::Key(key) => from(USER, key),
        // The kubelet expands `$(NAME)` in it, too.
        UserName::Literal(name) => {
            EnvVar { name: USER.to_owned(), value: Some(name.replace('$', "$$")), value_from: None }
        }
    };
    vec![user, from(PASSWORD, &secret.password_key)]
}

/// Mounts and volumes for the CA and the client certificate, each under a file name of our own.
fn tls_files(facts: Option<&Facts>) -> (Vec<VolumeMount>, Vec<Volume>) {
    let mut mounts = Vec::new();
    let mut volumes = Vec::new();
    let mut add = |name: &str, dir: &str, volume: Volume| {
        mounts.push(VolumeMount {
            name: name.to_owned(),
            mount_path: dir.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        });
        volumes.push(Volume { name: name.to_owned(), ..volume });
    };
    let item = |key: &str, path: &str| KeyToPath { key: key.to_owned(), path: path.to_owned(), ..KeyToPath::default() };
    let secret = |name: &str, items: Vec<KeyToPath>| Volume {
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.to_owned()),
            default_mode: Some(SECRET_MODE),
            items: Some(items),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    let config_map = |name: &str, items: Vec<KeyToPath>| Volume {
        config_map: Some(ConfigMapVolumeSource {
            name: name.to_owned(),
            default_mode: Some(SECRET_MODE),
            items: Some(items),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    if let Some(ca) = facts.and_then(|facts| facts.ca.as_ref()) {
        let items = vec![item(&ca.key, "ca.crt")];
        let volume = match ca.kind {
            Kind::Secret => secret(&ca.name, items),
            Kind::ConfigMap => config_map(&ca.name, items),
        };
        add(CA_VOLUME, CA_DIR, volume);
    }
    if let Some(client) = facts.and_then(|facts| facts.client.as_ref()) {
        let items = vec![item(&client.cert_key, "tls.crt"), item(&client.key_key, "tls.key")];
        add(CLIENT_VOLUME, CLIENT_DIR, secret(&client.name, items));
    }
    (mounts, volumes)
}

#[cfg(test)]
mod tests;
