//! The same events and the same promises on a real control plane, with two processes of the real binary. Sequences are
//! fewer and shorter than on the API server in memory, for here a minute takes a minute.
//!
//! No controller of StatefulSets runs, and no kubelet, so that the sequence says which members are ready and how runs end.
//! The webhooks are not registered: what they would refuse has to be coped with.
//!
//! `MODEL_REAL_SEQUENCES` says how many sequences are run, and `MODEL_SEED` repeats those from that seed on.

mod cluster;

use std::time::{Duration, Instant};

use etcd_defrag_webhook::defrag::policy;
use tokio::time::sleep;

use self::cluster::{Cluster, Hitch};
use crate::{
    events::{self, Event},
    expected,
    objects::{MARKS, ORPHANED_SINCE},
    oracle::Oracle,
    server::State,
    setting,
    store::{NAMESPACES, POLICIES},
};
use harness::random::Random;
use harness::{API_SERVER, CONTROLLER_MANAGER, ControlPlane, SLOWER, Serve, ServeOptions};

const LENGTH: usize = 60;
/// Two terms of the Lease and the longest pause between attempts.
const LATEST: Duration = Duration::from_mins(2);
const QUIET: Duration = Duration::from_secs(5);

#[tokio::test]
async fn whatever_happens_on_a_real_control_plane_ends_as_the_model_says() {
    let sequences = setting("MODEL_REAL_SEQUENCES").unwrap_or(1);
    let first = setting("MODEL_SEED").unwrap_or(1);
    println!("MODEL_SEED={first} MODEL_REAL_SEQUENCES={sequences}");
    let mut run = Run::start().await;
    for seed in first..first + sequences {
        let mut random = Random::seeded(seed);
        let mut all: Vec<Event> = vec![Event::DefinitionBack];
        all.extend((0..events::SLOTS.len()).map(|slot| Event::Create { slot, label: 0, setting: random.below(4) }));
        all.extend((0..LENGTH).map(|_| events::random(&mut random)));
        all.push(Event::Settle);
        for (step, event) in all.iter().enumerate() {
            if let Err(wrong) = run.happen(event).await {
                panic!("seed {seed}, event {step} of {all:#?}: {wrong}");
            }
        }
        run.clean().await;
    }
    println!(
        "{sequences} sequences, {} events, {} of them refused by the API server, {} tried again, {} writes by the \
         controller, {} restarts",
        run.events,
        run.refused,
        run.again,
        run.plane.audit().writes().by_agent("etcd-defrag-webhook").count(|event| event.resource != "leases"),
        run.started
    );
}

/// One process of the controller, and until when it hangs.
struct Replica {
    serve: Serve,
    hangs: Option<Instant>,
}

struct Run {
    // Dropped first: they must not outlive their API server.
    replicas: Vec<Replica>,
    plane: ControlPlane,
    cluster: Cluster,
    oracle: Oracle,
    started: usize,
    events: usize,
    refused: usize,
    again: usize,
}

impl Run {
    async fn start() -> Self {
        let plane = ControlPlane::start_with(&[(CONTROLLER_MANAGER, "--controllers=*,-statefulset-controller")]);
        let cluster = Cluster::new(plane.kubeconfig()).await;
        let mut run = Self {
            replicas: Vec::new(),
            plane,
            cluster,
            oracle: Oracle::default(),
            started: 0,
            events: 0,
            refused: 0,
            again: 0,
        };
        let mut begin = State::new(0);
        events::begin(&mut begin);
        for change in &begin.store.log {
            assert!(run.cluster.carry_out(change).await.is_ok(), "{:?} is refused", change.key);
        }
        for _ in 0..2 {
            let replica = run.another();
            run.replicas.push(replica);
        }
        run
    }

    fn another(&mut self) -> Replica {
        self.started += 1;
        let options = ServeOptions { identity: Some(format!("replica-{}", self.started)), ..ServeOptions::default() };
        Replica { serve: Serve::start_with(&self.plane, &options), hangs: None }
    }

    fn wake(&mut self, now: Instant) {
        for replica in &mut self.replicas {
            if replica.hangs.take_if(|until| *until <= now).is_some() {
                replica.serve.signal("CONT");
            }
        }
    }

    async fn happen(&mut self, event: &Event) -> Result<(), String> {
        self.events += 1;
        self.wake(Instant::now());
        match *event {
            Event::Restart { replica } => {
                let new = self.another();
                let old = std::mem::replace(&mut self.replicas[replica], new);
                old.serve.signal("CONT");
                assert!(old.serve.stop(), "a replica did not end well after SIGTERM");
            }
            Event::Kill { replica } => {
                let new = self.another();
                drop(std::mem::replace(&mut self.replicas[replica], new));
            }
            Event::CutOff { replica, seconds } => {
                self.replicas[replica].serve.signal("STOP");
                self.replicas[replica].hangs = Some(Instant::now() + Duration::from_secs(seconds));
            }
            Event::BreakWatches | Event::ExpireVersions => self.plane.component(API_SERVER).restart(),
            Event::Pause { milliseconds } => sleep(Duration::from_millis(milliseconds.min(1000))).await,
            Event::Settle => return self.settle().await,
            _ => self.change(event).await?,
        }
        Ok(())
    }

    /// Makes an event of objects happen, anew where somebody was quicker.
    async fn change(&mut self, event: &Event) -> Result<(), String> {
        for _ in 0..50 {
            let mut state = self.cluster.look().await;
            self.oracle.see(&state);
            if let Some(violation) = state.violations.first() {
                return Err(violation.clone());
            }
            let result = if let Event::Delete { slot, orphan: true } = *event {
                let at = events::statefulset(slot);
                match state.store.get(&at) {
                    Some(live) => self.cluster.delete(&at, live, "Orphan").await,
                    None => Ok(()),
                }
            } else {
                events::happen(event, &mut state);
                self.define(state.no_policies).await;
                self.carry_out(&state).await
            };
            match result {
                Ok(()) => {
                    self.oracle.happened(event, &state);
                    return Ok(());
                }
                Err(Hitch::Refused(words)) => {
                    println!("{event:?}: {words}");
                    self.refused += 1;
                    return Ok(());
                }
                Err(Hitch::Conflict) => self.again += 1,
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(format!("{event:?} was forestalled fifty times"))
    }

    async fn carry_out(&mut self, state: &State) -> Result<(), Hitch> {
        for change in &state.store.log {
            if change.key.resource != POLICIES || !self.cluster.no_policies {
                self.cluster.carry_out(change).await?;
            }
        }
        Ok(())
    }

    /// Installs the definition of policies, or removes it with all of them.
    async fn define(&mut self, absent: bool) {
        if self.cluster.no_policies == absent {
            return;
        }
        let definition = "defragpolicies.etcd-defrag.io";
        if absent {
            self.plane.kubectl_ok(&["delete", "crd", definition]);
        } else {
            self.plane.apply(&serde_json::to_string(&policy::crd()).unwrap());
            self.plane.wait_established(definition);
        }
        while self.cluster.knows_policies().await == absent {
            sleep(Duration::from_millis(50)).await;
        }
        self.cluster.no_policies = absent;
    }

    async fn settle(&mut self) -> Result<(), String> {
        self.wake(Instant::now() + LATEST);
        let begun = Instant::now();
        loop {
            self.change(&Event::FinishJobs { failed: false }).await?;
            self.age_orphans().await?;
            let state = self.cluster.look().await;
            let wrong = self.wrong(&state);
            if wrong.is_empty() {
                break;
            }
            if begun.elapsed() > SLOWER * LATEST {
                return Err(wrong.join("\n    "));
            }
            sleep(Duration::from_millis(250)).await;
        }
        // What is right may be on its way to something else.
        sleep(QUIET).await;
        let mark = self.plane.audit_mark();
        sleep(QUIET).await;
        let writes = self.plane.audit_since(mark).writes().by_agent("etcd-defrag-webhook");
        if let Some(write) = writes.iter().find(|event| event.resource != "leases") {
            return Err(format!("no rest: {} {} {}/{}", write.verb, write.resource, write.namespace, write.name));
        }
        let state = self.cluster.look().await;
        let wrong = self.wrong(&state);
        self.oracle.rests(&state);
        if !wrong.is_empty() {
            return Err(format!("later: {}", wrong.join("\n    ")));
        }
        if let Some(replica) = self.replicas.iter().find(|replica| replica.serve.readyz().is_none()) {
            return Err(format!("a replica ended by itself:\n{}", replica.serve.log()));
        }
        Ok(())
    }

    /// Makes the ten minutes pass for which a CronJob stays that was orphaned.
    async fn age_orphans(&mut self) -> Result<(), String> {
        let state = self.cluster.look().await;
        for slot in 0..events::SLOTS.len() {
            let marked = state
                .store
                .get(&events::cronjob(slot))
                .is_some_and(|live| !live["metadata"]["annotations"][ORPHANED_SINCE].is_null());
            if marked && state.store.get(&events::statefulset(slot)).is_none() {
                self.change(&Event::EditCronJob { slot, edit: MARKS[0] }).await?;
            }
        }
        Ok(())
    }

    /// What is not as it should be.
    fn wrong(&mut self, state: &State) -> Vec<String> {
        self.oracle.see(state);
        expected::wrong(&self.oracle, state)
    }

    /// Removes what a sequence left.
    async fn clean(&mut self) {
        while {
            let state = self.cluster.look().await;
            let mut left = false;
            for (at, stored) in state.store.objects.iter().filter(|(at, _)| at.resource != NAMESPACES) {
                left = true;
                let _ = self.cluster.delete(at, &stored.object, "Background").await;
            }
            left
        } {
            sleep(Duration::from_millis(100)).await;
        }
    }
}
