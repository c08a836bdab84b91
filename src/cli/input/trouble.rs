//! What of the input cannot be read, and where that is.

use std::fmt;

/// An input, or an object of it, that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Trouble {
    /// The file, as it was named.
    pub(in crate::cli) file: Option<String>,
    /// The line in it.
    pub(in crate::cli) line: Option<u64>,
    /// The whole message, with the place in front where that is known.
    pub(in crate::cli) message: String,
}

impl Trouble {
    /// One at a line of a file.
    pub(super) fn at(file: &str, line: u64, message: impl fmt::Display) -> anyhow::Error {
        let message = format!("{file}:{line}: {message}");
        Self { file: Some(file.to_owned()), line: Some(line), message }.into()
    }

    /// One of a whole file; `message` names it.
    pub(super) fn of_file(file: &str, message: String) -> anyhow::Error {
        Self { file: Some(file.to_owned()), line: None, message }.into()
    }

    /// What an error says, with its place where it has one.
    pub(in crate::cli) fn of(error: &anyhow::Error) -> Self {
        let placed = error.downcast_ref::<Self>().cloned();
        placed.unwrap_or_else(|| Self { file: None, line: None, message: format!("{error:#}") })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {}
