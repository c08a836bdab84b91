//! Connections: accepted within a cap, each with time-outs, drained at the end.

mod activity;
mod handshake_log;

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{self, HeaderValue, header::CONNECTION},
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::{
    activity::{Activity, Tap},
    handshake_log::HandshakeLog,
};
use super::limits::ServerLimits;

/// The protocols that are offered in a TLS handshake, the preferred one first.
pub const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The pause after a failure to accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener counts; clones share it.
#[derive(Clone, Debug, Default)]
pub struct ListenerMetrics {
    /// Connections now.
    connections: Gauge,
    /// TLS handshakes that failed or took too long.
    handshake_failures: Counter,
}

impl ListenerMetrics {
    /// Has `registry` export them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register("handshake_failures", "TLS handshakes that failed", self.handshake_failures.clone());
    }
}

/// Serves `router` until `shutdown` is cancelled; with TLS where `tls` is given.
///
/// After that, connections are accepted for [`ServerLimits::drain_delay`] more, while those that are open are told to close: by
/// GOAWAY, or with the next answer where the client speaks HTTP/1.1, for it could meet a close half-way and does not repeat
/// a POST. Then all are closed, and requests in flight get up to [`ServerLimits::drain`] to finish.
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
        limits,
        metrics,
        leaving: shutdown.clone(),
        closing: CancellationToken::new(),
        handshake_log: HandshakeLog::default(),
    });
    let slots = Arc::new(Semaphore::new(server.limits.connections));
    let mut connections = JoinSet::new();
    let mut stop = pin!(async {
        shutdown.cancelled().await;
        sleep(server.limits.drain_delay).await;
    });
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &slots) => match accepted {
                Ok((stream, slot)) => {
                    connections.spawn(Arc::clone(&server).connection(stream, slot));
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

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

struct Server {
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    limits: ServerLimits,
    metrics: ListenerMetrics,
    /// Cancelled when the end was asked for.
    leaving: CancellationToken,
    /// Cancelled when connections are to be closed.
    closing: CancellationToken,
    handshake_log: HandshakeLog,
}

impl Server {
    async fn connection(self: Arc<Self>, stream: TcpStream, slot: OwnedSemaphorePermit) {
        // Without it, an answer may wait for the client's acknowledgement; and it is only a wish.
        drop(stream.set_nodelay(true));
        self.metrics.connections.inc();
        match self.tls.clone() {
            None => self.http(stream, false).await,
            Some(config) => match timeout(self.limits.handshake, TlsAcceptor::from(config).accept(stream)).await {
                Ok(Ok(stream)) => {
                    let multiplexed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    self.http(stream, multiplexed).await;
                }
                Ok(Err(error)) => {
                    self.metrics.handshake_failures.inc();
                    self.handshake_log.handshake(&error);
                }
                Err(late) => {
                    self.metrics.handshake_failures.inc();
                    tracing::debug!(%late, "a TLS handshake took too long");
                }
            },
        }
        self.metrics.connections.dec();
        drop(slot);
    }

    async fn http<I: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, io: I, multiplexed: bool) {
        let activity = Activity::new(multiplexed);
        let service = service_fn(|request: http::Request<Incoming>| {
            let busy = activity.begin();
            let router = self.router.clone();
            let leaving = self.leaving.clone();
            async move {
                let mut response = router.oneshot(request).await;
                if let Ok(response) = &mut response
                    && !multiplexed
                    && leaving.is_cancelled()
                {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                drop(busy);
                response
            }
        });
        let builder = self.builder(multiplexed);
        let io = TokioIo::new(Tap { io, activity: Arc::clone(&activity) });
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut watch = interval(
            (self.limits.headers.min(self.limits.idle) / 4).clamp(Duration::from_millis(10), Duration::from_secs(1)),
        );
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing = false;
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
                _ = watch.tick() => if activity.expired(&self.limits, closing) {
                    tracing::debug!("a client used up its time");
                    return;
                }
            }
        }
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
            .max_header_list_size(16 << 10)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10));
        if multiplexed { builder.http2_only() } else { builder.http1_only() }
    }
}
