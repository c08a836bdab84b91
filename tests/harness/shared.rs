//! What the tests of one program share.

use std::{
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

/// Something that is made by the first test that asks for it, and kept for all that come later.
///
/// A static is never dropped, so whatever it has running has to end with this program by itself, as control planes do.
#[derive(Debug)]
pub struct Shared<T>(Mutex<Option<Arc<T>>>);

impl<T> Shared<T> {
    /// Nothing so far.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// What there is, or else what `start` makes, while other tests wait for it.
    pub fn get_or(&self, start: impl FnOnce() -> T) -> Arc<T> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(place.get_or_insert_with(|| Arc::new(start())))
    }
}

/// Ends a process when this program has ended, however it did: its end closes a pipe.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    pub(crate) fn of(pid: u32) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", "read -r _; kill -KILL \"$0\"", &pid.to_string()]);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().unwrap_or_else(|error| panic!("sh: {error}")))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Before its pipe is closed: whoever drops it has ended the process, whose number may be another's by now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
