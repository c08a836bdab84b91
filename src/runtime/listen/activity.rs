//! What a connection is doing, to distinguish a client that stalls from one that is idle.

use std::{
    collections::BTreeMap,
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
    /// Requests of which the client owes the rest of the body.
    reading: usize,
    /// Requests that we owe an answer.
    working: usize,
    /// Answers that the client has not taken yet, by the number of the request, and when it last took a part of each.
    answering: BTreeMap<u64, Instant>,
    /// The next request's number.
    next: u64,
    served: bool,
    proven: bool,
    header_started: bool,
    /// Since when the client has been owing something, where it does.
    since: Instant,
}

impl Progress {
    fn enter(&mut self, stage: Stage, number: u64, now: Instant) {
        match stage {
            Stage::Reading => self.reading += 1,
            Stage::Working => self.working += 1,
            Stage::Answering => drop(self.answering.insert(number, now)),
        }
    }

    fn leave(&mut self, stage: Stage, number: u64) {
        match stage {
            Stage::Reading => self.reading -= 1,
            Stage::Working => self.working -= 1,
            Stage::Answering => drop(self.answering.remove(&number)),
        }
    }

    fn in_flight(&self) -> usize {
        self.reading + self.working + self.answering.len()
    }
}

impl Activity {
    pub(super) fn new(multiplexed: bool) -> Arc<Self> {
        let now = Instant::now();
        let progress = Progress {
            reading: 0,
            working: 0,
            answering: BTreeMap::new(),
            next: 0,
            served: false,
            proven: false,
            header_started: false,
            since: now,
        };
        Arc::new(Self { multiplexed, progress: Mutex::new(progress) })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has begun; it ends when all clones of the exchange are dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<Exchange> {
        let mut progress = self.progress();
        if progress.in_flight() == 0 {
            progress.since = Instant::now();
        }
        progress.reading += 1;
        progress.served = true;
        progress.header_started = false;
        let number = progress.next;
        progress.next += 1;
        Arc::new(Exchange { activity: Arc::clone(self), number, stage: Mutex::new(Stage::Reading) })
    }

    /// A valid review was answered.
    pub(super) fn prove(&self) {
        self.progress().proven = true;
    }

    /// Whether a valid review was answered.
    pub(super) fn is_proven(&self) -> bool {
        self.progress().proven
    }

    /// Since when nothing is owed to the client; `None` while something is.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let progress = self.progress();
        (progress.working == 0).then_some(progress.since)
    }

    fn bytes_read(&self) {
        let mut progress = self.progress();
        if !self.multiplexed && progress.in_flight() == 0 && !progress.header_started {
            progress.header_started = true;
            if progress.served {
                progress.since = Instant::now();
            }
        }
    }

    /// Whether the client has used up its time; never while we owe it an answer, or a body has time left. A first request that is
    /// `expected` may come as late as the next one after a valid review.
    pub(super) fn expired(&self, limits: &ServerLimits, closing: bool, expected: bool) -> bool {
        let progress = self.progress();
        if progress.answering.values().any(|took| took.elapsed() >= limits.headers) {
            return true;
        }
        let allowed = match progress.in_flight() {
            0 if closing => LINGER,
            0 if progress.header_started => limits.headers,
            0 if progress.proven || (expected && !progress.served) => limits.idle,
            0 => limits.headers,
            _ => return false,
        };
        progress.since.elapsed() >= allowed
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Reading,
    Working,
    Answering,
}

/// A request in flight, from its headers to the end of its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    number: u64,
    stage: Mutex<Stage>,
}

impl Exchange {
    /// The body is complete.
    pub(super) fn complete(&self) {
        self.go_on(Stage::Reading, Stage::Working);
    }

    /// There is an answer.
    pub(super) fn answer(&self) {
        self.complete();
        self.go_on(Stage::Working, Stage::Answering);
    }

    /// The client takes a part of the answer.
    pub(super) fn taken(&self) {
        if let Some(took) = self.activity.progress().answering.get_mut(&self.number) {
            *took = Instant::now();
        }
    }

    fn go_on(&self, from: Stage, to: Stage) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if *stage != from {
            return;
        }
        *stage = to;
        let mut progress = self.activity.progress();
        let now = Instant::now();
        progress.leave(from, self.number);
        progress.enter(to, self.number, now);
        if progress.working == 0 {
            progress.since = now;
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let stage = *self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let mut progress = self.activity.progress();
        progress.leave(stage, self.number);
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
