//! A member that is slow, as on a slow disk: its CPU is limited.

use etcd_defrag_webhook::defrag::run_result::{Did, Outcome};
use harness::{PodsOptions, eventually};

use super::{
    built_in::{command_timeout, ended, etcd},
    support::{Before, RUN, incident, slow_once_begun, waste, waste_and_keep, world},
};

/// Where it ends in time, the others wait for it; where it does not, no other one is begun, for it may still be at work.
#[test]
fn a_slow_member_is_alone_for_as_long_as_it_takes() {
    let Some(world) = world("a_slow_member_is_alone_for_as_long_as_it_takes") else { return };
    let pods = etcd(&world, "slow", PodsOptions { liveness: None, ..PodsOptions::default() });
    waste(&pods);
    let before = Before::of(&pods);
    let slow = pods.follower();
    world.node.throttle(pods.namespace(), &slow, Some(10));
    let log = pods.run_job("in-time", RUN);
    before.done(&world.node, &log, "in-time");
    let (code, result) = ended(&pods, &world, "in-time");
    incident(&pods, &format!("{slow} is slow and ends in time"), &format!("exit {code}: {result}"));
    assert_eq!((code, result.outcome), (0, Outcome::Done));

    // So slow that its time-out of 10 s is over before its defragmentation.
    world.node.throttle(pods.namespace(), &slow, None);
    command_timeout(&pods, "10s");
    waste_and_keep(&pods);
    let slow = pods.follower();
    slow_once_begun(&world.node, &pods, &slow, "too-slow", 1);
    let end = pods.job_end("too-slow", RUN);
    world.node.throttle(pods.namespace(), &slow, None);
    let (code, result) = ended(&pods, &world, "too-slow");
    incident(&pods, &format!("{slow} does not end in time"), &format!("exit {code}: {result}"));
    assert!(!end.succeeded, "{end:?}");
    assert_eq!((code, result.outcome), (1, Outcome::Failed));
    let begun: Vec<&str> = result
        .members
        .iter()
        .filter(|member| member.did != Did::NotTouched)
        .map(|member| member.name.as_str())
        .collect();
    assert_eq!(begun, [slow.as_str()], "{result:?}");
    assert!(result.to_string().contains("it may still be at work"), "{result}");
    eventually("all members to be well", RUN, || pods.etcdctl(&["endpoint", "health"]).status.success().then_some(()));
}
