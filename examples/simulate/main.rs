//! `make simulate`: a year of databases that grow like those of real clusters, under different ways to decide when to
//! defragment: how many members were blocked, for how much, and who reached the quota.
//!
//! Nothing here measures: it is a model, and docs/simulation.md says which. What decides is not modelled: rules are evaluated,
//! and runs on demand are decided, by the code that does it in a cluster.

#![allow(clippy::cast_precision_loss, reason = "a model")]

mod candidate;
mod model;
mod plot;
mod report;
mod strategy;

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Parser;

use self::{
    candidate::Candidate,
    model::{Database, Shape, Year},
    strategy::{Decider, Strategy},
};

/// Replays patterns of growth against ways to defragment, and writes a table and a plot.
#[derive(Parser)]
struct Options {
    /// How many days.
    #[arg(long, default_value = "365")]
    days: u32,
    /// The seed of the patterns.
    #[arg(long, default_value = "8")]
    seed: u64,
    /// The part of the free pages that new data finds long enough a row of; 1 for a database that never fragments.
    #[arg(long, default_value = "0.8")]
    contiguous: f64,
    /// The folder for `simulation.md` and `simulation.svg`.
    #[arg(long, default_value = "docs")]
    out: PathBuf,
}

/// What one strategy came to with one pattern.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    /// Defragmentations of one member each.
    member_runs: u32,
    /// Bytes given back, over all members.
    reclaimed: f64,
    /// The largest share of the quota that the file took.
    highest: f64,
    /// Steps of ten minutes in which writes were refused, since the quota had been reached.
    refusing: u32,
}

impl Outcome {
    /// The time in NOSPACE, in hours.
    fn hours(&self) -> f64 {
        f64::from(self.refusing) / 6.0
    }
}

/// All strategies with one pattern.
struct Row {
    shape: Shape,
    outcomes: Vec<(Strategy, Outcome)>,
}

const MEMBERS: u32 = 3;

fn main() -> ExitCode {
    let options = Options::parse();
    let rows = all(options.days, options.seed, options.contiguous);
    let candidates = Candidate::all(options.days, options.seed, options.contiguous);
    let table = report::markdown(&rows, &candidates, &options);
    println!("{table}");
    for (name, text) in [("simulation.md", &table), ("simulation.svg", &plot::svg(&rows))] {
        let path = options.out.join(name);
        if let Err(error) = fs::write(&path, text) {
            eprintln!("simulate: {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        eprintln!("simulate: wrote {}", path.display());
    }
    ExitCode::SUCCESS
}

fn all(days: u32, seed: u64, contiguous: f64) -> Vec<Row> {
    let row = |shape: Shape| {
        let year = Year::of(shape, days, seed);
        let outcomes =
            Strategy::ALL.into_iter().map(|strategy| (strategy, simulate(&year, strategy.decider(), contiguous)));
        Row { shape, outcomes: outcomes.collect() }
    };
    Shape::ALL.into_iter().map(row).collect()
}

/// One year of one etcd, whose members are alike.
fn simulate(year: &Year, mut decider: Decider, contiguous: f64) -> Outcome {
    let mut outcome = Outcome::default();
    let mut database = Database::new(year.in_use.first().copied().unwrap_or_default(), contiguous);
    for (step, in_use) in (0..).zip(&year.in_use) {
        database.write(*in_use);
        outcome.highest = outcome.highest.max(database.usage());
        outcome.refusing += u32::from(database.is_alarmed());
        if decider.defragments(step, &database.state()) {
            outcome.member_runs += MEMBERS;
            outcome.reclaimed += database.defragment() * f64::from(MEMBERS);
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Member-runs and steps in NOSPACE over all patterns.
    fn runs(rows: &[Row], strategy: Strategy) -> (u32, u32) {
        let of = |row: &Row| row.outcomes.iter().find(|(one, _)| *one == strategy).unwrap().1.clone();
        rows.iter().map(of).fold((0, 0), |sum, one| (sum.0 + one.member_runs, sum.1 + one.refusing))
    }

    #[test]
    fn on_demand_nobody_reaches_the_quota_and_by_schedule_nobody_needs_fewer_runs() {
        let rows = all(120, 8, 0.8);
        for ours in [Strategy::OnDemand, Strategy::ScheduledAndOnDemand] {
            assert_eq!(runs(&rows, ours).1, 0, "{ours:?}");
        }
        let (scheduled, refusing) = runs(&rows, Strategy::Scheduled);
        for other in [Strategy::EveryNight, Strategy::DefragSh, Strategy::Upstream] {
            let (others, _) = runs(&rows, other);
            assert!(others > scheduled, "{other:?}: {others}, ours: {scheduled}");
        }
        assert!(refusing <= runs(&rows, Strategy::EveryNight).1);
        assert!(runs(&rows, Strategy::Never).1 > 0, "a pattern that never reaches the quota shows nothing");
    }

    #[test]
    fn the_built_in_rule_is_the_candidate_that_is_chosen() {
        let candidates = Candidate::all(365, 8, 0.8);
        assert_eq!(candidate::chosen(&candidates).unwrap().rule, etcd_defrag_webhook::defrag::policy::DEFAULT_RULE);
        // Whatever the years are like.
        for (seed, contiguous) in [(1, 0.8), (2, 0.5), (3, 1.0)] {
            let candidates = Candidate::all(365, seed, contiguous);
            let chosen = candidate::chosen(&candidates).unwrap();
            assert_eq!(chosen.rule, etcd_defrag_webhook::defrag::policy::DEFAULT_RULE, "{seed} {contiguous}");
        }
    }

    #[test]
    fn a_seed_is_a_year() {
        let year = |seed| Year::of(Shape::Bursty, 30, seed).in_use;
        assert_eq!(year(1), year(1));
        assert_ne!(year(1), year(2));
    }

    #[test]
    fn the_documents_are_what_the_model_says() {
        let options = Options::parse_from(["simulate"]);
        let rows = all(options.days, options.seed, options.contiguous);
        let read = |name: &str| fs::read_to_string(format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let candidates = Candidate::all(options.days, options.seed, options.contiguous);
        assert_eq!(read("simulation.md"), report::markdown(&rows, &candidates, &options), "run `make simulate`");
        assert_eq!(read("simulation.svg"), plot::svg(&rows), "run `make simulate`");
    }
}
