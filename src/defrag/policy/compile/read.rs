//! Limits and the shape of the Job, read value by value; what cannot be read takes the built-in value.

use std::{ops::RangeInclusive, time::Duration};

use super::super::{
    Job, Limits, Policy,
    api::{self, Day},
};
use crate::defrag::{
    duration, engine,
    field::Field,
    finding::{Code, Finding, quoted},
    quantity, ratio,
    schedule::{TimeZone, Weekdays, Window},
};

/// What has been found so far.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) findings: Vec<Finding>,
}

const MINUTES_A_DAY: u16 = 24 * 60;

impl Reader {
    pub(super) fn refuse(
        &mut self,
        code: Code,
        field: impl Into<Field>,
        brief: impl AsRef<str>,
        message: impl Into<String>,
    ) {
        self.findings.push(Finding::new(code, field, brief, message));
    }

    pub(super) fn limits(&mut self, written: &api::LimitsSpec) -> Limits {
        let built_in = Policy::built_in().limits;
        let min_interval = self.duration("minInterval", &written.min_interval, "10m", built_in.min_interval);
        let usual = built_in.min_interval_without_floor.max(min_interval);
        let mut without_floor = usual;
        if let Some(text) = &written.min_interval_without_floor {
            without_floor = self.duration("minIntervalWithoutFloor", text, "1h", usual);
            if without_floor < min_interval {
                let why = format!(
                    "is shorter than minInterval, {}, although it is for rules that may fire with nothing to reclaim. \
                     Write at least the same. Until then minInterval is used for both.",
                    quoted(&written.min_interval)
                );
                self.conflict("minIntervalWithoutFloor", text, &why);
                without_floor = min_interval;
            }
        }
        let max_interval = written.max_interval.as_ref().and_then(|text| {
            let max = self.duration("maxInterval", text, "168h", Duration::MAX);
            if max < min_interval {
                let why = format!(
                    "is shorter than minInterval, {}, so no schedule could keep both. Write a longer maxInterval or a \
                     shorter minInterval. Until then there is no maxInterval.",
                    quoted(&written.min_interval)
                );
                self.conflict("maxInterval", text, &why);
                return None;
            }
            (max != Duration::MAX).then_some(max)
        });
        let quota_ceiling = self.share("quotaUsage.max", &written.quota_usage.max, built_in.quota_ceiling);
        let mut quota_usage_min =
            written.quota_usage.min.as_ref().map_or(0.0, |min| self.share("quotaUsage.min", min, 0.0));
        if quota_usage_min > quota_ceiling {
            let why = "is above quotaUsage.max, so no quota-usage-above would be allowed. Write a min below max, such as 50% and \
                       90%. Until then there is no min.";
            self.conflict("quotaUsage.min", written.quota_usage.min.as_deref().unwrap_or_default(), why);
            quota_usage_min = 0.0;
        }
        let number = |value: i32| u32::try_from(value).unwrap_or(0);
        let refused =
            self.number("spec.limits.volume.refuseBelowPercent", written.volume.refuse_below_percent, 0..=1000, 100);
        let warned = written
            .volume
            .warn_below_percent
            .map_or(200, |percent| self.number("spec.limits.volume.warnBelowPercent", percent, 0..=1000, 200));
        let min_wait =
            self.duration("minWaitBetweenMembers", &written.min_wait_between_members, "30s", built_in.min_wait);
        let min_command_timeout =
            self.duration("minCommandTimeout", &written.min_command_timeout, "60s", built_in.min_command_timeout);
        let timeouts = (written.max_command_timeout.as_deref(), written.min_command_timeout.as_str());
        let waits = (written.max_wait_between_members.as_deref(), written.min_wait_between_members.as_str());
        let seconds_per_gib = self.number("spec.limits.secondsPerGiB", written.seconds_per_gi_b, 1..=600, 10);
        Limits {
            min_interval,
            min_interval_without_floor: without_floor,
            max_interval,
            windows: self.windows(&written.windows),
            quota_usage_min,
            quota_ceiling,
            min_free: self.size("minFree", &written.min_free, "64Mi", 0),
            min_wait,
            min_command_timeout,
            max_command_timeout: self.longest("CommandTimeout", timeouts, "1h", min_command_timeout),
            max_wait: self.longest("WaitBetweenMembers", waits, "30m", min_wait),
            max_deadline: written
                .max_deadline
                .as_ref()
                .map_or(built_in.max_deadline, |text| self.duration("maxDeadline", text, "12h", built_in.max_deadline)),
            seconds_per_gib: number(seconds_per_gib),
            suggested_quota_max: self.size(
                "suggestedQuota",
                &written.suggested_quota,
                "8Gi",
                built_in.suggested_quota_max,
            ),
            volume_refused_below: number(refused),
            volume_warned_below: number(warned.max(refused)),
            single_member: written.single_member,
            even_members: written.even_members,
            unproven_rule: written.unproven_rule,
            futile_rule: written.futile_rule,
            above_suggested_quota: written.above_suggested_quota,
            eager_liveness_probe: written.eager_liveness_probe,
            unknown_version: written.unknown_version,
            redundant_compaction: written.redundant_compaction,
            rival_defragmenter: written.rival_defragmenter,
            locked: built_in.locked,
        }
    }

    fn duration(&mut self, name: &str, text: &str, example: &str, otherwise: Duration) -> Duration {
        let found = match duration::parse_unsigned(text) {
            Ok(duration) => return duration,
            Err(error) => error,
        };
        self.refuse(
            Code::DurationInvalid,
            format!("spec.limits.{name}"),
            format!("{name} is not a duration such as {example}"),
            format!("{} is not a Go duration: {found}. Write a number and a unit, such as \"{example}\". Until then the built-in value is used.", quoted(text)),
        );
        otherwise
    }

    /// The longest `of` that is written beside the shortest, where it can be read and is not shorter than that.
    fn longest(&mut self, of: &str, written: (Option<&str>, &str), example: &str, least: Duration) -> Option<Duration> {
        let (text, shortest) = (written.0?, written.1);
        let name = format!("max{of}");
        let most = Some(self.duration(&name, text, example, Duration::MAX)).filter(|most| *most != Duration::MAX)?;
        if most < least {
            let why = format!(
                "is shorter than min{of}, {}, so no value could keep both. Write a longer {name} or a shorter min{of}. \
                 Until then the built-in value is used.",
                quoted(shortest)
            );
            self.conflict(&name, text, &why);
            return None;
        }
        Some(most)
    }

    fn share(&mut self, name: &str, text: &str, otherwise: f64) -> f64 {
        ratio::parse(text).unwrap_or_else(|error| {
            self.refuse(
                Code::ThresholdInvalid,
                format!("spec.limits.{name}"),
                format!("{name} is not a share of the quota such as 80%"),
                format!("{} {error}. Until then the built-in value is used.", quoted(text)),
            );
            otherwise
        })
    }

    fn size(&mut self, name: &str, text: &str, example: &str, otherwise: u64) -> u64 {
        quantity::parse(text).unwrap_or_else(|error| {
            self.refuse(
                Code::ThresholdInvalid,
                format!("spec.limits.{name}"),
                format!("{name} is not a size such as {example}"),
                format!("{} {error}. Until then the built-in value is used.", quoted(text)),
            );
            otherwise
        })
    }

    fn number(&mut self, field: impl Into<Field>, value: i32, range: RangeInclusive<i32>, otherwise: i32) -> i32 {
        if range.contains(&value) {
            return value;
        }
        let (low, high) = (range.start(), range.end());
        self.refuse(
            Code::ValueInvalid,
            field,
            format!("is not from {low} to {high}"),
            format!(
                "{value} is not from {low} to {high}. Until that is fixed, the built-in value of {otherwise} is used."
            ),
        );
        otherwise
    }

    fn conflict(&mut self, name: &str, text: &str, why: &str) {
        let first = why.split(", ").next().and_then(|part| part.split(". ").next());
        let brief = format!("{name} {}", first.unwrap_or_default());
        let message = format!("{} {why}", quoted(text));
        self.refuse(Code::SettingsConflict, format!("spec.limits.{name}"), brief, message);
    }

    /// The windows that can be read. Where none can, any time is allowed, as without windows.
    fn windows(&mut self, written: &[api::Window]) -> Option<Vec<Window>> {
        let windows: Vec<Window> =
            written.iter().enumerate().filter_map(|(index, window)| self.window(index, window)).collect();
        (!windows.is_empty()).then_some(windows)
    }

    fn window(&mut self, index: usize, written: &api::Window) -> Option<Window> {
        let field = |part: &str| format!("spec.limits.windows[{index}].{part}");
        let zone = match written.time_zone.as_deref().map(TimeZone::parse).transpose() {
            Ok(zone) => zone,
            Err(error) => {
                let message = format!("The time zone {error}. Until that is fixed, this window is ignored.");
                let brief = format!("{} is not a time zone", quoted(&error.found));
                self.refuse(Code::TimeZoneInvalid, field("timeZone"), brief, message);
                return None;
            }
        };
        let times = (clock(&written.from).filter(|from| *from < MINUTES_A_DAY), clock(&written.to));
        let problem = match times {
            (None, _) => ("from", no_time(&written.from, "from 00:00 to 23:59")),
            (Some(from), Some(to)) if from == to => {
                ("to", "from and to are the same time, which could mean all day or never".to_owned())
            }
            (Some(from), Some(to)) => {
                let days: Vec<u8> = written.days.iter().map(|day| weekday(*day)).collect();
                let days = if days.is_empty() { Weekdays::ALL } else { Weekdays::of(&days) };
                return Some(Window { days, from, to, zone });
            }
            (Some(_), None) => ("to", no_time(&written.to, "from 00:01 to 24:00")),
        };
        let written = if problem.0 == "from" { &written.from } else { &written.to };
        let advice = match two_digits(written) {
            Some(text) => format!("Write {}.", quoted(&text)),
            None => "Write for example from \"22:00\" to \"04:00\".".to_owned(),
        };
        let message = format!("{}. {advice} Until then this window is ignored.", problem.1);
        self.refuse(Code::ValueInvalid, field(problem.0), &problem.1, message);
        None
    }

    pub(super) fn job(&mut self, written: &api::Job) -> Job {
        let built_in = api::Job::default();
        let mut shape = written.clone();
        self.pod(&mut shape);
        if let (api::Engine::EtcdDefrag, Some(image)) = (shape.engine, &shape.image) {
            self.findings.extend(engine::judge_image(image, "spec.job.image"));
        }
        let mut bound = |name: &str, value: &mut i32, range, otherwise| {
            *value = self.number(format!("spec.job.{name}"), *value, range, otherwise);
        };
        bound("successfulJobsHistoryLimit", &mut shape.successful_jobs_history_limit, 0..=100, 3);
        bound("failedJobsHistoryLimit", &mut shape.failed_jobs_history_limit, 0..=100, 3);
        bound(
            "ttlSecondsAfterFinished",
            &mut shape.ttl_seconds_after_finished,
            0..=31_536_000,
            built_in.ttl_seconds_after_finished,
        );
        bound("startingDeadlineSeconds", &mut shape.starting_deadline_seconds, 10..=86_400, 600);
        bound("deadlineSlackSeconds", &mut shape.deadline_slack_seconds, 60..=86_400, 300);
        if let Some(budget) = shape.failure_budget.filter(|budget| *budget < 1) {
            self.refuse(
                Code::ValueInvalid,
                "spec.job.failureBudget",
                "failureBudget is not at least 1",
                format!("{budget} is not at least 1. Write how many runs in a row may fail, or remove the field. Until then failed runs are reported and runs continue."),
            );
            shape.failure_budget = None;
        }
        let resources = self.resources(&written.resources);
        Job { shape, resources }
    }
}

fn no_time(text: &str, range: &str) -> String {
    format!("{} is not a time {range}, with two digits each", quoted(text))
}

/// The time that a text with fewer digits means: `02:00` for `2:00`.
fn two_digits(text: &str) -> Option<String> {
    let (hour, minute) = text.trim().split_once(':')?;
    let padded = format!("{hour:0>2}:{minute:0>2}");
    (padded != text && clock(&padded).is_some()).then_some(padded)
}

/// Minutes after midnight of a time such as `22:00`.
fn clock(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let digits =
        |part: &str| (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?;
    let (hour, minute): (u16, u16) = (digits(hour)?, digits(minute)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= MINUTES_A_DAY).then_some(minutes)
}

const fn weekday(day: Day) -> u8 {
    match day {
        Day::Sunday => 0,
        Day::Monday => 1,
        Day::Tuesday => 2,
        Day::Wednesday => 3,
        Day::Thursday => 4,
        Day::Friday => 5,
        Day::Saturday => 6,
    }
}
