//! After a deletion with `--cascade=orphan` the CronJob stays for ten minutes. The same on a real control plane, whose garbage
//! collector orphans it: `tests/e2e/orphans.rs`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    events::{self, Event},
    objects::{MARKS, ORPHANED_SINCE},
    sequence::Run,
    server::{Faults, KEPT},
};

pub(crate) const SLOT: usize = 0;
pub(crate) const MINUTE: u64 = 60_000;

/// Runs on a clock that stands still but where everybody waits.
pub(crate) fn on_paused_clock<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(test)
}

/// An etcd with its CronJob.
pub(crate) async fn enrolled(seed: u64) -> Run {
    let mut run = Run::start(seed, Faults::default());
    happen(&mut run, &[Event::Create { slot: SLOT, label: 0, setting: 1 }, pause(5000)]).await;
    run
}

pub(crate) async fn happen(run: &mut Run, events: &[Event]) {
    for event in events {
        if let Err(wrong) = run.happen(event).await {
            panic!("{event:?}: {wrong}");
        }
    }
}

/// Its CronJob now.
pub(crate) fn cronjob(run: &Run) -> Option<Value> {
    run.server.state().store.get(&events::cronjob(SLOT)).cloned()
}

/// Since when it says to be orphaned.
fn since(run: &Run) -> Option<Timestamp> {
    cronjob(run)?["metadata"]["annotations"][ORPHANED_SINCE].as_str()?.parse().ok()
}

pub(crate) fn pause(milliseconds: u64) -> Event {
    Event::Pause { milliseconds }
}

const DELETE: Event = Event::Delete { slot: SLOT, orphan: true };

/// Waits until the CronJob is gone; how long that took.
async fn gone(run: &mut Run) -> Duration {
    let begun = Instant::now();
    while cronjob(run).is_some() {
        assert!(begun.elapsed() < Duration::from_hours(1), "it stays for ever");
        happen(run, &[pause(500)]).await;
    }
    begun.elapsed()
}

#[test]
fn an_orphan_goes_on_for_ten_minutes_whoever_leads() {
    on_paused_clock(async {
        let mut run = enrolled(1).await;
        let before = cronjob(&run).unwrap();
        happen(&mut run, &[DELETE]).await;
        let deleted = Instant::now();
        happen(&mut run, &[pause(2000)]).await;
        let marked = since(&run).expect("a mark within two seconds");

        // Neither the leader that marked it nor the one after that is there at the end.
        happen(&mut run, &[Event::Kill { replica: 0 }, Event::Kill { replica: 1 }, pause(4 * MINUTE)]).await;
        happen(&mut run, &[Event::Restart { replica: 0 }, Event::Restart { replica: 1 }, pause(5 * MINUTE)]).await;
        let now = cronjob(&run).expect("the CronJob, after nine minutes");
        assert_eq!((&now["spec"], &now["metadata"]["uid"]), (&before["spec"], &before["metadata"]["uid"]));
        assert_eq!(since(&run), Some(marked), "another leader counts from the same time");

        gone(&mut run).await;
        let took = deleted.elapsed();
        assert!(took >= Duration::from_secs(599) && took < Duration::from_secs(610), "{took:?}");
    });
}

#[test]
fn an_orphan_whose_time_is_over_while_nobody_leads_goes_with_the_next_leader() {
    on_paused_clock(async {
        let mut run = enrolled(2).await;
        happen(&mut run, &[DELETE, pause(9 * MINUTE)]).await;
        let cut_off = |replica| Event::CutOff { replica, seconds: 20 * 60 };
        happen(&mut run, &[cut_off(0), cut_off(1), pause(5 * MINUTE)]).await;
        assert!(cronjob(&run).is_some(), "nobody leads, and nobody deletes");
        happen(&mut run, &[Event::Kill { replica: 0 }, Event::Kill { replica: 1 }]).await;
        let took = gone(&mut run).await;
        assert!(took < Duration::from_mins(1), "{took:?}");
    });
}

#[test]
fn a_statefulset_that_comes_back_takes_its_cronjob_over_with_what_was_in_force() {
    // The same settings again, and a schedule that is refused.
    for (setting, minutes) in [(1, 0), (1, 9), (5, 5)] {
        on_paused_clock(async {
            let mut run = enrolled(3).await;
            let before = cronjob(&run).unwrap();
            happen(&mut run, &[DELETE, pause(minutes * MINUTE)]).await;
            happen(&mut run, &[Event::Create { slot: SLOT, label: 0, setting }, pause(2000)]).await;
            let now = cronjob(&run).expect("the CronJob");
            assert_eq!(now["metadata"]["uid"], before["metadata"]["uid"], "taken over, not made again");
            assert_eq!(now["spec"], before["spec"]);
            // That it has the new owner and no mark, and that it stays, the model says.
            happen(&mut run, &[Event::Settle, pause(11 * MINUTE)]).await;
            assert_eq!(
                cronjob(&run).map(|live| live["metadata"]["uid"].clone()),
                Some(before["metadata"]["uid"].clone())
            );
        });
    }
}

/// One that opts out is seen at once, one without our label when the time is over.
#[test]
fn a_statefulset_that_comes_back_without_being_enrolled_has_none() {
    for (label, most) in [(2, 10), (4, 610)] {
        on_paused_clock(async {
            let mut run = enrolled(4).await;
            happen(&mut run, &[DELETE, pause(MINUTE), Event::Create { slot: SLOT, label, setting: 1 }]).await;
            let took = gone(&mut run).await;
            assert!(took < Duration::from_secs(most), "{took:?}");
        });
    }
}

/// The owner reference that the garbage collector took off is not put back by a look that began before.
#[test]
fn no_look_under_way_hands_an_orphan_to_the_garbage_collector() {
    for milliseconds in 0..24 {
        for last in [Event::EditCronJob { slot: SLOT, edit: 0 }, Event::Annotate { slot: SLOT, setting: 2 }] {
            on_paused_clock(async {
                let mut run = enrolled(milliseconds).await;
                let before = cronjob(&run).unwrap();
                happen(&mut run, &[last, pause(milliseconds), DELETE, pause(MINUTE)]).await;
                let now = cronjob(&run).unwrap_or_else(|| panic!("gone, {milliseconds} ms after the last change"));
                assert_eq!(now["metadata"]["uid"], before["metadata"]["uid"]);
                assert!(since(&run).is_some(), "{now}");
            });
        }
    }
}

#[test]
fn with_every_other_deletion_it_goes_at_once() {
    on_paused_clock(async {
        let mut run = enrolled(5).await;
        let told = run.server.state().told.len();
        happen(&mut run, &[Event::Delete { slot: SLOT, orphan: false }]).await;
        let took = gone(&mut run).await;
        assert!(took < Duration::from_secs(10), "{took:?}");
        let state = run.server.state();
        let marked = state.told[told..].iter().find(|write| write.contains("PATCH cronjobs"));
        assert_eq!(marked, None, "it was taken for an orphan");
    });
}

#[test]
fn a_forged_mark_gains_nothing() {
    let edit = |edit| Event::EditCronJob { slot: SLOT, edit };
    let [aged, future, rubbish] = MARKS.map(edit);
    on_paused_clock(async {
        // On the CronJob of a StatefulSet that is there it is removed.
        let mut run = enrolled(6).await;
        for mark in [&aged, &future, &rubbish] {
            happen(&mut run, &[mark.clone(), Event::Settle]).await;
        }
        // On an orphan, one that is no time that could be counts from when it is seen.
        for mark in [&future, &rubbish] {
            happen(&mut run, &[DELETE, pause(5 * MINUTE), mark.clone()]).await;
            let took = gone(&mut run).await.as_secs();
            assert!((KEPT.cast_unsigned() - 1..KEPT.cast_unsigned() + 10).contains(&took), "{took} s");
            happen(&mut run, &[Event::Create { slot: SLOT, label: 0, setting: 1 }, Event::Settle]).await;
        }
        // One from long ago ends it, which whoever may write it could do with less.
        happen(&mut run, &[DELETE, pause(MINUTE), aged]).await;
        let took = gone(&mut run).await;
        assert!(took < Duration::from_secs(10), "{took:?}");
    });
}
