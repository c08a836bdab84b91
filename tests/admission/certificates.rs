//! The serving certificate: judged, followed, swapped.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use etcd_defrag_webhook::{
    admission::AdmissionMetrics,
    runtime::{
        exposition::Format,
        selfsigned::{self, Pair},
        telemetry::ProcessMetrics,
        tls::{Certificates, Files},
    },
};
use jiff::{Timestamp, civil::date};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{H1, H2, PATIENCE, Server, connect, quick},
    reviews::admission,
};

/// Writes a pair as the kubelet does: a folder of its own behind a `..data` link that is renamed into place.
fn project(dir: &Path, generation: &str, certificate: &str, key: &str) {
    let folder = dir.join(format!("..{generation}"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("tls.crt"), certificate).unwrap();
    fs::write(folder.join("tls.key"), key).unwrap();
    let fresh = dir.join("..data_tmp");
    symlink(format!("..{generation}"), &fresh).unwrap();
    fs::rename(&fresh, dir.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        if !dir.join(name).exists() {
            symlink(format!("..data/{name}"), dir.join(name)).unwrap();
        }
    }
}

fn files(dir: &Path) -> Files {
    Files { certificate: dir.join("tls.crt"), key: dir.join("tls.key") }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_swapped_pair_is_served_without_dropping_a_connection_and_a_bad_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (selfsigned::issue(&[]).unwrap(), selfsigned::issue(&[]).unwrap());
    project(dir.path(), "one", &old.cert_pem, &old.key_pem);
    let metrics = ProcessMetrics::default();
    let stop = CancellationToken::new();
    let poll = Duration::from_millis(30);
    let clock: etcd_defrag_webhook::runtime::clock::Clock = Arc::new(Timestamp::now);
    let certificates = Certificates::follow(files(dir.path()), metrics.tls.clone(), clock, poll, stop.clone()).await;
    let admission = admission(&quick(), AdmissionMetrics::default());
    let server = Server::start_tls(admission, quick(), &certificates, old.ca_pem.clone()).await;
    let is_served =
        async |pair: &Pair| connect(server.address, &[&pair.ca_pem], &rustls::version::TLS13, H1).await.is_ok();
    let mut one = server.client(H1).await;
    let mut two = server.client(H2).await;
    one.works().await;
    two.works().await;

    // Half of a pair: the certificate is there, the key is still the old one.
    project(dir.path(), "two", &new.cert_pem, &old.key_pem);
    until("the bad pair is noticed", async || certificates.check(Timestamp::now()).unwrap().contains("newer")).await;
    let note = certificates.check(Timestamp::now()).unwrap();
    assert!(
        note.ends_with(
            "; a newer one could not be loaded: the private key does not belong to the certificate; write both of one pair"
        ),
        "{note}"
    );
    assert!(is_served(&old).await, "a bad pair took the good one's place");

    project(dir.path(), "three", &new.cert_pem, &new.key_pem);
    until("the new pair is served", async || is_served(&new).await).await;
    assert!(!is_served(&old).await);
    assert!(!certificates.check(Timestamp::now()).unwrap().contains("newer"));
    one.works().await;
    two.works().await;
    let text = metrics.encode(Format::OpenMetrics).unwrap();
    for line in ["certificate_reloads_total{result=\"accepted\"} 1", "certificate_reloads_total{result=\"refused\"} 1"]
    {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }

    fs::remove_file(dir.path().join("..data")).unwrap();
    until("missing files are noticed", async || {
        certificates.check(Timestamp::now()).unwrap().contains("tls.crt does not exist")
    })
    .await;
    assert!(is_served(&new).await);
    stop.cancel();
}

#[tokio::test]
async fn every_bad_pair_is_refused_in_words() {
    let good = selfsigned::issue(&[]).unwrap();
    let other = selfsigned::issue(&[]).unwrap();
    let past = selfsigned::issue_for(&[], date(2020, 1, 1), date(2021, 1, 1)).unwrap();
    let future = selfsigned::issue_for(&[], date(2090, 1, 1), date(2091, 1, 1)).unwrap();
    let half = &good.cert_pem[..good.cert_pem.len() / 2];
    let garbled = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let mut lines = String::new();
    for (what, certificate, key) in [
        ("empty", "", ""),
        ("no key", &good.cert_pem, ""),
        ("half a certificate", half, &good.key_pem),
        ("garbled certificate", garbled, &good.key_pem),
        ("the certificate twice", &good.cert_pem, &good.cert_pem),
        ("swapped", &good.key_pem, &good.cert_pem),
        ("another key", &good.cert_pem, &other.key_pem),
        ("expired", &past.cert_pem, &past.key_pem),
        ("not yet valid", &future.cert_pem, &future.key_pem),
    ] {
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let error = Certificates::from_pem(certificate, key, ProcessMetrics::default().tls, now).unwrap_err();
        lines.push_str(&format!("{what}: {error}\n"));
    }
    insta::assert_snapshot!(lines);
}

#[tokio::test]
async fn a_pair_that_is_missing_or_bad_at_the_start_is_named_and_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let clock: etcd_defrag_webhook::runtime::clock::Clock = Arc::new(Timestamp::now);
    let poll = Duration::from_millis(30);
    let certificates =
        Certificates::follow(files(dir.path()), ProcessMetrics::default().tls, clock, poll, stop.clone()).await;
    let says = async |words: &str| {
        until(words, async || certificates.check(Timestamp::now()).is_err_and(|reason| reason.contains(words))).await;
    };
    says("there is no serving certificate: ").await;
    says("tls.crt does not exist: it has not been created yet").await;
    let admission = admission(&quick(), AdmissionMetrics::default());
    let pair = selfsigned::issue(&[]).unwrap();
    let server = Server::start_tls(admission, quick(), &certificates, pair.ca_pem.clone()).await;
    assert!(connect(server.address, &[&pair.ca_pem], &rustls::version::TLS13, H1).await.is_err());

    fs::write(dir.path().join("tls.crt"), vec![b'x'; (1 << 20) + 1]).unwrap();
    says("tls.crt is larger than 1 MiB; a certificate chain in PEM was expected").await;
    let expired = selfsigned::issue_for(&[], date(2020, 1, 1), date(2021, 1, 1)).unwrap();
    fs::write(dir.path().join("tls.crt"), &expired.cert_pem).unwrap();
    fs::write(dir.path().join("tls.key"), &expired.key_pem).unwrap();
    says("the certificate expired at 2021-01-01T00:00:00Z").await;
    let early = selfsigned::issue_for(&[], date(2090, 1, 1), date(2091, 1, 1)).unwrap();
    fs::write(dir.path().join("tls.crt"), &early.cert_pem).unwrap();
    fs::write(dir.path().join("tls.key"), &early.key_pem).unwrap();
    says("the certificate is not valid before 2090-01-01T00:00:00Z").await;
    // A writer that is half-way.
    fs::write(dir.path().join("tls.crt"), &pair.cert_pem).unwrap();
    fs::write(dir.path().join("tls.key"), &pair.key_pem[..pair.key_pem.len() / 2]).unwrap();
    says("the key file ").await;
    fs::write(dir.path().join("tls.key"), &pair.key_pem).unwrap();
    until("the pair is served", async || certificates.check(Timestamp::now()).is_ok()).await;
    server.client(H2).await.works().await;
    stop.cancel();
}

/// A clock that is behind sees a renewed certificate as not valid yet: the old one stays until the time has come.
#[tokio::test]
async fn a_renewed_certificate_whose_time_is_to_come_is_taken_when_it_has_come() {
    let dir = tempfile::tempdir().unwrap();
    let old = selfsigned::issue_for(&[], date(2026, 1, 1), date(2026, 4, 1)).unwrap();
    let new = selfsigned::issue_for(&[], date(2026, 3, 1), date(2026, 6, 1)).unwrap();
    project(dir.path(), "one", &old.cert_pem, &old.key_pem);
    let at = Arc::new(Mutex::new("2026-02-28T23:59:00Z".parse::<Timestamp>().unwrap()));
    let clock: etcd_defrag_webhook::runtime::clock::Clock = {
        let at = Arc::clone(&at);
        Arc::new(move || *at.lock().unwrap())
    };
    let stop = CancellationToken::new();
    let (metrics, poll) = (ProcessMetrics::default(), Duration::from_millis(30));
    let certificates =
        Certificates::follow(files(dir.path()), metrics.tls.clone(), Arc::clone(&clock), poll, stop.clone()).await;
    project(dir.path(), "two", &new.cert_pem, &new.key_pem);
    until("the new pair is noticed", async || certificates.check(clock()).unwrap().contains("newer")).await;
    assert_eq!(
        certificates.check(clock()).unwrap(),
        "certificate valid until 2026-04-01T00:00:00Z; a newer one could not be loaded: the certificate is not valid before 2026-03-01T00:00:00Z"
    );
    *at.lock().unwrap() = "2026-03-01T00:00:01Z".parse().unwrap();
    until("the new pair is served", async || {
        certificates.check(clock()).unwrap() == "certificate valid until 2026-06-01T00:00:00Z"
    })
    .await;
    let expiry = "2026-06-01T00:00:00Z".parse::<Timestamp>().unwrap().as_second();
    let line = format!("etcd_defrag_webhook_certificate_expiry_timestamp_seconds {expiry}\n");
    assert!(metrics.encode(Format::OpenMetrics).unwrap().contains(&line));
    stop.cancel();
}

#[test]
fn an_expired_certificate_is_no_longer_ready() {
    let pair = selfsigned::issue_for(&[], date(2026, 1, 1), date(2026, 2, 1)).unwrap();
    let during = "2026-01-15T00:00:00Z".parse().unwrap();
    let certificates =
        Certificates::from_pem(&pair.cert_pem, &pair.key_pem, ProcessMetrics::default().tls, during).unwrap();
    assert_eq!(certificates.check(during).unwrap(), "certificate valid until 2026-02-01T00:00:00Z");
    let after = "2026-02-01T00:00:00Z".parse().unwrap();
    assert_eq!(certificates.check(after).unwrap_err(), "the serving certificate expired at 2026-02-01T00:00:00Z");
}

#[test]
fn development_certificates_take_names_and_addresses_and_no_nonsense() {
    let names = ["webhook.defrag.svc".to_owned(), "10.0.0.7".to_owned(), "localhost".to_owned()];
    let pair = selfsigned::issue(&names).unwrap();
    assert!(pair.cert_pem.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(pair.key_pem.starts_with("-----BEGIN PRIVATE KEY-----"));
    let error = selfsigned::issue(&["bücher".to_owned()]).err().unwrap().to_string();
    assert!(error.starts_with("no certificate can be created for these names: "), "{error}");
}
