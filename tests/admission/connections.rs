//! What a connection may do, over real sockets.

use std::time::Duration;

use etcd_defrag_webhook::runtime::limits::ServerLimits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::client::{Client, H1, H2, PATIENCE, SHORT, Server, connect, quick};

#[tokio::test]
async fn both_versions_of_tls_carry_both_versions_of_http() {
    let server = Server::start(quick()).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for alpn in [H1, H2] {
            let stream = connect(server.address, &[&server.ca_pem], version, alpn).await.unwrap();
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
            let mut client = Client::new(stream).await;
            client.works().await;
            client.works().await;
        }
    }
}

#[tokio::test]
async fn many_requests_share_one_http2_connection() {
    let server = Server::start(quick()).await;
    let Client::Two(send) = server.client(H2).await else { panic!("no HTTP/2") };
    let answers = (0..20).map(|_| {
        let mut client = Client::Two(send.clone());
        async move { client.works().await }
    });
    futures::future::join_all(answers).await;
}

/// Reads until the server closes; whether it did within `patience`.
async fn closed(mut stream: impl AsyncReadExt + Unpin, patience: Duration) -> bool {
    let mut rest = Vec::new();
    timeout(patience, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn clients_that_stall_are_let_go() {
    let limits = ServerLimits { headers: SHORT, handshake: SHORT, ..quick() };
    let server = Server::start(limits).await;
    let patience = PATIENCE;

    let no_handshake = TcpStream::connect(server.address).await.unwrap();
    let silent_h1 = server.connect(H1).await;
    let silent_h2 = server.connect(H2).await;
    let mut half_header = server.connect(H1).await;
    half_header.write_all(b"POST /validate HTTP/1.1\r\nHost: 127").await.unwrap();
    let (one, two, three, four) = tokio::join!(
        closed(no_handshake, patience),
        closed(silent_h1, patience),
        closed(silent_h2, patience),
        closed(half_header, patience),
    );
    assert!(one && two && three && four, "{one} {two} {three} {four}");

    // A trickle of header bytes buys no time.
    let mut trickle = server.connect(H1).await;
    let started = Instant::now();
    while trickle.write_all(b"X").await.is_ok() && trickle.flush().await.is_ok() {
        assert!(started.elapsed() < patience, "a trickling client is never let go");
        sleep(Duration::from_millis(20)).await;
    }
}

/// As on a machine with too few processors: the request is there before the process gets round to the end of the client's time.
#[tokio::test]
async fn what_has_arrived_is_answered_however_late_it_is_read() {
    let headers = Duration::from_millis(200);
    let late = headers * 2;
    let server = Server::start(ServerLimits { headers, ..quick() }).await;
    let started = Instant::now();
    // Which of two things that are due is done first must not be left to chance.
    for _ in 0..8 {
        let mut stream = loop {
            let (begun, stream) = (Instant::now(), server.connect(H1).await);
            // The server has ended the handshake, too, and waits for a request.
            sleep(late / 8).await;
            // Whoever is only here when the time is over has sent nothing in time.
            if begun.elapsed() < headers {
                break stream;
            }
            assert!(started.elapsed() < PATIENCE, "this machine does not send a request within {headers:?}");
        };
        let request = b"POST /validate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(request).await.unwrap();
        stream.flush().await.unwrap();
        // Server and client share this thread.
        std::thread::sleep(late);
        let mut answer = [0; 9];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().expect("an answer, not a closed connection");
        assert_eq!(&answer, b"HTTP/1.1 ");
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout_but_not_the_idle_one() {
    // On a machine that is too busy for these, with longer ones.
    for scale in [1, 4, 16] {
        let limits = ServerLimits {
            headers: scale * Duration::from_millis(600),
            idle: scale * Duration::from_millis(2500),
            ..quick()
        };
        let (pause, idle) = (2 * limits.headers, limits.idle);
        let server = Server::start(limits).await;
        // `None` where the pause took so long that the connection may have been idle for too long.
        let outlives = async |alpn| {
            let before = Instant::now();
            let mut client = server.client(alpn).await;
            client.works().await;
            sleep(pause).await;
            if let Err(error) = client.review().await {
                assert!(before.elapsed() >= idle, "an idle connection is closed too soon: {error}");
                return None;
            }
            let since = Instant::now();
            while !client.is_closed() {
                assert!(since.elapsed() < idle + PATIENCE, "an idle connection is kept for ever");
                sleep(Duration::from_millis(20)).await;
            }
            assert!(client.review().await.is_err());
            Some(())
        };
        if let (Some(()), Some(())) = tokio::join!(outlives(H1), outlives(H2)) {
            return;
        }
    }
    panic!("this machine does not ask again within 40 s");
}

#[tokio::test]
async fn a_body_without_a_length_is_limited_too() {
    let server = Server::start(ServerLimits { body: 10_000, ..quick() }).await;
    let mut stream = server.connect(H1).await;
    let head = "POST /validate HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..3 {
        stream.write_all(format!("1000\r\n{}\r\n", " ".repeat(0x1000)).as_bytes()).await.unwrap();
    }
    let mut answer = vec![0; 12];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}
