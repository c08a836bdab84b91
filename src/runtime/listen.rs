//! Connections: always accepted, within caps, each with time-outs, drained at the end.

mod activity;
mod exchange;
mod handshake_log;
mod places;

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{self, HeaderValue, Response, header::CONNECTION},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::{
    activity::{Activity, Exchange, Tap},
    exchange::{Answered, Asked},
    handshake_log::HandshakeLog,
    places::Places,
};
use super::{
    capacity::CapacityMetrics,
    limits::ServerLimits,
    peer::{Client, HangUp, Peer},
};

/// The protocols that are offered in a TLS handshake, the preferred one first.
pub const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The pause after a failure to accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a connection may keep unread of request bodies in HTTP/2, all of its requests together and one of them, in bytes.
const WINDOW: u32 = 128 << 10;
const STREAM_WINDOW: u32 = 64 << 10;

/// As an extension of an answer: the request was valid, so this client may keep its connection.
#[derive(Clone, Copy, Debug)]
pub struct ValidRequest;

/// What a listener counts; clones share it.
#[derive(Clone, Debug, Default)]
pub struct ListenerMetrics {
    /// What is in use of what is limited.
    pub capacity: CapacityMetrics,
    /// TLS handshakes that failed or took too long.
    handshake_failures: Counter,
}

impl ListenerMetrics {
    /// Has `registry` export them.
    pub fn register(&self, registry: &mut Registry) {
        self.capacity.register(registry);
        registry.register("handshake_failures", "TLS handshakes that failed", self.handshake_failures.clone());
    }
}

/// Serves `router` until `shutdown` is cancelled; with TLS if `tls` is given.
///
/// After that, connections are accepted for [`ServerLimits::drain_delay`] more, while open ones are asked to close: by
/// GOAWAY, or with the next answer if the client uses HTTP/1.1, since a close could cross its next POST, which it does
/// not repeat. Then all are closed, and requests in flight get up to [`ServerLimits::drain`] to finish.
pub async fn listen(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    limits: ServerLimits,
    metrics: ListenerMetrics,
    shutdown: CancellationToken,
) {
    let server = Arc::new(Server {
        tls,
        router,
        places: Places::new(&limits, &metrics.capacity),
        limits,
        metrics,
        leaving: shutdown.clone(),
        closing: CancellationToken::new(),
        handshake_log: HandshakeLog::default(),
    });
    let mut connections = JoinSet::new();
    let mut stop = pin!(async {
        shutdown.cancelled().await;
        sleep(server.limits.drain_delay).await;
    });
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    connections.spawn(Arc::clone(&server).connection(stream, address.ip().into()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    server.closing.cancel();
    let drained = timeout(server.limits.drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections = connections.len(), "requests in flight are cut off: the drain took too long");
        connections.shutdown().await;
    }
}

struct Server {
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    limits: ServerLimits,
    places: Arc<Places>,
    metrics: ListenerMetrics,
    /// Cancelled when the end was asked for.
    leaving: CancellationToken,
    /// Cancelled when connections are to be closed.
    closing: CancellationToken,
    handshake_log: HandshakeLog,
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: Peer) {
        // Without it, an answer may wait for the client's acknowledgement; and it is only a wish.
        drop(stream.set_nodelay(true));
        match self.tls.clone() {
            None => self.http(stream, false, Client { peer, verified: false }).await,
            Some(config) => {
                if let Some(stream) = self.handshake(config, stream, peer).await {
                    let session = stream.get_ref().1;
                    let multiplexed = session.alpn_protocol() == Some(b"h2");
                    // Those that cannot be verified do not come this far.
                    let verified = session.peer_certificates().is_some();
                    self.http(stream, multiplexed, Client { peer, verified }).await;
                }
            }
        }
    }

    async fn handshake(&self, tls: Arc<ServerConfig>, stream: TcpStream, peer: Peer) -> Option<TlsStream<TcpStream>> {
        let place = self.places.shake(peer);
        let handshake = timeout(self.limits.handshake, TlsAcceptor::from(tls).accept(stream));
        let outcome = tokio::select! {
            biased;
            outcome = handshake => outcome,
            () = place.evicted() => {
                self.metrics.handshake_failures.inc();
                tracing::debug!("a TLS handshake was ended to make room for another");
                return None;
            }
        };
        match outcome {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => self.handshake_log.handshake(&error),
            Err(late) => tracing::debug!(%late, "a TLS handshake took too long"),
        }
        self.metrics.handshake_failures.inc();
        None
    }

    /// Answers a request of this client.
    async fn respond(
        &self,
        mut request: http::Request<Incoming>,
        client: Client,
        multiplexed: bool,
        activity: &Activity,
        exchange: Arc<Exchange>,
    ) -> http::Result<Response<Answered>> {
        request.extensions_mut().insert(client);
        let request = request.map(|body| Asked { body, exchange: Arc::clone(&exchange) });
        let mut response = self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        if response.extensions_mut().remove::<ValidRequest>().is_some() {
            activity.prove();
        }
        if !multiplexed && (self.leaving.is_cancelled() || !self.limits.reuse) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        exchange.answer();
        Ok(response.map(|body: Body| Answered { body, rest: Bytes::new(), exchange }))
    }

    async fn http<I>(self: &Arc<Self>, io: I, multiplexed: bool, client: Client)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::new(multiplexed);
        let Some(place) = self.places.serve(client, &activity) else {
            return tracing::debug!("a connection is rejected: every other one has a request in progress");
        };
        let hang_up = HangUp::default();
        let service = service_fn(|mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(hang_up.clone());
            let (server, activity, exchange) = (Arc::clone(self), Arc::clone(&activity), activity.begin());
            async move { server.respond(request, client, multiplexed, &activity, exchange).await }
        });
        let builder = self.builder(multiplexed);
        let io = TokioIo::new(Tap { io, activity: Arc::clone(&activity) });
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut watch = interval(
            (self.limits.headers.min(self.limits.idle) / 4).clamp(Duration::from_millis(10), Duration::from_secs(1)),
        );
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing = false;
        let mut evicted = false;
        // A process that was kept waiting for a processor finds the end of a client's time before it has read what came in
        // time, so it closes only what is late twice in a row.
        let mut overdue = false;
        // Whoever connects while we are leaving was sent here a moment ago and may ask once more.
        let mut says_goodbye = multiplexed && !self.leaving.is_cancelled();
        loop {
            tokio::select! {
                result = &mut connection => {
                    if let Err(error) = result {
                        tracing::debug!(error, "a connection ended early");
                    }
                    return;
                }
                () = self.leaving.cancelled(), if says_goodbye => {
                    says_goodbye = false;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.closing.cancelled(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = place.evicted(), if !evicted => {
                    // A client that has called well may be calling again at this moment, and is told not to.
                    if !activity.is_proven() {
                        return tracing::debug!("a connection without a valid review is closed to make room for another");
                    }
                    (evicted, closing) = (true, true);
                    connection.as_mut().graceful_shutdown();
                }
                () = hang_up.asked() => {
                    return tracing::debug!("a client that reads no answers is disconnected to make room for others");
                }
                _ = watch.tick() => {
                    let expired = self.expired(&activity, client, closing);
                    if expired && overdue {
                        return tracing::debug!("a client used up its time");
                    }
                    overdue = expired;
                }
            }
        }
    }

    /// Whether a client has used up its time. Go's client connects more often than it calls: a connection that it opened while
    /// another became free is called on later, and a close could meet that request half-way.
    fn expired(&self, activity: &Activity, client: Client, closing: bool) -> bool {
        let expired = |expected| activity.expired(&self.limits, closing, expected);
        expired(false) && (expired(true) || !self.places.expects(client))
    }

    /// The protocol is known from the handshake; waiting for a client to show it would have no time-out.
    fn builder(&self, multiplexed: bool) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        // hyper's own header time-out also closes idle connections; `Activity` tells the two apart.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(64 << 10);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams)
            .initial_connection_window_size(WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .max_header_list_size(16 << 10)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10));
        if multiplexed { builder.http2_only() } else { builder.http1_only() }
    }
}
