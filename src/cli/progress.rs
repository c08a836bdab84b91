//! Progress of long work, on a terminal only and only where it takes a while.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::defrag::text::printable;

/// Work that takes less shows nothing.
const PATIENCE: Duration = Duration::from_millis(700);
/// How often the time is drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// The line that is shown.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Work under way; its line is cleared when this is dropped.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Ends the wait for the line by being dropped.
    _ended: mpsc::Sender<()>,
}

impl Progress {
    /// Work of so many steps.
    pub(super) fn of(steps: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{pos}/{len} {wide_msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let (ended, wait) = mpsc::channel();
        let line = bar.clone();
        thread::spawn(move || {
            // That nothing is sent in time is the one way to go on.
            if wait.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) && !line.is_finished() {
                // Nothing is drawn where standard error is no terminal.
                line.set_draw_target(ProgressDrawTarget::stderr());
                line.enable_steady_tick(TICK);
            }
        });
        *shown() = Some(bar.clone());
        Self { bar, _ended: ended }
    }

    /// The next step.
    pub(super) fn step(&self, what: &str) {
        self.bar.inc(1);
        self.bar.set_message(printable(what));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        shown().take();
        self.bar.finish_and_clear();
    }
}

/// Writes something else to standard error, with the line out of its way.
pub(super) fn beside(write: impl FnOnce()) {
    let bar = shown().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn shown() -> std::sync::MutexGuard<'static, Option<ProgressBar>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
