//! Probes and metrics.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{body::Body, http::Request};
use etcd_defrag_webhook::{
    admission::{AdmissionMetrics, Entry, server},
    runtime::{
        limits::ServerLimits,
        probes::{self, Probes, router},
        telemetry::ProcessMetrics,
    },
};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    client::PATIENCE,
    fixtures::{annotated, etcd, review},
    reviews::admission,
};

async fn get(probes: &Arc<Probes>, path: &str) -> (u16, String) {
    get_as(probes, path, "*/*").await
}

async fn get_as(probes: &Arc<Probes>, path: &str, accept: &str) -> (u16, String) {
    let request = Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
    let response = router(Arc::clone(probes)).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn readiness_lists_each_check_with_its_reason() {
    let healthy = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&healthy);
    let probes = Probes::new(ProcessMetrics::default()).check("policy", || Ok(String::new())).check("tls", move || {
        if flag.load(Ordering::Relaxed) {
            Ok("certificate valid until 2027-01-01T00:00:00Z".to_owned())
        } else {
            Err("the serving certificate expired at 2027-01-01T00:00:00Z".to_owned())
        }
    });
    let probes = Arc::new(probes);
    let (status, text) = get(&probes, "/readyz").await;
    assert_eq!(status, 200);
    insta::assert_snapshot!(text, @"
    [+]policy ok
    [+]tls ok: certificate valid until 2027-01-01T00:00:00Z
    readyz check passed
    ");
    healthy.store(false, Ordering::Relaxed);
    let (status, text) = get(&probes, "/readyz").await;
    assert_eq!(status, 503);
    insta::assert_snapshot!(text, @"
    [+]policy ok
    [-]tls failed: the serving certificate expired at 2027-01-01T00:00:00Z
    readyz check failed
    ");
    assert_eq!(get(&probes, "/healthz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn reviews_and_findings_are_counted() {
    let mut metrics = ProcessMetrics::default();
    let counted = AdmissionMetrics::register(metrics.registry_mut());
    let service = server::router(&admission(&ServerLimits::default(), counted));
    let bad = annotated(&[("etcd-defrag.io/shedule", "x")]);
    for (entry, body) in [
        (Entry::Validate, review("CREATE", "", bad, json!(null)).to_string()),
        (Entry::Mutate, review("CREATE", "", etcd(), json!(null)).to_string()),
        (Entry::Validate, "nonsense".to_owned()),
    ] {
        service.clone().oneshot(Request::post(entry.path()).body(Body::from(body)).unwrap()).await.unwrap();
    }
    let probes = Arc::new(Probes::new(metrics));
    let (status, text) = get(&probes, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "etcd_defrag_webhook_admission_reviews_total{entry=\"validate\",decision=\"refused\"} 1",
        "etcd_defrag_webhook_admission_reviews_total{entry=\"validate\",decision=\"malformed\"} 1",
        "etcd_defrag_webhook_admission_reviews_total{entry=\"mutate\",decision=\"patched\"} 1",
        "etcd_defrag_webhook_admission_findings_total{entry=\"validate\",code=\"annotation-unknown\",severity=\"deny\"} 1",
        "etcd_defrag_webhook_admission_review_duration_seconds_count{entry=\"validate\"} 2",
        "# TYPE etcd_defrag_webhook_certificate_expiry_timestamp_seconds gauge",
        concat!("etcd_defrag_webhook_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
    assert!(text.contains("duration_seconds_bucket{le=\"0.0001\",entry=\"validate\"}"), "{text}");
    assert!(!text.contains("# EOF"), "{text}");
    let (_, text) = get_as(&probes, "/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn probes_are_served_over_plain_http_until_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let running =
        tokio::spawn(probes::run(listener, Arc::new(Probes::new(ProcessMetrics::default())), shutdown.clone()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok\n"), "{answer}");
    shutdown.cancel();
    timeout(PATIENCE, running).await.expect("the probes never end").unwrap();
}
