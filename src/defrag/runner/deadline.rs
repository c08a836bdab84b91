//! What still fits into the time of a run.

use std::time::Duration;

/// How long a dry run waits for a cluster that is not healthy: a moment, since somebody wants to know.
pub const PATIENCE_OF_A_CHECK: Duration = Duration::from_secs(5);

/// The time of a run. All times are counted from its start.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// When it is ended from outside; none if it is not.
    pub at: Option<Duration>,
    /// What a command may take.
    pub command: Duration,
    /// Nothing is changed in this run.
    pub dry_run: bool,
}

impl Deadline {
    /// Whether after a pause there is still time for a whole command, so that a member may be begun.
    #[must_use]
    pub fn fits(&self, now: Duration, pause: Duration) -> bool {
        self.at.is_none_or(|at| now.saturating_add(pause).saturating_add(self.command) <= at)
    }

    /// Whether there is time to wait again for a cluster that has not been healthy since `since`. Without a deadline
    /// that is as long as a command may take.
    #[must_use]
    pub fn may_wait(&self, since: Duration, now: Duration, pause: Duration) -> bool {
        let waited = now.saturating_sub(since);
        if self.dry_run {
            return waited < PATIENCE_OF_A_CHECK;
        }
        match self.at {
            Some(_) => self.fits(now, pause),
            None => waited < self.command,
        }
    }
}
