//! The reconciler's promises over random sequences of events: one CronJob for each enrolled StatefulSet and none besides,
//! what is foreign untouched, nothing lost, and rest once everything is as it should be.
//!
//! The controller is the real one, two replicas of it with their election, watches and queues. The API server is one in
//! memory, because what is looked for are the moments at which a real one fails; tests/e2e has the real one.
//!
//! `MODEL_SEQUENCES` says how many sequences are run, and `MODEL_SEED` repeats those from that seed on.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]
#![allow(
    clippy::manual_strip,
    clippy::match_same_arms,
    clippy::similar_names,
    reason = "each case stands for itself, and a path for two kinds of step"
)]

mod calls;
mod events;
mod expected;
mod fields;
mod objects;
mod oracle;
mod orphans;
mod preflight;
mod real;
mod retry;
mod sequence;
mod server;
mod sharing;
mod store;
mod watching;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use self::{
    events::Event,
    sequence::Sequence,
    server::{Counts, Faults},
};

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn whatever_happens_ends_as_the_model_says() {
    let sequences = setting("MODEL_SEQUENCES").unwrap_or(20);
    let clock = || u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() & 0xffff_ffff).unwrap();
    let first = setting("MODEL_SEED").unwrap_or_else(|| if setting("MODEL_SEQUENCES").is_some() { clock() } else { 1 });
    println!("MODEL_SEED={first} MODEL_SEQUENCES={sequences}");
    let (next, totals, failure) = (AtomicU64::new(0), Mutex::new((Counts::default(), 0)), Mutex::new(None));
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while failure.lock().unwrap().is_none() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= sequences {
                        return;
                    }
                    let sequence = Sequence::random(first.wrapping_add(index));
                    match sequence.run() {
                        Ok(counts) => {
                            let (all, events) = &mut *totals.lock().unwrap();
                            all.requests += counts.requests;
                            all.writes += counts.writes;
                            all.faults += counts.faults;
                            *events += sequence.events.len();
                        }
                        Err(wrong) => {
                            failure.lock().unwrap().get_or_insert((index, sequence, wrong));
                        }
                    }
                }
            });
        }
    });
    let (counts, events) = totals.into_inner().unwrap();
    println!(
        "{} sequences, {events} events, {} requests, {} faults, {} writes in {:.1} s",
        next.into_inner().min(sequences),
        counts.requests,
        counts.faults,
        counts.writes,
        begun.elapsed().as_secs_f64()
    );
    if let Some((index, sequence, wrong)) = failure.into_inner().unwrap() {
        println!("sequence {index} failed: {wrong}");
        let (shortest, wrong) = sequence.shrink(wrong);
        panic!(
            "MODEL_SEED={} MODEL_SEQUENCES=1 repeats it; at its shortest it is\n{:#?}\n{wrong}",
            sequence.seed, shortest
        );
    }
}

/// A sequence of events without faults, which has to end well.
fn ends_well(events: Vec<Event>) {
    let sequence = Sequence { seed: 1, faults: Faults::default(), events };
    if let Err(wrong) = sequence.run() {
        panic!("{wrong}");
    }
}

#[test]
fn policies_are_forgotten_also_when_nobody_heard_of_their_deletion() {
    ends_well(vec![
        Event::Create { slot: 0, label: 0, setting: 0 },
        Event::Policy { policy: 0, priority: 0, selects: 0, says: 0 },
        Event::Settle,
        Event::DefinitionGone { told: false },
        Event::Settle,
        Event::DefinitionBack,
        Event::Policy { policy: 0, priority: 0, selects: 0, says: 1 },
        Event::Settle,
    ]);
}

#[test]
fn a_copy_of_our_cronjob_goes_also_while_the_settings_are_refused() {
    ends_well(vec![
        Event::Create { slot: 0, label: 0, setting: 1 },
        Event::Settle,
        Event::Annotate { slot: 0, setting: 5 },
        Event::CopyCronJob { slot: 0 },
        Event::Settle,
    ]);
}

#[test]
fn a_cronjob_of_defrag_sh_gets_no_owner_that_has_gone() {
    ends_well(vec![
        Event::Create { slot: 0, label: 1, setting: 0 },
        Event::Pause { milliseconds: 1254 },
        Event::Annotate { slot: 0, setting: 3 },
        Event::Delete { slot: 0, orphan: true },
        Event::DeleteCronJob { slot: 0 },
        Event::Adoptable { slot: 0 },
        Event::Settle,
    ]);
}

/// The watch of CronJobs begins late here, and with a list that has neither seen the CronJob come nor go.
#[test]
fn a_cronjob_that_no_watch_saw_come_and_go_is_made_again() {
    let events = vec![
        Event::Create { slot: 1, label: 0, setting: 2 },
        Event::Pause { milliseconds: 557 },
        Event::ExpireVersions,
        Event::DeleteCronJob { slot: 1 },
        Event::Settle,
    ];
    let faults = Faults { requests: 3, slow: 1, watches: 10 };
    if let Err(wrong) = (Sequence { seed: 20_263_634, faults, events }).run() {
        panic!("{wrong}");
    }
}

/// Between what is read of a CronJob and what is written to it, somebody else may have taken its name.
#[test]
fn a_cronjob_that_changes_hands_at_any_moment_is_left_alone() {
    let ours = [Event::Create { slot: 0, label: 0, setting: 0 }, Event::Pause { milliseconds: 5000 }];
    let ends = |milliseconds: u64| {
        for last in [Event::EditCronJob { slot: 0, edit: 0 }, Event::Label { slot: 0, label: 2 }] {
            let theirs = [last, Event::Pause { milliseconds }, Event::Foreign { slot: 0, kind: 1 }, Event::Settle];
            let events = ours.iter().cloned().chain(theirs).collect();
            let sequence = Sequence { seed: milliseconds, faults: Faults::default(), events };
            if let Err(wrong) = sequence.run() {
                panic!("after {milliseconds} ms: {wrong}");
            }
        }
    };
    thread::scope(|scope| {
        for first in [0, 12] {
            scope.spawn(move || (first..first + 12).for_each(ends));
        }
    });
}

/// The same on a real control plane: `tests/e2e/policies_controller.rs`.
#[test]
fn a_hundred_changes_a_second_end_in_one_write() {
    // The second lasts for 5 s, and each of its changes is known to all before the next one.
    for (changes, pause) in [(100, 10), (25, 200)] {
        let writes = sequence::writes_after_changes(changes, Duration::from_millis(pause)).unwrap();
        assert_eq!(writes, ["the controller: PATCH cronjobs a/etcd-defrag-job"], "{changes} changes");
    }
}

/// A token asks once, and only where it became new while the CronJob was there.
#[test]
fn a_token_that_was_there_before_the_cronjob_starts_nothing() {
    let made = [Event::Create { slot: 0, label: 4, setting: 0 }, Event::DefragNow { slot: 0, token: 1 }];
    let enrolled = Event::Label { slot: 0, label: 0 };
    let ask = |token| Event::DefragNow { slot: 0, token };
    let lost = [Event::DeleteCronJob { slot: 0 }, Event::Settle];
    let with =
        |events: Vec<Event>| made.iter().cloned().chain([enrolled.clone(), Event::Settle]).chain(events).collect();
    let cases: [(&str, Vec<Event>, usize); 7] = [
        ("in the manifest", with(vec![]), 0),
        ("the same value again", with(vec![ask(1)]), 0),
        ("another value", with(vec![ask(2)]), 1),
        ("after a change of leaders", with(vec![Event::Kill { replica: 0 }, Event::Kill { replica: 1 }, ask(2)]), 1),
        ("the CronJob was lost", with(lost.to_vec()), 0),
        ("the CronJob was lost after a run", with([vec![ask(2), Event::Settle], lost.to_vec()].concat()), 1),
        ("the StatefulSet was made again", with(vec![ask(2), Event::Settle, Event::Recreate { slot: 0 }]), 1),
    ];
    for (case, events, runs) in cases {
        let jobs = sequence::jobs_after(&events).unwrap_or_else(|wrong| panic!("{case}: {wrong}"));
        assert_eq!(jobs.len(), runs, "{case}: {jobs:?}");
    }
}

#[test]
fn a_paused_fleet_runs_nothing_and_what_is_enrolled_meanwhile_neither() {
    let create = |slot| Event::Create { slot, label: 0, setting: 0 };
    let ask = Event::DefragNow { slot: 0, token: 7 };
    let mut events =
        vec![create(0), Event::Settle, Event::Halt { on: true }, Event::Settle, create(1), ask, Event::Settle];
    assert_eq!(sequence::jobs_after(&events).unwrap(), Vec::<String>::new());
    // Suspended by a person as well, it stays so.
    events.extend([Event::Suspend { slot: 1, suspension: 0 }, Event::Settle, Event::Halt { on: false }, Event::Settle]);
    assert_eq!(sequence::jobs_after(&events).unwrap().len(), 1, "the run that was asked for comes");
}

/// The message about the schedule quotes the next fire times, and somebody else's CronJob is looked at every five minutes.
#[test]
fn what_is_refused_is_published_once_however_often_it_is_looked_at() {
    ends_well(vec![
        Event::Create { slot: 0, label: 0, setting: 1 },
        Event::Foreign { slot: 0, kind: 2 },
        Event::Annotate { slot: 0, setting: 5 },
        Event::Settle,
    ]);
}

/// Until the policy became stricter everything was accepted, and what was accepted stays in force. The members are facts.
#[test]
fn members_are_followed_where_a_policy_became_stricter() {
    ends_well(vec![
        Event::Policy { policy: 0, priority: 0, selects: 0, says: 0 },
        Event::Create { slot: 0, label: 0, setting: 0 },
        Event::Scale { slot: 0, members: 1 },
        Event::Settle,
        Event::Policy { policy: 0, priority: 0, selects: 0, says: 5 },
        Event::Settle,
        Event::Scale { slot: 0, members: 0 },
        Event::Settle,
    ]);
}

#[test]
fn an_emergency_stop_suspends_also_while_the_schedule_is_refused() {
    ends_well(vec![
        Event::Create { slot: 0, label: 0, setting: 1 },
        Event::Settle,
        Event::Annotate { slot: 0, setting: 5 },
        Event::Settle,
        Event::Suspend { slot: 0, suspension: 0 },
        Event::Settle,
    ]);
}

#[test]
fn no_members_suspend_also_while_the_schedule_is_refused() {
    ends_well(vec![
        Event::Create { slot: 0, label: 0, setting: 1 },
        Event::Settle,
        Event::Annotate { slot: 0, setting: 5 },
        Event::Settle,
        Event::Scale { slot: 0, members: 2 },
        Event::Settle,
        Event::Scale { slot: 0, members: 0 },
        Event::Settle,
    ]);
}

#[test]
fn quota_and_members_are_followed_where_they_made_a_rule_wrong() {
    ends_well(vec![
        Event::Create { slot: 0, label: 0, setting: 8 },
        Event::Settle,
        Event::Quota { slot: 0, quota: 1 },
        Event::Scale { slot: 0, members: 1 },
        Event::Settle,
    ]);
}

/// What was good under another policy gives way: the governing one's schedule where it may run, else the usual one, else none.
#[test]
fn another_policy_brings_its_own_settings_where_those_that_stand_are_refused() {
    for says in [5, 7, 9] {
        ends_well(vec![
            Event::Policy { policy: 0, priority: 0, selects: 0, says: 1 },
            Event::Create { slot: 0, label: 0, setting: 4 },
            Event::Settle,
            Event::Policy { policy: 1, priority: 1, selects: 0, says },
            Event::Scale { slot: 0, members: 1 },
            Event::Settle,
            Event::DeletePolicy { policy: 1 },
            Event::Settle,
        ]);
    }
}

#[test]
fn the_certificates_of_an_etcd_with_refused_settings_are_followed_as_far_as_they_can_be_told() {
    for secret in [1, 2] {
        ends_well(vec![
            Event::Create { slot: 0, label: 0, setting: 1 },
            Event::Settle,
            Event::Annotate { slot: 0, setting: 6 },
            Event::Secret { slot: 0, secret },
            Event::Scale { slot: 0, members: 1 },
            Event::Settle,
            Event::Scale { slot: 0, members: 2 },
            Event::Settle,
        ]);
    }
}

/// A schedule that runs every minute was never accepted, whatever somebody writes on the CronJob.
#[test]
fn what_is_forged_does_not_come_in_force() {
    for forgery in 0..4 {
        ends_well(vec![
            Event::Create { slot: 0, label: 0, setting: 1 },
            Event::Settle,
            Event::Annotate { slot: 0, setting: 5 },
            Event::Settle,
            Event::Forge { slot: 0, forgery },
            Event::Scale { slot: 0, members: 1 },
            Event::Settle,
        ]);
    }
}

/// An etcd leaves a policy that selects by a label, takes a schedule along that is outside of its windows, and comes back.
#[test]
fn what_was_good_under_another_policy_is_not_kept() {
    for between in [vec![], vec![Event::Settle], vec![Event::Scale { slot: 0, members: 1 }, Event::Settle]] {
        let begin = vec![
            Event::Policy { policy: 0, priority: 1, selects: 2, says: 7 },
            Event::Create { slot: 0, label: 1, setting: 1 },
            Event::Settle,
            Event::Label { slot: 0, label: 0 },
            Event::Annotate { slot: 0, setting: 4 },
        ];
        let end = [
            Event::Label { slot: 0, label: 1 },
            Event::Settle,
            Event::Scale { slot: 0, members: 0 },
            Event::Settle,
            Event::Label { slot: 0, label: 0 },
            Event::Label { slot: 0, label: 1 },
            Event::Settle,
        ];
        ends_well(begin.into_iter().chain(between).chain(end).collect());
    }
}
