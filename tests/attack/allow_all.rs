//! A webhook that allows everything at once: what it costs others is what the API server spends on any webhook. It runs where ours
//! does: two processes behind a Service, each with the network and the share of the processors of a pod like ours.

use std::{
    convert::Infallible,
    fs::{self, File, OpenOptions},
    io::Write as _,
    net::{IpAddr, Ipv4Addr, TcpStream},
    os::fd::AsFd as _,
    path::PathBuf,
    process::{Child, Stdio},
    sync::Arc,
    time::Duration,
};

use axum::body::Bytes;
use etcd_defrag_webhook::runtime::selfsigned;
use harness::{Node, child, etcd_image, eventually};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream as Stream},
    runtime::Builder,
};
use tokio_rustls::TlsAcceptor;

/// The API server writes the uid into the first bytes of a review; nothing else of it is read.
const HEAD: usize = 512;

/// The name of its Service and of the namespace.
pub(crate) const NAME: &str = "allow-all";
const PORT: u16 = 10250;
const PODS: [&str; 2] = ["allow-all-0", "allow-all-1"];

/// What a process of it is told: the folder with its files, and the process whose network it has.
const FOLDER: &str = "ALLOW_ALL_FOLDER";
const NETWORK: &str = "ALLOW_ALL_NETWORK";

/// A running one; it ends when dropped.
pub(crate) struct AllowAll {
    pub(crate) ca_pem: String,
    folders: [TempDir; 2],
    processes: Vec<Child>,
}

impl AllowAll {
    pub(crate) fn start(node: &Node) -> Self {
        let pair = selfsigned::issue(&[format!("{NAME}.{NAME}.svc")]).unwrap();
        node.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects()}).to_string());
        let folders = PODS.map(|_| TempDir::with_prefix("allow-all-").unwrap());
        let mut webhook = Self { ca_pem: pair.ca_pem, folders, processes: Vec::new() };
        for (pod, folder) in PODS.iter().zip(&webhook.folders) {
            fs::write(folder.path().join("tls.crt"), &pair.cert_pem).unwrap();
            fs::write(folder.path().join("tls.key"), &pair.key_pem).unwrap();
            fs::write(calls(folder), "").unwrap();
            let (address, beside) = eventually("a pod for the webhook that allows all", Duration::from_mins(1), || {
                let object = node.get(&["-n", NAME, "pod", pod])?;
                let address: IpAddr = object["status"]["podIP"].as_str()?.parse().ok()?;
                let processes = node.pod_processes(NAME, pod);
                Some((address, processes.into_iter().find(|process| process.name == "etcd")?))
            });
            let process = child::of_this_program("allow_all::one_of_its_processes")
                .env(FOLDER, folder.path())
                .env(NETWORK, beside.pid.to_string())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            node.put_beside(NAME, pod, &beside, process.id());
            webhook.processes.push(process);
            eventually("the webhook that allows all to listen", Duration::from_secs(30), || {
                TcpStream::connect((address, PORT)).ok()
            });
        }
        webhook
    }

    /// How often it was called so far: each call is a byte.
    pub(crate) fn calls(&self) -> usize {
        self.folders.iter().map(|folder| usize::try_from(fs::metadata(calls(folder)).unwrap().len()).unwrap()).sum()
    }
}

impl Drop for AllowAll {
    fn drop(&mut self) {
        for process in &mut self.processes {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

fn calls(folder: &TempDir) -> PathBuf {
    folder.path().join("calls")
}

/// A namespace, a Service, and pods that do nothing, with what the chart asks for ours.
fn objects() -> Vec<Value> {
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": NAME},
               "spec": {"selector": {"app": NAME}, "ports": [{"port": 443, "targetPort": PORT}]}}),
    ];
    objects.extend(PODS.map(|pod| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": NAME, "labels": {"app": NAME}},
               "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
                    "name": "etcd", "image": etcd_image(), "imagePullPolicy": "Never",
                    "command": ["etcd", "--data-dir=/tmp/etcd"],
                    "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}}}]}})
    }));
    objects
}

/// Not a test of its own: [`AllowAll::start`] starts this program again for each pod.
#[test]
#[ignore = "started by another test"]
fn one_of_its_processes() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let tls = TlsAcceptor::from(Arc::new(config(&read("tls.crt"), &read("tls.key"))));
    let network = File::open(format!("/proc/{}/ns/net", std::env::var(NETWORK).unwrap())).unwrap();
    // The threads of the runtime are started from this one, so they have the same network.
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("the pod's network");
    let counted = Arc::new(OpenOptions::new().append(true).open(folder.join("calls")).unwrap());
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await.unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, tls.clone(), Arc::clone(&counted)));
        }
    });
}

/// Without ALPN, so that the API server takes HTTP/1.1, as it does for a Service.
fn config(certificate: &str, key: &str) -> ServerConfig {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

/// A connection that fails is a call that fails, which whoever wrote is told.
async fn serve(stream: Stream, tls: TlsAcceptor, calls: Arc<File>) {
    drop(stream.set_nodelay(true));
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(|request| answer(request, &calls));
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(request: Request<Incoming>, mut calls: &File) -> Result<Response<Full<Bytes>>, Infallible> {
    let review = request.into_body().collect().await.expect("a whole review").to_bytes();
    calls.write_all(b"+").expect("a file of its own");
    let answer = allowed(&review).expect("a review has a uid");
    Ok(Response::new(Full::from(answer)))
}

/// The answer to a review.
fn allowed(review: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(review.get(..HEAD.min(review.len()))?);
    let (uid, _) = head.split_once(r#""uid":""#)?.1.split_once('"')?;
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": uid, "allowed": true},
    });
    Some(answer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_is_allowed_by_its_uid_and_nothing_else_is() {
        // As the API server writes one: the uid of the object comes later.
        let review = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"a-1","object":{"metadata":{"uid":"b-2"}}}}"#;
        let answer: serde_json::Value = serde_json::from_str(&allowed(review.as_bytes()).unwrap()).unwrap();
        assert_eq!(answer["response"], json!({"uid": "a-1", "allowed": true}));
        assert_eq!(allowed(b"{}"), None);
    }
}
