//! What the leader knows of runs: those under way, how they ended, and which failures were published.

pub(super) mod defrag_now;
pub(super) mod failure_message;
pub(super) mod readiness;

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use kube::runtime::watcher::Event as Watch;

use super::{ObjectKey, on_demand::LAST_ON_DEMAND, watch::observed::Job};
use crate::defrag::cronjob::{STATEFULSET, budget::Run};

/// Runs that failed longer ago than this were published by an earlier process.
const OLD_NEWS: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// The runs of all StatefulSets, each by the uid of its Job.
#[derive(Default)]
pub(super) struct Runs {
    /// Those that have ended and whose Jobs are still there.
    ended: HashMap<ObjectKey, HashMap<String, Run>>,
    /// Those under way, and whether they started on demand.
    active: HashMap<ObjectKey, HashMap<String, bool>>,
    /// The failed Jobs that were published.
    published: HashSet<String>,
    /// Failed Jobs whose StatefulSets are not known yet.
    unpublished: Vec<Job>,
}

impl Runs {
    /// Takes note of a Job; the StatefulSet of which a run has ended by it.
    pub(super) fn take(&mut self, event: Watch<Job>) -> Option<ObjectKey> {
        match event {
            Watch::Apply(job) | Watch::InitApply(job) => {
                self.under_way(&job);
                let ended = self.note_end(&job);
                if job.failure().is_some() {
                    self.unpublished.push(job);
                }
                ended
            }
            Watch::Delete(job) => {
                let uid = job.metadata.uid.as_deref().unwrap_or_default();
                self.published.remove(uid);
                let key = run_of(&job)?;
                forget(&mut self.active, &key, uid);
                forget(&mut self.ended, &key, uid);
                None
            }
            // Every Job that is still there follows.
            Watch::Init => {
                self.active.clear();
                None
            }
            Watch::InitDone => None,
        }
    }

    fn under_way(&mut self, job: &Job) {
        let (Some(key), Some(uid)) = (run_of(job), job.metadata.uid.clone()) else { return };
        if job.finished() {
            return forget(&mut self.active, &key, &uid);
        }
        let on_demand = job.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(LAST_ON_DEMAND));
        self.active.entry(key).or_default().insert(uid, on_demand);
    }

    fn note_end(&mut self, job: &Job) -> Option<ObjectKey> {
        let (run, key, uid) = (job.run()?, run_of(job)?, job.metadata.uid.clone()?);
        let new = self.ended.entry(key.clone()).or_default().insert(uid, run) != Some(run);
        new.then_some(key)
    }

    /// Takes note of a run that was started on demand and that no watch has told of yet.
    pub(super) fn started(&mut self, key: ObjectKey, uid: String) {
        // The watch may already have told of its end.
        if !self.ended.get(&key).is_some_and(|runs| runs.contains_key(&uid)) {
            self.active.entry(key).or_default().insert(uid, true);
        }
    }

    /// The runs of a StatefulSet that have ended and are still known.
    pub(super) fn ended(&self, key: &ObjectKey) -> impl Iterator<Item = &Run> {
        self.ended.get(key).into_iter().flat_map(HashMap::values)
    }

    /// How many runs of a StatefulSet are under way, and how many of them started on demand.
    pub(super) fn active(&self, key: &ObjectKey) -> (usize, usize) {
        let runs = self.active.get(key);
        let on_demand = runs.into_iter().flat_map(HashMap::values).filter(|on_demand| **on_demand).count();
        (runs.map_or(0, HashMap::len), on_demand)
    }

    /// The failed Jobs that were not published, each once.
    pub(super) fn unpublished(&mut self) -> Vec<Job> {
        let now = Timestamp::now();
        let mut failed = std::mem::take(&mut self.unpublished);
        failed.retain(|job| {
            let (Some(failure), Some(uid)) = (job.failure(), &job.metadata.uid) else { return false };
            let at = failure.last_transition_time.as_ref().map(|time| time.0);
            self.published.insert(uid.clone()) && at.is_none_or(|at| now.duration_since(at) <= OLD_NEWS)
        });
        failed
    }
}

fn forget<T>(all: &mut HashMap<ObjectKey, HashMap<String, T>>, key: &ObjectKey, uid: &str) {
    if let Some(runs) = all.get_mut(key) {
        runs.remove(uid);
        if runs.is_empty() {
            all.remove(key);
        }
    }
}

/// The StatefulSet that a Job of ours is for.
pub(super) fn run_of(job: &Job) -> Option<ObjectKey> {
    let statefulset = job.metadata.annotations.as_ref()?.get(STATEFULSET)?;
    Some(ObjectKey::new(job.metadata.namespace.as_deref().unwrap_or_default(), statefulset))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(uid: &str, condition: Option<(&str, &str)>) -> Job {
        let conditions: Vec<Value> = condition
            .iter()
            .map(|(type_, time)| json!({"type": type_, "status": "True", "lastTransitionTime": time}))
            .collect();
        let notes = json!({"etcd-defrag.io/statefulset": "etcd", "etcd-defrag.io/last-on-demand": "x"});
        serde_json::from_value(json!({
            "metadata": {"name": uid, "namespace": "ns", "uid": uid, "annotations": notes},
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn a_run_is_under_way_until_it_ends_and_known_until_its_job_goes() {
        let (mut runs, key) = (Runs::default(), ObjectKey::new("ns", "etcd"));
        assert_eq!(runs.take(Watch::Apply(job("a", None))), None);
        assert_eq!(runs.active(&key), (1, 1));
        let done = job("a", Some(("Complete", "2026-01-01T00:00:00Z")));
        assert_eq!(runs.take(Watch::Apply(done.clone())).as_ref(), Some(&key));
        assert_eq!(runs.take(Watch::Apply(done.clone())), None, "an end is news once");
        assert_eq!((runs.active(&key), runs.ended(&key).count()), ((0, 0), 1));
        runs.started(key.clone(), "a".to_owned());
        assert_eq!(runs.active(&key), (0, 0), "what has ended is not under way");
        runs.take(Watch::Delete(done));
        assert_eq!(runs.ended(&key).count(), 0);
    }

    #[test]
    fn a_failure_is_published_once_and_an_old_one_never() {
        let mut runs = Runs::default();
        let now = Timestamp::now().to_string();
        runs.take(Watch::Apply(job("new", Some(("Failed", &now)))));
        runs.take(Watch::Apply(job("new", Some(("Failed", &now)))));
        runs.take(Watch::Apply(job("old", Some(("Failed", "2026-01-01T00:00:00Z")))));
        let names = |jobs: Vec<Job>| jobs.into_iter().filter_map(|job| job.metadata.name).collect::<Vec<_>>();
        assert_eq!(names(runs.unpublished()), ["new"]);
        runs.take(Watch::Apply(job("new", Some(("Failed", &now)))));
        assert_eq!(names(runs.unpublished()), Vec::<String>::new());
    }
}
