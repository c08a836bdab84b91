//! What happened to the load during each event, as a table.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread::sleep,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    installation::USER,
    load::{Call, Load, NAMESPACE, WAIT},
};
use harness::{Audit, AuditEvent, Node, eventually};

/// How long the reconciler may take to follow the last change.
const CATCH_UP: Duration = Duration::from_mins(1);

/// Whether somebody does it on purpose, so that no call may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planned {
    Yes,
    No,
}

struct Row {
    name: &'static str,
    planned: Planned,
    from: Timestamp,
    to: Timestamp,
    /// When the leader was lost.
    lost: Option<Timestamp>,
}

/// The phases of a test, and the load that goes on through all of them.
pub(crate) struct Phases<'a> {
    node: &'a Node,
    load: Load,
    rows: Vec<Row>,
}

impl<'a> Phases<'a> {
    pub(crate) fn start(node: &'a Node) -> Self {
        Self { node, load: Load::start(node), rows: Vec::new() }
    }

    /// Something that somebody does; returns when the load has gone on for a while after it.
    pub(crate) fn planned(&mut self, name: &'static str, event: impl FnOnce()) {
        self.run(name, Planned::Yes, || {
            event();
            None
        });
    }

    /// Something that happens; `event` returns when the leader was lost.
    pub(crate) fn mishap(&mut self, name: &'static str, event: impl FnOnce() -> Timestamp) {
        self.run(name, Planned::No, || Some(event()));
    }

    fn run(&mut self, name: &'static str, planned: Planned, event: impl FnOnce() -> Option<Timestamp>) {
        let from = Timestamp::now();
        let lost = event();
        sleep(crate::a_while());
        self.rows.push(Row { name, planned, from, to: Timestamp::now(), lost });
        self.load.answered();
    }

    /// Ends the load, prints the table, and fails where something was noticed that nobody should notice.
    pub(crate) fn end(self) {
        let (calls, left) = self.load.end();
        let generations = followed(self.node, &left);
        let audit = self.node.audit();
        println!(
            "{:<36} {:>6} {:>5} {:>9} {:>7} {:>11} {:>11} {:>9} {:>12}",
            "", "s", "calls", "admission", "skipped", "other fails", "slowest", "CronJobs", "leads again"
        );
        let mut wrong = Vec::new();
        for row in &self.rows {
            let figures = Figures::of(row, &calls, &audit);
            figures.print(row);
            wrong.extend(figures.wrong(row));
        }
        let cronjobs = audit.filter(|event| event.resource == "cronjobs" && event.namespace == NAMESPACE);
        let duplicates = duplicates(&cronjobs, &generations);
        println!("CronJobs written {} times, without need: {}", written(&cronjobs).count(), duplicates.len());
        wrong.extend(duplicates);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// Waits until every StatefulSet has its CronJob as the last change wants it; returns the CronJobs' generations by name.
fn followed(node: &Node, left: &[String]) -> BTreeMap<String, usize> {
    eventually("every CronJob to follow its StatefulSet", CATCH_UP, || {
        let (sets, jobs) = (node.get(&["-n", NAMESPACE, "statefulsets"])?, node.get(&["-n", NAMESPACE, "cronjobs"])?);
        let jobs: BTreeMap<&str, &serde_json::Value> =
            jobs["items"].as_array()?.iter().filter_map(|job| Some((job["metadata"]["name"].as_str()?, job))).collect();
        let mut generations = BTreeMap::new();
        for set in sets["items"].as_array()? {
            let name = set["metadata"]["name"].as_str()?;
            if !left.iter().any(|left| left == name) {
                continue;
            }
            let cronjob = format!("{name}-defrag-job");
            let job = jobs.get(cronjob.as_str())?;
            if let Some(wait) = set["metadata"]["annotations"][WAIT].as_str() {
                let args = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
                args.contains(&format!("={wait}\"")).then_some(())?;
            }
            generations.insert(cronjob, usize::try_from(job["metadata"]["generation"].as_u64()?).ok()?);
        }
        (generations.len() == left.len()).then_some(generations)
    })
}

/// Writes of CronJobs that were carried out.
fn written(cronjobs: &Audit) -> impl Iterator<Item = &AuditEvent> {
    cronjobs.iter().filter(|event| event.is_write() && event.user == USER && event.code < 300)
}

/// CronJobs that were made twice, or written without being changed: a generation counts the changes. Of those whose
/// StatefulSet is deleted nothing is said.
fn duplicates(cronjobs: &Audit, generations: &BTreeMap<String, usize>) -> Vec<String> {
    let mut of_each: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for event in written(cronjobs) {
        let (writes, creations) = of_each.entry(&event.name).or_default();
        *writes += 1;
        *creations += usize::from(event.code == 201);
    }
    assert!(!of_each.is_empty(), "no CronJob was written at all");
    let wrong = of_each.iter().filter(|&(name, &(writes, creations))| {
        generations.get(*name).is_some_and(|&generation| creations > 1 || writes > generation)
    });
    wrong
        .map(|(name, (writes, creations))| {
            let generation = generations.get(*name);
            format!("{name}: {writes} writes, {creations} creations, generation {generation:?}")
        })
        .collect()
}

struct Figures {
    calls: usize,
    failed: Vec<Call>,
    /// Calls that the API server let pass since no replica answered, as the entries ask that fail open.
    skipped: usize,
    slowest: Duration,
    cronjobs: usize,
    /// From the loss of the leader to the first CronJob of a StatefulSet that was made after it.
    leads_again: Option<SignedDuration>,
}

impl Figures {
    fn of(row: &Row, calls: &[Call], audit: &Audit) -> Self {
        let during = |time: Timestamp| row.from <= time && time < row.to;
        let calls: Vec<&Call> = calls.iter().filter(|call| during(call.sent)).collect();
        let events = || {
            audit.iter().filter_map(|event| {
                let time: Timestamp = event.time.parse().unwrap();
                (during(time) && event.namespace == NAMESPACE).then_some((time, event))
            })
        };
        let leads_again = row.lost.and_then(|lost| {
            let later: BTreeSet<String> = calls
                .iter()
                .filter(|call| call.creates && call.error.is_none() && call.sent > lost)
                .map(|call| format!("{}-defrag-job", call.name))
                .collect();
            events()
                .find(|(_, event)| event.resource == "cronjobs" && event.code == 201 && later.contains(&event.name))
                .map(|(time, _)| time.duration_since(lost))
        });
        Self {
            calls: calls.len(),
            failed: calls.iter().filter(|call| call.error.is_some()).map(|&call| call.clone()).collect(),
            skipped: events()
                .filter(|(_, event)| event.annotations.keys().any(|key| key.starts_with("failed-open.")))
                .count(),
            slowest: calls.iter().map(|call| call.took).max().unwrap_or_default(),
            cronjobs: events()
                .filter(|(_, event)| event.resource == "cronjobs" && event.is_write() && event.user == USER)
                .count(),
            leads_again,
        }
    }

    fn failed_admissions(&self) -> usize {
        self.failed.iter().filter(|call| call.failed_admission()).count()
    }

    fn print(&self, row: &Row) {
        let leads_again =
            self.leads_again.map_or_else(|| "–".to_owned(), |took| format!("{:.1} s", took.as_secs_f64()));
        println!(
            "{:<36} {:>6.1} {:>5} {:>9} {:>7} {:>11} {:>8} ms {:>9} {:>12}",
            row.name,
            row.to.duration_since(row.from).as_secs_f64(),
            self.calls,
            self.failed_admissions(),
            self.skipped,
            self.failed.len() - self.failed_admissions(),
            self.slowest.as_millis(),
            self.cronjobs,
            leads_again
        );
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for call in &self.failed {
            *reasons.entry(call.error.as_deref().unwrap_or_default()).or_default() += 1;
        }
        for (reason, count) in reasons {
            println!("    {count} × {reason}");
        }
    }

    fn wrong(&self, row: &Row) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut say = |what: String| wrong.push(format!("{}: {what}", row.name));
        let seconds = row.to.duration_since(row.from).as_secs();
        if i64::try_from(self.calls).unwrap() < seconds * 5 {
            say(format!("{} calls in {seconds} s are no load of 20 a second", self.calls));
        }
        if self.cronjobs == 0 {
            say("nothing was reconciled".to_owned());
        }
        match row.planned {
            Planned::Yes if self.failed_admissions() + self.skipped > 0 => {
                say(format!("{} calls failed, {} were not judged", self.failed_admissions(), self.skipped));
            }
            Planned::No if self.leads_again.is_none() => say("nobody leads after the loss".to_owned()),
            Planned::No => {
                let over = row.to - Duration::from_secs(3);
                if let Some(late) = self.failed.iter().find(|call| call.sent > over && call.failed_admission()) {
                    say(format!("calls still fail at its end: {late:?}"));
                }
            }
            Planned::Yes => {}
        }
        wrong
    }
}
