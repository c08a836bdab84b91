//! The picture: for each pattern a bar for each strategy, as long as its member-runs.

use harness::svg::Picture;

use crate::Row;

const WIDTH: f64 = 860.0;
const LABELS: f64 = 220.0;
const NUMBERS: f64 = 190.0;
const BAR: f64 = 15.0;
const STYLE: &str = "
  .theirs { fill: #d4870b; } .ours { fill: #1a7f37; }
  @media (prefers-color-scheme: dark) { .theirs { fill: #db9a2c; } .ours { fill: #3fb950; } }
";

/// All of it as SVG.
pub(crate) fn svg(rows: &[Row]) -> String {
    let most =
        rows.iter().flat_map(|row| &row.outcomes).map(|(_, outcome)| outcome.member_runs).max().unwrap_or(1).max(1);
    let mut picture = Picture::default();
    let mut y = 24.0;
    for row in rows {
        picture.label("title", 8.0, y, "start", &format!("{}: member-runs", row.shape.name()));
        for (strategy, outcome) in &row.outcomes {
            y += BAR + 4.0;
            let length = (WIDTH - LABELS - NUMBERS) * f64::from(outcome.member_runs) / f64::from(most);
            let name = strategy.name();
            let class = if name.starts_with("ours") { "ours" } else { "theirs" };
            picture.label("", LABELS - 8.0, y, "end", name);
            picture.rect(class, LABELS, y - BAR + 3.0, length, BAR);
            let (kind, words) = match outcome.refusing {
                0 => ("quiet", outcome.member_runs.to_string()),
                _ => ("bad", format!("{}, {:.0} h in NOSPACE", outcome.member_runs, outcome.hours())),
            };
            picture.label(kind, LABELS + length + 6.0, y, "start", &words);
        }
        y += 34.0;
    }
    picture.finish(WIDTH, y, "Defragmentations of one member in a year, by pattern of growth and strategy", STYLE)
}
