//! The end: what is in flight is finished, within bounds.

use std::{sync::Arc, thread, time::Duration};

use etcd_defrag_webhook::{
    admission::{Metrics, server::Admission},
    runtime::{limits::Limits, shutdown::Shutdown},
};
use jiff::Timestamp;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    client::{H1, H2, PATIENCE, Server, quick},
    reviews::admission,
};

/// Admission whose judgements take a while.
fn slow(limits: &Limits, takes: Duration) -> Admission {
    admission(limits, Metrics::default()).with_clock(Arc::new(move || {
        thread::sleep(takes);
        Timestamp::UNIX_EPOCH
    }))
}

#[tokio::test]
async fn a_request_in_flight_is_answered_and_idle_clients_are_told_to_close() {
    for alpn in [H1, H2] {
        let limits = quick();
        let server = Server::start_with(slow(&limits, Duration::from_millis(300)), limits).await;
        let mut idle = server.client(alpn).await;
        idle.works().await;
        let mut busy = server.client(alpn).await;
        let in_flight = tokio::spawn(async move { busy.review().await });
        sleep(Duration::from_millis(100)).await;
        server.shutdown.cancel();
        let (response, answer) = in_flight.await.unwrap().expect("a request in flight was dropped");
        assert_eq!(answer["response"]["uid"], crate::fixtures::UID);
        if alpn == H1 {
            assert_eq!(response.headers()["connection"], "close");
        }
        timeout(PATIENCE, server.running).await.expect("the drain hangs").unwrap().unwrap();
        assert!(idle.review().await.is_err());
        assert!(TcpStream::connect(server.address).await.is_err(), "the port is still open");
    }
}

#[tokio::test]
async fn connections_are_accepted_until_the_delay_is_over() {
    let limits = Limits { drain_delay: Duration::from_millis(1500), ..quick() };
    let server = Server::start(limits).await;
    server.shutdown.cancel();
    sleep(Duration::from_millis(100)).await;
    server.client(H1).await.works().await;
    timeout(PATIENCE, server.running).await.expect("the drain hangs").unwrap().unwrap();
}

/// What the API server does: it keeps its connections, and asks over them whatever comes.
#[tokio::test]
async fn open_connections_are_told_to_close_before_they_are_closed() {
    let limits = Limits { drain_delay: Duration::from_secs(5), ..quick() };
    let server = Server::start(limits).await;
    let mut one = server.client(H1).await;
    let mut two = server.client(H2).await;
    one.works().await;
    two.works().await;
    let asked = Instant::now();
    server.shutdown.cancel();
    sleep(Duration::from_millis(200)).await;
    // HTTP/1.1 has no other way to say it than an answer.
    let (response, _) = one.review().await.expect("an idle connection was closed without a word");
    assert_eq!(response.headers()["connection"], "close");
    assert!(one.review().await.is_err());
    // After GOAWAY the client's side takes no more requests.
    timeout(Duration::from_secs(3), async {
        while two.review().await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("no GOAWAY before the end of the delay");
    for alpn in [H1, H2] {
        server.client(alpn).await.works().await;
    }
    if asked.elapsed() < Duration::from_secs(4) {
        assert!(!server.running.is_finished(), "the delay is not over");
    }
    timeout(PATIENCE, server.running).await.expect("the drain hangs").unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_takes_too_long_does_not_hold_the_process() {
    let limits = Limits { drain: Duration::from_millis(100), ..quick() };
    let server = Server::start_with(slow(&limits, Duration::from_secs(3)), limits).await;
    let mut busy = server.client(H1).await;
    let in_flight = tokio::spawn(async move { busy.review().await });
    sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    server.shutdown.cancel();
    server.running.await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(in_flight.await.unwrap().is_err());
}

#[tokio::test]
async fn a_shutdown_reaches_every_clone() {
    let shutdown = Shutdown::default();
    let other = shutdown.clone();
    assert!(!other.is_started());
    shutdown.start();
    timeout(Duration::from_secs(1), other.started()).await.unwrap();
    assert!(other.is_started() && other.token().is_cancelled());
}
