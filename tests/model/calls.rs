//! How much is asked of the API server: one call where one is enough, and none that nothing follows from.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    events::{self, Event},
    objects::{self, MANAGER},
    orphans::{SLOT, on_paused_clock},
    sequence::Run,
    server::Faults,
    store::{CRONJOBS, Class, NAMESPACES, STATEFULSETS, key},
};

/// Lets events happen and come to rest; every write and every question about one object meanwhile, the Lease apart.
async fn calls(run: &mut Run, events: &[Event]) -> Vec<String> {
    let (told, asked) = run.server.with(|state| (state.told.len(), state.asked.len()));
    for event in events.iter().chain([&Event::Settle]) {
        run.happen(event).await.unwrap_or_else(|wrong| panic!("{event:?}: {wrong}"));
    }
    let state = run.server.state();
    state.told[told..].iter().chain(&state.asked[asked..]).cloned().collect()
}

#[test]
fn a_cronjob_is_created_changed_and_removed_with_one_write_each() {
    on_paused_clock(async {
        let mut run = Run::start(1, Faults::default());
        let write = |method: &str| format!("the controller: {method} cronjobs a/etcd-defrag-job");
        assert_eq!(calls(&mut run, &[]).await, [] as [&str; 0], "nothing to do");
        let create = Event::Create { slot: SLOT, label: 0, setting: 0 };
        assert_eq!(calls(&mut run, &[create]).await, [write("POST")]);
        // The first change is applied over what was created, and the second one over what was applied.
        for setting in [1, 2] {
            assert_eq!(calls(&mut run, &[Event::Annotate { slot: SLOT, setting }]).await, [write("PATCH")]);
        }
        assert_eq!(calls(&mut run, &[Event::Scale { slot: SLOT, members: 1 }]).await, [write("PATCH")]);
        // Before something is deleted it is asked for.
        let removed = calls(&mut run, &[Event::Label { slot: SLOT, label: 2 }]).await;
        assert_eq!(removed.iter().filter(|call| call.contains("DELETE")).count(), 1, "{removed:?}");
    });
}

/// Whoever leads next does not know what was asked for before, and looks before it writes.
#[test]
fn a_new_leader_takes_nothing_on_the_word_of_a_cache() {
    on_paused_clock(async {
        let mut run = Run::start(2, Faults::default());
        calls(&mut run, &[Event::Create { slot: SLOT, label: 0, setting: 0 }]).await;
        let killed =
            [Event::Kill { replica: 0 }, Event::Kill { replica: 1 }, Event::Annotate { slot: SLOT, setting: 1 }];
        let made = calls(&mut run, &killed).await;
        let of_cronjobs: Vec<_> = made.iter().filter(|call| call.contains(" cronjobs ")).map(String::as_str).collect();
        let expected =
            ["the controller: PATCH cronjobs a/etcd-defrag-job", "the controller: GET cronjobs a/etcd-defrag-job"];
        assert_eq!(of_cronjobs, expected, "{made:?}");
    });
}

/// What is created is kept under our name as an update, which an application does not take away.
#[test]
fn what_we_created_and_do_not_ask_for_any_more_goes_with_a_change() {
    on_paused_clock(async {
        let mut run = Run::start(3, Faults::default());
        calls(
            &mut run,
            &[
                Event::Create { slot: SLOT, label: 0, setting: 0 },
                Event::Settle,
                Event::Annotate { slot: SLOT, setting: 1 },
            ],
        )
        .await;
        // As an earlier version created it; and what is noted on a CronJob in the same way.
        run.server.with(|state| {
            let earlier = |object: &mut serde_json::Value| {
                object["metadata"]["labels"]["etcd-defrag.io/old"] = json!("1");
                object["metadata"]["annotations"]["etcd-defrag.io/old"] = json!("1");
                object["metadata"]["annotations"]["etcd-defrag.io/last-on-demand"] = json!("kept");
            };
            state.store.update(&events::cronjob(SLOT), MANAGER, earlier).unwrap();
            let theirs = |object: &mut serde_json::Value| object["metadata"]["labels"]["theirs"] = json!("1");
            state.store.update(&events::cronjob(SLOT), "kubectl-label", theirs).unwrap();
        });
        let made = calls(&mut run, &[Event::Annotate { slot: SLOT, setting: 2 }]).await;
        let state = run.server.state();
        let meta = &state.store.get(&events::cronjob(SLOT)).unwrap()["metadata"];
        assert!(
            meta["labels"]["etcd-defrag.io/old"].is_null() && meta["annotations"]["etcd-defrag.io/old"].is_null(),
            "{meta:#}"
        );
        assert_eq!(meta["annotations"]["etcd-defrag.io/last-on-demand"], "kept");
        assert_eq!(meta["labels"]["theirs"], "1");
        let writes = made.iter().filter(|call| call.contains("PATCH cronjobs")).count();
        assert_eq!(writes, 2, "one that applies, one that takes away: {made:?}");
    });
}

/// Somebody else's CronJob of that name, which no cache shows yet, is looked at and left alone.
#[test]
fn one_that_appears_just_before_ours_is_created_stays_as_it_is() {
    for milliseconds in (0..24).step_by(2) {
        on_paused_clock(async {
            let mut run = Run::start(milliseconds, Faults::default());
            run.happen(&Event::Pause { milliseconds: 30_000 }).await.unwrap();
            let create = Event::Create { slot: SLOT, label: 0, setting: 0 };
            let events = [create, Event::Pause { milliseconds }, Event::Foreign { slot: SLOT, kind: 1 }];
            // That nothing was written to it, the model says.
            calls(&mut run, &events).await;
        });
    }
}

#[test]
fn the_first_statefulset_of_a_new_namespace_is_as_quick_as_the_next() {
    on_paused_clock(async {
        let mut run = Run::start(4, Faults::default());
        calls(&mut run, &[]).await;
        let mut took = Vec::new();
        for (name, is_new) in [("new", true), ("next", false)] {
            let begun = Instant::now();
            run.server.with(|state| {
                if is_new {
                    let object = json!({"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}}});
                    state.store.create(&key(NAMESPACES, "", "n"), object, "kubectl", Class::Plain).unwrap();
                }
                let mut object = objects::object(SLOT, 0, 0);
                object["metadata"]["namespace"] = json!("n");
                object["metadata"]["name"] = json!(name);
                state.store.create(&key(STATEFULSETS, "n", name), object, "kubectl", Class::Plain).unwrap();
            });
            let made = key(CRONJOBS, "n", &format!("{name}-defrag-job"));
            while run.server.state().store.get(&made).is_none() {
                assert!(begun.elapsed() < Duration::from_mins(1), "{name} has no CronJob");
                sleep(Duration::from_millis(1)).await;
            }
            took.push(begun.elapsed());
            sleep(Duration::from_secs(10)).await;
        }
        // Each request takes up to 20 ms here.
        assert!(took[0] <= took[1] + Duration::from_millis(40), "{took:?}");
    });
}

/// Every answer that a kind is unknown is one line in the log of the API server.
#[test]
fn a_definition_that_is_not_installed_is_asked_for_less_and_less_often() {
    on_paused_clock(async {
        let run = Run::start(5, Faults::default());
        run.server.with(|state| {
            state.no_policies = true;
            state.broken += 1;
        });
        let asked = |run: &Run| run.server.state().unknown;
        sleep(Duration::from_mins(2)).await;
        let before = asked(&run);
        sleep(Duration::from_mins(10)).await;
        let times = asked(&run) - before;
        // Two replicas, four times a minute.
        assert!((60..=84).contains(&times), "{times}");
    });
}
