//! An etcd with something to reclaim, and a run.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use etcd_defrag_webhook::defrag::run_result::{Did, Outcome, RunResult};
use harness::{Defragmentation, EtcdCluster, EtcdOptions, eventually};

/// The arguments that every run here has: time enough on a busy machine.
pub(crate) const PATIENT: [&str; 3] = ["--command-timeout=60s", "--dial-timeout=20s", "--compaction=true"];

pub(crate) fn cluster(options: &EtcdOptions) -> EtcdCluster {
    EtcdCluster::start(options)
}

/// Writes half a megabyte to a key so often that as much as `megabytes` can be reclaimed once the history is compacted.
pub(crate) fn waste(etcd: &EtcdCluster, megabytes: usize) {
    let value = "x".repeat(500_000);
    for _ in 0..megabytes * 2 {
        etcd.put("waste", &value);
    }
    etcd.put("waste", "small");
    // Each member counts it with its next commit.
    eventually("each member to have what was written", Duration::from_mins(1), || {
        etcd.status().iter().all(|member| member.db_size_in_use > megabytes as u64 * 1_000_000).then_some(())
    });
}

/// Writes until the quota is reached and NOSPACE raised.
pub(crate) fn fill_up(etcd: &EtcdCluster) {
    let value = "x".repeat(100_000);
    while !is_full(etcd) {
        let mut put = etcd.etcdctl_command();
        put.args(["put", "waste", &value]);
        for _ in 0..20 {
            let _ = put.output().unwrap();
        }
    }
}

pub(crate) fn is_full(etcd: &EtcdCluster) -> bool {
    etcd.etcdctl_ok(&["alarm", "list"]).contains("NOSPACE")
}

/// A run, with the arguments that reach `etcd`.
pub(crate) struct Runner {
    command: Command,
    result: PathBuf,
}

impl Runner {
    pub(crate) fn new(etcd: &EtcdCluster) -> Self {
        Self::of(etcd, &etcd.endpoints().join(","))
    }

    pub(crate) fn of(etcd: &EtcdCluster, endpoints: &str) -> Self {
        let mut runner = Self::bare(etcd, endpoints);
        runner.command.args(files(etcd));
        runner
    }

    /// Without certificates.
    pub(crate) fn bare(etcd: &EtcdCluster, endpoints: &str) -> Self {
        static RUNS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = RUNS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let result = etcd.dir().join(format!("result-{number}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook"));
        command.arg("defrag").arg(format!("--endpoints={endpoints}")).args(PATIENT);
        command.arg("--termination-log").arg(&result);
        Self { command, result }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        // A flag that is given twice is an error.
        let given = |arg: &std::ffi::OsStr| {
            let name = arg.to_string_lossy().split('=').next().unwrap_or_default().to_owned();
            args.iter().any(|other| other.split('=').next() == Some(&name) && name.starts_with("--"))
        };
        let kept: Vec<_> = self.command.get_args().filter(|arg| !given(arg)).map(ToOwned::to_owned).collect();
        let mut command = Command::new(self.command.get_program());
        command.args(kept).args(args);
        self.command = command;
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn run(mut self) -> Ended {
        let output = self.command.output().unwrap();
        Ended::new(output, &self.result)
    }

    /// Starts it, to see it end later. Its log goes into a file.
    pub(crate) fn start(mut self) -> Running {
        let log = self.result.with_extension("log");
        let child = self.command.stdout(File::create(&log).unwrap()).stderr(Stdio::inherit()).spawn().unwrap();
        Running { child, log, result: self.result }
    }
}

pub(crate) fn files(etcd: &EtcdCluster) -> Vec<String> {
    [("--cacert", etcd.ca_file()), ("--cert", etcd.client_cert_file()), ("--key", etcd.client_key_file())]
        .into_iter()
        .filter_map(|(flag, file)| Some(format!("{flag}={}", file?.display())))
        .collect()
}

pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    result: PathBuf,
}

impl Running {
    /// Waits until the log has said this.
    pub(crate) fn until(&self, said: &str) {
        eventually(&format!("the runner says {said:?}"), Duration::from_mins(1), || {
            std::fs::read_to_string(&self.log).ok()?.contains(said).then_some(())
        });
    }

    pub(crate) fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::TERM)
            .unwrap();
    }

    pub(crate) fn end(mut self) -> Ended {
        let status = self.child.wait().unwrap();
        let stdout = std::fs::read(&self.log).unwrap();
        Ended::new(Output { status, stdout, stderr: Vec::new() }, &self.result)
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) log: String,
    pub(crate) result: RunResult,
}

impl Ended {
    fn new(output: Output, result: &Path) -> Self {
        let log = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        println!("{log}");
        let text = std::fs::read_to_string(result).or_else(missing).unwrap();
        let result = RunResult::read(&text).unwrap_or_else(|error| panic!("{error}: {text:?}\n{log}"));
        let code = output.status.code().unwrap();
        assert_eq!(code, i32::from(result.outcome.exit_code()), "{log}");
        Self { code, log, result }
    }

    /// A row of `make incidents`: what happened, what the runner did, and how many members were blocked at the same time.
    #[track_caller]
    pub(crate) fn incident(&self, etcd: &EtcdCluster, what: &str) {
        let most = Defragmentation::most_at_once(&etcd.defragmentations());
        println!("INCIDENT: | {what} | {:?}, exit {}: {} | {most} |", self.result.outcome, self.code, self.result);
        assert!(most <= 1, "{most} members were blocked at the same time");
    }

    /// Name and deed of each member.
    pub(crate) fn deeds(&self) -> Vec<(&str, Did)> {
        self.result.members.iter().map(|member| (member.name.as_str(), member.did)).collect()
    }

    pub(crate) fn count(&self, did: Did) -> usize {
        self.result.members.iter().filter(|member| member.did == did).count()
    }

    #[track_caller]
    pub(crate) fn ended(&self, outcome: Outcome, reason: &str) {
        assert_eq!(self.result.outcome, outcome, "{}", self.log);
        assert!(self.result.reason.contains(reason), "{:?} has not {reason:?}", self.result.reason);
    }
}

fn missing(error: io::Error) -> io::Result<String> {
    if error.kind() == io::ErrorKind::NotFound { Ok(String::new()) } else { Err(error) }
}
