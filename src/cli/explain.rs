//! `explain`: schedules, rules and the codes of findings.

use clap::Subcommand;

use super::{Outcome, explain_rule, explain_schedule, output};
use crate::defrag::finding::Code;

/// Explains a schedule, a rule or the code of a finding
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// The code of a finding, such as schedule-never-fires; `list` lists them all
    code: Option<String>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Explain a CronJob schedule: whether it is accepted, when it fires, what would hurt
    Schedule(explain_schedule::Args),
    /// Explain a rule: whether it is accepted, when it fires, a counterexample where it is refused
    Rule(explain_rule::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    match (&args.what, args.code.as_deref()) {
        (Some(What::Schedule(args)), _) => explain_schedule::run(args),
        (Some(What::Rule(args)), _) => explain_rule::run(args),
        (None, Some("list")) => list(),
        (None, code) => page(code.unwrap_or_default()),
    }
}

fn list() -> anyhow::Result<Outcome> {
    let lines: Vec<String> = Code::ALL.iter().map(|code| format!("{:<5}{code}\n", code.severity())).collect();
    output::print(&lines.concat())?;
    Ok(Outcome::Clean)
}

fn page(text: &str) -> anyhow::Result<Outcome> {
    let Ok(code) = text.parse::<Code>() else {
        let nearest = Code::ALL.iter().min_by_key(|code| strsim::damerau_levenshtein(code.as_str(), text));
        let advice = nearest.map(|code| format!("did you mean {code}? ")).unwrap_or_default();
        anyhow::bail!("there is no finding with the code {text:?}: {advice}`explain list` lists them all");
    };
    output::print(code.page())?;
    Ok(Outcome::Clean)
}
