//! The end: what is in flight is finished, within bounds.

use std::{sync::Arc, time::Duration};

use etcd_defrag_webhook::{
    admission::{AdmissionMetrics, server::Admission},
    runtime::{limits::ServerLimits, shutdown::Shutdown},
};
use hyper::StatusCode;
use jiff::Timestamp;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{
    client::{Client, Gate, H1, H2, PATIENCE, Server, connect, quick},
    reviews::admission,
};

/// Admission whose judgements wait for the gate, after they were noticed.
fn held(limits: &ServerLimits, gate: &Arc<Gate>) -> Admission {
    let gate = Arc::clone(gate);
    admission(limits, AdmissionMetrics::default()).with_clock(Arc::new(move || {
        gate.pass();
        Timestamp::UNIX_EPOCH
    }))
}

#[tokio::test]
async fn a_request_in_flight_is_answered_and_idle_clients_are_told_to_close() {
    for alpn in [H1, H2] {
        let (limits, gate) = (quick(), Gate::open());
        let server = Server::start_with(held(&limits, &gate), limits).await;
        let mut idle = server.client(alpn).await;
        idle.works().await;
        gate.close();
        let mut busy = server.client(alpn).await;
        let in_flight = tokio::spawn(async move { busy.review().await });
        gate.reached().await;
        server.shutdown.cancel();
        // The shutdown finds it in flight.
        sleep(Duration::from_millis(100)).await;
        gate.release();
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
    // On a machine that is too busy to connect within the delay, with a longer one.
    for drain_delay in [1, 4, 16].map(Duration::from_secs) {
        let server = Server::start(ServerLimits { drain_delay, ..quick() }).await;
        let asked = Instant::now();
        server.shutdown.cancel();
        sleep(Duration::from_millis(100)).await;
        let (answered, took) = (newcomer(&server, H1).await, asked.elapsed());
        timeout(PATIENCE, server.running).await.expect("the drain hangs").unwrap().unwrap();
        assert!(asked.elapsed() >= drain_delay, "the delay is cut short");
        match answered {
            Ok(status) => return assert_eq!(status, StatusCode::OK),
            Err(error) => assert!(took >= drain_delay, "within the delay: {error}"),
        }
    }
    panic!("this machine does not connect within 16 s");
}

/// What the API server does: it keeps its connections, and asks over them whatever comes.
#[tokio::test]
async fn open_connections_are_told_to_close_before_they_are_closed() {
    // On a machine that is too busy to call within the delay, with a longer one.
    for drain_delay in [5, 20, 80].map(Duration::from_secs) {
        let server = Server::start(ServerLimits { drain_delay, ..quick() }).await;
        let mut one = server.client(H1).await;
        let mut two = server.client(H2).await;
        one.works().await;
        two.works().await;
        let asked = Instant::now();
        server.shutdown.cancel();
        sleep(Duration::from_millis(200)).await;
        // HTTP/1.1 has no other way to say it than an answer.
        let last = one.review().await;
        // After GOAWAY the client's side takes no more requests.
        while two.review().await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
        let others = [newcomer(&server, H1).await, newcomer(&server, H2).await];
        let is_running = !server.running.is_finished();
        if asked.elapsed() < drain_delay {
            assert!(is_running, "the delay is cut short");
            let (response, _) = last.expect("an idle connection was closed without a word");
            assert_eq!(response.headers()["connection"], "close");
            assert!(one.review().await.is_err());
            for answered in others {
                assert_eq!(answered.expect("within the delay"), StatusCode::OK);
            }
            timeout(PATIENCE, server.running).await.expect("the drain hangs").unwrap().unwrap();
            return;
        }
    }
    panic!("no GOAWAY before the end of the delay, or this machine does not call within 80 s");
}

/// How a call on a new connection is answered.
async fn newcomer(server: &Server, alpn: &[u8]) -> std::io::Result<StatusCode> {
    let stream = connect(server.address, &[&server.ca_pem], &rustls::version::TLS13, alpn).await?;
    let (response, _) = Client::new(stream).await.review().await.map_err(std::io::Error::other)?;
    Ok(response.status())
}

#[tokio::test]
async fn a_request_that_takes_too_long_does_not_hold_the_process() {
    let limits = ServerLimits { drain: Duration::from_millis(100), ..quick() };
    let gate = Gate::open();
    let server = Server::start_with(held(&limits, &gate), limits).await;
    gate.close();
    let mut busy = server.client(H1).await;
    let in_flight = tokio::spawn(async move { busy.review().await });
    gate.reached().await;
    server.shutdown.cancel();
    // The judgement goes on for as long as this takes.
    let ended = timeout(PATIENCE, server.running).await;
    let answer = timeout(PATIENCE, in_flight).await;
    gate.release();
    ended.expect("the request holds the process").unwrap().unwrap();
    assert!(answer.expect("the client is left waiting").unwrap().is_err());
}

#[tokio::test]
async fn a_shutdown_reaches_every_clone() {
    let shutdown = Shutdown::default();
    let other = shutdown.clone();
    assert!(!other.is_started());
    shutdown.start();
    timeout(PATIENCE, other.started()).await.unwrap();
    assert!(other.is_started() && other.token().is_cancelled());
}
