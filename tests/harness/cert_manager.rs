//! The controllers of cert-manager, beside a control plane.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::{ControlPlane, bin};

/// From start until its caches are filled, with room for a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// cert-manager's issuing controllers and its injector, as one process of this machine; ended when dropped, and with this
/// process.
///
/// Its own webhook is not there, so nothing fills in defaults or refuses a wrong object but the definitions themselves.
pub struct CertManager {
    child: Child,
    // Its end is what ends the process.
    _stdin: Option<ChildStdin>,
    /// From the start to running controllers.
    pub start_time: Duration,
}

impl CertManager {
    /// Installs its definitions, starts it and waits until its controllers run.
    pub fn start(plane: &ControlPlane) -> Self {
        let definitions = fs::read_to_string(bin("cert-manager-crds.yaml")).unwrap_or_else(|error| panic!("{error}"));
        // They are larger than what client-side apply can note down.
        let applied = plane.kubectl_stdin(["apply", "--server-side", "-f", "-"], &definitions);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        for definition in ["issuers", "clusterissuers", "certificates", "certificaterequests"] {
            plane.wait_established(&format!("{definition}.cert-manager.io"));
        }

        let begun = Instant::now();
        let log = plane.logs().join("cert-manager.log");
        let file = File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let mut command = Command::new(bin("cert-manager"));
        command.arg("--kubeconfig").arg(plane.kubeconfig());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cert-manager: {error}"));
        let (sender, said) = mpsc::channel();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        thread::spawn(move || {
            let mut line = String::new();
            let read = stdout.map(|stdout| BufReader::new(stdout).read_line(&mut line));
            let _ = sender.send(read.is_some_and(|read| read.is_ok()) && line.trim() == "ready");
        });
        let mut started = Self { child, _stdin: stdin, start_time: Duration::ZERO };
        if said.recv_timeout(PATIENCE) != Ok(true) {
            let status = started.child.try_wait();
            let text = fs::read_to_string(&log).unwrap_or_default();
            panic!("cert-manager did not become ready ({status:?}):\n{text}");
        }
        started.start_time = begun.elapsed();
        started
    }
}

impl Drop for CertManager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
