//! External text in our messages: everything from an object, another program or a file name is converted here before it
//! is printed, logged, or written to an Event or a condition.

/// Whether a reader sees `c` unchanged. These are not printable: line breaks, tabs and other control characters, which
/// control a terminal (the C1 ones too: U+009B begins an escape sequence as ESC does); characters that reverse the
/// order of their neighbours; and characters without any width.
#[must_use]
pub const fn is_printable(c: char) -> bool {
    !matches!(
        c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
            // Soft hyphen, joiners of graphemes, fillers of Hangul, vowels and separators that are not drawn.
            | '\u{ad}' | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{3164}' | '\u{ffa0}'
            // The Arabic letter mark, spaces and joiners of no width, marks, embeddings and isolates of direction, line and
            // paragraph separators, operators that are not drawn.
            | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            // The byte order mark, annotations between lines, tags.
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// `text` in one line of printable characters: each of the others is replaced by an escape, such as `\n` or `\u{1b}`.
#[must_use]
pub fn printable(text: &str) -> String {
    shorten(text, usize::MAX)
}

/// A number with its noun, in the plural where it is not one: "1 etcd", "2 etcds".
#[must_use]
pub fn counted(number: usize, noun: &str) -> String {
    let plural = match noun.strip_suffix('y') {
        _ if number == 1 => return format!("1 {noun}"),
        Some(stem) => format!("{stem}ies"),
        None => format!("{noun}s"),
    };
    format!("{number} {plural}")
}

/// `text` as [`printable`] makes it, in at most `limit` characters, with an ellipsis in place of what was cut.
#[must_use]
pub fn shorten(text: &str, limit: usize) -> String {
    // Nearly every text is short and printable as it is, and none has more characters than bytes.
    if text.len() <= limit && text.chars().all(is_printable) {
        return text.to_owned();
    }
    let mut rest = text.chars().flat_map(escaped);
    let mut short: String = rest.by_ref().take(limit).collect();
    if rest.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

/// A value that a person wrote, quoted for a message and cut where it is long.
#[must_use]
pub fn quoted(value: &str) -> String {
    format!("\"{}\"", shorten(value, 80))
}

/// A printable character, or the escape of another one.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let (itself, escape) = if is_printable(c) { (Some(c), None) } else { (None, Some(c.escape_default())) };
    itself.into_iter().chain(escape.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What people see of each character that they would otherwise not see.
    const TABLE: [(&str, &str); 38] = [
        ("\n", "\\n"),
        ("\r", "\\r"),
        ("\t", "\\t"),
        ("\0", "\\u{0}"),
        ("\x07", "\\u{7}"),
        ("\x08", "\\u{8}"),
        ("\x0b", "\\u{b}"),
        ("\x0c", "\\u{c}"),
        ("\x1b[2J", "\\u{1b}[2J"),
        ("\x7f", "\\u{7f}"),
        // NEL, CSI and OSC in one character each.
        ("\u{85}", "\\u{85}"),
        ("\u{9b}2J", "\\u{9b}2J"),
        ("\u{9d}", "\\u{9d}"),
        ("\u{ad}", "\\u{ad}"),
        ("\u{61c}", "\\u{61c}"),
        ("\u{200b}", "\\u{200b}"),
        ("\u{200c}", "\\u{200c}"),
        ("\u{200d}", "\\u{200d}"),
        ("\u{200e}", "\\u{200e}"),
        ("\u{200f}", "\\u{200f}"),
        ("\u{2028}", "\\u{2028}"),
        ("\u{2029}", "\\u{2029}"),
        ("\u{202a}", "\\u{202a}"),
        ("\u{202b}", "\\u{202b}"),
        ("\u{202c}", "\\u{202c}"),
        ("\u{202d}", "\\u{202d}"),
        ("\u{202e}", "\\u{202e}"),
        ("\u{2060}", "\\u{2060}"),
        ("\u{2066}", "\\u{2066}"),
        ("\u{2067}", "\\u{2067}"),
        ("\u{2068}", "\\u{2068}"),
        ("\u{2069}", "\\u{2069}"),
        ("\u{feff}", "\\u{feff}"),
        ("\u{e0041}", "\\u{e0041}"),
        // These are read as they are.
        ("a \"b\" 'c' \\n", "a \"b\" 'c' \\n"),
        ("Grüße, 防御, שלום", "Grüße, 防御, שלום"),
        ("e\u{301} ✓ …", "e\u{301} ✓ …"),
        ("", ""),
    ];

    #[test]
    fn each_character_that_is_not_seen_stands_as_an_escape() {
        for (text, seen) in TABLE {
            assert_eq!(printable(text), seen);
        }
        assert!((0..=0x9f_u8).map(char::from).all(|c| is_printable(c) != c.is_control()));
    }

    #[test]
    fn long_text_is_cut_after_it_was_escaped() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "ab…");
        assert_eq!(shorten("\n\n", 4), "\\n\\n");
        assert_eq!(shorten("\n\n\n", 4), "\\n\\…");
        assert_eq!(shorten("", 0), "");
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), 82);
    }

    /// Text in which the characters that matter are not rare.
    fn text() -> impl Strategy<Value = String> {
        let seen = TABLE.map(|(text, _)| text.to_owned());
        let part = prop_oneof![
            proptest::sample::select(seen.to_vec()),
            any::<char>().prop_map(String::from),
            "[ -~]{0,8}".prop_map(String::from),
        ];
        proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn whatever_goes_in_one_line_of_printable_characters_comes_out(text in text(), limit in 1_usize..60) {
            let line = printable(&text);
            prop_assert!(line.chars().all(is_printable) && line.lines().count() <= 1, "{line:?}");
            prop_assert_eq!(&printable(&line), &line);
            let short = shorten(&text, limit);
            prop_assert!(short.chars().all(is_printable) && short.chars().count() <= limit, "{short:?}");
            prop_assert_eq!(short.ends_with('…') || short == line, true);
            prop_assert!(quoted(&text).chars().all(is_printable));
        }
    }
}
