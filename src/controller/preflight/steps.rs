//! The steps of a preflight that ask and write.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::{Api, PostParams};
use tracing::info;

use crate::{
    controller::{
        Context, Error, ObjectKey,
        events::{Event, publish},
        reconcile::apply,
        runs::{failure_message, pods, readiness::readiness},
    },
    defrag::{
        cronjob::beside::Note,
        preflight::{self, ANNOTATION, Access, Outcome, Record, When, advice},
        run_result::RunResult,
        statefulset::StatefulSet,
        text::shorten,
    },
    runtime::api_error,
};

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Its Job runs.
    Started,
    /// The members are not ready, or the CronJob is not as it should be yet.
    NotReady,
    /// There is nothing to do, or it is done.
    Nothing,
}

/// Whom a preflight is of.
pub(crate) struct Subject {
    pub(crate) key: ObjectKey,
    pub(crate) object: std::sync::Arc<StatefulSet>,
}

/// Makes the Job of a preflight where one is due and every member is ready. What is known is asked for again, since
/// nothing is started on the word of a cache.
///
/// That it runs is written before it does: the next leader waits for it, or starts again after [`preflight::STALE`].
pub(crate) async fn begin(
    context: &Context,
    subject: &Subject,
    access: &Access,
    insisted: bool,
) -> Result<Begun, Error> {
    let key = &subject.key;
    let Some(live) = apply::ours(context, key).await? else { return Ok(Begun::Nothing) };
    if live.spec.suspend == Some(true) {
        return Ok(Begun::Nothing);
    }
    // Where the cluster insists on something else, that is what runs.
    if !insisted && Access::of(&live).as_ref() != Some(access) {
        return Ok(Begun::NotReady);
    }
    let now = (context.clock)();
    let last = record(&live);
    if !matches!(preflight::when(access, last.as_ref(), now), When::Now(_)) {
        return Ok(Begun::Nothing);
    }
    let members = readiness(context, &key.namespace, &key.name).await?;
    if members.wanted == 0 || members.ready < members.wanted {
        return Ok(Begun::NotReady);
    }
    // The CronJob may not be suspended yet.
    if context.is_paused() {
        return Ok(Begun::Nothing);
    }
    let tries = preflight::tries(access, last.as_ref());
    let name = preflight::job_name(&live, access, tries);
    let record = Record {
        outcome: Outcome::Running,
        at: now,
        access: access.clone(),
        tries,
        job: name.clone(),
        text: "it is in progress".to_owned(),
    };
    apply::annotate(context, &live, Note::Preflight, Some(&record.write())).await?;
    context.may_write()?;
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), &key.namespace);
    match jobs.create(&PostParams::default(), &preflight::job(&live, &name)).await {
        Ok(_) => {
            info!(statefulset = %key, job = name, tries, "a preflight has started");
            Ok(Begun::Started)
        }
        // The name says which try it is: an earlier attempt got this far.
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(Begun::Started),
        // A refusal is an outcome: the Jobs of the CronJob would be refused as well.
        Err(error @ kube::Error::Api(_)) => {
            let why = format!(
                "Its Job cannot be created: {}. The Jobs of the CronJob would be refused as well.",
                shorten(&api_error::describe(&error), 400)
            );
            end(context, subject, &live, record, Err(why)).await?;
            Ok(Begun::Nothing)
        }
        Err(error) => Err(error.into()),
    }
}

/// How a Job ended.
pub(crate) enum Ended {
    /// Well.
    Well,
    /// It failed: what its condition says.
    Failed(String),
    /// It does not start.
    NotStarted(String),
}

/// Writes down what a preflight found, once: where the CronJob does not say that this Job runs, it was written before, or
/// the Job is none of ours.
pub(crate) async fn conclude(
    context: &Context,
    subject: &Subject,
    (job, uid): (&str, &str),
    ended: Ended,
) -> Result<Begun, Error> {
    let Some(live) = apply::ours(context, &subject.key).await? else { return Ok(Begun::Nothing) };
    let ours = |record: &Record| record.outcome == Outcome::Running && record.job == job;
    let Some(record) = record(&live).filter(ours) else { return Ok(Begun::Nothing) };
    let outcome = match ended {
        Ended::Well => Ok(found(context, &live, &subject.key.namespace, uid).await),
        Ended::NotStarted(why) => Err(why),
        Ended::Failed(condition) => {
            let end = pods::at_the_end(&context.client, &subject.key.namespace, uid).await.engine;
            let said = end.as_ref().map_or(condition, failure_message::words);
            Err(format!("{said}. {}", advice::of(&said)))
        }
    };
    end(context, subject, &live, record, outcome).await?;
    Ok(Begun::Nothing)
}

/// What is said of a preflight that went well. Only our own runner leaves a result, so that no other one costs a request.
async fn found(context: &Context, live: &CronJob, namespace: &str, uid: &str) -> String {
    let Some(quota) = preflight::quota_of_our_own(live) else { return preflight::WELL.to_owned() };
    let end = pods::at_the_end(&context.client, namespace, uid).await.engine;
    let result = end.and_then(|end| RunResult::read(end.message()).ok());
    preflight::well(result.as_ref(), quota)
}

async fn end(
    context: &Context,
    subject: &Subject,
    live: &CronJob,
    running: Record,
    outcome: Result<String, String>,
) -> Result<(), Error> {
    let at: Timestamp = (context.clock)();
    let (outcome, text) = match outcome {
        Ok(found) => (Outcome::Succeeded, found),
        Err(why) => (Outcome::Failed, why),
    };
    let record = Record { outcome, at, text, ..running };
    apply::annotate(context, live, Note::Preflight, Some(&record.write())).await?;
    info!(statefulset = %subject.key, job = record.job, %outcome, "a preflight has ended");
    let event = if outcome == Outcome::Failed { failed(&record, at) } else { succeeded(&record) };
    publish(context, &subject.object, Event { unique: Some(record.job.clone()), ..event }).await;
    Ok(())
}

fn failed(record: &Record, at: Timestamp) -> Event {
    let next = match preflight::when(&record.access, Some(record), at) {
        When::At(due) => {
            format!("It is retried after {due}, or when endpoints, certificates, login, quota or image change.")
        }
        _ => "It is not retried until endpoints, certificates, login, quota or image change.".to_owned(),
    };
    let note = format!(
        "The preflight {} failed, and so would the runs of the CronJob; nothing was changed. {} {next}",
        record.job, record.text
    );
    Event::warning("Preflight", "PreflightFailed", note)
}

fn succeeded(record: &Record) -> Event {
    let note = format!(
        "The preflight {} reached all members under the names that runs use, logged in and evaluated the rule; nothing was changed.",
        record.job
    );
    match record.text.strip_prefix(preflight::WELL).and_then(|more| more.strip_prefix("; ")) {
        Some(differs) => Event::warning("Preflight", "PreflightSucceeded", format!("{note} But {differs}.")),
        None => Event::normal("Preflight", "PreflightSucceeded", note),
    }
}

/// What a CronJob says of its last preflight.
pub(crate) fn record(live: &CronJob) -> Option<Record> {
    Record::read(live.metadata.annotations.as_ref()?.get(ANNOTATION)?)
}
