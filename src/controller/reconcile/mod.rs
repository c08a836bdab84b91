//! One look at one StatefulSet: observe → assess → ensure → record events.

pub(super) mod apply;
mod assessed;
mod ensure;
mod looked;
pub(super) mod observe;
mod record_events;
mod remove;

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::{debug, error, warn};

use self::{
    assessed::assessed,
    ensure::Ensure,
    looked::Looked,
    observe::{Observed, Task, observe},
    record_events::{left_out, record_events},
    remove::{COVERED, NOT_ENROLLED, remove},
};
use super::{
    Context, Error, ObjectKey,
    events::{self, Event},
    metrics::LookResult,
    object_state::{ObjectState, Topic},
    queue::{LONGEST_PAUSE_REFUSED, LONGEST_PAUSE_UNREACHABLE, Next},
};
use crate::defrag::{Enrollment, Verdict};

/// So long may one look take; requests themselves have no time limit.
const PATIENCE: Duration = Duration::from_secs(30);
/// When to look again at something in a namespace whose labels are not known yet, should nothing have asked for it.
const NAMESPACE_AGAIN: Duration = Duration::from_secs(5);

/// What one look came to.
pub(super) struct Done {
    pub(super) key: ObjectKey,
    pub(super) state: ObjectState,
    pub(super) next: Next,
}

/// Takes one look; what goes wrong becomes a pause.
pub(super) async fn look(context: Arc<Context>, mut task: Task) -> Done {
    let mut state = std::mem::take(&mut task.state);
    let task = Arc::new(task);
    let result = match timeout(PATIENCE, Box::pin(reconcile(&context, &task, &mut state))).await {
        Ok(result) => result,
        Err(_) => Err(Error::TimedOut(PATIENCE)),
    };
    let next = match result {
        Ok(looked) => {
            state.over(Topic::ApplyFailed);
            context.metrics.count(if looked.changed { LookResult::Changed } else { LookResult::Unchanged });
            looked.next
        }
        Err(Error::NotLeading) => Next::Wait,
        Err(error) => {
            context.metrics.count(LookResult::Failed);
            failed(&context, &task, &mut state, &error).await
        }
    };
    Done { key: task.key.clone(), state, next }
}

async fn failed(context: &Context, task: &Task, state: &mut ObjectState, error: &Error) -> Next {
    if let Error::NotAssessed(_) = error {
        error!(statefulset = %task.key, %error, "will be tried again");
        return Next::Retry(LONGEST_PAUSE_REFUSED);
    }
    let Error::Kube(kube::Error::Api(status)) = error else {
        warn!(statefulset = %task.key, %error, "will be tried again");
        return Next::Retry(LONGEST_PAUSE_UNREACHABLE);
    };
    let leaving =
        status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == "NamespaceTerminating");
    if leaving {
        debug!(statefulset = %task.key, "the namespace is being deleted");
        return Next::Wait;
    }
    warn!(statefulset = %task.key, %error, "will be tried again");
    let busy = status.code == 429 || status.code >= 500;
    if busy || status.is_conflict() {
        return Next::Retry(LONGEST_PAUSE_UNREACHABLE);
    }
    if let Some(object) = &task.statefulset
        && state.is_news(Topic::ApplyFailed, &status.message)
    {
        let note =
            format!("The API server refused a change to the CronJob: {}. It will be tried again.", status.message);
        events::publish(context, object, Event::warning("Apply", "ApplyFailed", note)).await;
    }
    Next::Retry(LONGEST_PAUSE_REFUSED)
}

async fn reconcile(context: &Context, task: &Arc<Task>, state: &mut ObjectState) -> Result<Looked, Error> {
    let (object, governing) = match observe(context, task).await? {
        Observed::There(object, governing) => (object, governing),
        // That it is known now asks for a look at once.
        Observed::Early => return Ok(Looked::UNCHANGED.again(NAMESPACE_AGAIN)),
        Observed::Gone => {
            *state = ObjectState::default();
            return remove(context, task, None).await;
        }
    };
    task.remember(state);
    let assessment = assessed(context, task, (&object, &governing), None, state).await?;
    if matches!(assessment.verdict, Verdict::Absent) {
        let event = left_out(&assessment, state);
        *state = state.forgotten();
        if let Some(event) = event {
            events::publish(context, &object, event).await;
        }
        let enrolled = Enrollment::of(&object, &governing.policy) == Enrollment::Enrolled && !governing.left_out;
        let why = if enrolled { COVERED } else { NOT_ENROLLED };
        return remove(context, task, Some((&object, why))).await;
    }
    state.note(&assessment, &governing.policy);
    let mut ensure = Ensure::new(context, task, (&object, &governing), assessment);
    let looked = Box::pin(ensure.run(state)).await;
    let Ensure { assessment, events, .. } = ensure;
    let again = record_events(context, task, (&object, &governing), &assessment, events, state).await;
    match again {
        Some(pause) => looked.map(|looked| looked.again_at_the_latest(pause)),
        None => looked,
    }
}
