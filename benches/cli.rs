//! `make bench-cli`: what `check` and `render` need for the manifests of a fleet, beside kubeconform.
//!
//! The input is one stream of YAML with 5,000 enrolled StatefulSets, made from `examples/kamaji-etcd.yaml`. kubeconform reads the same
//! stream and a schema that the API server of the tests publishes. All are measured in one run, in turns, since machines are noisy;
//! their output is thrown away. `ROUNDS=5` says how many rounds.

#![allow(clippy::indexing_slicing, reason = "a benchmark that cannot go on ends")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use harness::{ControlPlane, MARGIN, Process, binary, median, verdict};
use serde_json::{Value, json};

/// StatefulSets in the input.
const OBJECTS: usize = 5_000;
/// Namespaces that they are in.
const NAMESPACES: usize = 50;
/// The quotas that they have.
const QUOTAS: [&str; 3] = ["8589934592", "4294967296", "2147483648"];
/// Of the time and of the memory of kubeconform in the same run.
const GOAL: f64 = 1.0;
/// Between two looks at the memory of a process, which only grows.
const LOOK: Duration = Duration::from_millis(2);

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Whom the others are compared with.
const ANCHOR: &str = "kubeconform";
/// Those of ours.
const OURS: [&str; 2] = ["check", "render"];

/// Seconds, and MiB of resident memory at the peak, of each round.
#[derive(Default)]
struct Figures {
    seconds: Vec<f64>,
    peak: Vec<f64>,
}

fn main() -> Result {
    let rounds: usize = env::var("ROUNDS").map_or(Ok(3), |rounds| rounds.parse())?;
    let kubeconform = env::var_os("BENCH_KUBECONFORM").ok_or("BENCH_KUBECONFORM is not set; run make bench-cli")?;
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("fleet.yaml");
    let text = fleet();
    fs::write(&input, &text)?;
    write_schema(folder.path())?;
    let command = |name: &str| {
        if name == ANCHOR {
            let schemas = format!("{}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json", folder.path().display());
            let mut command = Command::new(&kubeconform);
            command.args(["-summary", "-schema-location", &schemas]).arg(&input);
            return command;
        }
        let mut command = Command::new(binary());
        command.args([name, "-f"]).arg(&input);
        command
    };
    // The input is in the cache of files, and each reads all of it.
    for (name, said) in
        [(ANCHOR, "Valid: 5000"), ("check", "5000 StatefulSets, 5000 enrolled, 0 refused"), ("render", "")]
    {
        let output = command(name).output()?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || !stdout.contains(said) {
            return Err(
                format!("{name}: {}: {stdout}{}", output.status, String::from_utf8_lossy(&output.stderr)).into()
            );
        }
    }
    println!("{OBJECTS} StatefulSets, {:.1} MB of YAML", f64::from(u32::try_from(text.len())?) / 1e6);
    println!("load of the machine before: {}", fs::read_to_string("/proc/loadavg")?.trim());
    let mut figures: BTreeMap<&str, Figures> = BTreeMap::new();
    for _ in 0..rounds {
        for name in [ANCHOR].into_iter().chain(OURS) {
            let (seconds, peak) = measure(command(name))?;
            let of = figures.entry(name).or_default();
            of.seconds.push(seconds);
            of.peak.push(peak);
        }
    }
    println!("load of the machine after: {}", fs::read_to_string("/proc/loadavg")?.trim());
    println!("\nmedians of {rounds} rounds:\n");
    println!("| | goal | kubeconform | ours | ratio | |");
    println!("| --- | ---: | ---: | ---: | ---: | --- |");
    let mut missed = Vec::new();
    for name in OURS {
        for (what, of) in
            [("s", (|one| &one.seconds) as fn(&Figures) -> &Vec<f64>), ("MiB at the peak", |one| &one.peak)]
        {
            let figure = |name| figures.get(name).and_then(|one| median(of(one))).ok_or("nothing was measured");
            let (anchor, ours) = (figure(ANCHOR)?, figure(name)?);
            let ratio = ours / anchor;
            let (reached, within) = (ratio <= GOAL, ratio <= GOAL * MARGIN);
            if !within {
                missed.push(format!("{name}, {what}"));
            }
            let verdict = verdict(reached, within);
            println!("| {name}, {what} | ≤ {GOAL} | {anchor:.2} | {ours:.2} | {ratio:.2} | {verdict} |");
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(format!("missed: {}", missed.join("; ")).into()) }
}

/// Runs a program to its end: how long it took, in seconds, and its resident memory at the peak, in MiB.
fn measure(mut command: Command) -> Result<(f64, f64)> {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut peak = 0;
    // What has ended says nothing of its memory any more, so it is asked again and again before.
    while child.try_wait()?.is_none() {
        peak = peak.max(Process::of(child.id()).map_or(0, |process| process.peak));
        sleep(LOOK);
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok((seconds, f64::from(u32::try_from(peak >> 10)?) / 1024.0))
}

/// A stream of StatefulSets that differ in their names, namespaces and some values, the same in each run.
fn fleet() -> String {
    let example = include_str!("../examples/kamaji-etcd.yaml");
    let one = |number: usize| {
        example
            .replace("kamaji-etcd", &format!("etcd-{number:04}"))
            .replace("kamaji-system", &format!("tenants-{}", number % NAMESPACES))
            .replace(QUOTAS[0], QUOTAS[number % QUOTAS.len()])
            .replace("snapshot-count=10000", &format!("snapshot-count={}", 10_000 * (1 + number % 5)))
            .replace("initialDelaySeconds: 10", &format!("initialDelaySeconds: {}", 10 + number % 7))
    };
    (0..OBJECTS).map(one).collect::<Vec<_>>().join("---\n")
}

/// Writes the schema of StatefulSets as the API server publishes it, under the name by which kubeconform finds it.
fn write_schema(folder: &Path) -> Result {
    let plane = ControlPlane::start();
    let mut schema: Value = serde_json::from_str(&plane.kubectl_ok(&["get", "--raw", "/openapi/v3/apis/apps/v1"]))?;
    let schema = json!({
        "$ref": "#/components/schemas/io.k8s.api.apps.v1.StatefulSet",
        "components": schema["components"].take(),
    });
    fs::write(folder.join("statefulset-apps-v1.json"), schema.to_string())?;
    Ok(())
}
