//! `explain rule`: what a rule does in every state of an etcd with a given quota.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Exit, Format, output};
use crate::defrag::{
    finding::Finding,
    policy::Policy,
    quantity,
    rule::{self, Judged, Rule, State},
};

/// Explains an etcd-defrag rule and proves what it does, or shows a state in which it does not
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The rule, such as 'dbSizeFree > 200*1024*1024'
    #[arg(allow_hyphen_values = true)]
    rule: String,
    /// The quota of the etcd, in bytes or as a quantity such as 8Gi
    #[arg(long, default_value = "2Gi", value_parser = bytes)]
    quota: u64,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

fn bytes(text: &str) -> Result<u64, String> {
    match quantity::parse(text) {
        Ok(0) => Err("a quota of 0 bytes holds nothing; etcd takes 0 for 2Gi".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(format!("{error}; write a number of bytes or a quantity such as 8Gi")),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    valid: bool,
    findings: Vec<Finding>,
    counterexample: Option<Counterexample>,
    fires_above: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counterexample {
    db_size: u64,
    db_size_in_use: u64,
}

impl From<State> for Counterexample {
    fn from(state: State) -> Self {
        Self { db_size: state.db_size, db_size_in_use: state.db_size_in_use }
    }
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let judged = rule::judge(&args.rule, args.quota, &Policy::built_in().limits, &"rule".into());
    let exit = Exit::of(&judged.findings);
    if args.output == Format::Text {
        output::print(&text(args, &judged))?;
    } else {
        let explanation = Explanation {
            valid: judged.rule.is_some(),
            findings: judged.findings,
            counterexample: judged.counterexample.map(Into::into),
            fires_above: judged.fires_above,
        };
        output::data(args.output, &explanation)?;
    }
    Ok(exit)
}

fn text(args: &Args, judged: &Judged) -> String {
    let mut page = format!("{}\n", args.rule);
    match Rule::parse(&args.rule) {
        Ok(rule) => {
            let _ = writeln!(page, "\nfor a quota of {}:\n", quantity::human(args.quota));
            page.push_str(&rule::picture(&rule, args.quota));
            page.push('\n');
        }
        Err(error) => {
            let _ = writeln!(page, "{}^", " ".repeat(error.column.saturating_sub(1)));
        }
    }
    if let Some(bytes) = judged.fires_above {
        let _ = writeln!(page, "  least size at which it fires    {}", quantity::human(bytes));
    }
    if let Some(bytes) = judged.floor {
        let _ = writeln!(page, "  never fires with less to reclaim than {}", quantity::human(bytes));
    }
    let verdict = if judged.findings.iter().any(Finding::denies) { "refused" } else { "accepted" };
    let _ = writeln!(page, "  verdict  {verdict}");
    output::findings(&mut page, &judged.findings);
    page
}
