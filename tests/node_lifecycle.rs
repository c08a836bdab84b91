//! The test node itself: that it is a real one, and that nothing of it is left however a test ends.
//!
//! `NODE_STARTS=20 scripts/test.sh --test node_lifecycle` starts and stops it that often.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use harness::{NODE, Node, child, etcd_image, eventually, unavailable};

const SOON: Duration = Duration::from_mins(1);
/// How often the node is started and stopped in a row, unless `NODE_STARTS` says otherwise.
const STARTS: usize = 2;

/// What nodes could leave on the machine, as sorted lines, so that a difference can be read.
///
/// Other nodes may come and go meanwhile, so links, routes, control groups and processes are those of one node. Mounts,
/// packet filter rules and settings of the kernel are the whole machine's: no node is to change them.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    processes: Vec<String>,
    links: Vec<String>,
    routes: Vec<String>,
    cgroups: Vec<String>,
    mounts: Vec<String>,
    rules: Vec<String>,
    sysctls: Vec<String>,
}

/// By what the things of one node are known.
#[derive(Debug, Clone)]
struct Traces {
    link: String,
    group: String,
    /// The PID namespace of the node's first process: those of its pods are below it, and end with it.
    pids: String,
}

impl Traces {
    /// Of the node of a control plane that runs in this folder.
    fn of(dir: &Path) -> Self {
        let config = fs::read_to_string(dir.join("node/node.json")).expect("the node has its configuration");
        let config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
        let first = child::processes_of(&dir.join("node")).into_iter();
        let first = first.filter(|pid| child::command_line(*pid).starts_with("controlplane node ")).collect::<Vec<_>>();
        assert_eq!(first.len(), 1);
        Self {
            link: format!("etcd-defrag-{}", config["number"]),
            group: format!("etcd-defrag-node-{}", config["number"]),
            pids: pid_namespace(first[0]),
        }
    }

    fn processes(&self) -> Vec<String> {
        let ours = |pid: &u32| pid_namespace(*pid) == self.pids;
        child::processes().filter(ours).map(child::command_line).collect()
    }
}

/// Empty for a process that is gone.
fn pid_namespace(pid: u32) -> String {
    fs::read_link(format!("/proc/{pid}/ns/pid")).map_or_else(|_| String::new(), |link| link.display().to_string())
}

impl Machine {
    fn now(traces: Option<&Traces>) -> Self {
        let of = |all: Vec<String>, name: fn(&Traces) -> &str| -> Vec<String> {
            let wanted =
                |line: &String| traces.is_some_and(|traces| line.split(['\t', '/']).any(|part| part == name(traces)));
            all.into_iter().filter(wanted).collect()
        };
        Self {
            processes: traces.map(Traces::processes).unwrap_or_default(),
            links: of(names_in("/sys/class/net"), |traces| &traces.link),
            routes: of(lines_of("/proc/net/route"), |traces| &traces.link),
            cgroups: of(cgroups(), |traces| &traces.group),
            mounts: lines_of("/proc/self/mounts"),
            rules: rules(),
            sysctls: ["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"]
                .map(|name| format!("{name}={}", lines_of(&format!("/proc/sys/{name}")).join("")))
                .into(),
        }
    }

    fn counts(&self) -> String {
        format!(
            "{} processes, {} links, {} routes and {} control groups of the node; {} mounts and {} packet filter rules in all",
            self.processes.len(),
            self.links.len(),
            self.routes.len(),
            self.cgroups.len(),
            self.mounts.len(),
            self.rules.len(),
        )
    }
}

fn lines_of(path: &str) -> Vec<String> {
    let mut lines: Vec<_> = fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn names_in(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).map(Iterator::flatten).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The rules of all tables.
fn rules() -> Vec<String> {
    let list = |table| Command::new("iptables").args(["-t", table, "-S"]).output().expect("iptables runs").stdout;
    ["filter", "nat", "mangle"]
        .into_iter()
        .flat_map(|table| String::from_utf8_lossy(&list(table)).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// The topmost control groups, in every hierarchy of version 1 or in the one of version 2.
fn cgroups() -> Vec<String> {
    let root = "/sys/fs/cgroup".to_owned();
    let hierarchies = names_in(&root).into_iter().map(|name| format!("{root}/{name}"));
    hierarchies
        .chain([root.clone()])
        .flat_map(|dir| names_in(&dir).into_iter().map(move |name| format!("{dir}/{name}")))
        .collect()
}

/// One runs at a time: they look at the machine before and after. A node that the tests before have left is waited for, as it
/// ends with its program, some seconds later.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let is_node = |pid| child::command_line(pid).starts_with("controlplane node ");
    let waiting = Instant::now();
    while child::processes().any(is_node) && waiting.elapsed() < SOON {
        thread::sleep(Duration::from_millis(100));
    }
    alone
}

/// A pod with everything that can be left behind: an address, mounts, a shim, control groups.
fn run_a_pod(node: &Node) {
    let image = etcd_image();
    let pod = format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "etcd"}}, "spec": {{
            "containers": [{{"name": "etcd", "image": "{image}", "command": ["etcd", "--data-dir=/data/etcd"],
                "resources": {{"limits": {{"memory": "256Mi"}}}},
                "volumeMounts": [{{"name": "data", "mountPath": "/data"}}]}}],
            "volumes": [{{"name": "data", "emptyDir": {{"medium": "Memory"}}}}]}}}}"#
    );
    node.apply(&pod);
    node.kubectl_ok(&["wait", "pod/etcd", "--for=condition=Ready", "--timeout=240s"]);
}

#[test]
fn pods_resolve_names_and_reach_the_api_server_as_they_would_anywhere() {
    let _alone = alone();
    let Some(node) = Node::start("pods_resolve_names_and_reach_the_api_server_as_they_would_anywhere") else { return };
    run_a_pod(&node);
    let pod = node.get(&["pod", "etcd"]).expect("it is there");
    assert_eq!(pod["spec"]["nodeName"], node.node_name());
    assert_eq!(pod["status"]["hostIP"], node.ip().to_string());
    // The machine reaches pods by their address, as the API server does with webhooks that run in one.
    let address = format!("{}:2379", pod["status"]["podIP"].as_str().expect("it has an address"));
    let refused = std::net::TcpStream::connect(&address).expect_err("etcd listens on the pod's loopback only");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    // `kubectl exec` goes through the kubelet.
    let health = eventually("etcd to answer", SOON, || {
        let output = node.kubectl(["exec", "etcd", "--", "etcdctl", "endpoint", "health"]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    assert!(health.is_empty() || health.contains("is healthy"), "{health}");
    // The service address of the API server, by its name: cluster DNS and kube-proxy. It speaks TLS, not etcd.
    let name = "https://kubernetes.default.svc.cluster.local:443";
    let args = ["exec", "etcd", "--", "etcdctl", "--insecure-skip-tls-verify", "--insecure-transport=false"];
    let endpoint = format!("--endpoints={name}");
    let tail = [endpoint.as_str(), "--command-timeout=10s", "get", "x"];
    // The name server and the rules for the address come a moment after the node.
    let said = eventually("the API server to turn a stranger away", SOON, || {
        let output = node.kubectl(args.iter().chain(&tail));
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ["Unauthenticated", "403", "401"].iter().any(|words| said.contains(words)).then_some(said)
    });
    assert!(!said.contains("no such host") && !said.contains("i/o timeout"), "{said}");
}

/// The machine once it is as before, or as it is after a while: what was killed is in the table of processes until the
/// kernel is through with it.
fn rested(traces: &Traces, before: &Machine) -> Machine {
    let waiting = Instant::now();
    loop {
        let now = Machine::now(Some(traces));
        if now == *before || waiting.elapsed() > SOON {
            return now;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn starts_and_stops_in_a_row_leave_nothing() {
    let _alone = alone();
    let starts = std::env::var("NODE_STARTS").map_or(STARTS, |text| text.parse().expect("NODE_STARTS is a number"));
    if unavailable().is_some() {
        return skipped("starts_and_stops_in_a_row_leave_nothing");
    }
    let before = Machine::now(None);
    println!("before: {}", before.counts());
    let mut times = Vec::new();
    for round in 1..=starts {
        let begun = Instant::now();
        let node = Node::start("starts_and_stops_in_a_row_leave_nothing").expect("it was looked at");
        let ready = begun.elapsed();
        run_a_pod(&node);
        let dir = node.dir().to_owned();
        let traces = Traces::of(&dir);
        let running = Machine::now(Some(&traces));
        assert!(running.processes.len() > 5 && running.links.len() == 1 && !running.cgroups.is_empty(), "{running:?}");
        let stopping = Instant::now();
        drop(node);
        times.push((ready, stopping.elapsed()));
        assert!(!dir.exists(), "{} is left", dir.display());
        let now = rested(&traces, &before);
        println!("while {round} ran: {}", running.counts());
        println!("after {round}: {}", now.counts());
        assert_eq!(now, before);
    }
    times.sort();
    let (ready, stopped) = times[times.len() / 2];
    println!("{starts} starts: median {:.1} s to ready, {:.1} s to stop", ready.as_secs_f64(), stopped.as_secs_f64());
}

/// Says why no node can run.
fn skipped(test: &str) {
    assert!(Node::start(test).is_none());
}

/// Not a test of its own: the test below starts this program again to see what is left after it has ended badly.
#[test]
#[ignore = "started by another test"]
fn child_process() {
    let Ok(mode) = std::env::var(child::MODE) else { return };
    let node = Node::start("child_process").expect("the test that starts this has looked");
    run_a_pod(&node);
    println!("\ndir={}", node.dir().display());
    assert!(mode != "panic", "as asked");
    thread::sleep(Duration::from_mins(2));
}

/// A test that runs a node, in a process of its own, and by what its node is known.
struct Victim {
    test: Child,
    dir: PathBuf,
    traces: Traces,
}

impl Victim {
    fn start(mode: &str) -> Self {
        let (test, dir) = child::start("child_process", mode);
        let traces = Traces::of(&dir);
        Self { test, dir, traces }
    }

    /// Waits until the kernel has ended and dropped everything; returns what is there then.
    fn remains(&mut self) -> Machine {
        self.test.wait().expect("it ends");
        eventually("every process of the node ends", SOON, || {
            (child::processes_of(&self.dir).is_empty() && self.traces.processes().is_empty()).then_some(())
        });
        eventually("the kernel drops its network", SOON, || {
            Machine::now(Some(&self.traces)).links.is_empty().then_some(())
        });
        Machine::now(Some(&self.traces))
    }

    fn expect_no_folder(&self) {
        eventually("the folder is removed", SOON, || (!self.dir.exists()).then_some(()));
    }
}

#[test]
fn a_panic_leaves_the_logs_and_nothing_else() {
    let _alone = alone();
    if unavailable().is_some() {
        return skipped("a_panic_leaves_the_logs_and_nothing_else");
    }
    let before = Machine::now(None);
    let mut victim = Victim::start("panic");
    assert_eq!(victim.remains(), before);
    for log in ["logs/node.log", "node/logs/kubelet.log", "node/root/var/log/pods"] {
        assert!(victim.dir.join(log).exists(), "{log} is kept");
    }
    fs::remove_dir_all(&victim.dir).expect("the folder is removed");
}

#[test]
fn ctrl_c_and_sigkill_of_a_test_leave_nothing() {
    let _alone = alone();
    if unavailable().is_some() {
        return skipped("ctrl_c_and_sigkill_of_a_test_leave_nothing");
    }
    let before = Machine::now(None);
    // Ctrl-C, as a terminal sends it: to the whole foreground group.
    let mut victim = Victim::start("wait");
    child::signal("INT", &format!("-{}", victim.test.id()));
    victim.test.wait().expect("it ends");
    victim.expect_no_folder();
    assert_eq!(victim.remains(), before);

    let mut victim = Victim::start("wait");
    victim.test.kill().expect("it is killed");
    victim.test.wait().expect("it ends");
    victim.expect_no_folder();
    assert_eq!(victim.remains(), before);
}

/// Nobody is left then who could remove the control groups, which are the one thing that the kernel keeps.
#[test]
fn leftovers_of_a_supervisor_that_was_killed_do_not_disturb_the_next_node() {
    let _alone = alone();
    if unavailable().is_some() {
        return skipped("leftovers_of_a_supervisor_that_was_killed_do_not_disturb_the_next_node");
    }
    let before = Machine::now(None);
    let mut victim = Victim::start("wait");
    let is_supervisor = |pid: &u32| child::command_line(*pid).contains("controlplane up ");
    let supervisor = child::processes_of(&victim.dir).into_iter().find(is_supervisor).expect("the supervisor runs");
    child::signal("KILL", &supervisor.to_string());
    victim.test.kill().expect("it is killed");
    let remains = victim.remains();
    assert!(!remains.cgroups.is_empty(), "this has become cleaner: say so above");
    assert_eq!(Machine { cgroups: Vec::new(), ..remains }, before);
    fs::remove_dir_all(&victim.dir).expect("the folder is removed");

    // Until one with the same number has started; the lowest that is free is taken.
    let mut nodes = Vec::new();
    while !Machine::now(Some(&victim.traces)).cgroups.is_empty() {
        let node = Node::start("leftovers").expect("it ran before");
        run_a_pod(&node);
        if node.node_name() == victim.traces.group {
            drop(node);
            assert_eq!(rested(&victim.traces, &before), before);
        } else {
            nodes.push(node);
        }
        assert!(nodes.len() < 5, "the number {} is never taken again", victim.traces.group);
    }
}

#[test]
fn a_node_that_dies_can_be_started_again() {
    let _alone = alone();
    let Some(node) = Node::start("a_node_that_dies_can_be_started_again") else { return };
    run_a_pod(&node);
    node.component(NODE).kill();
    node.component(NODE).start();
    node.kubectl_ok(&["delete", "pod", "etcd", "--force", "--grace-period=0"]);
    run_a_pod(&node);
}
