//! What to write instead of a schedule that is refused: something that is accepted under the same limits.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Intervals, Schedule, Spec,
    calendar::Calendar,
    case::Case,
    changeover::{Effects, effects},
    gaps::on_the_wall,
    parse, seconds,
    window::{Openings, Wall, Window},
    year_of,
    zone::TimeZone,
};

/// The default of every policy.
const USUAL: &str = "0 0 * * *";

/// The most times of the day that are tried with each choice of days.
const TRIED: usize = 4;

/// Schedules for rare, daily and frequent runs, the rarest first.
const PLAIN: [&str; 12] = [
    "0 0 1 * *",
    "0 12 1 * *",
    "0 0 * * 0",
    "0 12 * * 0",
    "0 0 * * *",
    "0 12 * * *",
    "0 */12 * * *",
    "0 */6 * * *",
    "0 */2 * * *",
    "0 * * * *",
    "*/30 * * * *",
    "*/10 * * * *",
];

/// A schedule against all limits of a policy.
impl Case<'_> {
    /// Whether a schedule keeps all limits in a zone. What the wall clock breaks, no changeover mends.
    fn suits_in(&self, text: &str, zone: &TimeZone, openings: Option<&Openings<'_>>) -> bool {
        let Ok(Schedule { spec, .. }) = parse::parse(text) else { return false };
        match &spec {
            Spec::Every(period) => self.limits.windows.is_none() && self.keeps(seconds(*period), seconds(*period)),
            Spec::Calendar(calendar) => {
                openings.is_none_or(|openings| openings.outside(calendar).is_none())
                    && self.keeps_intervals(calendar, zone).is_some()
            }
        }
    }

    /// Whether a schedule keeps all limits.
    pub(super) fn suits(&self, text: &str) -> bool {
        self.suits_in(text, self.zone, self.openings().as_ref())
    }

    /// Whether the schedule at hand keeps all limits in another zone.
    pub(super) fn suits_zone(&self, zone: &TimeZone) -> bool {
        let openings = self.limits.windows.as_ref().map(|windows| Openings::of(zone, windows, self.now));
        self.suits_in(self.text, zone, openings.as_ref())
    }

    fn openings(&self) -> Option<Openings<'_>> {
        self.limits.windows.as_ref().map(|windows| Openings::of(self.zone, windows, self.now))
    }

    /// When a schedule can fire outside all windows, by its own clock.
    pub(super) fn outside(&self, calendar: &Calendar) -> Option<Wall> {
        self.openings()?.outside(calendar)
    }

    fn keeps(&self, shortest: Duration, longest: Duration) -> bool {
        shortest >= self.limits.min_interval && self.limits.max_interval.is_none_or(|max| longest <= max)
    }

    /// What changeovers do to it, where it keeps the limits on intervals.
    fn keeps_intervals(&self, calendar: &Calendar, zone: &TimeZone) -> Option<Effects> {
        let wall = on_the_wall(calendar, year_of(self.now))?;
        let keeps = |effects: &Effects| {
            let Intervals { shortest, longest } = Intervals::of(&wall, effects);
            self.keeps(shortest, longest)
        };
        if !keeps(&Effects::default()) {
            return None;
        }
        let effects = if zone == self.zone { effects(calendar, zone, &self.ahead) } else { Effects::default() };
        keeps(&effects).then_some(effects)
    }

    /// The schedule nearest to this one that keeps the limits: with fewer minutes, with fewer hours, at another time of the day, on
    /// other days, then something plain.
    pub(super) fn spaced(&self, calendar: &Calendar) -> Option<String> {
        let openings = self.openings();
        let suits = |text: &String| text != self.text && self.suits_in(text, self.zone, openings.as_ref());
        let (minute, hour) = (calendar.minute.trailing_zeros(), calendar.hour.trailing_zeros());
        let mut kept = self.text.split_whitespace();
        let hours = kept.nth(1).unwrap_or("*").to_owned();
        let days = kept.collect::<Vec<_>>().join(" ");
        let kept = [hours, hour.to_string(), "12".to_owned()].map(|hours| format!("{minute} {hours} {days}"));
        let often = ["0 */2 * * *", "0 */6 * * *", "0 */12 * * *", "0 0 * * *", "0 12 * * *"].map(str::to_owned);
        let found = kept.into_iter().chain([format!("{minute} {hour} * * *")]).chain(often).find(suits);
        found.or_else(|| self.near(Some(calendar), |_| true)).or_else(|| self.plain())
    }

    /// The built-in default where that keeps the limits, else something plain.
    pub(super) fn usual(&self) -> Option<String> {
        if self.suits(USUAL) { Some(USUAL.to_owned()) } else { self.plain() }
    }

    /// The rarest plain schedule that keeps the limits, else one at a time that they allow.
    pub(super) fn plain(&self) -> Option<String> {
        let openings = self.openings();
        let suits = |text: &&str| *text != self.text && self.suits_in(text, self.zone, openings.as_ref());
        PLAIN.into_iter().find(suits).map(str::to_owned).or_else(|| self.near(None, |_| true))
    }

    /// A schedule that keeps the limits at the time of day nearest to the first one of `calendar`, on its days where that is
    /// possible, and of which changeovers make nothing that `accepts` refuses.
    pub(super) fn near(&self, calendar: Option<&Calendar>, accepts: impl Fn(&Effects) -> bool) -> Option<String> {
        let openings = self.openings();
        let (minute, hour) =
            calendar.map_or((0, 0), |calendar| (calendar.minute.trailing_zeros(), calendar.hour.trailing_zeros()));
        let times = times(minute, hour, self.limits.windows.as_deref().unwrap_or_default());
        for days in self.days(calendar) {
            let texts = times.iter().map(|(hour, minute)| format!("{minute} {hour} {days}"));
            let calendars = texts.filter_map(|text| match parse::parse(&text).ok()?.spec {
                Spec::Calendar(calendar) => Some((text, calendar)),
                Spec::Every(_) => None,
            });
            let is_open = |(_, calendar): &(String, Calendar)| {
                openings.as_ref().is_none_or(|openings| openings.outside(calendar).is_none())
            };
            let found = calendars.filter(is_open).take(TRIED).find(|(text, calendar)| {
                text != self.text && self.keeps_intervals(calendar, self.zone).is_some_and(|effects| accepts(&effects))
            });
            if let Some((text, _)) = found {
                return Some(text);
            }
        }
        None
    }

    /// The days to try, as the last three fields: those of the schedule, every day, those of the windows, single ones.
    fn days(&self, calendar: Option<&Calendar>) -> Vec<String> {
        let own = calendar.map(|_| self.text.split_whitespace().skip(2).collect::<Vec<_>>().join(" "));
        let windows = self.limits.windows.as_deref().unwrap_or_default();
        let of_windows: BTreeSet<String> = windows
            .iter()
            .flat_map(|window| window.weekdays())
            .filter(|days| !days.is_empty() && days.len() < 7)
            .map(|days| days.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            .collect();
        let weekly = of_windows.into_iter().chain((0..7).map(|day| day.to_string())).map(|days| format!("* * {days}"));
        let fixed = ["1 * *", "1 1 *"].map(str::to_owned);
        own.into_iter().chain(["* * *".to_owned()]).chain(weekly).chain(fixed).collect()
    }
}

/// Times of the day, hour and minute, the nearest first: full hours past the minute, and where windows begin.
fn times(minute: u32, hour: u32, windows: &[Window]) -> Vec<(u32, u32)> {
    const DAY: u32 = 24 * 60;
    let begins = windows.iter().map(|window| u32::from(window.from));
    let minutes: BTreeSet<u32> = begins.map(|begin| begin % 60).chain([minute % 60, 0, 30]).collect();
    let mut times: Vec<(u32, u32)> =
        (0..24).flat_map(|hour| minutes.iter().map(move |minute| (hour, *minute))).collect();
    let wanted = hour * 60 + minute;
    let distance = |(hour, minute): &(u32, u32)| {
        let away = (hour * 60 + minute).abs_diff(wanted) % DAY;
        away.min(DAY - away)
    };
    times.sort_by_key(distance);
    times
}
