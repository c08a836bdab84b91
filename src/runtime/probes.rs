//! Liveness, readiness and metrics, over plain HTTP on a port of their own.

use std::{fmt::Write, sync::Arc};

use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{exposition::Format, limits::ServerLimits, listen, telemetry::ProcessMetrics};

/// One condition of readiness: a note for people (or nothing), or the reason why not.
pub type Check = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// What the probes report.
pub struct Probes {
    checks: Vec<(&'static str, Check)>,
    metrics: ProcessMetrics,
}

impl Probes {
    /// Probes without a condition.
    #[must_use]
    pub const fn new(metrics: ProcessMetrics) -> Self {
        Self { checks: Vec::new(), metrics }
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

/// `/healthz`, `/readyz` and `/metrics`.
pub fn router(probes: Arc<Probes>) -> Router {
    let metrics = Arc::clone(&probes);
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || async move {
                let (ready, text) = probes.ready();
                (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
            }),
        )
        .route(
            "/metrics",
            get(move |headers: HeaderMap| async move {
                let format = Format::asked_for(&headers);
                match metrics.metrics.encode(format) {
                    Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
                    Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
                }
            }),
        )
}

/// Serves the probes until `shutdown` is cancelled.
pub async fn run(listener: TcpListener, probes: Arc<Probes>, shutdown: CancellationToken) {
    let limits = ServerLimits { connections: 64, drain_delay: std::time::Duration::ZERO, ..ServerLimits::default() };
    listen::listen(listener, None, router(probes), limits, listen::ListenerMetrics::default(), shutdown).await;
}
