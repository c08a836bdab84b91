//! A Kubernetes control plane without nodes.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
    thread::sleep,
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    audit::{Audit, AuditLog, AuditMark},
    eventually, expect_success,
    node::NodeReport,
    read, run,
    supervised::{Base, Component, Supervised},
};

/// The component that stores everything.
pub const ETCD: &str = "etcd";
/// The component that serves the API.
pub const API_SERVER: &str = "kube-apiserver";
/// The component that runs the controllers, such as those of StatefulSets and
/// CronJobs.
pub const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// What the supervisor says once the control plane is ready.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(flatten)]
    base: Base,
    version: String,
    server: String,
    kubeconfig: PathBuf,
    ca_file: PathBuf,
    client_cert_file: PathBuf,
    client_key_file: PathBuf,
    audit_log: AuditLog,
    etcd_endpoint: String,
    node: Option<NodeReport>,
}

/// A running control plane of one's own: etcd, API server (RBAC, admission
/// webhooks, Pod Security, audit log) and controller manager.
///
/// There is no node: pods are made and stay Pending. Dropping it stops
/// everything and removes its folder; while a panic unwinds, the folder stays
/// and its path is printed.
pub struct ControlPlane {
    supervised: Supervised,
    report: Report,
    /// Made at the first look.
    client: OnceLock<Client>,
}

impl ControlPlane {
    /// Starts one, on ports and in a folder of its own; takes some 4 s on an idle
    /// machine with 2 cores.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further arguments, as pairs of program and argument:
    /// `(API_SERVER, "--feature-gates=…")`. The last value of a flag counts.
    pub fn start_with(extra: &[(&str, &str)]) -> Self {
        let args: Vec<String> =
            extra.iter().map(|(program, argument)| format!("--extra={program}={argument}")).collect();
        Self::start_args(&args).0
    }

    /// Starts one in which everything listens on `::1` only, and Services have addresses of IPv6 only.
    pub fn start_ipv6() -> Self {
        Self::start_args(&["--ipv6".to_owned()]).0
    }

    /// Starts one with arguments of `controlplane up`; the report is that of the
    /// node, if there is one.
    pub(super) fn start_args(args: &[String]) -> (Self, Option<NodeReport>) {
        let (supervised, mut report) = Supervised::start::<Report>("up", args);
        let node = report.node.take();
        (Self { supervised, report, client: OnceLock::new() }, node)
    }

    /// Its folder: keys, data, logs. Removed at the end, with whatever a test has
    /// put there.
    pub fn dir(&self) -> &Path {
        self.supervised.dir()
    }

    /// Keeps its folder, for a test that failed and does not own it.
    pub fn keep(&self) {
        self.supervised.keep();
    }

    /// The folder of the components' logs.
    pub fn logs(&self) -> &Path {
        &self.report.base.logs
    }

    /// The kubeconfig of an administrator (group `system:masters`); it refers to
    /// no other file.
    pub fn kubeconfig(&self) -> &Path {
        &self.report.kubeconfig
    }

    /// The URL of the API server.
    pub fn server(&self) -> &str {
        &self.report.server
    }

    /// The certificate of the authority that signed the API server's, as PEM.
    pub fn ca_file(&self) -> &Path {
        &self.report.ca_file
    }

    /// The administrator's certificate, as PEM.
    pub fn client_cert_file(&self) -> &Path {
        &self.report.client_cert_file
    }

    /// The administrator's private key, as PEM.
    pub fn client_key_file(&self) -> &Path {
        &self.report.client_key_file
    }

    /// The URL of the etcd below the API server: plain HTTP, loopback only.
    pub fn etcd_endpoint(&self) -> &str {
        &self.report.etcd_endpoint
    }

    /// The version of Kubernetes, such as `v1.37.2`.
    pub fn version(&self) -> &str {
        &self.report.version
    }

    /// How long it took from the start of the supervisor until all was ready.
    pub fn start_time(&self) -> Duration {
        Duration::from_millis(self.report.base.start_millis)
    }

    /// One of [`ETCD`], [`API_SERVER`] and [`CONTROLLER_MANAGER`], to stop, start
    /// or freeze it.
    pub fn component<'a>(&'a self, name: &'a str) -> Component<'a> {
        self.supervised.component(name)
    }

    /// The path of a program, such as `kubectl` or `etcdctl`.
    #[expect(clippy::unused_self, reason = "reads better where a control plane is at hand")]
    pub fn bin(&self, name: &str) -> PathBuf {
        super::bin(name)
    }

    /// A `kubectl` command against this control plane, as its administrator.
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(super::bin("kubectl"));
        command
            .env("KUBECONFIG", self.kubeconfig())
            // It ends before it has to collect anything.
            .env("GOGC", "off")
            // Neither the user's cache nor the user's preferences.
            .env("KUBECACHEDIR", self.dir().join("kubectl-cache"))
            .env("KUBERC", "off");
        command
    }

    /// Runs `kubectl`, whether it succeeds or not.
    pub fn kubectl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        let mut command = self.kubectl_command();
        command.args(args);
        run(command, None)
    }

    /// Runs `kubectl` with text on its standard input (`-f -`).
    pub fn kubectl_stdin<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, stdin: &str) -> Output {
        let mut command = self.kubectl_command();
        command.args(args);
        run(command, Some(stdin))
    }

    /// Runs `kubectl`, which has to succeed, and returns its standard output.
    #[track_caller]
    pub fn kubectl_ok(&self, args: &[&str]) -> String {
        expect_success(&self.kubectl(args), "kubectl", args)
    }

    /// Applies a manifest (YAML or JSON), which has to succeed.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        let args = ["apply", "-f", "-"];
        expect_success(&self.kubectl_stdin(args, manifest), "kubectl", &args)
    }

    /// Waits until objects of a definition can be made. `kubectl wait` fails where
    /// the status is not there yet.
    #[track_caller]
    pub fn wait_established(&self, definition: &str) {
        eventually(&format!("{definition} to be established"), Duration::from_secs(30), || {
            let conditions = self.get(&["crd", definition])?["status"]["conditions"].clone();
            let established = json!({"type": "Established", "status": "True"});
            conditions
                .as_array()?
                .iter()
                .any(|found| ["type", "status"].iter().all(|field| found[field] == established[field]))
                .then_some(())
        });
        // The API server serves a new kind a moment after it is established.
        eventually(&format!("{definition} to be served"), Duration::from_secs(30), || {
            self.kubectl(["get", definition]).status.success().then_some(())
        });
    }

    /// `kubectl get ARGS -o json`; `None` when it fails, as for an object that is
    /// not there. Most forms are asked for without `kubectl`.
    pub fn get(&self, args: &[&str]) -> Option<Value> {
        if let Some(path) = read::path(args) {
            return read::read(&self.client, self.kubeconfig(), path);
        }
        let output = self.kubectl(["get", "-o", "json"].iter().chain(args));
        if !output.status.success() {
            return None;
        }
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Writes a kubeconfig with a fresh token (1 h) of a service account, which
    /// has to exist, so that a program runs with the rights it would have in a
    /// pod. Returns its path.
    #[track_caller]
    pub fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> PathBuf {
        let token = self.kubectl_ok(&["create", "token", "-n", namespace, name]);
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "controlplane", "cluster": {
                "server": self.server(), "certificate-authority": self.ca_file(),
            }}],
            "users": [{"name": name, "user": {"token": token.trim()}}],
            "contexts": [{"name": "controlplane", "context": {
                "cluster": "controlplane", "user": name, "namespace": namespace,
            }}],
            "current-context": "controlplane",
        });
        let path = self.dir().join(format!("{namespace}.{name}.kubeconfig"));
        fs::write(&path, config.to_string()).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// All requests so far, those of the control plane's own parts included.
    #[track_caller]
    pub fn audit(&self) -> Audit {
        self.audit_since(AuditMark::START)
    }

    /// A mark after the last request that is logged now.
    pub fn audit_mark(&self) -> AuditMark {
        self.report.audit_log.mark()
    }

    /// Waits until a program, by the start of its user agent, has written nothing but Leases for this long.
    #[track_caller]
    pub fn wait_quiet(&self, agent: &str, quiet: Duration) {
        eventually(&format!("{agent} to have nothing left to write"), Duration::from_mins(2), || {
            let mark = self.audit_mark();
            sleep(quiet);
            let writes = self.audit_since(mark).writes().by_agent(agent);
            (writes.count(|event| event.resource != "leases") == 0).then_some(())
        });
    }

    /// The requests that were logged after the mark.
    #[track_caller]
    pub fn audit_since(&self, mark: AuditMark) -> Audit {
        self.report.audit_log.since(mark)
    }
}

/// A client with the rights of a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Client {
    let failed = |error: &dyn std::fmt::Display| -> ! { panic!("{}: {error}", kubeconfig.display()) };
    let read = Kubeconfig::read_from(kubeconfig).unwrap_or_else(|error| failed(&error));
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let config = config.unwrap_or_else(|error| failed(&error));
    Client::try_from(config).unwrap_or_else(|error| failed(&error))
}
