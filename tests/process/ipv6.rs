//! A cluster of IPv6 only, as far as one without a node goes: the API server calls the webhook at `[::1]`, and the webhook calls
//! the API server there.

use std::{
    net::{Ipv6Addr, TcpListener, TcpStream},
    process::Command,
};

use harness::{ControlPlane, Serve, binary, eventually};

use crate::support::{SOON, answered, etcd, options, prepare, registrations};

#[test]
fn a_cluster_of_ipv6_only_is_served() {
    if let Err(error) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        println!("SKIPPED: a_cluster_of_ipv6_only_is_served: this machine has no IPv6: {error}");
        return;
    }
    let plane = ControlPlane::start_ipv6();
    let server = plane.server().trim_start_matches("https://[::1]:").to_owned();
    let port = server.parse::<u16>().unwrap_or_else(|_| panic!("{}", plane.server()));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the API server is there on IPv4, too");

    prepare(&plane);
    // The chart, rendered: its Service takes the family of the cluster.
    plane.apply(include_str!("../../deploy/manifests/20-deployment.yaml"));
    let service = plane.get(&["service", "-n", "etcd-defrag-system", "etcd-defrag-webhook"]).unwrap();
    assert_eq!(service["spec"]["ipFamilies"], serde_json::json!(["IPv6"]));
    assert!(service["spec"]["clusterIP"].as_str().unwrap().starts_with("fd00:"), "{service}");

    let mut how = options(&plane, &["--tls-self-signed"]);
    // The last one of a repeated flag counts. This is the default, with another port.
    how.args.push(format!("--listen=[::]:{}", how.port));
    for object in registrations(&[how.port]) {
        plane.apply(&object.to_string().replace("127.0.0.1", "[::1]"));
    }
    let mut serve = Serve::spawn(&plane, &how);
    serve.wait_ready();
    answered(&plane, "no annotation");

    plane.apply(&etcd("default", "six", &[("schedule", "7 3 * * *")]).to_string());
    let cronjob = eventually("the CronJob", SOON, || plane.get(&["cronjob", "-n", "default", "six-defrag-job"]));
    assert_eq!(cronjob["spec"]["schedule"], "7 3 * * *");

    let status =
        Command::new(binary()).args(["status", "-n", "default"]).env("KUBECONFIG", plane.kubeconfig()).output();
    let status = status.unwrap();
    assert!(String::from_utf8_lossy(&status.stdout).contains("7 3 * * *"), "{status:?}");
    assert!(serve.stop());
}
