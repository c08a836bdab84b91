//! Findings as workflow commands of GitHub Actions, which shows them at the lines of a pull request.
//!
//! Source: <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>.

use std::fmt::Write as _;

use super::Assessed;
use crate::{cli::input::Trouble, defrag::text::printable};

/// A line for each finding and for each input that cannot be read.
pub(super) fn commands(assessed: &[Assessed], troubles: &[Trouble]) -> String {
    let mut lines = String::new();
    for one in assessed {
        for (line, finding) in one.placed() {
            let command = if finding.denies() && one.refused() { "error" } else { "warning" };
            let field = finding.field.to_string();
            // Writing to a String cannot fail.
            let _ = writeln!(
                lines,
                "::{command} file={},line={line},title={}::{}",
                path(&one.file),
                property(&format!("{} {}", one.subject.name(), finding.code)),
                data(&format!("{field}: {}", finding.message))
            );
        }
    }
    for trouble in troubles {
        let file = trouble.file.as_ref().map(|file| format!("file={},", path(file))).unwrap_or_default();
        let line = trouble.line.map(|line| format!("line={line},")).unwrap_or_default();
        let _ = writeln!(lines, "::error {file}{line}title=unreadable::{}", data(&trouble.message));
    }
    lines
}

/// The message of a command. Line breaks are made visible before.
fn data(text: &str) -> String {
    printable(text).replace('%', "%25")
}

/// A file as GitHub knows it, by its path in the repository.
fn path(file: &str) -> String {
    property(file.strip_prefix("./").unwrap_or(file))
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_others_makes_a_command_of_its_own() {
        assert_eq!(data("a\n::error::b 50%"), "a\\n::error::b 50%25");
        assert_eq!(property("a,b:c%"), "a%2Cb%3Ac%25");
        let trouble = |file: Option<&str>, line| Trouble {
            file: file.map(str::to_owned),
            line,
            message: "x.yaml:1: no\n::error::forged".to_owned(),
        };
        for (file, line, place) in [
            (Some("./x.yaml"), Some(1), "file=x.yaml,line=1,"),
            (Some("a,b.yaml"), None, "file=a%2Cb.yaml,"),
            (None, None, ""),
        ] {
            let expected = format!("::error {place}title=unreadable::x.yaml:1: no\\n::error::forged\n");
            assert_eq!(commands(&[], &[trouble(file, line)]), expected);
        }
    }
}
