//! What ends when this program does.

use std::process::{Child, Command, Stdio};

/// Ends a process when this program has ended, however it did, by a pipe that is closed then: what stands in a static is never dropped.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    pub(crate) fn of(pid: u32) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read -r _; kill -KILL \"$0\"", &pid.to_string()]);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().unwrap_or_else(|error| panic!("sh: {error}")))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Before its pipe is closed: whoever drops it has ended the process, whose number may be another's by now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
