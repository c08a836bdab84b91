//! The marks that an expanded value may hold: private-use characters that no manifest can smuggle in.

/// Stands for the pod's own name.
pub(super) const POD: char = '\u{E000}';
/// Stands for a value that cannot be seen, and that may be anything, a flag too.
pub(super) const UNKNOWN: char = '\u{E001}';
/// Stands for the address of the pod or of its node.
pub(super) const ADDRESS: char = '\u{E002}';
/// Stands for a value that cannot be seen and that is no flag: a number, the name of a node.
pub(super) const VALUE: char = '\u{E003}';

/// Begins a word of a script that becomes one of several texts, all visible, and separates them. It is only in words of
/// a command line, never in a value.
pub(super) const ONE_OF: char = '\u{E004}';

const ALL: [char; 5] = [POD, UNKNOWN, ADDRESS, VALUE, ONE_OF];

/// `text` without our marks.
pub(super) fn clean(text: &str) -> String {
    text.replace(ALL, "\u{FFFD}")
}

/// Whether `value` can be read in full from here.
pub(super) fn is_known(value: &str) -> bool {
    !value.contains(ALL)
}

/// `value` for a person, the marks in words.
pub(super) fn readable(value: &str) -> String {
    value
        .replace(POD, "<pod>")
        .replace(UNKNOWN, "<unknown>")
        .replace(ADDRESS, "<the pod's address>")
        .replace([VALUE, ONE_OF], "<unknown>")
}
