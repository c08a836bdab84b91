//! The marks that an expanded value may hold: private-use characters that no manifest can smuggle in.

/// Stands for the pod's own name.
pub(super) const POD: char = '\u{E000}';
/// Stands for a value that cannot be seen.
pub(super) const UNKNOWN: char = '\u{E001}';

/// `text` without our marks.
pub(super) fn clean(text: &str) -> String {
    text.replace([POD, UNKNOWN], "\u{FFFD}")
}

/// Whether `value` can be read in full from here.
pub(super) fn is_known(value: &str) -> bool {
    !value.contains([POD, UNKNOWN])
}

/// `value` for a person, the marks in words.
pub(super) fn readable(value: &str) -> String {
    value.replace(POD, "<pod>").replace(UNKNOWN, "<unknown>")
}
