//! The picture: what a fleet costs against its size.

use harness::svg::Picture;

use crate::{Measured, float};

const WIDTH: f64 = 250.0;
const HEIGHT: f64 = 170.0;
/// Left of a panel, for its numbers.
const NUMBERS: f64 = 48.0;
/// Above a panel: the legend and its title.
const HEAD: f64 = 66.0;
/// Below it: sizes.
const FOOT: f64 = 40.0;

const STYLE: &str = "
  .plain { stroke: #818b98; stroke-width: 1.5; } .one { stroke: #0969da; stroke-width: 2; } .fifty { stroke: #d4870b; stroke-width: 2; }
  @media (prefers-color-scheme: dark) { .one { stroke: #4493f8; } .fifty { stroke: #db9a2c; } }
";

/// A figure of a fleet.
type Figure = fn(&Measured) -> f64;

/// A figure and, where there is one, its anchor.
const PANELS: [(&str, Figure, Option<Figure>); 4] = [
    ("cold start, s", |fleet| fleet.created.1, Some(|fleet| fleet.created.0)),
    ("changed default, s", |fleet| fleet.changed.1, Some(|fleet| fleet.changed.0)),
    ("processor time of serve, s", |fleet| fleet.serve_cpu * float(fleet.size), None),
    ("resident memory, MiB", |fleet| fleet.resident, None),
];

/// All of it as SVG.
pub(crate) fn svg(fleets: &[Measured]) -> String {
    let mut picture = Picture::default();
    let mut x = NUMBERS;
    for (class, words) in
        [("plain", "as many plain calls"), ("one", "in one namespace"), ("fifty", "in fifty namespaces")]
    {
        picture.line(class, &[(x, 16.0), (x + 22.0, 16.0)]);
        picture.label("", x + 28.0, 20.0, "start", words);
        x += 180.0;
    }
    for (number, (title, ours, anchor)) in PANELS.into_iter().enumerate() {
        panel(&mut picture, left(number), title, fleets, ours, anchor);
    }
    picture.finish(
        left(PANELS.len()) - NUMBERS + 24.0,
        HEAD + HEIGHT + FOOT,
        "What a fleet costs against its size",
        STYLE,
    )
}

fn panel(picture: &mut Picture, left: f64, title: &str, fleets: &[Measured], ours: Figure, anchor: Option<Figure>) {
    let largest = fleets.iter().map(|fleet| fleet.size).max().unwrap_or(1);
    let highest = fleets.iter().flat_map(|fleet| [ours(fleet), anchor.map_or(0.0, |anchor| anchor(fleet))]);
    let top = round(highest.fold(0.0, f64::max));
    let place =
        |size: usize, value: f64| (left + WIDTH * float(size) / float(largest), HEAD + HEIGHT * (1.0 - value / top));
    picture.label("title", left, HEAD - 14.0, "start", title);
    picture.line("axis", &[(left, HEAD), (left, HEAD + HEIGHT), (left + WIDTH, HEAD + HEIGHT)]);
    for share in [0.0, 0.5, 1.0] {
        picture.label("quiet", left - 6.0, place(0, top * share).1 + 4.0, "end", &format!("{}", top * share));
    }
    let of = |namespaces: usize| fleets.iter().filter(move |fleet| fleet.namespaces == namespaces);
    for fleet in of(1) {
        picture.label("quiet", place(fleet.size, 0.0).0, HEAD + HEIGHT + 16.0, "middle", &fleet.size.to_string());
    }
    let mut line = |class: &str, namespaces: usize, figure: Figure| {
        let points: Vec<(f64, f64)> = of(namespaces).map(|fleet| place(fleet.size, figure(fleet))).collect();
        picture.line(class, &points);
    };
    if let Some(anchor) = anchor {
        line("plain", 1, anchor);
    }
    line("one", 1, ours);
    line("fifty", 50, ours);
}

fn left(number: usize) -> f64 {
    NUMBERS + float(number) * (WIDTH + NUMBERS)
}

/// A round number that is no less.
fn round(value: f64) -> f64 {
    let unit = 10_f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0, 10.0].map(|times| times * unit).into_iter().find(|round| *round >= value).unwrap_or(value)
}
