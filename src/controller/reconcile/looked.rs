//! What a step of a look came to.

use std::time::Duration;

use crate::controller::queue::Next;

/// When to look again at something that is about to go away.
pub(super) const GOING_AGAIN: Duration = Duration::from_secs(2);

/// A look that went well.
pub(super) struct Looked {
    pub(super) changed: bool,
    pub(super) next: Next,
}

impl Looked {
    pub(super) const UNCHANGED: Self = Self { changed: false, next: Next::Wait };
    pub(super) const CHANGED: Self = Self { changed: true, next: Next::Wait };

    pub(super) const fn again(self, pause: Duration) -> Self {
        Self { next: Next::After(pause), ..self }
    }

    /// Another look after this time, if none comes sooner.
    pub(super) fn again_at_the_latest(self, pause: Duration) -> Self {
        match self.next {
            Next::After(sooner) if sooner <= pause => self,
            Next::Retry(_) => self,
            Next::After(_) | Next::Wait => self.again(pause),
        }
    }
}
