//! `serve`: the webhook, the reconciler, probes and metrics in one process.

mod tls;

use std::{fmt::Debug, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::http::{HeaderValue, header::USER_AGENT};
use clap::{ArgAction, builder::NonEmptyStringValueParser};
use jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
    config::Kubeconfig,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Exit, cluster, proxy};
use crate::{
    admission::{
        self,
        registration::{Registration, Target},
        server::{self, Admission},
    },
    controller::{
        self,
        metrics::{EtcdSeries, ReconcileMetrics},
        policies::policy_snapshot::PolicySnapshots,
    },
    defrag::{cronjob::MANAGER, engine, text},
    runtime::{
        api_error, bind,
        cores::Cores,
        leadership,
        limits::ServerLimits,
        probes::{self, Probes, Threads},
        pulse::Pulse,
        shutdown::Shutdown,
        telemetry::{self, LogFormat, ProcessMetrics},
    },
};

/// The Lease that elects the one replica that reconciles.
const LEASE: &str = "etcd-defrag-webhook";

/// The pause before webhooks that could not be registered are registered again.
const REGISTER_AGAIN: Duration = Duration::from_secs(2);

/// How long the threads that answer reviews, or reconcile, may be stuck before the API server is no longer sent here; twice as
/// long, and the process is not alive, which restarts it after six probes.
const PULSE: Duration = Duration::from_secs(5);

/// How this program names itself to the API server, as audit logs show it.
const AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// How long one call to the API server may take to connect; watches may stay open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the webhook, the reconciler, probes and metrics
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the webhook listens; [::] is IPv6 and IPv4, and IPv4 alone where the kernel has no IPv6
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:10250")]
    listen: SocketAddr,
    /// Where /healthz, /readyz and /metrics are served, in plain HTTP
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    probes_listen: SocketAddr,
    #[command(flatten)]
    tls: tls::TlsArgs,
    /// The kubeconfig; without it that of the environment, otherwise the credentials of the pod
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The namespace of this process, in which the Lease is
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    namespace: String,
    /// The excluded namespaces, separated by commas; the webhook configurations have to exclude the same ones, as those of the
    /// chart do
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "kube-system", action = ArgAction::Set)]
    exempt_namespaces: Vec<String>,
    /// The name of this replica in the Lease and in Events; without it the host's name
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// Reconcile without an election; only for a single replica
    #[arg(long)]
    no_leader_election: bool,
    /// How many StatefulSets are reconciled at once
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// The folder with the files that policies name in metrics.prometheus: certificate authorities, tokens, passwords
    #[arg(long, value_name = "FOLDER", default_value = "/etc/etcd-defrag-webhook/prometheus")]
    prometheus_files: PathBuf,
    /// Whether each etcd has a preflight before its first run, unless its policy disables it (job.preflight)
    #[arg(long, value_name = "BOOLEAN", default_value_t = true, action = clap::ArgAction::Set)]
    preflight: bool,
    /// The image of etcd-defrag-webhook, as nodes pull it, for Jobs of policies with `job.engine: BuiltIn`
    #[arg(long, value_name = "IMAGE", env = "OWN_IMAGE")]
    own_image: Option<String>,
    /// The image of etcd-defrag, for the runs of policies without an image
    #[arg(long, value_name = "IMAGE", default_value = engine::IMAGE, value_parser = NonEmptyStringValueParser::new())]
    engine_image: String,
    /// Which etcds have metrics of their own: all, needs-attention (refused settings, a failed run or preflight, or no successful run in
    /// time) or none
    #[arg(long, value_name = "ETCDS", default_value_t)]
    etcd_metrics: EtcdSeries,
    /// How long connections are still accepted after SIGTERM, as a Go duration
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = crate::defrag::duration::parse_unsigned)]
    drain_delay: Duration,
    /// The form of log lines: auto, text or json
    #[arg(long, default_value_t)]
    log_format: LogFormat,
}

impl Args {
    /// The excluded namespaces; an empty argument excludes none.
    fn exempt(&self) -> Vec<String> {
        self.exempt_namespaces.iter().filter(|name| !name.is_empty()).cloned().collect()
    }
}

/// Runs the command until a signal ends it.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    telemetry::init(args.log_format, text::is_printable).map_err(anyhow::Error::msg)?;
    let runtime = |threads: &str| {
        Builder::new_multi_thread().thread_name(threads).enable_all().build().context("start the threads")
    };
    // Reviews have threads of their own: decoding what is watched, and whatever the reconciler does, delays no answer.
    let (reviews, reconciler) = (runtime("reviews")?, runtime("reconciler")?);
    reconciler.block_on(serve(args, reviews.handle()))?;
    Ok(Exit::Clean)
}

async fn serve(args: &Args, reviews: &Handle) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("handle signals")?;
    let mut metrics = ProcessMetrics::default();
    let admission_metrics = admission::AdmissionMetrics::register(metrics.registry_mut());
    let reconciler_metrics = ReconcileMetrics::of(args.etcd_metrics);
    reconciler_metrics.register(metrics.registry_mut());

    let listen = |address| bind::listen_on(address).with_context(|| format!("listen on {address}"));
    let (listener, pulse) = {
        let _entered = reviews.enter();
        (listen(args.listen)?, Pulse::start())
    };
    let probes_listener = listen(args.probes_listen)?;
    let address = listener.local_addr().context("the address of the webhook")?;
    let client = client(args).await?;
    let tls::Source { certificates, ca, rotation } =
        args.tls.source(&client, &args.namespace, &metrics, &shutdown).await?;

    let snapshots = PolicySnapshots::follow(client.clone(), args.exempt().into_iter().collect());
    let cores = Cores::of_this_machine().context("start the threads of assessments")?;
    let limits = ServerLimits { drain_delay: args.drain_delay, ..ServerLimits::default() };
    let admission = Admission::new(snapshots.subscribe(), admission_metrics, &limits, cores.clone());
    let clients = args.tls.clients(&shutdown).await;
    let config = match clients.clone() {
        Some(clients) => certificates.server_config_for(clients)?,
        None => certificates.server_config()?,
    };
    let webhook = reviews.spawn(server::run(listener, admission, config, limits, shutdown.token()));
    info!(%address, "the webhook serves TLS");

    if let Some(url) = args.tls.register_webhooks.clone() {
        let (client, ended, exempt) = (client.clone(), shutdown.token(), args.exempt());
        tokio::spawn(async move { ended.run_until_cancelled(register(&client, &url, ca, exempt)).await });
    }
    let policies = snapshots.clone();
    let mut probes = Probes::new(metrics)
        .with_pulse(Threads::Reviews, pulse, PULSE)
        .with_pulse(Threads::Reconciler, Pulse::start(), PULSE)
        .check("tls", move || certificates.check(Timestamp::now()));
    if let Some(clients) = clients {
        probes = probes.check("clients", move || clients.check());
    }
    if let Some(rotation) = rotation {
        let bundle_status = rotation.bundle_status();
        probes = probes.check("ca-bundle", move || bundle_status.check());
        // Until the end: what is left half-done another replica does.
        let ended = shutdown.token();
        tokio::spawn(async move { ended.run_until_cancelled(rotation.run()).await });
    }
    let probes = probes.check("policies", move || policies.check());
    // The probes answer until everything else has ended.
    let all_ended = CancellationToken::new();
    let probes = probes::spawn(probes_listener, Arc::new(probes), all_ended.clone()).context("serve the probes")?;

    let identity = args.identity.clone().unwrap_or_else(host_name);
    let lease = (!args.no_leader_election).then(|| leadership::Config::new(&args.namespace, LEASE, identity.clone()));
    if let Some(finding) = engine::judge_image(&args.engine_image, "--engine-image") {
        warn!(reason = finding.message, "runs of policies that name no image may fail; see --engine-image");
    }
    let options = controller::Options {
        concurrency: args.concurrency.into(),
        namespace: None,
        own_namespace: args.namespace.clone(),
        identity,
        prometheus_files: args.prometheus_files.clone(),
        preflight: args.preflight,
        own_image: args.own_image.as_deref().map(Arc::from),
        engine_image: Some(Arc::from(args.engine_image.as_str())),
        // Whoever waits for an answer to a write does not wait for a whole fleet.
        cores: cores.half(),
        clock: Arc::new(Timestamp::now),
    };
    controller::run(client, snapshots, options, lease, reconciler_metrics, shutdown.token()).await;

    webhook.await.context("the webhook")??;
    all_ended.cancel();
    // It ends by being dropped.
    let _ = probes.await;
    info!("ended");
    Ok(())
}

async fn client(args: &Args) -> anyhow::Result<Client> {
    let (mut config, proxy) = match &args.kubeconfig {
        Some(file) => cluster::configured(&Kubeconfig::read_from(file)?, None).await?,
        None => cluster::inferred()
            .await
            .context("find a cluster: there is no kubeconfig, and there are no credentials of a pod")?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    proxy::client(config, proxy).context("connect to the API server")
}

/// Registers the webhooks, as soon as the API server lets us.
async fn register(client: &Client, url: &str, ca_bundle: Option<String>, exempt_namespaces: Vec<String>) {
    let target = Target::Url(url.trim_end_matches('/').to_owned());
    let registration = Registration { target, ca_bundle, exempt_namespaces };
    let register = async || {
        apply(client, registration.mutating()).await?;
        apply(client, registration.validating()).await
    };
    let mut said = None;
    while let Err(error) = register().await {
        let reason = format!("{error:#}");
        if said.as_ref() != Some(&reason) {
            warn!(reason, "could not register the webhooks yet; this is retried");
            said = Some(reason);
        }
        tokio::time::sleep(REGISTER_AGAIN).await;
    }
    info!(url, "the webhooks are registered");
}

/// Applies an object of the whole cluster.
async fn apply<K>(client: &Client, object: K) -> anyhow::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let name = object.name_any();
    let parameters = PatchParams::apply(MANAGER).force();
    let applied = Api::<K>::all(client.clone()).patch(&name, &parameters, &Patch::Apply(&object)).await;
    applied.map(drop).map_err(|error| anyhow::anyhow!("{} {name}: {}", K::kind(&()), api_error::describe(&error)))
}

/// The name of this host, as a pod sees its own.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    format!("{}-{}", if name.is_empty() { "etcd-defrag-webhook" } else { name }, std::process::id())
}
