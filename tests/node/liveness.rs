//! A liveness probe that takes a member at work for a dead one.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::support::{RUN, event, namespace, slow_once_begun, world};
use harness::{EtcdPods, Fill, PodsOptions, Process, eventually};

/// When the kubelet begins to probe, after the start: the etcd is filled before, for a member with much to write on a busy machine is
/// also silent for longer than the probe bears.
const PROBED_AFTER: Duration = Duration::from_secs(45);

/// Foretold when the etcd is labelled, and then it happens: the member is silent for longer than its probe bears, and
/// the kubelet kills it in the middle.
#[test]
fn a_liveness_probe_kills_a_member_at_work_as_was_foretold() {
    let Some(world) = world("a_liveness_probe_kills_a_member_at_work_as_was_foretold") else { return };
    let node = &world.node;
    let options = PodsOptions {
        quota: 512 << 20,
        liveness: Some(json!({
            "httpGet": {"path": "/livez", "port": 2381},
            "initialDelaySeconds": PROBED_AFTER.as_secs(), "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 3,
        })),
        ..PodsOptions::default()
    };
    let options = options.annotated("wait-between-members", "1s").annotated("free-above", "16Mi");
    let pods = EtcdPods::new(node, &namespace(node, "probe"), options);
    let said = pods.apply();
    println!("{said}");
    assert!(said.contains("restarts a member silent for 3 s; defragmenting may take 5 s"), "{said}");
    pods.wait_ready();
    let started = Instant::now();
    let reported = pods.cronjob()["metadata"]["annotations"]["etcd-defrag.io/findings"].to_string();
    assert!(reported.contains("liveness-too-eager"), "{reported}");

    // 96 MiB, three quarters of them in use: what a defragmentation has to copy.
    let fill = Fill::small_to(128 << 20, 75);
    pods.fill(Fill { keep: fill.keys * 3 / 4, ..fill });
    thread::sleep(PROBED_AFTER.saturating_sub(started.elapsed()));
    let first = pods.follower();
    assert_eq!(pods.restarts(), [0, 0, 0]);
    let etcd = slow_once_begun(node, &pods, &first, "by-hand", 2);
    // As slow until it was killed, and no longer: it would be killed again at its next start, and its log be that one's.
    eventually("the kubelet to kill the member", RUN, || Process::of(etcd.pid).is_none().then_some(()));
    node.throttle(pods.namespace(), &first, None);
    let end = pods.job_end("by-hand", RUN);
    let log = pods.job_log("by-hand");
    assert!(!end.succeeded, "{log}");
    eventually("the kubelet to say that it killed the member", RUN, || {
        let said = node.kubectl_ok(&["-n", pods.namespace(), "get", "events", "--field-selector", "reason=Killing"]);
        said.lines().any(|line| line.contains("failed liveness probe") && line.contains(&first)).then_some(())
    });
    let died = pods.log(&first, true);
    assert!(died.iter().any(|line| line.message == "starting defragment"));
    assert!(!died.iter().any(|line| line.message == "finished defragment"), "{first} was killed too late");
    let report = event(node, &pods, "DefragmentationFailed");
    println!("{report}");
    pods.wait_ready();
}
