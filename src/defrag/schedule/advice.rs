//! What to write instead of a schedule that is refused: something that is accepted under the same limits.

use std::{cell::OnceCell, collections::BTreeSet, time::Duration};

use super::{
    Intervals, Schedule, Spec,
    calendar::Calendar,
    case::{Case, is_policy},
    changeover::{Effects, ahead, effects},
    gaps::{Gaps, on_the_wall},
    next::whole_seconds,
    parse, seconds,
    window::{Openings, Wall, Window},
    year_of,
    zone::TimeZone,
};
use crate::defrag::{finding::quoted, keys::Key};

/// The default of every policy.
const USUAL: &str = "0 0 * * *";

/// The most times of the day that are tried with each choice of days.
const TRIED: usize = 4;

/// The most sets of weekdays of windows that are tried.
const SETS: usize = 8;

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
impl<'a> Case<'a> {
    /// Whether a schedule keeps all limits. What the wall clock breaks, no changeover mends.
    pub(super) fn suits(&self, text: &str) -> bool {
        let Ok(Schedule { spec, .. }) = parse::parse(text) else { return false };
        match &spec {
            Spec::Every(period) => self.limits.windows.is_none() && self.keeps(seconds(*period), seconds(*period)),
            Spec::Calendar(calendar) => {
                self.is_inside(calendar)
                    && self.on_the_wall(calendar).is_some_and(|wall| self.over_changeovers(calendar, &wall).is_some())
            }
        }
    }

    /// Whether the schedule at hand keeps all limits in a zone without changeovers.
    pub(super) fn suits_zone(&self, zone: &TimeZone) -> bool {
        let Spec::Calendar(calendar) = &self.schedule.spec else { return false };
        let windows = self.limits.windows.as_ref();
        windows.is_none_or(|windows| Openings::of(zone, windows, self.now).outside(calendar).is_none())
            && self.on_the_wall(calendar).is_some()
    }

    /// When a schedule can fire outside all windows, by its own clock.
    pub(super) fn outside(&self, calendar: &Calendar) -> Option<Wall> {
        self.openings()?.outside(calendar)
    }

    fn openings(&self) -> Option<&Openings<'_>> {
        let openings = || self.limits.windows.as_ref().map(|windows| Openings::of(self.zone, windows, self.now));
        self.openings.get_or_init(openings).as_ref()
    }

    pub(super) fn is_inside(&self, calendar: &Calendar) -> bool {
        self.outside(calendar).is_none()
    }

    fn keeps(&self, shortest: Duration, longest: Duration) -> bool {
        shortest >= self.limits.min_interval && self.limits.max_interval.is_none_or(|max| longest <= max)
    }

    fn keeps_with(&self, wall: &Gaps, effects: &Effects) -> bool {
        let Intervals { shortest, longest } = Intervals::of(wall, effects);
        self.keeps(shortest, longest)
    }

    /// Its gaps on the wall clock, where they keep the limits.
    fn on_the_wall(&self, calendar: &Calendar) -> Option<Gaps> {
        on_the_wall(calendar, year_of(self.now)).filter(|wall| self.keeps_with(wall, &Effects::default()))
    }

    /// What changeovers make of it, where the limits are kept.
    fn over_changeovers(&self, calendar: &Calendar, wall: &Gaps) -> Option<Effects> {
        Some(effects(calendar, self.zone, &self.ahead)).filter(|effects| self.keeps_with(wall, effects))
    }

    /// The schedule nearest to this one that keeps the limits: with fewer minutes, with fewer hours, at another time of the day, on
    /// other days, then something plain.
    pub(super) fn spaced(&self, calendar: &Calendar) -> Option<String> {
        let (minute, hour) = (calendar.minute.trailing_zeros(), calendar.hour.trailing_zeros());
        let mut kept = self.text.split_whitespace();
        let hours = kept.nth(1).unwrap_or("*").to_owned();
        let days = kept.collect::<Vec<_>>().join(" ");
        let kept = [hours, hour.to_string(), "12".to_owned()].map(|hours| format!("{minute} {hours} {days}"));
        let often = ["0 */2 * * *", "0 */6 * * *", "0 */12 * * *", "0 0 * * *", "0 12 * * *"].map(str::to_owned);
        let candidates = kept.into_iter().chain([format!("{minute} {hour} * * *")]).chain(often);
        let found = candidates.filter(|text| text != self.text).find(|text| self.suits(text));
        found.or_else(|| self.inside(calendar)).or_else(|| self.plain())
    }

    /// The built-in default where that keeps the limits, else something plain.
    pub(super) fn usual(&self) -> Option<String> {
        if self.suits(USUAL) { Some(USUAL.to_owned()) } else { self.plain() }
    }

    /// The rarest plain schedule that keeps the limits, else one at a time that they allow.
    pub(super) fn plain(&self) -> Option<String> {
        let plain = PLAIN.into_iter().filter(|text| *text != self.text).find(|text| self.suits(text));
        plain.map(str::to_owned).or_else(|| self.near((0, 0), &self.days(None), |_| true))
    }

    /// A schedule that keeps the limits at the time of day nearest to the first one of `calendar`, on its days where that is
    /// possible.
    pub(super) fn inside(&self, calendar: &Calendar) -> Option<String> {
        self.near(first(calendar), &self.days(Some(&self.own_days())), |_| true)
    }

    /// The same on its days, at a time of which changeovers skip and repeat nothing.
    pub(super) fn untouched(&self, calendar: &Calendar) -> Option<String> {
        self.near(first(calendar), &[self.own_days()], is_untouched)
    }

    fn near(&self, wanted: (u32, u32), days: &[String], accepts: impl Fn(&Effects) -> bool) -> Option<String> {
        let times = self.times(wanted);
        for days in days {
            let Ok(Schedule { spec: Spec::Calendar(daily), .. }) = parse::parse(&format!("0 0 {days}")) else {
                continue;
            };
            let at = |(hour, minute): &(u32, u32)| Calendar { hour: 1 << hour, minute: 1 << minute, ..daily };
            let open = times.iter().map(|time| (time, at(time))).filter(|(_, calendar)| self.is_inside(calendar));
            let others = open.map(|((hour, minute), calendar)| (format!("{minute} {hour} {days}"), calendar));
            for (text, calendar) in others.filter(|(text, _)| text != self.text).take(TRIED) {
                // One run on the same days is as often, whatever the time is.
                let Some(wall) = self.on_the_wall(&calendar) else { break };
                if self.over_changeovers(&calendar, &wall).is_some_and(|effects| accepts(&effects)) {
                    return Some(text);
                }
            }
        }
        None
    }

    /// Times of the day, hour and minute: those at the same minute first, and of these the nearest. The others are at full and half
    /// hours and where windows begin.
    fn times(&self, (hour, minute): (u32, u32)) -> Vec<(u32, u32)> {
        const DAY: u32 = 24 * 60;
        let begins = self.openings().map(Openings::begins).unwrap_or_default();
        let hourly = (0..24).flat_map(|hour| [minute, 0, 30].map(|minute| hour * 60 + minute));
        let mut times: Vec<u32> = begins.into_iter().chain(hourly).collect::<BTreeSet<u32>>().into_iter().collect();
        times.sort_by_key(|time| {
            let away = time.abs_diff(hour * 60 + minute);
            (time % 60 != minute, away.min(DAY - away))
        });
        times.into_iter().map(|time| (time / 60, time % 60)).collect()
    }

    /// The last three fields of the schedule.
    pub(super) fn own_days(&self) -> String {
        self.text.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")
    }

    /// The days to try, as the last three fields: its own, every day, those of the windows, single ones.
    fn days(&self, own: Option<&str>) -> Vec<String> {
        let windows = self.limits.windows.as_deref().unwrap_or_default();
        let of_windows: BTreeSet<String> = windows
            .iter()
            .flat_map(Window::weekdays)
            .filter(|days| !days.is_empty() && days.len() < 7)
            .map(|days| days.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            .collect();
        let weekly = of_windows.into_iter().take(SETS).chain((0..7).map(|day| day.to_string()));
        let weekly = weekly.map(|days| format!("* * {days}"));
        let every = ["* * *".to_owned()];
        // Nobody means once a year who gets his windows' clock by a time zone.
        let rarely = ["1 * *", "1 1 *"].map(str::to_owned).into_iter().filter(|_| self.other_zones().is_empty());
        own.map(str::to_owned).into_iter().chain(every).chain(weekly).chain(rarely).collect()
    }

    /// The zones of windows that the schedule does not have and may be given.
    fn other_zones(&self) -> Vec<&'a TimeZone> {
        if self.limits.locks_zone && !is_policy(self.field) {
            return Vec::new();
        }
        let mut zones: Vec<&TimeZone> = Vec::new();
        for zone in self.limits.windows.iter().flatten().filter_map(|window| window.zone.as_ref()) {
            if zone != self.zone && !zones.contains(&zone) {
                zones.push(zone);
            }
        }
        zones
    }

    /// The schedule nearest to this one that keeps the limits in a zone of the windows, with that zone.
    pub(super) fn in_zone_of_windows(&self) -> Option<(String, &'a TimeZone)> {
        self.other_zones().into_iter().find_map(|zone| {
            let case = Case {
                zone,
                ahead: ahead(zone, whole_seconds(self.now)),
                openings: OnceCell::new(),
                findings: Vec::new(),
                ..*self
            };
            let text = match &self.schedule.spec {
                _ if case.suits(self.text) => case.hashed(Some(self.text.to_owned())),
                Spec::Calendar(calendar) => case.hashed(case.spaced(calendar)),
                Spec::Every(_) => case.usual(),
            };
            text.zip(Some(zone))
        })
    }

    /// The same, as a sentence to add.
    pub(super) fn with_zone(&self) -> Option<String> {
        let (text, zone) = self.in_zone_of_windows()?;
        let key =
            if is_policy(self.field) { Key::TimeZone.defaults_field() } else { Key::TimeZone.annotation().to_owned() };
        Some(format!("Write for example {} and {key}: {}, the clock of the hours.", quoted(&text), quoted(zone.name())))
    }
}

/// Whether changeovers skip and repeat nothing.
pub(super) const fn is_untouched(effects: &Effects) -> bool {
    effects.skipped.is_none() && effects.repeated.is_none()
}

/// Hour and minute of its first time of the day.
pub(super) const fn first(calendar: &Calendar) -> (u32, u32) {
    (calendar.hour.trailing_zeros() % 24, calendar.minute.trailing_zeros() % 60)
}
