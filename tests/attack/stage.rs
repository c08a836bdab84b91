//! Where attacks happen, and the table of what they did.

use std::{collections::BTreeMap, fs, thread::sleep, time::Duration};

use tokio::runtime::{Builder, Runtime};

use crate::{
    allow_all::AllowAll,
    configurations::{Called, Configurations},
    crowd,
    installation::{Installation, NAME, NAMESPACE},
    pod::{Attacker, Crowd},
    tenant::{Tenant, clear},
    verdict::Verdict,
    victim::{Seen, Victim},
};

/// Under whom a tenant attacks, each for half the time: what becomes slower or faster meanwhile does so for all three alike.
const PARTS: [Called; 6] = [Called::Nobody, Called::Null, Called::Ours, Called::Ours, Called::Null, Called::Nobody];

/// How long an attack goes on before its effect is measured, so that what it needs once is not counted: connections of its own, and
/// conditions of entries that nobody else's writes meet.
const UNDER_WAY: Duration = Duration::from_secs(1);

/// What writes may take more than usual, so that the next ones count as calm.
const ROOM: u32 = 3;

pub(crate) struct Stage<'a> {
    installation: &'a Installation<'a>,
    configurations: Configurations<'a>,
    null: AllowAll,
    runtime: Runtime,
    victim: Victim,
    lasts: Duration,
    usual: Duration,
    restarts: u64,
    limit: u64,
    wrong: Vec<String>,
}

/// What an attack did.
#[derive(Default)]
struct Effect {
    seen: Seen,
    /// The most resident memory of a replica, in MiB.
    peak: u64,
    recovered: Duration,
    /// How often the webhook was called that allows everything.
    calls: usize,
    /// How often a tenant did what it does.
    acts: usize,
}

impl Effect {
    fn add(&mut self, part: Self) {
        self.seen.add(part.seen);
        self.peak = self.peak.max(part.peak);
        self.recovered = self.recovered.max(part.recovered);
        self.calls += part.calls;
        self.acts += part.acts;
    }
}

/// The name of a row of the table.
fn row(attack: &str, called: Called, effect: &Effect) -> String {
    match called {
        Called::Ours => attack.to_owned(),
        Called::Null => format!("  with one that allows all, {} calls", effect.calls),
        Called::Nobody => "  without webhooks".to_owned(),
    }
}

impl<'a> Stage<'a> {
    pub(crate) fn set(installation: &'a Installation<'a>, lasts: Duration) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let victim = Victim::start(installation.node, &runtime);
        let null = AllowAll::start(installation.node);
        let mut stage = Self {
            installation,
            configurations: Configurations::read(installation.node, &null),
            null,
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
            "{:<44} {:>7} {:>6} {:>8} {:>8} {:>9} {:>9} {:>9} {:>8} {:>10}",
            "", "attacks", "writes", "refused", "p50", "p95", "p99", "peak", "restarts", "recovered"
        );
        let calm = stage.runtime.block_on(stage.victim.writes(lasts));
        stage.usual = calm.percentile(99) * ROOM;
        assert!(calm.refused.is_empty(), "refused while nothing happens: {:?}", calm.refused);
        let peak = stage.peak();
        stage.print("nothing", &Effect { seen: calm, peak, ..Effect::default() });
        stage
    }

    /// Where clients have to be made that are used here.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// What writes take while nothing happens and we are not called, to compare with.
    pub(crate) fn at_rest(&mut self) {
        for called in [Called::Null, Called::Nobody] {
            let effect = self.part(called, self.lasts, |_| ());
            self.print(&row("nothing", called, &effect), &effect);
        }
        self.configurations.call(Called::Ours);
    }

    /// What a tenant does, with our webhook, with one that allows everything, and with none.
    pub(crate) fn tenant(&mut self, attack: &Tenant) {
        self.configurations.call(Called::Nobody);
        // What would be refused has slipped past us.
        attack.prepare(self.installation.node);
        let mut effects: BTreeMap<Called, Effect> = BTreeMap::new();
        for called in PARTS {
            let before = attack.done();
            let mut part = self.part(called, self.lasts / 2, |stage| attack.begin(&stage.runtime));
            part.acts = attack.done() - before;
            if (part.calls > 0) != (called == Called::Null) {
                self.wrong.push(format!("{}: {} calls of the other webhook, {called:?}", attack.name, part.calls));
            }
            effects.entry(called).or_default().add(part);
        }
        clear(self.installation.node);
        self.configurations.call(Called::Ours);
        for (called, effect) in &effects {
            self.print(&row(attack.name, *called, effect), effect);
            if let (Called::Null | Called::Nobody, Some(refused)) = (called, effect.seen.refused.first()) {
                self.wrong.push(format!("{}: nothing to compare with, {called:?}: {refused}", attack.name));
            }
        }
        let [ours, null, none] = [Called::Ours, Called::Null, Called::Nobody].map(|called| &effects[&called]);
        self.judge(attack.name, ours, 0.0);
        let verdict = Verdict::of(&ours.seen, &null.seen, &none.seen);
        println!("  {verdict}");
        if !verdict.passes() {
            self.wrong.push(format!("{}: {verdict}", attack.name));
        }
    }

    fn part<T>(&self, called: Called, lasts: Duration, begin: impl FnOnce(&Self) -> T) -> Effect {
        self.configurations.call(called);
        // The API server connects, and compiles the conditions, when it first needs them.
        self.runtime.block_on(self.victim.recovers(self.usual));
        let before = self.null.calls();
        let effect = self.under(lasts, begin);
        Effect { calls: self.null.calls() - before, ..effect }
    }

    /// What a pod does that reaches the port; `refused` is the share of writes that may be.
    pub(crate) fn pod(&mut self, pod: &Attacker, attack: Crowd, refused: f64) {
        let replicas = self.installation.replicas();
        let effect = self.under(self.lasts, |_| pod.begin(attack, &replicas));
        self.print(attack.name, &effect);
        self.judge(attack.name, &effect, refused);
    }

    fn under<T>(&self, lasts: Duration, begin: impl FnOnce(&Self) -> T) -> Effect {
        for process in self.processes() {
            // Forgets the peak so far.
            fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
        }
        let attack = begin(self);
        sleep(UNDER_WAY);
        let seen = self.runtime.block_on(self.victim.writes(lasts));
        drop(attack);
        let recovered = self.runtime.block_on(self.victim.recovers(self.usual));
        Effect { seen, peak: self.peak(), recovered, ..Effect::default() }
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

    fn print(&self, name: &str, effect: &Effect) {
        println!(
            "{name:<44} {:>7} {:>6} {:>8} {:>5} ms {:>6} ms {:>6} ms {:>5} MiB {:>8} {:>8.1} s",
            effect.acts,
            effect.seen.writes(),
            effect.seen.refused.len(),
            effect.seen.percentile(50).as_millis(),
            effect.seen.percentile(95).as_millis(),
            effect.seen.percentile(99).as_millis(),
            effect.peak,
            self.restarts() - self.restarts,
            effect.recovered.as_secs_f64(),
        );
        if let Some(refused) = effect.seen.refused.first() {
            println!("    {refused}");
        }
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
