//! One table with everything that was timed, and whether the goals are met.

use crate::harness::{Times, human};

/// How far a noisy machine may carry a time beyond its goal.
pub const MARGIN: f64 = 3.0;

/// A heading or what was timed.
pub struct Table {
    /// Names of the others, in the order of their columns.
    others: Vec<&'static str>,
    worst: f64,
}

impl Table {
    pub const fn new() -> Self {
        Self { others: Vec::new(), worst: 0.0 }
    }

    /// Begins a part in which ours stands beside these.
    pub fn part(&mut self, title: &str, others: &[&'static str]) {
        self.others = others.to_vec();
        print!("\n{title:<58}{:>10}{:>10}", "ours", "p99");
        for other in others {
            print!("{other:>20}");
        }
        println!("{:>9}", "goal");
    }

    /// One line: ours first, then the others, where they do the same. The goal is in nanoseconds.
    pub fn row(&mut self, input: &str, times: &[Option<Times>], goal: Option<f64>) {
        let Some(Some(ours)) = times.first() else { return };
        let shown: String =
            if input.chars().count() > 56 { input.chars().take(55).chain(['…']).collect() } else { input.to_owned() };
        print!("  {shown:<56}{:>10}{:>10}", human(ours.median), human(ours.p99));
        for (index, _) in self.others.iter().enumerate() {
            let cell = times.get(index + 1).copied().flatten().map_or_else(
                || "–".to_owned(),
                |other| format!("{} {:>7}", human(other.median), format!("({:.1}x)", other.median / ours.median)),
            );
            print!("{cell:>20}");
        }
        let Some(goal) = goal else { return println!() };
        let verdict = match ours.median / goal {
            share if share <= 1.0 => "met",
            share if share <= MARGIN => "MISSED, within the margin for noise",
            _ => "MISSED",
        };
        self.worst = self.worst.max(ours.median / goal);
        println!("{:>9}  {verdict}", human(goal));
    }

    /// The verdict on all goals; false where one is missed by more than the margin.
    pub fn verdict(&self) -> bool {
        let kept = self.worst <= MARGIN;
        println!(
            "\ngoals: the slowest judgement took {:.2} of its goal; over {MARGIN} of it (noise of the machine left aside) fails: {}",
            self.worst,
            if kept { "ok" } else { "FAILED" }
        );
        kept
    }
}
