//! The second step: the assessment, on a thread that carries nothing else.

use std::sync::Arc;

use jiff::Timestamp;

use super::observe::Task;
use crate::{
    controller::{Context, Error, object_state::ObjectState},
    defrag::{Assessment, Surroundings, assess, cronjob::live::Live, policy::Governing, statefulset::StatefulSet},
};

/// Assesses an object on a separate thread, where an object that takes long delays nothing else. `cronjobs` are the
/// ones that concern it, where they are not those of the task.
pub(super) async fn assessed(
    context: &Context,
    task: &Arc<Task>,
    (object, governing): (&Arc<StatefulSet>, &Governing),
    cronjobs: Option<Vec<Live>>,
    state: &ObjectState,
) -> Result<Assessment, Error> {
    let (task, object, governing) = (Arc::clone(task), Arc::clone(object), governing.clone());
    let (pause, failed) = (context.pause.now(), state.failed.clone());
    let now = beginning_of_day((context.clock)());
    let (own_image, engine_image) = (context.own_image.clone(), context.engine_image.clone());
    let assessment = context.cores.run(move || {
        let around = Surroundings {
            cronjobs: Some(cronjobs.as_ref().unwrap_or(&task.cronjobs)),
            runs: Some(&task.runs),
            pause: pause.as_deref(),
            failed: failed.as_deref(),
            own_image: own_image.as_deref(),
            engine_image: engine_image.as_deref(),
            neighbours: None,
            services: None,
            claims: None,
            others: &[],
        };
        assess(&object, &governing, &around, now)
    });
    assessment.await.map_err(Error::NotAssessed)
}

/// The beginning of a day in UTC, as the time of each assessment in it. Messages quote fire times to come: with the minute
/// they would be news at each look, and be published again in Events, statuses and reports.
fn beginning_of_day(now: Timestamp) -> Timestamp {
    const DAY: i64 = 24 * 60 * 60;
    Timestamp::from_second(now.as_second().div_euclid(DAY) * DAY).unwrap_or(now)
}
