//! Advice in terms of `H`, for schedules that use it: a number in its place would be the same for a whole fleet.

use super::{
    Schedule, Spec,
    calendar::{Calendar, bits},
    case::{Case, is_policy},
    field::Field,
    hash, parse,
};
use crate::defrag::finding::quoted;

impl Case<'_> {
    /// The schedule as it is written, and what it stands for where that is another text.
    pub(super) fn named(&self) -> String {
        let (asked, text) = (quoted(self.asked), quoted(self.text));
        match self.field {
            _ if self.asked == self.text => asked,
            field if is_policy(field) => {
                format!("{asked} ({text} for a StatefulSet {}/{})", self.at.namespace, self.at.name)
            }
            _ => format!("{asked} ({text} here)"),
        }
    }

    /// What is advised, with `H` where that was asked for.
    pub(super) fn hashed(&self, advised: Option<String>) -> Option<String> {
        advised.map(|text| self.spread(text, |_| true))
    }

    /// The same, of which all that `H` may stand for is accepted by `accepts`.
    pub(super) fn spread(&self, text: String, accepts: impl Fn(&Calendar) -> bool) -> String {
        if self.asked == self.text {
            return text;
        }
        let found = self.candidates(&text).into_iter().find(|candidate| {
            let resolved = || hash::resolve(candidate, &self.at.namespace, &self.at.name);
            candidate != self.asked
                && envelope(candidate).is_some_and(|all| self.is_inside(&all) && accepts(&all))
                && resolved().is_ok_and(|resolved| self.suits(&resolved))
        });
        found.unwrap_or(text)
    }

    /// The texts that have `H` in place of numbers of `text`, where it was asked for, those with most first.
    fn candidates(&self, text: &str) -> Vec<String> {
        let (Some([minute, hour, days @ ..]), Some([asked_minute, asked_hour, asked_days @ ..])) =
            (fields(text), fields(self.asked))
        else {
            return Vec::new();
        };
        let days = days.join(" ");
        let days = [(days == self.own_days()).then(|| asked_days.join(" ")), Some(days)];
        let mut candidates = Vec::new();
        for days in days.into_iter().flatten() {
            let around = |field: Field, value: &str, at: fn(u64, Calendar) -> Calendar| {
                let (Ok(value), Some(daily)) = (value.parse(), envelope(&format!("{minute} {hour} {days}"))) else {
                    return None;
                };
                let (low, high) = run(field, value, |value| self.is_inside(&at(1 << value, daily)));
                (low < high).then(|| format!("H({low}-{high})"))
            };
            let options = |field: Field, value: &str, asked: &str, at: fn(u64, Calendar) -> Calendar| {
                let is_asked = has_hash(asked) && value.bytes().all(|byte| byte.is_ascii_digit());
                let hashed = || [Some(asked.to_owned()), Some("H".to_owned()), around(field, value, at)];
                let hashed = is_asked.then(hashed).into_iter().flatten().flatten();
                hashed.chain([value.to_owned()]).collect::<Vec<_>>()
            };
            let hours = options(Field::Hour, hour, asked_hour, |hour, daily| Calendar {
                hour,
                minute: bits(Field::Minute.min(), Field::Minute.max()),
                ..daily
            });
            let minutes = options(Field::Minute, minute, asked_minute, |minute, daily| Calendar { minute, ..daily });
            for hour in &hours {
                candidates.extend(minutes.iter().map(|minute| format!("{minute} {hour} {days}")));
            }
        }
        candidates
    }
}

fn fields(text: &str) -> Option<[&str; 5]> {
    text.split_whitespace().collect::<Vec<_>>().try_into().ok()
}

fn has_hash(field: &str) -> bool {
    field.split(',').any(hash::is_hash)
}

/// The values around one, without a gap, that are all accepted.
fn run(field: Field, value: u64, accepts: impl Fn(u64) -> bool) -> (u64, u64) {
    let low = (field.min()..value).rev().take_while(|value| accepts(*value)).last().unwrap_or(value);
    let high = (value + 1..=field.max()).take_while(|value| accepts(*value)).last().unwrap_or(value);
    (low, high)
}

/// All times that a schedule may have, whatever `H` stands for.
fn envelope(text: &str) -> Option<Calendar> {
    let whole = |field: Field, item: &str| {
        let base = item.split('/').next().unwrap_or(item);
        match base.strip_prefix("H(").and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) => inner.to_owned(),
            None => format!("{}-{}", field.min(), field.max()),
        }
    };
    let of = |(field, text): (Field, &str)| {
        let items = text.split(',').map(|item| if hash::is_hash(item) { whole(field, item) } else { item.to_owned() });
        items.collect::<Vec<_>>().join(",")
    };
    let text = Field::ALL.into_iter().zip(fields(text)?).map(of).collect::<Vec<_>>().join(" ");
    match parse::parse(&text) {
        Ok(Schedule { spec: Spec::Calendar(calendar), .. }) => Some(calendar),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use crate::defrag::{
        keys::Key,
        schedule::{Place, ScheduleLimits, TimeZone, Weekdays, Window, judge},
    };

    fn limits(windows: &[(u16, u16)]) -> ScheduleLimits {
        let window = |(from, to): &(u16, u16)| Window { days: Weekdays::ALL, from: *from, to: *to, zone: None };
        ScheduleLimits {
            min_interval: std::time::Duration::from_mins(10),
            max_interval: None,
            windows: (!windows.is_empty()).then(|| windows.iter().map(window).collect()),
            locks_zone: false,
        }
    }

    fn messages(schedule: &str, zone: &str, place: &Place, limits: &ScheduleLimits) -> Vec<String> {
        let now: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        assert!(TimeZone::parse(zone).is_ok());
        judge(schedule, Some(zone), place, limits, now).findings.into_iter().map(|finding| finding.message).collect()
    }

    fn in_policy(number: u32) -> Place {
        Place {
            schedule_field: Key::Schedule.default_field(),
            zone_field: Key::TimeZone.default_field(),
            namespace: "default".to_owned(),
            name: format!("etcd-{number}"),
        }
    }

    /// What is advised has an `H` where one was written, and keeps the limits for every etcd of a fleet.
    #[test]
    fn advice_to_a_fleet_is_no_single_minute() {
        for (schedule, windows, wanted) in [
            ("H/7 * * * *", &[][..], "H * * * *"),
            ("H/7 H(0-5) * * *", &[], "H H(0-5) * * *"),
            ("H/5 3 H * *", &[], "H 3 H * *"),
            ("H 2 * * *", &[(120, 150)], "H(0-29) 2 * * *"),
            ("H(0-31) 2 * * *", &[(120, 150)], "H(0-29) 2 * * *"),
            ("H H * * *", &[(60, 300)], "H H(1-4) * * *"),
            ("H H * * *", &[(70, 80)], "H(10-19) 1 * * *"),
            ("0 H * * *", &[(60, 300)], "0 H(1-4) * * *"),
            // No number was to be spread.
            ("0 2 * * *", &[(60, 90)], "0 1 * * *"),
        ] {
            let limits = limits(windows);
            let places = (0..24).map(in_policy);
            let advised: Vec<String> =
                places.clone().flat_map(|place| messages(schedule, "UTC", &place, &limits)).collect();
            assert!(!advised.is_empty(), "{schedule}");
            for message in advised {
                assert!(message.contains(&format!("Write for example \"{wanted}\".")), "{schedule}: {message}");
            }
            for place in places {
                assert_eq!(messages(wanted, "UTC", &place, &limits), Vec::<String>::new(), "{wanted}");
            }
        }
    }

    #[test]
    fn a_schedule_with_h_is_shown_as_it_is_written_and_as_what_it_stands_for() {
        let etcd = Place::annotations("kamaji-system", "kamaji-etcd");
        insta::assert_snapshot!(messages("H/7 * * * *", "UTC", &etcd, &limits(&[])).concat());
        insta::assert_snapshot!(messages("H 2 * * *", "Europe/Rome", &in_policy(0), &limits(&[(120, 150)])).join("\n"));
    }
}
