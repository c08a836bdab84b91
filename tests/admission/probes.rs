//! Probes and metrics.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, http::Request};
use etcd_defrag_webhook::{
    admission::{AdmissionMetrics, Entry, server},
    runtime::{
        limits::ServerLimits,
        probes::{self, Probes, Threads, router},
        pulse::Pulse,
        telemetry::ProcessMetrics,
    },
};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
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

/// Served as by the process, on a thread of their own.
async fn served(probes: Probes) -> (SocketAddr, CancellationToken, tokio::sync::oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let ended = probes::spawn(listener, Arc::new(probes), shutdown.clone()).unwrap();
    (address, shutdown, ended)
}

/// Asks as the kubelet does, which does not ask to close, and reads until the server closes.
async fn asked(address: SocketAddr, path: &str) -> String {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    timeout(PATIENCE, ask).await.expect("no answer, or the connection stays open")
}

#[tokio::test]
async fn idle_connections_to_the_probe_port_fail_no_probe() {
    let (address, shutdown, ended) = served(Probes::new(ProcessMetrics::default())).await;
    let mut idle = Vec::new();
    for round in 0..4 {
        for _ in 0..64 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        for path in ["/healthz", "/readyz", "/metrics"] {
            let answer = asked(address, path).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "round {round}: {path}: {answer}");
            assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        }
    }
    shutdown.cancel();
    let _ = timeout(PATIENCE, ended).await.expect("the probes never end");
}

#[tokio::test]
async fn readers_of_metrics_that_stall_are_in_nobodys_way() {
    // More text than sockets and buffers hold.
    let mut metrics = ProcessMetrics::default();
    let gauge = prometheus_client::metrics::gauge::Gauge::<i64>::default();
    metrics.registry_mut().register("long", "x".repeat(24 << 20), gauge);
    let (address, shutdown, ended) = served(Probes::new(metrics)).await;
    // On a slow machine the first is let go before the last has come; then there are more.
    let mut stalled = Vec::new();
    let since = Instant::now();
    let refused = loop {
        for _ in 0..4 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.unwrap();
            stalled.push(stream);
        }
        assert!(asked(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let answer = asked(address, "/metrics").await;
        if answer.starts_with("HTTP/1.1 503") {
            break answer;
        }
        assert!(since.elapsed() < PATIENCE, "{} readers that stall, and the next one gets an answer", stalled.len());
    };
    insta::assert_snapshot!(refused.lines().last().unwrap());
    // They are let go after a while, and somebody else can read.
    answers(address, "/metrics", "200").await;
    shutdown.cancel();
    let _ = timeout(PATIENCE, ended).await.expect("the probes never end");
}

/// Asks until the answer has this status.
async fn answers(address: SocketAddr, path: &str, status: &str) -> String {
    let since = Instant::now();
    loop {
        let answer = asked(address, path).await;
        if answer.starts_with(&format!("HTTP/1.1 {status}")) {
            return answer;
        }
        assert!(since.elapsed() < PATIENCE, "{path} is never answered by {status}: {answer}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// All threads that answer reviews are stuck: the probes answer, and say so.
#[test]
fn probes_answer_while_every_other_thread_is_stuck_and_then_fail() {
    let workers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let asking = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pulse = workers.block_on(async { tokio::spawn(async { Pulse::start() }).await.unwrap() });
    let (release, held) = std::sync::mpsc::channel::<()>();
    asking.block_on(async {
        let probes =
            Probes::new(ProcessMetrics::default()).with_pulse(Threads::Reviews, pulse, Duration::from_millis(1500));
        let (address, shutdown, ended) = served(probes).await;
        assert!(answers(address, "/readyz", "200").await.contains("[+]runtime ok"));
        answers(address, "/healthz", "200").await;
        workers.spawn(async move { held.recv().is_ok() });
        let said = answers(address, "/readyz", "503").await;
        assert!(
            said.contains("[-]runtime failed: the threads that answer reviews have been busy or stuck for"),
            "{said}"
        );
        answers(address, "/healthz", "503").await;
        drop(release);
        answers(address, "/readyz", "200").await;
        answers(address, "/healthz", "200").await;
        shutdown.cancel();
        let _ = timeout(PATIENCE, ended).await.expect("the probes never end");
    });
}
