//! The etcd that both are measured on: how it is filled, slowed down and enrolled.

use std::time::Duration;

use serde_json::{Value, json};

use crate::say;
use harness::{EtcdPods, Node, PodsOptions, eventually};

/// What a key and its value take in the file: sixteen pages of 4 KiB.
const CELL: u64 = 64 << 10;
/// The value of such a key: some room is for the key and the headers.
const VALUE: u64 = CELL - 200;
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Etcd<'a> {
    pub(super) node: &'a Node,
    pods: EtcdPods<'a>,
}

impl<'a> Etcd<'a> {
    pub(crate) fn start(node: &'a Node, namespace: &str, options: PodsOptions) -> Self {
        Self { node, pods: EtcdPods::start(node, namespace, options) }
    }

    pub(crate) fn pods(&self) -> &EtcdPods<'a> {
        &self.pods
    }

    /// Writes data that stays.
    pub(crate) fn fill(&self, bytes: u64) {
        self.load("/live/", bytes, bytes);
    }

    /// Writes data and deletes it again.
    pub(crate) fn waste(&self, bytes: u64) {
        say("making space to reclaim");
        self.load("/free/", bytes, 0);
    }

    fn load(&self, prefix: &str, bytes: u64, keep: u64) {
        self.pods.load(&[
            "fill",
            &format!("--prefix={prefix}"),
            &format!("--keys={}", bytes / CELL),
            &format!("--size={VALUE}"),
            &format!("--keep={}", keep / CELL),
        ]);
    }

    /// Labels it and waits for its CronJob to be ours.
    pub(crate) fn enrol(&self) {
        let (namespace, name) = (self.pods.namespace(), self.pods.name());
        self.node.kubectl_ok(&["-n", namespace, "label", "statefulset", name, "etcd-defrag.io/enabled=true"]);
        eventually("the CronJob to be ours", PATIENCE, || {
            let owners = self.pods.cronjob()["metadata"]["ownerReferences"].clone();
            (owners[0]["name"] == name).then_some(())
        });
    }

    /// Waits for its CronJob to run our own image.
    pub(crate) fn built_in(&self) {
        eventually("the CronJob to follow the policy", PATIENCE, || {
            let container = &self.pods.cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
            (container["args"][0] == "defrag").then_some(())
        });
    }

    /// Gives each member so many CPUs at most, which is what makes a disk look slow here; returns the limit in
    /// thousandths of a CPU.
    pub(crate) fn slow_down(&self, cpus: f64) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
        // The kernel takes no less than a hundredth.
        let milli = (cpus * 1000.0).max(10.0) as u32;
        say(&format!("each member has {milli} thousandths of a CPU from now on"));
        self.limit(milli);
        milli
    }

    /// Takes that back.
    pub(crate) fn full_speed(&self) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.limit(u32::try_from(cores * 1000).unwrap_or(u32::MAX));
    }

    fn limit(&self, milli: u32) {
        let namespace = self.pods.namespace();
        let wanted = format!("{milli}m");
        let resources = json!({"limits": {"cpu": wanted}, "requests": {"cpu": "10m"}});
        let patch = json!({"spec": {"containers": [{"name": "etcd", "resources": resources}]}}).to_string();
        for pod in self.pods.pods() {
            self.node.kubectl_ok(&["-n", namespace, "patch", "pod", &pod, "--subresource=resize", "-p", &patch]);
        }
        for pod in self.pods.pods() {
            eventually(&format!("the CPU limit of {pod} to be {wanted}"), PATIENCE, || {
                let object = self.node.get(&["-n", namespace, "pod", &pod])?;
                let limit = object["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"].as_str()?.to_owned();
                (thousandths(&limit) == Some(milli)).then_some(())
            });
        }
    }

    /// The CPU time that each member has used so far, in seconds.
    pub(super) fn cpu_seconds(&self) -> Vec<f64> {
        self.pods.pods().iter().map(|pod| self.metric(pod, "process_cpu_seconds_total")).collect()
    }

    fn metric(&self, pod: &str, name: &str) -> f64 {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:2381/proxy/metrics", self.pods.namespace());
        let text = self.node.kubectl_ok(&["get", "--raw", &path]);
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{pod} has no metric {name}"))
    }

    /// The version of etcd, by its own word.
    pub(crate) fn version(&self) -> String {
        let status: Value = serde_json::from_str(&self.pods.etcdctl_ok(&["endpoint", "status", "-w", "json"]))
            .unwrap_or_else(|error| panic!("the status of etcd: {error}"));
        status[0]["Status"]["version"].as_str().unwrap_or("of an unknown version").to_owned()
    }
}

/// `150m` and `2` as thousandths of a CPU.
fn thousandths(quantity: &str) -> Option<u32> {
    match quantity.strip_suffix('m') {
        Some(milli) => milli.parse().ok(),
        None => quantity.parse::<u32>().ok()?.checked_mul(1000),
    }
}
