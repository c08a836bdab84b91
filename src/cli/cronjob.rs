//! `cronjob`: what kamaji-etcd's defrag.sh does, with the same flags and defaults.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    Format, Outcome, check,
    input::{self, Place},
    output,
};
use crate::defrag::{
    self,
    Enrollment,
    cronjob::{self, MANAGED_BY},
    keys::{ENABLED, Key},
    policy::Policy,
    statefulset::StatefulSet,
};

/// Makes the defragmentation CronJob of one etcd, with the flags of kamaji-etcd's defrag.sh
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The etcd StatefulSet
    #[arg(short = 'e', value_name = "etcd_name", default_value = "kamaji-etcd")]
    name: String,
    /// Its headless Service; without it kamaji-etcd, or with -f and --apply the StatefulSet's own
    #[arg(short = 's', value_name = "etcd_service")]
    service: Option<String>,
    /// Its namespace
    #[arg(short = 'n', value_name = "namespace", default_value = "kamaji-system")]
    namespace: String,
    /// The schedule; without it the StatefulSet's own, or 0 0 * * *
    #[arg(short = 'j', value_name = "schedule", allow_hyphen_values = true)]
    schedule: Option<String>,
    /// Read the StatefulSet from a manifest instead of assuming kamaji-etcd's chart; - is standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with = "apply")]
    file: Option<PathBuf>,
    /// Read the live StatefulSet and apply the CronJob to the cluster of the current kubeconfig
    #[arg(long)]
    apply: bool,
    /// The form of what is printed
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
}

/// The server-side-apply field manager of `--apply`.
const FIELD_MANAGER: &str = "etcd-defrag-webhook-cronjob";

/// Says a step on standard error where `DEBUG=1` asks for it, as defrag.sh does.
fn trace(step: &str) {
    if std::env::var_os("DEBUG").is_some_and(|value| value == "1") {
        output::diagnostic(&format!("+ {step}"));
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    if args.apply {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(apply(args));
    }
    let (object, place) = match &args.file {
        Some(file) => from_manifest(args, file)?,
        None => (assumed(args)?, Place { file: "assumed".to_owned(), document: 1, line: 1 }),
    };
    build(args, object, &place, |cronjob| {
        let format = if args.output == Format::Text { Format::Yaml } else { args.output };
        output::data(format, &cronjob)
    })
}

/// The StatefulSet of a manifest.
fn from_manifest(args: &Args, file: &PathBuf) -> anyhow::Result<(StatefulSet, Place)> {
    trace(&format!("read {}", file.display()));
    for document in input::read(std::slice::from_ref(file))? {
        if let Some(object) = document.statefulset()?
            && object.name() == args.name
        {
            return Ok((object, document.place));
        }
    }
    bail!("{} holds no StatefulSet named {}: name it with -e", file.display(), args.name)
}

/// What kamaji-etcd's chart makes of these names by default: three members, a quota of 8 GiB, its own Secrets.
fn assumed(args: &Args) -> anyhow::Result<StatefulSet> {
    output::diagnostic(&format!(
        "assuming {}/{} is a kamaji-etcd of three members with a quota of 8Gi; -f FILE reads the real StatefulSet, --apply \
         asks the cluster",
        args.namespace, args.name
    ));
    let Args { name, namespace, .. } = args;
    let service = args.service.as_deref().unwrap_or("kamaji-etcd");
    let object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace, "annotations": {
            (Key::CaSecret.annotation()): format!("{name}-certs:ca.crt"),
            (Key::ClientSecret.annotation()): format!("{name}-root-client-certs:tls.crt,tls.key"),
        }},
        "spec": {"replicas": 3, "serviceName": service, "template": {"spec": {"containers": [{
            "name": "etcd",
            "image": "quay.io/coreos/etcd:v3.5.21",
            "command": [
                "etcd",
                format!("--advertise-client-urls=https://$(POD_NAME).{service}.{namespace}.svc.cluster.local:2379"),
                "--client-cert-auth=true", "--trusted-ca-file=/etc/etcd/pki/ca.crt",
                "--auto-compaction-mode=periodic", "--auto-compaction-retention=5m",
                "--quota-backend-bytes=8589934592",
            ],
            "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        }]}}},
    });
    Ok(serde_json::from_value(object)?)
}

/// Judges the StatefulSet with the schedule of the command line and hands its CronJob on, or says what refuses it.
fn build(
    args: &Args,
    mut object: StatefulSet,
    place: &Place,
    then: impl FnOnce(Value) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    object.metadata.labels.get_or_insert_default().insert(ENABLED.to_owned(), "true".to_owned());
    let annotations = object.metadata.annotations.get_or_insert_default();
    for (key, value) in [(Key::Schedule, &args.schedule), (Key::Service, &args.service)] {
        if let Some(value) = value {
            annotations.insert(key.annotation().to_owned(), value.clone());
        }
    }
    trace(&format!("judge {}/{}", object.namespace(), object.name()));
    let policy = Policy::built_in();
    let judgement = defrag::resolve(&object, &policy, Timestamp::now());
    let findings = check::report(place, &object, &judgement.findings);
    if !findings.is_empty() {
        output::diagnostic(findings.trim_end());
    }
    let Some(plan) = &judgement.plan else { return Ok(Outcome::Refused) };
    trace(&format!("build CronJob {}/{}", plan.namespace, cronjob::name(&plan.name)));
    then(serde_json::to_value(cronjob::build(plan, &policy))?)?;
    Ok(Outcome::Clean)
}

async fn apply(args: &Args) -> anyhow::Result<Outcome> {
    trace("connect to the cluster of the current kubeconfig");
    let client = Client::try_default().await.context("connect to the cluster of the current kubeconfig")?;
    let (namespace, name) = (&args.namespace, &args.name);
    trace(&format!("get StatefulSet {namespace}/{name}"));
    let statefulsets = Api::<StatefulSet>::namespaced(client.clone(), namespace);
    let object = statefulsets
        .get_opt(name)
        .await
        .with_context(|| format!("get StatefulSet {namespace}/{name}"))?
        .with_context(|| format!("there is no StatefulSet {name} in namespace {namespace}: name it with -e and -n"))?;
    if Enrollment::of(&object) == Enrollment::Enrolled {
        bail!(
            "StatefulSet {namespace}/{name} carries {ENABLED}: its CronJob is kept by the webhook's reconciler, which would \
             undo this; tune it by annotations, such as kubectl annotate -n {namespace} statefulset {name} {}=…",
            Key::Schedule.annotation()
        );
    }
    let place = Place { file: format!("StatefulSet {namespace}/{name}"), document: 1, line: 1 };
    let mut cronjob = None;
    let outcome = build(args, object, &place, |built| {
        cronjob = Some(built);
        Ok(())
    })?;
    let Some(mut cronjob) = cronjob else { return Ok(outcome) };
    // Without the label the reconciler leaves it alone, and takes it over once the StatefulSet is enrolled.
    if let Some(labels) = cronjob["metadata"]["labels"].as_object_mut() {
        labels.remove(MANAGED_BY);
    }
    let cronjobs = Api::<k8s_openapi::api::batch::v1::CronJob>::namespaced(client, namespace);
    let cronjob_name = cronjob::name(name);
    trace(&format!("apply CronJob {namespace}/{cronjob_name}"));
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    cronjobs
        .patch(&cronjob_name, &parameters, &Patch::Apply(&cronjob))
        .await
        .with_context(|| format!("apply CronJob {namespace}/{cronjob_name}"))?;
    output::print(&format!("cronjob.batch/{cronjob_name} applied\n"))?;
    Ok(outcome)
}
