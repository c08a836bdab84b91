//! README.md, docs/install.md and docs/break-glass.md, followed by a person who copies each command as it is printed.

use serde_json::Value;

use super::{
    lifecycle::{clean, etcd, nothing_intercepts, refuses, refuses_soon, remove},
    support::{NAMESPACE, RELEASE, Release, SOON, cronjob, world},
    table::{BREAK_GLASS, How, INSTALL, README, Reader},
};
use harness::{
    ControlPlane, EtcdPods, PodsOptions, eventually,
    pages::{Shell, folded},
};

/// The etcd of the pages.
const KAMAJI: &str = "kamaji-system";

/// An etcd without the label.
fn unlabelled(plane: &ControlPlane) {
    eventually("the namespace of another test to be gone", SOON, || {
        plane.get(&["namespace", KAMAJI]).is_none().then_some(())
    });
    plane.kubectl_ok(&["create", "namespace", KAMAJI]);
    EtcdPods::new(plane, KAMAJI, PodsOptions { enrolled: false, ..PodsOptions::default() }).apply();
}

/// From a clone to a labelled etcd, and the showcase.
#[test]
fn the_readme_as_printed() {
    let Some(turn) = world("the_readme_as_printed") else { return };
    let plane = turn.plane();
    unlabelled(plane);
    let mut reader = Reader::new(README, How::Node, Shell::of(plane));
    reader.run("helm install etcd-defrag-webhook");
    let said = reader.run("helm test --namespace etcd-defrag-system");
    assert!(said.contains("Succeeded"), "{said}");
    let said = reader.run("kubectl label statefulset");
    assert!(said.contains("statefulset.apps/kamaji-etcd labeled"), "{said}");
    // Pasted in one go, so no run and no next run is promised.
    let said = reader.run("cargo run -- status -A");
    assert!(said.contains("kamaji-system") && said.contains("kamaji-etcd"), "{said}");
    cronjob(plane, KAMAJI, "kamaji-etcd", |_| true);
    let said = reader.run("etcd-defrag-webhook status -A");
    assert!(said.contains("kamaji-etcd"), "{said}");

    let printed = reader.printed("kubectl annotate statefulset").output.clone().unwrap();
    let refused = reader.try_run("kubectl annotate statefulset");
    assert_eq!(refused.code, Some(1));
    // README.md says that it leaves out the warnings.
    let said: Vec<&str> = refused.said.lines().filter(|line| !line.starts_with("Warning: ")).collect();
    assert_eq!(folded(&said.join("\n")), folded(&printed), "what README.md shows is not what kubectl prints");
    reader.end();

    Release { plane }.uninstall();
    clean(plane, KAMAJI);
}

/// With Helm, the first etcd, away again; then the second way, with plain manifests.
#[test]
fn the_installation_as_printed() {
    let Some(turn) = world("the_installation_as_printed") else { return };
    let plane = turn.plane();
    unlabelled(plane);
    let mut reader = Reader::new(INSTALL, How::Node, Shell::of(plane));
    reader.run("helm install etcd-defrag-webhook");
    let said = reader.run("helm test --namespace etcd-defrag-system");
    assert!(said.contains("ok: a schedule that fires every minute is refused"), "{said}");
    reader.run("etcd-defrag-webhook selftest");
    let said = reader.run("kubectl get statefulset");
    assert!(said.contains("kamaji-etcd"), "{said}");
    reader.run("kubectl label statefulset");
    reader.run("kubectl wait --for=create");
    let said = reader.run("etcd-defrag-webhook status -A");
    assert!(said.contains("kamaji-etcd"), "{said}");
    refuses(plane, KAMAJI);
    reader.run("kubectl apply -f deploy/manifests/40-admission-policy.yaml");
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests/40-admission-policy.yaml");
    plane.kubectl_ok(&["delete", "-f", policy]);
    reader.run("helm uninstall");
    nothing_intercepts(plane, KAMAJI);
    // What stays, and how to remove it.
    reader.run("kubectl delete cronjob -A");
    reader.run("kubectl delete crd");
    reader.run("kubectl delete namespace");
    for gone in [["cronjob", "-A"], ["secret", "-n=etcd-defrag-system"]] {
        let left = plane.get(&gone).unwrap();
        assert_eq!(left["items"].as_array().map(Vec::len), Some(0), "{left}");
    }

    reader.run("kubectl apply -k deploy/manifests");
    plane.wait_established("defragpolicies.etcd-defrag.io");
    reader.run("kubectl wait --for=condition=Established");
    reader.run("kubectl apply -f deploy/manifests/50-default-policy.yaml");
    reader.run("kubectl -n etcd-defrag-system rollout status");
    etcd(plane, "plain");
    cronjob(plane, "plain", "kamaji-etcd", |_| true);
    refuses_soon(plane, "plain");
    reader.run("kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration");
    reader.run("kubectl delete -f");
    nothing_intercepts(plane, "plain");
    // The warning below it is true: with -k the definition goes, too.
    plane.kubectl_ok(&["apply", "-k", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests")]);
    reader.run("kubectl delete -k");
    assert!(plane.get(&["crd", "defragpolicies.etcd-defrag.io"]).is_none());
    reader.end();

    plane.kubectl_ok(&["delete", "cronjob", "-A", "--all"]);
    remove(plane, "plain");
    remove(plane, KAMAJI);
}

#[test]
fn the_emergency_as_printed() {
    let Some(turn) = world("the_emergency_as_printed") else { return };
    let plane = turn.plane();
    let release = Release::install(plane, "tls: {mode: self-signed}");
    etcd(plane, "glass");
    cronjob(plane, "glass", "kamaji-etcd", |_| true);
    refuses(plane, "glass");
    let mut reader = Reader::new(BREAK_GLASS, How::Node, Shell::of(plane));
    diagnose(&mut reader);
    stop_the_runs(plane, &mut reader);

    let removed = "kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration";
    reader.run(removed);
    let ended = reader.try_run("etcd-defrag-webhook selftest");
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    let write = "etcd-defrag.io/schedule=* * * * *";
    let annotate = ["-n", "glass", "annotate", "statefulset", "kamaji-etcd", "--overwrite"];
    eventually("a write that nothing intercepts", SOON, || {
        plane.kubectl(annotate.iter().chain(&[write])).status.success().then_some(())
    });
    plane.kubectl_ok(&[&annotate[..], &["etcd-defrag.io/schedule=H 0 * * *"]].concat());
    reader.run("helm upgrade etcd-defrag-webhook");
    reader.run("helm test");
    refuses(plane, "glass");
    // The same objects as those of the plain manifests.
    plane.kubectl_ok(&["delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", RELEASE]);
    reader.run("kubectl apply -f deploy/manifests/30-webhooks.yaml");
    eventually("the webhook to refuse", SOON, || {
        let output = plane.kubectl(annotate.iter().chain(&["--dry-run=server", write]));
        String::from_utf8_lossy(&output.stderr).contains("[schedule-too-often]").then_some(())
    });

    plane.kubectl_ok(&["-n", NAMESPACE, "scale", "deployment", RELEASE, "--replicas=0"]);
    eventually("no pod to repair a CronJob", SOON, || release.pods().is_empty().then_some(()));
    reader.run("kubectl delete cronjob -A");
    assert!(plane.get(&["-n", "glass", "cronjob", "kamaji-etcd-defrag-job"]).is_none());
    reader.end();
    release.uninstall();
    plane.kubectl(["delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", RELEASE]);
    clean(plane, "glass");
}

/// Why it does not answer.
fn diagnose(reader: &mut Reader) {
    let said = reader.run("kubectl -n etcd-defrag-system get pods,secret");
    assert!(said.contains(&format!("pod/{RELEASE}")) && said.contains(&format!("secret/{RELEASE}-tls")), "{said}");
    // There is none in this mode, but the kind is known here.
    reader.run("kubectl -n etcd-defrag-system get certificate");
    let said = reader.run("kubectl -n etcd-defrag-system logs");
    assert!(said.contains("INFO"), "{said}");
    let bundle = reader.run("kubectl get validatingwebhookconfiguration");
    assert_eq!(bundle.trim().len(), 40, "{bundle}");
}

fn stop_the_runs(plane: &ControlPlane, reader: &mut Reader) {
    let paused = |wanted: bool| {
        let is = |cronjob: &Value| cronjob["spec"]["suspend"] == wanted;
        cronjob(plane, "glass", "kamaji-etcd", is);
    };
    reader.run("etcd-defrag-webhook pause");
    paused(true);
    let said = reader.run("etcd-defrag-webhook status");
    assert!(said.contains("the fleet is paused") && said.contains("etcd 3.6.9 is under suspicion"), "{said}");
    reader.run("etcd-defrag-webhook resume");
    paused(false);
    reader.run("kubectl -n etcd-defrag-system create configmap");
    paused(true);
    reader.run("kubectl -n etcd-defrag-system delete configmap");
    paused(false);
}
