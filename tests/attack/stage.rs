//! Where attacks happen, and the table of what they did.

use std::{fs, thread::sleep, time::Duration};

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::{
    RATIO, crowd,
    installation::{Installation, NAME, NAMESPACE},
    pod::{Attacker, Crowd},
    tenant::{Tenant, clear},
    victim::{Seen, Victim},
};

/// How long the API server may take to see that a configuration is there or not.
const NOTICED: Duration = Duration::from_secs(3);

/// What writes may take more than usual, so that the next ones count as calm.
const ROOM: u32 = 3;

pub(crate) struct Stage<'a> {
    installation: &'a Installation<'a>,
    runtime: Runtime,
    victim: Victim,
    lasts: Duration,
    usual: Duration,
    restarts: u64,
    limit: u64,
    wrong: Vec<String>,
}

/// What an attack did.
struct Effect {
    seen: Seen,
    /// The most resident memory of a replica, in MiB.
    peak: u64,
    recovered: Duration,
}

impl<'a> Stage<'a> {
    pub(crate) fn set(installation: &'a Installation<'a>, lasts: Duration) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let victim = Victim::start(installation.node, &runtime);
        let mut stage = Self {
            installation,
            runtime,
            victim,
            lasts,
            usual: Duration::MAX,
            restarts: 0,
            limit: crowd::limit(),
            wrong: Vec::new(),
        };
        stage.restarts = stage.restarts();
        println!(
            "{:<44} {:>6} {:>8} {:>8} {:>9} {:>6} {:>9} {:>8} {:>10}",
            "", "writes", "refused", "p50", "p99", "ratio", "peak", "restarts", "recovered"
        );
        let calm = stage.runtime.block_on(stage.victim.writes(lasts));
        stage.usual = calm.percentile(99) * ROOM;
        assert!(calm.refused.is_empty(), "refused while nothing happens: {:?}", calm.refused);
        let peak = stage.peak();
        stage.print("nothing", &Effect { seen: calm, peak, recovered: Duration::ZERO }, None);
        stage
    }

    /// Where clients have to be made that are used here.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// What a tenant does, with our configurations and without.
    pub(crate) fn tenant(&mut self, attack: &Tenant) {
        let configurations = self.remove();
        // What would be refused has slipped past us.
        attack.prepare(self.installation.node);
        let without = self.under(|stage| attack.begin(&stage.runtime));
        self.restore(&configurations);
        let with = self.under(|stage| attack.begin(&stage.runtime));
        clear(self.installation.node);
        let (own, bare) = (with.seen.percentile(99), without.seen.percentile(99));
        let ratio = own.as_secs_f64() / bare.as_secs_f64();
        self.print(attack.name, &with, Some(ratio));
        self.print("  without our configurations", &without, None);
        self.judge(attack.name, &with, 0.0);
        if ratio > RATIO {
            self.wrong.push(format!("{}: p99 {own:?} with us and {bare:?} without: {ratio:.2}", attack.name));
        }
    }

    /// What a pod does that reaches the port; `refused` is the share of writes that may be.
    pub(crate) fn pod(&mut self, pod: &Attacker, attack: Crowd, refused: f64) {
        let replicas = self.installation.replicas();
        let effect = self.under(|_| pod.begin(attack, &replicas));
        self.print(attack.name, &effect, None);
        self.judge(attack.name, &effect, refused);
    }

    fn under<T>(&self, begin: impl FnOnce(&Self) -> T) -> Effect {
        for process in self.processes() {
            // Forgets the peak so far.
            fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
        }
        let attack = begin(self);
        let seen = self.runtime.block_on(self.victim.writes(self.lasts));
        drop(attack);
        let recovered = self.runtime.block_on(self.victim.recovers(self.usual));
        Effect { seen, peak: self.peak(), recovered }
    }

    fn judge(&mut self, name: &str, effect: &Effect, allowed: f64) {
        let (refused, writes) = (effect.seen.refused.len(), effect.seen.writes());
        #[allow(clippy::cast_precision_loss, reason = "a share of some hundreds")]
        let share = refused as f64 / writes as f64;
        if share > allowed {
            self.wrong.push(format!("{name}: {refused} of {writes} writes refused: {:?}", effect.seen.refused.first()));
        }
        let restarts = self.restarts();
        if restarts > self.restarts {
            self.wrong.push(format!("{name}: {} restarts of replicas", restarts - self.restarts));
            self.restarts = restarts;
            self.installation.settled();
        }
        if effect.peak >= self.limit {
            self.wrong.push(format!("{name}: a replica took {} MiB of {} MiB", effect.peak, self.limit));
        }
    }

    fn print(&self, name: &str, effect: &Effect, ratio: Option<f64>) {
        println!(
            "{name:<44} {:>6} {:>8} {:>5} ms {:>6} ms {:>6} {:>5} MiB {:>8} {:>8.1} s",
            effect.seen.writes(),
            effect.seen.refused.len(),
            effect.seen.percentile(50).as_millis(),
            effect.seen.percentile(99).as_millis(),
            ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
            effect.peak,
            self.restarts() - self.restarts,
            effect.recovered.as_secs_f64(),
        );
        if let Some(refused) = effect.seen.refused.first() {
            println!("    {refused}");
        }
    }

    /// Takes our configurations away; returns them.
    fn remove(&self) -> Vec<Value> {
        let kinds = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];
        let node = self.installation.node;
        let removed = kinds.map(|kind| {
            let mut object = node.get(&[kind, NAME]).unwrap();
            for field in ["resourceVersion", "uid", "creationTimestamp", "managedFields"] {
                object["metadata"].as_object_mut().unwrap().remove(field);
            }
            node.kubectl_ok(&["delete", kind, NAME]);
            object
        });
        sleep(NOTICED);
        removed.into()
    }

    fn restore(&self, configurations: &[Value]) {
        for object in configurations {
            let made = self.installation.node.kubectl_stdin(["create", "-f", "-"], &object.to_string());
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        sleep(NOTICED);
    }

    /// The processes of the replicas.
    fn processes(&self) -> Vec<u32> {
        self.installation.replicas().iter().map(|replica| self.installation.process(&replica.name).pid).collect()
    }

    fn peak(&self) -> u64 {
        self.processes().into_iter().map(crowd::peak).max().unwrap_or_default()
    }

    /// How often containers of the replicas were started again.
    fn restarts(&self) -> u64 {
        let selector = format!("app.kubernetes.io/name={NAME}");
        let pods = self.installation.node.get(&["-n", NAMESPACE, "pods", "-l", &selector]).unwrap();
        let counts = pods["items"].as_array().unwrap().iter();
        counts.map(|pod| pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or_default()).sum()
    }

    pub(crate) fn end(self) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
    }
}
