//! Runs that fail: nothing else is touched, and the reconciler says so.

use std::time::Duration;

use serde_json::json;

use super::support::{
    RUN, SOON, event, first_event, incident, namespace, slow_once_begun, waste, waste_and_keep, world,
};
use harness::{Engine, EtcdPods, JobEnd, PodsOptions, eventually};

/// The pods that have been defragmented so far, or are being so.
fn begun(pods: &EtcdPods<'_>) -> Vec<String> {
    pods.defragmentations().into_iter().map(|run| run.pod).collect()
}

#[test]
fn a_client_certificate_that_etcd_does_not_know() {
    let Some(world) = world("a_client_certificate_that_etcd_does_not_know") else { return };
    let node = &world.node;
    let pods = EtcdPods::start(
        node,
        &namespace(node, "stranger"),
        // A member that comes back after scaling has to find its data.
        PodsOptions { foreign_client: true, claim: Some("256Mi".to_owned()), ..PodsOptions::default() },
    );
    waste(&pods);
    pods.create_job("by-hand");
    // While it fails, and afterwards, the etcd is everybody's as before.
    let edit = |args: &[&str]| node.kubectl_ok(&[&["-n", pods.namespace()], args].concat());
    edit(&["scale", "statefulset", pods.name(), "--replicas=2"]);
    eventually("a put that meets no change of leader", RUN, || {
        pods.etcdctl(&["put", "a", "b"]).status.success().then_some(())
    });
    edit(&["annotate", "statefulset", pods.name(), "example.org/note=by night"]);
    edit(&["scale", "statefulset", pods.name(), "--replicas=3"]);
    let end = pods.job_end("by-hand", RUN);
    assert!(!end.succeeded, "{}", pods.job_log("by-hand"));
    // A container that waits to be started has no log.
    pods.wait_ready();
    assert_eq!(begun(&pods), Vec::<String>::new());
    let report = event(node, &pods, "DefragmentationFailed");
    println!("{report}");
    assert!(report.contains("by-hand") && report.contains("certificate"), "the report does not say why: {report}");
    pods.annotate("schedule", "5 5 * * *");
    edit(&["label", "statefulset", pods.name(), "etcd-defrag.io/enabled-"]);
    pods.wait_ready();
}

#[test]
fn a_member_that_is_killed_in_the_middle_stops_the_run() {
    let Some(world) = world("a_member_that_is_killed_in_the_middle_stops_the_run") else { return };
    let node = &world.node;
    let options = PodsOptions { liveness: None, ..PodsOptions::default() }.annotated("wait-between-members", "1s");
    let pods = EtcdPods::start(node, &namespace(node, "killed"), options);
    waste_and_keep(&pods);
    let first = pods.follower();
    slow_once_begun(node, &pods, &first, "by-hand", 2).kill();
    node.throttle(pods.namespace(), &first, None);
    // Two of three are a quorum.
    pods.etcdctl_ok(&["put", "a", "b"]);

    let end = pods.job_end("by-hand", RUN);
    let log = pods.job_log("by-hand");
    assert!(!end.succeeded, "{log}");
    let report = event(node, &pods, "DefragmentationFailed");
    println!("{report}");
    assert!(report.contains("by-hand") && report.contains(&first), "the report does not say why: {report}\n{log}");
    incident(&pods, &format!("{first} is killed in the middle"), log.lines().last().unwrap_or_default());
    pods.wait_ready();
    assert_eq!(begun(&pods), Vec::<String>::new(), "the run went on to another member:\n{log}");
    let died = pods.log(&first, true);
    assert!(died.iter().any(|line| line.message == "starting defragment"));
    assert!(!died.iter().any(|line| line.message == "finished defragment"), "{first} was killed too late");
    assert_eq!(pods.status().iter().filter(|member| member.is_leader).count(), 1);
    assert_eq!(pods.etcdctl_ok(&["get", "a", "--print-value-only"]).trim(), "b");
}

#[test]
fn a_run_that_takes_too_long_is_ended_by_its_deadline() {
    let Some(world) = world("a_run_that_takes_too_long_is_ended_by_its_deadline") else { return };
    let node = &world.node;
    let options = PodsOptions::default().annotated("wait-between-members", "30m");
    let pods = EtcdPods::start(node, &namespace(node, "late"), options);
    waste(&pods);
    pods.create_job("by-hand");
    eventually("the first member to be begun", RUN, || (begun(&pods).len() == 1).then_some(()));
    let over = r#"{"spec": {"activeDeadlineSeconds": 1}}"#;
    node.kubectl_ok(&["-n", pods.namespace(), "patch", "job", "by-hand", "-p", over]);
    let end = pods.job_end("by-hand", RUN);
    assert_eq!((end.succeeded, end.reason.as_str()), (false, "DeadlineExceeded"));
    assert_eq!(begun(&pods).len(), 1, "more than one member, although the wait is half an hour");
    // Our own runner says that it was asked to end, where its pod is still there to be read.
    let report = match Engine::here() {
        Engine::EtcdDefrag => event(node, &pods, "DefragmentationFailed"),
        Engine::BuiltIn => first_event(node, &pods, &["DefragmentationFailed", "Deferred"]),
    };
    println!("{report}");
    let why = ["DeadlineExceeded", "the run was stopped"];
    assert!(why.iter().any(|words| report.contains(words)), "{report}");
    eventually("the pod of the Job to go", SOON, || {
        let left = node.get(&["-n", pods.namespace(), "pods", "-l", "job-name=by-hand"])?;
        left["items"].as_array()?.is_empty().then_some(())
    });
    pods.etcdctl_ok(&["put", "a", "b"]);
    assert_eq!(pods.restarts(), [0, 0, 0]);
}

/// Somebody forgot the script that ours replaces. Both run, and the reconciler has said so.
#[test]
fn two_cronjobs_for_one_etcd_are_reported() {
    let Some(world) = world("two_cronjobs_for_one_etcd_are_reported") else { return };
    let node = &world.node;
    let options =
        PodsOptions { tls: false, members: 1, ..PodsOptions::default() }.annotated("wait-between-members", "0s");
    let pods = EtcdPods::start(node, &namespace(node, "rival"), options);
    let mut theirs = pods.cronjob();
    theirs["metadata"] = json!({"name": "nightly", "namespace": pods.namespace()});
    theirs["status"].take();
    node.apply(&theirs.to_string());
    let report = event(node, &pods, "RivalDefragmenter");
    println!("{report}");
    assert!(report.contains("\"nightly\""), "{report}");
    let reported = eventually("the finding on our CronJob", SOON, || {
        let findings = pods.cronjob()["metadata"]["annotations"]["etcd-defrag.io/findings"].as_str()?.to_owned();
        findings.contains("rival-defragmenter").then_some(findings)
    });
    println!("{reported}");
    node.kubectl_ok(&["-n", pods.namespace(), "create", "job", "theirs", "--from=cronjob/nightly"]);
    let end: JobEnd = pods.job_end("theirs", Duration::from_secs(90));
    assert!(end.succeeded, "the rival is a real one: {}", pods.job_log("theirs"));
    node.kubectl_ok(&["-n", pods.namespace(), "delete", "cronjob", "nightly"]);
    eventually("the finding to go", SOON, || {
        let findings = pods.cronjob()["metadata"]["annotations"]["etcd-defrag.io/findings"].take();
        (!findings.to_string().contains("rival-defragmenter")).then_some(())
    });
}
