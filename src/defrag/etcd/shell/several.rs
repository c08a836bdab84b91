//! Words of which one is meant, and what is seen of them.

use super::lex::{Piece, Word};
use crate::defrag::etcd::marks::{ONE_OF, UNKNOWN};

/// What parts words.
pub(super) const BLANKS: [char; 3] = [' ', '\t', '\n'];
/// The most texts that a variable is followed as one of.
pub(super) const MOST_TEXTS: usize = 8;
/// The most words that are made of one with braces.
const MOST_ALTERNATIVES: usize = 16;

/// What is seen of a text that cannot be seen: where it may be several words, it is.
pub(super) fn unseen(has_blanks: bool) -> String {
    if has_blanks { format!("{UNKNOWN} {UNKNOWN}") } else { UNKNOWN.to_string() }
}

/// A word that becomes one of several texts.
pub(super) fn one_of(texts: &[String]) -> String {
    texts.iter().flat_map(|text| [ONE_OF.to_string(), text.clone()]).collect()
}

/// The words of an array with blanks between them, each of the texts that this can be; `None` where that would lose something.
pub(super) fn joined(items: &[String]) -> Option<Vec<String>> {
    let mut all = vec![String::new()];
    for item in items {
        if let Some(texts) = item.strip_prefix(ONE_OF) {
            let texts: Vec<&str> = texts.split(ONE_OF).collect();
            if all.len() * texts.len() > MOST_TEXTS {
                return None;
            }
            let behind = |text: &String| texts.iter().map(|next| format!("{text} {next}")).collect::<Vec<_>>();
            all = all.iter().flat_map(behind).collect();
        } else if item.is_empty() || item.contains(BLANKS) {
            return None;
        } else {
            for text in &mut all {
                text.push(' ');
                text.push_str(item);
            }
        }
    }
    Some(all)
}

/// The words that bash makes of one with braces, where that is plain.
pub(super) fn alternatives(word: &Word) -> Vec<String> {
    let read = || {
        let [Piece::Literal(text)] = word.pieces.as_slice() else { return None };
        let (before, rest) = text.split_once('{')?;
        let (inside, after) = rest.split_once('}')?;
        let is_plain = inside.contains(',') && ![inside, after].iter().any(|part| part.contains(['{', '}']));
        let parts: Vec<&str> = inside.split(',').take(MOST_ALTERNATIVES + 1).collect();
        (is_plain && parts.len() <= MOST_ALTERNATIVES)
            .then(|| parts.iter().map(|part| format!("{before}{part}{after}")).collect())
    };
    read().unwrap_or_else(|| vec![UNKNOWN.to_string()])
}
