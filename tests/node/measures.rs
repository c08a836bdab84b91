//! What a node costs.

use std::collections::BTreeMap;

use harness::{API_SERVER, CONTROLLER_MANAGER, ETCD, Node, Process};

/// Printed, not judged: machines differ.
#[test]
fn start_and_memory() {
    let Some(node) = Node::start("start_and_memory") else { return };
    println!("from start to Ready: {:.1} s", node.start_time().as_secs_f64());
    let mut of_node: BTreeMap<String, u64> = BTreeMap::new();
    for process in node.processes() {
        *of_node.entry(process.name).or_default() += process.resident;
    }
    print("node", of_node);
    let plane = [ETCD, API_SERVER, CONTROLLER_MANAGER, "kube-scheduler"].map(|name| {
        let process = node.component(name).pid().and_then(Process::of);
        (name.to_owned(), process.map_or(0, |process| process.resident))
    });
    print("control plane", plane.into());
}

fn print(what: &str, resident: BTreeMap<String, u64>) {
    let all: u64 = resident.values().sum();
    assert!(all > 0, "{what} takes no memory");
    let parts: Vec<String> = resident.into_iter().map(|(name, bytes)| format!("{name} {} MiB", bytes >> 20)).collect();
    println!("resident memory of the {what}: {} MiB ({})", all >> 20, parts.join(", "));
}
