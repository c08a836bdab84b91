//! How commands end.

use crate::defrag::finding::Finding;

/// How a command ended, where nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Nothing to object to.
    Clean,
    /// Findings that refuse.
    Refused,
    /// A status of the command's own.
    Status(u8),
}

impl Exit {
    /// Refused if any finding denies.
    #[must_use]
    pub(super) fn of(findings: &[Finding]) -> Self {
        if findings.iter().any(Finding::denies) { Self::Refused } else { Self::Clean }
    }
}
