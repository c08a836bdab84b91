//! Runs that come to their end.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use etcd_defrag_webhook::defrag::run_result::{Did, Outcome};
use harness::EtcdOptions;

use crate::support::{Runner, cluster, fill_up, is_full, waste};

#[test]
fn all_members_are_defragmented_and_the_leader_is_last() {
    let etcd = cluster(&EtcdOptions { quota: Some(64 << 20), ..EtcdOptions::default() });
    waste(&etcd, 6);
    let quota = &*format!("--etcd-storage-quota-bytes={}", 64 << 20);

    let checked = Runner::new(&etcd).args(&["--dry-run", quota, "--defrag-rule=dbSizeInUse > 6000000"]).run();
    checked.ended(Outcome::Checked, "the rule is true for 3 of 3 now");
    assert_eq!(checked.count(Did::Checked), 3);
    let differs = Runner::new(&etcd).args(&["--dry-run"]).run();
    differs.ended(Outcome::Checked, "its quota is 64 MiB, and the rule was evaluated with 2 GiB");

    let before = etcd.status();
    let leader = before.iter().position(|member| member.is_leader).unwrap();
    let run = Runner::new(&etcd)
        .args(&["--move-leader", "--wait-between-defrags=100ms", quota, "--defrag-rule=dbSizeFree > 1000000"])
        .run();
    run.ended(Outcome::Done, "");
    assert_eq!(run.count(Did::Defragmented), 3);
    let last = run.result.members.last().unwrap();
    assert_eq!(last.name, format!("etcd-{leader}"));
    assert!(last.leader && last.endpoint == before[leader].endpoint);
    assert_eq!(run.result.leader_from, last.name);
    assert_ne!(run.result.leader_to, last.name);
    for (before, after) in before.iter().zip(etcd.status()) {
        assert!(after.db_size < before.db_size / 2, "{before:?} {after:?}");
    }
    assert!(run.result.reclaimed() > 3 * (3 << 20), "{}", run.result);
    assert!(!etcd.status()[leader].is_leader);

    let again = Runner::new(&etcd).args(&[quota, "--defrag-rule=dbSizeFree > 1000000"]).run();
    again.ended(Outcome::NothingToDo, "");
    assert_eq!(again.count(Did::Skipped), 3);
    // The member list gives the same members.
    let listed = Runner::of(&etcd, &etcd.endpoints()[1]).args(&["--cluster", "--dry-run", quota]).run();
    assert_eq!(listed.count(Did::Checked), 3);
}

#[test]
fn a_full_etcd_is_writable_afterwards() {
    let quota = 16 << 20;
    let etcd = cluster(&EtcdOptions { members: 1, quota: Some(quota), ..EtcdOptions::default() });
    fill_up(&etcd);
    let quota = &*format!("--etcd-storage-quota-bytes={quota}");
    // Where nothing is freed the alarm stays.
    let stays = Runner::new(&etcd)
        .args(&[
            quota,
            "--auto-disalarm",
            "--disalarm-threshold=0.1",
            "--compaction=false",
            "--defrag-rule=dbSizeFree < 0",
        ])
        .run();
    stays.ended(Outcome::NothingToDo, "NOSPACE was not cleared: still above 0.1 of the quota: etcd-0");
    assert!(is_full(&etcd));
    let run = Runner::new(&etcd).args(&[quota, "--auto-disalarm"]).run();
    run.incident(&etcd, "NOSPACE, with --auto-disalarm");
    run.ended(Outcome::Done, "NOSPACE was cleared");
    etcd.put("free", "again");
}

#[test]
fn a_single_member_is_defragmented_though_it_leads() {
    let etcd = cluster(&EtcdOptions { members: 1, tls: false, ..EtcdOptions::default() });
    let run = Runner::new(&etcd).args(&["--move-leader"]).run();
    run.ended(Outcome::Done, "");
    assert_eq!(run.deeds(), [("etcd-0", Did::Defragmented)]);
    // Without a scheme, as etcd-defrag takes it, and from the environment.
    let bare = etcd.endpoints()[0].trim_start_matches("http://").to_owned();
    let run = Runner::of(&etcd, &bare).env("ETCD_DEFRAG_DRY_RUN", "true").run();
    run.ended(Outcome::Checked, "");
}

/// What a compaction frees counts in the same run.
#[test]
fn the_rule_is_evaluated_after_the_compaction() {
    let etcd = cluster(&EtcdOptions { members: 1, tls: false, ..EtcdOptions::default() });
    waste(&etcd, 6);
    let used = etcd.status()[0].db_size_in_use;
    let rule = &*format!("--defrag-rule=dbSizeInUse < {}", used - 1_000_000);
    let without = Runner::new(&etcd).args(&["--compaction=false", rule]).run();
    without.ended(Outcome::NothingToDo, "");
    // etcd counts what a compaction has freed with its next write, and whoever uses it writes all the time.
    let ended = AtomicBool::new(false);
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                etcd.put("a", "b");
            }
        });
        let run = Runner::new(&etcd).args(&[rule]).run();
        ended.store(true, Ordering::SeqCst);
        run
    });
    run.ended(Outcome::Done, "");
    assert_eq!(run.deeds(), [("etcd-0", Did::Defragmented)]);
}
