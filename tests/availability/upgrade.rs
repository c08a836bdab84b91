//! The next version, an upgrade to it, and the way back; for a while pods of both answer.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread::{scope, sleep},
    time::Duration,
};

use etcd_defrag_webhook::defrag::policy::DEFAULT_RULE;
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    installation::{Installation, NAME, USER},
    load::NAMESPACE,
};
use harness::{Node, chart, eventually, make_image, own_image};

/// This version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where no policy is installed, the rule of an etcd that has none of its own is built into the program, and so differs by
/// version.
pub(crate) const NO_POLICY: &str = "defaultPolicy: {create: false}";

/// The version after this one, in an image and a chart of its own.
///
/// There is no release to upgrade from or to. The next version is this program with two of its texts replaced by others of
/// the same length: its version, which it says to the API server, and the rule that it has built in, which it writes into
/// every CronJob. So each write of a CronJob tells by whom it is, and each CronJob by which version it was written.
pub(crate) struct Next {
    dir: TempDir,
    pub(crate) version: String,
    pub(crate) rule: String,
}

impl Next {
    pub(crate) fn make() -> Self {
        let dir = TempDir::with_prefix("etcd-defrag-next-").unwrap();
        let next = Self { dir, version: after(VERSION), rule: DEFAULT_RULE.replacen("0.5", "0.6", 1) };
        let mut program = program(next.dir.path(), own_image());
        replace(&mut program, &format!("{NAME}/{VERSION}"), &format!("{NAME}/{}", next.version));
        replace(&mut program, DEFAULT_RULE, &next.rule);
        let file = next.dir.path().join("next");
        fs::write(&file, program).unwrap();
        make_image(&next.image(), &format!("{NAME}:{}", next.version), &[(&file, "/etcd-defrag-webhook")]);

        run(Command::new("cp").arg("-R").arg(chart()).arg(next.chart()));
        let about = next.chart().join("Chart.yaml");
        let text = fs::read_to_string(&about).unwrap();
        let changed = text.replace(&format!("ersion: {VERSION}\n"), &format!("ersion: {}\n", next.version));
        assert_ne!(text, changed, "no version in Chart.yaml");
        fs::write(about, changed).unwrap();
        next
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.dir.path().join("next.tar")
    }

    pub(crate) fn chart(&self) -> PathBuf {
        self.dir.path().join("chart")
    }
}

/// The same text with another last digit.
fn after(version: &str) -> String {
    let (head, last) = version.split_at(version.len() - 1);
    format!("{head}{}", (last.parse::<u8>().unwrap() + 1) % 10)
}

/// The program in an image archive.
fn program(dir: &Path, archive: &Path) -> Vec<u8> {
    let into = dir.join("image");
    fs::create_dir(&into).unwrap();
    run(Command::new("tar").arg("-C").arg(&into).arg("-xf").arg(archive));
    let manifest: Value = serde_json::from_slice(&fs::read(into.join("manifest.json")).unwrap()).unwrap();
    let layer = into.join(manifest[0]["Layers"][0].as_str().unwrap());
    run(Command::new("tar").arg("-C").arg(dir).arg("-xzf").arg(layer).arg(NAME));
    fs::read(dir.join(NAME)).unwrap()
}

fn replace(program: &mut [u8], old: &str, new: &str) {
    assert!(old.len() == new.len() && old != new, "{old:?}, {new:?}");
    let places: Vec<usize> =
        (0..=program.len() - old.len()).filter(|&at| program[at..].starts_with(old.as_bytes())).collect();
    assert!(!places.is_empty(), "{old:?} is not in the program");
    for at in places {
        program[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Has the pods replaced by those of another version, and sees to it that both were ready at one time, that the Lease went
/// over to the new one, and that its leader made every CronJob as this version wants it.
pub(crate) fn to_another_version(installation: &Installation<'_>, rule: &str, act: impl FnOnce()) {
    let before = installation.replicas();
    let together = seen_together(installation, || installation.replaced(act));
    let image = &before[0].image;
    let after = installation.replicas();
    assert!(after.iter().all(|replica| replica.image != *image), "{after:#?} after {before:#?}");
    let both = BTreeSet::from([image.clone(), after[0].image.clone()]);
    assert!(together.contains(&both), "both versions were never ready at one time: {together:?}");
    let leader = installation.leader().unwrap();
    assert!(after.iter().any(|replica| replica.name == leader), "{leader} leads, and not one of {after:#?}");
    println!("{both:?} were ready at one time; {leader} leads");
    eventually(&format!("every CronJob to have {rule}"), Duration::from_mins(1), || {
        let all = rules(installation.node);
        (all.len() == 1 && all.first().unwrap().contains(rule)).then_some(())
    });
}

/// The sets of images of pods that were ready at one time.
fn seen_together(installation: &Installation<'_>, act: impl FnOnce()) -> BTreeSet<BTreeSet<String>> {
    let done = AtomicBool::new(false);
    scope(|scope| {
        let watch = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                seen.insert(installation.replicas().into_iter().map(|replica| replica.image).collect());
                sleep(Duration::from_millis(300));
            }
            seen
        });
        // Whatever happens to it: the thread has to end.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        done.store(true, Ordering::Relaxed);
        let seen = watch.join().unwrap();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        seen
    })
}

/// The arguments with the rule in all CronJobs.
fn rules(node: &Node) -> BTreeSet<String> {
    let jobs = node.get(&["-n", NAMESPACE, "cronjobs"]).unwrap();
    let of_job = |job: &Value| {
        let args = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        let args: Vec<String> = serde_json::from_value(args).unwrap();
        args.into_iter().find(|arg| arg.starts_with("--defrag-rule=")).unwrap()
    };
    jobs["items"].as_array().unwrap().iter().map(of_job).collect()
}

/// Which versions wrote CronJobs, one after the other, as they named themselves to the API server.
pub(crate) fn writers(node: &Node) -> Vec<String> {
    let audit = node.audit().of("cronjobs").in_namespace(NAMESPACE).by_user(USER).writes();
    let mut events: Vec<(Timestamp, &str)> =
        audit.iter().map(|event| (event.time.parse().unwrap(), event.user_agent.as_str())).collect();
    events.sort_unstable();
    let mut writers: Vec<String> = events
        .into_iter()
        .map(|(_, agent)| agent.strip_prefix(&format!("{NAME}/")).unwrap_or(agent).to_owned())
        .collect();
    writers.dedup();
    writers
}
