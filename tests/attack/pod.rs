//! A pod that reaches the port of each replica, and what it does there.

use std::{fs::File, net::Ipv4Addr, os::fd::AsFd as _, thread::JoinHandle, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use harness::{Node, etcd_image, eventually};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinSet,
};

use crate::{
    crowd::{BODY, Ports, half_a_body, idle_at_the_probes, requests, review, silence},
    installation::{NAME, NAMESPACE, Replica},
};

const ATTACKER: &str = "attacker";
/// The ports of a pod of ours, as the chart has them.
const WEBHOOK: u16 = 10250;
const PROBES: u16 = 8080;
/// From whatever address the pod has.
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// What a crowd of connections does to one replica.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Bodies { count: usize, sent: usize },
    Silence { per_second: u64 },
    Idle { count: usize },
    Reviews { count: usize },
}

pub(crate) const ATTACKS: [Crowd; 5] = [
    Crowd { name: "64 bodies of 7 MiB but for a byte, each", kind: Kind::Bodies { count: 64, sent: BODY - 1 } },
    Crowd { name: "128 bodies that stall, each", kind: Kind::Bodies { count: 128, sent: 10 } },
    Crowd { name: "300 silent connections a second, each", kind: Kind::Silence { per_second: 300 } },
    Crowd { name: "64 idle connections to the probes, each", kind: Kind::Idle { count: 64 } },
    Crowd { name: "reviews without end on 16 connections, each", kind: Kind::Reviews { count: 16 } },
];

impl Crowd {
    fn spawn(self, ports: &Ports, on: &Handle, crowd: &mut JoinSet<()>) {
        let copies = |count: usize| std::iter::repeat_n(ports.clone(), count);
        match self.kind {
            Kind::Bodies { count, sent } => {
                for ports in copies(count) {
                    crowd.spawn_on(half_a_body(ports, ANY, sent), on);
                }
            }
            Kind::Silence { per_second } => drop(crowd.spawn_on(silence(ports.clone(), ANY, per_second), on)),
            Kind::Idle { count } => {
                for ports in copies(count) {
                    crowd.spawn_on(idle_at_the_probes(ports, ANY), on);
                }
            }
            Kind::Reviews { count } => {
                for ports in copies(count) {
                    crowd.spawn_on(requests(ports, ANY, review()), on);
                }
            }
        }
    }
}

/// A pod of somebody else.
pub(crate) struct Attacker<'a> {
    node: &'a Node,
    /// A process in it, whose network is the pod's.
    process: u32,
}

/// An attack that goes on until it is dropped.
pub(crate) struct Attack {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl<'a> Attacker<'a> {
    pub(crate) fn start(node: &'a Node) -> Self {
        let pod = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ATTACKER}},
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": ATTACKER, "namespace": ATTACKER},
             "spec": {"containers": [{"name": "etcd", "image": etcd_image(), "imagePullPolicy": "Never",
                                      "command": ["etcd", "--data-dir=/tmp/etcd"]}]}},
        ]});
        node.apply(&pod.to_string());
        let process = eventually("the attacker's pod to run", Duration::from_mins(1), || {
            let pod = node.get(&["-n", ATTACKER, "pod", ATTACKER])?;
            (pod["status"]["phase"] == "Running").then_some(())?;
            node.pod_processes(ATTACKER, ATTACKER).iter().find(|process| process.name == "etcd").map(|found| found.pid)
        });
        Self { node, process }
    }

    pub(crate) fn begin(&self, crowd: Crowd, replicas: &[Replica]) -> Attack {
        let secret = self.node.get(&["-n", NAMESPACE, "secret", &format!("{NAME}-tls")]).unwrap();
        let ca = BASE64_STANDARD.decode(secret["data"]["ca.crt"].as_str().unwrap()).unwrap();
        let host = format!("{NAME}.{NAMESPACE}.svc");
        let targets: Vec<Ports> =
            replicas.iter().map(|replica| Ports::new(replica.ip, WEBHOOK, PROBES, &host, &ca)).collect();
        let network = File::open(format!("/proc/{}/ns/net", self.process)).unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("the pod's network");
            // One thread: others would be in the network of this machine.
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let mut attack = JoinSet::new();
            for ports in &targets {
                crowd.spawn(ports, runtime.handle(), &mut attack);
            }
            let _ = runtime.block_on(stopped);
        });
        Attack { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(JoinHandle::join);
    }
}
