//! `status`: each enrolled etcd of a cluster and how it fares.

mod etcds;
mod measured;
mod table;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::{
    Client,
    api::{Api, ListParams},
};
use serde::de::DeserializeOwned;

use self::{etcds::Etcd, table::Look};
use super::{Exit, around::Around, cluster, output, program, progress::Progress};
use crate::defrag::{
    cronjob::{MANAGED_BY, MANAGER},
    keys::ENABLED,
    statefulset::StatefulSet,
};

/// Show the enrolled etcds of a cluster: the policy that governs each, its runs, and its findings
///
/// The cluster is that of the current kubeconfig. The exit code is 1 if a finding refuses.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only these StatefulSets
    #[arg(value_name = "NAME", conflicts_with = "all_namespaces")]
    names: Vec<String>,
    #[command(flatten)]
    access: cluster::Access,
    /// The namespace [default: the one of the current context]
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Also show sizes, from the Prometheus at this URL
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// The certificate authority of an https URL, in PEM
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    prometheus_ca: Option<String>,
    /// Keep running, and print each etcd again when it has changed
    #[arg(short, long)]
    watch: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For people, with more of the last run
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// How often the cluster is asked while it is watched.
const PERIOD: Duration = Duration::from_secs(5);

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.watch {
        ensure!(
            matches!(args.output, Format::Text | Format::Wide),
            "--watch prints a table; remove -o json or -o yaml, or run the command repeatedly"
        );
        return cluster::run(watch(args));
    }
    let now = Timestamp::now();
    let (namespace, etcds) = cluster::run(read(args, now))?;
    if etcds.is_empty() && args.names.is_empty() {
        let place = namespace.as_ref().map_or_else(|| "the cluster".to_owned(), |name| format!("the namespace {name}"));
        output::note(&format!("there is no enrolled etcd in {place}; the label {ENABLED}: \"true\" enrols one"));
    }
    match args.output {
        Format::Text | Format::Wide => {
            if etcds.iter().any(|etcd| etcd.next_run.is_some() && etcd.time_zone.is_none()) {
                output::note("schedules without a time zone are shown as if the controller manager ran in UTC");
            }
            output::print(&table::table(&etcds, look(args, namespace.as_ref()), now))?;
        }
        Format::Json => output::write(&output::json(&etcds)?)?,
        Format::Yaml => {
            let value = serde_json::to_value(&etcds).context("cannot write the etcds")?;
            output::write(&output::yaml(&value)?)?;
        }
    }
    Ok(if etcds.iter().any(Etcd::refused) { Exit::Refused } else { Exit::Clean })
}

fn look(args: &Args, namespace: Option<&String>) -> Look {
    Look { namespaces: namespace.is_none(), wide: args.output == Format::Wide, headings: true }
}

/// Prints the table, and then each etcd of which something changed, until it is ended.
async fn watch(args: &Args) -> anyhow::Result<Exit> {
    let mut known: Vec<Etcd> = Vec::new();
    let mut headings = true;
    loop {
        let now = Timestamp::now();
        let (namespace, etcds) = read(args, now).await?;
        let (same, changed): (Vec<Etcd>, Vec<Etcd>) = etcds.into_iter().partition(|etcd| known.contains(etcd));
        output::print(&table::table(&changed, Look { headings, ..look(args, namespace.as_ref()) }, now))?;
        headings &= changed.is_empty();
        known = same.into_iter().chain(changed).collect();
        tokio::time::sleep(PERIOD).await;
    }
}

/// The namespace that was looked into, `None` for all, and its etcds in order.
async fn read(args: &Args, now: Timestamp) -> anyhow::Result<(Option<String>, Vec<Etcd>)> {
    let client = args.access.client().await?;
    let namespace = match &args.namespace {
        _ if args.all_namespaces => None,
        Some(name) => Some(name.clone()),
        None => Some(client.default_namespace().to_owned()),
    };
    let only = namespace.as_deref();
    // One for each kind that is listed, and one for Prometheus. A watch reads again and again, and shows by its table that it does.
    let progress = (!args.watch).then(|| Progress::of(4 + usize::from(args.prometheus.is_some())));
    let step = |what: &str| progress.iter().for_each(|progress| progress.step(what));
    step("reading StatefulSets");
    let everything = ListParams::default();
    let mut objects: Vec<StatefulSet> = list(&client, only, &everything, "StatefulSets").await?;
    step("reading policies");
    let exempt = cluster::exempt_namespaces(&client).await?;
    let snapshot = cluster::policy_snapshot(&client, only, now).await?.with_exempt(exempt.into());
    step("reading CronJobs");
    let cronjobs: Vec<CronJob> = list(&client, only, &everything, "CronJobs").await?;
    step("reading Jobs");
    let ours = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    let jobs: Vec<Job> = list(&client, only, &ours, "Jobs").await?;

    for said in etcds::orphans(&objects, &cronjobs) {
        output::note(&said);
    }
    named(&mut objects, &args.names, only)?;
    let pause = cluster::pause(&client).await;
    if let Some(pause) = &pause {
        let program = program::called();
        output::note(&format!("the fleet is paused {}; `{program} resume` ends the pause", pause.in_words()));
    }
    let around = Around::new(cronjobs.iter().cloned(), &jobs).with_pause(pause);
    let cronjobs: BTreeMap<(String, String), CronJob> = cronjobs
        .into_iter()
        .filter_map(|cronjob| {
            let meta = &cronjob.metadata;
            Some(((meta.namespace.clone()?, meta.name.clone()?), cronjob))
        })
        .collect();
    let failures = etcds::failures(&jobs);
    let told = match &args.prometheus {
        Some(url) => {
            step("asking Prometheus");
            Some(measured::ask(url, args.prometheus_ca.as_deref(), snapshot.policies()).await?)
        }
        None => None,
    };
    let mut etcds: Vec<Etcd> = objects
        .iter()
        .filter_map(|object| {
            let governing = snapshot.govern(object.namespace(), &object.labels());
            let mut etcd = Etcd::of(object, &governing, &around, &cronjobs, &failures, now)?;
            match told.as_ref().and_then(|told| told.of(object, &governing)) {
                Some(Ok(sizes)) => etcd.sizes = Some(sizes),
                Some(Err(refusal)) => etcd.unmeasured = Some(refusal.message()),
                None => {}
            }
            Some(etcd)
        })
        .collect();
    for name in args.names.iter().filter(|name| etcds.iter().all(|etcd| etcd.name != **name)) {
        output::note(&format!("the StatefulSet {name} is not enrolled; the label {ENABLED}: \"true\" enrols it"));
    }
    etcds.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok((namespace, etcds))
}

/// Leaves the objects of these names, all of which have to be there; without names all.
fn named(objects: &mut Vec<StatefulSet>, names: &[String], namespace: Option<&str>) -> anyhow::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let missing: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| objects.iter().all(|object| object.name() != *name)).collect();
    ensure!(
        missing.is_empty(),
        "there is no StatefulSet {} in the namespace {}; name another one, or another namespace with -n",
        missing.join(", "),
        namespace.unwrap_or_default()
    );
    objects.retain(|object| names.iter().any(|name| name == object.name()));
    Ok(())
}

async fn list<K>(client: &Client, namespace: Option<&str>, params: &ListParams, what: &str) -> anyhow::Result<Vec<K>>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    Ok(api.list(params).await.with_context(|| format!("cannot list {what}"))?.items)
}
