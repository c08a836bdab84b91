//! The processes of a node, looked at and treated from outside.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{NODE, Node, run};

/// A process of a node, by its number on this machine.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: u32,
    /// The name of its program, at most 15 characters.
    pub name: String,
    /// Resident memory in bytes; pages that it shares with others count.
    pub resident: u64,
    /// The most that it has been so far.
    pub peak: u64,
}

impl Process {
    /// A process of this machine, while it lives.
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let kib = |name| field(name).and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
        let bytes = |name| kib(name).unwrap_or_default() * 1024;
        Some(Self { pid, name: field("Name:")?.to_owned(), resident: bytes("VmRSS:"), peak: bytes("VmHWM:") })
    }

    /// Ends it by SIGKILL.
    pub fn kill(&self) {
        self.signal("KILL");
    }

    /// Sends it a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let mut command = Command::new("kill");
        command.args(["-s", name, &self.pid.to_string()]);
        let sent = run(command, None);
        assert!(sent.status.success(), "kill -s {name} {self:?}: {}", String::from_utf8_lossy(&sent.stderr));
    }
}

/// What a process of this machine has used of the processors so far, in seconds.
#[track_caller]
pub fn processor_seconds(pid: u32) -> f64 {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    // The name of the program, in brackets, may hold spaces.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u32>().ok()).map(f64::from);
    let (user, system) = ticks().zip(ticks()).unwrap_or_else(|| panic!("{path}: {stat}"));
    // Linux counts in hundredths of a second wherever it shows them.
    (user + system) / 100.0
}

impl Node {
    /// Every process of the node, those of its pods included.
    pub fn processes(&self) -> Vec<Process> {
        let first = self.component(NODE).pid().unwrap_or_else(|| panic!("the node does not run"));
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let wanted = namespace(first);
        all_pids().filter(|&pid| namespace(pid) == wanted).filter_map(Process::of).collect()
    }

    /// The processes of a pod.
    #[track_caller]
    pub fn pod_processes(&self, namespace: &str, pod: &str) -> Vec<Process> {
        let mut found = Vec::new();
        let mut left = vec![self.pod_cgroup(namespace, pod)];
        while let Some(dir) = left.pop() {
            let pids = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            found.extend(pids.lines().filter_map(|pid| pid.parse().ok()).filter_map(Process::of));
            left.extend(folders_in(&dir));
        }
        found
    }

    /// The process of the etcd in a pod.
    #[track_caller]
    pub fn etcd_process(&self, namespace: &str, pod: &str) -> Process {
        let found = self.pod_processes(namespace, pod).into_iter().find(|process| process.name == "etcd");
        found.unwrap_or_else(|| panic!("no process named etcd in {namespace}/{pod}"))
    }

    /// Gives the containers of a pod at most this share of one processor, as a
    /// slow machine would; `None` lifts it.
    #[track_caller]
    pub fn throttle(&self, namespace: &str, pod: &str, percent: Option<u32>) {
        let dir = self.pod_cgroup(namespace, pod);
        let (file, none) = if unified() { ("cpu.max", "max") } else { ("cpu.cfs_quota_us", "-1") };
        // Of the period that both versions have by default, 100 ms.
        let value = percent.map_or_else(|| none.to_owned(), |percent| (percent * 1000).to_string());
        let path = dir.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Puts a process of this machine where one of a pod's is: it gets the processors that the container gets.
    #[track_caller]
    pub fn put_beside(&self, namespace: &str, pod: &str, beside: &Process, process: u32) {
        let holds = |dir: &PathBuf| {
            let members = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            members.lines().any(|pid| pid.parse() == Ok(beside.pid))
        };
        let pod_group = self.pod_cgroup(namespace, pod);
        let container =
            folders_in(&pod_group).find(holds).unwrap_or_else(|| panic!("{beside:?} is not in {namespace}/{pod}"));
        let path = container.join("cgroup.procs");
        fs::write(&path, process.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// The control group of a pod, in the hierarchy that shares out processors.
    #[track_caller]
    fn pod_cgroup(&self, namespace: &str, pod: &str) -> PathBuf {
        let object =
            self.get(&["-n", namespace, "pod", pod]).unwrap_or_else(|| panic!("{namespace}/{pod} is not there"));
        let name = format!("pod{}", object["metadata"]["uid"].as_str().unwrap_or_default());
        let hierarchy = if unified() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/cpu" };
        let root = Path::new(hierarchy).join(self.node_name()).join("kubepods");
        // Pods are grouped by quality of service, those with guarantees are not.
        let classes = [root.join("burstable"), root.join("besteffort"), root];
        let found = classes.iter().map(|class| class.join(&name)).find(|dir| dir.is_dir());
        found.unwrap_or_else(|| panic!("{namespace}/{pod} has no control group {name}"))
    }
}

/// Whether control groups are those of version 2.
fn unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn all_pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn folders_in(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir())
}
