//! Helm, as a person runs it, without that person's files.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{ControlPlane, bin, expect_success, run};

/// The folder of the project's chart.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/chart/etcd-defrag-webhook")
}

/// A `helm` command that reaches no cluster.
pub fn helm_command() -> Command {
    let mut command = Command::new(bin("helm"));
    // Neither the user's repositories nor the user's cluster, nor plug-ins; and no cache, which nobody would remove.
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/proc/nobody").env("KUBECONFIG", "/dev/null");
    command
}

/// The arguments, and before values from standard input (`-f -`) the one value that the chart asks for: the image, by the
/// name that `make image` gives it.
fn with_image<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
    if let Some(at) = args.windows(2).position(|pair| pair == ["-f", "-"]) {
        let image = concat!(env!("CARGO_MANIFEST_DIR"), "/image.yaml");
        args.splice(at..at, ["-f", image].map(OsString::from));
    }
    args
}

/// Runs `helm` without a cluster, whether it succeeds or not.
pub fn helm<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, values: &str) -> Output {
    let mut command = helm_command();
    command.args(with_image(args));
    run(command, Some(values))
}

/// Runs `helm`, which has to succeed, and returns its standard output; `values` are its standard input (`-f -`), beside the
/// image.
#[track_caller]
pub fn helm_ok(args: &[&str], values: &str) -> String {
    expect_success(&helm(args, values), "helm", args)
}

impl ControlPlane {
    /// Runs `helm` as the administrator of this control plane, whether it succeeds or not.
    pub fn helm<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, values: &str) -> Output {
        let mut command = helm_command();
        command.env("KUBECONFIG", self.kubeconfig()).args(with_image(args));
        run(command, Some(values))
    }

    /// The same, which has to succeed; returns standard output.
    #[track_caller]
    pub fn helm_ok(&self, args: &[&str], values: &str) -> String {
        expect_success(&self.helm(args, values), "helm", args)
    }
}
