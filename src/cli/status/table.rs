//! Etcds for people, in the form of kubectl's tables.

use jiff::Timestamp;

use super::etcds::Etcd;
use crate::{
    cli::output::Page,
    defrag::{finding::Finding, schedule::TimeZone, text::shorten},
};

/// The widest cell, in characters: the longest name there is.
const CELL: usize = 253;

/// The table, and below it in full what refuses.
pub(super) fn table(etcds: &[Etcd], namespaces: bool, now: Timestamp) -> Page {
    let mut page = Page::default();
    if etcds.is_empty() {
        return page;
    }
    let mut rows = vec![
        ["NAMESPACE", "NAME", "POLICY", "SCHEDULE", "NEXT RUN", "LAST SUCCESS", "LAST FAILURE", "FINDINGS"]
            .map(str::to_owned),
    ];
    // Escapes count for the width of a column.
    rows.extend(etcds.iter().map(|etcd| row(etcd, now).map(|cell| shorten(&cell, CELL))));
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let cells = row.iter().zip(widths).skip(usize::from(!namespaces));
        let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        page.line(cells.join("   ").trim_end());
    }
    let lines = super::measured::lines(etcds);
    if !lines.is_empty() {
        page.line("");
        for line in &lines {
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

fn row(etcd: &Etcd, now: Timestamp) -> [String; 8] {
    let ago = |time: Option<Timestamp>| time.map_or_else(|| "<none>".to_owned(), |time| age(time, now));
    [
        etcd.namespace.clone(),
        etcd.name.clone(),
        etcd.policy.clone().unwrap_or_else(|| "<built-in>".to_owned()),
        etcd.schedule.clone().unwrap_or_else(|| "<none>".to_owned()),
        next_run(etcd),
        ago(etcd.last_success),
        ago(etcd.last_failure),
        findings(&etcd.findings),
    ]
}

fn next_run(etcd: &Etcd) -> String {
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
    use crate::defrag::{finding::Code, keys::Key};

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
            findings: Vec::new(),
            ..Etcd::default()
        }
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
                last_failure: Some("2026-02-20T00:00:00Z".parse().unwrap()),
                findings: vec![tight.clone()],
                ..etcd("unzoned")
            },
            Etcd { suspended: true, next_run: None, ..etcd("paused") },
            Etcd {
                cron_job: None,
                schedule: None,
                next_run: None,
                last_success: None,
                findings: vec![invalid, tight],
                ..etcd("refused")
            },
        ];
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        insta::assert_snapshot!(table(&etcds, true, now).plain());
        let first = table(&etcds, false, now).plain();
        assert!(first.starts_with("NAME      POLICY "), "{first}");
        assert_eq!(table(&[], true, now).plain(), "");
    }

    #[test]
    fn ages_are_in_one_unit() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let of = |seconds: i64| age(now - jiff::SignedDuration::from_secs(seconds), now);
        assert_eq!([-5, 119, 120, 10_799, 10_800, 172_800].map(of), ["0s", "119s", "2m", "179m", "3h", "2d"]);
    }
}
