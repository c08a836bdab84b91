//! Text of others in messages of ours.

/// The most characters of a value that a message quotes.
const QUOTED: usize = 80;

/// `text` in at most `limit` characters, an ellipsis in place of what was cut, line breaks as spaces.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> String {
    let one_line = |c: char| if c.is_control() { ' ' } else { c };
    match text.chars().nth(limit) {
        None => text.chars().map(one_line).collect(),
        Some(_) => text.chars().take(limit.saturating_sub(1)).map(one_line).chain(['…']).collect(),
    }
}

/// A value that a person wrote, quoted for a message: control characters escaped and long text cut. What is cut off is
/// never looked at, however long it is.
#[must_use]
pub fn quoted(value: &str) -> String {
    let end = value.char_indices().nth(QUOTED + 1).map_or(value.len(), |(at, _)| at);
    format!("\"{}\"", shorten(&printable(value.get(..end).unwrap_or_default()), QUOTED))
}

/// `text` with control characters escaped.
pub(super) fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { vec![c] };
    text.chars().flat_map(escaped).collect()
}
