//! `status`: each enrolled etcd of a cluster and how it fares.

mod etcds;
mod measured;
mod table;

use std::collections::BTreeMap;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::{
    Client,
    api::{Api, ListParams},
};
use serde::de::DeserializeOwned;

use self::etcds::Etcd;
use super::{Exit, Format, around::Around, cluster, output};
use crate::defrag::{
    cronjob::{MANAGED_BY, MANAGER},
    keys::ENABLED,
    statefulset::StatefulSet,
};

/// Show the enrolled etcds of a cluster: which policy governs each, its runs, and what is wrong
///
/// The cluster is that of the current kubeconfig. The exit code is 1 where something refuses.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The namespace [default: the one of the current context]
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Also show sizes, as the Prometheus at this URL tells them
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// The certificate authority of an https URL, in PEM
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    prometheus_ca: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let (namespace, etcds) = cluster::run(read(args, now))?;
    if etcds.is_empty() {
        let place = namespace.as_ref().map_or_else(|| "the cluster".to_owned(), |name| format!("the namespace {name}"));
        output::note(&format!("there is no enrolled etcd in {place}; the label {ENABLED}: \"true\" enrols one"));
    }
    match args.output {
        Format::Text => {
            if etcds.iter().any(|etcd| etcd.next_run.is_some() && etcd.time_zone.is_none()) {
                output::note("schedules without a time zone are shown as if the controller manager ran in UTC");
            }
            output::print(&table::table(&etcds, namespace.is_none(), now))?;
        }
        Format::Json => output::write(&output::json(&etcds)?)?,
        Format::Yaml => {
            let value = serde_json::to_value(&etcds).context("cannot write the etcds")?;
            output::write(&output::yaml(&value)?)?;
        }
    }
    Ok(if etcds.iter().any(Etcd::refused) { Exit::Refused } else { Exit::Clean })
}

/// The namespace that was looked into, `None` for all, and its etcds in order.
async fn read(args: &Args, now: Timestamp) -> anyhow::Result<(Option<String>, Vec<Etcd>)> {
    let client = cluster::client().await?;
    let namespace = match &args.namespace {
        _ if args.all_namespaces => None,
        Some(name) => Some(name.clone()),
        None => Some(client.default_namespace().to_owned()),
    };
    let only = namespace.as_deref();
    let everything = ListParams::default();
    let objects: Vec<StatefulSet> = list(&client, only, &everything, "StatefulSets").await?;
    let exempt = cluster::exempt_namespaces(&client).await?;
    let snapshot = cluster::policy_snapshot(&client, only, now).await?.with_exempt(exempt.into());
    let cronjobs: Vec<CronJob> = list(&client, only, &everything, "CronJobs").await?;
    let ours = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    let jobs: Vec<Job> = list(&client, only, &ours, "Jobs").await?;

    for said in etcds::orphans(&objects, &cronjobs) {
        output::note(&said);
    }
    let around = Around::new(cronjobs.iter().cloned(), &jobs);
    let cronjobs: BTreeMap<(String, String), CronJob> = cronjobs
        .into_iter()
        .filter_map(|cronjob| {
            let meta = &cronjob.metadata;
            Some(((meta.namespace.clone()?, meta.name.clone()?), cronjob))
        })
        .collect();
    let failures = etcds::failures(&jobs);
    let told = match &args.prometheus {
        Some(url) => Some(measured::ask(url, args.prometheus_ca.as_deref(), snapshot.policies()).await?),
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
    etcds.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok((namespace, etcds))
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
