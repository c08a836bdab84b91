//! A stand-alone etcd cluster, to run the defragmentation engine against.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use serde::Deserialize;

use super::{
    Defragmentation,
    etcd_pods::logs,
    eventually, expect_success, run,
    supervised::{Base, Component, Supervised},
};

/// What an etcd cluster is like.
#[derive(Debug, Clone)]
pub struct EtcdOptions {
    /// Number of members, at least 1.
    pub members: usize,
    /// TLS with client certificates, towards clients and between members.
    pub tls: bool,
    /// Backend quota in bytes; etcd's default (2 GiB) when `None`.
    pub quota: Option<u64>,
    /// Host names in the server certificate besides `127.0.0.1` and `localhost`.
    pub hosts: Vec<String>,
    /// Further arguments for every member.
    pub extra: Vec<String>,
}

impl Default for EtcdOptions {
    /// Three members with TLS.
    fn default() -> Self {
        Self { members: 3, tls: true, quota: None, hosts: Vec::new(), extra: Vec::new() }
    }
}

/// What the supervisor says once the cluster is ready.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(flatten)]
    base: Base,
    endpoints: Vec<String>,
    ca_file: PathBuf,
    client_cert_file: PathBuf,
    client_key_file: PathBuf,
    members: Vec<Member>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    name: String,
    data_dir: PathBuf,
}

/// A running etcd cluster. Dropping it stops it and removes its folder; while a
/// panic unwinds, the folder stays and its path is printed.
pub struct EtcdCluster {
    supervised: Supervised,
    report: Report,
}

/// On a busy machine a member may not run for a second, which is no reason to elect another leader.
pub(super) const PATIENT: [&str; 2] = ["--heartbeat-interval=300", "--election-timeout=3000"];

/// The five seconds of etcdctl itself are short on a busy machine.
const IN_TIME: &str = "--command-timeout=60s";

impl EtcdCluster {
    /// Starts one and waits until every member is ready.
    pub fn start(options: &EtcdOptions) -> Self {
        let mut args = vec![format!("--members={}", options.members), format!("--tls={}", options.tls)];
        args.extend(options.quota.map(|bytes| format!("--quota={bytes}")));
        args.extend(options.hosts.iter().map(|host| format!("--san={host}")));
        args.extend(PATIENT.iter().map(|arg| format!("--extra=etcd={arg}")));
        args.extend(options.extra.iter().map(|arg| format!("--extra=etcd={arg}")));
        let (supervised, report) = Supervised::start("etcd-cluster", &args);
        Self { supervised, report }
    }

    /// Its folder. Removed at the end, with whatever a test has put there.
    pub fn dir(&self) -> &Path {
        self.supervised.dir()
    }

    /// Client URLs, one for each member.
    pub fn endpoints(&self) -> &[String] {
        &self.report.endpoints
    }

    /// The certificate of the authority, as PEM; `None` without TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        present(&self.report.ca_file)
    }

    /// A client certificate (user `root`), as PEM; `None` without TLS.
    pub fn client_cert_file(&self) -> Option<&Path> {
        present(&self.report.client_cert_file)
    }

    /// The private key of the client certificate, as PEM; `None` without TLS.
    pub fn client_key_file(&self) -> Option<&Path> {
        present(&self.report.client_key_file)
    }

    /// How long it took from the start of the supervisor until all was ready.
    pub fn start_time(&self) -> Duration {
        Duration::from_millis(self.report.base.start_millis)
    }

    /// The member at an index (from 0), to stop, start or freeze it.
    #[track_caller]
    pub fn member(&self, index: usize) -> Component<'_> {
        self.supervised.component(&self.member_report(index).name)
    }

    /// Every defragmentation that the members have logged in all their runs, in the order of time.
    #[track_caller]
    pub fn defragmentations(&self) -> Vec<Defragmentation> {
        let names = self.report.members.iter().map(|member| member.name.as_str());
        let logs = names.map(|name| (name, self.supervised.component(name).log()));
        let mut all: Vec<_> = logs.flat_map(|(name, text)| logs::defragmentations(name, &logs::read(&text))).collect();
        all.sort_by_key(|one| one.from);
        all
    }

    /// The data folder of the member at an index (from 0).
    #[track_caller]
    pub fn data_dir(&self, index: usize) -> &Path {
        &self.member_report(index).data_dir
    }

    #[track_caller]
    fn member_report(&self, index: usize) -> &Member {
        let members = &self.report.members;
        members.get(index).unwrap_or_else(|| panic!("there are {} members, none at {index}", members.len()))
    }

    /// An `etcdctl` command with this cluster's endpoints and certificates.
    pub fn etcdctl_command(&self) -> Command {
        let mut command = Command::new(super::bin("etcdctl"));
        command.env("ETCDCTL_ENDPOINTS", self.endpoints().join(","));
        for (name, file) in [
            ("ETCDCTL_CACERT", self.ca_file()),
            ("ETCDCTL_CERT", self.client_cert_file()),
            ("ETCDCTL_KEY", self.client_key_file()),
        ] {
            if let Some(file) = file {
                command.env(name, file);
            }
        }
        command
    }

    /// Runs `etcdctl`, whether it succeeds or not.
    pub fn etcdctl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        let mut command = self.etcdctl_command();
        command.args(args);
        run(command, None)
    }

    /// Runs `etcdctl put KEY` with a value of any length, which has to succeed, once a leader is elected.
    #[track_caller]
    pub fn put(&self, key: &str, value: &str) {
        let args = [IN_TIME, "put", key];
        let output = eventually("a put that meets no election", Duration::from_secs(30), || {
            let mut command = self.etcdctl_command();
            command.args(args);
            let output = run(command, Some(value));
            let said = String::from_utf8_lossy(&output.stderr);
            let meets_election =
                ["request timed out", "no leader", "leader changed"].iter().any(|one| said.contains(one));
            (!meets_election).then_some(output)
        });
        expect_success(&output, "etcdctl", &args);
    }

    /// Runs `etcdctl`, which has to succeed, and returns its standard output.
    #[track_caller]
    pub fn etcdctl_ok(&self, args: &[&str]) -> String {
        expect_success(&self.etcdctl([&[IN_TIME][..], args].concat()), "etcdctl", args)
    }

    /// Drops all old revisions, up to the newest one that the cluster has: that of one member may be behind.
    #[track_caller]
    pub fn compact(&self) {
        let answer = self.etcdctl_ok(&["get", "", "--prefix", "--limit=1", "--keys-only", "-w", "json"]);
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON of etcdctl");
        let newest = answer["header"]["revision"].as_i64().expect("a revision");
        self.etcdctl_ok(&["compact", "--physical", &newest.to_string()]);
    }

    /// The status of every member, in the order of [`Self::endpoints`], once each has applied what one had; all have to answer.
    #[track_caller]
    pub fn status(&self) -> Vec<MemberStatus> {
        MemberStatus::caught_up(|| self.etcdctl_ok(&["endpoint", "status", "-w", "json"]))
    }
}

fn present(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

/// The state of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its client URL.
    pub endpoint: String,
    /// Size of the database file, in bytes.
    pub db_size: u64,
    /// Bytes of it that hold data.
    pub db_size_in_use: u64,
    /// Backend quota in bytes.
    pub quota: u64,
    pub is_leader: bool,
    /// Alarms and other complaints.
    pub errors: Vec<String>,
    /// Up to where it has applied the log of the cluster.
    pub applied: u64,
}

impl MemberStatus {
    /// Looks, by `etcdctl endpoint status -w json`, until each member has applied what one had at the first look: a write is
    /// answered when one member has it, and the others may be behind.
    #[track_caller]
    pub(super) fn caught_up(look: impl Fn() -> String) -> Vec<Self> {
        let newest = |members: &[Self]| members.iter().map(|member| member.applied).max();
        let mut wanted = None;
        eventually("each member to have applied what one has", Duration::from_mins(1), || {
            let members = Self::parse(&look());
            let wanted = *wanted.get_or_insert_with(|| newest(&members));
            members.iter().all(|member| Some(member.applied) >= wanted).then_some(members)
        })
    }

    #[track_caller]
    fn parse(text: &str) -> Vec<Self> {
        let raw: Vec<RawStatus> =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("etcdctl endpoint status wrote {text}: {error}"));
        raw.into_iter().map(Self::from).collect()
    }
}

#[derive(Deserialize)]
struct RawStatus {
    #[serde(rename = "Endpoint")]
    endpoint: String,
    #[serde(rename = "Status")]
    status: RawStatusBody,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawStatusBody {
    header: RawHeader,
    db_size: u64,
    #[serde(default)]
    db_size_in_use: u64,
    #[serde(default)]
    db_size_quota: u64,
    leader: u64,
    raft_applied_index: u64,
    #[serde(default)]
    errors: Vec<String>,
}

#[derive(Deserialize)]
struct RawHeader {
    member_id: u64,
}

impl From<RawStatus> for MemberStatus {
    fn from(raw: RawStatus) -> Self {
        let status = raw.status;
        Self {
            endpoint: raw.endpoint,
            db_size: status.db_size,
            db_size_in_use: status.db_size_in_use,
            quota: status.db_size_quota,
            is_leader: status.header.member_id == status.leader,
            errors: status.errors,
            applied: status.raft_applied_index,
        }
    }
}
