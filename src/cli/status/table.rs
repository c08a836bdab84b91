//! Etcds for people, in the form of kubectl's tables.

use jiff::Timestamp;

use super::etcds::Etcd;
use crate::{
    cli::output::Page,
    defrag::{
        cronjob::last_run::{LastRun, Retry},
        finding::Finding,
        preflight::WELL,
        schedule::TimeZone,
        text::shorten,
    },
};

/// The widest cell, in characters: the longest name there is.
const CELL: usize = 253;

/// How a table is printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// With the namespace of each etcd.
    pub(super) namespaces: bool,
    /// With more of the last run.
    pub(super) wide: bool,
    /// With a line of headings.
    pub(super) headings: bool,
}

const HEADINGS: [&str; COLUMNS] = [
    "NAMESPACE",
    "NAME",
    "POLICY",
    "SCHEDULE",
    "NEXT RUN",
    "LAST RUN",
    "JOB",
    "SKIPPED",
    "BLOCKED",
    "ENGINE",
    "LAST SUCCESS",
    "LAST FAILURE",
    "FINDINGS",
];
const COLUMNS: usize = 13;
/// The columns of a wide table only.
const WIDE: std::ops::Range<usize> = 6..10;

/// The table, and below it in full what refuses.
pub(super) fn table(etcds: &[Etcd], look: Look, now: Timestamp) -> Page {
    let mut page = Page::default();
    if etcds.is_empty() {
        return page;
    }
    let mut rows = if look.headings { vec![HEADINGS.map(str::to_owned)] } else { Vec::new() };
    // Escapes count for the width of a column.
    rows.extend(etcds.iter().map(|etcd| row(etcd, now).map(|cell| shorten(&cell, CELL))));
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let is_shown = |column: usize| (look.namespaces || column > 0) && (look.wide || !WIDE.contains(&column));
        let cells = row.iter().zip(widths).enumerate().filter(|(column, _)| is_shown(*column));
        let cells: Vec<String> = cells.map(|(_, (cell, width))| format!("{cell:<width$}")).collect();
        page.line(cells.join("   ").trim_end());
    }
    let lines = super::measured::lines(etcds);
    if !lines.is_empty() {
        page.line("");
        for line in &lines {
            page.line(line);
        }
    }
    let starts: Vec<String> = etcds.iter().flat_map(starts).collect();
    if !starts.is_empty() {
        page.line("");
        for line in &starts {
            page.line(line);
        }
    }
    for etcd in etcds {
        for finding in etcd.findings.iter().filter(|finding| finding.denies()) {
            page.line("");
            page.finding(&format!("{}/{}", etcd.namespace, etcd.name), finding);
        }
    }
    page
}

/// What is wrong with how runs of an etcd start. A preflight that found nothing is in the other forms of output only.
fn starts(etcd: &Etcd) -> Vec<String> {
    let name = format!("{}/{}", etcd.namespace, etcd.name);
    let preflight = etcd.preflight.as_ref().and_then(|preflight| {
        let ended = match preflight.outcome.as_str() {
            "Failed" => "failed",
            "Succeeded" if preflight.message != WELL => "succeeded",
            _ => return None,
        };
        Some(format!("{name}: the preflight {ended} at {}: {}", preflight.at, preflight.message))
    });
    let stuck = etcd.not_started.as_ref().map(|why| format!("{name}: the last run has not started: {why}"));
    let again = etcd.last_run.as_ref().and_then(|run| Some(format!("{name}: {}", again(run)?)));
    preflight.into_iter().chain(stuck).chain(again).collect()
}

/// The retry of a run that changed no member.
fn again(run: &LastRun) -> Option<String> {
    let becomes = match run.retry.as_ref()? {
        Retry::After(after) => format!("is retried after {after}, unless another run starts first"),
        Retry::Started(job) => format!("was retried as {job}"),
        Retry::Dropped(why) => format!("is not retried, because {why}"),
    };
    Some(format!("the run {} changed no member and {becomes}", run.job))
}

fn row(etcd: &Etcd, now: Timestamp) -> [String; COLUMNS] {
    let none = || "<none>".to_owned();
    let ago = |time: Option<Timestamp>| time.map_or_else(none, |time| age(time, now));
    let last = etcd.last_run.as_ref();
    let members = last.and_then(|run| run.members);
    [
        etcd.namespace.clone(),
        etcd.name.clone(),
        etcd.policy.clone().unwrap_or_else(|| "<built-in>".to_owned()),
        etcd.schedule.clone().unwrap_or_else(|| "<none>".to_owned()),
        next_run(etcd),
        last.map_or_else(none, |run| format!("{} {}", age(run.ended, now), run.in_short())),
        last.map_or_else(none, |run| run.job.clone()),
        members.map_or_else(none, |members| members.skipped.to_string()),
        members.map_or_else(none, |members| format!("{:.1}s", members.blocked_seconds)),
        etcd.engine_image.clone().unwrap_or_else(none),
        ago(etcd.last_success),
        ago(etcd.last_failure),
        findings(&etcd.findings),
    ]
}

fn next_run(etcd: &Etcd) -> String {
    if etcd.paused.is_some() {
        return "paused".to_owned();
    }
    if etcd.suspended {
        return "suspended".to_owned();
    }
    match etcd.next_run {
        Some(time) => {
            let zone =
                etcd.time_zone.as_deref().and_then(|name| TimeZone::parse(name).ok()).unwrap_or_else(TimeZone::utc);
            let name = etcd.time_zone.as_deref().unwrap_or("UTC");
            format!("{} {name}", time.to_zoned(zone.rules().clone()).strftime("%Y-%m-%d %H:%M"))
        }
        None if etcd.cron_job.is_none() => "no CronJob".to_owned(),
        None => "never".to_owned(),
    }
}

fn findings(findings: &[Finding]) -> String {
    let denials = findings.iter().filter(|finding| finding.denies()).count();
    match (denials, findings.len() - denials) {
        (0, 0) => "none".to_owned(),
        (0, warnings) => format!("{warnings} warn"),
        (denials, 0) => format!("{denials} deny"),
        (denials, warnings) => format!("{denials} deny, {warnings} warn"),
    }
}

/// How long ago, in one unit, as kubectl shows ages.
fn age(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(time).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..10_800 => format!("{}m", seconds / 60),
        10_800..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::status::etcds::Preflight,
        defrag::{finding::Code, keys::Key},
    };

    fn etcd(name: &str) -> Etcd {
        Etcd {
            namespace: "tenants".to_owned(),
            name: name.to_owned(),
            policy: Some("production".to_owned()),
            cron_job: Some(format!("{name}-defrag-job")),
            schedule: Some("17 3 * * *".to_owned()),
            time_zone: Some("Europe/Rome".to_owned()),
            suspended: false,
            next_run: Some("2026-03-02T02:17:00Z".parse().unwrap()),
            last_success: Some("2026-03-01T02:18:00Z".parse().unwrap()),
            last_failure: None,
            last_run: run(
                r#""Defragmented","seconds":66,"members":3,"defragmented":2,"skipped":1,"reclaimed":235929600,"blockedSeconds":4.1"#,
            ),
            findings: Vec::new(),
            ..Etcd::default()
        }
    }

    /// The last run, from its outcome on.
    fn run(rest: &str) -> Option<LastRun> {
        LastRun::read(&format!(r#"{{"ended":"2026-03-01T02:18:00Z","job":"e-1","outcome":{rest}}}"#))
    }

    const ALL: Look = Look { namespaces: true, wide: false, headings: true };

    #[test]
    fn why_nothing_starts_stands_below_the_table() {
        let preflight = |outcome: &str, message: &str| {
            let (outcome, at) = (outcome.to_owned(), "2026-03-01T02:00:00Z".to_owned());
            Some(Preflight { outcome, at, message: message.to_owned() })
        };
        let differs = format!("{WELL}; e-0: its quota is 8 GiB, and the rule was evaluated with 2 GiB");
        let etcds = [
            Etcd { preflight: preflight("Succeeded", WELL), ..etcd("well") },
            Etcd { preflight: preflight("Succeeded", &differs), ..etcd("quota") },
            Etcd {
                preflight: preflight("Failed", "x509: certificate signed by unknown authority\u{1b}[2J"),
                ..etcd("wrong")
            },
            Etcd { not_started: Some("2026-03-01T02:00:00Z stuck-defrag-job-1: no pod".to_owned()), ..etcd("stuck") },
            Etcd { last_run: run(r#""Failed","retry":{"after":"2026-03-01T02:28:00Z"}"#), ..etcd("soon") },
            Etcd { last_run: run(r#""Deferred","retry":{"started":"again-defrag-job-2"}"#), ..etcd("again") },
            Etcd {
                last_run: run(r#""Failed","retry":{"dropped":"the CronJob is suspended\u001b[2J"}"#),
                ..etcd("off")
            },
        ];
        insta::assert_snapshot!(table(&etcds, ALL, "2026-03-01T12:00:00Z".parse().unwrap()).plain());
    }

    #[test]
    fn a_fleet_in_a_table() {
        let tight = Finding::new(Code::VolumeTight, "spec", "", "Tight.");
        let invalid = Finding::new(Code::ScheduleInvalid, Key::Schedule.field(), "", "Invalid.");
        let etcds = [
            etcd("fine"),
            Etcd {
                policy: None,
                time_zone: None,
                last_run: run(r#""Succeeded","seconds":42"#),
                last_failure: Some("2026-02-20T00:00:00Z".parse().unwrap()),
                findings: vec![tight.clone()],
                ..etcd("unzoned")
            },
            Etcd { suspended: true, next_run: None, ..etcd("suspended") },
            Etcd {
                paused: Some("true".to_owned()),
                last_run: run(
                    r#""Deferred","seconds":300,"members":3,"defragmented":0,"skipped":1,"reclaimed":0,"blockedSeconds":0"#,
                ),
                ..etcd("paused")
            },
            Etcd {
                cron_job: None,
                last_run: None,
                schedule: None,
                next_run: None,
                last_success: None,
                findings: vec![invalid, tight],
                ..etcd("refused")
            },
        ];
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        insta::assert_snapshot!(table(&etcds, ALL, now).plain());
        let wide = table(&etcds, Look { wide: true, headings: false, ..ALL }, now).plain();
        insta::assert_snapshot!("wide", wide);
        let first = table(&etcds, Look { namespaces: false, ..ALL }, now).plain();
        assert!(first.starts_with("NAME        POLICY "), "{first}");
        assert_eq!(table(&[], ALL, now).plain(), "");
    }

    #[test]
    fn ages_are_in_one_unit() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let of = |seconds: i64| age(now - jiff::SignedDuration::from_secs(seconds), now);
        assert_eq!([-5, 119, 120, 10_799, 10_800, 172_800].map(of), ["0s", "119s", "2m", "179m", "3h", "2d"]);
    }
}
