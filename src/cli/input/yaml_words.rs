//! Why an input is not valid YAML, in terms of its author and not of the parser.

use serde_saphyr::{Error, budget::BudgetBreach};

/// What YAML gives a meaning of its own where a value begins with it.
const INDICATORS: [char; 6] = ['*', '&', '!', '%', '@', '`'];

/// The message for an error at this line of the text.
pub(super) fn of(error: &Error, line: &str) -> String {
    match error {
        Error::AliasError { error, .. } => of(error, line),
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_ref().map_or_else(|| "a key".to_owned(), |key| format!("the key \"{key}\""));
            format!("{key} appears twice in one mapping, and only one of the two can be used; remove the other")
        }
        Error::NonFiniteFloat { value, .. } => {
            format!(
                "{value} is a number that JSON cannot hold; if it is a text, put it in quotation marks: \"{value}\""
            )
        }
        Error::AliasReplayLimitExceeded { .. }
        | Error::Budget { breach: BudgetBreach::Aliases { .. } | BudgetBreach::Anchors { .. }, .. } => {
            "its aliases repeat more values than are read from one input; write the values instead of *aliases"
                .to_owned()
        }
        Error::Budget {
            breach: BudgetBreach::Documents { .. } | BudgetBreach::Events { .. } | BudgetBreach::Nodes { .. },
            ..
        } => "more values than are read from one input; divide it into several files".to_owned(),
        error => {
            let message = error.to_string();
            // What is too much is no matter of quotation marks.
            match unquoted(line).filter(|_| !message.contains("limit")) {
                Some(advice) => format!("{advice} ({message})"),
                None => message,
            }
        }
    }
}

/// What to write where the value of a line has to be in quotation marks and is not.
fn unquoted(line: &str) -> Option<String> {
    let (key, value) = line.split_once(": ")?;
    let value = value.split(" #").next()?.trim();
    let first = value.chars().next().filter(|first| !matches!(first, '"' | '\'' | '{' | '[' | '|' | '>' | '#'))?;
    let why = if INDICATORS.contains(&first) {
        format!("a value that begins with {first} has to be in quotation marks")
    } else if value.contains(": ") {
        "a value that contains a colon and a space has to be in quotation marks".to_owned()
    } else {
        return None;
    };
    let mark = if value.contains('"') { '\'' } else { '"' };
    (!value.contains(mark)).then(|| format!("{why}; write {}: {mark}{value}{mark}", key.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_has_to_be_quoted_is() {
        for (line, advice) in [
            (
                "    etcd-defrag.io/schedule: * * * * *",
                "a value that begins with * has to be in quotation marks; write etcd-defrag.io/schedule: \"* * * * *\"",
            ),
            (
                "  schedule: @daily   # nightly",
                "a value that begins with @ has to be in quotation marks; write schedule: \"@daily\"",
            ),
            (
                "rule: a ? \"b\" : c",
                "a value that contains a colon and a space has to be in quotation marks; write rule: 'a ? \"b\" : c'",
            ),
        ] {
            assert_eq!(unquoted(line).as_deref(), Some(advice));
        }
        for fine in ["", "a: b", "a:", "- *x", "a: '* * *'", "a: {b: c}", "a: [", "  x: 1", "a: \"b: c", "a: *'\""] {
            assert_eq!(unquoted(fine), None, "{fine}");
        }
    }
}
