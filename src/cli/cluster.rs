//! The cluster of the current kubeconfig, for the commands that read from one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::{admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::Namespace};
use kube::{
    Client,
    api::{Api, ListParams},
};

use super::output;
use crate::admission::registration;
use crate::defrag::policy::{self, DefragPolicy, Labels, PolicySet, PolicySnapshot};

/// Runs a command that talks to a cluster.
pub(super) fn run<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?
        .block_on(command)
}

/// A client for the cluster of the current kubeconfig.
pub(super) async fn client() -> anyhow::Result<Client> {
    Client::try_default().await.context("cannot reach a cluster; is KUBECONFIG right?")
}

/// The policies of the cluster, and the labels of one namespace or of all. Where policies may not be read, the built-in one
/// is assumed and that is said: many people may look after their etcd without seeing what is cluster-wide.
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

/// The namespaces that are left alone, as the webhook configurations of the cluster say; the reconciler is given the same. Where
/// there are several installations, those that all of them leave alone.
pub(super) async fn exempt_namespaces(client: &Client) -> anyhow::Result<BTreeSet<String>> {
    let configurations = Api::<ValidatingWebhookConfiguration>::all(client.clone()).list(&ListParams::default()).await;
    let configurations = match configurations {
        Err(kube::Error::Api(status)) if status.code == 403 => {
            output::note(
                "you may not list ValidatingWebhookConfigurations, so namespaces that are left out are not seen",
            );
            return Ok(BTreeSet::new());
        }
        other => other.context("cannot list the ValidatingWebhookConfigurations")?.items,
    };
    let ours = configurations.iter().filter_map(registration::exempt_namespaces);
    Ok(ours.reduce(|one, other| &one & &other).unwrap_or_default())
}

async fn namespaces(client: &Client, only: Option<&str>) -> anyhow::Result<BTreeMap<String, Labels>> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = match only {
        Some(name) => api.get_opt(name).await.map(Vec::from_iter),
        None => api.list(&ListParams::default()).await.map(|list| list.items),
    };
    let found = match found {
        Err(kube::Error::Api(status)) if status.code == 403 => {
            output::note("you may not read Namespaces, so policies that select by their labels are not seen");
            Vec::new()
        }
        other => other.context("cannot read the Namespaces")?,
    };
    let labels = |namespace: Namespace| Some((namespace.metadata.name?, namespace.metadata.labels.unwrap_or_default()));
    Ok(found.into_iter().filter_map(labels).collect())
}
