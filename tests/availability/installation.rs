//! The project as it is installed: its own image, its chart, two replicas that the API server reaches through the Service.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use harness::{Node, Process, chart, eventually};

/// The release, the Deployment and the Lease.
pub(crate) const NAME: &str = "etcd-defrag-webhook";
pub(crate) const NAMESPACE: &str = "etcd-defrag-system";
/// Who the pods are for the API server.
pub(crate) const USER: &str = "system:serviceaccount:etcd-defrag-system:etcd-defrag-webhook";

/// For what takes the kubelet and the Deployment controller a while, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// A pod of ours.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) name: String,
    /// As the chart names it.
    pub(crate) image: String,
    pub(crate) ip: Ipv4Addr,
    /// From the start of its container until it was ready; Kubernetes counts in whole seconds.
    pub(crate) ready_after: i64,
}

/// An installed release.
pub(crate) struct Installation<'a> {
    pub(crate) node: &'a Node,
}

impl<'a> Installation<'a> {
    /// Installs the chart with the given values into its namespace, and waits for it.
    pub(crate) fn install(node: &'a Node, values: &str) -> Self {
        Self::install_from(node, &chart(), values)
    }

    /// The same from the folder of another chart.
    pub(crate) fn install_from(node: &'a Node, chart: &Path, values: &str) -> Self {
        node.apply(include_str!("../../deploy/manifests/00-namespace.yaml"));
        let chart = chart.display().to_string();
        let begun = Instant::now();
        node.helm_ok(&["install", NAME, &chart, "-n", NAMESPACE, "-f", "-", "--wait", "--timeout=3m"], values);
        println!("helm install until all replicas are ready: {:.1} s", begun.elapsed().as_secs_f64());
        let installation = Self { node };
        installation.settled();
        installation
    }

    pub(crate) fn uninstall(self) {
        self.node.helm_ok(&["uninstall", NAME, "-n", NAMESPACE, "--wait"], "");
    }

    /// The pods that are ready and not about to end, by name.
    pub(crate) fn replicas(&self) -> Vec<Replica> {
        let selector = format!("app.kubernetes.io/name={NAME}");
        let pods = self.node.get(&["-n", NAMESPACE, "pods", "-l", &selector]).unwrap();
        let mut replicas: Vec<Replica> = pods["items"].as_array().unwrap().iter().filter_map(replica).collect();
        replicas.sort_by(|a, b| a.name.cmp(&b.name));
        replicas
    }

    /// Waits until two replicas are ready, one leads, and a write of ours is judged.
    pub(crate) fn settled(&self) {
        eventually("two ready replicas of which one leads", PATIENCE, || {
            let replicas = self.replicas();
            let leader = self.leader();
            (replicas.len() == 2 && replicas.iter().any(|replica| Some(&replica.name) == leader.as_ref())).then_some(())
        });
    }

    /// The name of the pod that holds the Lease.
    pub(crate) fn leader(&self) -> Option<String> {
        let lease = self.node.get(&["-n", NAMESPACE, "lease", NAME])?;
        Some(lease["spec"]["holderIdentity"].as_str().filter(|holder| !holder.is_empty())?.to_owned())
    }

    /// The process of a replica.
    pub(crate) fn process(&self, pod: &str) -> Process {
        let all = self.node.pod_processes(NAMESPACE, pod);
        // The program's name, cut to 15 characters by the kernel; beside it there is only the pause process.
        let found = all.iter().find(|process| NAME.starts_with(&process.name));
        found.cloned().unwrap_or_else(|| panic!("{pod} runs {all:?}"))
    }

    /// `kubectl rollout restart`, until it is done and the old pods are gone.
    pub(crate) fn restart(&self) {
        let deployment = format!("deployment/{NAME}");
        self.replaced(|| {
            self.node.kubectl_ok(&["-n", NAMESPACE, "rollout", "restart", &deployment]);
            self.node.kubectl_ok(&["-n", NAMESPACE, "rollout", "status", "--timeout=3m", &deployment]);
        });
    }

    /// `helm upgrade` to another chart.
    pub(crate) fn upgrade(&self, chart: &Path, values: &str) {
        let chart = chart.display().to_string();
        self.node.helm_ok(&["upgrade", NAME, &chart, "-n", NAMESPACE, "-f", "-", "--wait", "--timeout=3m"], values);
    }

    /// `helm rollback` to the revision before.
    pub(crate) fn rollback(&self) {
        self.node.helm_ok(&["rollback", NAME, "-n", NAMESPACE, "--wait", "--timeout=3m"], "");
    }

    /// Does what replaces all pods, until the old ones are gone and all is as it should be with the new ones.
    pub(crate) fn replaced(&self, act: impl FnOnce()) {
        let before = self.replicas();
        act();
        for replica in before {
            let pod = format!("pod/{}", replica.name);
            self.node.kubectl_ok(&["-n", NAMESPACE, "wait", "--for=delete", "--timeout=2m", &pod]);
        }
        self.settled();
    }

    /// Has cert-manager issue a certificate anew, as `cmctl renew` does, and waits for its Secret to change.
    pub(crate) fn renew(&self, certificate: &str, secret: &str) {
        let before = self.secret(secret);
        let path = ["-n", NAMESPACE, "certificate", certificate];
        let mut object = self.node.get(&path).unwrap();
        let conditions = object["status"]["conditions"].as_array_mut().unwrap();
        conditions.push(serde_json::json!({
            "type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "by a test",
            "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }));
        let change = serde_json::json!({"status": {"conditions": conditions}}).to_string();
        self.node.kubectl_ok(&[
            "-n",
            NAMESPACE,
            "patch",
            "certificate",
            certificate,
            "--subresource=status",
            "--type=merge",
            "-p",
            &change,
        ]);
        eventually(&format!("another certificate in {secret}"), PATIENCE, || {
            (self.secret(secret) != before).then_some(())
        });
    }

    fn secret(&self, name: &str) -> Value {
        self.node
            .get(&["-n", NAMESPACE, "secret", name])
            .map_or(Value::Null, |secret| secret["data"]["tls.crt"].clone())
    }

    /// When the certificate that each replica serves expires, as its metrics say.
    pub(crate) fn expiries(&self) -> Vec<String> {
        self.replicas().iter().map(|replica| metric(replica.ip, "certificate_expiry_timestamp_seconds")).collect()
    }

    /// Waits until every replica serves another certificate than before.
    pub(crate) fn serves_another_than(&self, before: &[String]) {
        // The kubelet brings a changed Secret into a pod when it next looks at the pod, within about a minute; a change of
        // the pod makes it look.
        for replica in self.replicas() {
            let note = format!("example.com/looked-at={}", jiff::Timestamp::now().as_second());
            self.node.kubectl_ok(&["-n", NAMESPACE, "annotate", "pod", &replica.name, "--overwrite", &note]);
        }
        eventually("every replica to serve the new certificate", PATIENCE, || {
            let now = self.expiries();
            (now.len() == 2 && now.iter().all(|expiry| !expiry.is_empty() && !before.contains(expiry))).then_some(())
        });
    }
}

fn replica(pod: &Value) -> Option<Replica> {
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return None;
    }
    let conditions = pod["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready" && condition["status"] == "True")?;
    let time = |value: &Value| value.as_str()?.parse::<jiff::Timestamp>().ok();
    let started = time(&pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"])?;
    Some(Replica {
        name: pod["metadata"]["name"].as_str()?.to_owned(),
        image: pod["spec"]["containers"][0]["image"].as_str()?.to_owned(),
        ip: pod["status"]["podIP"].as_str()?.parse().ok()?,
        ready_after: time(&ready["lastTransitionTime"])?.duration_since(started).as_secs(),
    })
}

/// The value of a metric of a replica; empty where it does not answer.
fn metric(ip: Ipv4Addr, suffix: &str) -> String {
    let read = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((ip, 8080)), Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().unwrap_or_default();
    let line = text.lines().find(|line| line.split(' ').next().is_some_and(|name| name.ends_with(suffix)));
    line.and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned()
}
