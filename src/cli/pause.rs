//! `pause` and `resume`: the switch for a whole fleet.

use anyhow::{Context as _, ensure};
use k8s_openapi::api::{authentication::v1::SelfSubjectReview, core::v1::ConfigMap};
use kube::{
    Client,
    api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};

use super::{Exit, cluster, output, program};
use crate::defrag::pause::{BY, NAME, Pause, REASON};

/// Who writes the ConfigMap.
const FIELD_MANAGER: &str = "etcd-defrag-webhook-pause";

/// Pause all runs of the fleet, until `resume`
///
/// Every CronJob is suspended, also those of etcds that are enrolled later, and runs on demand, `defrag-now` and preflights
/// wait. A run in progress continues. The cluster is that of the current kubeconfig.
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    /// The reason, in one line; `status` shows it to everybody
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    access: cluster::Access,
    /// The namespace of the webhook [default: the one that its registration names]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// Resume the runs of a paused fleet
///
/// Missed runs are not repeated: the next run of each etcd is the next one of its schedule.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    access: cluster::Access,
    /// The namespace of the webhook [default: the one that its registration names]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

pub(super) fn pause(args: &PauseArgs) -> anyhow::Result<Exit> {
    ensure!(!args.reason.trim().is_empty(), "the reason is empty; everybody whose runs are paused reads it");
    let pause = cluster::run(write(args))?;
    output::note(&format!("the fleet is paused {}; `{} resume` ends the pause", pause.in_words(), program::called()));
    Ok(Exit::Clean)
}

pub(super) fn resume(args: &ResumeArgs) -> anyhow::Result<Exit> {
    match cluster::run(delete(args))? {
        Some(pause) => output::note(&format!(
            "the fleet is no longer paused; it was paused {}. The next run of each etcd is the next one of its schedule",
            pause.in_words()
        )),
        None => output::note("the fleet is not paused"),
    }
    Ok(Exit::Clean)
}

async fn write(args: &PauseArgs) -> anyhow::Result<Pause> {
    let client = args.access.client().await?;
    let namespace = namespace(&client, args.namespace.as_deref()).await?;
    let by = who(&client).await;
    let data = [(REASON.to_owned(), args.reason.clone())].into_iter().chain(by.map(|by| (BY.to_owned(), by)));
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        data: Some(data.collect()),
        ..ConfigMap::default()
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let written = Api::<ConfigMap>::namespaced(client, &namespace).patch(NAME, &params, &Patch::Apply(&map)).await;
    let written = written.with_context(|| format!("cannot write the ConfigMap {NAME} in the namespace {namespace}"))?;
    Ok(Pause::of(&written))
}

/// Deletes the ConfigMap; returns its content, if there was one.
async fn delete(args: &ResumeArgs) -> anyhow::Result<Option<Pause>> {
    let client = args.access.client().await?;
    let namespace = namespace(&client, args.namespace.as_deref()).await?;
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let place = || format!("the ConfigMap {NAME} in the namespace {namespace}");
    let Some(there) = maps.get_opt(NAME).await.with_context(|| format!("cannot read {}", place()))? else {
        return Ok(None);
    };
    match maps.delete(NAME, &DeleteParams::default()).await {
        Ok(_) => Ok(Some(Pause::of(&there))),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot delete {}", place())),
    }
}

async fn namespace(client: &Client, given: Option<&str>) -> anyhow::Result<String> {
    match given {
        Some(namespace) => Ok(namespace.to_owned()),
        None => cluster::webhook_namespace(client).await,
    }
}

/// Our user name at the API server; `None` if it does not return one.
async fn who(client: &Client) -> Option<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok()?;
    answer.status?.user_info?.username
}
