//! The first step: the inputs of a reconciliation, and which of them have to be fetched.

use std::sync::Arc;

use kube::api::Api;

use crate::{
    controller::{Context, Error, ObjectKey, compliance::keep::Reports, object_state::ObjectState},
    defrag::{
        cronjob,
        cronjob::{
            budget::Run,
            live::Live,
            names::FAILED_RUNS,
            ownership::{Ownership, statefulset_of},
        },
        policy::{Governing, Labels, PolicySnapshot},
        statefulset::StatefulSet,
    },
};

/// What one look starts from.
pub(crate) struct Task {
    pub(crate) key: ObjectKey,
    /// The StatefulSet as the watch last saw it.
    pub(crate) statefulset: Option<Arc<StatefulSet>>,
    /// The CronJobs that concern it, as the watch last saw them.
    pub(crate) cronjobs: Vec<Live>,
    /// Its reports of compliance; `None` where there are to be none.
    pub(crate) reports: Option<Reports>,
    /// Its runs that have ended and are still known.
    pub(crate) runs: Vec<Run>,
    /// What governs it.
    pub(crate) snapshot: Arc<PolicySnapshot>,
    pub(crate) state: ObjectState,
}

/// What was found of a StatefulSet.
pub(crate) enum Observed {
    /// There is none.
    Gone,
    /// The labels of its namespace are not known yet, so it is not known what governs it.
    Early,
    /// It is there, and governed by this.
    There(Arc<StatefulSet>, Governing),
}

/// The StatefulSet as the watch saw it. Where the watch sees none and a CronJob or report says that there was one, the API
/// server is asked: nothing is deleted on the word of a cache.
pub(crate) async fn observe(context: &Context, task: &Task) -> Result<Observed, Error> {
    let reported = task.reports.as_ref().is_some_and(|reports| !reports.shown.is_empty());
    let named = || task.cronjobs.iter().any(|live| statefulset_of(&live.meta) == Some(&task.key.name));
    let object = match &task.statefulset {
        Some(object) => Some(Arc::clone(object)),
        None if reported || named() => {
            let api: Api<StatefulSet> = Api::namespaced(context.client.clone(), &task.key.namespace);
            api.get_opt(&task.key.name).await?.map(Arc::new)
        }
        None => None,
    };
    let Some(object) = object else { return Ok(Observed::Gone) };
    if !task.snapshot.knows(&task.key.namespace) {
        // A namespace is a moment younger than what is in it; made under another policy, a CronJob would be written twice.
        return Ok(Observed::Early);
    }
    let none = Labels::new();
    let governing = task.snapshot.govern(&task.key.namespace, object.metadata.labels.as_ref().unwrap_or(&none));
    Ok(Observed::There(object, governing))
}

impl Task {
    /// The CronJob of the StatefulSet as the watch saw it, whose it may be.
    pub(crate) fn named(&self) -> Option<&Live> {
        let name = cronjob::name(&self.key.name);
        self.cronjobs.iter().find(|live| live.name() == name)
    }

    /// Remembers what is written on the CronJob and nowhere else.
    pub(crate) fn remember(&self, state: &mut ObjectState) {
        let Some(live) = self.named().filter(|live| live.ownership(&self.key.name) == Ownership::Ours) else { return };
        if let Some(value) = live.annotation(FAILED_RUNS) {
            state.failed = Some(value.to_owned());
        }
    }
}
