//! A run that surely changed no member is started once more, ten minutes later, whoever leads; any other is not.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    events::{self, Event},
    orphans::{MINUTE, SLOT, cronjob, enrolled, happen, on_paused_clock, pause},
    sequence::Run,
    server::Faults,
    store::{Class, JOBS, Key, key},
};

const FIRST: &str = "etcd-defrag-job-29540000";
const RETRY_OF: &str = "etcd-defrag.io/retry-of";
const ON_DEMAND: &str = "etcd-defrag.io/last-on-demand";

fn at(resource: &'static str, name: &str) -> Key {
    key(resource, &events::cronjob(SLOT).namespace, name)
}

fn now(run: &Run) -> String {
    (run.server.state().clock())().to_string()
}

/// Makes the Job of a run, as the CronJob controller does.
fn begin(run: &Run, name: &str, note: Option<&str>) {
    run.server.with(|state| {
        let cronjob = state.store.get(&events::cronjob(SLOT)).unwrap().clone();
        let (meta, template) = (&cronjob["metadata"], &cronjob["spec"]["jobTemplate"]);
        let mut annotations = template["metadata"]["annotations"].clone();
        if let Some(note) = note {
            annotations[note] = json!("2026-03-02T00:10:00Z");
        }
        let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": meta["name"], "uid": meta["uid"], "controller": true});
        let meta = json!({"namespace": meta["namespace"], "name": name, "labels": template["metadata"]["labels"],
            "annotations": annotations, "ownerReferences": [owner]});
        let job = json!({"metadata": meta, "spec": template["spec"]});
        state.store.create(&at(JOBS, name), job, "kube-controller-manager", Class::Plain).unwrap();
    });
}

/// Has a Job end, with so many pods counted as failed.
fn end(run: &Run, name: &str, type_: &str, counted: u32) {
    let condition = json!({"type": type_, "status": "True", "lastTransitionTime": now(run),
        "reason": "DeadlineExceeded", "message": "Job was active longer than specified deadline"});
    let status = json!({"failed": counted, "conditions": [condition]});
    run.server.with(|state| {
        state.store.update(&at(JOBS, name), "kube-controller-manager", |job| job["status"] = status).unwrap();
    });
}

/// Gives a Job a pod of this status.
fn pod(run: &Run, job: &str, status: &Value) {
    run.server.with(|state| {
        let uid = state.store.get(&at(JOBS, job)).unwrap()["metadata"]["uid"].clone();
        let labels = json!({"batch.kubernetes.io/controller-uid": uid});
        let pod = json!({"metadata": {"name": "pod", "labels": labels}, "status": status});
        state.store.create(&at("pods", "pod"), pod, "kube-controller-manager", Class::Plain).unwrap();
    });
}

/// The Jobs that start a run once more.
fn retries(run: &Run) -> Vec<Value> {
    let state = run.server.state();
    let jobs = state.store.of(JOBS).map(|(_, stored)| (*stored.object).clone());
    jobs.filter(|job| job["metadata"]["annotations"][RETRY_OF].is_string()).collect()
}

/// What the CronJob says of a retry.
fn said(run: &Run) -> Value {
    let note = cronjob(run).unwrap()["metadata"]["annotations"]["etcd-defrag.io/last-run"].clone();
    note.as_str().map_or(Value::Null, |note| serde_json::from_str::<Value>(note).unwrap()["retry"].clone())
}

/// An etcd whose run, for which no pod could be made, has failed just now.
async fn failed(seed: u64) -> Run {
    let mut run = enrolled(seed).await;
    begin(&run, FIRST, None);
    happen(&mut run, &[pause(MINUTE)]).await;
    end(&run, FIRST, "Failed", 0);
    run
}

/// Waits for the retry; how long that took.
async fn started(run: &mut Run) -> Duration {
    let begun = Instant::now();
    while retries(run).is_empty() {
        assert!(begun.elapsed() < Duration::from_hours(3), "it is never started: {}", said(run));
        happen(run, &[pause(500)]).await;
    }
    begun.elapsed()
}

#[test]
fn a_run_without_a_pod_is_started_once_more_after_ten_minutes_and_never_again() {
    on_paused_clock(async {
        let mut run = failed(1).await;
        happen(&mut run, &[pause(2000)]).await;
        assert!(said(&run)["after"].is_string(), "{}", said(&run));
        let took = started(&mut run).await.as_secs();
        assert!((596..605).contains(&took), "{took} s");

        let job = retries(&run).remove(0);
        let (meta, owner) = (&job["metadata"], &cronjob(&run).unwrap()["metadata"]["uid"]);
        assert_eq!(meta["annotations"][RETRY_OF], FIRST);
        assert_eq!(
            (&meta["ownerReferences"][0]["uid"], &meta["ownerReferences"][0]["controller"]),
            (owner, &json!(true))
        );
        happen(&mut run, &[pause(2000)]).await;
        assert_eq!(said(&run), json!({"started": meta["name"]}));
        assert_eq!(
            cronjob(&run).unwrap()["status"]["active"][0]["uid"],
            meta["uid"],
            "the schedule starts none beside it"
        );

        // It has no pod either.
        let name = meta["name"].as_str().unwrap().to_owned();
        end(&run, &name, "Failed", 0);
        happen(&mut run, &[pause(60 * MINUTE)]).await;
        assert_eq!((retries(&run).len(), said(&run)), (1, Value::Null));
        // The next scheduled run has a second chance of its own.
        begin(&run, "etcd-defrag-job-29540100", None);
        end(&run, "etcd-defrag-job-29540100", "Failed", 0);
        happen(&mut run, &[pause(12 * MINUTE)]).await;
        assert_eq!(retries(&run).len(), 2);
    });
}

#[test]
fn it_is_started_exactly_once_whoever_leads() {
    const KILL: [Event; 2] = [Event::Kill { replica: 0 }, Event::Kill { replica: 1 }];
    // While it waits, and at every moment while it is started; its Job runs on, or has ended when the next one leads.
    let moments = [2000, 5 * MINUTE].into_iter().chain((0..10).map(|step| 10 * MINUTE + step * 16));
    for (seed, moment) in (0..).zip(moments) {
        on_paused_clock(async {
            let mut run = failed(seed).await;
            happen(&mut run, &[pause(moment)]).await;
            happen(&mut run, &KILL).await;
            if seed % 2 == 1 {
                run.server.with(|state| state.store.finish_jobs(false));
            }
            started(&mut run).await;
            happen(&mut run, &[pause(2 * MINUTE), Event::Restart { replica: 0 }, Event::Restart { replica: 1 }]).await;
            happen(&mut run, &[pause(12 * MINUTE)]).await;
            assert_eq!(retries(&run).len(), 1, "killed {moment} ms after the end");
        });
    }
}

#[test]
fn no_fault_has_it_started_twice() {
    let mut all = 0;
    for seed in 0..6 {
        on_paused_clock(async {
            let mut run = failed(seed).await;
            run.server.state().faults = Faults { requests: 25, slow: 5, watches: 60 };
            for replica in [0, 1, 0, 1, 0] {
                happen(&mut run, &[pause(4 * MINUTE), Event::Restart { replica }]).await;
            }
            run.server.state().faults = Faults::default();
            happen(&mut run, &[pause(20 * MINUTE)]).await;
            let count = retries(&run).len();
            assert!(count < 2, "seed {seed}");
            all += count;
        });
    }
    assert!(all > 0, "what was written down was lost each time");
}

#[test]
fn what_may_have_touched_a_member_is_never_started_again() {
    let ended = |code: u8, message: &str| {
        let end = json!({"exitCode": code, "reason": "Error", "message": message, "startedAt": "2026-03-02T00:10:00Z"});
        json!({"phase": "Failed", "containerStatuses": [{"name": "etcd-defrag", "state": {"terminated": end}}]})
    };
    let result = |did: [&str; 2]| {
        let members = did.map(|did| json!({"name": "e", "did": did}));
        json!({"version": 1, "outcome": "Deferred", "members": members}).to_string()
    };
    let waiting = json!({"waiting": {"reason": "ImagePullBackOff"}});
    let waiting = json!({"phase": "Pending", "containerStatuses": [{"name": "etcd-defrag", "state": waiting}]});
    let cases = [
        ("etcd-defrag that started", Some(ended(1, "connection refused")), 1, None, 0),
        ("our runner without a result", Some(ended(137, "")), 1, None, 0),
        ("our runner after a member", Some(ended(75, &result(["Defragmented", "NotTouched"]))), 1, None, 0),
        ("our runner before any member", Some(ended(75, &result(["NotTouched", "NotTouched"]))), 1, None, 1),
        ("an image that is not there", Some(waiting), 1, None, 1),
        ("a pod that is gone", None, 1, None, 0),
        ("a run on demand", None, 0, Some(ON_DEMAND), 0),
    ];
    for (case, status, counted, note, expected) in cases {
        on_paused_clock(async {
            let mut run = enrolled(1).await;
            begin(&run, FIRST, note);
            if let Some(status) = &status {
                pod(&run, FIRST, status);
            }
            // Before the first look at the pod.
            happen(&mut run, &[pause(5000)]).await;
            end(&run, FIRST, "Failed", counted);
            happen(&mut run, &[pause(15 * MINUTE)]).await;
            assert_eq!(retries(&run).len(), expected, "{case}");
        });
    }
}

/// The controller of Jobs deletes the pod when the deadline is over; what it was seen like before then counts, while nothing says
/// that it started.
#[test]
fn a_pod_that_was_seen_waiting_until_its_deadline_did_nothing() {
    let waiting = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]});
    for (started, seconds, expected) in [(false, 30, 1), (true, 30, 0), (false, 120, 0)] {
        on_paused_clock(async {
            let mut run = enrolled(1).await;
            begin(&run, FIRST, None);
            pod(&run, FIRST, &waiting);
            happen(&mut run, &[pause(50_000)]).await;
            run.server.with(|state| {
                let ready = json!({"active": 1, "ready": u32::from(started)});
                state.store.update(&at(JOBS, FIRST), "kube-controller-manager", |job| job["status"] = ready).unwrap();
            });
            if seconds > 90 {
                // Nobody looks meanwhile.
                let cut_off = |replica| Event::CutOff { replica, seconds };
                happen(&mut run, &[cut_off(0), cut_off(1)]).await;
            }
            happen(&mut run, &[pause(seconds * 1000)]).await;
            run.server.with(|state| state.store.remove(&at("pods", "pod")));
            end(&run, FIRST, "Failed", 1);
            happen(&mut run, &[pause(15 * MINUTE)]).await;
            assert_eq!(retries(&run).len(), expected, "started: {started}, after {seconds} s");
        });
    }
}

/// As a scheduled run that was missed, it does not come when what held it ends.
#[test]
fn what_is_suspended_or_paused_when_its_time_comes_is_left_out() {
    let suspend = |suspension| Event::Suspend { slot: SLOT, suspension };
    for (stop, go) in [(suspend(0), suspend(1)), (Event::Halt { on: true }, Event::Halt { on: false })] {
        on_paused_clock(async {
            let mut run = failed(1).await;
            happen(&mut run, &[pause(9 * MINUTE), stop.clone(), pause(3 * MINUTE)]).await;
            assert!(said(&run)["dropped"].is_string(), "{stop:?}: {}", said(&run));
            happen(&mut run, &[go.clone(), pause(60 * MINUTE)]).await;
            assert_eq!(retries(&run).len(), 0, "{stop:?}");

            // What ends in time holds nothing.
            let mut run = failed(2).await;
            happen(&mut run, &[pause(MINUTE), stop, pause(MINUTE), go]).await;
            started(&mut run).await;
        });
    }
}

#[test]
fn it_does_not_start_beside_another_run_and_that_one_takes_its_place() {
    on_paused_clock(async {
        let mut run = failed(1).await;
        happen(&mut run, &[pause(8 * MINUTE)]).await;
        begin(&run, "by-hand", None);
        happen(&mut run, &[pause(15 * MINUTE)]).await;
        assert_eq!(retries(&run).len(), 0, "beside another run");
        end(&run, "by-hand", "Complete", 0);
        happen(&mut run, &[pause(60 * MINUTE)]).await;
        assert_eq!((retries(&run).len(), said(&run)), (0, Value::Null));
    });
}

#[test]
fn it_does_not_start_beside_a_preflight_nor_shortly_before_the_next_run() {
    on_paused_clock(async {
        let mut run = failed(1).await;
        happen(&mut run, &[pause(9 * MINUTE + 30_000)]).await;
        let record = format!("Running {} access 1a engine 2b tries 1 job j: x", now(&run));
        run.server.with(|state| {
            let change = |live: &mut Value| live["metadata"]["annotations"]["etcd-defrag.io/preflight"] = json!(record);
            state.store.update(&events::cronjob(SLOT), "etcd-defrag-webhook", change).unwrap();
        });
        let took = started(&mut run).await.as_secs();
        assert!((240..330).contains(&took), "{took} s: until the preflight counts as lost");
    });
    on_paused_clock(async {
        let mut run = enrolled(2).await;
        // Every two hours.
        happen(&mut run, &[Event::Annotate { slot: SLOT, setting: 4 }, pause(94 * MINUTE)]).await;
        begin(&run, FIRST, None);
        end(&run, FIRST, "Failed", 0);
        let took = started(&mut run).await.as_secs();
        assert!((16 * 60 - 10..16 * 60 + 70).contains(&took), "{took} s: not before two o'clock");
    });
}
