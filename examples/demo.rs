//! `make demo`: the main job on a control plane of its own, from a label to a CronJob that repairs itself.
//!
//! Everything shown is real: the API server's answers as kubectl prints them, and the objects that are there.

#![allow(clippy::panic, clippy::indexing_slicing, reason = "a demo that cannot go on ends")]

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use harness::{ControlPlane, Serve, binary, eventually};
use serde_json::Value;

const NAMESPACE: &str = "kamaji-system";
const MANIFEST: &str = include_str!("kamaji-etcd.yaml");
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let begun = Instant::now();
    step("A Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager as processes of this machine");
    let plane = ControlPlane::start();
    say(&format!("{} is ready after {:.1} s", plane.version(), plane.start_time().as_secs_f64()));
    let serve = Serve::start(&plane);
    say(&format!(
        "etcd-defrag-webhook serve is ready after {} ms, its webhooks registered",
        serve.start_time.as_millis()
    ));

    let demo = Demo { plane };
    demo.label();
    demo.refusals();
    demo.repair();
    defrag_sh();

    step("Everything stops");
    assert!(serve.stop(), "serve did not end cleanly");
    drop(demo);
    say(&format!("Done in {:.0} s; nothing is left behind.", begun.elapsed().as_secs_f64()));
}

struct Demo {
    plane: ControlPlane,
}

impl Demo {
    fn label(&self) {
        step("One label on an etcd StatefulSet (examples/kamaji-etcd.yaml), and its CronJob appears");
        self.kubectl(&["create", "namespace", NAMESPACE]);
        let labelled = Instant::now();
        show("kubectl apply -f examples/kamaji-etcd.yaml", &self.apply(MANIFEST));
        self.cronjob(|_| true);
        say(&format!("The CronJob is there {} ms after kubectl was started:", labelled.elapsed().as_millis()));
        self.run(&["get", "cronjob", "-n", NAMESPACE]);
        let args = "jsonpath={range .spec.jobTemplate.spec.template.spec.containers[0].args[*]}{@}{\"\\n\"}{end}";
        self.run(&["get", "cronjob", "kamaji-etcd-defrag-job", "-n", NAMESPACE, "-o", args]);
    }

    fn refusals(&self) {
        step("Six settings that would hurt, and what kubectl prints");
        for setting in [
            "schedule=0 0 31 2 *",
            "schedule=*/5 * * * *",
            "rule=dbQuotaUsage > 80/100",
            "command-timeout=10s",
            "shedule=0 3 * * *",
            "time-zone=CET+1",
        ] {
            let pair = format!("etcd-defrag.io/{setting}");
            let args = ["annotate", "statefulset", "kamaji-etcd", "-n", NAMESPACE, "--overwrite", &pair];
            let output = self.plane.kubectl(args);
            show(&format!("kubectl annotate statefulset kamaji-etcd '{pair}'"), &output);
            assert!(!output.status.success(), "{setting} was accepted");
        }
    }

    fn repair(&self) {
        step("The CronJob is edited, then deleted; each time it is put right");
        let before = self.cronjob(|_| true);
        let spec = before["spec"].clone();
        self.kubectl(&[
            "patch",
            "cronjob",
            "kamaji-etcd-defrag-job",
            "-n",
            NAMESPACE,
            "-p",
            r#"{"spec":{"schedule":"* * * * *"}}"#,
        ]);
        let edited = Instant::now();
        self.cronjob(|now| now["spec"] == spec);
        say(&format!("edited: as it was after {} ms", edited.elapsed().as_millis()));
        self.kubectl(&["delete", "cronjob", "kamaji-etcd-defrag-job", "-n", NAMESPACE, "--wait=false"]);
        let deleted = Instant::now();
        self.cronjob(|now| now["metadata"]["uid"] != before["metadata"]["uid"]);
        say(&format!("deleted: there again after {} ms", deleted.elapsed().as_millis()));
        self.run(&[
            "get",
            "events.events.k8s.io",
            "-n",
            NAMESPACE,
            "-o",
            "custom-columns=REASON:.reason,OBJECT:.regarding.name,NOTE:.note",
        ]);
    }

    fn cronjob(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually("the CronJob of kamaji-etcd", PATIENCE, || {
            self.plane.get(&["-n", NAMESPACE, "cronjob", "kamaji-etcd-defrag-job"]).filter(|cronjob| wanted(cronjob))
        })
    }

    fn apply(&self, manifest: &str) -> Output {
        self.plane.kubectl_stdin(["apply", "-f", "-"], manifest)
    }

    /// Runs kubectl and shows what it prints.
    fn run(&self, args: &[&str]) {
        show(&format!("kubectl {}", quoted(args)), &self.plane.kubectl(args));
    }

    /// Runs kubectl, which has to succeed, without showing it.
    fn kubectl(&self, args: &[&str]) {
        self.plane.kubectl_ok(args);
    }
}

fn defrag_sh() {
    step("The flags of defrag.sh, without a cluster");
    let args = ["cronjob", "-e", "kamaji-etcd", "-s", "kamaji-etcd", "-n", NAMESPACE, "-j", "14 9 * * 1-5"];
    let output = Command::new(binary()).args(args).output().unwrap_or_else(|error| panic!("{error}"));
    show(&format!("etcd-defrag-webhook {} (first lines)", quoted(&args)), &head(output, 24));
}

fn step(what: &str) {
    println!("\n=== {what}\n");
}

fn say(what: &str) {
    println!("    {what}");
}

fn show(command: &str, output: &Output) {
    println!("$ {command}");
    for bytes in [&output.stdout, &output.stderr] {
        for line in String::from_utf8_lossy(bytes).lines() {
            println!("    {line}");
        }
    }
    println!();
}

fn quoted(args: &[&str]) -> String {
    let quote = |arg: &&str| if arg.contains([' ', '*', '{', '$']) { format!("'{arg}'") } else { (*arg).to_owned() };
    args.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// The first lines of what was printed.
fn head(mut output: Output, lines: usize) -> Output {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.stdout = text.lines().take(lines).collect::<Vec<_>>().join("\n").into_bytes();
    output
}
