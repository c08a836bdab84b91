//! `make bench-judge`: how long judgements take, beside the crates `cron` and `croner` and the Go modules that decide in
//! a cluster, wherever these do the same work. Ends with 1 where a goal is missed by more than the margin for noise.
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
    if let Some(sizes) = std::env::args().nth(1).filter(|what| what == "probe") {
        let _ = sizes;
        let sizes: Vec<usize> = std::env::args().skip(2).filter_map(|size| size.parse().ok()).collect();
        worst::probe(&sizes)?;
        return Ok(true);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let oracle = Oracle::start(&root.join("tests/oracle"))?;
    let mut table = Table::new();
    println!("Time of one iteration: median and p99 of batches taken in turn; in brackets how many times ours.");
    let uncompared = schedules::compare(&mut table, &oracle)?;
    schedules::judge(&mut table)?;
    rules::compare(&mut table, &oracle)?;
    rules::judge(&mut table)?;
    statefulsets::judge(&mut table, &root)?;
    statefulsets::admit(&mut table, &root)?;
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
