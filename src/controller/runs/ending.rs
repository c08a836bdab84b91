//! The end of a run: the result from its pod, reported in an Event, on the CronJob and in metrics.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use kube::api::ObjectMeta;
use tracing::debug;

use super::{
    failure_message,
    pods::{self, AtTheEnd},
};
use crate::{
    controller::{
        Context,
        events::{Event, publish},
        metrics::runs::RunLabels,
        reconcile::apply,
    },
    defrag::{
        cronjob::{
            beside::Note,
            last_run::{LastRun, Outcome, Retry},
        },
        retry::{self, Evidence},
        run_result::{EXIT_DEFERRED, RunResult},
        statefulset::StatefulSet,
    },
};

/// A Job that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) started: Option<Timestamp>,
    /// When.
    pub(crate) at: Timestamp,
    /// Why it failed, in the words of the Job controller; `None` where it did not.
    pub(crate) failure: Option<String>,
    /// Whether its condition says that it was deferred.
    pub(crate) deferred: bool,
    /// Why its container did not start, as it was seen last.
    pub(crate) cause: Option<String>,
    /// Whether it is retried if it changed no member.
    pub(crate) may_be_retried: bool,
    /// Whether its controller never counted a pod.
    pub(crate) no_pod_ever: bool,
    /// When its pod was seen last and had not started.
    pub(crate) unstarted: Option<Timestamp>,
}

/// Reports a run. The Event comes first: if the annotation exists, everything has been reported.
pub(crate) async fn tell(context: &Context, object: &Arc<StatefulSet>, cronjob: ObjectMeta, job: Ended) {
    let AtTheEnd { engine: end, pods } = pods::at_the_end(&context.client, object.namespace(), &job.uid).await;
    let result = end.as_ref().and_then(|end| RunResult::read(&end.message).ok());
    let failed = job.failure.is_some();
    let deferred = job.deferred || end.as_ref().is_some_and(|end| end.exit_code == i32::from(EXIT_DEFERRED));
    let mut run = LastRun::of(&job.name, (job.started, job.at), (failed, deferred), result.as_ref());
    if failed && job.may_be_retried {
        let (no_pod_ever, waiting) = (job.no_pod_ever, job.unstarted);
        let known = Evidence { result: result.as_ref(), pods, no_pod_ever, waiting, failed: job.at };
        let after = job.at.saturating_add(retry::PAUSE).unwrap_or(job.at);
        run.retry = retry::touched_nothing(&known).then_some(Retry::After(after));
    }
    let mut event = match (&job.failure, &result) {
        (Some(failure), None) if run.outcome == Outcome::Failed => {
            let said = end.as_ref().map(failure_message::words);
            failed_without_result(&run, failure, said.or(job.cause))
        }
        _ => event(&run, result.as_ref()),
    };
    event.unique = Some(job.uid);
    publish(context, object, event).await;
    context.metrics.runs.count(&run);
    if run.outcome == Outcome::Failed {
        context.metrics.failed_runs.inc();
    }
    let live = CronJob { metadata: cronjob, ..CronJob::default() };
    if let Err(error) = apply::annotate(context, &live, Note::LastRun, Some(&run.write())).await {
        debug!(job = job.name, %error, "could not record the result of a run on its CronJob");
    }
}

fn failed_without_result(run: &LastRun, failure: &str, said: Option<String>) -> Event {
    let said = said.unwrap_or_else(|| "The log of the Job's pod may have details.".to_owned());
    let note = format!("The defragmentation {} failed ({failure}). {} {said}", run.job, next(run));
    Event::warning("Defragment", "DefragmentationFailed", note)
}

/// When the etcd is run for again, as a sentence.
fn next(run: &LastRun) -> String {
    match &run.retry {
        Some(Retry::After(after)) => {
            format!("It changed no member, so it is retried after {after}, unless another run starts first.")
        }
        _ => "The next run is the next scheduled one.".to_owned(),
    }
}

/// The Event of a run whose end says all that there is to say.
fn event(run: &LastRun, result: Option<&RunResult>) -> Event {
    let job = &run.job;
    let told = result.map_or_else(String::new, ToString::to_string);
    let took = run.seconds.map(|seconds| format!(" after {seconds} s")).unwrap_or_default();
    match run.outcome {
        Outcome::Defragmented => Event::normal("Defragment", "Defragmented", format!("The run {job}: {told}.")),
        Outcome::NothingToDo => Event::normal("Defragment", "NothingToDo", format!("The run {job}: {told}.")),
        Outcome::Succeeded => {
            let note = format!(
                "The run {job} succeeded{took}. The engine reports no details; its log says which members were defragmented."
            );
            Event::normal("Defragment", "RunSucceeded", note)
        }
        Outcome::Deferred => {
            let told = if told.is_empty() { "deferred".to_owned() } else { told };
            let note = format!("The run {job}: {told}. It does not count as a failure. {}", next(run));
            Event::warning("Defragment", "Deferred", note)
        }
        Outcome::Failed => {
            let note = format!("The defragmentation {job} {told}. {}", next(run));
            Event::warning("Defragment", "DefragmentationFailed", note)
        }
    }
}

impl super::super::metrics::runs::RunMetrics {
    fn count(&self, run: &LastRun) {
        self.runs.get_or_create(&RunLabels { outcome: run.outcome }).inc();
        if let Some(members) = run.members {
            self.reclaimed.inc_by(members.reclaimed);
            self.blocked.inc_by(members.blocked_seconds.max(0.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(failure: bool, message: Option<&serde_json::Value>) -> String {
        let result = message.and_then(|message| RunResult::read(&message.to_string()).ok());
        let mut run = LastRun::of("e-defrag-job-1", (Some(at(100)), at(166)), (failure, false), result.as_ref());
        if failure && result.as_ref().is_some_and(RunResult::no_member_was_touched) {
            run.retry = Some(Retry::After(at(766)));
        }
        let Event { warning, reason, note, .. } = event(&run, result.as_ref());
        format!("{} {reason}: {note}", if warning { "Warning" } else { "Normal" })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn without_result(said: Option<&str>, retry: Option<Retry>) -> String {
        let run = LastRun { retry, ..LastRun::of("e-defrag-job-1", (Some(at(100)), at(166)), (true, false), None) };
        let event = failed_without_result(&run, "BackoffLimitExceeded: no more", said.map(str::to_owned));
        format!("Warning {}: {}", event.reason, event.note)
    }

    #[test]
    fn each_end_of_a_run_is_an_event_of_its_own() {
        let result = |outcome: &str, did: &str, reason: &str| {
            let member =
                json!({"name": "e-0", "did": did, "sizeBefore": 300 << 20, "sizeAfter": 75 << 20, "seconds": 4.1});
            json!({"version": 1, "outcome": outcome, "members": [member], "membersTotal": 1, "seconds": 4.1, "reason": reason})
        };
        let events = [
            told(false, Some(&result("Done", "Defragmented", ""))),
            told(false, Some(&result("NothingToDo", "Skipped", ""))),
            told(false, None),
            told(true, Some(&result("Deferred", "NotTouched", "e-1 is not healthy"))),
            told(true, Some(&result("Failed", "Failed", "e-0 did not answer"))),
            told(true, Some(&result("Failed", "NotTouched", "no endpoint names e-2"))),
            without_result(None, None),
            without_result(
                Some("Its image cannot be pulled (x). Name one that the nodes can pull."),
                Some(Retry::After(at(766))),
            ),
        ];
        insta::assert_snapshot!(events.join("\n"));
    }
}
