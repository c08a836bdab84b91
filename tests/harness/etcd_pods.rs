//! A real etcd whose members are the pods of a StatefulSet, as the chart of
//! kamaji-etcd makes it.

mod certificates;
mod jobs;
pub(crate) mod logs;
mod manifests;

#[allow(unused_imports, reason = "see dead_code in mod.rs")]
pub use self::{
    certificates::{Authority, Pair, certificate},
    jobs::JobEnd,
    logs::{Defragmentation, EtcdLog},
};

use std::{fs, process::Output, time::Duration};

use serde_json::{Value, json};

use self::certificates::Certificates;
use super::{ControlPlane, MemberStatus, Process, eventually, expect_success};

/// What an etcd of pods is like.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct PodsOptions {
    /// The StatefulSet and its headless Service.
    pub name: String,
    /// Number of members, at least 1.
    pub members: usize,
    /// The number of the first pod.
    pub first_ordinal: usize,
    /// TLS with client certificates, towards clients and between members.
    pub tls: bool,
    /// Backend quota in bytes.
    pub quota: u64,
    /// Whether it is given in a variable from a ConfigMap, so that nobody sees it in the pod template.
    pub hidden_quota: bool,
    /// Whether etcd compacts by itself, every five minutes.
    pub auto_compaction: bool,
    /// The password of the user `root`; turns RBAC on. It is in the Secret
    /// `<name>-root-user` under `username` and `password`.
    pub password: Option<String>,
    /// Where the certificates are.
    pub secrets: Secrets,
    /// Whether the client certificate is one of an authority that etcd does not
    /// know.
    pub foreign_client: bool,
    /// The liveness probe; kamaji-etcd's own by default.
    pub liveness: Option<Value>,
    /// The readiness probe; kamaji-etcd has none.
    pub readiness: Option<Value>,
    /// The size of the volume claim of each member; an `emptyDir` without one.
    pub claim: Option<String>,
    /// Requests and limits of the container.
    pub resources: Value,
    /// Further arguments of etcd.
    pub extra: Vec<String>,
    /// Annotations of ours, without the prefix.
    pub annotations: Vec<(String, String)>,
    /// Whether the StatefulSet carries the label that enrols it.
    pub enrolled: bool,
}

/// Secrets and their keys. A name that is `None` is the one that kamaji-etcd gives.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// What the pods mount: `<name>-certs`.
    pub certs: Option<String>,
    /// The authority in it.
    pub ca_key: String,
    /// What clients use: `<name>-root-client-certs`.
    pub client: Option<String>,
    /// The certificate in it.
    pub client_cert_key: String,
    /// Its private key.
    pub client_key_key: String,
}

impl Default for Secrets {
    /// Those of kamaji-etcd.
    fn default() -> Self {
        Self {
            certs: None,
            ca_key: "ca.crt".to_owned(),
            client: None,
            client_cert_key: "tls.crt".to_owned(),
            client_key_key: "tls.key".to_owned(),
        }
    }
}

impl Default for PodsOptions {
    /// Three members with TLS, enrolled, with nothing but the label.
    fn default() -> Self {
        Self {
            name: "kamaji-etcd".to_owned(),
            members: 3,
            first_ordinal: 0,
            tls: true,
            quota: 96 << 20,
            hidden_quota: false,
            auto_compaction: true,
            password: None,
            secrets: Secrets::default(),
            foreign_client: false,
            liveness: Some(json!({
                "httpGet": {"path": "/livez", "port": 2381, "scheme": "HTTP"},
                "initialDelaySeconds": 10, "periodSeconds": 10, "timeoutSeconds": 15, "failureThreshold": 3,
            })),
            readiness: None,
            claim: None,
            resources: json!({"requests": {"cpu": "10m"}}),
            extra: Vec::new(),
            annotations: Vec::new(),
            enrolled: true,
        }
    }
}

impl PodsOptions {
    /// The same with an annotation of ours, given without the prefix.
    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// What `etcd-load fill` writes and deletes again.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// Keys to write.
    pub keys: usize,
    /// Bytes of each value.
    pub size: usize,
    /// Keys that stay.
    pub keep: usize,
    /// Whether to compact at the end; without it what was deleted still takes
    /// its space.
    pub compact: bool,
    /// Whether to stop writing when etcd is full.
    pub until_full: bool,
}

impl Fill {
    /// Fills a database to about this share of a quota and deletes all but a
    /// twentieth of it: with large values, which take three members half the work of small ones. For 70 MiB or more: a
    /// compaction commits after each 1,000 keys, and etcd counts what it has freed at the commit that follows, so fewer keys than
    /// that may count as in use until somebody writes.
    pub fn to(quota: u64, percent: u64) -> Self {
        Self::of_pages(16, quota, percent)
    }

    /// The same with small values, for a smaller database, or for a defragmentation that takes longer to copy.
    pub fn small_to(quota: u64, percent: u64) -> Self {
        Self::of_pages(2, quota, percent)
    }

    /// Each value takes so many pages of 4 KiB in the file, header included.
    fn of_pages(pages: u16, quota: u64, percent: u64) -> Self {
        let bytes = u64::from(pages) * 4096;
        let keys = usize::try_from(quota * percent / 100 / bytes).unwrap_or(usize::MAX);
        Self { keys, size: usize::from(pages) * 4096 - 192, keep: keys / 20, compact: true, until_full: false }
    }
}

/// An etcd of pods in a namespace. It ends with its node.
pub struct EtcdPods<'a> {
    plane: &'a ControlPlane,
    namespace: String,
    options: PodsOptions,
    certificates: Option<Certificates>,
}

/// From the first manifest until every member answers, on a busy machine.
const START: Duration = Duration::from_mins(3);
/// Has time for an election and for a machine that does much else; by itself a command waits for 5 s, and a dial for 2.
pub const ETCDCTL: &[&str] = &["etcdctl", "--command-timeout=15s", "--dial-timeout=15s"];

impl<'a> EtcdPods<'a> {
    /// Makes its certificates; nothing runs yet.
    pub fn new(plane: &'a ControlPlane, namespace: &str, options: PodsOptions) -> Self {
        let mut pods = Self { plane, namespace: namespace.to_owned(), options, certificates: None };
        if pods.options.tls {
            pods.certificates = Some(Certificates::make(&pods.hosts(), pods.options.foreign_client));
        }
        pods
    }

    /// Creates it in a namespace that exists and waits until every member answers;
    /// then it has its password, if any.
    pub fn start(plane: &'a ControlPlane, namespace: &str, options: PodsOptions) -> Self {
        let pods = Self::new(plane, namespace, options);
        pods.apply();
        pods.wait_ready();
        pods.set_password();
        pods
    }

    /// Applies its manifests; returns what kubectl says, warnings included.
    #[track_caller]
    pub fn apply(&self) -> String {
        self.make_volumes();
        let manifest = json!({"apiVersion": "v1", "kind": "List", "items": self.manifests()}).to_string();
        let args = ["apply", "-f", "-"];
        let output = self.plane.kubectl_stdin(args, &manifest);
        let said = expect_success(&output, "kubectl", &args);
        format!("{said}{}", String::from_utf8_lossy(&output.stderr))
    }

    /// Waits until every member answers.
    #[track_caller]
    pub fn wait_ready(&self) {
        let (namespace, name) = (&self.namespace, self.name());
        let patience = format!("--timeout={}s", START.as_secs());
        self.plane.kubectl_ok(&["-n", namespace, "rollout", "status", &format!("statefulset/{name}"), &patience]);
        let what = format!("every member of {namespace}/{name} to answer");
        eventually(&what, START, || self.etcdctl(&["endpoint", "health"]).status.success().then_some(()));
    }

    /// Adds the user `root` and turns RBAC on, if there is a password.
    #[track_caller]
    fn set_password(&self) {
        if let Some(password) = &self.options.password {
            self.etcdctl_ok(&["user", "add", &format!("root:{password}")]);
            self.etcdctl_ok(&["user", "grant-role", "root", "root"]);
            self.etcdctl_ok(&["auth", "enable"]);
        }
    }

    /// The StatefulSet and its Service.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// The namespace of all of it.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What it was made from.
    pub fn options(&self) -> &PodsOptions {
        &self.options
    }

    /// The names of its pods.
    pub fn pods(&self) -> Vec<String> {
        let first = self.options.first_ordinal;
        (first..first + self.options.members).map(|ordinal| format!("{}-{ordinal}", self.name())).collect()
    }

    /// The pods that there are, with their addresses.
    #[track_caller]
    pub fn addresses(&self) -> Vec<(String, String)> {
        let address = |pod: String| {
            let object = self.plane.get(&["-n", &self.namespace, "pod", &pod]);
            let address = object.and_then(|object| Some(object["status"]["podIP"].as_str()?.to_owned()));
            let address = address.unwrap_or_else(|| panic!("{pod} has no address"));
            (pod, address)
        };
        self.pods().into_iter().map(address).collect()
    }

    /// Client URLs, one for each member.
    pub fn endpoints(&self) -> Vec<String> {
        let scheme = if self.options.tls { "https" } else { "http" };
        self.pods().iter().map(|pod| format!("{scheme}://{}:2379", self.host(pod))).collect()
    }

    fn host(&self, pod: &str) -> String {
        format!("{pod}.{}.{}.svc.cluster.local", self.name(), self.namespace)
    }

    fn hosts(&self) -> Vec<String> {
        self.pods().iter().map(|pod| self.host(pod)).collect()
    }

    /// Runs a program in a pod, whether it succeeds or not.
    pub fn exec(&self, pod: &str, command: &[&str]) -> Output {
        let args = ["exec", "-n", &self.namespace, pod, "-c", "etcd", "--"];
        self.plane.kubectl(args.iter().chain(command))
    }

    /// Runs `etcdctl` or `etcd-load` in the first pod that can, with the
    /// endpoints of all members.
    fn client(&self, command: &[&str]) -> Output {
        self.client_in(&self.pods(), &self.endpoints(), command)
    }

    fn client_in(&self, pods: &[String], endpoints: &[String], command: &[&str]) -> Output {
        let mut args: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        args.push(format!("--endpoints={}", endpoints.join(",")));
        if self.options.tls {
            let file = |name: &str| format!("{}/{name}", manifests::PKI);
            args.push(format!("--cacert={}", file(&self.options.secrets.ca_key)));
            args.push(format!("--cert={}", file(certificates::ADMIN_CERT)));
            args.push(format!("--key={}", file(certificates::ADMIN_KEY)));
        }
        if let Some(password) = &self.options.password {
            args.extend(["--user=root".to_owned(), format!("--password={password}")]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut outputs = pods.iter().map(|pod| self.exec(pod, &args));
        let first = outputs.next().unwrap_or_else(|| panic!("an etcd has at least one member"));
        // What kubectl itself says, as where the container is not running, or is killed under the command.
        let nowhere = |output: &Output| {
            let said = String::from_utf8_lossy(&output.stderr);
            let signs = [
                "error: Internal error",
                "error: unable to upgrade",
                "error: cannot exec",
                "Error from server",
                "command terminated with exit code 137",
            ];
            !output.status.success() && signs.iter().any(|sign| said.contains(sign))
        };
        if nowhere(&first) { outputs.find(|output| !nowhere(output)).unwrap_or(first) } else { first }
    }

    /// Runs `etcdctl` against all members, whether it succeeds or not.
    pub fn etcdctl(&self, args: &[&str]) -> Output {
        self.client(&[ETCDCTL, args].concat())
    }

    /// Runs `etcdctl`, which has to succeed, and returns its standard output.
    #[track_caller]
    pub fn etcdctl_ok(&self, args: &[&str]) -> String {
        expect_success(&self.etcdctl(args), "etcdctl", args)
    }

    /// Runs `etcd-load`, which has to succeed; returns its report.
    #[track_caller]
    pub fn load(&self, args: &[&str]) -> Value {
        let said = expect_success(&self.client(&[&["etcd-load"], args].concat()), "etcd-load", args);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("etcd-load wrote {said}: {error}"))
    }

    /// Gives the StatefulSet an annotation of ours, named without the prefix, or another value of it.
    #[track_caller]
    pub fn annotate(&self, key: &str, value: &str) {
        let annotation = format!("etcd-defrag.io/{key}={value}");
        let args = ["-n", self.namespace(), "annotate", "statefulset", self.name(), "--overwrite", &annotation];
        self.plane.kubectl_ok(&args);
    }

    /// Writes, deletes and compacts.
    #[track_caller]
    pub fn fill(&self, fill: Fill) {
        expect_success(&self.try_fill(fill), "etcd-load", &["fill"]);
    }

    /// The same, whether it succeeds or not.
    pub fn try_fill(&self, fill: Fill) -> Output {
        let flag = |name: &str, value: usize| format!("--{name}={value}");
        let (keys, size, keep) = (flag("keys", fill.keys), flag("size", fill.size), flag("keep", fill.keep));
        let compact = format!("--compact={}", fill.compact);
        let until_full = format!("--until-full={}", fill.until_full);
        self.client(&["etcd-load", "fill", &keys, &size, &keep, &compact, &until_full])
    }

    /// The status of every member, by ordinal, once each has applied what one had; all have to answer.
    #[track_caller]
    pub fn status(&self) -> Vec<MemberStatus> {
        MemberStatus::caught_up(|| self.etcdctl_ok(&["endpoint", "status", "-w", "json"]))
    }

    /// Whether the member with this process is being defragmented: there is a copy beside its database then.
    pub fn is_copied(etcd: &Process) -> bool {
        let Ok(files) = fs::read_dir(format!("/proc/{}/root{}/member/snap", etcd.pid, manifests::DATA)) else {
            return false;
        };
        files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("db.tmp."))
    }

    /// The pod of the leader, by the word of all members.
    #[track_caller]
    pub fn leader(&self) -> String {
        let statuses = self.status();
        let leader = self.pods().into_iter().zip(statuses).find(|(_, status)| status.is_leader);
        leader.map_or_else(|| panic!("{}/{} has no leader", self.namespace, self.name()), |(pod, _)| pod)
    }

    /// The first pod that does not lead, with which a run begins.
    #[track_caller]
    pub fn follower(&self) -> String {
        let leader = self.leader();
        let other = self.pods().into_iter().find(|pod| *pod != leader);
        other.unwrap_or_else(|| panic!("{}/{} has one member", self.namespace, self.name()))
    }

    /// How often the container of each pod was started again.
    #[track_caller]
    pub fn restarts(&self) -> Vec<u64> {
        let count = |pod: &String| {
            let object = self.plane.get(&["-n", &self.namespace, "pod", pod])?;
            object["status"]["containerStatuses"][0]["restartCount"].as_u64()
        };
        self.pods().iter().map(|pod| count(pod).unwrap_or_else(|| panic!("{pod} has no status"))).collect()
    }
}
