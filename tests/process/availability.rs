//! Two replicas, one leader: which one reconciles, and what it takes until it does, whatever happens to the other.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::support::{NAME, etcd};
use harness::{ControlPlane, Serve, ServeOptions, eventually};

/// A Lease that nobody renews is taken over after 15 s, and is looked at every 2 s.
const TAKE_OVER: Duration = Duration::from_secs(40);

const ETCDS: usize = 25;

fn replica(plane: &ControlPlane, register: bool, args: &[&str]) -> Serve {
    let args = args.iter().map(|&argument| argument.to_owned()).collect();
    Serve::start_with(plane, &ServeOptions { register, args, ..ServeOptions::default() })
}

fn cronjobs(plane: &ControlPlane) -> usize {
    let list = plane.get(&["cronjobs", "-n", "default"]);
    list.and_then(|list| list["items"].as_array().map(Vec::len)).unwrap_or_default()
}

/// From now until a CronJob that is deleted is there again.
fn until_reconciled(plane: &ControlPlane) -> Duration {
    let begun = Instant::now();
    plane.kubectl_ok(&["delete", "cronjob", "-n", "default", "e0-defrag-job", "--wait=true"]);
    eventually("the CronJob to be made again", TAKE_OVER, || plane.get(&["cronjob", "-n", "default", "e0-defrag-job"]));
    begun.elapsed()
}

fn leads(serve: &Serve) -> bool {
    serve.metric("etcd_defrag_webhook_leader") == Some(1.0)
}

/// The specification of the Lease.
fn lease(plane: &ControlPlane) -> Value {
    plane.get(&["lease", "-n", "default", NAME]).unwrap()["spec"].clone()
}

fn time(lease: &Value, field: &str) -> Timestamp {
    lease[field].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {field} in {lease}"))
}

#[test]
fn a_leader_that_hangs_writes_nothing_when_it_goes_on_and_one_that_dies_is_followed() {
    let plane = ControlPlane::start();
    let first = replica(&plane, false, &["--concurrency=1"]);
    eventually("the first to lead", TAKE_OVER, || leads(&first).then_some(()));
    // The API server asks the second one, which answers all the time.
    let second = replica(&plane, true, &[]);

    // Stopped in the middle of its work.
    let mark = plane.audit_mark();
    let all: Vec<String> = (0..ETCDS).map(|index| etcd("default", &format!("e{index}"), &[]).to_string()).collect();
    let (stopped, before) = thread::scope(|scope| {
        scope.spawn(|| plane.apply(&all.join("\n---\n")));
        eventually("the first CronJobs", TAKE_OVER, || (cronjobs(&plane) > 0).then_some(()));
        first.signal("STOP");
        (Instant::now(), cronjobs(&plane))
    });
    // However quick the first was, there is one that it cannot have seen.
    plane.apply(&etcd("default", &format!("e{ETCDS}"), &[]).to_string());
    eventually("the second to do the rest", TAKE_OVER, || (cronjobs(&plane) == ETCDS + 1).then_some(()));
    println!(
        "SIGSTOP: {before} of {} CronJobs were there, and the other replica had made the rest after {} ms",
        ETCDS + 1,
        stopped.elapsed().as_millis()
    );
    eventually("the second to say that it leads", TAKE_OVER, || leads(&second).then_some(()));
    first.signal("CONT");
    eventually("the first to see that it does not lead", TAKE_OVER, || (!leads(&first)).then_some(()));
    thread::sleep(Duration::from_secs(5));
    let writes = plane.audit_since(mark).writes().of("cronjobs").by_agent(NAME);
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    for write in writes.iter() {
        *by_name.entry(&write.name).or_default() += 1;
    }
    let duplicates: Vec<_> = by_name.iter().filter(|(_, count)| **count > 1).collect();
    println!("SIGCONT: {} writes of CronJobs in all, {} of them double", writes.len(), duplicates.len());
    assert!(duplicates.is_empty() && writes.len() == ETCDS + 1, "{duplicates:?}");

    // Killed.
    assert!(leads(&second));
    second.signal("KILL");
    let took = until_reconciled(&plane);
    println!("SIGKILL: the other replica reconciled after {} ms", took.as_millis());
    assert!(leads(&first));
}

#[test]
fn a_leader_that_is_asked_to_end_gives_its_lease_back_at_once() {
    let plane = ControlPlane::start();
    let mut first = replica(&plane, true, &["--drain-delay=4s"]);
    eventually("the first to lead", TAKE_OVER, || leads(&first).then_some(()));
    let second = replica(&plane, false, &[]);
    plane.apply(&etcd("default", "e0", &[]).to_string());
    eventually("a CronJob", TAKE_OVER, || (cronjobs(&plane) == 1).then_some(()));
    let before = lease(&plane);
    let lapses =
        time(&before, "renewTime") + SignedDuration::from_secs(before["leaseDurationSeconds"].as_i64().unwrap());

    let asked = Instant::now();
    first.signal("TERM");
    eventually("the Lease to be given back", TAKE_OVER, || {
        (lease(&plane)["holderIdentity"] != before["holderIdentity"]).then_some(())
    });
    println!("SIGTERM: the Lease was given back after {} ms", asked.elapsed().as_millis());
    let took = until_reconciled(&plane);
    println!("SIGTERM: the other replica reconciled {} ms after that", took.as_millis());
    assert!(leads(&second));
    let after = lease(&plane);
    assert!(time(&after, "acquireTime") < lapses, "it waited for the Lease to lapse: {after} after {before}");
    assert!(first.wait(), "it ends with 0");
    assert!(asked.elapsed() >= Duration::from_secs(4), "it answers for the whole of the delay");
}
