//! What a connection is doing, to tell a client that stalls from one that is merely idle.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::runtime::limits::ServerLimits;

/// How long a connection without a request may linger once the server is closing.
const LINGER: Duration = Duration::from_millis(500);

/// Shared by the connection, its socket and its requests.
#[derive(Debug)]
pub(super) struct Activity {
    /// HTTP/2 frames that belong to no request arrive between requests; in HTTP/1.1 such bytes are a header.
    multiplexed: bool,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    in_flight: usize,
    served: bool,
    header_started: bool,
    since: Instant,
}

impl Activity {
    pub(super) fn new(multiplexed: bool) -> Arc<Self> {
        let progress = Progress { in_flight: 0, served: false, header_started: false, since: Instant::now() };
        Arc::new(Self { multiplexed, progress: Mutex::new(progress) })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has begun; it ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        let mut progress = self.progress();
        progress.in_flight += 1;
        progress.served = true;
        progress.header_started = false;
        Busy(Arc::clone(self))
    }

    fn bytes_read(&self) {
        let mut progress = self.progress();
        if !self.multiplexed && progress.in_flight == 0 && !progress.header_started {
            progress.header_started = true;
            if progress.served {
                progress.since = Instant::now();
            }
        }
    }

    /// Whether the client has used up its time; never while a request is in flight.
    pub(super) fn expired(&self, limits: &ServerLimits, closing: bool) -> bool {
        let progress = self.progress();
        let allowed = match (progress.in_flight, progress.served && !progress.header_started) {
            (0, _) if closing => LINGER,
            (0, true) => limits.idle,
            (0, false) => limits.headers,
            _ => return false,
        };
        progress.since.elapsed() >= allowed
    }
}

/// A request in flight.
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut progress = self.0.progress();
        progress.in_flight = progress.in_flight.saturating_sub(1);
        progress.since = Instant::now();
    }
}

/// A socket that reports what it reads.
pub(super) struct Tap<I> {
    pub(super) io: I,
    pub(super) activity: Arc<Activity>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Tap<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.bytes_read();
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Tap<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
