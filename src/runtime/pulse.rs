//! Whether the threads that do the work still turn, as seen from another one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep;

/// How often it beats.
const PERIOD: Duration = Duration::from_secs(1);

/// When a runtime last got round to a task that does nothing else; clones share it.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    /// The pulse of the runtime that this is called in; it beats as long as somebody holds it.
    #[must_use]
    pub fn start() -> Self {
        let pulse = Self(Arc::new(Mutex::new(Instant::now())));
        let beats = Arc::downgrade(&pulse.0);
        tokio::spawn(async move {
            while let Some(last) = beats.upgrade() {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                drop(last);
                sleep(PERIOD).await;
            }
        });
        pulse
    }

    /// How long ago the last beat was.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}
