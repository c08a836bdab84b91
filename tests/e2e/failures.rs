//! The API server goes away and comes back; two replicas share the work; nothing happens while nothing changes.

use std::{thread, time::Duration};

use super::support::{etcd, namespace};
use harness::{API_SERVER, ControlPlane, Serve, ServeOptions, eventually};

const MANAGER: &str = "etcd-defrag-webhook";

#[test]
fn the_reconciler_survives_a_restart_of_the_api_server() {
    let plane = ControlPlane::start();
    let _serve = Serve::start(&plane);
    let ns = namespace(&plane, "restart");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.cronjob("e");
    plane.component(API_SERVER).restart();
    ns.run(&["delete", "cronjob", "e-defrag-job"]);
    ns.cronjob("e");
    eventually("the webhook to be called again", Duration::from_secs(30), || {
        (!ns.kubectl(&["annotate", "statefulset", "e", "etcd-defrag.io/schedule=nonsense", "--overwrite"])
            .status
            .success())
        .then_some(())
    });
}

#[test]
fn two_replicas_neither_duplicate_nor_fight() {
    let plane = ControlPlane::start();
    let first = Serve::start(&plane);
    let second = Serve::start_with(&plane, &ServeOptions::default());
    let ns = namespace(&plane, "replicas");
    let mark = plane.audit_mark();
    for index in 0..10 {
        ns.accepts(&etcd(&ns.name, &format!("e{index}"), &[]));
    }
    for index in 0..10 {
        ns.cronjob(&format!("e{index}"));
    }
    thread::sleep(Duration::from_secs(3));
    let writes = plane.audit_since(mark).writes().of("cronjobs").by_agent(MANAGER);
    assert_eq!(writes.len(), 10, "one write for each CronJob: {writes:#?}");

    // The leader ends; the other one takes over.
    assert!(first.stop());
    ns.run(&["delete", "cronjob", "e0-defrag-job"]);
    ns.cronjob("e0");
    drop(second);
}

#[test]
fn a_converged_fleet_causes_no_writes() {
    let plane = ControlPlane::start();
    let serve = Serve::start(&plane);
    let ns = namespace(&plane, "idle");
    for index in 0..5 {
        ns.accepts(&etcd(&ns.name, &format!("e{index}"), &[]));
    }
    for index in 0..5 {
        ns.cronjob(&format!("e{index}"));
    }
    plane.wait_quiet(MANAGER, Duration::from_secs(3));
    let mark = plane.audit_mark();
    // Status churn is none of our business.
    for round in 0..5 {
        let patch = format!(r#"{{"status":{{"replicas":{round}}}}}"#);
        ns.run(&["patch", "statefulset", "e0", "--subresource=status", "--type=merge", "-p", &patch]);
        thread::sleep(Duration::from_secs(2));
    }
    let writes = plane.audit_since(mark).writes().by_agent(MANAGER);
    let besides_the_lease = writes.filter(|event| event.resource != "leases");
    assert!(besides_the_lease.is_empty(), "{besides_the_lease:#?}");
    assert!(serve.probe("/metrics").is_some_and(|metrics| metrics.contains("etcd_defrag_webhook_")));
}
