//! The second step: the assessment, on a thread that carries nothing else.

use std::sync::Arc;

use super::observe::Task;
use crate::{
    controller::{Context, Error, object_state::ObjectState},
    defrag::{Assessment, Surroundings, assess, cronjob::live::Live, policy::Governing, statefulset::StatefulSet},
};

/// Assesses an object on a thread that carries nothing else, where an object that takes long delays nobody. `cronjobs` are
/// the ones that concern it, where they are not those of the task.
pub(super) async fn assessed(
    context: &Context,
    task: &Arc<Task>,
    (object, governing): (&Arc<StatefulSet>, &Governing),
    cronjobs: Option<Vec<Live>>,
    state: &ObjectState,
) -> Result<Assessment, Error> {
    let (task, object, governing) = (Arc::clone(task), Arc::clone(object), governing.clone());
    let (served, failed) = (state.served.clone(), state.failed.clone());
    let now = (context.clock)();
    let assessment = context.cores.run(move || {
        let around = Surroundings {
            cronjobs: Some(cronjobs.as_ref().unwrap_or(&task.cronjobs)),
            runs: Some(&task.runs),
            served: served.as_deref(),
            failed: failed.as_deref(),
        };
        assess(&object, &governing, &around, now)
    });
    assessment.await.map_err(Error::NotAssessed)
}
