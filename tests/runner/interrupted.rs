//! Runs during which something happens.

use etcd_defrag_webhook::defrag::run_result::{Did, Outcome};
use harness::EtcdOptions;

use crate::support::{Runner, cluster};

#[test]
fn no_member_is_begun_while_another_one_is_away() {
    let etcd = cluster(&EtcdOptions::default());
    let follower = etcd.status().iter().rposition(|member| !member.is_leader).unwrap();
    let victim = etcd.member(follower);

    // Between the first member and the next one, another one ends.
    let run = Runner::new(&etcd).args(&["--wait-between-defrags=2s", "--deadline=5m"]).start();
    run.until("waiting for 2s for the next member");
    victim.kill();
    run.until("cannot be reached");
    victim.start();
    let run = run.end();
    run.incident(&etcd, "a member is killed between two others, and comes back");
    run.ended(Outcome::Done, "");
    assert_eq!(run.count(Did::Defragmented), 3);

    // It does not come back in time.
    let deadline = ["--wait-between-defrags=5s", "--command-timeout=10s", "--deadline=35s"];
    let run = Runner::new(&etcd).args(&deadline).start();
    run.until("waiting for 5s for the next member");
    victim.kill();
    let run = run.end();
    run.incident(&etcd, "a member is killed between two others, and does not come back");
    assert_eq!(run.code, 75);
    run.ended(Outcome::Deferred, "cannot be reached");
    assert_eq!((run.count(Did::Defragmented), run.count(Did::NotTouched)), (1, 2));

    // It is away from the start.
    let run = Runner::new(&etcd).args(&["--command-timeout=2s", "--deadline=3s"]).run();
    assert_eq!(run.code, 75);
    assert!(run.result.no_member_was_touched());
    let run = Runner::new(&etcd).args(&["--dry-run"]).run();
    run.ended(Outcome::Failed, "cannot be reached");

    // Nobody answers in it, though it is there.
    victim.start();
    let run = Runner::new(&etcd).args(&["--defrag-rule=dbSizeFree < 0", "--deadline=5m"]).run();
    run.ended(Outcome::NothingToDo, "");
    victim.pause();
    let run = Runner::new(&etcd).args(&["--command-timeout=2s", "--dial-timeout=2s", "--deadline=4s"]).run();
    victim.resume();
    run.incident(&etcd, "a member is stopped (SIGSTOP) before the first turn");
    run.ended(Outcome::Deferred, "");
    assert!(run.result.no_member_was_touched());
}

#[test]
fn a_run_that_is_asked_to_end_begins_no_other_member_and_says_what_it_did() {
    let etcd = cluster(&EtcdOptions::default());
    let run = Runner::new(&etcd).args(&["--wait-between-defrags=1h"]).start();
    run.until("waiting for 3600s for the next member");
    run.terminate();
    let run = run.end();
    run.incident(&etcd, "SIGTERM after the first member");
    assert_eq!(run.code, 75);
    run.ended(Outcome::Deferred, "the run was stopped");
    assert_eq!((run.count(Did::Defragmented), run.count(Did::NotTouched)), (1, 2));

    // A wait after which no member would fit is not begun.
    let run = Runner::new(&etcd).args(&["--wait-between-defrags=1h", "--deadline=10m"]).run();
    run.ended(Outcome::Deferred, "no time is left before the deadline for another member");
    assert_eq!((run.count(Did::Defragmented), run.count(Did::NotTouched)), (1, 2));
    assert!(!run.result.no_member_was_touched());
}
