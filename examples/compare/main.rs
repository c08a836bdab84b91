//! `make compare`: the CronJob of kamaji-etcd's defrag.sh against ours with both engines, on a real etcd of three pods with TLS.
//!
//! Nothing in the table is assumed: who was blocked, and for how long, is from the logs of the members; what was
//! reclaimed too; failed writes are those of a stream of writes through every member, which runs as a pod beside them.

#![allow(clippy::panic, clippy::indexing_slicing, reason = "a measurement that cannot go on ends")]

mod etcd;
mod model;
mod original;
mod plot;
mod report;
mod run;

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use etcd_defrag_webhook::defrag::{cronjob::OWN_IMAGE, duration, policy, quantity};
use harness::{Engine, Node, PodsOptions, Serve, ServeOptions, etcd_defrag, own_image, unavailable};
use serde_json::json;

use self::{
    etcd::Etcd,
    model::{Run, Scenario},
    report::Facts,
};

/// Measures defrag.sh's CronJob against ours, with both engines, on a real etcd, and writes a table and a plot.
#[derive(Parser)]
struct Options {
    /// What stays in each member's database. The engine takes 2 GiB for the quota where nobody tells it, so the rule of
    /// defrag.sh fires for ever above 80 % of that.
    #[arg(long, default_value = "1700Mi", value_parser = bytes)]
    live: u64,
    /// What there is to reclaim before a run that has something to reclaim: more than half of the database, for our rule.
    #[arg(long, default_value = "2560Mi", value_parser = bytes)]
    free: u64,
    /// Backend quota of the etcd; kamaji-etcd has 8Gi.
    #[arg(long, default_value = "8Gi", value_parser = bytes)]
    quota: u64,
    /// Our `wait-between-members`; the built-in default is 30s.
    #[arg(long, default_value = "10s")]
    wait: String,
    /// How many seconds a slow member is to take at least, as on a slow disk: its CPU is limited for that.
    #[arg(long, default_value = "40")]
    slow: u32,
    /// The folder for `compare.md` and `compare.svg`.
    #[arg(long, default_value = "docs")]
    out: PathBuf,
}

fn bytes(text: &str) -> Result<u64, String> {
    quantity::parse(text).map_err(|error| error.to_string())
}

const NAMESPACE: &str = "kamaji-system";

fn main() -> ExitCode {
    let options = Options::parse();
    if let Err(error) = duration::parse_unsigned(&options.wait) {
        eprintln!("compare: --wait {}: {error}", options.wait);
        return ExitCode::from(2);
    }
    if let Some(reason) = unavailable() {
        eprintln!("compare: this needs a node that runs pods, and none can run here: {reason}");
        return ExitCode::FAILURE;
    }
    if let Err(reason) = etcd_defrag() {
        eprintln!("compare: two of the three that are measured run etcd-defrag in pods, and {reason}");
        return ExitCode::FAILURE;
    }
    let begun = Instant::now();
    let (scenarios, facts) = measure(&options);
    let table = report::markdown(&scenarios, &facts);
    println!("\n{table}");
    for (name, text) in [("compare.md", &table), ("compare.svg", &plot::svg(&scenarios))] {
        let path = options.out.join(name);
        if let Err(error) = fs::write(&path, text) {
            eprintln!("compare: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        say(&format!("wrote {}", path.display()));
    }
    say(&format!("done in {} s", begun.elapsed().as_secs()));
    ExitCode::SUCCESS
}

fn measure(options: &Options) -> (Vec<Scenario>, Facts) {
    say("a control plane with a node, and serve beside it");
    let image = format!("--image={}", own_image().display());
    let Some(node) = Node::start_with("compare", &[image]) else { panic!("a node could run a moment ago") };
    let args = vec![format!("--own-image=docker.io/library/{OWN_IMAGE}")];
    let serve = Serve::start_with(&node, &ServeOptions { register: true, args, ..ServeOptions::default() });
    node.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}).to_string());
    say("an etcd of three members with TLS");
    let pods = PodsOptions {
        quota: options.quota,
        enrolled: false,
        // kamaji-etcd's kills a member that is blocked for about as long as the slow ones are here: another hazard than
        // those compared, the same for both, and one that we warn of.
        liveness: None,
        // Values are large here, and etcd keeps that many of the latest writes in memory.
        extra: ["--snapshot-count=1000", "--snapshot-catchup-entries=500"].map(ToOwned::to_owned).into(),
        ..PodsOptions::default()
    };
    let etcd = Etcd::start(&node, NAMESPACE, pods.annotated("wait-between-members", &options.wait));
    say(&format!("filling it with {}", quantity::human(options.live)));
    etcd.fill(options.live);

    let original = original::cronjob(etcd.pods());
    node.apply(&original.to_string());
    etcd.waste(options.free);
    let first = etcd.run("defrag.sh", "first-theirs");
    let next = etcd.run("defrag.sh", "next-theirs");
    // The CPU time that a defragmentation takes, less what everything else takes in its time.
    let cpu = if next.cpu_seconds > 0.0 { next.cpu_seconds } else { first.cpu_seconds };
    assert!(
        cpu > 0.0,
        "defrag.sh's CronJob has defragmented nothing, so there is nothing to compare: it does above 1639Mi live, or \
         with more than 200Mi free"
    );
    etcd.waste(options.free);
    let limit = etcd.slow_down(cpu / f64::from(options.slow));
    let slow = etcd.run("defrag.sh", "slow-theirs");
    etcd.full_speed();

    say("one label, and the CronJob of defrag.sh becomes ours");
    etcd.enrol();
    let [our_first, our_next, our_slow] = ours(&etcd, options, cpu, ["ours, EtcdDefrag", "etcd-defrag"]);
    etcd.full_speed();

    say("a policy with job.engine: BuiltIn");
    node.apply(&serde_json::to_string(&policy::crd()).unwrap_or_default());
    node.wait_established("defragpolicies.etcd-defrag.io");
    node.apply(&Engine::BuiltIn.policy().to_string());
    etcd.built_in();
    let [own_first, own_next, own_slow] = ours(&etcd, options, cpu, ["ours, BuiltIn", "built-in"]);

    let facts = Facts {
        live: options.live,
        quota: options.quota,
        wait: options.wait.clone(),
        limit,
        etcd_version: etcd.version(),
        kubernetes_version: node.version().to_owned(),
    };
    drop(serve);
    let scenario = |title: String, runs: [Run; 3]| Scenario { title, runs: runs.into() };
    let human = quantity::human;
    let scenarios = vec![
        scenario(format!("First run: {} to reclaim in each", human(options.free)), [first, our_first, own_first]),
        scenario("Next run: nothing to reclaim".to_owned(), [next, our_next, own_next]),
        scenario(format!("Slow members: {} to reclaim in each", human(options.free)), [slow, our_slow, own_slow]),
    ];
    (scenarios, facts)
}

/// The three runs of the CronJob that is there, which is ours: the first, one with nothing to reclaim, and one of slow members.
fn ours(etcd: &Etcd<'_>, options: &Options, cpu: f64, [who, name]: [&'static str; 2]) -> [Run; 3] {
    etcd.waste(options.free);
    let [first, next] = ["first", "next"].map(|run| etcd.run(who, &format!("{run}-{name}")));
    etcd.waste(options.free);
    etcd.slow_down(cpu / f64::from(options.slow));
    [first, next, etcd.run(who, &format!("slow-{name}"))]
}

/// Progress, not the result.
fn say(what: &str) {
    eprintln!("compare: {what}");
}
