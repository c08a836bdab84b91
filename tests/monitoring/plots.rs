//! Of each dashboard a sheet of plots: what the queries of its panels come to on the data of this Prometheus. They are no
//! screenshots of Grafana, and look otherwise. `make plots` draws them into docs/.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use harness::svg::Picture;
use serde_json::Value;

use crate::{dashboards, files::text, live::substituted, world::World};

/// How long more happens before they are drawn.
const HISTORY: Duration = Duration::from_mins(4);
/// What is shown, and how often it is asked for; in seconds.
const SHOWN: i64 = 300;
const STEP: i64 = 2;

const COLUMNS: usize = 3;
const PLOT: f64 = 380.0;
const HEIGHT: f64 = 150.0;
const GAP: f64 = 20.0;
/// Lines of a legend that are shown.
const LEGEND: usize = 4;
/// Characters of one, for which there is room in its column.
const ENTRY: usize = 28;
const COLOURS: usize = 6;
const STYLE: &str = "
  .heading { font-weight: 600; font-size: 16px; } .field { fill: #818b98; fill-opacity: .08; }
  .s0 { stroke: #1f6feb; } .s1 { stroke: #1a7f37; } .s2 { stroke: #d4870b; } .s3 { stroke: #cf222e; } .s4 { stroke: #8250df; }
  .s5 { stroke: #57606a; } .s0, .s1, .s2, .s3, .s4, .s5 { stroke-width: 1.6; }
  @media (prefers-color-scheme: dark) {
    .s0 { stroke: #58a6ff; } .s1 { stroke: #3fb950; } .s2 { stroke: #db9a2c; } .s3 { stroke: #f4525c; } .s4 { stroke: #bc8cff; }
    .s5 { stroke: #9198a1; }
  }
";

/// Draws a sheet for each dashboard.
pub(crate) fn draw(world: &World, folder: &Path) {
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < HISTORY {
        // More, and less, and given back.
        world.grow(4 + 6 * (round % 4));
        world.write_is_refused();
        if round % 4 == 3 {
            world.defragment();
        }
        round += 1;
        thread::sleep(Duration::from_secs(5));
    }
    let now = jiff::Timestamp::now().as_second();
    for (file, dashboard) in dashboards::all() {
        let sheet = sheet(world, &dashboard, now);
        let path = folder.join(format!("dashboard-{}", file.replace(".json", ".svg")));
        fs::write(&path, sheet).unwrap();
        println!("{}", path.display());
    }
}

struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

/// A row of a dashboard is a heading, and each of its panels a plot; a table has one for each query.
fn sheet(world: &World, dashboard: &Value, now: i64) -> String {
    let mut picture = Picture::default();
    let title = format!(
        "Plots of the queries of the dashboard \"{}\", on {} minutes of a real Prometheus",
        text(&dashboard["title"]),
        SHOWN / 60
    );
    picture.label("heading", GAP, 28.0, "start", &title);
    let (mut top, mut column) = (44.0, 0);
    for panel in dashboard["panels"].as_array().unwrap() {
        if panel["type"] == "row" {
            top += if column == 0 { 0.0 } else { HEIGHT + GAP };
            column = 0;
            picture.label("title", GAP, top + 16.0, "start", text(&panel["title"]));
            top += 28.0;
            continue;
        }
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
        let targets: Vec<&Value> = panel["targets"].as_array().unwrap().iter().collect();
        let at_a_time = if panel["type"] == "table" { 1 } else { targets.len() };
        for (part, targets) in targets.chunks(at_a_time).enumerate() {
            let series: Vec<Series> = targets.iter().flat_map(|target| series(world, target, now)).collect();
            assert!(!series.is_empty(), "{}: no data", panel["title"]);
            let mut title = text(&panel["title"]).to_owned();
            if at_a_time < panel["targets"].as_array().unwrap().len() {
                title = format!("{title}, query {}", part + 1);
            }
            #[expect(clippy::cast_precision_loss, reason = "a handful")]
            let left = GAP + column as f64 * (PLOT + GAP);
            plot(&mut picture, (left, top), &title, unit, &series, now);
            column += 1;
            if column == COLUMNS {
                (column, top) = (0, top + HEIGHT + GAP);
            }
        }
    }
    top += if column == 0 { 0.0 } else { HEIGHT + GAP };
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let width = GAP + COLUMNS as f64 * (PLOT + GAP);
    picture.finish(width, top, &title, STYLE)
}

fn series(world: &World, target: &Value, now: i64) -> Vec<Series> {
    let expression = substituted(text(&target["expr"]));
    let found = world.prometheus.query_range(&expression, now - SHOWN, now, STEP);
    let legend = target["legendFormat"].as_str().unwrap_or_default();
    found
        .iter()
        .map(|one| {
            let name = named(legend, &one["metric"]);
            let point = |pair: &Value| Some((pair[0].as_f64()?, pair[1].as_str()?.parse::<f64>().ok()?));
            let points = one["values"].as_array().unwrap().iter().filter_map(point);
            Series { name, points: points.filter(|(_, value)| value.is_finite()).collect() }
        })
        .collect()
}

/// A legend with the labels of a series put in; one that the series does not have is empty, as in Grafana.
fn named(legend: &str, labels: &Value) -> String {
    let mut parts = legend.split("{{");
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (label, rest) = part.split_once("}}").unwrap();
        name.push_str(labels[label.trim()].as_str().unwrap_or_default());
        name.push_str(rest);
    }
    name.trim().to_owned()
}

fn plot(picture: &mut Picture, (left, top): (f64, f64), title: &str, unit: &str, series: &[Series], now: i64) {
    let (from, width, height) = (left + 64.0, PLOT - 64.0, HEIGHT - 62.0);
    let floor = top + 24.0 + height;
    let values = || series.iter().flat_map(|one| one.points.iter().map(|(_, value)| *value));
    let (mut least, mut most) = (values().fold(0.0, f64::min), values().fold(f64::MIN, f64::max));
    // Such as a time of the day: its changes would not be seen from zero.
    let lowest = values().fold(f64::MAX, f64::min);
    if lowest > 0.0 && most < 1.2 * lowest && most > lowest {
        least = lowest;
    }
    if most <= least {
        most = least + 1.0;
    }
    picture.label("title", left, top + 14.0, "start", title);
    picture.rect("field", from, top + 24.0, width, height);
    picture.line("axis", &[(from, floor), (from + width, floor)]);
    for (value, y) in [(most, top + 33.0), (least, floor)] {
        picture.label("quiet", from - 6.0, y, "end", &shown(value, unit));
    }
    #[expect(clippy::cast_precision_loss, reason = "a time")]
    let (begin, shown_seconds) = ((now - SHOWN) as f64, SHOWN as f64);
    for (index, one) in series.iter().enumerate() {
        let place = |(at, value): &(f64, f64)| {
            (from + width * (at - begin) / shown_seconds, floor - height * (value - least) / (most - least))
        };
        let class = format!("s{}", index % COLOURS);
        let mut points: Vec<(f64, f64)> = one.points.iter().map(place).collect();
        if let [(x, y)] = points[..] {
            points.push((x + 3.0, y));
        }
        picture.line(&class, &points);
    }
    legend(picture, left, floor, series, unit);
}

/// The last value of each series, in two columns.
fn legend(picture: &mut Picture, left: f64, floor: f64, series: &[Series], unit: &str) {
    for (index, one) in series.iter().take(LEGEND).enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let (x, y) = (left + 10.0 + (index % 2) as f64 * 190.0, floor + 15.0 + (index / 2) as f64 * 14.0);
        picture.line(&format!("s{}", index % COLOURS), &[(x - 10.0, y - 4.0), (x, y - 4.0)]);
        let last = one.points.last().map_or_else(|| "–".to_owned(), |(_, value)| shown(*value, unit));
        let more = if index + 1 == LEGEND && series.len() > LEGEND {
            format!(" … {} more", series.len() - LEGEND)
        } else {
            String::new()
        };
        let name = shortened(&one.name, ENTRY.saturating_sub(last.chars().count() + more.chars().count() + 1));
        picture.label("quiet", x + 5.0, y, "start", format!("{name} {last}{more}").trim());
    }
}

/// At most so many characters.
fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A value in the unit of a panel.
fn shown(value: f64, unit: &str) -> String {
    let scaled = |steps: &[&str], base: f64| {
        let (mut value, mut step) = (value, 0);
        while value.abs() >= base && step + 1 < steps.len() {
            (value, step) = (value / base, step + 1);
        }
        format!("{} {}", short(value), steps[step])
    };
    match unit {
        "bytes" => scaled(&["B", "KiB", "MiB", "GiB", "TiB"], 1024.0),
        "Bps" => scaled(&["B/s", "KiB/s", "MiB/s"], 1024.0),
        "percentunit" => format!("{} %", short(value * 100.0)),
        "s" if value.abs() >= 172_800.0 => format!("{} d", short(value / 86_400.0)),
        "s" if value.abs() >= 7_200.0 => format!("{} h", short(value / 3_600.0)),
        "s" if value != 0.0 && value.abs() < 1.0 => format!("{} ms", short(value * 1000.0)),
        "s" => format!("{} s", short(value)),
        "ops" => format!("{}/s", short(value)),
        _ => short(value),
    }
}

/// At most three digits after the point.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        at if at >= 100.0 => 0,
        at if at >= 10.0 => 1,
        at if at >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[test]
fn values_are_shown_in_the_unit_of_their_panel() {
    for (value, unit, expected) in [
        (0.0, "none", "0"),
        (1536.0, "bytes", "1.5 KiB"),
        (8_589_934_592.0, "bytes", "8 GiB"),
        (0.1234, "percentunit", "12.3 %"),
        (0.0021, "s", "2.1 ms"),
        (31_536_000.0, "s", "365 d"),
        (86_400.0, "s", "24 h"),
        (0.2, "ops", "0.2/s"),
        (120.0, "short", "120"),
    ] {
        assert_eq!(shown(value, unit), expected);
    }
}

#[test]
fn a_legend_has_the_labels_of_its_series_and_fits_its_column() {
    let labels = serde_json::json!({"pod": "etcd-0", "code": "200"});
    for (legend, expected) in [
        ("{{pod}} file", "etcd-0 file"),
        ("{{ pod }}: {{code}}", "etcd-0: 200"),
        ("{{name}} refused", "refused"),
        ("all", "all"),
        ("", ""),
    ] {
        assert_eq!(named(legend, &labels), expected);
    }
    assert_eq!(shortened("mutate.etcd-defrag-webhook", 10), "mutate.et…");
    assert_eq!(shortened("etcd-0", 6), "etcd-0");
}
