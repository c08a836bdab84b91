//! Why a value is not of the type that it has to be, in words of manifests and not of the decoder.

/// The decoder's message, in those words; one that is not known stays as it is.
pub(super) fn of(message: &str) -> String {
    // Where it stands is said in front.
    let message = message.split(" at line ").next().unwrap_or(message);
    mistyped(message)
        .or_else(|| out_of_range(message))
        .or_else(|| unknown_variant(message))
        .or_else(|| Some(format!("{} is missing", unquoted(message.strip_prefix("missing field ")?))))
        .unwrap_or_else(|| message.to_owned())
}

fn mistyped(message: &str) -> Option<String> {
    let (found, wanted) = message.strip_prefix("invalid type: ")?.rsplit_once(", expected ")?;
    let wanted = Wanted::of(wanted);
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
        Some(("integer" | "boolean", value)) => value_found(unquoted(value), wanted),
        Some(("floating", value)) => value_found(unquoted(value.trim_start_matches("point ")), wanted),
        _ => (kind(found).to_owned(), None),
    };
    let hint = hint.map_or_else(String::new, |hint| format!(": {hint}"));
    Some(format!("has to be {}, and is {found}{hint}", wanted.in_words()))
}

/// A value that is no text, and how it becomes one where that is wanted.
fn value_found(value: &str, wanted: Wanted) -> (String, Option<String>) {
    (value.to_owned(), (wanted == Wanted::Text).then(|| format!("write \"{value}\"")))
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
    Some(format!("\"{}\" is none of {known}", unquoted(found)))
}

fn unquoted(text: &str) -> &str {
    text.trim_matches('`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_the_decoder_is_left() {
        for (message, words) in [
            ("invalid type: string \"high\", expected i32", "has to be a whole number, and is the text \"high\""),
            (
                "invalid type: string \"2379\", expected i32",
                "has to be a whole number, and is the text \"2379\": write 2379 without quotation marks",
            ),
            (
                "invalid type: string \"true\", expected a boolean",
                "has to be true or false, and is the text \"true\": write true without quotation marks",
            ),
            ("invalid type: integer `5`, expected a string", "has to be a text, and is 5: write \"5\""),
            ("invalid type: boolean `true`, expected a string", "has to be a text, and is true: write \"true\""),
            ("invalid type: floating point `1.5`, expected i32", "has to be a whole number, and is 1.5"),
            ("invalid type: map, expected a sequence", "has to be a list, and is a mapping"),
            ("invalid type: sequence, expected struct Window", "has to be a mapping, and is a list"),
            ("invalid type: null, expected a string at line 3 column 4", "has to be a text, and is null"),
            (
                "invalid value: integer `99999999999`, expected i32",
                "99999999999 is out of the range of whole numbers here",
            ),
            (
                "unknown variant `Refuse`, expected one of `Deny`, `Warn`, `Audit`",
                "\"Refuse\" is none of Deny, Warn, Audit",
            ),
            ("unknown variant `Some`, expected `Labeled` or `All`", "\"Some\" is none of Labeled, All"),
            ("missing field `url`", "url is missing"),
            ("something else", "something else"),
        ] {
            assert_eq!(of(message), words, "{message}");
        }
    }
}
