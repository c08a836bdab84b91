//! Who is asked about a write, each on loopback beside the API server.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use etcd_defrag_webhook::admission::registration::{Registration, Target};
use harness::{ControlPlane, Serve, ServeOptions, allow_all::AllowsAll, binary, certificates, eventually, free_port};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Result;

/// For a peer to start, and for the API server to know of it.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the process that allows all is told: its port and the folder with its certificate.
const PORT: &str = "BENCH_ALLOW_ALL_PORT";
const FOLDER: &str = "BENCH_ALLOW_ALL_FOLDER";
/// The program of `benches/peers`.
const GO: &str = "BENCH_PEER";

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Nobody,
    /// What `vap` prints: the API server decides by itself.
    Policy,
    Go,
    /// Behind our entries.
    AllowsAll,
    Ours,
}

impl Peer {
    pub(crate) const ALL: [Self; 5] = [Self::Nobody, Self::Policy, Self::Go, Self::AllowsAll, Self::Ours];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Policy => "the policy of vap",
            Self::Go => "the webhook in Go",
            Self::AllowsAll => "one that allows all",
            Self::Ours => "ours",
        }
    }
}

/// A process that ends with this one.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// All peers, running.
pub(crate) struct Peers<'a> {
    plane: &'a ControlPlane,
    serve: Serve,
    go: (Ends, u16),
    allows_all: (Ends, u16),
    /// What the certificate of each was signed by, in PEM.
    pub(crate) authority: String,
}

/// Ends the registration of a peer when dropped.
pub(crate) struct Registered<'a> {
    plane: &'a ControlPlane,
    manifest: Option<String>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        if let Some(manifest) = &self.manifest {
            let deleted = self.plane.kubectl_stdin(["delete", "-f", "-"], manifest);
            assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
            eventually("the API server to ask nobody", PATIENCE, || (!refuses(self.plane)).then_some(()));
        }
    }
}

impl<'a> Peers<'a> {
    pub(crate) fn start(plane: &'a ControlPlane) -> Result<Self> {
        // Somebody else leads, so that no reconciler uses the processors.
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "etcd-defrag-webhook", "namespace": "default"},
            "spec": {"holderIdentity": "nobody", "leaseDurationSeconds": 36_000,
                "renewTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string()}});
        plane.apply(&lease.to_string());
        let serve = Serve::start_with(plane, &ServeOptions::default());
        let certificates = certificates(plane);
        let (allowing, listening) = (free_port(), free_port());
        let allows_all = Command::new(env::current_exe()?)
            .env(PORT, allowing.to_string())
            .env(FOLDER, &certificates)
            .stdin(Stdio::null())
            .spawn()?;
        let program =
            env::var_os(GO).ok_or("BENCH_PEER does not say where the webhook in Go is: run make bench-admission")?;
        let log = fs::File::create(plane.logs().join("go.log"))?;
        let go = Command::new(program)
            .arg(format!("--certificates={}", certificates.display()))
            .arg(format!("--port={listening}"))
            .env("KUBECONFIG", plane.kubeconfig())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let authority = fs::read_to_string(certificates.join("ca.crt"))?;
        let peers =
            Self { plane, serve, go: (Ends(go), listening), allows_all: (Ends(allows_all), allowing), authority };
        for port in [listening, allowing] {
            eventually("a peer to listen", PATIENCE, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        }
        Ok(peers)
    }

    /// Its port and process, if it is one.
    pub(crate) fn process(&self, peer: Peer) -> Option<(u16, u32)> {
        match peer {
            Peer::Nobody | Peer::Policy => None,
            Peer::Go => Some((self.go.1, self.go.0.0.id())),
            Peer::AllowsAll => Some((self.allows_all.1, self.allows_all.0.0.id())),
            Peer::Ours => Some((self.serve.port, self.serve.pid())),
        }
    }

    /// Has the API server ask a peer, and waits until it does.
    pub(crate) fn register(&self, peer: Peer) -> Registered<'a> {
        let manifest = self.manifest(peer);
        if let Some(manifest) = &manifest {
            self.plane.apply(manifest);
        }
        match peer {
            Peer::Nobody => {}
            // It refuses nothing; what it is registered with takes the API server as long to see as what ours is.
            Peer::AllowsAll => std::thread::sleep(Duration::from_secs(2)),
            Peer::Policy | Peer::Go | Peer::Ours => {
                eventually("the API server to ask", PATIENCE, || refuses(self.plane).then_some(()));
            }
        }
        Registered { plane: self.plane, manifest }
    }

    fn manifest(&self, peer: Peer) -> Option<String> {
        let (port, _) = match (peer, self.process(peer)) {
            (Peer::Policy, _) => return Some(policy()),
            (_, process) => process?,
        };
        let url = format!("https://127.0.0.1:{port}");
        if peer == Peer::Go {
            return Some(in_go(&url, &self.authority).to_string());
        }
        let registration = Registration {
            target: Target::Url(url),
            ca_bundle: Some(self.authority.clone()),
            exempt_namespaces: Vec::new(),
        };
        let items = [json!(registration.mutating()), json!(registration.validating())];
        Some(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
    }
}

/// What `vap` prints.
fn policy() -> String {
    let printed = Command::new(binary()).arg("vap").output().expect("vap runs");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    String::from_utf8(printed.stdout).expect("YAML")
}

/// As one would register it: for the StatefulSets with our label.
fn in_go(url: &str, authority: &str) -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "in-go"},
        "webhooks": [{"name": "in-go.etcd-defrag.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 5,
            "objectSelector": {"matchExpressions": [{"key": "etcd-defrag.io/enabled", "operator": "Exists"}]},
            "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["statefulsets"],
                "operations": ["CREATE", "UPDATE"]}],
            "clientConfig": {"url": format!("{url}/validate"),
                "caBundle": k8s_openapi::ByteString(authority.as_bytes().to_vec())}}]})
}

/// Whether something is refused that each of them refuses: a schedule that never is, and a label that CEL can read.
fn refuses(plane: &ControlPlane) -> bool {
    let mut object = harness::example_etcd("default", "refused", &[("schedule", "0 25 * * *")]);
    object["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("perhaps");
    !plane.kubectl_stdin(["create", "--dry-run=server", "-f", "-"], &object.to_string()).status.success()
}

/// Whether this process is the one that allows all, started by [`Peers::start`]; returns when it has ended, then.
pub(crate) async fn is_the_one_that_allows_all() -> Result<bool> {
    let Ok(port) = env::var(PORT) else { return Ok(false) };
    let folder = env::var_os(FOLDER).ok_or("the folder with the certificate is not said")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
    AllowsAll::of(Path::new(&folder)).serve(listener, || ()).await;
    Ok(true)
}
