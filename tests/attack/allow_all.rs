//! The webhook that allows everything at once, where ours runs: two processes behind a Service, each with the network and the share
//! of the processors of a pod like ours.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    net::{IpAddr, Ipv4Addr, TcpStream},
    os::fd::AsFd as _,
    path::PathBuf,
    process::{Child, Stdio},
    time::Duration,
};

use etcd_defrag_webhook::runtime::selfsigned;
use harness::{Node, allow_all::AllowsAll, child, etcd_image, eventually};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Builder};

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
    let webhook = AllowsAll::of(&folder);
    let network = File::open(format!("/proc/{}/ns/net", std::env::var(NETWORK).unwrap())).unwrap();
    // The threads of the runtime are started from this one, so they have the same network.
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("the pod's network");
    let calls = OpenOptions::new().append(true).open(folder.join("calls")).unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await.unwrap();
        webhook.serve(listener, move || (&calls).write_all(b"+").expect("a file of its own")).await;
    });
}

#[cfg(test)]
mod tests {
    use harness::allow_all::allowed;
    use serde_json::json;

    #[test]
    fn a_review_is_allowed_by_its_uid_and_nothing_else_is() {
        // As the API server writes one: the uid of the object comes later.
        let review = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"a-1","object":{"metadata":{"uid":"b-2"}}}}"#;
        let answer: serde_json::Value = serde_json::from_str(&allowed(review.as_bytes()).unwrap()).unwrap();
        assert_eq!(answer["response"], json!({"uid": "a-1", "allowed": true}));
        assert_eq!(allowed(b"{}"), None);
    }
}
