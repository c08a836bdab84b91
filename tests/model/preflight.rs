//! A paused fleet is not tried before its first run. What a preflight is and finds: `tests/e2e/preflight.rs`.

use serde_json::json;

use super::{
    events::{self, Event},
    orphans::{MINUTE, SLOT, happen, on_paused_clock, pause},
    sequence::Run,
    server::Faults,
    store::JOBS,
};

/// Says how many members are ready.
fn ready(run: &Run, members: u64) {
    run.server.with(|state| {
        let change = |object: &mut serde_json::Value| object["status"] = json!({"readyReplicas": members});
        state.store.update(&events::statefulset(SLOT), "kube-controller-manager", change).unwrap();
    });
}

fn preflights(run: &Run) -> usize {
    run.server.state().store.of(JOBS).count()
}

/// Requests take up to 45 s, so that the CronJob is not suspended for a while.
#[test]
fn a_paused_fleet_is_not_tried_however_long_it_takes_to_suspend_it() {
    for seed in 0..12 {
        on_paused_clock(async {
            let mut run = Run::with_preflights(seed);
            happen(&mut run, &[Event::Create { slot: SLOT, label: 0, setting: 1 }]).await;
            ready(&run, 0);
            happen(&mut run, &[pause(20_000)]).await;
            assert_eq!(preflights(&run), 0, "no member is ready");
            run.server.state().faults = Faults { slow: 50, ..Faults::default() };
            happen(&mut run, &[Event::Halt { on: true }]).await;
            ready(&run, 3);
            happen(&mut run, &[pause(3 * MINUTE)]).await;
            run.server.state().faults = Faults::default();
            happen(&mut run, &[pause(3 * MINUTE)]).await;
            assert_eq!(preflights(&run), 0, "seed {seed}: one began while the fleet is paused");
            happen(&mut run, &[Event::Halt { on: false }, pause(3 * MINUTE)]).await;
            assert!(preflights(&run) > 0, "seed {seed}: the end of the pause has it tried");
        });
    }
}
