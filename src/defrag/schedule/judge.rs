//! What Kubernetes and the policy make of a schedule and its time zone.

use std::{cell::OnceCell, time::Duration};

use jiff::{Timestamp, civil::DateTime, tz::Offset};

use super::{
    Intervals, Schedule, ScheduleError, Spec,
    advice::is_untouched,
    calendar::Calendar,
    case::{Case, Place, ScheduleLimits, is_policy},
    changeover::{Crossing, Effects, Skipped, ahead, effects},
    describe::WEEKDAYS,
    gaps::{Gap, Gaps, on_the_wall},
    hash,
    next::whole_seconds,
    seconds,
    spec::WideStep,
    window::Window,
    year_of,
    zone::{TimeZone, civil},
};
use crate::defrag::{
    duration::in_words,
    finding::{Code, Finding, quoted},
    keys::Key,
};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Everything that is wrong or risky.
    pub findings: Vec<Finding>,
    /// What goes into the CronJob; none where Kubernetes would refuse the schedule or the zone.
    pub resolved: Option<Resolved>,
}

/// A schedule and zone that Kubernetes accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The schedule as the CronJob carries it, without `H`.
    pub text: String,
    /// The same, parsed.
    pub schedule: Schedule,
    /// The zone, where one was given.
    pub zone: Option<TimeZone>,
    /// How far apart its fire times are; none for a schedule that never fires.
    pub intervals: Option<Intervals>,
}

/// The findings of a schedule with the `H` still in it, and of its zone.
///
/// A gap breaks a limit if both the time that passes and the time that the wall clock shows break it. So a daily
/// schedule keeps a minimum of 24 hours over a night that a changeover shortens to 23, while a time that a changeover
/// repeats is close to itself, and one that it skips leaves a gap.
///
/// Without a zone the controller manager's zone is used, which cannot be known here; such a schedule is assessed as if
/// in UTC, without changeovers. Intervals and changeovers are bounded as [`Schedule::intervals`] says.
#[must_use]
pub fn judge(
    schedule_text: &str,
    zone_text: Option<&str>,
    at: &Place,
    limits: &ScheduleLimits,
    now: Timestamp,
) -> Judged {
    let mut findings = Vec::new();
    let noun = if is_policy(&at.zone_field) { "field" } else { "annotation" };
    // What is meant is judged where a name is wrong, so that correcting it brings nothing new.
    let mut meant = None;
    let zone = match zone_text.map(TimeZone::parse).transpose() {
        Ok(zone) => Some(zone),
        Err(error) => {
            let found = quoted(&error.found);
            let suggested = error.suggestion.as_deref().and_then(|name| TimeZone::parse(name).ok());
            let brief = match error.suggestion.as_deref() {
                Some(zone) => format!("{found} is not a time zone; write {}", quoted(zone)),
                None => format!("{found} {}", error.reason),
            };
            let cure = match error.suggestion {
                Some(_) => String::new(),
                // That is where the schedule is judged then.
                None => format!(" Write an IANA name in its exact letters, such as \"Etc/UTC\", or remove the {noun}."),
            };
            let message = format!("The time zone {error}. Kubernetes would refuse the CronJob.{cure}");
            meant = suggested;
            findings.push(Finding::new(Code::TimeZoneInvalid, at.zone_field.clone(), brief, message));
            None
        }
    };
    let utc = TimeZone::utc();
    let judged_in = zone.as_ref().and_then(Option::as_ref).or(meant.as_ref()).unwrap_or(&utc);
    let (text, schedule) = match resolved(schedule_text, at) {
        Ok(parsed) => parsed,
        Err(mut error) => {
            let corrected = error.suggestion.map(|suggestion| acceptable(&suggestion, judged_in, at, limits, now));
            let (suggestion, with_zone) = corrected.unwrap_or_default();
            error.suggestion = suggestion;
            let brief = match &error.suggestion {
                Some(suggestion) => {
                    format!("{} is not a schedule; write {}", quoted(schedule_text), quoted(suggestion))
                }
                None => error.to_string(),
            };
            let message =
                format!("The schedule {} is refused by Kubernetes: {error}.{with_zone}", quoted(schedule_text));
            findings.push(Finding::new(Code::ScheduleInvalid, at.schedule_field.clone(), brief, message));
            return Judged { findings, resolved: None };
        }
    };
    let mut case = Case {
        asked: schedule_text,
        text: &text,
        schedule: &schedule,
        zone: judged_in,
        limits,
        now,
        ahead: Vec::new(),
        openings: OnceCell::new(),
        at,
        field: &at.schedule_field,
        findings,
    };
    let intervals = case.judge();
    case.unusual(intervals, zone_text.is_none().then_some(&at.zone_field));
    let findings = case.findings;
    let resolved = zone.map(|zone| Resolved { text, schedule, zone, intervals });
    Judged { findings, resolved }
}

/// A schedule with the `H` resolved, and parsed.
fn resolved(text: &str, at: &Place) -> Result<(String, Schedule), ScheduleError> {
    let text = hash::resolve_hash(text, &at.namespace, &at.name)?;
    let schedule = Schedule::parse(&text)?;
    Ok((text, schedule))
}

/// A correction that keeps the limits: as it is, else the schedule nearest to it that does; else a sentence with one for another
/// zone.
fn acceptable(
    correction: &str,
    zone: &TimeZone,
    at: &Place,
    limits: &ScheduleLimits,
    now: Timestamp,
) -> (Option<String>, String) {
    let Ok((text, schedule)) = resolved(correction, at) else { return Default::default() };
    let ahead = ahead(zone, whole_seconds(now));
    let field = &at.schedule_field;
    let openings = OnceCell::new();
    let findings = Vec::new();
    let asked = correction;
    let case =
        Case { asked, text: &text, schedule: &schedule, zone, limits, now, ahead, openings, at, field, findings };
    let suggestion = match &schedule.spec {
        _ if case.suits(&text) => Some(correction.to_owned()),
        Spec::Calendar(calendar) => case.hashed(case.spaced(calendar)),
        Spec::Every(_) => case.usual(),
    };
    let with_zone = if suggestion.is_none() { case.with_zone() } else { None };
    (suggestion, with_zone.map_or_else(String::new, |sentence| format!(" {sentence}")))
}

impl Case<'_> {
    pub(super) fn add(&mut self, code: Code, brief: impl AsRef<str>, message: impl Into<String>) {
        self.findings.push(Finding::new(code, self.field.clone(), brief, message));
    }

    fn judge(&mut self) -> Option<Intervals> {
        if let Some(wide) = &self.schedule.wide_step {
            self.step_beyond_range(wide);
        }
        self.ahead = ahead(self.zone, whole_seconds(self.now));
        let calendar = match &self.schedule.spec {
            Spec::Every(period) => return Some(self.every(*period)),
            Spec::Calendar(calendar) => calendar,
        };
        let Some(wall) = on_the_wall(calendar, year_of(self.now)) else {
            self.never_fires();
            return None;
        };
        let effects = effects(calendar, self.zone, &self.ahead);
        let intervals = Intervals::of(&wall, &effects);
        self.too_often(calendar, &wall, &effects);
        self.too_rare(&wall, &effects);
        self.outside_windows(calendar);
        self.changeovers(calendar, &effects);
        Some(intervals)
    }

    fn step_beyond_range(&mut self, wide: &WideStep) {
        let item = self.text.get(wide.item.clone()).unwrap_or_default();
        let fixed = replaced(self.text, wide.item.clone(), &wide.value.to_string());
        let message = format!(
            "The {} {} of {} steps by {} through only {} values, so it means {} alone. Kubernetes accepts it, but \
             kube-state-metrics 2.19 crashes on it, and its metrics of the whole cluster are missing. Write {}.",
            wide.field,
            quoted(item),
            quoted(self.text),
            wide.step,
            wide.width,
            wide.value,
            quoted(&fixed)
        );
        let brief = format!("{} crashes kube-state-metrics 2.19; write {}", quoted(item), quoted(&fixed));
        self.add(Code::ScheduleStepBeyondRange, brief, message);
    }

    fn never_fires(&mut self) {
        let (place, suspend, value) = if is_policy(self.field) {
            ("the field", "spec.defaults.suspend", "true")
        } else {
            ("the annotation", Key::Suspend.annotation(), "\"true\"")
        };
        let message = format!(
            "The schedule {} never fires: no date and time matches all of its fields, so this etcd would never be \
             defragmented and nothing would report it. To pause defragmentation set {place} {suspend} to {value} and keep a \
             schedule that fires{}",
            self.named(),
            match self.hashed(self.usual()) {
                Some(usual) => format!(", such as {}.", quoted(&usual)),
                None => format!(". {}", self.with_zone().unwrap_or_default()),
            }
        );
        let brief = format!("{} never fires; to pause, set {suspend}", quoted(self.asked));
        self.add(Code::ScheduleNeverFires, brief, message);
    }

    fn every(&mut self, period: i64) -> Intervals {
        let gap = seconds(period);
        let (min, max) = (self.limits.min_interval, self.limits.max_interval);
        let text = quoted(self.text);
        let pace = |gap: Duration| format!("@every {}", crate::defrag::duration::format_go(gap));
        let pace = |gap| Some(pace(gap)).filter(|text| self.suits(text)).or_else(|| self.usual());
        let (slower, faster) = (pace(whole(min)), max.and_then(pace));
        if gap < min {
            let brief = format!(
                "every {}, allowed at least {}{}",
                in_words(gap),
                in_words(min),
                instead(slower.as_deref(), "; write ")
            );
            let message = format!(
                "The schedule {text} fires every {}; the policy allows no less than {} between runs, since each run \
                 stops the members one after the other. {}",
                in_words(gap),
                in_words(min),
                self.write(slower.as_deref())
            );
            self.add(Code::ScheduleTooOften, brief, message);
        }
        if let Some(max) = max.filter(|max| gap > *max) {
            let brief = format!(
                "every {}, allowed at most {}{}",
                in_words(gap),
                in_words(max),
                instead(faster.as_deref(), "; write ")
            );
            let message = format!(
                "The schedule {text} fires every {}; the policy allows no more than {} between runs, since an etcd can \
                 reach its quota in the meantime. {}",
                in_words(gap),
                in_words(max),
                self.write(faster.as_deref())
            );
            self.add(Code::ScheduleTooRare, brief, message);
        }
        if self.limits.windows.is_some() {
            let message = format!(
                "The schedule {text} counts from the run before, so it fires at any time of the day, while the policy \
                 allows runs only in certain hours. {}",
                self.write(self.usual().as_deref())
            );
            self.add(
                Code::ScheduleOutsideWindow,
                "@every fires at any time of the day; write minute and hour",
                message,
            );
        }
        Intervals { shortest: gap, longest: gap }
    }

    fn too_often(&mut self, calendar: &Calendar, wall: &Gaps, effects: &Effects) {
        let min = self.limits.min_interval;
        let Some((gap, shown)) = broken(wall.shortest, effects.shortest, |gap| seconds(gap) < min) else { return };
        let shown = match shown {
            Shown::Crossing => format!("{}, because a changeover of {} lies between", self.instants(gap), self.zone),
            Shown::Wall => self.upcoming(gap).unwrap_or_else(|| wall_times(gap)),
        };
        let write = self.hashed(self.spaced(calendar));
        let length = in_words(seconds(gap.length()));
        let brief = format!("fires {length} apart, allowed {}{}", in_words(min), instead(write.as_deref(), "; write "));
        let message = format!(
            "The schedule {} fires {length} apart ({shown}); the policy allows no less than {} between runs, since each \
             run stops the members one after the other. {}",
            self.named(),
            in_words(min),
            self.write(write.as_deref()),
        );
        self.add(Code::ScheduleTooOften, brief, message);
    }

    fn too_rare(&mut self, wall: &Gaps, effects: &Effects) {
        let Some(max) = self.limits.max_interval else { return };
        let Some((gap, shown)) = broken(wall.longest, effects.longest, |gap| seconds(gap) > max) else { return };
        let shown = match shown {
            Shown::Crossing => format!("{}, because a changeover of {} lies between", self.instants(gap), self.zone),
            Shown::Wall => wall_times(gap),
        };
        let write = self.hashed(self.plain());
        let length = in_words(seconds(gap.length()));
        let brief = format!("fires {length} apart, allowed {}{}", in_words(max), instead(write.as_deref(), "; write "));
        let message = format!(
            "The schedule {} leaves {length} between two runs ({shown}); the policy allows no more than {}, since an etcd \
             can reach its quota in the meantime. {}",
            self.named(),
            in_words(max),
            self.write(write.as_deref()),
        );
        self.add(Code::ScheduleTooRare, brief, message);
    }

    fn outside_windows(&mut self, calendar: &Calendar) {
        let Some(windows) = &self.limits.windows else { return };
        let Some((weekday, minute)) = self.outside(calendar) else { return };
        let day = usize::try_from(weekday).ok().and_then(|day| WEEKDAYS.get(day)).copied().unwrap_or_default();
        let zoned = windows.iter().any(|window| window.zone.is_some());
        let zone = if zoned { format!(" in {}", self.zone) } else { String::new() };
        let time = format!("{day} at {}{zone}", clock(minute));
        let allowed: Vec<String> = windows.iter().map(Window::describe).collect();
        let write = self.hashed(self.inside(calendar));
        let message = format!(
            "The schedule {} can fire on {time}, outside the hours in which the policy allows runs to start ({}). {}",
            self.named(),
            allowed.join(", "),
            self.write(write.as_deref())
        );
        let brief = format!("fires on {time}, outside the allowed hours{}", instead(write.as_deref(), "; write "));
        self.add(Code::ScheduleOutsideWindow, brief, message);
    }

    fn changeovers(&mut self, calendar: &Calendar, effects: &Effects) {
        if effects.skipped.is_none() && effects.repeated.is_none() {
            return;
        }
        let zone = self.zone;
        let advice = self.advice_on_changeovers(calendar);
        let (wall, reason) = match effects.skipped {
            Some(Skipped::NoSuchTime(wall)) => (civil(wall), "the clocks are set forward and never show that time"),
            Some(Skipped::PassedOver(wall)) => (
                civil(wall),
                "the clocks are changed that day, and Kubernetes' search for the next run, which goes on from the run \
                 before in whole hours and days, steps over it",
            ),
            None => (None, ""),
        };
        if let Some(when) = wall.map(minute_text) {
            let message =
                format!("The schedule {} does not fire at {when} in {zone}: {reason}. {advice}", self.named());
            self.add(Code::ScheduleSkippedByDst, format!("does not fire at {when} in {zone} (changeover)"), message);
        }
        if let Some(wall) = effects.repeated.and_then(civil) {
            let when = minute_text(wall);
            let message = format!(
                "The schedule {} fires twice at {when} in {zone}: the clocks are set back and show that time again. {advice}",
                self.named()
            );
            self.add(Code::ScheduleRepeatedByDst, format!("fires twice at {when} in {zone} (changeover)"), message);
        }
    }

    fn advice_on_changeovers(&self, calendar: &Calendar) -> String {
        let time = self
            .untouched(calendar)
            .map(|text| self.spread(text, |calendar| is_untouched(&effects(calendar, self.zone, &self.ahead))))
            .map(|text| format!("a time of day that no changeover touches, such as {}", quoted(&text)));
        let zone = "a zone without changeovers";
        let utc = TimeZone::utc();
        let zone = if self.suits_zone(&utc) { Some(format!("{zone}, such as Etc/UTC")) } else { None };
        match (time, zone) {
            (Some(time), Some(zone)) => format!("Choose {time}, or {zone}."),
            (Some(one), None) | (None, Some(one)) => format!("Choose {one}."),
            (None, None) => "Choose a zone without changeovers.".to_owned(),
        }
    }

    /// What to write, or that the limits leave nothing.
    pub(super) fn write(&self, text: Option<&str>) -> String {
        let sentence = match text {
            Some(text) => return format!("Write for example {}.", quoted(text)),
            None => self.with_zone(),
        };
        sentence.unwrap_or_else(|| match self.field {
            field if is_policy(field) => {
                "No schedule was found that keeps all limits of this policy: widen them.".to_owned()
            }
            _ => "No schedule was found that keeps all limits of the policy: ask its owners.".to_owned(),
        })
    }

    /// Two of the next fire times that are as far apart as `gap`.
    fn upcoming(&self, gap: Gap) -> Option<String> {
        const SEARCHED: usize = 200;
        let mut previous = None;
        self.schedule.fire_times(self.now, self.zone).take(SEARCHED).map(whole_seconds).find_map(|to| {
            let from = previous.replace(to)?;
            (to - from == gap.length()).then(|| self.instants(Gap { from, to }))
        })
    }

    fn instants(&self, gap: Gap) -> String {
        let show = |second: i64| {
            let at = Timestamp::from_second(second).unwrap_or_default();
            let offset = self.zone.rules().to_offset(at);
            (minute_text(offset.to_datetime(at)), offset)
        };
        let ((from, from_offset), (to, to_offset)) = (show(gap.from), show(gap.to));
        if from_offset == to_offset {
            return format!("{from} and {to}");
        }
        format!("{from} at {} and {to} at {}", utc_offset(from_offset), utc_offset(to_offset))
    }
}

/// What a gap was found by.
enum Shown {
    Wall,
    Crossing,
}

/// The gap that breaks a limit: one on the wall clock, or one over a changeover that breaks it on the wall clock too.
fn broken(wall: Gap, crossing: Option<Crossing>, breaks: impl Fn(i64) -> bool) -> Option<(Gap, Shown)> {
    if breaks(wall.length()) {
        return Some((wall, Shown::Wall));
    }
    let crossing = crossing.filter(|crossing| breaks(crossing.gap.length()) && breaks(crossing.on_the_wall))?;
    Some((crossing.gap, Shown::Crossing))
}

pub(super) fn wall_times(gap: Gap) -> String {
    match (civil(gap.from), civil(gap.to)) {
        (Some(from), Some(to)) => format!("{} and {}", minute_text(from), minute_text(to)),
        _ => String::new(),
    }
}

fn minute_text(at: DateTime) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

fn clock(minute: u16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn utc_offset(offset: Offset) -> String {
    format!("UTC{offset}")
}

pub(super) fn instead(text: Option<&str>, lead: &str) -> String {
    text.map_or_else(String::new, |text| format!("{lead}{}", quoted(text)))
}

fn replaced(text: &str, range: std::ops::Range<usize>, with: &str) -> String {
    let (before, after) = (text.get(..range.start).unwrap_or_default(), text.get(range.end..).unwrap_or_default());
    format!("{before}{with}{after}")
}

/// The duration in whole seconds, rounded up, since `@every` drops fractions.
fn whole(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
}
