#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail loudly")]

use std::time::Duration;

use super::*;
use crate::defrag::run_result::{Did, Member, Outcome};

const SECOND: Duration = Duration::from_secs(1);

fn listed(id: u64) -> Listed {
    Listed { id, name: format!("etcd-{id}"), urls: vec![format!("https://etcd-{id}:2379")], learner: false }
}

/// `count` members from 1, each behind its own endpoint; the first one leads.
fn cluster(count: u64) -> Vec<Reached> {
    let list: Vec<Listed> = (1..=count).map(listed).collect();
    let status = |member| Status { cluster: 7, member, leader: 1, applied: 100, ..Status::default() };
    let reached = |id| Reached { endpoint: format!("https://etcd-{id}:2379"), status: status(id), list: list.clone() };
    (1..=count).map(reached).collect()
}

fn refused(reached: &[Reached]) -> String {
    roster(reached).unwrap_err().to_string()
}

#[test]
fn each_voter_has_one_endpoint() {
    let seats = roster(&cluster(3)).unwrap();
    assert_eq!(seats.iter().map(|seat| seat.name.as_str()).collect::<Vec<_>>(), ["etcd-1", "etcd-2", "etcd-3"]);

    // A learner needs no endpoint, and one that has an endpoint is a learner in its seat.
    let mut learner = cluster(3);
    for one in &mut learner {
        one.list[2].learner = true;
    }
    assert!(roster(&learner).unwrap()[2].learner);
    learner.pop();
    assert_eq!(roster(&learner).unwrap().len(), 2);
}

#[test]
fn endpoints_that_are_not_the_members_are_refused() {
    let mut texts = vec![refused(&[])];
    let mut unnamed = cluster(3);
    unnamed.pop();
    texts.push(refused(&unnamed));
    for one in &mut unnamed {
        one.list[2].name.clear();
        one.list[2].urls.clear();
    }
    texts.push(refused(&unnamed));
    let mut twice = cluster(3);
    twice[1].status.member = 1;
    twice[1].endpoint = "https://etcd:2379".to_owned();
    texts.push(refused(&twice));
    let mut swapped = cluster(3);
    swapped[1].status.member = 3;
    swapped[2].status.member = 2;
    texts.push(refused(&swapped));
    let mut outside = cluster(3);
    outside[1].status.member = 255;
    texts.push(refused(&outside));
    let mut clusters = cluster(3);
    clusters[2].status.cluster = 8;
    texts.push(refused(&clusters));
    let mut lists = cluster(3);
    lists[1].list.pop();
    texts.push(refused(&lists));
    assert!(roster(&lists).unwrap_err().passes());
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn members_may_share_a_url_that_they_advertise() {
    let mut shared = cluster(2);
    let service = "https://etcd:2379".to_owned();
    for one in &mut shared {
        for listed in &mut one.list {
            listed.urls.push(service.clone());
        }
    }
    shared[1].endpoint = service;
    assert_eq!(roster(&shared).unwrap().len(), 2);
}

type Voters = Vec<(&'static str, Status, Result<(), String>)>;

/// The voters of a healthy cluster of three.
fn voters() -> Voters {
    let status = |member| Status { member, leader: 1, applied: 5_000, ..Status::default() };
    vec![("etcd-1", status(1), Ok(())), ("etcd-2", status(2), Ok(())), ("etcd-3", status(3), Ok(()))]
}

#[test]
fn no_member_goes_away_while_another_one_is_not_well() {
    assert_eq!(healthy(&voters(), &[]), Ok(()));
    let nospace = Alarm { member: 2, kind: AlarmKind::NoSpace };
    assert_eq!(healthy(&voters(), &[nospace]), Ok(()), "that is what a defragmentation cures");

    let mut texts = Vec::new();
    let mut with = |change: &dyn Fn(&mut Voters), alarms: &[Alarm], passes: bool| {
        let mut voters = voters();
        change(&mut voters);
        let unhealthy = healthy(&voters, alarms).unwrap_err();
        assert_eq!(unhealthy.passes(), passes, "{unhealthy}");
        texts.push(unhealthy.to_string());
    };
    with(&|voters| voters[1].2 = Err("no answer within 5s".to_owned()), &[], true);
    with(&|voters| voters[2].1.leader = 0, &[], true);
    with(&|voters| voters[2].1.leader = 2, &[], true);
    let led_elsewhere = |voters: &mut Voters| {
        for voter in voters {
            voter.1.leader = 9;
        }
    };
    with(&led_elsewhere, &[], true);
    with(&|voters| voters[1].1.applied = 3_999, &[], true);
    with(&|_| (), &[Alarm { member: 3, kind: AlarmKind::Corrupt }], false);
    with(&|_| (), &[nospace, Alarm { member: 0, kind: AlarmKind::Other(9) }], false);
    insta::assert_snapshot!(texts.join("\n"));

    let mut close = voters();
    close[1].1.applied = 5_000 - CLOSE;
    close[2].1.applied = 6_000;
    assert_eq!(healthy(&close, &[]), Ok(()), "ahead of the leader is a question of the moment");
}

#[test]
fn the_leader_is_last_whoever_leads_just_then() {
    let status = |member, leader| Status { member, leader, ..Status::default() };
    let led_by = |leader| [status(1, leader), status(2, leader), status(3, leader)];
    assert_eq!(next(&[0, 1, 2], &led_by(1)), Some(1));
    assert_eq!(next(&[0, 2], &led_by(3)), Some(0));
    assert_eq!(next(&[2], &led_by(3)), Some(2));
    assert_eq!(next(&[], &led_by(3)), None);
}

#[test]
fn leadership_goes_to_a_voter_that_is_done_and_caught_up() {
    let status = |member, applied| Status { member, leader: 1, applied, ..Status::default() };
    let mut statuses = vec![status(1, 9_000), status(2, 8_500), status(3, 8_900)];
    assert_eq!(successor(&[1, 2], &statuses), Some(2), "the closest one");
    assert_eq!(successor(&[1], &statuses), Some(1));
    assert_eq!(successor(&[], &statuses), None, "nobody has had its turn");
    statuses[1].applied = 7_999;
    assert_eq!(successor(&[1], &statuses), None);
    statuses[2].learner = true;
    assert_eq!(successor(&[1, 2], &statuses), None);
}

#[test]
fn nothing_is_begun_that_may_not_end_before_the_deadline() {
    let deadline = Deadline { at: Some(100 * SECOND), command: 60 * SECOND, dry_run: false };
    assert!(deadline.fits(40 * SECOND, Duration::ZERO));
    assert!(!deadline.fits(41 * SECOND, Duration::ZERO));
    assert!(deadline.fits(10 * SECOND, 30 * SECOND));
    assert!(!deadline.fits(11 * SECOND, 30 * SECOND));
    assert!(deadline.may_wait(Duration::ZERO, 39 * SECOND, SECOND));
    assert!(!deadline.may_wait(39 * SECOND, 40 * SECOND, SECOND));
    assert!(!deadline.fits(Duration::MAX, Duration::MAX));

    let none = Deadline { at: None, ..deadline };
    assert!(none.fits(Duration::MAX, SECOND));
    assert!(none.may_wait(100 * SECOND, 159 * SECOND, SECOND));
    assert!(!none.may_wait(100 * SECOND, 160 * SECOND, SECOND));

    let check = Deadline { dry_run: true, ..deadline };
    assert!(check.may_wait(SECOND, 5 * SECOND, SECOND));
    assert!(!check.may_wait(SECOND, 6 * SECOND, SECOND));
}

#[test]
fn nospace_stays_while_a_database_is_large() {
    let sizes = [("etcd-0", 900), ("etcd-1", 901)];
    assert_eq!(still_large(&sizes, 1_000, 0.9), ["etcd-1"]);
    assert!(still_large(&sizes[..1], 1_000, 0.9).is_empty());
}

fn member(did: Did, quota: u64) -> Member {
    let name = "etcd-0".to_owned();
    let (endpoint, note) = (String::new(), String::new());
    Member { name, endpoint, did, size_before: 0, size_after: 0, quota, seconds: 0.0, leader: false, note }
}

#[test]
fn the_outcome_follows_from_what_was_done() {
    let of = |dids: &[Did], dry_run, failed| {
        outcome(&dids.iter().map(|did| member(*did, 0)).collect::<Vec<_>>(), dry_run, failed)
    };
    assert_eq!(of(&[Did::Skipped, Did::Skipped], false, false), Outcome::NothingToDo);
    assert_eq!(of(&[Did::Skipped, Did::Defragmented], false, false), Outcome::Done);
    assert_eq!(of(&[Did::Failed, Did::Defragmented], false, false), Outcome::Failed);
    assert_eq!(of(&[Did::Defragmented, Did::NotTouched], false, true), Outcome::Failed);
    assert_eq!(of(&[Did::Checked, Did::Skipped], true, false), Outcome::Checked);
    assert_eq!(of(&[Did::Checked, Did::Skipped], true, true), Outcome::Failed);
}

#[test]
fn a_quota_that_differs_is_said_and_one_that_nobody_knows_is_none() {
    assert_eq!(mismatch(8 << 30, 8 << 30), None);
    assert_eq!(mismatch(8 << 30, 0), None);
    let members = [member(Did::Checked, 8 << 30), member(Did::Skipped, 0)];
    insta::assert_snapshot!([reason_of_check(&members, 2 << 30), reason_of_check(&members, 8 << 30)].join("\n"));
}
