//! What all watches of the API server have in common.

use std::time::Duration;

use kube::runtime::watcher;

use super::{api_error, backoff::Pauses};

/// How long one watch request lasts, in seconds. A connection that died without a word is noticed after that.
pub(crate) const WATCH_SECONDS: u32 = 120;

/// The pauses of a watch after errors in a row: short, because repairs are promised within a second, and there are a few
/// watches only.
pub(crate) const fn pauses() -> Pauses {
    Pauses::new(Duration::from_millis(200), Duration::from_secs(2))
}

/// Why a watch failed, in one line.
pub(crate) fn why(failure: &watcher::Error) -> String {
    match failure {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => api_error::describe(error),
        other => other.to_string(),
    }
}
