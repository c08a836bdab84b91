//! A real node below a control plane: StatefulSets and Jobs run as pods.

use std::{
    ffi::OsString,
    net::Ipv4Addr,
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use serde::Deserialize;
use tempfile::TempDir;

use super::{ControlPlane, bin, expect_success, run};

/// The component that is the whole node; killing it kills every pod.
pub const NODE: &str = "node";
/// The image of etcd pods: `etcd`, `etcdctl` and `etcd-load`.
pub const ETCD_IMAGE: &str = "localhost/etcd:test";

/// What the supervisor says of its node.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeReport {
    name: String,
    ip: Ipv4Addr,
    host_ip: Ipv4Addr,
}

/// A control plane with a node: containerd, kubelet, kube-proxy and cluster DNS
/// in namespaces of their own, so that the kernel ends all of it at once.
///
/// It is a [`ControlPlane`] in every other respect.
pub struct Node {
    plane: ControlPlane,
    report: NodeReport,
    engine: Engine,
    // Read again when the node is started again.
    _images: Arc<Images>,
}

impl Node {
    /// Starts one with the images that every test needs; `None` where a node
    /// cannot run, after having said so for the given test.
    ///
    /// With `ETCD_DEFRAG_NODE=required` that is a failure instead.
    pub fn start(test: &str) -> Option<Self> {
        Self::start_with(test, &[])
    }

    /// The same, with further image archives and arguments of `controlplane up`.
    pub fn start_with(test: &str, extra: &[String]) -> Option<Self> {
        if let Some(reason) = unavailable() {
            let required = std::env::var_os("ETCD_DEFRAG_NODE").is_some_and(|value| value == "required");
            assert!(!required, "{test}: ETCD_DEFRAG_NODE=required, and no node can run: {reason}");
            println!("SKIPPED: {test}: no node can run: {reason}");
            return None;
        }
        let images = Images::get();
        let mut args = vec!["--node".to_owned()];
        for archive in [&bin("pause.tar"), &bin("etcd.tar"), &images.engine] {
            args.push(format!("--image={}", archive.display()));
        }
        args.extend_from_slice(extra);
        let (plane, report) = ControlPlane::start_args(&args);
        let Some(report) = report else { panic!("controlplane up --node reported no node") };
        Some(Self { plane, report, engine: images.kind, _images: images })
    }

    /// The name of the node.
    pub fn node_name(&self) -> &str {
        &self.report.name
    }

    /// The node's address.
    pub fn ip(&self) -> Ipv4Addr {
        self.report.ip
    }

    /// This machine's address as pods see it.
    pub fn host_ip(&self) -> Ipv4Addr {
        self.report.host_ip
    }

    /// Which engine runs in the pods of Jobs.
    pub fn engine(&self) -> Engine {
        self.engine
    }
}

impl Deref for Node {
    type Target = ControlPlane;

    fn deref(&self) -> &Self::Target {
        &self.plane
    }
}

/// What stands behind the image of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// `etcd-defrag` as found on `PATH`.
    Real,
    /// The stand-in of `tests/controlplane`, which takes the same flags: the
    /// engine can be had neither as a Go module nor as a package.
    StandIn,
}

/// The path of `etcd-defrag`, if it is on `PATH`.
pub fn engine_on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join("etcd-defrag")).find(|file| file.is_file())
}

/// Images that this process made. They are removed with the last node that uses
/// them.
struct Images {
    engine: PathBuf,
    kind: Engine,
    _dir: TempDir,
}

impl Images {
    fn get() -> Arc<Self> {
        static IMAGES: Mutex<Weak<Images>> = Mutex::new(Weak::new());
        let mut shared = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(images) = shared.upgrade() {
            return images;
        }
        let dir = TempDir::with_prefix("etcd-defrag-images-").unwrap_or_else(|error| panic!("{error}"));
        let engine = dir.path().join("engine.tar");
        let (program, kind) = match engine_on_path() {
            Some(program) => (program, Engine::Real),
            None => (bin("etcd-defrag-stand-in"), Engine::StandIn),
        };
        make_image(&engine, engine_image(), &[(&program, "/usr/local/bin/etcd-defrag")]);
        let images = Arc::new(Self { engine, kind, _dir: dir });
        *shared = Arc::downgrade(&images);
        images
    }
}

/// The name of the engine's image, as the CronJobs have it.
pub fn engine_image() -> &'static str {
    "ghcr.io/ahrtr/etcd-defrag:v0.42.0"
}

/// Makes an image archive of static binaries; the image runs the first one.
pub fn make_image(archive: &Path, name: &str, files: &[(&Path, &str)]) {
    let mut command = Command::new(bin("controlplane"));
    command.args(["image", "--name", name, "--out"]).arg(archive);
    for (file, path) in files {
        let mut argument = OsString::from(file);
        argument.push("=");
        argument.push(path);
        command.arg(argument);
    }
    expect_success(&run(command, None), "controlplane image", &[name]);
}

/// Why no node can run on this machine, if so.
pub fn unavailable() -> Option<&'static str> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = REASON.get_or_init(|| {
        let mut command = Command::new(bin("controlplane"));
        command.arg("node-check");
        let output = run(command, None);
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (!output.status.success()).then_some(said)
    });
    reason.as_deref()
}
