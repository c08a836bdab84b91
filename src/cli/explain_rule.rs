//! `explain rule`: what a rule does in every state of an etcd with a given quota.

use serde::Serialize;

use super::{
    Exit, Format,
    output::{self, Page},
};
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
        output::print(&page(args, &judged))?;
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

fn page(args: &Args, judged: &Judged) -> Page {
    let mut page = Page::default();
    match Rule::parse(&args.rule) {
        Ok(rule) => {
            page.line(&args.rule);
            page.lines(&format!("\nfor a quota of {}:\n\n", quantity::human(args.quota)));
            page.lines(&rule::picture(&rule, args.quota));
            page.line("");
        }
        Err(error) => page.marked(&args.rule, error.column, 1),
    }
    if let Some(bytes) = judged.fires_above {
        page.line(&format!("  least size at which it fires    {}", quantity::human(bytes)));
    }
    if let Some(bytes) = judged.floor {
        page.line(&format!("  never fires with less to reclaim than {}", quantity::human(bytes)));
    }
    let verdict = if judged.findings.iter().any(Finding::denies) { "refused" } else { "accepted" };
    page.line(&format!("  verdict  {verdict}"));
    page.findings(&judged.findings);
    page
}
