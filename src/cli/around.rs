//! What commands see around a StatefulSet: the CronJobs and the runs of its namespace.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{CronJob, Job};

use super::input::Document;
use crate::defrag::{
    Surroundings,
    cronjob::{STATEFULSET, budget::Run, live::Live},
    statefulset::StatefulSet,
};

/// CronJobs by namespace, and runs by namespace and StatefulSet.
#[derive(Debug, Default)]
pub(super) struct Around {
    cronjobs: BTreeMap<String, Vec<Live>>,
    runs: BTreeMap<(String, String), Vec<Run>>,
}

impl Around {
    pub(super) fn new(cronjobs: impl IntoIterator<Item = CronJob>, jobs: &[Job]) -> Self {
        let mut around = Self::default();
        for live in cronjobs.into_iter().filter_map(Live::of) {
            around.cronjobs.entry(namespace(live.meta.namespace.as_deref())).or_default().push(live);
        }
        for job in jobs {
            let meta = &job.metadata;
            let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref());
            let statefulset = meta.annotations.as_ref().and_then(|all| all.get(STATEFULSET));
            if let (Some(run), Some(name)) = (Run::of(conditions.unwrap_or_default()), statefulset) {
                around.runs.entry((namespace(meta.namespace.as_deref()), name.clone())).or_default().push(run);
            }
        }
        around
    }

    /// Those of a stream, such as `kubectl get statefulset,cronjob,job -o yaml` prints it.
    pub(super) fn of(documents: &[Document]) -> anyhow::Result<Self> {
        let mut troubles = Vec::new();
        let around = Self::of_readable(documents, &mut troubles);
        match troubles.into_iter().next() {
            Some(trouble) => Err(trouble),
            None => Ok(around),
        }
    }

    /// The same of what can be read; what cannot is added to `troubles`.
    pub(super) fn of_readable(documents: &[Document], troubles: &mut Vec<anyhow::Error>) -> Self {
        let (mut cronjobs, mut jobs) = (Vec::new(), Vec::new());
        for document in documents {
            let read = match document.kind() {
                (Some("batch/v1"), Some("CronJob")) => document.typed().map(|cronjob| cronjobs.push(cronjob)),
                (Some("batch/v1"), Some("Job")) => document.typed().map(|job| jobs.push(job)),
                _ => Ok(()),
            };
            troubles.extend(read.err());
        }
        Self::new(cronjobs, &jobs)
    }

    /// Whether there is any CronJob that concerns us.
    pub(super) fn is_empty(&self) -> bool {
        self.cronjobs.is_empty()
    }

    /// What is known around a StatefulSet; that there is no CronJob is known, too.
    pub(super) fn surroundings(&self, object: &StatefulSet) -> Surroundings<'_> {
        let namespace = object.namespace().to_owned();
        let cronjobs = self.cronjobs.get(&namespace).map_or(&[][..], Vec::as_slice);
        let runs = self.runs.get(&(namespace, object.name().to_owned())).map_or(&[][..], Vec::as_slice);
        Surroundings { cronjobs: Some(cronjobs), runs: Some(runs), ..Surroundings::default() }
    }
}

fn namespace(name: Option<&str>) -> String {
    name.unwrap_or("default").to_owned()
}
