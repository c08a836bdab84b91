//! The picture: for each pattern a bar for each strategy, as long as its member-runs.

use std::fmt::Write as _;

use crate::Row;

const WIDTH: f64 = 860.0;
const LABELS: f64 = 220.0;
const BAR: f64 = 15.0;
const STYLE: &str = "
  text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 13px; } .quiet { fill: #59636e; font-size: 11px; } .bad { fill: #cf222e; font-weight: 600; }
  .paper { fill: #fff; } .theirs { fill: #d4870b; } .ours { fill: #1a7f37; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #9198a1; } .bad { fill: #f4525c; }
    .theirs { fill: #db9a2c; } .ours { fill: #3fb950; }
  }
";

/// All of it as SVG.
pub(crate) fn svg(rows: &[Row]) -> String {
    let most =
        rows.iter().flat_map(|row| &row.outcomes).map(|(_, outcome)| outcome.member_runs).max().unwrap_or(1).max(1);
    let mut text = String::new();
    let mut y = 24.0;
    for row in rows {
        let _ = writeln!(text, "<text class=\"title\" x=\"8\" y=\"{y:.0}\">{}: member-runs</text>", row.shape.name());
        for (strategy, outcome) in &row.outcomes {
            y += BAR + 4.0;
            let length = (WIDTH - LABELS - 160.0) * f64::from(outcome.member_runs) / f64::from(most);
            let name = strategy.name();
            let class = if name.starts_with("ours") { "ours" } else { "theirs" };
            let top = y - BAR + 3.0;
            let _ = writeln!(text, "<text x=\"{:.0}\" y=\"{y:.0}\" text-anchor=\"end\">{name}</text>", LABELS - 8.0);
            let _ = writeln!(
                text,
                "<rect class=\"{class}\" x=\"{LABELS}\" y=\"{top:.0}\" width=\"{length:.1}\" height=\"{BAR}\"/>"
            );
            let (kind, words) = match outcome.nospace {
                0 => ("quiet", outcome.member_runs.to_string()),
                times => ("bad", format!("{}, NOSPACE {times} times", outcome.member_runs)),
            };
            let _ =
                writeln!(text, "<text class=\"{kind}\" x=\"{:.1}\" y=\"{y:.0}\">{words}</text>", LABELS + length + 6.0);
        }
        y += 34.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" width=\"{WIDTH}\" height=\"{y:.0}\" role=\"img\" \
         aria-label=\"Defragmentations of one member in a year, by pattern of growth and strategy\">\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n{text}</svg>\n"
    )
}
