//! Liveness, readiness and metrics, over plain HTTP on a port of their own.

use std::{fmt::Write, io, sync::Arc, thread, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
};
use tokio_util::sync::CancellationToken;

use super::{
    exposition::Format, holding::Holding, limits::ServerLimits, listen, pulse::Pulse, telemetry::ProcessMetrics,
};

/// Metrics that are read at once; they are large, and slow readers must not delay probes.
const METRICS: usize = 4;

/// One condition of readiness: a note for people (or nothing), or the reason why not.
pub type Check = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// What the probes report.
pub struct Probes {
    checks: Vec<(&'static str, Check)>,
    metrics: ProcessMetrics,
    /// What beats, and how old its last beat may be while the process is alive.
    pulses: Vec<(Threads, Pulse, Duration)>,
}

/// Threads whose pulse is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Those that answer reviews.
    Reviews,
    /// Those that reconcile.
    Reconciler,
}

impl Threads {
    /// The name of the check.
    const fn check(self) -> &'static str {
        match self {
            Self::Reviews => "runtime",
            Self::Reconciler => "reconciler",
        }
    }

    const fn work(self) -> &'static str {
        match self {
            Self::Reviews => "answer reviews",
            Self::Reconciler => "reconcile",
        }
    }
}

impl Probes {
    /// Probes without a condition.
    #[must_use]
    pub const fn new(metrics: ProcessMetrics) -> Self {
        Self { checks: Vec::new(), metrics, pulses: Vec::new() }
    }

    /// Probes that fail when the pulse of these threads stops: readiness when its last beat is as old as `allowed`, liveness at
    /// twice that.
    #[must_use]
    pub fn with_pulse(self, of: Threads, pulse: Pulse, allowed: Duration) -> Self {
        let beats = pulse.clone();
        let beat = move || stopped(of, &beats, allowed).map_or_else(|| Ok(String::new()), Err);
        let mut probes = self.check(of.check(), beat);
        probes.pulses.push((of, pulse, 2 * allowed));
        probes
    }

    fn alive(&self) -> (StatusCode, String) {
        match self.pulses.iter().find_map(|(of, pulse, allowed)| stopped(*of, pulse, *allowed)) {
            None => (StatusCode::OK, "ok\n".to_owned()),
            Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        }
    }

    /// The metrics, for few readers at once.
    fn expose(&self, headers: &HeaderMap, readers: &Arc<Semaphore>) -> Response {
        let Ok(reader) = Arc::clone(readers).try_acquire_owned() else {
            let reason = format!("{METRICS} other clients are reading the metrics; try again\n");
            return (StatusCode::SERVICE_UNAVAILABLE, reason).into_response();
        };
        let format = Format::asked_for(headers);
        match self.metrics.encode(format) {
            Ok(text) => {
                let response = ([(header::CONTENT_TYPE, format.content_type())], text).into_response();
                response.map(|body| Holding::body(body, reader))
            }
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        }
    }

    /// Adds a condition of readiness.
    #[must_use]
    pub fn check(
        mut self,
        name: &'static str,
        check: impl Fn() -> Result<String, String> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push((name, Box::new(check)));
        self
    }

    /// Whether all conditions hold, and one line for each.
    #[must_use]
    pub fn ready(&self) -> (bool, String) {
        let mut ready = true;
        let mut text = String::new();
        for (name, check) in &self.checks {
            // Writing to a String cannot fail.
            let _ = match check() {
                Ok(note) if note.is_empty() => writeln!(text, "[+]{name} ok"),
                Ok(note) => writeln!(text, "[+]{name} ok: {note}"),
                Err(reason) => {
                    ready = false;
                    writeln!(text, "[-]{name} failed: {reason}")
                }
            };
        }
        text.push_str(if ready { "readyz check passed\n" } else { "readyz check failed\n" });
        (ready, text)
    }
}

/// Why a pulse is taken to have stopped, where it is that old.
fn stopped(of: Threads, pulse: &Pulse, allowed: Duration) -> Option<String> {
    let age = pulse.age();
    (age >= allowed).then(|| format!("the threads that {} have been busy or stuck for {} s", of.work(), age.as_secs()))
}

/// `/healthz`, `/readyz` and `/metrics`.
pub fn router(probes: Arc<Probes>) -> Router {
    let (alive, metrics) = (Arc::clone(&probes), Arc::clone(&probes));
    let readers = Arc::new(Semaphore::new(METRICS));
    Router::new()
        .route("/healthz", get(move || async move { alive.alive() }))
        .route(
            "/readyz",
            get(move || async move {
                let (ready, text) = probes.ready();
                (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
            }),
        )
        .route("/metrics", get(move |headers: HeaderMap| async move { metrics.expose(&headers, &readers) }))
}

/// Serves the probes until `shutdown` is cancelled.
pub async fn run(listener: TcpListener, probes: Arc<Probes>, shutdown: CancellationToken) {
    let limits = ServerLimits {
        connections: 64,
        peer_connections: 32,
        headers: Duration::from_secs(2),
        reuse: false,
        drain_delay: Duration::ZERO,
        ..ServerLimits::default()
    };
    listen::listen(listener, None, router(probes), limits, listen::ListenerMetrics::default(), shutdown).await;
}

/// Serves the probes from a separate thread, so that they answer whatever the other threads do. The returned value ends
/// with them.
///
/// # Errors
///
/// There is no thread or no runtime available.
pub fn spawn(
    listener: TcpListener,
    probes: Arc<Probes>,
    shutdown: CancellationToken,
) -> io::Result<oneshot::Receiver<()>> {
    let listener = listener.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _entered = runtime.enter();
        TcpListener::from_std(listener)?
    };
    let (ended, end) = oneshot::channel();
    thread::Builder::new().name("probes".to_owned()).spawn(move || {
        runtime.block_on(run(listener, probes, shutdown));
        drop(ended);
    })?;
    Ok(end)
}
