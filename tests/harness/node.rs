//! A real node below a control plane: StatefulSets and Jobs run as pods.

use std::{
    ffi::OsString,
    net::IpAddr,
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use serde::Deserialize;
use tempfile::TempDir;

use super::{ControlPlane, bin, engine::etcd_defrag, expect_success, image_argument, run};

/// The component that is the whole node; killing it kills every pod.
pub const NODE: &str = "node";
/// The image of etcd pods: `etcd`, `etcdctl` and `etcd-load`. Its tag is the version, as `scripts/controlplane.sh` reads it.
pub fn etcd_image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let module = "go.etcd.io/etcd/server/v3 ";
        let mut lines = include_str!("../controlplane/go.mod").lines();
        let version = lines.find_map(|line| line.trim().strip_prefix(module));
        format!("localhost/etcd:{}", version.unwrap_or_else(|| panic!("go.mod names no {module}")).trim())
    })
}

/// What the supervisor says of its node.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeReport {
    name: String,
    ip: IpAddr,
    host_ip: IpAddr,
}

/// A control plane with a node: containerd, kubelet, kube-proxy and cluster DNS
/// in namespaces of their own, so that the kernel ends all of it at once.
///
/// It is a [`ControlPlane`] in every other respect.
pub struct Node {
    plane: ControlPlane,
    report: NodeReport,
    // Read again when the node is started again.
    _images: Option<Arc<Images>>,
}

impl Node {
    /// Starts one with the images that every test needs; `None` where a node
    /// cannot run, after having said so for the given test. Where Jobs are to
    /// run by [`Engine::BuiltIn`], our own image is needed besides.
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
        let engine = images.as_ref().map(|images| &images.engine);
        for archive in [&bin("pause.tar"), &bin("etcd.tar")].into_iter().chain(engine) {
            args.push(image_argument(archive));
        }
        args.extend_from_slice(extra);
        let (plane, report) = ControlPlane::start_args(&args);
        let Some(report) = report else { panic!("controlplane up --node reported no node") };
        Some(Self { plane, report, _images: images })
    }

    /// The name of the node.
    pub fn node_name(&self) -> &str {
        &self.report.name
    }

    /// The node's address.
    pub fn ip(&self) -> IpAddr {
        self.report.ip
    }

    /// This machine's address as pods see it.
    pub fn host_ip(&self) -> IpAddr {
        self.report.host_ip
    }
}

impl Deref for Node {
    type Target = ControlPlane;

    fn deref(&self) -> &Self::Target {
        &self.plane
    }
}

/// Images that this process made. They are removed with the last node that uses
/// them.
struct Images {
    engine: PathBuf,
    _dir: TempDir,
}

impl Images {
    /// The engine's, where it can run in a pod.
    fn get() -> Option<Arc<Self>> {
        static IMAGES: Mutex<Weak<Images>> = Mutex::new(Weak::new());
        let mut shared = IMAGES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(images) = shared.upgrade() {
            return Some(images);
        }
        let program = etcd_defrag().ok()?;
        let dir = TempDir::with_prefix("etcd-defrag-images-").unwrap_or_else(|error| panic!("{error}"));
        let engine = dir.path().join("engine.tar");
        make_image(&engine, engine_image(), &[(program, "/usr/local/bin/etcd-defrag")]);
        let images = Arc::new(Self { engine, _dir: dir });
        *shared = Arc::downgrade(&images);
        Some(images)
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
