//! Output for people and for programs.
//!
//! People get a [`Page`] or a line on standard error, programs get [`Data`], and nothing else is printed. Text is added
//! to a page by the line and is made printable there: no name, annotation or error from outside can add a line or
//! control a terminal. Data is printed unchanged and complete.
//!
//! Colour is used only on a terminal and never with `NO_COLOR`. A reader that closes the pipe, such as `head`, is not
//! an error.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::{Mutex, PoisonError},
};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::progress;
use crate::defrag::{
    finding::{Finding, Severity},
    text::printable,
};

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

/// What is shorter is printed at once, and so behind what is said meanwhile on standard error.
const MUCH: usize = 1 << 20;

/// Text for people, line by line.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Adds a line. What a terminal might obey, line breaks included, is made visible.
    pub(super) fn line(&mut self, text: &str) {
        self.0.push_str(&printable(text));
        self.0.push('\n');
    }

    /// Adds the lines of a text of our own, such as a drawing. Nothing of others belongs in one: its line breaks would count.
    pub(super) fn lines(&mut self, text: &str) {
        for line in text.lines() {
            self.line(line);
        }
    }

    /// Adds a line, and below it marks under `length` of its characters, the first of which is at `column`, from 1.
    pub(super) fn marked(&mut self, text: &str, column: usize, length: usize) {
        let width = |chars: &mut dyn Iterator<Item = char>| printable(&chars.collect::<String>()).chars().count();
        let mut chars = text.chars();
        let before = width(&mut chars.by_ref().take(column.saturating_sub(1)));
        let under = width(&mut chars.take(length));
        self.line(text);
        self.line(&format!("{}{}", " ".repeat(before), "^".repeat(under.max(length).max(1))));
    }

    /// Adds a line about a place.
    pub(super) fn placed(&mut self, place: &str, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{BOLD}{}{BOLD:#}: {}", printable(place), printable(text));
    }

    /// Adds a finding: where and what on the first line, then the field and the message.
    pub(super) fn finding(&mut self, place: &str, finding: &Finding) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{BOLD}{}{BOLD:#}: {}", printable(place), headed(finding));
    }

    /// Adds findings: severity and code, the field, and the message wrapped below.
    pub(super) fn findings(&mut self, findings: &[Finding]) {
        for finding in findings {
            self.0.push_str("\n  ");
            self.0.push_str(&headed(finding));
        }
    }

    /// Prints what there is so far if it is much, so that no long page is in memory as a whole.
    pub(super) fn print_if_much(&mut self) -> anyhow::Result<()> {
        if self.0.len() >= MUCH {
            print(self)?;
            self.0.clear();
        }
        Ok(())
    }

    /// What is printed where there is no colour.
    #[cfg(test)]
    pub(super) fn plain(&self) -> String {
        anstream::adapter::strip_str(&self.0).to_string()
    }
}

/// JSON, YAML or a script: text for programs.
#[derive(Debug)]
pub(super) struct Data(String);

impl Data {
    /// A script or a document of our own.
    pub(super) const fn script(text: String) -> Self {
        Self(text)
    }
}

/// Writes a page to standard output.
pub(super) fn print(page: &Page) -> anyhow::Result<()> {
    to(anstream::stdout().lock(), &page.0)
}

/// Writes a line to standard output.
pub(super) fn print_line(text: &str) -> anyhow::Result<()> {
    let mut page = Page::default();
    page.line(text);
    print(&page)
}

/// Writes data to standard output, as it is on a terminal too.
pub(super) fn write(data: &Data) -> anyhow::Result<()> {
    to(io::stdout().lock(), &data.0)
}

/// Writes a value as JSON, else as YAML: for objects there is no text but that.
pub(super) fn data(format: Format, value: &impl Serialize) -> anyhow::Result<()> {
    write(&match format {
        Format::Json => json(value)?,
        Format::Text | Format::Yaml => yaml(value)?,
    })
}

fn to(mut stdout: impl io::Write, text: &str) -> anyhow::Result<()> {
    gone_is_fine(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
        .context("cannot write to standard output")
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes to standard error. A failure is ignored.
fn to_stderr(text: &str) {
    progress::beside(|| {
        let _ = anstream::stderr().lock().write_all(text.as_bytes());
    });
}

/// Writes a line to standard error.
pub(super) fn say(text: &str) {
    to_stderr(&format!("{}\n", printable(text)));
}

/// Prints a note, once: with `--watch` it is printed again only when it changes.
pub(super) fn note(text: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if !SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned()) {
        return;
    }
    to_stderr(&format!("{BOLD}note:{BOLD:#} {}\n", printable(text)));
}

/// Writes a finding to standard error.
pub(super) fn say_finding(place: &str, finding: &Finding) {
    let mut page = Page::default();
    page.finding(place, finding);
    to_stderr(&page.0);
}

/// Reports why the command could not do its work.
pub(super) fn error(error: &anyhow::Error) {
    let text = match error.downcast_ref::<Several>() {
        Some(Several(lines)) => lines.iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n"),
        None => printable(&causes(error)),
    };
    to_stderr(&format!("{DENY}error:{DENY:#} {text}\n"));
}

/// An error and its causes in one line, each once: kube's errors repeat their cause, behind a word of its code.
fn causes(error: &anyhow::Error) -> String {
    let mut links: Vec<String> = Vec::new();
    for link in error.chain().map(ToString::to_string) {
        let link = link.strip_prefix("ServiceError: ").unwrap_or(&link);
        if !links.last().is_some_and(|last| last.ends_with(link)) {
            links.push(link.to_owned());
        }
    }
    links.join(": ")
}

/// An error of several lines. The line breaks of any other one are not ours.
#[derive(Debug)]
pub(super) struct Several(pub(super) Vec<String>);

impl fmt::Display for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Several {}

fn headed(finding: &Finding) -> String {
    let style = match finding.severity {
        Severity::Deny => DENY,
        Severity::Warn => WARN,
    };
    format!(
        "{style}{} {}{style:#}\n    {DIM}{}{DIM:#}\n{}",
        finding.severity,
        finding.code,
        printable(&finding.field.to_string()),
        wrap(&printable(&finding.message), 4)
    )
}

/// `text`, which is one line, in lines of at most [`WIDTH`] characters, each indented; a word that is longer has a line of
/// its own.
fn wrap(text: &str, indent: usize) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split_whitespace() {
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
    wrapped
}

/// Objects of Kubernetes, printed as they come: a stream of documents in YAML, a List in JSON.
pub(super) struct Objects {
    format: Format,
    is_empty: bool,
    text: String,
}

impl Objects {
    pub(super) const fn of(format: Format) -> Self {
        Self { format, is_empty: true, text: String::new() }
    }

    /// Adds an object as [`object`] has it.
    pub(super) fn add(&mut self, Data(object): &Data) -> anyhow::Result<()> {
        if self.format == Format::Json {
            self.text.push_str(if self.is_empty { LIST_BEGINS } else { "," });
            // No line break is in a string of JSON, so each is one of the layout.
            self.text.extend(object.lines().flat_map(|line| ["\n    ", line]));
        } else {
            self.text.push_str(if self.is_empty { "" } else { "---\n" });
            self.text.push_str(object);
        }
        self.is_empty = false;
        if self.text.len() >= MUCH {
            to(io::stdout().lock(), &self.text)?;
            self.text.clear();
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        if self.format == Format::Json {
            self.text.push_str(if self.is_empty { LIST_BEGINS } else { "\n  " });
            self.text.push_str("],\n  \"kind\": \"List\"\n}\n");
        }
        to(io::stdout().lock(), &self.text)
    }
}

/// One of the objects that [`Objects`] prints.
pub(super) fn object(format: Format, object: &Value) -> anyhow::Result<Data> {
    if format == Format::Json { json(object) } else { yaml(object) }
}

/// How a List begins in JSON, whose keys are sorted.
const LIST_BEGINS: &str = "{\n  \"apiVersion\": \"v1\",\n  \"items\": [";

/// `value` as a YAML document, long strings on one line so that they can be searched for.
pub(super) fn yaml(value: &impl Serialize) -> anyhow::Result<Data> {
    let options = serde_saphyr::ser_options! { min_fold_chars: usize::MAX, folded_wrap_chars: usize::MAX };
    Ok(Data(serde_saphyr::to_string_with_options(value, options).context("cannot write YAML")?))
}

/// `value` as indented JSON with a line break at the end.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<Data> {
    Ok(Data(serde_json::to_string_pretty(value).context("cannot write JSON")? + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::finding::Code;

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
        const HOSTILE: &str = "a\u{1b}[2J\u{9b}H\u{202e}b\nerror: forged";
        const SEEN: &str = "a\\u{1b}[2J\\u{9b}H\\u{202e}b\\nerror: forged";
        let mut page = Page::default();
        page.line(HOSTILE);
        page.placed(HOSTILE, HOSTILE);
        let finding = Finding::new(Code::ScheduleInvalid, HOSTILE, HOSTILE, HOSTILE);
        page.finding(HOSTILE, &finding);
        page.findings(&[finding]);
        let printed = page.plain();
        assert_eq!(printed.matches(SEEN).count(), 8, "{printed}");
        assert_eq!(printed.lines().count(), 9, "{printed}");
        assert!(!printed.lines().any(|line| line.starts_with("error")), "{printed}");
        assert!(printed.lines().all(|line| line.chars().all(crate::defrag::text::is_printable)), "{printed:?}");
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
            let Data(written) = yaml(&[text]).unwrap();
            assert!(written.contains(&format!("\"{text}\"")) || written.contains(&format!("'{text}'")), "{written}");
        }
    }

    #[test]
    fn each_cause_is_there_once() {
        let cause = anyhow::anyhow!("no such host");
        let error = cause.context("ServiceError: no such host").context("cannot list Jobs");
        assert_eq!(causes(&error), "cannot list Jobs: no such host");
        let error = anyhow::anyhow!("no such host").context("client error").context("cannot list Jobs");
        assert_eq!(causes(&error), "cannot list Jobs: client error: no such host");
    }
}
