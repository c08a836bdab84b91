//! Asks why the container of a Job has not started: its pod, and where that does not say it, Events.

use k8s_openapi::api::core::v1;
use kube::{
    Client,
    api::{Api, ListParams},
};

use super::pods;
use crate::{
    controller::Error,
    defrag::not_started::{
        NotStarted, PodState, Said, missing_pull_secret, no_pod, of_job_events, of_pod, of_pod_events, waiting,
    },
};

/// A Job without a pod for so many seconds is reported, whatever Events say.
const NO_POD: i64 = 30;
/// So long a pod may prepare its container before that is reported without a cause.
const PREPARING: i64 = 60;
/// So many Events of one object are read.
const EVENTS: u32 = 50;

/// How far a Job has come.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A container has started.
    Started,
    /// None has yet, which is nothing to report.
    NotYet,
    /// None starts.
    Stuck(NotStarted),
}

/// Looks at the pod of a Job that is `age` seconds old.
pub(crate) async fn look(client: &Client, namespace: &str, (job, uid): (&str, &str), age: i64) -> Result<Seen, Error> {
    let pods = pods::of_job(client, namespace, uid).await?;
    let Some(pod) = pods.last() else {
        let found = events(client, namespace, uid).await?.as_deref().and_then(of_job_events);
        let late = || (age >= NO_POD).then(|| no_pod(namespace, job, age));
        return Ok(found.or_else(late).map_or(Seen::NotYet, Seen::Stuck));
    };
    let nothing = serde_json::Value::Null;
    let pod_uid = pod.metadata.uid.as_deref().unwrap_or_default();
    match of_pod(pod.data.get("status").unwrap_or(&nothing)) {
        PodState::Started => Ok(Seen::Started),
        PodState::Stuck(found) if found.cause == "Image" => {
            let said = events(client, namespace, pod_uid).await?;
            Ok(Seen::Stuck(said.as_deref().and_then(missing_pull_secret).unwrap_or(found)))
        }
        PodState::Stuck(found) => Ok(Seen::Stuck(found)),
        PodState::Waiting => {
            let found = events(client, namespace, pod_uid).await?.as_deref().and_then(of_pod_events);
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let late = || (age >= PREPARING).then(|| waiting(namespace, name, age));
            Ok(found.or_else(late).map_or(Seen::NotYet, Seen::Stuck))
        }
    }
}

/// The Events of one object, oldest first; `None` where they may not be read.
async fn events(client: &Client, namespace: &str, uid: &str) -> Result<Option<Vec<Said>>, Error> {
    let events: Api<v1::Event> = Api::namespaced(client.clone(), namespace);
    let of_it = ListParams::default().fields(&format!("involvedObject.uid={uid}")).limit(EVENTS);
    let mut found = match events.list(&of_it).await {
        Ok(found) => found.items,
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    found.sort_by_key(|event| {
        let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref().map(|time| time.0));
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        series.or(last).or(event.event_time.as_ref().map(|time| time.0))
    });
    let said = |event: v1::Event| Said {
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
    };
    Ok(Some(found.into_iter().map(said).collect()))
}
