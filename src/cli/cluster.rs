//! The cluster of the current kubeconfig, for the commands that read from one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration,
    core::v1::{ConfigMap, Namespace},
};
use kube::{
    Client, Config,
    api::{Api, ListParams},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use super::{
    output,
    proxy::{self, Proxy},
};
use crate::{
    admission::registration,
    defrag::{
        pause::{self, Pause},
        policy::{self, DefragPolicy, Labels, PolicySet, PolicySnapshot},
    },
    runtime::api_error,
};

/// Runs a command that talks to a cluster.
pub(super) fn run<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?
        .block_on(command)
}

/// Which cluster is meant, as kubectl has it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Access {
    /// The kubeconfig [default: as for kubectl, KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl Access {
    /// A client for that cluster.
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        let context = self.context.as_deref();
        let (config, proxy) = match &self.kubeconfig {
            Some(file) => {
                let name = || format!("cannot use the kubeconfig {}", file.display());
                let kubeconfig = Kubeconfig::read_from(file).with_context(name)?;
                configured(&kubeconfig, context).await.with_context(name)?
            }
            None if context.is_some() => {
                let wrong = "cannot use this context; are --context and KUBECONFIG right?";
                configured(&Kubeconfig::read().context(wrong)?, context).await.context(wrong)?
            }
            None => inferred().await.context("cannot reach a cluster; is KUBECONFIG right?")?,
        };
        proxy::client(config, proxy).context("cannot reach a cluster; is the kubeconfig right?")
    }
}

/// The configuration of a context, and the proxy to its cluster.
pub(super) async fn configured(
    kubeconfig: &Kubeconfig,
    context: Option<&str>,
) -> anyhow::Result<(Config, Option<Proxy>)> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &options).await.map_err(|error| match error {
        KubeconfigError::ParseNoProxy(why) => anyhow::Error::from(why).context(
            "NO_PROXY is invalid; write names, addresses and CIDRs, separated by commas, without empty entries",
        ),
        other => other.into(),
    })?;
    let stated = proxy::proxy_url(kubeconfig, context);
    let proxy = proxy::choose(&config.cluster_url, stated, |name| std::env::var(name).ok())?;
    Ok((config, proxy))
}

/// The configuration of the usual kubeconfig, or else that of a pod. A pod uses no proxy: it is in the cluster.
pub(super) async fn inferred() -> anyhow::Result<(Config, Option<Proxy>)> {
    let Ok(kubeconfig) = Kubeconfig::read() else { return Ok((Config::infer().await?, None)) };
    match configured(&kubeconfig, None).await {
        Ok((mut config, proxy)) => {
            config.apply_debug_overrides();
            Ok((config, proxy))
        }
        Err(error) if error.is::<KubeconfigError>() => Ok((Config::infer().await?, None)),
        Err(error) => Err(error),
    }
}

/// The policies of the cluster, and the labels of one namespace or of all. If policies may not be read, the built-in
/// one is assumed, with a note: many people have no right to read objects of the whole cluster.
pub(super) async fn policy_snapshot(
    client: &Client,
    namespace: Option<&str>,
    now: Timestamp,
) -> anyhow::Result<PolicySnapshot> {
    let policies = Api::<DefragPolicy>::all(client.clone()).list(&ListParams::default()).await;
    let policies = match policies {
        Ok(list) => list.items,
        // The kind is not installed.
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            output::note("you may not list DefragPolicies, so the built-in policy is assumed; another one may govern");
            Vec::new()
        }
        Err(error) => return Err(error).context("cannot list the DefragPolicies"),
    };
    let compiled: Vec<_> = policies.iter().map(|policy| Arc::new(policy::compile(policy, now))).collect();
    for policy in compiled.iter().filter(|policy| !policy.is_valid()) {
        let wrong = policy.findings.iter().filter(|finding| finding.denies());
        let wrong: Vec<&str> = wrong.map(|finding| finding.brief.as_str()).collect();
        output::note(&format!("DefragPolicy {} is invalid in part: {}", policy.name, wrong.join("; ")));
    }
    let labels = if compiled.is_empty() { BTreeMap::new() } else { namespaces(client, namespace).await? };
    Ok(PolicySnapshot::new(PolicySet::new(compiled), Arc::new(labels)))
}

/// The excluded namespaces, as the webhook configurations of the cluster say; the reconciler has the same ones. With
/// several installations, those that all of them exclude.
pub(super) async fn exempt_namespaces(client: &Client) -> anyhow::Result<BTreeSet<String>> {
    let configurations = Api::<ValidatingWebhookConfiguration>::all(client.clone()).list(&ListParams::default()).await;
    let configurations = match configurations {
        Err(kube::Error::Api(status)) if status.code == 403 => {
            output::note(
                "you may not list ValidatingWebhookConfigurations, so it is not known which namespaces are excluded",
            );
            return Ok(BTreeSet::new());
        }
        other => other.context("cannot list the ValidatingWebhookConfigurations")?.items,
    };
    let ours = configurations.iter().filter_map(registration::exempt_namespaces);
    Ok(ours.reduce(|one, other| &one & &other).unwrap_or_default())
}

/// The namespace of the webhook, as the webhook configurations of the cluster say.
pub(super) async fn webhook_namespace(client: &Client) -> anyhow::Result<String> {
    let all = Api::<ValidatingWebhookConfiguration>::all(client.clone()).list(&ListParams::default()).await;
    let all =
        all.context("cannot list the ValidatingWebhookConfigurations; name the webhook's namespace with --namespace")?;
    let found: BTreeSet<String> = all.items.iter().filter_map(registration::service_namespace).collect();
    match Vec::from_iter(found).as_slice() {
        [namespace] => Ok(namespace.clone()),
        [] => bail!("no webhook of this program is registered in the cluster; name its namespace with --namespace"),
        several => bail!("there are webhooks in {}; choose one with --namespace", several.join(", ")),
    }
}

/// What keeps the fleet from running, where that can be seen.
pub(super) async fn pause(client: &Client) -> Option<Pause> {
    // Where no webhook is registered or none may be seen, the CronJobs show whether they are paused.
    let namespace = webhook_namespace(client).await.ok()?;
    match Api::<ConfigMap>::namespaced(client.clone(), &namespace).get_opt(pause::NAME).await {
        Ok(map) => map.as_ref().map(Pause::of),
        Err(error) => {
            let why = api_error::describe(&error);
            output::note(&format!(
                "it is not known whether the fleet is paused (ConfigMap {namespace}/{}): {why}",
                pause::NAME
            ));
            None
        }
    }
}

async fn namespaces(client: &Client, only: Option<&str>) -> anyhow::Result<BTreeMap<String, Labels>> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = match only {
        Some(name) => api.get_opt(name).await.map(Vec::from_iter),
        None => api.list(&ListParams::default()).await.map(|list| list.items),
    };
    let found = match found {
        Err(kube::Error::Api(status)) if status.code == 403 => {
            output::note(
                "you may not read Namespaces, so policies that select by the labels of namespaces are ignored",
            );
            Vec::new()
        }
        other => other.context("cannot read the Namespaces")?,
    };
    let labels = |namespace: Namespace| Some((namespace.metadata.name?, namespace.metadata.labels.unwrap_or_default()));
    Ok(found.into_iter().filter_map(labels).collect())
}
