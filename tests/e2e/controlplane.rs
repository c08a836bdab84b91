//! The test control plane itself: that it is a real one, and that it leaves
//! nothing behind however a test ends.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use harness::child;
use harness::{
    API_SERVER, CONTROLLER_MANAGER, ControlPlane, EtcdCluster, EtcdOptions, Serve, ServeOptions, bin, client,
    eventually, free_port,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, ListParams, WatchEvent, WatchParams},
};

/// For what a healthy control plane does within a second or two, on a machine
/// that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);

/// One control plane for the tests that do not disturb it.
fn shared() -> &'static ControlPlane {
    static SHARED: OnceLock<ControlPlane> = OnceLock::new();
    SHARED.get_or_init(ControlPlane::start)
}

fn stateful_set(namespace: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: etcd, namespace: {namespace}}}
spec:
  serviceName: etcd
  selector: {{matchLabels: {{app: etcd}}}}
  template:
    metadata: {{labels: {{app: etcd}}}}
    spec: {{containers: [{{name: etcd, image: etcd}}]}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: defrag, namespace: {namespace}}}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec: {{restartPolicy: Never, containers: [{{name: defrag, image: defrag}}]}}
"#
    )
}

#[test]
fn controllers_act_on_objects_and_a_namespace_can_be_deleted() {
    let cluster = shared();
    cluster.apply(&stateful_set("controllers"));
    let pod = eventually("the StatefulSet controller makes a pod", SOON, || {
        cluster.get(&["pod", "etcd-0", "-n", "controllers"])
    });
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "StatefulSet");
    assert_eq!(pod["status"]["phase"], "Pending");

    let job = ["create", "job", "now", "--from=cronjob/defrag", "-n", "controllers"];
    cluster.kubectl_ok(&job);
    eventually("the Job controller makes a pod", SOON, || {
        let pods = cluster.get(&["pods", "-n", "controllers", "-l", "job-name=now"])?;
        (pods["items"].as_array()?.len() == 1).then_some(())
    });

    cluster.kubectl_ok(&["delete", "namespace", "controllers", "--timeout=120s"]);
    assert!(cluster.get(&["namespace", "controllers"]).is_none());
}

#[test]
fn programs_report_the_version_they_were_built_from() {
    let cluster = shared();
    let text = cluster.kubectl_ok(&["version", "-o", "json"]);
    let versions: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for side in ["clientVersion", "serverVersion"] {
        assert_eq!(versions[side]["gitVersion"], cluster.version());
        assert_eq!(versions[side]["major"], "1");
    }
    let module = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/controlplane/go.mod"));
    assert!(module.contains(&format!("k8s.io/kubernetes {}\n", cluster.version())));
}

#[test]
fn the_audit_log_tells_who_wrote_what() {
    let cluster = shared();
    let mark = cluster.audit_mark();
    cluster.kubectl_ok(&["create", "namespace", "audited"]);
    cluster.kubectl_ok(&["create", "configmap", "real", "-n", "audited"]);
    cluster.kubectl_ok(&["create", "configmap", "dry", "-n", "audited", "--dry-run=server"]);
    let denied = ["create", "configmap", "no", "-n", "audited", "--as=somebody"];
    assert!(!cluster.kubectl(denied).status.success());

    let events = cluster.audit_since(mark).in_namespace("audited").of("configmaps").by_agent("kubectl/");
    assert_eq!(events.count(|event| event.verb == "create"), 3);
    let real = events.clone().filter(|event| event.name == "real");
    assert_eq!(real.len(), 1);
    for event in real {
        assert_eq!((event.verb.as_str(), event.code), ("create", 201));
        assert_eq!((event.user.as_str(), event.dry_run), ("admin", false));
        assert!(event.is_write());
    }
    assert_eq!(events.count(|event| event.dry_run), 1);
    let refused = events.by_user("somebody").writes();
    assert_eq!(refused.count(|event| event.code == 403), refused.len());
    assert_eq!(refused.len(), 1);
}

#[tokio::test]
async fn a_write_that_can_be_seen_is_in_the_audit_log_though_it_is_not_answered() {
    let cluster = shared();
    let maps = (0..200).map(|index| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: map-{index}}}}}"));
    let list = format!("{{apiVersion: v1, kind: List, items: [{}]}}", maps.collect::<Vec<_>>().join(", "));
    cluster.kubectl_ok(&["create", "namespace", "logged"]);
    let created = cluster.kubectl_stdin(["create", "-n", "logged", "-f", "-"], &list);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));

    let api = Api::<ConfigMap>::namespaced(client(cluster.kubeconfig()).await, "logged");
    let mut watched = api.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    let before = cluster.audit_mark();
    let delete =
        tokio::spawn(async move { api.delete_collection(&DeleteParams::default(), &ListParams::default()).await });
    while !matches!(watched.try_next().await.unwrap(), Some(WatchEvent::Deleted(_))) {}
    let (since, after) = (cluster.audit_since(before), cluster.audit_mark());
    assert_eq!(since.of("configmaps").count(|event| event.verb == "deletecollection"), 1);
    delete.await.unwrap().unwrap();
    assert_eq!(cluster.audit_since(after).of("configmaps").count(|event| event.verb == "deletecollection"), 0);
}

#[test]
fn a_service_account_has_the_rights_it_was_given() {
    let cluster = shared();
    cluster.kubectl_ok(&["create", "namespace", "rights"]);
    cluster.kubectl_ok(&["create", "serviceaccount", "reader", "-n", "rights"]);
    cluster.kubectl_ok(&[
        "create",
        "rolebinding",
        "reader",
        "--clusterrole=view",
        "--serviceaccount=rights:reader",
        "-n",
        "rights",
    ]);
    let kubeconfig = cluster.service_account_kubeconfig("rights", "reader");
    let succeeds = |args: &[&str]| {
        let mut command = cluster.kubectl_command();
        let output = command.env("KUBECONFIG", &kubeconfig).args(args).output();
        output.expect("kubectl runs").status.success()
    };
    assert!(succeeds(&["get", "configmaps"]));
    assert!(!succeeds(&["get", "configmaps", "-n", "default"]));
    assert!(!succeeds(&["create", "configmap", "mine"]));
}

#[test]
fn two_run_side_by_side_and_parts_can_be_stopped_and_started() {
    let (one, two) = thread::scope(|scope| {
        let other = scope.spawn(ControlPlane::start);
        (ControlPlane::start(), other.join().expect("it starts"))
    });
    one.kubectl_ok(&["create", "namespace", "only-here"]);
    assert!(two.get(&["namespace", "only-here"]).is_none());
    assert_ne!(one.server(), two.server());

    let api = one.component(API_SERVER);
    api.stop();
    assert!(api.pid().is_none());
    assert!(!one.kubectl(["get", "namespaces"]).status.success());
    let refused = api.attempt("stop").expect_err("it does not run");
    assert!(refused.contains("does not run"), "{refused}");
    api.start();
    assert!(one.get(&["namespace", "only-here"]).is_some());
    assert!(two.get(&["namespaces"]).is_some());

    let before = one.component(CONTROLLER_MANAGER).pid();
    one.component(CONTROLLER_MANAGER).restart();
    assert_ne!(before, one.component(CONTROLLER_MANAGER).pid());
    one.apply(&stateful_set("after-restart"));
    eventually("controllers act after both restarts", SOON, || one.get(&["pod", "etcd-0", "-n", "after-restart"]));

    api.pause();
    let frozen = ["get", "namespaces", "--request-timeout=1s"];
    assert!(!one.kubectl(frozen).status.success());
    api.resume();
    one.kubectl_ok(&["get", "namespaces"]);
}

#[test]
fn an_etcd_cluster_fills_defragments_and_survives_a_hung_member() {
    let quota = 16 << 20;
    let cluster = EtcdCluster::start(&EtcdOptions {
        quota: Some(quota),
        hosts: vec!["etcd-0.etcd.db.svc".to_owned()],
        ..EtcdOptions::default()
    });
    let value = "x".repeat(500 << 10);
    for key in 0..10 {
        cluster.put(&format!("key-{key}"), &value);
    }
    cluster.etcdctl_ok(&["del", "", "--prefix"]);
    let full = cluster.status();
    assert_eq!(full.len(), 3);
    assert_eq!(full.iter().filter(|member| member.is_leader).count(), 1);
    for member in &full {
        assert!(member.db_size > 5 << 20, "{member:?}");
        assert_eq!(member.quota, quota);
        assert!(member.errors.is_empty(), "{member:?}");
    }
    cluster.compact();
    eventually("compaction frees pages on every member", SOON, || {
        // A member counts its free pages when it commits; an idle one is stale.
        cluster.put("tick", "tock");
        let status = cluster.status();
        let small = |bytes| bytes < 1 << 20;
        status.iter().all(|member| small(member.db_size_in_use)).then_some(())
    });
    cluster.etcdctl_ok(&["defrag"]);
    for member in cluster.status() {
        assert!(member.db_size < 1 << 20, "{member:?}");
    }

    // Without its leader a cluster takes no writes until it has elected another.
    let follower = cluster.status().iter().position(|member| !member.is_leader).expect("a follower");
    cluster.member(follower).pause();
    cluster.put("with-two-members", "yes");
    let endpoint = format!("--endpoints={}", cluster.endpoints()[follower]);
    let hung = [&endpoint, "--command-timeout=1s", "endpoint", "status"];
    assert!(!cluster.etcdctl(hung).status.success());
    cluster.member(follower).resume();
    cluster.member(follower).restart();
    cluster.etcdctl_ok(&["endpoint", "health"]);
}

/// Not a test of its own: the tests below start this test program again, with
/// this test only, to see what is left after it has ended badly.
#[test]
#[ignore = "started by other tests"]
fn child_process() {
    let Ok(mode) = std::env::var(child::MODE) else {
        return;
    };
    let control_plane;
    let _serve;
    let etcd;
    let dir = if mode == "control-plane" {
        control_plane = ControlPlane::start();
        _serve = Serve::spawn(&control_plane, &ServeOptions::default());
        control_plane.dir()
    } else {
        etcd = EtcdCluster::start(&EtcdOptions { members: 1, ..EtcdOptions::default() });
        etcd.dir()
    };
    println!("\ndir={}", dir.display());
    assert!(mode != "panic", "as asked");
    thread::sleep(Duration::from_mins(2));
}

/// Starts [`child_process`] with the folder of its cluster.
fn start_child(mode: &str) -> (Child, PathBuf) {
    child::start("controlplane::child_process", mode)
}

fn expect_no_process(dir: &Path) {
    eventually("every process of the cluster ends", SOON, || child::processes_of(dir).is_empty().then_some(()));
}

#[test]
fn sigkill_of_a_test_leaves_no_process_and_no_folder() {
    let (mut child, dir) = start_child("control-plane");
    // The supervisor with its three programs, and `serve`.
    assert_eq!(child::processes_of(&dir).len(), 5);
    child.kill().expect("the child is killed");
    child.wait().expect("the child has ended");
    expect_no_process(&dir);
    eventually("the folder is removed", SOON, || (!dir.exists()).then_some(()));
}

#[test]
fn ctrl_c_leaves_no_process_and_no_folder() {
    let (mut child, dir) = start_child("etcd");
    assert_eq!(child::processes_of(&dir).len(), 2);
    // As a terminal does it: the whole foreground group is signalled.
    child::signal("INT", &format!("-{}", child.id()));
    child.wait().expect("the child has ended");
    expect_no_process(&dir);
    eventually("the folder is removed", SOON, || (!dir.exists()).then_some(()));
}

#[test]
fn sigkill_of_the_supervisor_leaves_no_process() {
    let (mut child, dir) = start_child("etcd");
    let supervisor = child::processes_of(&dir)
        .into_iter()
        .find(|pid| child::command_line(*pid).contains("etcd-cluster"))
        .expect("the supervisor runs");
    child::signal("KILL", &supervisor.to_string());
    expect_no_process(&dir);
    child.kill().expect("the child is killed");
    child.wait().expect("the child has ended");
    // Nobody was left to do it.
    std::fs::remove_dir_all(&dir).expect("the folder is removed");
}

#[test]
fn a_panic_leaves_no_process_and_keeps_the_logs() {
    let (mut child, dir) = start_child("panic");
    let status = child.wait().expect("the child has ended");
    assert!(!status.success());
    assert!(child::processes_of(&dir).is_empty(), "the child waits for them");
    assert!(dir.join("logs/etcd-0.log").is_file());
    std::fs::remove_dir_all(&dir).expect("the folder is removed");
}

#[test]
fn a_failed_start_shows_the_log() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut supervisor = Command::new(bin("controlplane"))
        .args(["etcd-cluster", "--members=1", "--extra=etcd=--no-such-flag", "--dir"])
        .arg(dir.path().join("cluster"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("controlplane runs");
    // Held open: its end asks the supervisor to stop.
    let stdin = supervisor.stdin.take();
    let output = supervisor.wait_with_output().expect("it ends");
    drop(stdin);
    assert_eq!(output.status.code(), Some(1));
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        assert!(text.contains("etcd-0 ended before it was ready"), "{text}");
        assert!(text.contains("logs/etcd-0.log"), "{text}");
        assert!(text.contains("no-such-flag"), "{text}");
    }
}

#[test]
fn a_component_that_dies_ends_the_cluster_with_an_error() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut supervisor = Command::new(bin("controlplane"))
        .args(["etcd-cluster", "--members=1", "--dir"])
        .arg(dir.path().join("cluster"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("controlplane runs");
    let mut report = String::new();
    BufReader::new(supervisor.stdout.as_mut().expect("it is piped")).read_line(&mut report).expect("it reports");
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    child::signal("KILL", &report["components"][0]["pid"].to_string());
    // Held open: its end asks the supervisor to stop.
    let stdin = supervisor.stdin.take();
    let status = supervisor.wait().expect("it ends");
    drop(stdin);
    assert_eq!(status.code(), Some(1));
    let mut errors = String::new();
    let mut stderr = supervisor.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut errors).expect("text");
    assert!(errors.contains("etcd-0 ended by itself (signal: killed)"), "{errors}");
}

#[test]
fn a_free_port_can_be_listened_on_and_is_given_once() {
    let ports: std::collections::BTreeSet<u16> = (0..20).map(|_| free_port()).collect();
    assert_eq!(ports.len(), 20);
    for port in ports {
        std::net::TcpListener::bind(("127.0.0.1", port)).expect("nothing listens on it");
    }
}
