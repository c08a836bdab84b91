//! Attacks on the listener by somebody who can merely reach it, and what becomes of others meanwhile. The attackers have
//! addresses of their own on loopback.

use std::{net::Ipv4Addr, time::Duration};

use etcd_defrag_webhook::{
    admission::AdmissionMetrics,
    runtime::{exposition::Format, limits::ServerLimits, telemetry::ProcessMetrics},
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::client::TlsStream;

use crate::{
    client::{Client, H1, H2, PATIENCE, SHORT, Server, quick, socket_from},
    reviews::admission,
};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const MIB: usize = 1 << 20;

/// A server whose metrics can be read.
async fn metered(limits: ServerLimits) -> (Server, ProcessMetrics) {
    let mut metrics = ProcessMetrics::default();
    let counted = AdmissionMetrics::register(metrics.registry_mut());
    (Server::start_with(admission(&limits, counted), limits).await, metrics)
}

fn value(metrics: &ProcessMetrics, name: &str, resource: &str) -> usize {
    let series = format!("etcd_defrag_webhook_admission_{name}{{resource=\"{resource}\"}} ");
    let text = metrics.encode(Format::OpenMetrics).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Announces a body and sends all of it but the last byte.
async fn half_a_body(stream: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    let head = format!("POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: {MIB}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&vec![b' '; MIB - 1]).await?;
    stream.flush().await
}

/// Whether the server closes it within the time that a test has.
async fn closes(mut stream: impl AsyncReadExt + Unpin) -> bool {
    timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.is_ok()
}

#[tokio::test]
async fn half_sent_bodies_stay_within_one_budget_and_hold_no_slot() {
    // One slot, room for an eighth of them, and no time-out that would come to help.
    let budget = 8 * MIB;
    let limits = ServerLimits { requests: 1, bodies: budget, peer_handshakes: 64, ..quick() };
    let (server, metrics) = metered(limits).await;
    let server = std::sync::Arc::new(server);
    let mut attack = JoinSet::new();
    for _ in 0..64 {
        let server = std::sync::Arc::clone(&server);
        attack.spawn(async move {
            let mut stream = server.connect_from(ATTACKER, H1).await?;
            half_a_body(&mut stream).await?;
            // Holds it.
            stream.read_to_end(&mut Vec::new()).await
        });
    }
    let most = std::cell::Cell::new(0);
    let look = || {
        most.set(most.get().max(value(&metrics, "in_use", "body_bytes")));
        value(&metrics, "turned_away_total", "body_bytes")
    };
    until("bodies make room for others", || look() >= 40).await;
    // Somebody else is answered all the same.
    for _ in 0..5 {
        server.client(H1).await.works().await;
        look();
    }
    assert!(most.get() > budget / 2 && most.get() <= budget, "{} of {budget} bytes", most.get());
    assert_eq!(value(&metrics, "in_use", "slots"), 0);
    attack.shutdown().await;
    until("all bytes are given back", || value(&metrics, "in_use", "body_bytes") == 0).await;
}

#[tokio::test]
async fn at_the_cap_the_longest_idle_connection_goes_and_nobody_waits_outside() {
    let (server, metrics) = metered(ServerLimits { connections: 3, ..quick() }).await;
    for alpn in [H1, H2] {
        let mut idle = server.client(alpn).await;
        idle.works().await;
        let mut used = server.client(alpn).await;
        used.works().await;
        // These two have never called well, so they go first.
        let silent = server.connect(alpn).await;
        let mut silent_too = server.connect_from(ATTACKER, H1).await.unwrap();
        assert!(closes(silent).await);
        silent_too.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut third = server.client(alpn).await;
        third.works().await;
        assert!(closes(silent_too).await);
        // Now there are such only that have, and the one that did so first goes, told so.
        used.works().await;
        let mut fourth = server.client(alpn).await;
        fourth.works().await;
        until("the longest idle one is closed", || idle.is_closed()).await;
        used.works().await;
        third.works().await;
        assert_eq!(value(&metrics, "in_use", "connections"), 3);
        drop((used, third, fourth));
        until("all places are free", || value(&metrics, "in_use", "connections") == 0).await;
    }
}

#[tokio::test]
async fn one_address_has_its_share_of_the_connections() {
    let (server, metrics) = metered(ServerLimits { peer_connections: 2, ..quick() }).await;
    let mut other = server.client(H2).await;
    other.works().await;
    let mut crowd = Vec::new();
    for _ in 0..10 {
        crowd.push(server.connect_from(ATTACKER, H1).await.unwrap());
    }
    until("all came in", || value(&metrics, "turned_away_total", "connections") == 8).await;
    assert_eq!(value(&metrics, "in_use", "connections"), 3);
    other.works().await;
}

#[tokio::test]
async fn silent_connections_do_not_keep_others_from_a_handshake() {
    // No time-out comes to help.
    let limits = ServerLimits { handshakes: 8, peer_handshakes: 4, ..quick() };
    let (server, metrics) = metered(limits).await;
    let mut silent = Vec::new();
    for number in 0..200_u8 {
        silent.push(socket_from(Ipv4Addr::new(127, 0, 0, 2 + number % 5), server.address).await.unwrap());
        if number % 20 == 0 {
            server.client(H1).await.works().await;
        }
    }
    until("all are accepted", || value(&metrics, "turned_away_total", "handshakes") >= 192).await;
    server.client(H2).await.works().await;
    assert!(value(&metrics, "in_use", "handshakes") <= 8);
}

#[tokio::test]
async fn a_connection_idles_only_after_a_valid_review() {
    let server = Server::start(ServerLimits { headers: SHORT, ..quick() }).await;
    // Answered, though not with a review: its time is short.
    for request in
        ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nnonsense"]
    {
        let mut stream = server.connect(H1).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(closes(stream).await, "{request}");
    }
}

/// As Go's client does it: a connection that was opened in vain is called on later.
#[tokio::test]
async fn a_spare_connection_of_a_client_that_calls_well_is_kept() {
    let limits = ServerLimits { headers: SHORT, ..quick() };
    let silence = 3 * limits.headers;
    let server = Server::start(limits).await;
    let mut caller = server.client(H1).await;
    caller.works().await;
    let mut spare = server.client(H1).await;
    let stranger = server.connect_from(ATTACKER, H1).await.unwrap();
    assert!(closes(stranger).await, "nothing is known of this address");
    tokio::time::sleep(silence).await;
    spare.works().await;
}

/// Answers that nobody takes are not kept: neither the connection nor what is in memory for them.
#[tokio::test]
async fn a_client_that_takes_no_answers_is_let_go() {
    let (server, metrics) = metered(ServerLimits { headers: SHORT, ..quick() }).await;
    let stream = server.connect_from(ATTACKER, H2).await.unwrap();
    let mut builder = conn::http2::Builder::new(TokioExecutor::new());
    let (mut send, connection) = builder.initial_stream_window_size(0).handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let body = crate::fixtures::review("CREATE", "", crate::fixtures::etcd(), serde_json::json!(null)).to_string();
    let request = Request::post("https://127.0.0.1/validate").body(Full::new(Bytes::from(body))).unwrap();
    let answer = send.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(value(&metrics, "in_use", "body_bytes") > 0);
    let taken = timeout(PATIENCE, answer.into_body().collect()).await.expect("the answer is kept for ever");
    assert!(taken.is_err());
    let _ = timeout(PATIENCE, connection).await.expect("the connection is kept");
    until("its bytes are given back", || value(&metrics, "in_use", "body_bytes") == 0).await;
}

/// By one address, which fills the budget with them.
#[tokio::test]
async fn answers_that_nobody_takes_leave_room_for_others() {
    // What an answer keeps of the budget.
    const KEPT: usize = 64 << 10;
    let limits = ServerLimits { bodies: 4 * MIB, ..quick() };
    let (server, metrics) = metered(limits).await;
    let body = crate::fixtures::review("CREATE", "", crate::fixtures::etcd(), serde_json::json!(null)).to_string();
    let mut untaken = Vec::new();
    for _ in 0..7 {
        let stream = server.connect_from(ATTACKER, H2).await.unwrap();
        let mut builder = conn::http2::Builder::new(TokioExecutor::new());
        let handshake = builder.initial_stream_window_size(0).handshake(TokioIo::new(stream));
        let (mut send, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        for _ in 0..9 {
            let body = Full::new(Bytes::from(body.clone()));
            let request = Request::post("https://127.0.0.1/validate").body(body).unwrap();
            let answer = send.send_request(request).await.unwrap();
            assert_eq!(answer.status(), 200);
            untaken.push(answer);
        }
    }
    assert_eq!(value(&metrics, "in_use", "body_bytes"), 63 * KEPT, "less than a request's room is left");
    let mut other = server.client(H1).await;
    timeout(PATIENCE / 2, other.works()).await.expect("answers that nobody takes are in front");
    assert_eq!(value(&metrics, "in_use", "body_bytes"), 54 * KEPT, "one connection is enough");
    drop(untaken);
}

/// More answers than one address may have assessed at once wait among themselves.
#[tokio::test]
async fn a_request_from_elsewhere_is_not_behind_a_crowd() {
    let limits = ServerLimits { peer_requests: 1, requests: 2, ..quick() };
    let gate = crate::client::Gate::open();
    let held = std::sync::Arc::clone(&gate);
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&asked);
    // Only the first is held up.
    let admission = admission(&limits, AdmissionMetrics::default()).with_clock(std::sync::Arc::new(move || {
        if counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            held.pass();
        }
        jiff::Timestamp::UNIX_EPOCH
    }));
    let server = Server::start_with(admission, limits).await;
    gate.close();
    let mut crowd = JoinSet::new();
    for number in 0..8 {
        let mut client = Client::new(server.connect_from(ATTACKER, H1).await.unwrap()).await;
        crowd.spawn(async move { client.works().await });
        if number == 0 {
            gate.reached().await;
        }
    }
    let mut other = server.client(H1).await;
    let answered = timeout(PATIENCE, other.works()).await;
    let asked = asked.load(std::sync::atomic::Ordering::SeqCst);
    // A judgement that is held up would hold up the end of this test, too.
    gate.release();
    answered.expect("the crowd is in front");
    assert_eq!(asked, 2);
    assert_eq!(crowd.join_all().await.len(), 8);
}
