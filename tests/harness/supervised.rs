//! A cluster that a `controlplane` process supervises, and the line protocol
//! with it.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, de::DeserializeOwned};

/// What every report of a supervisor has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Base {
    /// Milliseconds from the start of the supervisor until all was ready.
    pub(super) start_millis: u64,
    pub(super) logs: PathBuf,
}

/// The answer to a command.
#[derive(Debug, Deserialize)]
struct Answer {
    error: Option<String>,
    #[serde(default)]
    components: Vec<Status>,
}

/// One component, as the supervisor sees it.
#[derive(Debug, Deserialize)]
struct Status {
    name: String,
    pid: u32,
    running: bool,
    log: PathBuf,
}

/// A supervisor process and the folder of its cluster.
///
/// Dropping it stops the cluster and removes the folder; while a panic unwinds,
/// the folder stays and its path is printed.
pub(super) struct Supervised {
    dir: PathBuf,
    child: Child,
    /// `None` once it was closed.
    channel: Mutex<Option<Channel>>,
    keep: bool,
}

struct Channel {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Supervised {
    /// Runs `controlplane SUBCOMMAND ARGS` in a new temporary folder and returns
    /// when its cluster is ready, with its report.
    pub(super) fn start<Report: DeserializeOwned>(subcommand: &str, args: &[String]) -> (Self, Report) {
        let program = super::bin("controlplane");
        let keep = std::env::var_os("ETCD_DEFRAG_KEEP").is_some();
        // The supervisor removes the folder: it outlives a test that is killed.
        let dir = tempfile::Builder::new()
            .prefix("etcd-defrag-test-")
            .tempdir()
            .unwrap_or_else(|error| panic!("make a temporary folder: {error}"))
            .keep();
        let log = File::create(dir.join(SUPERVISOR_LOG))
            .unwrap_or_else(|error| panic!("write in {}: {error}", dir.display()));
        let mut command = Command::new(&program);
        command
            .arg(subcommand)
            .arg("--dir")
            .arg(&dir)
            .args((!keep).then_some("--remove"))
            .args(args)
            // Memory is there, and a collection of garbage takes a fifth of what these programs compute.
            .env("GOGC", "400")
            .env("TZ", where_it_is_noon(Timestamp::now()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("run {}: {error}", program.display()));
        let channel = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .map(|(commands, answers)| Channel { commands, answers: BufReader::new(answers) });
        let supervised = Self { dir, child, channel: Mutex::new(channel), keep };
        let line = supervised.exchange(None);
        let report = serde_json::from_str(&line).unwrap_or_else(|error| match serde_json::from_str(&line) {
            Ok(Answer { error: Some(failure), .. }) => panic!("controlplane {subcommand} did not start: {failure}"),
            _ => panic!("controlplane {subcommand} reported {line:?}: {error}"),
        });
        (supervised, report)
    }

    /// Keeps the folder, with its logs, and says where they are.
    pub(super) fn keep(&self) {
        if let Some(channel) = self.channel.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            // It may have ended; then the folder stays anyway.
            let _ = writeln!(channel.commands, "keep");
            let _ = channel.answers.read_line(&mut String::new());
        }
        eprintln!("logs of the control plane: {}/logs", self.dir.display());
    }

    /// The folder of the cluster.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A component by name, such as `etcd`.
    pub(super) fn component<'a>(&'a self, name: &'a str) -> Component<'a> {
        Component { supervised: self, name }
    }

    fn command(&self, command: &str) -> Result<Answer, String> {
        let line = self.exchange(Some(command));
        let answer: Answer =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("answer {line:?} to {command:?}: {error}"));
        match answer.error {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// Sends a command, if any, and returns the next line of answers.
    fn exchange(&self, command: Option<&str>) -> String {
        let mut guard = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(channel) = guard.as_mut() else {
            panic!("the supervisor was told to stop");
        };
        let mut line = String::new();
        let exchanged = command
            .map_or(Ok(()), |command| writeln!(channel.commands, "{command}"))
            .and_then(|()| channel.answers.read_line(&mut line));
        match exchanged {
            Ok(length) if length > 0 => line,
            _ => panic!("the supervisor has ended: {}", self.supervisor_log()),
        }
    }

    fn supervisor_log(&self) -> String {
        let path = self.dir.join(SUPERVISOR_LOG);
        match fs::read_to_string(&path) {
            Ok(text) if text.is_empty() => format!("{} is empty", path.display()),
            Ok(text) => text,
            Err(error) => format!("{}: {error}", path.display()),
        }
    }
}

/// Where the supervisor's standard error goes, inside the cluster's folder. The
/// supervisor knows the name.
const SUPERVISOR_LOG: &str = "supervisor.log";

impl Drop for Supervised {
    fn drop(&mut self) {
        let keep = self.keep || thread::panicking();
        if keep {
            self.keep();
        }
        // The end of its input tells the supervisor to stop.
        *self.channel.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        let stopped = self.child.wait().is_ok_and(|status| status.success());
        if keep {
            return;
        }
        if !stopped {
            self.keep();
        } else if let Err(error) = fs::remove_dir_all(&self.dir)
            && error.kind() != ErrorKind::NotFound
        {
            eprintln!("{} could not be removed: {error}", self.dir.display());
        }
    }
}

/// One process of a cluster.
#[derive(Clone, Copy)]
pub struct Component<'a> {
    supervised: &'a Supervised,
    name: &'a str,
}

impl Component<'_> {
    /// Ends it with SIGTERM, after 5 s with SIGKILL, and waits until it is gone.
    #[track_caller]
    pub fn stop(self) {
        self.obey("stop");
    }

    /// Ends it with SIGKILL and waits until it is gone.
    #[track_caller]
    pub fn kill(self) {
        self.obey("kill");
    }

    /// Starts it again after `stop` or `kill` and waits until it is ready.
    #[track_caller]
    pub fn start(self) {
        self.obey("start");
    }

    /// Stops and starts it and waits until it is ready.
    #[track_caller]
    pub fn restart(self) {
        self.obey("restart");
    }

    /// Freezes it: connections to it stay open and nothing answers.
    #[track_caller]
    pub fn pause(self) {
        self.obey("pause");
    }

    /// Lets it go on after `pause`.
    #[track_caller]
    pub fn resume(self) {
        self.obey("resume");
    }

    /// Carries out a command, by its verb; the error is the supervisor's.
    pub fn attempt(self, verb: &str) -> Result<(), String> {
        let command = format!("{verb} {}", self.name);
        self.supervised.command(&command).map(drop)
    }

    /// The process id, while it runs.
    #[track_caller]
    pub fn pid(self) -> Option<u32> {
        let status = self.status();
        status.running.then_some(status.pid)
    }

    /// What it has logged so far, in all its runs.
    #[track_caller]
    pub fn log(self) -> String {
        let path = self.log_path();
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Where its log is.
    #[track_caller]
    pub fn log_path(self) -> PathBuf {
        self.status().log
    }

    #[track_caller]
    fn obey(self, verb: &str) {
        if let Err(error) = self.attempt(verb) {
            panic!("{verb} {}: {error}", self.name);
        }
    }

    #[track_caller]
    fn status(self) -> Status {
        let components = match self.supervised.command("status") {
            Ok(answer) => answer.components,
            Err(error) => panic!("status: {error}"),
        };
        components
            .into_iter()
            .find(|status| status.name == self.name)
            .unwrap_or_else(|| panic!("no component is named {}", self.name))
    }
}

/// A time zone in which noon is less than an hour away. The schedule that is built in is midnight where
/// kube-controller-manager runs; it must not become due while a test counts runs.
fn where_it_is_noon(now: Timestamp) -> String {
    // By POSIX, and so in these names, what is west of Greenwich is positive.
    format!("Etc/GMT{:+}", now.to_zoned(TimeZone::UTC).hour() - 12)
}
