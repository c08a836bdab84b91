//! `explain schedule`: whether Kubernetes accepts a schedule, when it fires, and its risks.

use anyhow::bail;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Exit, Format,
    output::{self, Page},
};
use crate::defrag::{
    duration::in_words,
    finding::Finding,
    policy::Policy,
    schedule::{self, Judged, Schedule, ScheduleError, TimeZone},
};

/// Explains a CronJob schedule as Kubernetes understands it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The schedule: five fields, a macro such as @daily, or @every with a duration; H stands for a hashed number
    #[arg(allow_hyphen_values = true)]
    schedule: String,
    /// What a shell makes of a schedule without quotation marks
    #[arg(hide = true)]
    rest: Vec<String>,
    /// An IANA time zone such as Europe/Rome; without it that of the controller manager is used, and UTC is shown
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Show the fire times after this instant (RFC 3339) instead of now
    #[arg(long, value_name = "RFC3339")]
    from: Option<Timestamp>,
    /// How many fire times to show
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=1000))]
    count: u16,
    /// The namespace that H is resolved for
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// The StatefulSet that H is resolved for
    #[arg(long, default_value = "etcd")]
    name: String,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    valid: bool,
    findings: Vec<Finding>,
    resolved: Option<String>,
    next: Vec<String>,
    min_interval: Option<u64>,
    max_interval: Option<u64>,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    if !args.rest.is_empty() {
        bail!(
            "the schedule is one argument and contains spaces, so put it in quotation marks: explain schedule \"0 3 * * *\"; without \
             them a shell replaces each * with the names of files"
        );
    }
    let now = args.from.unwrap_or_else(Timestamp::now);
    let limits = Policy::built_in().limits.of_schedule(true);
    let place = schedule::Place {
        schedule_field: "schedule".into(),
        zone_field: "time-zone".into(),
        namespace: args.namespace.clone(),
        name: args.name.clone(),
    };
    let judged = schedule::judge(&args.schedule, args.time_zone.as_deref(), &place, &limits, now);
    let next = next(&judged, now, usize::from(args.count));
    let exit = Exit::of(&judged.findings);
    if args.output == Format::Text {
        output::print(&page(args, &judged, &next))?;
    } else {
        let intervals = judged.resolved.as_ref().and_then(|resolved| resolved.intervals);
        let explanation = Explanation {
            valid: judged.resolved.is_some(),
            findings: judged.findings,
            resolved: judged.resolved.map(|resolved| resolved.text),
            next: next.iter().map(ToString::to_string).collect(),
            min_interval: intervals.map(|intervals| intervals.shortest.as_secs()),
            max_interval: intervals.map(|intervals| intervals.longest.as_secs()),
        };
        output::data(args.output, &explanation)?;
    }
    Ok(exit)
}

fn next(judged: &Judged, now: Timestamp, count: usize) -> Vec<Timestamp> {
    let Some(resolved) = &judged.resolved else { return Vec::new() };
    let utc = TimeZone::utc();
    resolved.schedule.fire_times(now, resolved.zone.as_ref().unwrap_or(&utc)).take(count).collect()
}

fn page(args: &Args, judged: &Judged, next: &[Timestamp]) -> Page {
    let mut page = Page::default();
    match error(args) {
        Some(error) => page.marked(&args.schedule, error.column, error.length),
        None => page.line(&args.schedule),
    }
    if let Some(resolved) = &judged.resolved {
        if resolved.text != args.schedule {
            page.line(&format!("  H for {}/{}: {}", args.namespace, args.name, resolved.text));
        }
        page.line(&format!("  {}", resolved.schedule.describe(resolved.zone.as_ref())));
        let utc = TimeZone::utc();
        let zone = resolved.zone.as_ref().unwrap_or(&utc);
        for (index, time) in next.iter().enumerate() {
            let label = if index == 0 { "next" } else { "" };
            let local = time.to_zoned(zone.rules().clone()).strftime("%a %Y-%m-%d %H:%M:%S %Z");
            page.line(&format!("  {label:<9}{local}"));
        }
        if let Some(intervals) = resolved.intervals {
            let (shortest, longest) = (in_words(intervals.shortest), in_words(intervals.longest));
            page.line(&format!("  gaps     from {shortest} to {longest}"));
        }
    }
    let verdict = match (judged.resolved.is_some(), judged.findings.iter().any(Finding::denies)) {
        (false, _) => "refused: Kubernetes would not accept it",
        (true, true) => "refused: Kubernetes would accept it, but it would harm the etcd",
        (true, false) => "accepted",
    };
    page.line(&format!("  verdict  {verdict}"));
    page.findings(&judged.findings);
    page
}

/// The place of the error in the text, where there is one and `H` is not in the way.
fn error(args: &Args) -> Option<ScheduleError> {
    schedule::resolve_hash(&args.schedule, &args.namespace, &args.name)
        .map_or_else(Some, |text| if text == args.schedule { Schedule::parse(&text).err() } else { None })
}
