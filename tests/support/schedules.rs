//! Generated schedules: by the grammar, mutated, and random.

#![allow(dead_code, reason = "not every test needs all of it")]

use harness::random::Random;

const ALPHABET: [&str; 56] = [
    "0",
    "1",
    "2",
    "5",
    "7",
    "9",
    "12",
    "23",
    "24",
    "31",
    "32",
    "59",
    "60",
    "*",
    "?",
    "/",
    "-",
    ",",
    " ",
    "\t",
    "\u{a0}",
    "\u{85}",
    "\u{2003}",
    "\u{3000}",
    "\u{feff}",
    "\u{200b}",
    "+",
    "L",
    "W",
    "#",
    "~",
    "H",
    "h",
    "sun",
    "Mon",
    "FRI",
    "frİ",
    "jan",
    "DEC",
    "ſun",
    "@",
    "@every ",
    "@daily",
    "TZ",
    "TZ=",
    "CRON_TZ=UTC ",
    "d",
    "s",
    "m",
    "h",
    "µs",
    ".",
    "٣",
    "５",
    "0x",
    "_",
];

pub(crate) fn number(random: &mut Random, min: u64, max: u64) -> String {
    let value = match random.below(40) {
        0 => max + 1,
        1 => min.saturating_sub(1),
        2 => random.bits() % 100,
        3 => random.bits() >> random.below(64),
        _ => min + random.bits() % (max - min + 1),
    };
    match random.below(30) {
        0 => format!("0{value}"),
        1 => format!("+{value}"),
        _ => value.to_string(),
    }
}

fn value(random: &mut Random, field: usize) -> String {
    const MONTHS: [&str; 12] = ["jan", "FEB", "Mar", "apr", "may", "jun", "jul", "AUG", "sep", "oct", "nov", "dEc"];
    const DAYS: [&str; 8] = ["sun", "MON", "Tue", "wed", "thu", "frI", "sat", "frİ"];
    let (min, max) = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)][field];
    match field {
        3 if random.one_in(3) => (*random.pick(&MONTHS)).to_owned(),
        4 if random.one_in(3) => (*random.pick(&DAYS)).to_owned(),
        _ => number(random, min, max),
    }
}

fn item(random: &mut Random, field: usize) -> String {
    let base = match random.below(10) {
        0..3 => if random.one_in(3) { "?" } else { "*" }.to_owned(),
        3..7 => value(random, field),
        7 if random.one_in(8) => format!("*-{}", value(random, field)),
        _ => format!("{}-{}", value(random, field), value(random, field)),
    };
    match random.below(5) {
        0 => format!(
            "{base}/{}",
            if random.one_in(20) { number(random, 0, 100) } else { (1 + random.below(20)).to_string() }
        ),
        _ => base,
    }
}

pub(crate) fn fields(random: &mut Random) -> String {
    let field = |random: &mut Random, field: usize| {
        if random.one_in(if field < 2 { 4 } else { 2 }) {
            return "*".to_owned();
        }
        let items = 1 + if random.one_in(4) { random.below(4) } else { 0 };
        (0..items).map(|_| item(random, field)).collect::<Vec<_>>().join(",")
    };
    (0..5).map(|index| field(random, index)).collect::<Vec<_>>().join(" ")
}

pub(crate) fn duration_text(random: &mut Random) -> String {
    let mut text = ["", "", "", "-", "+"][random.below(5)].to_owned();
    for _ in 0..=random.below(3) {
        let number = if random.one_in(4) { random.bits() >> random.below(64) } else { random.bits() % 100 };
        if !random.one_in(8) {
            text += &number.to_string();
        }
        if random.one_in(4) {
            text += ".";
            text += &(random.bits() >> random.below(64)).to_string();
        }
        text += *random.pick(&["ns", "us", "µs", "μs", "ms", "s", "m", "h", "s", "m", "h", "d", "", "M"]);
    }
    text
}

pub(crate) fn mutated(random: &mut Random, text: &str) -> String {
    let mut letters: Vec<String> = text.chars().map(String::from).collect();
    for _ in 0..=random.below(3) {
        let at = random.below(letters.len() + 1);
        match random.below(4) {
            0 if at < letters.len() => {
                letters.remove(at);
            }
            1 if at < letters.len() => (*random.pick(&ALPHABET)).clone_into(&mut letters[at]),
            2 if at < letters.len() => letters.insert(at, letters[at].clone()),
            _ => letters.insert(at, (*random.pick(&ALPHABET)).to_owned()),
        }
    }
    letters.concat()
}

pub(crate) fn known() -> Vec<(bool, String)> {
    include_str!("../data/schedules.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (verdict, text) = line.split_once(' ').expect("a verdict and a string");
            (verdict == "accept", serde_json::from_str(text).expect("a JSON string"))
        })
        .collect()
}

pub(crate) fn any_schedule(random: &mut Random, known: &[(bool, String)]) -> String {
    match random.below(10) {
        0..4 => fields(random),
        4..6 => {
            let text = fields(random);
            mutated(random, &text)
        }
        6 => {
            let text = &random.pick(known).1;
            mutated(random, text)
        }
        7 => {
            let every = format!("@every {}", duration_text(random));
            if random.one_in(5) { mutated(random, &every) } else { every }
        }
        8 => (0..random.below(12)).map(|_| *random.pick(&ALPHABET)).collect(),
        _ => {
            let bytes: Vec<u8> = (0..random.below(24)).map(|_| random.bits().to_le_bytes()[0]).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }
}
