//! Time zones as Kubernetes takes them, from the tz database that is compiled in.

use std::fmt;

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz,
};
use thiserror::Error;

use super::nearest::nearest;
use crate::defrag::finding::quoted;

/// A time zone that Kubernetes accepts for a CronJob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeZone {
    name: String,
    rules: tz::TimeZone,
}

/// A time zone that Kubernetes would refuse.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} {reason}{}", quoted(found), suggested(suggestion.as_deref()))]
pub struct TimeZoneError {
    /// The text.
    pub found: String,
    /// What is wrong with it.
    pub reason: &'static str,
    /// The zone that was most likely meant; it is valid.
    pub suggestion: Option<String>,
}

fn suggested(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |zone| format!(". Write {}", quoted(zone)))
}

/// Abbreviations that have a zone in which they are used.
const ABBREVIATIONS: [(&str, &str); 10] = [
    ("z", "Etc/UTC"),
    ("utc", "Etc/UTC"),
    ("gmt", "Etc/GMT"),
    ("pst", "America/Los_Angeles"),
    ("pdt", "America/Los_Angeles"),
    ("edt", "America/New_York"),
    ("cest", "Europe/Berlin"),
    ("bst", "Europe/London"),
    ("ist", "Asia/Kolkata"),
    ("jst", "Asia/Tokyo"),
];

impl TimeZone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), rules: tz::TimeZone::UTC }
    }

    /// The zone of this name.
    ///
    /// A part between slashes has 1 to 14 of `A-Za-z0-9+-._`, is neither `.` nor `..` and does not begin with `-`;
    /// `Local` in any case is refused; then the name has to be in the tz database, letter case included. The database is
    /// the one that is compiled in: a cluster whose own is older may lack a zone that was added since.
    ///
    /// # Errors
    ///
    /// Where Kubernetes refuses the name.
    pub fn parse(name: &str) -> Result<Self, TimeZoneError> {
        let error = |reason| Err(TimeZoneError { found: name.to_owned(), reason, suggestion: Self::suggestion(name) });
        if name.is_empty() {
            return error("is an empty time zone, which Kubernetes refuses: leave it out, or name a zone");
        }
        if name.eq_ignore_ascii_case("local") {
            return error("depends on the machine it runs on, so Kubernetes refuses it: name a zone");
        }
        if !name.split('/').all(is_part) {
            return error("is not of the form of a tz database name, such as Europe/Rome");
        }
        match lookup(name) {
            Some((rules, canonical)) if canonical == name => Ok(Self { name: canonical, rules }),
            Some(_) => error("is not in the tz database in this letter case"),
            None => error("is not in the tz database"),
        }
    }

    fn suggestion(name: &str) -> Option<String> {
        let lower = name.trim().to_lowercase().replace(' ', "_");
        if let Some((_, canonical)) = lookup(&lower) {
            return Some(canonical);
        }
        if let Some((_, zone)) = ABBREVIATIONS.iter().find(|(short, _)| *short == lower) {
            return Some((*zone).to_owned());
        }
        // Etc/GMT zones count westwards, so the sign is the other way round.
        let offset = lower.strip_prefix("utc").or_else(|| lower.strip_prefix("gmt")).unwrap_or(&lower);
        if let Some((sign, hours)) = offset
            .strip_prefix('+')
            .map(|rest| ('-', rest))
            .or_else(|| offset.strip_prefix('-').map(|rest| ('+', rest)))
        {
            let hours = hours.strip_suffix(":00").or_else(|| hours.strip_suffix("00")).unwrap_or(hours);
            let hours: u8 = hours.parse().ok()?;
            return lookup(&format!("Etc/GMT{sign}{hours}")).map(|(_, canonical)| canonical);
        }
        // A zone of Etc is an offset, and one digit less is another offset.
        if lower.len() < 4 || lower.len() > 40 || lower.starts_with("etc/gmt") {
            return None;
        }
        nearest(&lower).map(str::to_owned)
    }

    /// The name in the tz database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rules of the zone.
    #[must_use]
    pub const fn rules(&self) -> &tz::TimeZone {
        &self.rules
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The zone in any letter case, and its name as the database writes it.
fn lookup(name: &str) -> Option<(tz::TimeZone, String)> {
    // A placeholder of the calendar library, in no tz database.
    if name.eq_ignore_ascii_case("Etc/Unknown") {
        return None;
    }
    let rules = tz::db().get(name).ok()?;
    let canonical = rules.iana_name()?.to_owned();
    Some((rules, canonical))
}

fn is_part(part: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+');
    (1..=14).contains(&part.len()) && part.bytes().all(allowed) && part != "." && part != ".." && !part.starts_with('-')
}

pub(super) const MINUTE: i64 = 60;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// Instants from `start` to before `end`, in Unix seconds, at one offset from UTC, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub start: i64,
    pub end: i64,
    pub offset: i64,
}

impl Stretch {
    /// What a clock without changeovers shows.
    const ALWAYS: Self = Self { start: i64::MIN / 4, end: i64::MAX / 4, offset: 0 };
    const NONE: Self = Self { start: 0, end: 0, offset: 0 };

    pub const fn length(self) -> i64 {
        self.end - self.start
    }

    const fn contains(self, instant: i64) -> bool {
        self.start <= instant && instant < self.end
    }

    fn find(rules: &tz::TimeZone, instant: i64) -> Option<Self> {
        let at = Timestamp::from_second(instant).ok()?;
        let upto = Timestamp::from_second(instant.saturating_add(1)).ok()?;
        let second = |change: tz::TimeZoneTransition<'_>| change.timestamp().as_second();
        Some(Self {
            start: rules.preceding(upto).next().map_or(Self::ALWAYS.start, second),
            end: rules.following(at).next().map_or(Self::ALWAYS.end, second),
            offset: rules.to_offset(at).seconds().into(),
        })
    }
}

/// The stretches of a zone from the one that holds at `from` to the one that holds at `to`, at most `most`.
pub(super) fn stretches(zone: &TimeZone, from: i64, to: i64, most: usize) -> Vec<Stretch> {
    let (Some(first), Ok(at)) = (Stretch::find(&zone.rules, from), Timestamp::from_second(from)) else {
        return Vec::new();
    };
    let mut all = vec![first];
    for change in zone.rules.following(at).take(most) {
        let start = change.timestamp().as_second();
        if let Some(last) = all.last_mut() {
            last.end = start;
        }
        if start > to {
            return all;
        }
        all.push(Stretch { start, end: start, offset: change.offset().seconds().into() });
    }
    // The end of the last one is not known if there were more than `most`.
    if all.len() > most {
        all.pop();
    } else if let Some(last) = all.last_mut() {
        last.end = Stretch::ALWAYS.end;
    }
    all
}

/// Wall-clock time in a zone, remembering the stretch of constant offset around the last instant asked for. Instants are
/// Unix seconds; so are wall-clock times, as if the wall were in UTC.
#[derive(Debug)]
pub(super) struct Clock<'z> {
    rules: Option<&'z tz::TimeZone>,
    /// Stretches that need not be looked up, in order.
    known: &'z [Stretch],
    now: Stretch,
    /// The day that was read last, in days since 1970, and its date.
    today: Option<(i64, Date)>,
}

/// What a wall clock shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Seconds as if the wall were in UTC.
    pub wall: i64,
    /// Seconds since midnight.
    pub of_day: i64,
    pub date: Date,
}

impl Reading {
    /// The wall at the last midnight.
    pub const fn midnight(self) -> i64 {
        self.wall - self.of_day
    }

    pub const fn hour(self) -> i64 {
        self.of_day / HOUR
    }

    pub const fn minute(self) -> i64 {
        self.of_day % HOUR / MINUTE
    }

    pub const fn second(self) -> i64 {
        self.of_day % MINUTE
    }

    pub fn day(self) -> i64 {
        self.date.day().into()
    }
}

/// No two offsets of one zone differ by more, so this far from a changeover wall-clock arithmetic is plain.
const SETTLED: i64 = 2 * DAY;

impl<'z> Clock<'z> {
    pub const fn new(zone: &'z TimeZone) -> Self {
        Self { rules: Some(&zone.rules), known: &[], now: Stretch::NONE, today: None }
    }

    /// A clock that has some stretches at hand.
    pub const fn knowing(zone: &'z TimeZone, known: &'z [Stretch]) -> Self {
        Self { rules: Some(&zone.rules), known, now: Stretch::NONE, today: None }
    }

    /// A clock without changeovers that shows UTC.
    pub const fn fixed() -> Self {
        Self { rules: None, known: &[], now: Stretch::ALWAYS, today: None }
    }

    fn known(&self, instant: i64) -> Option<Stretch> {
        let index = self.known.partition_point(|stretch| stretch.end <= instant);
        self.known.get(index).copied().filter(|stretch| stretch.contains(instant))
    }

    /// The offset at an instant, in seconds; none beyond the years that the calendar knows.
    pub fn offset(&mut self, instant: i64) -> Option<i64> {
        if !self.now.contains(instant) {
            self.now = match (self.known(instant), self.rules) {
                (Some(stretch), _) => stretch,
                (None, Some(rules)) => Stretch::find(rules, instant)?,
                (None, None) => Stretch::ALWAYS,
            };
        }
        Some(self.now.offset)
    }

    fn offset_elsewhere(&self, instant: i64) -> Option<i64> {
        if self.now.contains(instant) {
            return Some(self.now.offset);
        }
        if let Some(stretch) = self.known(instant) {
            return Some(stretch.offset);
        }
        let Some(rules) = self.rules else { return Some(0) };
        Some(rules.to_offset(Timestamp::from_second(instant).ok()?).seconds().into())
    }

    pub fn wall(&mut self, instant: i64) -> Option<i64> {
        Some(instant + self.offset(instant)?)
    }

    /// What the wall shows at an instant. Whoever asks often stays in a day, so its date is remembered.
    pub fn read(&mut self, instant: i64) -> Option<Reading> {
        let wall = self.wall(instant)?;
        let at = Timestamp::from_second(wall).ok()?;
        let day = wall.div_euclid(DAY);
        let date = match self.today {
            Some((known, date)) if known == day => date,
            _ => self.today.insert((day, tz::Offset::UTC.to_datetime(at).date())).1,
        };
        Some(Reading { wall, of_day: wall - day * DAY, date })
    }

    /// The instant at which the wall shows this time, as Go's `time.Date` chooses it: the offset that holds at the wall's
    /// time taken for an instant of UTC leads to a guess, and the offset that holds at the guess decides.
    pub fn instant(&self, wall: i64) -> Option<i64> {
        let guess = wall - self.now.offset;
        if self.now.contains(guess - SETTLED) && self.now.contains(guess + SETTLED) {
            return Some(guess);
        }
        let guess = wall - self.offset_elsewhere(wall)?;
        Some(wall - self.offset_elsewhere(guess)?)
    }

    /// How long the remembered period of constant offset continues after an instant inside it; otherwise nothing.
    pub fn steady(&self, instant: i64) -> i64 {
        if self.now.contains(instant) { self.now.end - 1 - instant } else { 0 }
    }

    /// The same, ending so early and beginning so late that [`Clock::instant`] cannot leave the stretch; 0 and less for
    /// nothing.
    pub fn settled(&self, instant: i64) -> i64 {
        if self.now.contains(instant - SETTLED) { self.steady(instant) - SETTLED } else { 0 }
    }
}

/// Date and time of a wall-clock time in seconds.
pub(super) fn civil(wall: i64) -> Option<DateTime> {
    Some(tz::Offset::UTC.to_datetime(Timestamp::from_second(wall).ok()?))
}

/// The seconds of a date and time.
pub(super) fn seconds(at: DateTime) -> Option<i64> {
    tz::Offset::UTC.to_timestamp(at).ok().map(Timestamp::as_second)
}
