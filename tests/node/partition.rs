//! A member that is cut off from the others by rules of the kernel's packet filter, in the network namespace of its pod.

use std::process::Command;

use etcd_defrag_webhook::defrag::run_result::Outcome;
use harness::{EtcdPods, PodsOptions, eventually};

use super::{
    built_in::{ended, etcd},
    support::{Before, RUN, World, incident, waste, world},
};

/// Where members speak with each other.
const PEER_PORT: &str = "2380";

/// A member that no other one hears, until this is dropped. Clients reach it all the same.
struct CutOff {
    pid: u32,
}

impl CutOff {
    fn of(world: &World, pods: &EtcdPods<'_>, pod: &str) -> Self {
        let cut = Self { pid: world.node.etcd_process(pods.namespace(), pod).pid };
        cut.rules("-I");
        cut
    }

    /// Adds (`-I`) or deletes (`-D`) the rules.
    fn rules(&self, verb: &str) {
        for chain in ["INPUT", "OUTPUT"] {
            for port in ["--dport", "--sport"] {
                let mut command = Command::new("nsenter");
                command.args(["--target", &self.pid.to_string(), "--net", "iptables", "-w", verb, chain]);
                let output = command.args(["-p", "tcp", port, PEER_PORT, "-j", "DROP"]).output().unwrap();
                assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        self.rules("-D");
    }
}

/// It answers, but not for the cluster: its reads have no majority behind them. No member is begun before it is back.
#[test]
fn a_member_that_is_cut_off_from_the_others_is_waited_for() {
    let test = "a_member_that_is_cut_off_from_the_others_is_waited_for";
    let Some(world) = world(test) else { return };
    let options = PodsOptions { liveness: None, ..PodsOptions::default() };
    let pods = etcd(&world, "partition", options);
    waste(&pods);
    let before = Before::of(&pods);
    let alone = pods.follower();
    let cut = CutOff::of(&world, &pods, &alone);
    pods.create_job("cut-off");
    let waits = eventually("the run to wait", RUN, || {
        let log = pods.job_log("cut-off");
        log.lines().find(|line| line.contains("waiting: ") && line.contains(&alone)).map(ToOwned::to_owned)
    });
    println!("{waits}");
    assert_eq!(pods.defragmentations(), []);
    drop(cut);
    let end = pods.job_end("cut-off", RUN);
    let log = pods.job_log("cut-off");
    assert!(end.succeeded, "{end:?}\n{log}");
    before.done(&world.node, &log, "cut-off");
    let (code, result) = ended(&pods, &world, "cut-off");
    let what = format!("{alone} is cut off by the packet filter, and comes back");
    incident(&pods, &what, &format!("exit {code}: {result} ({waits})"));
    assert_eq!((code, result.outcome), (0, Outcome::Done));
}
