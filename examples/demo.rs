//! `make demo`: the main job on a control plane of its own, from a label to a CronJob that repairs itself; and where a
//! node can run, on a real etcd that its pod then defragments.
//!
//! Everything shown is real: the API server's answers as kubectl prints them, and the objects that are there.

#![allow(clippy::panic, clippy::indexing_slicing, reason = "a demo that cannot go on ends")]

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

use etcd_defrag_webhook::defrag::{
    cronjob::{OWN_IMAGE, names::LAST_RUN},
    policy,
    preflight::{ANNOTATION as PREFLIGHT, LABEL as OF_PREFLIGHT},
};
use harness::{
    ControlPlane, Engine, EtcdPods, Fill, MemberStatus, Node, PodsOptions, Serve, ServeOptions, binary, etcd_defrag,
    eventually, own_image, unavailable,
};
use serde_json::Value;

const NAMESPACE: &str = "kamaji-system";
const MANIFEST: &str = include_str!("kamaji-etcd.yaml");
/// What follows the pod in a member's address.
const DOMAIN: &str = ".kamaji-etcd.kamaji-system.svc.cluster.local:2379";
/// Columns of what is shown.
const WIDTH: usize = 124;
const PATIENCE: Duration = Duration::from_secs(20);
/// For the whole run of a Job.
const RUN: Duration = Duration::from_mins(3);

fn main() {
    let begun = Instant::now();
    match unavailable() {
        None => on_a_node(),
        Some(reason) => on_a_control_plane(reason),
    }
    say(&format!("Done in {:.0} s; nothing is left behind.", begun.elapsed().as_secs_f64()));
}

/// With an etcd that runs, and a Job that does its work.
fn on_a_node() {
    let engine = Engine::here();
    // Built before anything runs: the first time this takes some minutes.
    let images: Vec<String> = match engine {
        Engine::EtcdDefrag => Vec::new(),
        Engine::BuiltIn => vec![format!("--image={}", own_image().display())],
    };
    step("A Kubernetes of one node, from processes of this machine: control plane, kubelet, containerd, cluster DNS");
    let Some(node) = Node::start_with("demo", &images) else { panic!("a node could run a moment ago") };
    say(&format!("{} is ready after {:.1} s", node.version(), node.start_time().as_secs_f64()));
    node.kubectl_ok(&["create", "namespace", NAMESPACE]);
    node.kubectl_ok(&["label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"]);
    // Its pods start while `serve` does.
    let pods = EtcdPods::new(&node, NAMESPACE, PodsOptions { enrolled: false, ..PodsOptions::default() });
    pods.apply();
    let own = format!("--own-image=docker.io/library/{OWN_IMAGE}");
    let args = vec!["--preflight=true".to_owned(), own];
    let serve = start_serve(&node, args);

    let demo = Demo { plane: &node };
    demo.engine();
    step("A real etcd of three members with TLS and a quota of 96 MiB, filled; then most of it is deleted");
    pods.wait_ready();
    pods.fill(Fill::to(pods.options().quota, 82));
    demo.run(&["get", "pods", "-n", NAMESPACE]);
    let before = pods.status();
    sizes(&pods, &before, None);

    step("One label on its StatefulSet, and its CronJob appears");
    let labelled = Instant::now();
    demo.run(&["label", "statefulset", "kamaji-etcd", "-n", NAMESPACE, "etcd-defrag.io/enabled=true"]);
    demo.appears(labelled);
    demo.preflight(labelled);
    demo.refusals();
    demo.repair();
    demo.defragment(&pods, &before);
    demo.events();
    defrag_sh();
    end(serve);
}

/// Without.
fn on_a_control_plane(reason: &str) {
    step("A Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager as processes of this machine");
    say(&format!("No node can run here: {reason}."));
    say("So no pod runs: a real etcd, the Job that defragments it, and its sizes before and after are skipped.");
    let plane = ControlPlane::start();
    say(&format!("{} is ready after {:.1} s", plane.version(), plane.start_time().as_secs_f64()));
    let serve = start_serve(&plane, Vec::new());
    plane.kubectl_ok(&["create", "namespace", NAMESPACE]);

    let demo = Demo { plane: &plane };
    step("One label on an etcd StatefulSet (examples/kamaji-etcd.yaml), and its CronJob appears");
    let labelled = Instant::now();
    show("kubectl apply -f examples/kamaji-etcd.yaml", &plane.kubectl_stdin(["apply", "-f", "-"], MANIFEST));
    demo.appears(labelled);
    demo.refusals();
    demo.repair();
    demo.events();
    defrag_sh();
    end(serve);
}

fn start_serve(plane: &ControlPlane, args: Vec<String>) -> Serve {
    let serve = Serve::start_with(plane, &ServeOptions { register: true, args, ..ServeOptions::default() });
    say(&format!(
        "etcd-defrag-webhook serve is ready after {} ms, its webhooks registered",
        serve.start_time.as_millis()
    ));
    println!();
    serve
}

fn end(serve: Serve) {
    step("Everything stops");
    assert!(serve.stop(), "serve did not end cleanly");
}

struct Demo<'a> {
    plane: &'a ControlPlane,
}

impl Demo<'_> {
    /// Our own runner, where there is no etcd-defrag that a pod can run.
    fn engine(&self) {
        let Err(reason) = etcd_defrag() else { return };
        step("No etcd-defrag can run in a pod here, so a policy chooses the built-in runner");
        say(&format!("{reason}."));
        println!();
        self.plane.apply(&serde_json::to_string(&policy::crd()).unwrap_or_default());
        self.plane.wait_established("defragpolicies.etcd-defrag.io");
        let policy = Engine::BuiltIn.policy().to_string();
        show(&format!("kubectl apply -f - <<<'{policy}'"), &self.plane.kubectl_stdin(["apply", "-f", "-"], &policy));
    }

    /// Whether a run would reach every member, before there is one.
    fn preflight(&self, labelled: Instant) {
        step(
            "Before the first night: a preflight reaches every member under its name, with certificate, and changes nothing",
        );
        self.preflight_ends();
        say(&format!("It ended {:.0} s after the label:", labelled.elapsed().as_secs_f64()));
        let of_preflight = format!("--selector={OF_PREFLIGHT}");
        self.run(&["get", "job", "-n", NAMESPACE, &of_preflight]);
        let succeeded = "--field-selector=reason=PreflightSucceeded";
        let columns = "custom-columns=REASON:.reason,NOTE:.note";
        self.run(&["get", "events.events.k8s.io", "-n", NAMESPACE, succeeded, "-o", columns]);
        self.status();
    }

    fn preflight_ends(&self) {
        let note = eventually("the preflight to end", RUN, || {
            let cronjob = self.plane.get(&["-n", NAMESPACE, "cronjob", "kamaji-etcd-defrag-job"])?;
            let note = cronjob["metadata"]["annotations"][PREFLIGHT].as_str()?.to_owned();
            (!note.starts_with("Running")).then_some(note)
        });
        assert!(note.starts_with("Succeeded"), "{note}");
    }

    /// What our own command says of it.
    fn status(&self) {
        let args = ["status", "-n", NAMESPACE];
        let mut command = Command::new(binary());
        let output = command.args(args).env("KUBECONFIG", self.plane.kubeconfig()).output();
        let output = output.unwrap_or_else(|error| panic!("{error}"));
        show(&format!("etcd-defrag-webhook {}", quoted(&args)), &output);
    }

    fn appears(&self, labelled: Instant) {
        self.cronjob(|_| true);
        say(&format!("The CronJob is there {} ms after kubectl was started:", labelled.elapsed().as_millis()));
        self.run(&["get", "cronjob", "-n", NAMESPACE]);
        let args = "jsonpath={range .spec.jobTemplate.spec.template.spec.containers[0].args[*]}{@}{\"\\n\"}{end}";
        self.run(&["get", "cronjob", "kamaji-etcd-defrag-job", "-n", NAMESPACE, "-o", args]);
    }

    fn refusals(&self) {
        step("Six harmful settings, and what kubectl prints besides the warnings");
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
            let output = without_warnings(self.plane.kubectl(args));
            show(&format!("kubectl annotate statefulset kamaji-etcd '{pair}'"), &output);
            assert!(!output.status.success(), "{setting} was accepted");
        }
    }

    fn repair(&self) {
        step("The CronJob is edited, then deleted; each time it is repaired");
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
        println!();
    }

    fn events(&self) {
        step("Its Events, in the order of time");
        self.run(&[
            "get",
            "events.events.k8s.io",
            "-n",
            NAMESPACE,
            "--field-selector=reportingController=etcd-defrag-webhook",
            "--sort-by=.eventTime",
            "-o",
            "custom-columns=TIME:.eventTime,REASON:.reason,NOTE:.note",
        ]);
    }

    /// A run now, by the CronJob, as a person asks for it.
    fn defragment(&self, pods: &EtcdPods<'_>, before: &[MemberStatus]) {
        step("A run now instead of at midnight, with short waits; the Job's pod defragments the members one by one");
        // The CronJob that was made anew has its access tried anew, and a run waits for that.
        self.preflight_ends();
        let leader = pods.leader();
        let settings = ["etcd-defrag.io/wait-between-members=1s", "etcd-defrag.io/defrag-now=demo"];
        let annotate = ["annotate", "statefulset", "kamaji-etcd", "-n", NAMESPACE];
        self.run(&[annotate.as_slice(), settings.as_slice()].concat());
        let job = eventually("the Job", PATIENCE, || {
            let jobs = self.plane.get(&["-n", NAMESPACE, "jobs", "-l", &format!("!{OF_PREFLIGHT}")])?;
            jobs["items"][0]["metadata"]["name"].as_str().map(ToOwned::to_owned)
        });
        let ended = pods.job_end(&job, RUN);
        let log = self.plane.kubectl(["logs", &format!("job/{job}"), "-n", NAMESPACE]);
        show(&format!("kubectl logs job/{job} -n {NAMESPACE}    # {DOMAIN} left out"), &without_domain(log));
        assert!(ended.succeeded, "{ended:?}");
        sizes(pods, before, Some(&pods.status()));
        let order = pods.defragmentations();
        let order: Vec<&str> = order.iter().map(|one| one.pod.as_str()).collect();
        say(&format!("Their own logs say: {}; {leader} was the leader.", order.join(", then ")));
        println!();
        self.cronjob(|cronjob| !cronjob["metadata"]["annotations"][LAST_RUN].is_null());
        self.status();
    }

    fn cronjob(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually("the CronJob of kamaji-etcd", PATIENCE, || {
            self.plane.get(&["-n", NAMESPACE, "cronjob", "kamaji-etcd-defrag-job"]).filter(|cronjob| wanted(cronjob))
        })
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

/// The database of each member, now or before and after a run.
fn sizes(pods: &EtcdPods<'_>, before: &[MemberStatus], after: Option<&[MemberStatus]>) {
    say(&format!(
        "{:<16}{:>12}{:>12}{:>12}",
        "DATABASE OF",
        "BEFORE",
        if after.is_some() { "AFTER" } else { "" },
        "IN USE"
    ));
    for (index, (pod, old)) in pods.pods().iter().zip(before).enumerate() {
        let new = after.and_then(|after| after.get(index));
        let size = new.map(|new| mib(new.db_size)).unwrap_or_default();
        say(&format!("{pod:<16}{:>12}{size:>12}{:>12}", mib(old.db_size), mib(new.unwrap_or(old).db_size_in_use)));
    }
    println!();
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is printed")]
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn defrag_sh() {
    step("The flags of defrag.sh, without a cluster");
    let args = ["cronjob", "-e", "kamaji-etcd", "-s", "kamaji-etcd", "-n", NAMESPACE, "-j", "14 9 * * 1-5"];
    let output = Command::new(binary()).args(args).output().unwrap_or_else(|error| panic!("{error}"));
    show(&format!("etcd-defrag-webhook {} (first lines)", quoted(&args)), &head(output, 24));
}

fn step(what: &str) {
    println!("=== {what}\n");
}

fn say(what: &str) {
    println!("    {what}");
}

fn show(command: &str, output: &Output) {
    println!("$ {command}");
    for bytes in [&output.stdout, &output.stderr] {
        for line in String::from_utf8_lossy(bytes).lines() {
            wrap(line);
        }
    }
    println!();
}

/// Prints a line, over several where it is long.
fn wrap(line: &str) {
    let (mut shown, mut column) = (String::from("    "), 4);
    for word in line.split_inclusive(' ') {
        let length = word.chars().count();
        if column > 8 && column + length > WIDTH {
            shown.push_str("\n      ");
            column = 6;
        }
        shown.push_str(word);
        column += length;
    }
    println!("{shown}");
}

/// The same without what is in every address.
fn without_domain(mut output: Output) -> Output {
    output.stdout = String::from_utf8_lossy(&output.stdout).replace(DOMAIN, "").into_bytes();
    output
}

/// The same without the warnings, which were shown before.
fn without_warnings(mut output: Output) -> Output {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("Warning: ")).collect();
    output.stderr = kept.join("\n").into_bytes();
    output
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
