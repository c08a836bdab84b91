//! What the leader knows about runs: those in progress, how they ended, and which failures were published.

pub(super) mod defrag_now;
pub(super) mod ending;
pub(super) mod failure_message;
mod not_started;
pub(super) mod pods;
pub(super) mod readiness;
pub(super) mod starts;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kube::{api::ObjectMeta, runtime::watcher::Event as Watch};

use super::{
    ObjectKey,
    on_demand::{KEPT, LAST_ON_DEMAND, PLACE},
    watch::observed::Job,
};
use crate::defrag::{
    cronjob::{STATEFULSET, budget::Run, ownership::controlling_cronjob},
    ondemand::Place,
};

/// Runs that ended longer ago than this were published by an earlier process.
const OLD_NEWS: SignedDuration = SignedDuration::from_mins(10);
/// So long after its deadline a Job of ours has ended.
const GRACE: Duration = Duration::from_mins(1);

/// A CronJob, whose runs are the Jobs that it controls. Nothing else makes a Job a run of it: anybody who may create Jobs in a
/// namespace writes whatever labels and annotations he likes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CronJobId {
    namespace: String,
    uid: String,
}

impl CronJobId {
    pub(super) fn new(namespace: &str, uid: &str) -> Self {
        Self { namespace: namespace.to_owned(), uid: uid.to_owned() }
    }

    /// That of a CronJob, where it has a uid.
    pub(super) fn of(cronjob: &ObjectMeta) -> Option<Self> {
        Some(Self::new(cronjob.namespace.as_deref().unwrap_or_default(), cronjob.uid.as_deref()?))
    }

    /// The one that controls a Job.
    pub(super) fn controlling(job: &Job) -> Option<Self> {
        let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
        Some(Self::new(namespace, controlling_cronjob(&job.metadata)?))
    }
}

/// A run that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnderWay {
    /// The place that it takes; `None` where it was not started on demand.
    place: Option<Place>,
    /// When its Job was made.
    began: Timestamp,
}

/// The runs of all CronJobs, each by the uid of its Job.
#[derive(Default)]
pub(super) struct Runs {
    /// Those that have ended and whose Jobs are still there.
    ended: HashMap<CronJobId, HashMap<String, Run>>,
    /// Those under way.
    active: HashMap<CronJobId, HashMap<String, UnderWay>>,
    /// What controls each Job, by its uid.
    controllers: HashMap<String, CronJobId>,
    /// The ended Jobs that were published.
    published: HashSet<String>,
    /// Ended Jobs whose StatefulSets are not known yet.
    unpublished: Vec<Job>,
}

impl Runs {
    /// Takes note of a Job; the StatefulSet of which a run has ended by it.
    pub(super) fn take(&mut self, event: Watch<Job>) -> Option<ObjectKey> {
        match event {
            Watch::Apply(job) | Watch::InitApply(job) => {
                let uid = job.metadata.uid.as_deref().unwrap_or_default();
                self.controlled_by(uid, CronJobId::controlling(&job).as_ref());
                self.under_way(&job);
                let ended = self.note_end(&job);
                if job.ended().is_some() {
                    self.unpublished.push(job);
                }
                ended
            }
            Watch::Delete(job) => {
                let uid = job.metadata.uid.as_deref().unwrap_or_default();
                self.published.remove(uid);
                self.controlled_by(uid, None);
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

    /// Takes note of what controls a Job, and forgets what the Job was to anything else.
    fn controlled_by(&mut self, job: &str, of: Option<&CronJobId>) {
        let before = match of {
            Some(of) => self.controllers.insert(job.to_owned(), of.clone()),
            None => self.controllers.remove(job),
        };
        if let Some(before) = before.filter(|before| Some(before) != of) {
            forget(&mut self.active, &before, job);
            forget(&mut self.ended, &before, job);
        }
    }

    fn under_way(&mut self, job: &Job) {
        let (Some(of), Some(uid)) = (CronJobId::controlling(job), &job.metadata.uid) else { return };
        if !job.under_way() {
            return forget(&mut self.active, &of, uid);
        }
        let place = if job.annotation(PLACE) == Some(KEPT) { Place::Kept } else { Place::Shared };
        let run = UnderWay {
            place: job.annotation(LAST_ON_DEMAND).map(|_| place),
            began: job.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0),
        };
        self.active.entry(of).or_default().insert(uid.clone(), run);
    }

    fn note_end(&mut self, job: &Job) -> Option<ObjectKey> {
        let (run, of, uid) = (job.run()?, CronJobId::controlling(job)?, job.metadata.uid.clone()?);
        let new = self.ended.entry(of).or_default().insert(uid, run) != Some(run);
        run_of(job).filter(|_| new)
    }

    /// Records a run that was started just now and that no watch has reported yet; `place` is the one that it takes,
    /// where it was started on demand.
    pub(super) fn started(&mut self, of: CronJobId, uid: String, place: Option<Place>, began: Timestamp) {
        // The watch may already have told of it, and of its end.
        if !self.controllers.contains_key(&uid) {
            self.active.entry(of).or_default().insert(uid, UnderWay { place, began });
        }
    }

    /// The runs of a CronJob that have ended and are still known.
    pub(super) fn ended(&self, of: Option<&CronJobId>) -> impl Iterator<Item = &Run> {
        of.and_then(|of| self.ended.get(of)).into_iter().flat_map(HashMap::values)
    }

    /// Whether a run of a CronJob is under way.
    pub(super) fn is_active(&self, of: &CronJobId) -> bool {
        self.active.contains_key(of)
    }

    /// The place that a CronJob takes among the runs on demand: one, whatever Jobs there are, and for no longer than its runs may
    /// last. A Job of ours has ended by then.
    pub(super) fn place(&self, of: &CronJobId, longest: Duration, now: Timestamp) -> Option<Place> {
        let longest = SignedDuration::try_from(longest.saturating_add(GRACE)).unwrap_or(SignedDuration::MAX);
        let runs = self.active.get(of)?.values().filter(|run| now.duration_since(run.began) < longest);
        runs.filter_map(|run| Some((run.began, run.place?))).min().map(|(_, place)| place)
    }

    /// The ended Jobs that were not published, each once.
    pub(super) fn unpublished(&mut self, now: Timestamp) -> Vec<Job> {
        let mut ended = std::mem::take(&mut self.unpublished);
        ended.retain(|job| {
            let Some(uid) = job.metadata.uid.as_ref().filter(|_| job.finished()) else { return false };
            self.published.insert(uid.clone()) && job.ended_at().is_none_or(|at| now.duration_since(at) <= OLD_NEWS)
        });
        ended
    }
}

fn forget<T>(all: &mut HashMap<CronJobId, HashMap<String, T>>, of: &CronJobId, uid: &str) {
    if let Some(runs) = all.get_mut(of) {
        runs.remove(uid);
        if runs.is_empty() {
            all.remove(of);
        }
    }
}

/// The StatefulSet that a Job says it is for. Whether that is so, its controller shows: [`CronJobId::controlling`].
pub(super) fn run_of(job: &Job) -> Option<ObjectKey> {
    let statefulset = job.annotation(STATEFULSET)?;
    Some(ObjectKey::new(job.metadata.namespace.as_deref().unwrap_or_default(), statefulset))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::watch::observed::JobSpec;

    fn made() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn value(uid: &str, condition: Option<(&str, &str)>) -> Value {
        let conditions: Vec<Value> = condition
            .iter()
            .map(|(type_, time)| json!({"type": type_, "status": "True", "lastTransitionTime": time}))
            .collect();
        let notes = json!({"etcd-defrag.io/statefulset": "etcd", "etcd-defrag.io/last-on-demand": "x"});
        let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": "etcd-defrag-job", "uid": "u", "controller": true});
        json!({
            "metadata": {"name": uid, "namespace": "ns", "uid": uid, "creationTimestamp": made(), "annotations": notes,
                "ownerReferences": [owner]},
            "status": {"conditions": conditions},
        })
    }

    fn job(uid: &str, condition: Option<(&str, &str)>) -> Job {
        serde_json::from_value(value(uid, condition)).unwrap()
    }

    /// A Job under way that differs in one value.
    fn but(uid: &str, pointer: &str, other: Value) -> Job {
        let mut value = value(uid, None);
        *value.pointer_mut(pointer).unwrap() = other;
        serde_json::from_value(value).unwrap()
    }

    fn ours() -> CronJobId {
        CronJobId::new("ns", "u")
    }

    const HOUR: Duration = Duration::from_hours(1);

    /// Whether a run is under way, and the place that it takes.
    fn state(runs: &Runs) -> (bool, Option<Place>) {
        (runs.is_active(&ours()), runs.place(&ours(), HOUR, made() + SignedDuration::from_mins(1)))
    }

    #[test]
    fn a_run_is_under_way_until_it_ends_and_known_until_its_job_goes() {
        let mut runs = Runs::default();
        let ended = |runs: &Runs| runs.ended(Some(&ours())).count();
        assert_eq!(runs.take(Watch::Apply(job("a", None))), None);
        assert_eq!(state(&runs), (true, Some(Place::Shared)));
        let done = job("a", Some(("Complete", "2026-01-01T00:00:00Z")));
        assert_eq!(runs.take(Watch::Apply(done.clone())), Some(ObjectKey::new("ns", "etcd")));
        assert_eq!(runs.take(Watch::Apply(done.clone())), None, "an end is news once");
        assert_eq!((state(&runs), ended(&runs)), ((false, None), 1));
        runs.started(ours(), "a".to_owned(), Some(Place::Shared), made());
        assert_eq!(state(&runs), (false, None), "what has ended is not under way");
        runs.take(Watch::Delete(done));
        assert_eq!(ended(&runs), 0);
        runs.started(ours(), "b".to_owned(), Some(Place::Kept), made());
        assert_eq!(state(&runs), (true, Some(Place::Kept)));
    }

    #[test]
    fn a_job_that_our_cronjob_does_not_control_is_no_run_whatever_it_says_of_itself() {
        let owner = |field: &str| format!("/metadata/ownerReferences/0/{field}");
        for forged in [
            but("f", "/metadata/ownerReferences", json!([])),
            but(
                "f",
                "/metadata/ownerReferences",
                json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "etcd-defrag-job", "uid": "u"}]),
            ),
            but("f", &owner("controller"), json!(false)),
            but("f", &owner("uid"), json!("another")),
            but("f", &owner("kind"), json!("Workflow")),
            but("f", &owner("apiVersion"), json!("example.org/v1")),
            but("f", "/metadata/namespace", json!("elsewhere")),
        ] {
            let mut runs = Runs::default();
            runs.take(Watch::Apply(forged.clone()));
            assert_eq!(state(&runs), (false, None), "{forged:?}");
            let now = Timestamp::now().to_string();
            let conditions = json!({"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": now}]});
            let failed = Job { status: serde_json::from_value(conditions).unwrap(), ..forged };
            runs.take(Watch::Apply(failed));
            assert_eq!(runs.ended(Some(&ours())).count(), 0);
        }
    }

    #[test]
    fn a_suspended_job_is_no_run_until_it_goes_on() {
        let mut runs = Runs::default();
        let with = |suspend: bool| Job { spec: JobSpec { suspend: Some(suspend) }, ..job("a", None) };
        for (suspend, expected) in [(true, (false, None)), (false, (true, Some(Place::Shared))), (true, (false, None))]
        {
            runs.take(Watch::Apply(with(suspend)));
            assert_eq!(state(&runs), expected);
        }
    }

    #[test]
    fn a_job_that_gets_another_controller_is_a_run_of_that() {
        let mut runs = Runs::default();
        runs.take(Watch::Apply(job("a", None)));
        runs.take(Watch::Apply(but("a", "/metadata/ownerReferences/0/uid", json!("v"))));
        assert_eq!(state(&runs), (false, None));
        assert!(runs.is_active(&CronJobId::new("ns", "v")));
        runs.take(Watch::Apply(but("a", "/metadata/ownerReferences", json!([]))));
        assert!(!runs.is_active(&CronJobId::new("ns", "v")) && runs.controllers.is_empty());
    }

    /// Who may create Jobs may also name our CronJob as their controller.
    #[test]
    fn a_job_takes_a_place_no_longer_than_a_run_may_last_and_many_take_one() {
        let mut runs = Runs::default();
        for uid in ["a", "b", "c"] {
            runs.take(Watch::Apply(job(uid, None)));
        }
        let at = |minutes: i64| runs.place(&ours(), HOUR, made() + SignedDuration::from_mins(minutes));
        assert_eq!([at(0), at(60), at(61), at(6000)], [Some(Place::Shared), Some(Place::Shared), None, None]);
        assert!(runs.is_active(&ours()), "nothing is started beside it all the same");
        let mut scheduled = value("d", None);
        scheduled["metadata"]["annotations"].as_object_mut().unwrap().remove("etcd-defrag.io/last-on-demand");
        let mut runs = Runs::default();
        runs.take(Watch::Apply(serde_json::from_value(scheduled).unwrap()));
        assert_eq!(state(&runs), (true, None), "a scheduled run takes no place");
    }

    #[test]
    fn an_end_is_published_once_and_an_old_one_never() {
        let mut runs = Runs::default();
        let now = Timestamp::now().to_string();
        runs.take(Watch::Apply(job("new", Some(("Failed", &now)))));
        runs.take(Watch::Apply(job("new", Some(("Failed", &now)))));
        runs.take(Watch::Apply(job("well", Some(("Complete", &now)))));
        runs.take(Watch::Apply(job("old", Some(("Failed", "2026-01-01T00:00:00Z")))));
        let names = |jobs: Vec<Job>| jobs.into_iter().filter_map(|job| job.metadata.name).collect::<Vec<_>>();
        assert_eq!(names(runs.unpublished(Timestamp::now())), ["new", "well"]);
        runs.take(Watch::Apply(job("new", Some(("Failed", &now)))));
        assert_eq!(names(runs.unpublished(Timestamp::now())), Vec::<String>::new());
    }
}
