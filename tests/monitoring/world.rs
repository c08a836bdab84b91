//! What the tests of this file's siblings share: an API server, `serve`, a real etcd of three members that stands for the pods of
//! an enrolled StatefulSet, and a Prometheus that scrapes all of them under the labels that pods have.

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use serde_json::{Value, json};

use harness::{
    ControlPlane, EtcdCluster, EtcdOptions, Prometheus, PrometheusOptions, Serve, Target, eventually, prometheus,
};

pub(crate) const NAMESPACE: &str = "tenants";
pub(crate) const NAME: &str = "kamaji-etcd";
/// What the example's StatefulSet says.
const QUOTA: u64 = 8 << 30;
const SOON: Duration = Duration::from_mins(1);

pub(crate) struct World {
    pub(crate) prometheus: Prometheus,
    // Dropped before its API server.
    serve: Serve,
    pub(crate) plane: ControlPlane,
    etcd: EtcdCluster,
}

/// The shared world; it lives as long as a test holds it.
pub(crate) fn world(programs: &std::path::Path) -> Arc<World> {
    static WORLD: Mutex<Weak<World>> = Mutex::new(Weak::new());
    let mut shared = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(world) = shared.upgrade() {
        return world;
    }
    let world = Arc::new(World::new(programs));
    *shared = Arc::downgrade(&world);
    world
}

/// The members of an etcd, as pods of a StatefulSet.
pub(crate) fn members(etcd: &EtcdCluster, namespace: &str, name: &str) -> Vec<Target> {
    let tls = [etcd.ca_file(), etcd.client_cert_file(), etcd.client_key_file()].map(|file| file.map(PathBuf::from));
    let tls = if let [Some(ca), Some(certificate), Some(key)] = tls { Some([ca, certificate, key]) } else { None };
    let members = etcd.endpoints().iter().enumerate();
    members
        .map(|(index, url)| Target {
            url: url.clone(),
            labels: json!({"namespace": namespace, "pod": format!("{name}-{index}")}),
            tls: tls.clone(),
        })
        .collect()
}

/// An hour and a half of slow growth, as nobody can wait for it here.
fn past() -> String {
    let now = jiff::Timestamp::now().as_second();
    let mut text = String::from("# TYPE etcd_member:db_in_use_bytes:max gauge\n");
    for pod in 0..3 {
        for minute in (1..=90).rev() {
            let (size, at) = (1_000_000 + (90 - minute) * 1000, now - minute * 60);
            let labels = format!("namespace=\"{NAMESPACE}\",statefulset=\"{NAME}\",pod=\"{NAME}-{pod}\"");
            let _ = writeln!(text, "etcd_member:db_in_use_bytes:max{{{labels}}} {size} {at}");
        }
    }
    text + "# EOF\n"
}

impl World {
    fn new(programs: &std::path::Path) -> Self {
        let etcd = EtcdCluster::start(&EtcdOptions { quota: Some(QUOTA), ..EtcdOptions::default() });
        let plane = ControlPlane::start();
        let serve = Serve::start(&plane);
        let mut targets = members(&etcd, NAMESPACE, NAME);
        targets.push(Target {
            url: format!("http://127.0.0.1:{}", serve.probes),
            labels: json!({"namespace": "etcd-defrag-system", "pod": "etcd-defrag-webhook-0"}),
            tls: None,
        });
        let admin = [plane.ca_file(), plane.client_cert_file(), plane.client_key_file()].map(PathBuf::from);
        targets.push(Target { url: plane.server().to_owned(), labels: json!({}), tls: Some(admin) });
        let jobs = prometheus::jobs_of(&targets);
        let options = PrometheusOptions { jobs, past: Some(past()), ..PrometheusOptions::default() };
        let prometheus = Prometheus::start(programs, &options);
        eventually("every target to be up", SOON, || {
            (prometheus.value("sum(up)") == Some(f64::from(u8::try_from(targets.len()).unwrap()))).then_some(())
        });
        let world = Self { prometheus, serve, plane, etcd };
        world.live();
        world
    }

    /// Something happens to everything: an etcd is enrolled and runs end well and badly, settings are refused, and members
    /// are really written to and defragmented.
    fn live(&self) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        self.plane.apply(&namespace.to_string());
        self.plane.apply(&statefulset(NAME).to_string());
        eventually("the CronJob", SOON, || {
            self.plane.get(&["-n", NAMESPACE, "cronjob", &format!("{NAME}-defrag-job")])
        });
        self.write_is_refused();
        self.job(NAME, "succeeds", "Succeeded");
        // What our own runner tells.
        let member = json!({"name": "etcd-0", "did": "Defragmented", "sizeBefore": 9 << 20, "sizeAfter": 1 << 20, "seconds": 0.5});
        let skipped = json!({"name": "etcd-1", "did": "Skipped"});
        let result = json!({"version": 1, "outcome": "Failed", "members": [member, skipped], "membersTotal": 3,
            "seconds": 1.0, "reason": "etcd-2 did not answer"});
        self.ends(NAME, "fails", "Failed", Some(&result));
        // As a preflight leaves it, which takes a node.
        let preflight = "etcd-defrag.io/preflight=Succeeded 2026-01-31T00:05:00Z access 1a2b3c4d5e6f engine 0a1b2c3d4e5f \
                         tries 1 job preflight: all members were reached";
        let cronjob = format!("cronjob/{NAME}-defrag-job");
        self.plane.kubectl_ok(&["-n", NAMESPACE, "annotate", &cronjob, preflight]);
        self.grow(20);
        eventually("each member to have much to reclaim", SOON, || {
            // A member counts its free pages when it commits; an idle one is stale.
            self.etcd.put("tick", "tock");
            (self.prometheus.query("etcd_member:reclaimable_bytes:max > 5e6").len() == 3).then_some(())
        });
        self.defragment();
    }

    /// Writes this many values of half a megabyte, and deletes them: all of it can be reclaimed.
    pub(crate) fn grow(&self, values: usize) {
        let value = "x".repeat(500_000);
        for index in 0..values {
            self.etcd.put(&format!("key-{index}"), &value);
        }
        self.etcd.etcdctl_ok(&["del", "--prefix", "key-"]);
        self.etcd.compact();
    }

    pub(crate) fn defragment(&self) {
        self.etcd.etcdctl_ok(&["defrag", "--cluster"]);
    }

    /// A write that is refused.
    pub(crate) fn write_is_refused(&self) {
        let never = "etcd-defrag.io/schedule=never";
        let refused = self.plane.kubectl(["-n", NAMESPACE, "annotate", "--overwrite", "statefulset", NAME, never]);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("[schedule-invalid]"));
    }

    /// A run that ends like this. There is no node here: the end of its pod is written by the test.
    pub(crate) fn job(&self, etcd: &str, name: &str, phase: &str) {
        self.ends(etcd, name, phase, None);
    }

    /// The same, and its engine says what it did.
    fn ends(&self, etcd: &str, name: &str, phase: &str, result: Option<&Value>) {
        let from = format!("--from=cronjob/{etcd}-defrag-job");
        self.plane.kubectl_ok(&["-n", NAMESPACE, "create", "job", name, &from]);
        let selector = format!("job-name={name}");
        let pod = eventually("the pod of the Job", SOON, || {
            let pods = self.plane.get(&["-n", NAMESPACE, "pods", "-l", &selector])?;
            Some(pods["items"].as_array()?.first()?["metadata"]["name"].as_str()?.to_owned())
        });
        let terminated = result.map(|result| json!({"exitCode": 1, "reason": "Error", "message": result.to_string()}));
        let containers = terminated.map(|terminated| {
            json!([{"name": "etcd-defrag", "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
                "state": {"terminated": terminated}}])
        });
        let status = json!({"status": {"phase": phase, "containerStatuses": containers}}).to_string();
        self.plane.kubectl_ok(&[
            "-n",
            NAMESPACE,
            "patch",
            "pod",
            &pod,
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ]);
        let wanted = if phase == "Succeeded" { "Complete" } else { "Failed" };
        eventually("the Job to end", SOON, || {
            let job = self.plane.get(&["-n", NAMESPACE, "job", name])?;
            let conditions = job["status"]["conditions"].as_array()?.clone();
            conditions.iter().any(|one| one["type"] == wanted && one["status"] == "True").then_some(())
        });
    }

    /// `/metrics` in the format that is accepted.
    pub(crate) fn metrics(&self, accept: &str) -> String {
        let answer = prometheus::get(self.serve.probes, "/metrics", accept).expect("an answer");
        answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
    }
}

/// The StatefulSet of the example under this name.
pub(crate) fn statefulset(name: &str) -> Value {
    harness::example_etcd(NAMESPACE, name, &[])
}
