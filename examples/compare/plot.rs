//! The picture: a row for each scenario, defrag.sh on the left and ours with each engine beside it, a lane for each member.

use harness::svg::Picture;

use crate::model::{Interval, Lane, Scenario};

const WIDTH: f64 = 1320.0;
/// Panels in a row.
const PANELS: f64 = 3.0;
const LABELS: f64 = 96.0;
const GAP: f64 = 28.0;
const PANEL: f64 = (WIDTH - LABELS - (PANELS - 1.0) * GAP - 16.0) / PANELS;
/// From the top to the first row: legend and names.
const HEAD: f64 = 74.0;
const LANE: f64 = 26.0;
/// What a row has above its lanes, and below them.
const TITLE: f64 = 46.0;
const AXIS: f64 = 30.0;

const STYLE: &str = "
  .name { font-weight: 600; font-size: 14px; } .lane { fill: #818b98; fill-opacity: .14; }
  .blocked { fill: #d4870b; } .overlap { fill: #cf222e; } .failed { stroke: #cf222e; stroke-width: 1.4; }
  @media (prefers-color-scheme: dark) { .blocked { fill: #db9a2c; } .overlap { fill: #f4525c; } .failed { stroke: #f4525c; } }
";

/// All of it as SVG.
pub(crate) fn svg(scenarios: &[Scenario]) -> String {
    let mut drawing = Drawing::default();
    drawing.head(scenarios);
    let mut top = HEAD;
    for scenario in scenarios {
        top = drawing.row(scenario, top);
    }
    drawing.picture.finish(WIDTH, top, "When members of an etcd are blocked by defragmentation", STYLE)
}

#[derive(Default)]
struct Drawing {
    picture: Picture,
}

impl Drawing {
    fn head(&mut self, scenarios: &[Scenario]) {
        let legend = [
            ("blocked", "a member is blocked while it defragments"),
            ("overlap", "two or more are blocked at the same time"),
            ("failed", "a write through it failed"),
        ];
        let mut x = LABELS;
        for (class, words) in legend {
            if class == "failed" {
                self.tick(x + 6.0, 11.0, 11.0);
            } else {
                self.picture.rect(class, x, 10.0, 12.0, 12.0);
            }
            self.picture.label("", x + 18.0, 20.0, "start", words);
            x += 290.0;
        }
        for (side, run) in scenarios.iter().take(1).flat_map(|scenario| scenario.runs.iter().enumerate()) {
            self.picture.label("name", left(side), 56.0, "start", run.who);
        }
    }

    /// Draws a row and returns where the next begins.
    fn row(&mut self, scenario: &Scenario, top: f64) -> f64 {
        let longest = scenario.runs.iter().map(|run| run.length).fold(1.0, f64::max);
        let lanes = scenario.runs.iter().map(|run| run.lanes.len()).max().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let height = lanes as f64 * LANE;
        self.picture.label("title", 8.0, top + 14.0, "start", &scenario.title);
        for (side, run) in scenario.runs.iter().enumerate() {
            let scale = Scale { left: left(side), longest };
            self.picture.label("quiet", scale.left, top + 34.0, "start", &run.in_a_line());
            if let Some(failure) = run.failure() {
                self.picture.label("bad", scale.left + PANEL, top + 14.0, "end", &failure);
            }
            let mut y = top + TITLE;
            let overlaps = run.overlaps().0;
            for lane in &run.lanes {
                if side == 0 {
                    self.picture.label("", LABELS - 10.0, y + 14.0, "end", &lane.name);
                }
                self.lane(scale, lane, &overlaps, y);
                y += LANE;
            }
            self.axis(scale, y);
        }
        top + TITLE + height + AXIS
    }

    fn lane(&mut self, scale: Scale, lane: &Lane, overlaps: &[Interval], y: f64) {
        self.picture.rect("lane", scale.left, y, PANEL, LANE - 5.0);
        for blocked in &lane.blocked {
            self.span("blocked", scale, *blocked, y);
            for overlap in overlaps {
                let both = Interval { from: blocked.from.max(overlap.from), to: blocked.to.min(overlap.to) };
                if both.length() > 0.0 {
                    self.span("overlap", scale, both, y);
                }
            }
        }
        for failed in &lane.failed {
            self.tick(scale.x(failed.from), y + 14.0, 7.0);
        }
    }

    /// Seconds below the lanes.
    fn axis(&mut self, scale: Scale, y: f64) {
        self.picture.line("axis", &[(scale.left, y), (scale.left + PANEL, y)]);
        let step = step(scale.longest);
        let mut at = 0.0;
        while at <= scale.longest {
            let words = if at == 0.0 { "0 s".to_owned() } else { format!("{at:.0}") };
            self.picture.label("quiet", scale.x(at), y + 14.0, if at == 0.0 { "start" } else { "middle" }, &words);
            at += step;
        }
    }

    fn span(&mut self, class: &str, scale: Scale, interval: Interval, y: f64) {
        let (from, to) = (scale.x(interval.from), scale.x(interval.to));
        // A short one is to be seen, too.
        self.picture.rect(class, from, y, (to - from).max(1.5), 12.0);
    }

    fn tick(&mut self, x: f64, y: f64, height: f64) {
        self.picture.line("failed", &[(x, y), (x, y + height)]);
    }
}

fn left(side: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let side = side as f64;
    LABELS + side * (PANEL + GAP)
}

/// Where seconds are in a panel.
#[derive(Clone, Copy)]
struct Scale {
    left: f64,
    longest: f64,
}

impl Scale {
    fn x(self, seconds: f64) -> f64 {
        self.left + PANEL * (seconds / self.longest).clamp(0.0, 1.0)
    }
}

/// Round numbers of seconds, of which at most eight are in a panel.
fn step(longest: f64) -> f64 {
    let steps = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
    steps.into_iter().find(|step| longest / step <= 8.0).unwrap_or(600.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Run;

    #[test]
    fn lanes_hold_what_was_measured() {
        let lane = |from, to| Lane {
            name: "a<b".to_owned(),
            blocked: vec![Interval { from, to }],
            failed: vec![Interval { from, to }],
        };
        let run = Run { who: "them", lanes: vec![lane(0.0, 60.0), lane(30.0, 90.0)], length: 120.0, ..Run::default() };
        let idle = Run { who: "us", length: 20.0, lanes: vec![Lane::default()], ..Run::default() };
        let picture = svg(&[Scenario { title: "T".to_owned(), runs: vec![run, idle] }]);
        assert_eq!(picture.matches("class=\"blocked\"").count(), 1 + 2, "the legend's, and one for each member");
        assert_eq!(picture.matches("class=\"overlap\"").count(), 1 + 2);
        assert_eq!(picture.matches("class=\"failed\"").count(), 1 + 2);
        let half = format!("x=\"{LABELS:.1}\" y=\"{:.1}\" width=\"{:.1}\"", HEAD + TITLE, PANEL / 2.0);
        assert!(picture.contains(&half), "{half} is not in {picture}");
        assert!(picture.contains("a&lt;b") && picture.contains("no member blocked"), "{picture}");
    }

    #[test]
    fn axes_have_few_and_round_numbers() {
        for (longest, expected) in [(4.0, 1.0), (9.0, 2.0), (75.0, 10.0), (200.0, 30.0), (5000.0, 600.0)] {
            assert!((step(longest) - expected).abs() < f64::EPSILON, "{longest}");
        }
    }
}
