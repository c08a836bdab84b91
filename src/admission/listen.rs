//! Connections: accepted within a cap, each with time-outs, drained at the end.

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::{Router, http};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
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

use super::{
    Limits, Metrics,
    activity::{Activity, Tap},
    complaints::Complaints,
};

/// The protocols that are offered in a TLS handshake, the preferred one first.
pub const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The pause after a failure to accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` until `shutdown` is cancelled; with TLS where `tls` is given.
///
/// After that, connections are accepted for [`Limits::drain_delay`] more; then clients are told to close and requests in
/// flight get up to [`Limits::drain`] to finish.
pub async fn listen(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    limits: Limits,
    metrics: Metrics,
    shutdown: CancellationToken,
) {
    let server = Arc::new(Server {
        tls,
        router,
        limits,
        metrics,
        closing: CancellationToken::new(),
        complaints: Complaints::default(),
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
    limits: Limits,
    metrics: Metrics,
    /// Cancelled when clients are to close.
    closing: CancellationToken,
    complaints: Complaints,
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
                    self.complaints.handshake(&error);
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
            async move {
                let response = router.oneshot(request).await;
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
        loop {
            tokio::select! {
                result = &mut connection => {
                    if let Err(error) = result {
                        tracing::debug!(error, "a connection ended early");
                    }
                    return;
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
