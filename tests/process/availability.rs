//! Two replicas, one leader: which one reconciles, and what it takes until it does, whatever happens to the other.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crate::{
    harness::{ControlPlane, Serve, ServeOptions, eventually},
    support::{NAME, etcd},
};

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

fn holder(plane: &ControlPlane) -> String {
    let lease = plane.get(&["lease", "-n", "default", NAME]).unwrap();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
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
    eventually("the second to do the rest", TAKE_OVER, || (cronjobs(&plane) == ETCDS).then_some(()));
    println!(
        "SIGSTOP: {before} of {ETCDS} CronJobs were there, and the other replica had made the rest after {} ms",
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
    assert!(before < ETCDS, "the first had nothing left to do, so this shows little");
    println!("SIGCONT: {} writes of CronJobs in all, {} of them twice", writes.len(), duplicates.len());
    assert!(duplicates.is_empty() && writes.len() == ETCDS, "{duplicates:?}");

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
    let identity = holder(&plane);

    first.signal("TERM");
    let asked = Instant::now();
    eventually("the Lease to be given back", TAKE_OVER, || (holder(&plane) != identity).then_some(()));
    println!("SIGTERM: the Lease was given back after {} ms", asked.elapsed().as_millis());
    let took = until_reconciled(&plane);
    println!("SIGTERM: the other replica reconciled {} ms after that", took.as_millis());
    assert!(asked.elapsed() < Duration::from_secs(12), "it waited for the Lease to lapse");
    assert!(leads(&second));
    assert!(first.wait(), "it ends with 0");
    assert!(asked.elapsed() >= Duration::from_secs(4), "it answers for the whole of the delay");
}
