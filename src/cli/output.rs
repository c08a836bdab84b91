//! Writing to people and to programs.
//!
//! Colour appears only on a terminal and never with `NO_COLOR`. A reader that goes away, as `head` does, is no error.

use std::io::{self, Write as _};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use crate::defrag::finding::{Finding, Severity};

const DENY: Style = AnsiColor::Red.on_default().bold();
const WARN: Style = AnsiColor::Yellow.on_default().bold();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Text,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// Where messages are broken, in characters.
const WIDTH: usize = 100;

/// Writes data to standard output.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    gone_is_fine(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
        .context("cannot write to standard output")
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a value as JSON, else as YAML: for objects there is no text but that.
pub(super) fn data(format: Format, value: &impl Serialize) -> anyhow::Result<()> {
    print(&match format {
        Format::Json => json(value)?,
        Format::Text | Format::Yaml => yaml(value)?,
    })
}

/// Writes a line to standard error. That nobody listens there is no reason to stop.
pub(super) fn say(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Tells of something worth knowing.
pub(super) fn note(text: &str) {
    say(&format!("{BOLD}note:{BOLD:#} {}", plain(text)));
}

/// Reports why the command could not do its work.
pub(super) fn error(error: &anyhow::Error) {
    say(&format!("{DENY}error:{DENY:#} {}", plain(&format!("{error:#}"))));
}

/// Appends findings to a page: severity and code, the field, and the message wrapped below.
pub(super) fn findings(page: &mut String, findings: &[Finding]) {
    for finding in findings {
        page.push_str("\n  ");
        page.push_str(&headed(finding));
    }
}

fn headed(finding: &Finding) -> String {
    let style = match finding.severity {
        Severity::Deny => DENY,
        Severity::Warn => WARN,
    };
    format!(
        "{style}{} {}{style:#}\n    {DIM}{}{DIM:#}\n{}",
        finding.severity,
        finding.code,
        plain(&finding.field.to_string()),
        wrap(&plain(&finding.message), 4)
    )
}

/// A line about a place.
pub(super) fn placed(place: &str, text: &str) -> String {
    format!("{BOLD}{}{BOLD:#}: {}\n", plain(place), plain(text))
}

/// A finding for people: where and what on the first line, then the field and the message.
pub(super) fn finding(place: &str, finding: &Finding) -> String {
    format!("{BOLD}{}{BOLD:#}: {}", plain(place), headed(finding))
}

/// `text` with line breaks kept and other control characters, which a terminal might obey, made visible.
fn plain(text: &str) -> String {
    let visible = |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(visible).collect()
}

/// `text` in lines of at most [`WIDTH`] characters, each indented; a word that is longer has a line of its own.
fn wrap(text: &str, indent: usize) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        let mut column = 0;
        for word in line.split_whitespace() {
            let length = word.chars().count();
            if column > 0 && column + 1 + length > WIDTH {
                wrapped.push('\n');
                column = 0;
            }
            if column == 0 {
                wrapped.extend(std::iter::repeat_n(' ', indent));
                column = indent;
            } else {
                wrapped.push(' ');
                column += 1;
            }
            wrapped.push_str(word);
            column += length;
        }
        wrapped.push('\n');
    }
    wrapped
}

/// Objects of Kubernetes: a stream of documents in YAML, a List in JSON.
pub(super) fn objects(format: Format, objects: &[Value]) -> anyhow::Result<String> {
    match format {
        Format::Json => json(&json!({"apiVersion": "v1", "kind": "List", "items": objects})),
        Format::Text | Format::Yaml => {
            let documents: Vec<String> = objects.iter().map(yaml).collect::<anyhow::Result<_>>()?;
            Ok(documents.join("---\n"))
        }
    }
}

/// `value` as a YAML document, long strings on one line so that they can be searched for.
pub(super) fn yaml(value: &impl Serialize) -> anyhow::Result<String> {
    let options = serde_saphyr::ser_options! { min_fold_chars: usize::MAX, folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).context("cannot write YAML")
}

/// `value` as indented JSON with a line break at the end.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value).context("cannot write JSON")? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        assert!(gone_is_fine(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(gone_is_fine(Err(io::ErrorKind::StorageFull.into())).is_err());
    }

    #[test]
    fn words_are_wrapped_and_long_ones_kept_whole() {
        let text = wrap(&format!("one {} two", "x".repeat(WIDTH)), 4);
        assert_eq!(text, format!("    one\n    {}\n    two\n", "x".repeat(WIDTH)));
        assert!(wrap(&"word ".repeat(100), 4).lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn what_a_terminal_would_obey_is_made_visible() {
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a\\u{1b}[31mb\nc");
    }

    #[test]
    fn yaml_quotes_what_the_api_server_would_read_as_something_else() {
        for text in [
            "true",
            "yes",
            "on",
            "null",
            "~",
            "1e3",
            "0x10",
            "012",
            "1_000",
            "*/5 * * * *",
            "12:30:45",
            "",
            " a",
            "# b",
        ] {
            let written = yaml(&[text]).unwrap();
            assert!(written.contains(&format!("\"{text}\"")) || written.contains(&format!("'{text}'")), "{written}");
        }
    }
}
