//! `explain`: why a schedule, a rule or a finding is refused, and how to fix it.

use std::str::FromStr as _;

use anyhow::bail;
use clap::Subcommand;
use serde::Serialize;

use super::{Exit, Format, explain_rule, explain_schedule, output};
use crate::defrag::finding::{Code, Severity};

/// Explain a schedule, a rule or the code of a finding
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The code of a finding, such as schedule-never-fires; without one, or with "list", all are listed
    #[arg(value_name = "CODE")]
    code: Option<String>,
    /// How to print the page
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Explain a CronJob schedule: whether it is accepted, when it fires, and its risks
    Schedule(explain_schedule::Args),
    /// Explain a rule: whether it is accepted, when it fires, and a counterexample if it is refused
    Rule(explain_rule::Args),
}

/// The machine-readable form of a page.
#[derive(Serialize)]
struct FindingHelp {
    code: Code,
    severity: Severity,
    summary: &'static str,
    page: &'static str,
}

impl FindingHelp {
    fn of(code: Code) -> Self {
        Self { code, severity: code.severity(), summary: summary(code), page: code.page() }
    }

    fn line(&self) -> String {
        format!("{:<4} {:<26} {}\n", self.severity.to_string(), self.code.as_str(), self.summary)
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.what {
        Some(What::Schedule(args)) => return explain_schedule::run(args),
        Some(What::Rule(args)) => return explain_rule::run(args),
        None => {}
    }
    if let Some(text) = args.code.as_deref().filter(|code| *code != "list") {
        let code = find(text)?;
        match args.output {
            Format::Text => output::print(&lines(code.page()))?,
            format => output::data(format, &FindingHelp::of(code))?,
        }
    } else {
        let all: Vec<FindingHelp> = Code::ALL.iter().map(|code| FindingHelp::of(*code)).collect();
        match args.output {
            Format::Text => output::print(&lines(&all.iter().map(FindingHelp::line).collect::<String>()))?,
            format => output::data(format, &all)?,
        }
    }
    Ok(Exit::Clean)
}

fn lines(text: &str) -> output::Page {
    let mut page = output::Page::default();
    page.lines(text);
    page
}

/// The line below the title of a page.
pub(super) fn summary(code: Code) -> &'static str {
    code.page().lines().nth(1).unwrap_or_default()
}

fn find(text: &str) -> anyhow::Result<Code> {
    if let Ok(code) = Code::from_str(text) {
        return Ok(code);
    }
    let wanted = text.to_lowercase().replace(['_', ' '], "-");
    let nearest = Code::ALL
        .iter()
        .map(|code| (strsim::damerau_levenshtein(&wanted, code.as_str()), code))
        .filter(|(distance, code)| *distance <= code.as_str().len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance);
    match nearest {
        Some((_, code)) => bail!("there is no finding {text:?}; did you mean {code}?"),
        None => bail!("there is no finding {text:?}; \"explain\" without a code lists all of them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/findings/README.md"));
    const SECTIONS: [&str; 4] =
        ["\n## What was found\n", "\n## Why it matters\n", "\n## How to fix it\n", "\n## Example\n"];

    const fn verb(severity: Severity) -> &'static str {
        match severity {
            Severity::Deny => "refuses",
            Severity::Warn => "warns",
        }
    }

    #[test]
    fn every_code_has_a_whole_page() {
        for code in Code::ALL {
            let page = code.page();
            let head = format!("# {code}\n{}\n\nSeverity: {}\n\n", summary(*code), verb(code.severity()));
            assert!(page.starts_with(&head) && !summary(*code).is_empty(), "{code}: title, summary and severity");
            let places: Vec<_> = SECTIONS.iter().map(|section| page.find(section)).collect();
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{code}: sections {places:?}");
            assert!(
                page.split("\n## ").skip(1).all(|part| part.lines().nth(1).is_some_and(|line| !line.is_empty())),
                "{code}"
            );
        }
    }

    #[test]
    fn the_index_is_in_step() {
        let linked = |line: &str| Some(line.strip_prefix("| [")?.split_once(']')?.0.trim_matches('`').to_owned());
        let listed: Vec<String> = INDEX.lines().filter_map(linked).collect();
        let all: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(listed, all);
    }

    #[test]
    fn no_page_is_left_over() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/findings");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let stem = name.strip_suffix(".md").unwrap();
            assert!(stem == "README" || Code::from_str(stem).is_ok(), "{name} belongs to no finding");
        }
    }

    #[test]
    fn a_typo_finds_its_code() {
        assert_eq!(find("schedule-never-fires").unwrap(), Code::ScheduleNeverFires);
        let error = |text| find(text).unwrap_err().to_string();
        assert!(error("schedule-never-fire").ends_with("did you mean schedule-never-fires?"));
        assert!(error("Quota_Unknwon").ends_with("did you mean quota-unknown?"));
        assert!(error("xyz").contains("lists all of them"));
    }
}
