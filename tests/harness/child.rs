//! This test program again, as a process of its own: mostly one that ends badly, to see what it leaves.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What the child is to do, in its environment.
pub const MODE: &str = "ETCD_DEFRAG_TEST_CHILD";

/// The ignored test of that name, as a process of this program.
pub fn of_this_program(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}

/// Starts the ignored test of that name in a process group of its own, with its mode in [`MODE`], and returns it with
/// the folder that it prints as `dir=`.
pub fn start(test: &str, mode: &str) -> (Child, PathBuf) {
    let mut child = of_this_program(test)
        .env(MODE, mode)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("this program runs again");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let dir = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("dir=").map(PathBuf::from))
        .expect("the child says where its cluster is");
    (child, dir)
}

/// Sends a signal to a process, or to a process group (`-ID`).
pub fn signal(name: &str, target: &str) {
    let status = Command::new("kill").args(["-s", name, "--", target]).status().expect("kill runs");
    assert!(status.success(), "kill -s {name} {target}");
}

/// Ids of all processes.
pub fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The arguments of a process, as one text; empty when it is gone.
pub fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Ids of the processes that have the folder in their command line.
pub fn processes_of(dir: &Path) -> Vec<u32> {
    let dir = dir.to_str().expect("a temporary folder with a plain name");
    processes().filter(|pid| command_line(*pid).contains(dir)).collect()
}
