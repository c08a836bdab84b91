//! Pictures as SVG: of examples, of queries and of what a terminal showed.

use std::fmt::Write as _;

/// Colours for light and dark. The paper is painted, too: a page can be of another scheme than the browser says.
const STYLE: &str = "
  text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; font-size: 13px; } .quiet { fill: #59636e; font-size: 11px; } .bad { fill: #cf222e; font-weight: 600; }
  polyline { fill: none; } .paper { fill: #fff; } .axis { stroke: #818b98; stroke-opacity: .6; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } text { fill: #e6edf3; } .quiet { fill: #9198a1; } .bad { fill: #f4525c; }
  }
";

/// What is drawn so far, in pixels from the upper left.
#[derive(Default)]
pub struct Picture {
    text: String,
}

impl Picture {
    /// A bar or a field of a class.
    pub fn rect(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64) {
        let _ = writeln!(
            self.text,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    }

    /// A line through two points or more.
    pub fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.text, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
    }

    /// Words whose `anchor` (start, middle, end) is at a point of the base line.
    pub fn label(&mut self, class: &str, x: f64, y: f64, anchor: &str, words: &str) {
        let words = escaped(words);
        let _ = writeln!(
            self.text,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
        );
    }

    /// All of it. `label` says what it shows to those who do not see it; `style` is of the classes that are its own.
    pub fn finish(self, width: f64, height: f64, label: &str, style: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\" aria-label=\"{}\">\n<style>{STYLE}{style}</style>\n\
             <rect class=\"paper\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n{}</svg>\n",
            escaped(label),
            self.text
        )
    }
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
