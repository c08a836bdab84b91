//! Schedules: parsed, followed to the next fire time, judged.

use std::{str::FromStr as _, time::Duration};

use chrono::TimeZone as _;
use croner::Cron;
use etcd_defrag_webhook::defrag::schedule::{self, Place, Schedule, ScheduleLimits, TimeZone};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    harness::{Batch, Result, Times, here, measure},
    now,
    oracle::Oracle,
    table::Table,
};

/// Fire times that have to agree before anything is timed.
const AGREE: usize = 5;
/// Parse plus judge, in nanoseconds.
const GOAL: f64 = 10_000.0;

/// A schedule, and what means the same to others, where it can be written.
struct Case {
    text: &'static str,
    zone: &'static str,
    /// Seconds first, and days of the week by name: 1 is Sunday there.
    cron: Option<&'static str>,
    croner: Option<&'static str>,
}

const fn case(
    text: &'static str,
    zone: &'static str,
    cron: Option<&'static str>,
    croner: Option<&'static str>,
) -> Case {
    Case { text, zone, cron, croner }
}

const CASES: [Case; 10] = [
    case("0 0 * * *", "UTC", Some("0 0 0 * * *"), Some("0 0 * * *")),
    case("@daily", "UTC", Some("@daily"), Some("@daily")),
    case("*/15 * * * *", "UTC", Some("0 */15 * * * *"), Some("*/15 * * * *")),
    case("17 3 * * 1-5", "Europe/Rome", Some("0 17 3 * * MON-FRI"), Some("17 3 * * 1-5")),
    case("30 4 1,15 * *", "Asia/Kolkata", Some("0 30 4 1,15 * *"), Some("30 4 1,15 * *")),
    case("0 3 1-7/2 6-8 *", "America/New_York", Some("0 0 3 1-7/2 6-8 *"), Some("0 3 1-7/2 6-8 *")),
    case("0 0 29 2 *", "UTC", Some("0 0 0 29 2 *"), Some("0 0 29 2 *")),
    case("5 4 1 * 1", "UTC", Some("0 5 4 1 * MON"), Some("5 4 1 * 1")),
    case("30 2 26-31 3 *", "Europe/Rome", Some("0 30 2 26-31 3 *"), Some("30 2 26-31 3 *")),
    case("@every 1h30m", "UTC", None, None),
];

/// The fire times of the others, in Unix seconds.
fn by_cron(text: &str, zone: chrono_tz::Tz, after: Timestamp) -> Result<Vec<i64>> {
    let schedule = cron::Schedule::from_str(text)?;
    let after = zone.timestamp_opt(after.as_second(), 0).single().ok_or("no such instant")?;
    Ok(schedule.after(&after).take(AGREE).map(|at| at.timestamp()).collect())
}

fn by_croner(text: &str, zone: &TimeZone, after: Timestamp) -> Result<Vec<i64>> {
    let after = after.to_zoned(zone.rules().clone());
    Ok(Cron::from_str(text)?.iter_after(after).take(AGREE).map(|at| at.timestamp().as_second()).collect())
}

fn by_go(oracle: &Oracle, case: &Case, after: Timestamp) -> Result<Vec<i64>> {
    let nanos = i64::try_from(after.as_nanosecond())?;
    let question = json!({"Schedule": case.text, "Zone": case.zone, "After": nanos, "Count": AGREE});
    let answer = oracle.ask("fires", &question)?;
    answer.split_whitespace().map(|second| Ok(second.parse()?)).collect()
}

/// Whether somebody fires when we do; if not, why it is ignored.
fn agrees(who: &str, case: &Case, ours: &[i64], theirs: Option<Result<Vec<i64>>>, left_out: &mut Vec<String>) -> bool {
    let why = match theirs {
        Some(Ok(theirs)) if theirs == ours => return true,
        Some(Ok(theirs)) => {
            let show = |seconds: &[i64]| -> Option<String> {
                let first = (0..AGREE).find(|index| theirs.get(*index) != ours.get(*index))?;
                Timestamp::from_second(*seconds.get(first)?).ok().map(|at| at.to_string())
            };
            let show = |seconds: &[i64]| show(seconds).unwrap_or_else(|| "no more".to_owned());
            format!("fires at {} where Kubernetes fires at {}", show(&theirs), show(ours))
        }
        Some(Err(error)) => format!("does not take it ({error})"),
        None => "has no way to write it".to_owned(),
    };
    left_out.push(format!("{} ({}): {who} {why}", case.text, case.zone));
    false
}

/// Times parsing, and parsing with the next fire time. Says what could not be compared.
pub fn compare(table: &mut Table, oracle: &Oracle) -> Result<Vec<String>> {
    let after = now()?;
    let mut left_out = Vec::new();
    let (mut parsed, mut followed) = (Vec::new(), Vec::new());
    for case in &CASES {
        let zone = TimeZone::parse(case.zone)?;
        let tz: chrono_tz::Tz = case.zone.parse().map_err(|_| format!("chrono-tz has no {}", case.zone))?;
        let ours: Vec<i64> =
            Schedule::parse(case.text)?.fire_times(after, &zone).take(AGREE).map(Timestamp::as_second).collect();
        if !agrees("Go", case, &ours, Some(by_go(oracle, case, after)), &mut left_out) {
            return Err(format!("{} differs from Go: there is nothing to time", case.text).into());
        }
        let cron = case.cron.map(|text| by_cron(text, tz, after));
        let cron = case.cron.filter(|_| agrees("cron", case, &ours, cron, &mut left_out));
        let croner = case.croner.map(|text| by_croner(text, &zone, after));
        let croner = case.croner.filter(|_| agrees("croner", case, &ours, croner, &mut left_out));

        let question =
            |what: &str| json!({"What": what, "Text": case.text, "Zone": case.zone, "After": after.as_second()});
        let input = format!("{}  {}", case.text, case.zone);
        parsed.push((
            input.clone(),
            timed(vec![
                Some(here(|| Schedule::parse(case.text))),
                Some(oracle.batches(question("parse"))),
                cron.map(|text| here(move || cron::Schedule::from_str(text))),
                croner.map(|text| here(move || Cron::from_str(text))),
            ])?,
        ));
        let in_tz = tz.timestamp_opt(after.as_second(), 0).single().ok_or("no such instant")?;
        let zoned = after.to_zoned(zone.rules().clone());
        followed.push((
            input,
            timed(vec![
                Some(here(|| Schedule::parse(case.text).ok()?.next(after, &zone))),
                Some(oracle.batches(question("next"))),
                cron.map(|text| here(move || cron::Schedule::from_str(text).ok()?.after(&in_tz).next())),
                croner.map(|text| here(|| Cron::from_str(text).ok()?.find_next_occurrence(&zoned, false).ok())),
            ])?,
        ));
    }
    for (title, rows) in [("parse a schedule", parsed), ("parse a schedule, find the next fire time", followed)] {
        table.part(title, &["Go", "cron", "croner"]);
        for (input, times) in rows {
            table.row(&input, &times, None);
        }
    }
    Ok(left_out)
}

/// Measures those who take part.
fn timed(contenders: Vec<Option<Batch<'_>>>) -> Result<Vec<Option<Times>>> {
    let takes_part: Vec<bool> = contenders.iter().map(Option::is_some).collect();
    let mut times = measure(contenders.into_iter().flatten().collect())?.into_iter();
    Ok(takes_part.into_iter().map(|part| if part { times.next() } else { None }).collect())
}

/// Times parsing plus judging, for schedules that are sound and for ones that are refused.
pub fn judge(table: &mut Table) -> Result {
    let now = now()?;
    let at = Place::annotations("kamaji-system", "kamaji-etcd");
    let limits =
        ScheduleLimits { min_interval: Duration::from_mins(10), max_interval: None, windows: None, locks_zone: false };
    table.part("parse and judge a schedule", &[]);
    for (text, zone) in [
        ("0 0 * * *", None),
        ("H H(0-5) * * *", None),
        ("17 3 * * 1-5", Some("Europe/Rome")),
        ("30 2 * * *", Some("Europe/Rome")),
        ("*/15 * * * *", Some("America/New_York")),
        ("0 3 1-7/2 6-8 *", Some("Asia/Kolkata")),
        ("5 4 1 * 1", Some("UTC")),
        ("0 0 29 2 *", None),
        ("0 0 31 2 *", None),
        ("0 0 29 2 *", Some("Europe/Rome")),
        ("* * * * *", None),
        ("* * * * *", Some("Europe/Rome")),
        ("0 0 * * 7", None),
        ("@Daily", None),
        ("0 0 * * *", Some("CET+1")),
        ("0 0 * * *", Some("Europe/Rom")),
        ("0 0 * * *", Some("America/New_Yrok")),
    ] {
        let times = measure(vec![here(|| schedule::judge(text, zone, &at, &limits, now))])?;
        let judged = schedule::judge(text, zone, &at, &limits, now);
        let said = judged.findings.first().map_or("sound", |finding| finding.code.as_str());
        let input = format!("{text}  {}  {said}", zone.unwrap_or("(no zone)"));
        table.row(&input, &times.into_iter().map(Some).collect::<Vec<_>>(), Some(GOAL));
    }
    Ok(())
}
