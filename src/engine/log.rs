//! The log of a run: lines on standard output, with the time.

use std::io::{self, Write as _};

use jiff::Timestamp;

use crate::defrag::text::printable;

/// Writes a line. Nobody may be there to read it, which is no reason to stop.
pub(super) fn say(text: &str) {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let _ = writeln!(io::stdout().lock(), "{now} {}", printable(text));
}
