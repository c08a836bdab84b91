//! `make bench-judge`: how long judgements take, beside the crates `cron` and `croner` and the Go modules that decide in
//! a cluster, wherever these do the same work. Ends with 1 where a goal is missed by more than the margin for noise.
//!
//! With the argument `worst` only the worst objects that a tenant can write are judged, which needs no Go.
//!
//! Machines differ and are noisy: compare the ratios, all of which are of one run.

#[path = "../../../tests/support/adversary.rs"]
mod adversary;
mod harness;
mod oracle;
#[path = "../../../tests/harness/random.rs"]
mod random;
mod rules;
mod schedules;
mod statefulsets;
mod table;
mod worst;

use std::{path::Path, process::ExitCode};

use harness::Result;
use jiff::Timestamp;
use oracle::Oracle;
use table::Table;

/// When the judgements take place: some months before the next changeovers.
fn now() -> Result<Timestamp> {
    Ok("2026-11-24T00:00:00Z".parse()?)
}

fn run() -> Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if std::env::args().any(|argument| argument == "worst") {
        let mut table = Table::new();
        worst::judge(&mut table)?;
        return Ok(table.verdict());
    }
    let oracle = Oracle::start(&root.join("tests/oracle"))?;
    let mut table = Table::new();
    println!("Time of one iteration: median and p99 of batches taken in turn; in brackets how many times ours.");
    let uncompared = schedules::compare(&mut table, &oracle)?;
    schedules::judge(&mut table)?;
    rules::compare(&mut table, &oracle)?;
    rules::judge(&mut table)?;
    statefulsets::judge(&mut table, &root)?;
    statefulsets::admit(&mut table, &root)?;
    worst::judge(&mut table)?;
    println!("\nnot compared:");
    for line in uncompared {
        println!("  {line}");
    }
    println!("  judging: no other library says how far apart fire times are, or proves anything of a rule");
    Ok(table.verdict())
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-judge: {error}");
            ExitCode::from(2)
        }
    }
}
