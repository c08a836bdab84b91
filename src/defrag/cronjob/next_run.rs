//! When a live CronJob starts its next scheduled run.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;

use crate::defrag::schedule::{Schedule, TimeZone};

/// The time zone of a CronJob; nothing where it cannot be read.
#[must_use]
pub fn zone(live: &CronJob) -> Option<TimeZone> {
    match &live.spec.time_zone {
        Some(name) => TimeZone::parse(name).ok(),
        None => Some(TimeZone::utc()),
    }
}

/// When a CronJob runs next; nothing where it is suspended.
#[must_use]
pub fn next_run(live: &CronJob, now: Timestamp) -> Option<Timestamp> {
    if live.spec.suspend == Some(true) {
        return None;
    }
    let zone = zone(live)?;
    let schedule = Schedule::parse(&live.spec.schedule).ok()?;
    // `@every` counts from the last run, everything else is on the clock.
    let last = live.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let origin = last.or(live.metadata.creation_timestamp.as_ref()).map(|time| time.0);
    let from = origin.filter(|_| live.spec.schedule.trim_start().starts_with("@every")).unwrap_or(now);
    schedule.fire_times(from, &zone).find(|time| *time > now)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_next_run_is_that_of_the_live_cronjob() {
        let next = |spec: Value, status: Value| {
            let created = "2026-03-01T00:30:00Z";
            let live = json!({"metadata": {"creationTimestamp": created}, "spec": spec, "status": status});
            let live: CronJob = serde_json::from_value(live).unwrap();
            next_run(&live, "2026-03-01T12:00:00Z".parse().unwrap()).map(|time| time.to_string())
        };
        let spec = |schedule: &str| json!({"schedule": schedule, "jobTemplate": {}});
        assert_eq!(next(spec("0 3 * * *"), json!({})).unwrap(), "2026-03-02T03:00:00Z");
        let mut rome = spec("0 3 * * *");
        rome["timeZone"] = json!("Europe/Rome");
        assert_eq!(next(rome, json!({})).unwrap(), "2026-03-02T02:00:00Z");
        assert_eq!(next(spec("@every 5h"), json!({})).unwrap(), "2026-03-01T15:30:00Z");
        let ran = json!({"lastScheduleTime": "2026-03-01T11:00:00Z"});
        assert_eq!(next(spec("@every 5h"), ran).unwrap(), "2026-03-01T16:00:00Z");
        let mut paused = spec("0 3 * * *");
        paused["suspend"] = json!(true);
        assert_eq!(next(paused, json!({})), None);
    }
}
