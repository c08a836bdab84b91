//! Why a value has the wrong type, in terms of manifests and not of the decoder.

/// The decoder's message, in those words; one that is not known stays as it is. `written` is how a number is written, where that
/// is not how the decoder shows it, and `text` is one to write in place of a value that is none.
pub(super) fn of(message: &str, written: Option<&str>, text: Option<&str>) -> String {
    // Where it stands is said in front.
    let message = message.split(" at line ").next().unwrap_or(message);
    mistyped(message, written, text)
        .or_else(|| out_of_range(message))
        .or_else(|| unknown_variant(message))
        .or_else(|| Some(format!("{} is missing", unquoted(message.strip_prefix("missing field ")?))))
        .unwrap_or_else(|| message.to_owned())
}

fn mistyped(message: &str, written: Option<&str>, text: Option<&str>) -> Option<String> {
    let (found, wanted) = message.strip_prefix("invalid type: ")?.rsplit_once(", expected ")?;
    let wanted = Wanted::of(wanted);
    let instead = || match (wanted, found) {
        (Wanted::Text, "unit value" | "null") => Some("write a text in quotation marks, or remove it".to_owned()),
        (Wanted::Text, _) => Some(match text {
            Some(text) => format!("write \"{text}\""),
            None if found == "sequence" => "write one text in quotation marks".to_owned(),
            None => "write a text in quotation marks".to_owned(),
        }),
        (Wanted::List, "unit value" | "null") => Some("write [], or what belongs in it".to_owned()),
        (Wanted::Mapping, "unit value" | "null") => Some("write {}, or the fields that belong below it".to_owned()),
        _ => None,
    };
    let (found, hint) = match found.split_once(' ') {
        Some(("string", text)) => {
            let bare = text.trim_matches('"');
            let fits = match wanted {
                Wanted::Number => bare.parse::<i64>().is_ok(),
                Wanted::Boolean => matches!(bare, "true" | "false"),
                Wanted::Text | Wanted::List | Wanted::Mapping => false,
            };
            (format!("the text {text}"), fits.then(|| format!("write {bare} without quotation marks")))
        }
        Some(("boolean", value)) => (unquoted(value).to_owned(), instead()),
        Some(("integer" | "floating", value)) => {
            let shown = unquoted(value.trim_start_matches("point "));
            (written.unwrap_or(shown).to_owned(), instead())
        }
        _ => (kind(found).to_owned(), instead()),
    };
    let hint = hint.map_or_else(String::new, |hint| format!(": {hint}"));
    Some(format!("must be {}, but is {found}{hint}", wanted.in_words()))
}

fn kind(found: &str) -> &str {
    match found {
        "map" => "a mapping",
        "sequence" => "a list",
        "unit value" => "null",
        other => other,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Number,
    Text,
    Boolean,
    List,
    Mapping,
}

impl Wanted {
    fn of(expected: &str) -> Self {
        match expected {
            "a string" => Self::Text,
            "a boolean" => Self::Boolean,
            "a sequence" => Self::List,
            "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => Self::Number,
            _ => Self::Mapping,
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Number => "a whole number",
            Self::Text => "a text",
            Self::Boolean => "true or false",
            Self::List => "a list",
            Self::Mapping => "a mapping",
        }
    }
}

fn out_of_range(message: &str) -> Option<String> {
    let (found, _) = message.strip_prefix("invalid value: ")?.rsplit_once(", expected ")?;
    let value = unquoted(found.strip_prefix("integer ")?);
    Some(format!("{value} is out of the range of whole numbers here"))
}

fn unknown_variant(message: &str) -> Option<String> {
    let (found, known) = message.strip_prefix("unknown variant ")?.split_once(", expected ")?;
    let known = known.trim_start_matches("one of ").replace(" or ", ", ").replace('`', "");
    Some(format!("\"{}\" is not one of {known}", unquoted(found)))
}

fn unquoted(text: &str) -> &str {
    text.trim_matches('`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_the_decoder_is_left() {
        for (message, text, words) in [
            ("invalid type: string \"high\", expected i32", None, "must be a whole number, but is the text \"high\""),
            (
                "invalid type: string \"2379\", expected i32",
                None,
                "must be a whole number, but is the text \"2379\": write 2379 without quotation marks",
            ),
            (
                "invalid type: string \"true\", expected a boolean",
                None,
                "must be true or false, but is the text \"true\": write true without quotation marks",
            ),
            ("invalid type: integer `5`, expected a string", Some("5"), "must be a text, but is 5: write \"5\""),
            (
                "invalid type: integer `5`, expected a string",
                None,
                "must be a text, but is 5: write a text in quotation marks",
            ),
            (
                "invalid type: boolean `true`, expected a string",
                Some("true"),
                "must be a text, but is true: write \"true\"",
            ),
            ("invalid type: floating point `1.5`, expected i32", None, "must be a whole number, but is 1.5"),
            ("invalid type: map, expected a sequence", None, "must be a list, but is a mapping"),
            ("invalid type: sequence, expected struct Window", None, "must be a mapping, but is a list"),
            (
                "invalid type: null, expected struct Spec",
                None,
                "must be a mapping, but is null: write {}, or the fields that belong below it",
            ),
            (
                "invalid type: unit value, expected a sequence",
                None,
                "must be a list, but is null: write [], or what belongs in it",
            ),
            (
                "invalid type: null, expected a string at line 3 column 4",
                None,
                "must be a text, but is null: write a text in quotation marks, or remove it",
            ),
            (
                "invalid type: sequence, expected a string",
                Some("0 3 * * *"),
                "must be a text, but is a list: write \"0 3 * * *\"",
            ),
            (
                "invalid value: integer `99999999999`, expected i32",
                None,
                "99999999999 is out of the range of whole numbers here",
            ),
            (
                "unknown variant `Refuse`, expected one of `Deny`, `Warn`, `Audit`",
                None,
                "\"Refuse\" is not one of Deny, Warn, Audit",
            ),
            ("unknown variant `Some`, expected `Labeled` or `All`", None, "\"Some\" is not one of Labeled, All"),
            ("missing field `url`", None, "url is missing"),
            ("something else", None, "something else"),
        ] {
            assert_eq!(of(message, None, text), words, "{message}");
        }
    }

    #[test]
    fn a_number_is_shown_as_it_is_written() {
        for (message, written, words) in [
            ("invalid type: floating point `8.0`, expected a string", "08", "must be a text, but is 08: write \"08\""),
            ("invalid type: floating point `1.0`, expected i32", "1e0", "must be a whole number, but is 1e0"),
        ] {
            assert_eq!(of(message, Some(written), Some(written)), words, "{message}");
        }
    }
}
