//! Real Kubernetes control planes and real etcd clusters for tests, benches and
//! the demo: no container runtime, nothing left behind.
//!
//! ```text
//! test ── stdin/stdout ── controlplane up ──┬── etcd
//!   │                      (supervisor)     ├── kube-apiserver
//!   └── kubectl, HTTPS ─────────────────────┴── kube-controller-manager
//! ```
//!
//! [`Node`] adds a scheduler and a node, in namespaces of its own, where pods run.
//!
//! The programs come from `tests/controlplane`; `scripts/controlplane.sh` builds
//! them once and caches them. When the test process ends, in whatever way, the
//! supervisor reads the end of its standard input and stops everything; if the
//! supervisor itself is killed, the kernel ends its children.
//!
//! Everything here panics with a readable message instead of returning an error:
//! without its control plane a test has nothing left to say.
//!
//! Environment:
//! - `ETCD_DEFRAG_CONTROLPLANE_BIN`: folder with the programs, instead of asking
//!   `scripts/controlplane.sh`.
//! - `ETCD_DEFRAG_IMAGE`: an archive of the project's own image, instead of
//!   building it.
//! - `ETCD_DEFRAG_KEEP`: when set, folders with logs and data are never removed.

pub mod allow_all;
mod audit;
mod cert_manager;
pub mod child;
mod control_plane;
mod engine;
mod etcd_cluster;
mod etcd_pods;
mod figures;
mod forward_proxy;
mod guard;
mod helm;
mod node;
mod objects;
mod own_image;
pub mod pages;
mod processes;
pub mod prometheus;
pub mod random;
mod read;
mod serve;
mod stand_in;
mod supervised;
pub mod svg;
mod terminal;

pub use self::{
    audit::{Audit, AuditEvent, AuditMark},
    cert_manager::CertManager,
    control_plane::{API_SERVER, CONTROLLER_MANAGER, ControlPlane, ETCD, client},
    engine::{Engine, engine_on_path, etcd_defrag, runs_in_a_pod},
    etcd_cluster::{EtcdCluster, EtcdOptions, MemberStatus},
    etcd_pods::{
        Authority, Defragmentation, ETCDCTL, EtcdLog, EtcdPods, Fill, JobEnd, Pair, PodsOptions, Secrets, certificate,
    },
    figures::{MARGIN, median, percentile, verdict},
    forward_proxy::ForwardProxy,
    helm::{chart, helm, helm_ok},
    node::{NODE, Node, engine_image, etcd_image, make_image, unavailable},
    objects::{example_etcd, make_namespace},
    own_image::{image_argument, own_image},
    processes::{Process, processor_seconds},
    prometheus::{Prometheus, PrometheusOptions, Target},
    serve::{Serve, ServeOptions, binary, certificates, with_its_own_rights},
    stand_in::{Exported, Exporter, StandIn},
    supervised::Component,
    terminal::{Screen, Terminal, on_terminal},
};

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::MetadataExt as _,
            net::{SocketAddr, UnixListener},
        },
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// Those of `tests/controlplane/internal/ports`.
const PORTS: Range<u16> = 16_000..30_000;

/// Between the first attempts of [`eventually`], and between later ones at most.
const POLL_INTERVALS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];

/// The folder with `controlplane`, `kubectl`, `etcd`, `etcdctl`, `kube-apiserver`
/// and `kube-controller-manager`. Builds them at the first call if need be, with
/// progress on standard error.
pub fn bin_dir() -> &'static Path {
    static BIN_DIR: OnceLock<PathBuf> = OnceLock::new();
    BIN_DIR.get_or_init(find_bin_dir)
}

/// The path of one program of [`bin_dir`].
pub fn bin(name: &str) -> PathBuf {
    bin_dir().join(name)
}

fn find_bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("ETCD_DEFRAG_CONTROLPLANE_BIN") {
        let dir = PathBuf::from(dir);
        assert!(
            dir.join("controlplane").is_file(),
            "ETCD_DEFRAG_CONTROLPLANE_BIN is {}, which holds no program named controlplane",
            dir.display()
        );
        return dir;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/controlplane.sh");
    let output = Command::new(&script)
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("run {}: {error}", script.display()));
    assert!(output.status.success(), "{} failed ({}); it says why above", script.display(), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    PathBuf::from(text.lines().last().unwrap_or_default())
}

/// A TCP port on 127.0.0.1 that nothing listens on, and that no test and no control plane is given besides while this process
/// lives.
///
/// As `tests/controlplane/internal/ports` does it: from below the ports of outgoing connections, and reserved by a name in
/// the abstract namespace of sockets, which goes with the process however it ends.
pub fn free_port() -> u16 {
    static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let user = fs::metadata("/proc/self").unwrap_or_else(|error| panic!("/proc/self: {error}")).uid();
    let mut reserved = RESERVED.lock().unwrap_or_else(PoisonError::into_inner);
    // Not where another process begins as well.
    let span = PORTS.end - PORTS.start;
    let first = u16::try_from(std::process::id() % u32::from(span)).unwrap_or_default();
    let ports = (0..span).map(|step| PORTS.start + (first + step) % span);
    for port in ports {
        let name = SocketAddr::from_abstract_name(format!("controlplane-port-{user}-{port}"));
        let Ok(lock) = name.and_then(|name| UnixListener::bind_addr(&name)) else { continue };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            reserved.push(lock);
            return port;
        }
    }
    panic!("no free port on 127.0.0.1");
}

/// How much longer than on a quiet machine a wait may take: beside other tests, on two cores, everything is slower.
pub const SLOWER: u32 = 4;

/// Calls `probe` until it returns a value, for [`SLOWER`] times `limit` at most; panics with `what` when time is up.
///
/// A limit says how long a broken program is waited for, and no more: how quick a good one is, is measured elsewhere.
///
/// What takes longer is asked for more rarely: each attempt by way of `kubectl`
/// costs a tenth of a second of processor time, which others need meanwhile.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let [first, last] = POLL_INTERVALS;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        let waited = start.elapsed();
        assert!(waited < SLOWER * limit, "waited {} s in vain: {what}", waited.as_secs());
        thread::sleep((waited / 4).clamp(first, last));
    }
}

/// Runs a command with the given text as its standard input.
fn run(mut command: Command, stdin: Option<&str>) -> Output {
    let name = command.get_program().to_owned();
    let fail = |error: std::io::Error| -> ! { panic!("run {}: {error}", name.display()) };
    command.stdin(stdin.map_or_else(Stdio::null, |_| Stdio::piped())).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| fail(error));
    let pipe = child.stdin.take();
    thread::scope(|scope| {
        // Written beside the reading: both pipes can be full at the same time.
        scope.spawn(move || {
            if let (Some(mut pipe), Some(text)) = (pipe, stdin) {
                // A program that does not read its input to the end says so in
                // its status.
                let _ = pipe.write_all(text.as_bytes());
            }
        });
        child.wait_with_output().unwrap_or_else(|error| fail(error))
    })
}

/// Standard output of a command that has to succeed.
#[track_caller]
fn expect_success(output: &Output, program: &str, args: &[impl AsRef<OsStr>]) -> String {
    if !output.status.success() {
        let mut shown = program.to_owned();
        for arg in args {
            let _ = write!(shown, " {}", arg.as_ref().display());
        }
        panic!("`{shown}` failed ({})\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8_lossy(&output.stdout).into_owned()
}
