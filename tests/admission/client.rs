//! A client that shows what was negotiated, and a server to talk to.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use etcd_defrag_webhook::{
    admission::{AdmissionMetrics, server},
    runtime::{limits::ServerLimits, selfsigned, tls},
};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Bytes, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::{
    fixtures::{etcd, review},
    reviews::admission,
};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client has that is to be let go: more than a handshake takes on a busy machine.
pub(crate) const SHORT: Duration = Duration::from_secs(1);

pub(crate) const H1: &[u8] = b"http/1.1";
pub(crate) const H2: &[u8] = b"h2";

/// Limits that let a test end soon, but not because the machine is busy.
pub(crate) fn quick() -> ServerLimits {
    ServerLimits {
        drain_delay: Duration::ZERO,
        drain: PATIENCE,
        request: PATIENCE,
        body_time: PATIENCE,
        handshake: PATIENCE,
        headers: PATIENCE,
        ..ServerLimits::default()
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(crate) async fn start(limits: ServerLimits) -> Self {
        Self::start_with(server::Admission::clone(&admission(&limits, AdmissionMetrics::default())), limits).await
    }

    pub(crate) async fn start_with(admission: server::Admission, limits: ServerLimits) -> Self {
        let pair = selfsigned::issue(&[]).unwrap();
        let metrics = tls::TlsMetrics::default();
        let certificates =
            tls::Certificates::from_pem(&pair.cert_pem, &pair.key_pem, metrics, Timestamp::now()).unwrap();
        Self::start_tls(admission, limits, &certificates, pair.ca_pem).await
    }

    pub(crate) async fn start_tls(
        admission: server::Admission,
        limits: ServerLimits,
        certificates: &Arc<tls::Certificates>,
        ca_pem: String,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let config = certificates.server_config().unwrap();
        let running = tokio::spawn(server::run(listener, admission, config, limits, shutdown.clone()));
        Self { address, ca_pem, shutdown, running }
    }

    pub(crate) async fn connect(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        connect(self.address, &[&self.ca_pem], &rustls::version::TLS13, alpn).await.unwrap()
    }

    /// From another address.
    pub(crate) async fn connect_from(&self, from: Ipv4Addr, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = socket_from(from, self.address).await?;
        handshake(stream, &[&self.ca_pem], &rustls::version::TLS13, alpn).await
    }

    pub(crate) async fn client(&self, alpn: &[u8]) -> Client {
        Client::new(self.connect(alpn).await).await
    }
}

pub(crate) async fn connect(
    address: SocketAddr,
    trusted: &[&str],
    version: &'static SupportedProtocolVersion,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    handshake(TcpStream::connect(address).await?, trusted, version, alpn).await
}

/// A connection from one of the many addresses of the loopback interface.
pub(crate) async fn socket_from(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

async fn handshake(
    stream: TcpStream,
    trusted: &[&str],
    version: &'static SupportedProtocolVersion,
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for pem in trusted {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await
}

/// What holds up judgements while it is closed, and tells that one has come to it.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
    reached: Notify,
}

impl Gate {
    pub(crate) fn open() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    /// Lets pass who comes from now on, and holds who waits.
    pub(crate) fn open_for_others(&self) {
        *self.closed.lock().unwrap() = false;
    }

    pub(crate) fn release(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    /// Waits on the thread of a judgement.
    pub(crate) fn pass(&self) {
        let closed = self.closed.lock().unwrap();
        if *closed {
            self.reached.notify_one();
        }
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
    }

    /// Waits until a judgement is held up.
    pub(crate) async fn reached(&self) {
        timeout(PATIENCE, self.reached.notified()).await.expect("no judgement begins");
    }
}

/// One connection.
pub(crate) enum Client {
    One(conn::http1::SendRequest<Full<Bytes>>),
    Two(conn::http2::SendRequest<Full<Bytes>>),
}

impl Client {
    pub(crate) async fn new(stream: TlsStream<TcpStream>) -> Self {
        let multiplexed = stream.get_ref().1.alpn_protocol() == Some(H2);
        let io = TokioIo::new(stream);
        if multiplexed {
            let (send, connection) = conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Self::Two(send)
        } else {
            let (send, connection) = conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Self::One(send)
        }
    }

    /// Sends a review and returns the answer.
    pub(crate) async fn review(&mut self) -> hyper::Result<(Response<()>, Value)> {
        let body = review("CREATE", "", etcd(), json!(null)).to_string();
        let request = Request::post("https://127.0.0.1/validate")
            .header("host", "127.0.0.1")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let response = match self {
            Self::One(send) => {
                send.ready().await?;
                send.send_request(request).await?
            }
            Self::Two(send) => {
                send.ready().await?;
                send.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok((Response::from_parts(head, ()), serde_json::from_slice(&body).unwrap()))
    }

    /// Whether the server has closed it, or says that it will.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::One(send) => send.is_closed(),
            Self::Two(send) => send.is_closed(),
        }
    }

    /// Sends a review that must be answered.
    pub(crate) async fn works(&mut self) {
        let (response, answer) = self.review().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(answer["response"]["uid"], crate::fixtures::UID);
    }
}
