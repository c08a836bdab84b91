//! A schedule in a sentence.

use super::{
    calendar::{Calendar, bits, values},
    spec::Spec,
    zone::TimeZone,
};
use crate::defrag::duration;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The most times of day that are listed one by one.
const LISTED: u32 = 4;

pub(super) fn describe(spec: &Spec, zone: Option<&TimeZone>) -> String {
    let calendar = match spec {
        Spec::Every(period) => {
            return format!("Every {}, counted from the run before", duration::in_words(super::seconds(*period)));
        }
        Spec::Calendar(calendar) if calendar.is_empty() => return "Never".to_owned(),
        Spec::Calendar(calendar) => calendar,
    };
    let zone = zone.map_or("in the controller manager's time zone", TimeZone::name);
    format!("{}, {}, {zone}", times(calendar), days(calendar))
}

fn times(calendar: &Calendar) -> String {
    let (minutes, hours) = (calendar.minute, calendar.hour);
    let every_hour = hours == bits(0, 23);
    if !every_hour && minutes.count_ones() * hours.count_ones() <= LISTED {
        let times = values(hours).flat_map(|hour| values(minutes).map(move |minute| format!("{hour:02}:{minute:02}")));
        return format!("At {}", and(&times.collect::<Vec<_>>()));
    }
    let minute_part = if minutes == bits(0, 59) {
        "Every minute".to_owned()
    } else if let Some(step) = even_step(minutes, 60) {
        format!("Every {step} minutes")
    } else {
        let plural = if minutes.is_power_of_two() { "minute" } else { "minutes" };
        format!("At {plural} {}", ranges(minutes, |minute| minute.to_string()))
    };
    let hour_part = if every_hour {
        if minute_part.starts_with("At") { " of every hour".to_owned() } else { String::new() }
    } else if let Some(step) = even_step(hours, 24) {
        format!(" of every {step}th hour from 00:00").replace("2th", "2nd").replace("3th", "3rd")
    } else if hours.is_power_of_two() {
        format!(" of hour {}", ranges(hours, |hour| format!("{hour:02}")))
    } else {
        format!(" of hours {}", ranges(hours, |hour| format!("{hour:02}")))
    };
    minute_part + &hour_part
}

/// The step of a set that has every n-th value from 0 around the clock, n being more than 1.
fn even_step(set: u64, size: u64) -> Option<u64> {
    let step = values(set).nth(1).map(u64::from)?;
    (set & 1 == 1 && step > 1 && size.is_multiple_of(step) && set == super::parse::stepped(0, size - 1, step))
        .then_some(step)
}

fn days(calendar: &Calendar) -> String {
    let months = (calendar.month != bits(1, 12)).then(|| {
        let name = |month: u32| name(&MONTHS, month.saturating_sub(1));
        ranges(calendar.month, name)
    });
    let weekdays = || ranges(calendar.day_of_week, |day| name(&WEEKDAYS, day));
    let dates = || {
        let plural = if calendar.day_of_month.is_power_of_two() { "day" } else { "days" };
        format!("{plural} {}", ranges(calendar.day_of_month, |day| day.to_string()))
    };
    let of_months = months.as_deref().unwrap_or("every month");
    if calendar.has_every_day() {
        return months.map_or_else(|| "every day".to_owned(), |months| format!("every day in {months}"));
    }
    let in_months = months.as_deref().map_or_else(String::new, |months| format!(" in {months}"));
    if calendar.is_weekly() {
        return format!("{}{in_months}", weekdays());
    }
    if calendar.star_day_of_week || calendar.day_of_week == 0 {
        return format!("on {} of {of_months}", dates());
    }
    format!("on {} of {of_months} or else on {}{in_months}", dates(), weekdays())
}

fn name(names: &[&str], index: u32) -> String {
    usize::try_from(index).ok().and_then(|index| names.get(index)).copied().unwrap_or_default().to_owned()
}

/// The values of a set, three and more in a row as a range.
fn ranges(set: u64, name: impl Fn(u32) -> String) -> String {
    let mut words = Vec::new();
    let mut rest = values(set).peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if_eq(&(last + 1)) {
            last = next;
        }
        match last - first {
            0 => words.push(name(first)),
            1 => words.extend([name(first), name(last)]),
            _ => words.push(format!("{} to {}", name(first), name(last))),
        }
    }
    and(&words)
}

fn and(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [word] => word.clone(),
        [words @ .., last] => format!("{} and {last}", words.join(", ")),
    }
}
