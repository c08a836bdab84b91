//! What was measured, for people; and whether each goal is reached.

use std::collections::BTreeMap;

use harness::{MARGIN, median, verdict};

use crate::{Result, peers::Peer};

/// What one measures of each: a figure for each round.
#[derive(Default)]
pub(crate) struct Results {
    /// In the order in which they were first measured.
    figures: Vec<String>,
    values: BTreeMap<(Peer, String), Vec<f64>>,
}

/// What ours is to be at most, or at least, of something else in the same run.
struct Goal {
    figure: &'static str,
    of: Peer,
    /// Whether what is compared is what each adds to a write that nobody is asked about.
    added: bool,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

const GOALS: &[Goal] = &[
    Goal { figure: "our key, median", of: Peer::Go, added: true, bound: Bound::AtMost(0.5) },
    Goal { figure: "our key, p99", of: Peer::Go, added: true, bound: Bound::AtMost(0.4) },
    Goal { figure: "our key, median", of: Peer::AllowsAll, added: true, bound: Bound::AtMost(1.25) },
    Goal { figure: "another key, writes/s", of: Peer::Nobody, added: false, bound: Bound::AtLeast(0.97) },
    Goal { figure: "directly, reviews/s", of: Peer::Go, added: false, bound: Bound::AtLeast(2.0) },
    Goal { figure: "directly, ms of processor", of: Peer::Go, added: false, bound: Bound::AtMost(0.5) },
];

impl Results {
    pub(crate) fn add(&mut self, peer: Peer, figure: &str, value: f64) {
        if !self.figures.iter().any(|known| known == figure) {
            self.figures.push(figure.to_owned());
        }
        self.values.entry((peer, figure.to_owned())).or_default().push(value);
    }

    fn of(&self, peer: Peer, figure: &str) -> &[f64] {
        self.values.get(&(peer, figure.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// Prints the table and the goals; an error where a goal is missed by more than the margin.
    pub(crate) fn print(&self) -> Result {
        println!("\nmedians of the rounds, times in milliseconds:\n");
        println!("| | {} |", Peer::ALL.map(Peer::name).join(" | "));
        println!("| --- |{}", " ---: |".repeat(Peer::ALL.len()));
        for figure in &self.figures {
            let cells = Peer::ALL.map(|peer| match median(self.of(peer, figure)) {
                Some(value) if value >= 100.0 => format!("{value:.0}"),
                Some(value) => format!("{value:.2}"),
                None => "–".to_owned(),
            });
            println!("| {figure} | {} |", cells.join(" | "));
        }
        println!();
        let mut missed = Vec::new();
        for goal in GOALS {
            missed.extend(self.check(goal)?);
        }
        if missed.is_empty() { Ok(()) } else { Err(format!("missed: {}", missed.join("; ")).into()) }
    }

    /// Prints a goal beside what was reached; its name where it is missed. An error where it was not measured.
    fn check(&self, goal: &Goal) -> Result<Option<String>> {
        let of = |peer| median(self.of(peer, goal.figure)).ok_or(format!("nobody measured {}", goal.figure));
        // Of the medians of all rounds: what is added is a small difference, and in one round may be none.
        let base = if goal.added { of(Peer::Nobody)? } else { 0.0 };
        let (ours, theirs) = (of(Peer::Ours)? - base, of(goal.of)? - base);
        // No quotient: where noise lets the other seem to add less than nothing, a negative one would look good.
        let (bound, met, within) = match goal.bound {
            Bound::AtMost(most) => (format!("≤ {most}"), ours <= most * theirs, ours <= most * MARGIN * theirs),
            // Of what is missing to the whole, as that is what noise makes larger.
            Bound::AtLeast(least) if least < 1.0 => {
                (format!("≥ {least}"), ours >= least * theirs, ours >= (1.0 - (1.0 - least) * MARGIN) * theirs)
            }
            Bound::AtLeast(least) => (format!("≥ {least}"), ours >= least * theirs, ours >= least / MARGIN * theirs),
        };
        let what = format!("{}{}, of {}", if goal.added { "added: " } else { "" }, goal.figure, goal.of.name());
        println!("{what}: goal {bound}, ours {:.2}: {}", ours / theirs, verdict(met, within));
        Ok((!within).then_some(what))
    }
}
