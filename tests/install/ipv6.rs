//! The chart on a node without an address of IPv4: pods, Services, DNS and the API server have IPv6 only.

use std::{
    net::{Ipv6Addr, TcpListener},
    process::Command,
};

use serde_json::json;

use super::{
    lifecycle::judges,
    support::{NAMESPACE, RELEASE, Release, Turn},
};
use harness::Node;

/// What the machine lacks for such a node.
fn missing() -> Option<String> {
    if let Err(error) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        return Some(format!("this machine has no IPv6: {error}"));
    }
    match Command::new("ip6tables").args(["-t", "nat", "-L", "-n"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("ip6tables: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Some(format!("ip6tables: {error}")),
    }
}

#[test]
fn on_a_cluster_of_ipv6_only_the_chart_works() {
    let test = "on_a_cluster_of_ipv6_only_the_chart_works";
    if let Some(why) = missing() {
        println!("SKIPPED: {test}: {why}");
        return;
    }
    let _turn = Turn::take();
    let Some(node) = Node::start_with_own_image(test, || vec!["--ipv6".to_owned()]) else { return };
    node.apply(include_str!("../../deploy/manifests/00-namespace.yaml"));
    // Nothing else is set: the values are those of any cluster without cert-manager.
    let release = Release::install(&node, "tls: {mode: self-signed}");
    for pod in release.pods() {
        let addresses = pod["status"]["podIPs"].as_array().unwrap();
        let only_ipv6 = |address: &serde_json::Value| address["ip"].as_str().is_some_and(|ip| ip.contains(':'));
        assert!(!addresses.is_empty() && addresses.iter().all(only_ipv6), "{addresses:?}");
    }
    let service = node.get(&["-n", NAMESPACE, "service", RELEASE]).unwrap();
    assert_eq!(service["spec"]["ipFamilies"], json!(["IPv6"]));
    judges(&release, "six");
    release.uninstall();
}
