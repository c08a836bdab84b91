//! Text of others in messages of ours.

/// `text` in at most `limit` characters, an ellipsis in place of what was cut, line breaks as spaces.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if one_line.chars().count() <= limit {
        return one_line;
    }
    let mut cut: String = one_line.chars().take(limit.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A value that a person wrote, quoted for a message: control characters escaped and long text cut.
#[must_use]
pub fn quoted(value: &str) -> String {
    format!("\"{}\"", shorten(&printable(value), 80))
}

/// `text` with control characters escaped.
pub(super) fn printable(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().collect() } else { vec![c] };
    text.chars().flat_map(escaped).collect()
}
