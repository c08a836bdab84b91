//! Printing: data on standard output, diagnostics on standard error, no panic when a pipe closes.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use anstream::eprintln;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::Format;
use crate::defrag::finding::{Finding, Severity};

/// The width that messages are wrapped to, in characters.
const WIDTH: usize = 100;

/// Prints text on standard output; colours go only to a terminal, and not where `NO_COLOR` is set.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Prints a value as JSON or YAML.
pub fn data(format: Format, value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = match format {
        Format::Json | Format::Text => serde_json::to_string_pretty(value)?,
        Format::Yaml => serde_saphyr::to_string(value)?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(print(&text)?)
}

/// Prints a line on standard error.
pub fn diagnostic(line: &str) {
    eprintln!("{line}");
}

/// Appends findings as people read them: severity and code, the field, and the message wrapped below.
pub fn findings(page: &mut String, findings: &[Finding]) {
    for finding in findings {
        let style = severity_style(finding.severity);
        let _ = writeln!(page, "\n  {style}{}{style:#} {} {}", finding.severity, finding.code, finding.field);
        page.push_str(&wrap(&finding.message, "    "));
    }
}

/// The colour of a severity.
#[must_use]
pub fn severity_style(severity: Severity) -> Style {
    let colour = match severity {
        Severity::Deny => AnsiColor::Red,
        Severity::Warn => AnsiColor::Yellow,
    };
    Style::new().bold().fg_color(Some(colour.into()))
}

/// Wraps text at blanks, each line indented and ended.
#[must_use]
pub fn wrap(text: &str, indent: &str) -> String {
    let mut page = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(page, "{indent}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(page, "{indent}{line}");
    page
}

/// Whether an error is only that nobody reads any more.
#[must_use]
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
