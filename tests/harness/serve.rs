//! A running `etcd-defrag-webhook serve`: the real binary against a real control plane.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{ControlPlane, eventually, free_port, guard::Guard};

/// From start to ready, and from SIGTERM to the end, no longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// How to run it.
#[derive(Debug, Clone, Default)]
pub struct ServeOptions {
    /// Whether to register the webhooks with the API server.
    pub register: bool,
    /// The port of the webhook; 0 takes a free one.
    pub port: u16,
    /// The kubeconfig; without one the administrator's.
    pub kubeconfig: Option<PathBuf>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Whether `args` say where the certificate comes from; without it all of a control plane share one in files.
    pub own_certificate: bool,
    /// The name in the Lease; without it one by the port.
    pub identity: Option<String>,
    /// The program; without it the one under test.
    pub program: Option<PathBuf>,
}

/// A running process; ended when dropped.
pub struct Serve {
    child: Child,
    /// The port of the webhook on 127.0.0.1.
    pub port: u16,
    /// The port of probes and metrics on 127.0.0.1.
    pub probes: u16,
    /// What it wrote.
    pub log: PathBuf,
    begun: Instant,
    /// From exec to ready.
    pub start_time: Duration,
    _guard: Guard,
}

impl Serve {
    /// Starts it with the webhooks registered and waits until it is ready and the API server calls it.
    pub fn start(plane: &ControlPlane) -> Self {
        Self::start_with(plane, &ServeOptions { register: true, ..ServeOptions::default() })
    }

    /// Starts it and waits until it is ready.
    pub fn start_with(plane: &ControlPlane, options: &ServeOptions) -> Self {
        let mut serve = Self::spawn(plane, options);
        while options.port == 0 && serve.lost_its_port() {
            serve = Self::spawn(plane, options);
        }
        serve.wait_ready();
        if options.register {
            // The API server takes a moment to learn of the registrations.
            eventually("the API server to call the webhook", PATIENCE, || (!accepts_nonsense(plane)).then_some(()));
        }
        serve
    }

    /// Starts it and waits for nothing.
    pub fn spawn(plane: &ControlPlane, options: &ServeOptions) -> Self {
        let port = if options.port == 0 { free_port() } else { options.port };
        let probes = free_port();
        let log = plane.logs().join(format!("serve-{port}-{probes}.log"));
        let file = File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let identity = options.identity.clone().unwrap_or_else(|| format!("replica-{port}"));
        let program = options.program.clone().unwrap_or_else(binary);
        let mut command = Command::new(&program);
        command
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--probes-listen", &format!("127.0.0.1:{probes}")])
            .args(["--identity", &identity])
            .args(&options.args)
            .env("KUBECONFIG", options.kubeconfig.as_deref().unwrap_or_else(|| plane.kubeconfig()))
            .envs(of_the_allocator())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap_or_else(|error| panic!("{error}")))
            .stderr(file);
        if !options.args.iter().any(|argument| argument.starts_with("--drain-delay")) {
            command.args(["--drain-delay", "0s"]);
        }
        // Their Jobs would stand beside those that tests count. An earlier program does not know the flag.
        if options.program.is_none() && !options.args.iter().any(|argument| argument.starts_with("--preflight")) {
            command.arg("--preflight=false");
        }
        if !options.own_certificate {
            let certs = certificates(plane);
            command.arg("--tls-cert").arg(certs.join("tls.crt")).arg("--tls-key").arg(certs.join("tls.key"));
            if options.register {
                command
                    .args(["--register-webhooks", &format!("https://127.0.0.1:{port}")])
                    .arg("--ca-bundle")
                    .arg(certs.join("ca.crt"));
            }
        }
        let begun = Instant::now();
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let guard = Guard::of(child.id());
        Self { child, port, probes, log, begun, start_time: Duration::ZERO, _guard: guard }
    }

    /// Whether somebody took its port between the choice and the start.
    fn lost_its_port(&mut self) -> bool {
        eventually("serve to answer or to end", PATIENCE, || match self.child.try_wait() {
            Ok(Some(_)) => Some(self.log().contains("Address already in use")),
            _ => self.readyz().map(|_| false),
        })
    }

    /// Waits until it is ready.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        eventually("serve to become ready", PATIENCE, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("serve ended at once ({status}):\n{}", self.log());
            }
            self.readyz().filter(|(ready, _)| *ready)
        });
        self.start_time = self.begun.elapsed();
    }

    /// Whether it is ready, and its words; `None` where nothing answers.
    pub fn readyz(&self) -> Option<(bool, String)> {
        let answer = self.probe("/readyz")?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.starts_with("HTTP/1.1 200"), body.to_owned()))
    }

    /// The value of a metric, by the whole of what is before it.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.probe("/metrics")?;
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.trim().parse().ok()
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The whole answer of a probe or of `/metrics`, head included; `None` where nothing answers.
    pub fn probe(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.probes)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send SIG{name} to serve");
    }

    /// Ends it by SIGTERM and returns whether it exited with 0.
    pub fn stop(mut self) -> bool {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for its end after SIGTERM and returns whether it exited with 0.
    pub fn wait(&mut self) -> bool {
        eventually("serve to end after SIGTERM", PATIENCE, || self.child.try_wait().ok().flatten()).success()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rights of `deploy/manifests`, so that a missing one fails a test; and one more, for it registers itself here.
pub fn with_its_own_rights(plane: &ControlPlane) -> ServeOptions {
    plane.apply(include_str!("../../deploy/manifests/00-namespace.yaml"));
    plane.apply(include_str!("../../deploy/manifests/10-rbac.yaml"));
    let (namespace, account) = ("etcd-defrag-system", "etcd-defrag-webhook");
    plane.kubectl_ok(&[
        "create",
        "clusterrole",
        "register-webhooks",
        "--verb=get,create,patch",
        "--resource=mutatingwebhookconfigurations,validatingwebhookconfigurations",
    ]);
    let subject = format!("--serviceaccount={namespace}:{account}");
    plane.kubectl_ok(&[
        "create",
        "clusterrolebinding",
        "register-webhooks",
        "--clusterrole=register-webhooks",
        &subject,
    ]);
    ServeOptions {
        register: true,
        kubeconfig: Some(plane.service_account_kubeconfig(namespace, account)),
        args: vec![format!("--namespace={namespace}")],
        ..ServeOptions::default()
    }
}

/// What the Deployment tells the allocator, so that `serve` is as large here as it is there.
fn of_the_allocator() -> Vec<(String, String)> {
    let manifests: Vec<Value> = serde_saphyr::from_multiple(include_str!("../../deploy/manifests/20-deployment.yaml"))
        .unwrap_or_else(|error| panic!("deploy/manifests/20-deployment.yaml: {error}"));
    let deployment = manifests.iter().find(|manifest| manifest["kind"] == "Deployment").expect("it has a Deployment");
    let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
    let texts = variables.into_iter().flatten().filter_map(|one| Some((one["name"].as_str()?, one["value"].as_str()?)));
    let of_it: Vec<_> =
        texts.filter(|(name, _)| name.starts_with("MALLOC_")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    assert!(!of_it.is_empty(), "the Deployment says nothing to the allocator");
    of_it
}

/// Whether a StatefulSet whose label makes no sense gets through.
fn accepts_nonsense(plane: &ControlPlane) -> bool {
    let object = r#"{"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "nonsense", "namespace": "default", "labels": {"etcd-defrag.io/enabled": "nonsense"}},
        "spec": {"serviceName": "x", "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "c"}]}}}}"#;
    plane.kubectl_stdin(["create", "--dry-run=server", "-f", "-"], object).status.success()
}

/// The binary under test: the one that cargo has put beside the folder of this program.
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|error| panic!("the path of this program: {error}"));
    let path = own.parent().and_then(Path::parent).map(|dir| dir.join("etcd-defrag-webhook")).unwrap_or_default();
    assert!(path.is_file(), "{} is missing: run `cargo build` first", path.display());
    path
}

/// The folder with the certificates that every `serve` of a control plane shares: `ca.crt`, `tls.crt` and `tls.key`.
pub fn certificates(plane: &ControlPlane) -> PathBuf {
    let dir = plane.dir().join("webhook-certs");
    if !dir.join("tls.key").is_file() {
        let made = Command::new(binary()).arg("certs").arg("--out").arg(&dir).output();
        let made = made.unwrap_or_else(|error| panic!("{}: {error}", binary().display()));
        assert!(made.status.success(), "certs failed: {}", String::from_utf8_lossy(&made.stderr));
    }
    dir
}
