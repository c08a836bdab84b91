//! A broken world: what the log and `/readyz` say, and that it heals by itself.

use std::{process::Command, time::Duration};

use crate::support::{NAME, NAMESPACE, SOON, called, etcd, options, prepare, register, without_times};
use harness::{API_SERVER, ControlPlane, Serve, ServeOptions, binary, eventually};

/// Watches are asked again every 2 s, the Lease as well; a definition that is missing every 5 s.
const HEALED: Duration = Duration::from_mins(1);

/// What readiness says, without what differs from run to run: the time, and which of two lists failed last.
fn words(serve: &Serve) -> String {
    let (_, words) = serve.readyz().expect("the probes answer whatever happens");
    without_times(&words).replace("namespaces cannot be listed", "policies cannot be listed")
}

#[test]
fn started_before_the_api_server_it_waits_for_it() {
    let plane = ControlPlane::start();
    prepare(&plane);
    let how = options(&plane, &["--tls-self-signed"]);
    register(&plane, &[how.port]);
    plane.component(API_SERVER).stop();
    let mut serve = Serve::spawn(&plane, &how);
    eventually("the reason to be told", SOON, || {
        serve.readyz().filter(|(ready, words)| !ready && words.matches("Connection refused").count() == 2)
    });
    insta::assert_snapshot!(words(&serve));
    assert!(serve.probe("/healthz").unwrap().starts_with("HTTP/1.1 200"), "a restart would mend nothing");
    std::thread::sleep(Duration::from_secs(5));
    for wanted in [
        "policies cannot be listed, so nothing is reconciled yet",
        "cannot be watched: the API server cannot be reached",
    ] {
        assert_eq!(serve.log().matches(wanted).count(), 1, "each reason is told once: {wanted}\n{}", serve.log());
    }
    plane.component(API_SERVER).start();
    serve.wait_ready();
    called(&plane);
}

#[test]
fn what_is_taken_away_while_it_runs_is_told_and_comes_back_to_life() {
    let plane = ControlPlane::start();
    // No DefragPolicy definition.
    plane.apply(include_str!("../../deploy/manifests/00-namespace.yaml"));
    plane.apply(include_str!("../../deploy/manifests/10-rbac.yaml"));
    let serve = Serve::start_with(&plane, &ServeOptions { own_certificate: false, ..options(&plane, &[]) });
    insta::assert_snapshot!(words(&serve));
    plane.apply(include_str!("../../deploy/manifests/05-defragpolicies.crd.yaml"));
    eventually("the definition to be noticed", HEALED, || words(&serve).contains("0 policies").then_some(()));

    let cronjob = || plane.get(&["cronjob", "-n", "default", "e-defrag-job"]);
    plane.apply(&etcd("default", "e", &[]).to_string());
    eventually("the CronJob", HEALED, cronjob);

    plane.kubectl_ok(&["delete", "lease", "-n", NAMESPACE, NAME]);
    eventually("the Lease to be there again", HEALED, || plane.get(&["lease", "-n", NAMESPACE, NAME]));

    plane.kubectl_ok(&["delete", "clusterrolebinding", NAME]);
    plane.kubectl_ok(&["delete", "rolebinding", "-n", NAMESPACE, NAME]);
    eventually("the loss of all rights to be told", HEALED, || {
        serve.log().contains("the API server answers 403 Forbidden: leases").then_some(())
    });
    eventually("the leader to step down", HEALED, || serve.log().contains("the reconciler stops").then_some(()));
    let (ready, _) = serve.readyz().unwrap();
    assert!(ready, "admission goes by what it knows: {}", words(&serve));
    plane.kubectl_ok(&["delete", "cronjob", "-n", "default", "e-defrag-job"]);
    plane.apply(include_str!("../../deploy/manifests/10-rbac.yaml"));
    eventually("the CronJob to be there again", HEALED, cronjob);
}

/// As in a pod whose certificate nobody issues yet, because cert-manager is not there: the folder is mounted and empty.
#[test]
fn without_a_certificate_it_waits_for_one() {
    let plane = ControlPlane::start();
    prepare(&plane);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (path("tls.crt"), path("tls.key"));
    let mut serve = Serve::spawn(&plane, &options(&plane, &["--tls-cert", &certificate, "--tls-key", &key]));
    let told = eventually("the reason to be told", SOON, || {
        serve.readyz().filter(|(ready, words)| !ready && words.contains("[+]policies"))
    });
    insta::assert_snapshot!(told.1.replace(&folder.path().display().to_string(), "FOLDER"));
    assert!(serve.probe("/healthz").unwrap().starts_with("HTTP/1.1 200"), "a restart would mend nothing");
    let made = Command::new(binary()).args(["certs", "--out"]).arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    serve.wait_ready();
}
