//! What is not right before a member is touched: certificates, logins, names.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use etcd_defrag_webhook::defrag::run_result::{Did, Outcome};
use harness::{EtcdCluster, EtcdOptions, bin, eventually, free_port};

use crate::support::{Ended, Runner, cluster};

#[track_caller]
fn failed(run: &Ended, reason: &str) {
    run.ended(Outcome::Failed, reason);
    assert!(run.result.no_member_was_touched());
}

#[test]
fn wrong_certificates_and_names_are_said_at_once() {
    let etcd = cluster(&EtcdOptions::default());
    let endpoints = etcd.endpoints();
    let [first, second, third] = endpoints else { panic!("{endpoints:?}") };

    let ca = rcgen_authority(&etcd);
    let foreign = Runner::new(&etcd).args(&[&format!("--cacert={ca}")]).run();
    failed(&foreign, "its certificate is signed by an authority that --cacert does not have (and 2 more)");
    assert!(foreign.result.members.iter().all(|member| member.did == Did::NotTouched && !member.note.is_empty()));
    let authority = format!("--cacert={}", etcd.ca_file().unwrap().display());
    let without = Runner::bare(&etcd, first).args(&[&authority, "--dry-run"]).run();
    failed(&without, "");
    failed(&Runner::new(&etcd).args(&["--cacert=/nonexistent"]).run(), "--cacert: /nonexistent cannot be read");
    let skipped =
        Runner::new(&etcd).args(&[&format!("--cacert={ca}"), "--insecure-skip-tls-verify", "--dry-run"]).run();
    skipped.ended(Outcome::Checked, "");

    let unnamed = Runner::of(&etcd, &format!("{first},{second}")).run();
    unnamed.incident(&etcd, "a voting member that no endpoint names");
    failed(&unnamed, &format!("the voting member etcd-2 at {third}, which no endpoint reaches"));
    let local = first.replace("127.0.0.1", "localhost");
    let twice = Runner::of(&etcd, &format!("{first},{local},{second},{third}")).run();
    twice.incident(&etcd, "two endpoints reach one member");
    failed(&twice, "both reach the member etcd-0: write one URL for each member");
    let nowhere =
        Runner::of(&etcd, &format!("{first},{second},https://nowhere.invalid:2379")).args(&["--dry-run"]).run();
    failed(&nowhere, "https://nowhere.invalid:2379 cannot be reached");
    // The kernel accepts the connection, and nobody is behind it.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = format!("https://{}", listener.local_addr().unwrap());
    let run = Runner::of(&etcd, &format!("{silent},{first}")).args(&["--dry-run", "--dial-timeout=2s"]).run();
    failed(&run, &format!("{silent} cannot be reached: no TLS handshake within 2s (--dial-timeout)"));

    failed(&Runner::new(&etcd).args(&["--defrag-rule=dbSize >"]).run(), "--defrag-rule cannot be read");
    let short = Runner::new(&etcd).args(&["--deadline=30s"]).run();
    failed(&short, "--deadline=30s is shorter than --command-timeout=60s");
    let unknown = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook")).args(["defrag", "--no-such-flag"]).output();
    assert_eq!(unknown.unwrap().status.code(), Some(2));
}

/// An authority that signed nothing.
fn rcgen_authority(etcd: &EtcdCluster) -> String {
    let dir = etcd.dir().join("foreign");
    let made = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook")).arg("certs").arg("--out").arg(&dir).output();
    assert!(made.unwrap().status.success());
    dir.join("ca.crt").display().to_string()
}

#[test]
fn a_login_is_needed_once_etcd_asks_for_one() {
    let etcd = cluster(&EtcdOptions { members: 1, tls: false, ..EtcdOptions::default() });
    // A login that nobody asks for is none.
    Runner::new(&etcd).args(&["--user=root", "--password=secret", "--dry-run"]).run().ended(Outcome::Checked, "");
    etcd.etcdctl_ok(&["user", "add", "root:secret"]);
    etcd.etcdctl_ok(&["user", "grant-role", "root", "root"]);
    etcd.etcdctl_ok(&["user", "add", "guest:guest"]);
    etcd.etcdctl_ok(&["auth", "enable"]);

    failed(&Runner::new(&etcd).run(), "user name is empty: check the user name and the password");
    failed(
        &Runner::new(&etcd).args(&["--user=root", "--password=wrong"]).run(),
        "check the user name and the password",
    );
    let env = Runner::new(&etcd).env("ETCD_DEFRAG_USER", "root").env("ETCD_DEFRAG_PASSWORD", "secret");
    let run = env.run();
    run.ended(Outcome::Done, "");
    assert!(!run.log.contains("secret"), "{}", run.log);
    let guest = Runner::new(&etcd).args(&["--user=guest", "--password=guest", "--compaction=false"]).run();
    assert_eq!(guest.result.outcome, Outcome::Failed);
    assert_eq!(guest.count(Did::Defragmented), 0);
}

/// Ends a process at the end of a test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn learners_are_left_out_by_name() {
    let etcd = cluster(&EtcdOptions { members: 1, tls: false, ..EtcdOptions::default() });
    let [peer, client] = [free_port(), free_port()].map(|port| format!("http://127.0.0.1:{port}"));
    let added = etcd.etcdctl_ok(&["member", "add", "learner", "--learner", &format!("--peer-urls={peer}")]);
    // One that never started votes no more than one that did.
    Runner::new(&etcd).args(&["--dry-run"]).run().ended(Outcome::Checked, "1 of 1 now");
    let initial = added.lines().find_map(|line| line.strip_prefix("ETCD_INITIAL_CLUSTER=")).unwrap().trim_matches('"');
    let started = Command::new(bin("etcd"))
        .args(["--name=learner", "--initial-cluster-state=existing"])
        .arg(format!("--data-dir={}", etcd.dir().join("learner").display()))
        .arg(format!("--initial-cluster={initial}"))
        .args([format!("--initial-advertise-peer-urls={peer}"), format!("--listen-peer-urls={peer}")])
        .args([format!("--advertise-client-urls={client}"), format!("--listen-client-urls={client}")])
        .stdout(Stdio::null())
        .stderr(fs::File::create(etcd.dir().join("learner.log")).unwrap())
        .spawn();
    let _learner = Killed(started.unwrap());
    eventually("the learner answers", Duration::from_mins(1), || {
        let status =
            etcd.etcdctl_command().env("ETCDCTL_ENDPOINTS", &client).args(["endpoint", "status"]).output().unwrap();
        status.status.success().then_some(())
    });
    let both = format!("{},{client}", etcd.endpoints()[0]);
    let run = Runner::of(&etcd, &both).run();
    run.incident(&etcd, "a learner beside one member");
    run.ended(Outcome::Done, "");
    assert_eq!(run.deeds(), [("etcd-0", Did::Defragmented), ("learner", Did::Skipped)]);
    assert_eq!(run.result.members[1].note, "a learner, which cannot be defragmented");
    assert_eq!(run.result.members_total, 2);
}
