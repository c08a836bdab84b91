//! The end of the process: the first signal drains, the second one aborts.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether the process has to end; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// A shutdown that SIGTERM or SIGINT starts. A second signal ends the process at once, with status 1.
    ///
    /// # Errors
    /// The operating system's, where it refuses the handlers.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let started = shutdown.clone();
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            let signal = next().await;
            tracing::info!(signal, "draining; a second signal ends the process at once");
            started.start();
            let signal = next().await;
            tracing::warn!(signal, "ending without a drain");
            std::process::exit(1);
        });
        Ok(shutdown)
    }

    /// Asks for the end.
    pub fn start(&self) {
        self.token.cancel();
    }

    /// Whether the shutdown has started.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the shutdown starts.
    pub async fn started(&self) {
        self.token.cancelled().await;
    }

    /// The same as a token.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}
