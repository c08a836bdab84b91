//! `--tls-self-signed`: the process makes, keeps and renews its own certificate and CA.

use std::{
    thread,
    time::{Duration, Instant},
};

use etcd_defrag_webhook::{
    defrag::cronjob::MANAGER,
    runtime::{
        selfsigned::{
            issue_between,
            secret_store::{Leaf, Stored},
        },
        tls,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    load::Load,
    support::{
        NAME, NAMESPACE, SECRET, SOON, bundles_are_in_place, called, in_secret, options, prepare, register,
        registrations, two, without_times,
    },
};
use harness::{ControlPlane, Serve, eventually};

/// A rotation waits 20 s for API servers to learn of the new CA.
const ROTATION: Duration = Duration::from_secs(90);

const ACCEPTED: &str = "etcd_defrag_webhook_certificate_reloads_total{result=\"accepted\"}";
const EXPIRY: &str = "etcd_defrag_webhook_certificate_expiry_timestamp_seconds";

/// Two replicas that started at once from nothing, and their control plane.
fn started() -> (ControlPlane, [Serve; 2]) {
    let plane = ControlPlane::start();
    prepare(&plane);
    let begun = Instant::now();
    let mut both = two(&plane, &["--tls-self-signed"]);
    for serve in &mut both {
        serve.wait_ready();
    }
    println!("from nothing to two replicas that are ready: {} ms", begun.elapsed().as_millis());
    called(&plane);
    (plane, both)
}

/// Waits until a rotation that has begun is over: another certificate, no next one, and every replica serves it.
fn rotated(plane: &ControlPlane, both: &[Serve; 2], before: &str) {
    eventually("the new certificate to be in the Secret alone", ROTATION, || {
        let changed = in_secret(plane, "tls.crt").is_some_and(|now| now != before);
        (changed && in_secret(plane, "next.crt").is_none()).then_some(())
    });
    for serve in both {
        eventually("a replica to serve the new certificate", SOON, || {
            serve.metric(ACCEPTED).filter(|count| *count >= 1.0)
        });
    }
}

#[test]
fn two_replicas_agree_on_one_certificate_and_keep_it_whatever_happens_to_the_secret() {
    let (plane, both) = started();
    let writes = plane.audit().writes().of("secrets").by_agent(NAME);
    assert_eq!(writes.count(|event| event.code < 300), 1, "one Secret was made: {writes:#?}");
    let (ready, words) = both[0].readyz().unwrap();
    assert!(ready && words.contains("[+]ca-bundle ok: in both webhook configurations"), "{words}");
    let expires = both[0].metric(EXPIRY).unwrap();
    let in_90_days = (Timestamp::now() + SignedDuration::from_hours(90 * 24)).as_second();
    assert!((expires - f64::from(i32::try_from(in_90_days).unwrap())).abs() < 120.0, "{expires}");
    assert_eq!(both[1].metric(EXPIRY), Some(expires));

    // Nothing is left to do, so nothing is written.
    plane.wait_quiet(NAME, Duration::from_secs(2));
    let mark = plane.audit_mark();
    thread::sleep(Duration::from_secs(5));
    let writes = plane.audit_since(mark).writes().by_agent(NAME).filter(|event| event.resource != "leases");
    assert!(writes.is_empty(), "{writes:#?}");

    // Deleting the Secret asks for a new certificate; clients are not to notice.
    let load = Load::start(&plane);
    let before = in_secret(&plane, "tls.crt").unwrap();
    plane.kubectl_ok(&["-n", NAMESPACE, "delete", "secret", SECRET]);
    let deleted = Instant::now();
    eventually("the Secret to be there again", SOON, || in_secret(&plane, "next.crt"));
    println!("the Secret was there again after {} ms", deleted.elapsed().as_millis());
    rotated(&plane, &both, &before);
    println!("the certificate and its CA were replaced after {} ms", deleted.elapsed().as_millis());
    thread::sleep(Duration::from_secs(2));
    load.end_without_failure("the Secret was deleted");

    // Garbage in the Secret is replaced in the same way.
    let load = Load::start(&plane);
    let before = in_secret(&plane, "tls.crt").unwrap();
    let garbage = json!({"data": {"tls.crt": "Z2FyYmFnZQ=="}}).to_string();
    plane.kubectl_ok(&["-n", NAMESPACE, "patch", "secret", SECRET, "-p", &garbage]);
    waits(&plane, &before);
    rotated(&plane, &both, &before);
    thread::sleep(Duration::from_secs(2));
    load.end_without_failure("the Secret was garbled");
    let said = both.iter().any(|serve| serve.log().contains("was issued: the certificate file has no certificate"));
    assert!(said, "{}", both[0].log());
}

/// Waits until the next certificate is made; what is served stays until its CA is known.
#[track_caller]
fn waits(plane: &ControlPlane, served: &str) {
    let data = eventually("the next certificate", SOON, || {
        let data = plane.get(&["-n", NAMESPACE, "secret", SECRET])?["data"].clone();
        data["next.crt"].is_string().then_some(data)
    });
    assert_eq!(data["tls.crt"], served, "what is served stays until the CA is known");
}

#[test]
fn the_bundle_comes_back_whoever_takes_it_away() {
    let (plane, both) = started();
    let ports = both.each_ref().map(|serve| serve.port);

    let wipe = json!([{"op": "remove", "path": "/webhooks/1/clientConfig/caBundle"}]).to_string();
    plane.kubectl_ok(&["patch", "validatingwebhookconfiguration", NAME, "--type=json", "-p", &wipe]);
    let wiped = Instant::now();
    eventually("the bundle to be there again", SOON, || bundles_are_in_place(&plane).then_some(()));
    println!("a bundle that was wiped was there again after {} ms", wiped.elapsed().as_millis());

    // As a tool does that knows only of its own manifests.
    for object in registrations(&ports) {
        let output = plane.kubectl_stdin(["replace", "-f", "-"], &object.to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    eventually("the bundles to be there again", SOON, || bundles_are_in_place(&plane).then_some(()));

    plane.kubectl_ok(&["delete", "validatingwebhookconfiguration", NAME]);
    let words = eventually("the loss to be noticed", SOON, || {
        both[0].readyz().filter(|(ready, words)| *ready && words.contains("there is no Validating"))
    });
    insta::assert_snapshot!(without_times(&words.1), @r"
    [+]runtime ok
    [+]reconciler ok
    [+]tls ok: certificate valid until [TIME]
    [+]ca-bundle ok: there is no ValidatingWebhookConfiguration, so its webhooks are not called
    [+]policies ok: 0 policies
    readyz check passed
    ");
    let said = "it does not exist, so the API server does not call its webhooks";
    eventually("the loss to be logged", SOON, || both[0].log().contains(said).then_some(()));
    register(&plane, &ports);
    eventually("the new one to be filled in", SOON, || bundles_are_in_place(&plane).then_some(()));
    called(&plane);
    let writes =
        plane.audit().writes().by_agent(NAME).filter(|event| event.resource.ends_with("webhookconfigurations"));
    println!(
        "writes of webhook configurations: {}, of which {} came too late and were turned away",
        writes.len(),
        writes.count(|event| event.code == 409)
    );
}

#[test]
fn a_certificate_that_is_about_to_expire_is_replaced_without_a_failed_call() {
    let plane = ControlPlane::start();
    prepare(&plane);
    // Two thirds of its time were over an hour ago.
    let now = Timestamp::now();
    let (from, until) = (now - SignedDuration::from_hours(61 * 24), now + SignedDuration::from_hours(29 * 24));
    let pair = issue_between(&[format!("{NAME}.{NAMESPACE}.svc")], "an old CA", from, until).unwrap();
    let (not_before, not_after) = tls::verify(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes(), now).unwrap();
    let leaf = Leaf { certificate: pair.cert_pem.clone(), key: pair.key_pem.clone(), not_before, not_after };
    let secret = Stored::begun(&pair, leaf, from).secret(NAMESPACE, SECRET, MANAGER, None);
    plane.apply(&serde_json::to_string(&secret).unwrap());
    let before = in_secret(&plane, "tls.crt").unwrap();

    let mut both = two(&plane, &["--tls-self-signed"]);
    waits(&plane, &before);
    for serve in &mut both {
        serve.wait_ready();
    }
    called(&plane);
    let load = Load::start(&plane);
    rotated(&plane, &both, &before);
    thread::sleep(Duration::from_secs(2));
    load.end_without_failure("certificate and CA were renewed");
    for serve in &both {
        let left = serve.metric(EXPIRY).unwrap() - 86400.0 * 89.0;
        assert!(left > f64::from(i32::try_from(now.as_second()).unwrap()), "the new one is valid for long");
    }
}

#[test]
fn a_secret_of_somebody_else_is_left_alone() {
    let plane = ControlPlane::start();
    prepare(&plane);
    let theirs = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": SECRET, "namespace": NAMESPACE}, "stringData": {"password": "theirs"}});
    plane.apply(&theirs.to_string());
    let mut serve = Serve::spawn(&plane, &options(&plane, &["--tls-self-signed"]));
    let (_, words) = eventually("the reason to be told", SOON, || {
        serve.readyz().filter(|(_, words)| words.contains("created by something else"))
    });
    let line = words.lines().find(|line| line.contains("]tls ")).unwrap();
    insta::assert_snapshot!(line, @"[-]tls failed: there is no serving certificate: Secret etcd-defrag-system/etcd-defrag-webhook-tls: it was created by something else, so it is not changed; delete it, or name another one with --tls-secret");
    assert!(in_secret(&plane, "tls.crt").is_none() && in_secret(&plane, "password").is_some());
    plane.kubectl_ok(&["-n", NAMESPACE, "delete", "secret", SECRET]);
    serve.wait_ready();
    assert!(in_secret(&plane, "tls.crt").is_some());
}
