//! What Kubernetes and the policy accept and hardly anybody means: runs more than a month apart, and hours of a policy that have a
//! time zone beside a schedule that has none.

use std::{cell::OnceCell, time::Duration};

use super::{
    Intervals, Spec,
    advice::first,
    case::{Case, is_policy},
    gaps::on_the_wall,
    judge::{instead, wall_times},
    parse, seconds,
    window::Window,
    year_of,
};
use crate::defrag::{
    field::Field,
    finding::{Code, Finding, quoted},
    keys::Key,
};

const DAY: u64 = 86_400;

/// Runs are rare where they are further apart: a day more than a month, for a changeover on the way.
const RARE: Duration = Duration::from_hours(32 * 24);

/// The shortest time between two runs of a monthly schedule. A policy that allows no shorter one asks for rare runs.
const SHORTEST_MONTH: Duration = Duration::from_hours(28 * 24);

impl Case<'_> {
    /// Adds what is accepted and hardly meant; `unset` is the field of the time zone where none is given.
    pub(super) fn unusual(&mut self, intervals: Option<Intervals>, unset: Option<&Field>) {
        let Some(intervals) = intervals else { return };
        self.rarely(intervals.longest);
        if let Some(field) = unset {
            let finding = self.zone_unset(field);
            self.findings.extend(finding);
        }
    }

    /// More than a month between two runs, where the policy does not say itself how rare runs may be.
    fn rarely(&mut self, longest: Duration) {
        let said = self.limits.max_interval.is_some() || self.limits.min_interval > SHORTEST_MONTH;
        if said || longest <= RARE {
            return;
        }
        let (longest, shown, time) = match &self.schedule.spec {
            Spec::Every(_) => (longest, String::new(), (0, 0)),
            Spec::Calendar(calendar) => {
                // A run that a changeover skips is a finding of its own.
                let Some(wall) = on_the_wall(calendar, year_of(self.now)) else { return };
                let length = seconds(wall.longest.length());
                if length <= RARE {
                    return;
                }
                (length, format!(" ({})", wall_times(wall.longest)), first(calendar))
            }
        };
        let days = longest.as_secs() / DAY;
        let (write, sentence) = self.monthly(time);
        let message = format!(
            "The schedule {} leaves up to {days} days between two runs{shown}. In the meantime an etcd can reach its quota and accept \
             no more writes; a run that finds nothing to reclaim does nothing, so more runs cost little. {sentence}",
            quoted(self.text),
        );
        let brief = format!("leaves up to {days} days between two runs{}", instead(write.as_deref(), "; write "));
        self.add(Code::ScheduleRarelyFires, brief, message);
    }

    /// The same time of the day once a month or another plain schedule that keeps the limits, and a sentence that says to write it.
    fn monthly(&self, (hour, minute): (u32, u32)) -> (Option<String>, String) {
        let text = format!("{minute} {hour} 1 * *");
        let found = if self.suits(&text) { Some(text.clone()) } else { self.plain() };
        let Some(schedule) = found.is_none().then(|| parse::parse(&text).ok()).flatten() else {
            let sentence = self.write(found.as_deref());
            return (found, sentence);
        };
        let openings = OnceCell::new();
        let monthly = Case {
            text: &text,
            asked: &text,
            schedule: &schedule,
            ahead: Vec::new(),
            openings,
            findings: Vec::new(),
            ..*self
        };
        (None, monthly.write(None))
    }

    /// That the hours in which the policy allows runs have a time zone and the schedule has none.
    fn zone_unset(&self, field: &Field) -> Option<Finding> {
        let zoned: Vec<&Window> = self.limits.windows.iter().flatten().filter(|window| window.zone.is_some()).collect();
        // Whatever counts from the run before is refused where there are windows.
        let Spec::Calendar(calendar) = &self.schedule.spec else { return None };
        if zoned.is_empty() {
            return None;
        }
        let allowed: Vec<String> = zoned.iter().map(|window| window.describe()).collect();
        let policy = is_policy(self.field);
        let key = if policy { Key::TimeZone.defaults_field() } else { Key::TimeZone.annotation().to_owned() };
        let (write, brief) = if self.limits.locks_zone && !policy {
            let write = "The policy locks the time zone: ask its owners for a defaults.timeZone.".to_owned();
            (write, "the policy has to set one".to_owned())
        } else {
            let utc = format!("{key}: \"Etc/UTC\" to keep these times");
            let zone = self.in_zone_of_windows();
            let schedule = if policy { Key::Schedule.defaults_field() } else { Key::Schedule.annotation().to_owned() };
            let keeps = self.outside(calendar).is_none();
            match zone {
                Some((text, zone)) if text == self.text => {
                    let zone = quoted(zone.name());
                    let utc = if keeps { format!(", or {utc}") } else { String::new() };
                    (format!("Write {key}: {zone} for the clock of the hours{utc}."), format!("write {zone}"))
                }
                Some((text, zone)) => {
                    let (text, zone) = (quoted(&text), quoted(zone.name()));
                    let pair = format!("{schedule}: {text} and {key}: {zone}");
                    if keeps {
                        (format!("Write {utc}, or {pair}."), "write \"Etc/UTC\"".to_owned())
                    } else {
                        (format!("Write {pair}."), format!("write {zone} and {text}"))
                    }
                }
                None => (format!("Write {utc}."), "write \"Etc/UTC\"".to_owned()),
            }
        };
        let message = format!(
            "The schedule {} has no time zone, so it follows the clock of the controller manager, which is mostly but not always UTC. The \
             hours in which the policy allows runs to start have one ({}), and the schedule is checked against them as if in UTC: by \
             another clock runs would start at other hours. {write}",
            quoted(self.text),
            allowed.join(", "),
        );
        let brief = format!("the schedule has no time zone, and the allowed hours have one; {brief}");
        Some(Finding::new(Code::TimeZoneUnset, field.clone(), brief, message))
    }
}

#[cfg(test)]
mod tests;
