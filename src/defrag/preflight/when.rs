//! When a preflight is due, by what the last one found.

use jiff::{SignedDuration, Timestamp};

use super::{
    access::Access,
    names::STALE,
    record::{Outcome, Record},
};

/// Why a preflight is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The access changed.
    Changed,
    /// There was none yet.
    New,
    /// The last one failed.
    Failed,
    /// The image changed, and nothing else.
    Engine,
}

/// When a preflight is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As soon as the members are ready and a place is free.
    Now(Why),
    /// Not before this time.
    At(Timestamp),
    /// Not until something changes.
    Never,
}

/// The pauses after failures in a row. After the last of them nothing is tried again until something changes.
const PAUSES: [SignedDuration; 5] = [
    SignedDuration::from_mins(2),
    SignedDuration::from_mins(10),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(24),
];

/// When the next preflight of an access is due, by what the last one found.
#[must_use]
pub fn when(access: &Access, last: Option<&Record>, now: Timestamp) -> When {
    let Some(last) = last else { return When::Now(Why::New) };
    if last.access.facts != access.facts {
        return When::Now(Why::Changed);
    }
    if last.outcome == Outcome::Running {
        return at(last.at, STALE, now, Why::Failed);
    }
    // A failure under another image says nothing of this one.
    if last.access.engine != access.engine {
        return When::Now(if last.outcome == Outcome::Failed { Why::Changed } else { Why::Engine });
    }
    match last.outcome {
        Outcome::Succeeded | Outcome::Running => When::Never,
        Outcome::Failed => {
            let index = usize::try_from(last.tries.saturating_sub(1)).unwrap_or(usize::MAX);
            PAUSES.get(index).map_or(When::Never, |pause| at(last.at, *pause, now, Why::Failed))
        }
    }
}

fn at(since: Timestamp, pause: SignedDuration, now: Timestamp, why: Why) -> When {
    match since.checked_add(pause) {
        // A time to come is of nobody's clock.
        Ok(due) if due > now && since <= now => When::At(due),
        _ => When::Now(why),
    }
}

/// How many preflights in a row have been tried with the one that begins now.
#[must_use]
pub fn tries(access: &Access, last: Option<&Record>) -> u32 {
    match last.filter(|last| last.access == *access && last.outcome != Outcome::Succeeded) {
        Some(last) => last.tries.saturating_add(1),
        None => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(facts: &str, engine: &str) -> Access {
        Access { facts: facts.to_owned(), engine: engine.to_owned() }
    }

    fn record(outcome: Outcome, tries: u32) -> Record {
        Record { outcome, at: second(1000), access: of("f", "e"), tries, job: "j".to_owned(), text: String::new() }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_known_is_not_tried_again() {
        let when =
            |record: Option<&Record>, facts: &str, engine: &str, at: i64| when(&of(facts, engine), record, second(at));
        assert_eq!(when(None, "f", "e", 1000), When::Now(Why::New));
        let well = record(Outcome::Succeeded, 1);
        assert_eq!(when(Some(&well), "f", "e", 9_000_000), When::Never);
        assert_eq!(when(Some(&well), "g", "e", 1001), When::Now(Why::Changed));
        assert_eq!(when(Some(&well), "f", "x", 1001), When::Now(Why::Engine));
        assert_eq!(when(Some(&well), "g", "x", 1001), When::Now(Why::Changed));
        let failed = record(Outcome::Failed, 1);
        assert_eq!(when(Some(&failed), "f", "x", 1001), When::Now(Why::Changed), "another image may mend it");
        let running = record(Outcome::Running, 1);
        assert_eq!(when(Some(&running), "f", "e", 1100), When::At(second(1240)));
        assert_eq!(when(Some(&running), "f", "x", 1100), When::At(second(1240)), "one at a time");
        assert_eq!(when(Some(&running), "f", "e", 1240), When::Now(Why::Failed), "its leader is gone");
        assert_eq!(when(Some(&running), "f", "e", 900), When::Now(Why::Failed), "of times to come");
    }

    #[test]
    fn pauses_grow_and_then_it_is_quiet() {
        let pause = |tries: u32| match when(&of("f", "e"), Some(&record(Outcome::Failed, tries)), second(1000)) {
            When::At(at) => Some(at.as_second() - 1000),
            When::Never => None,
            When::Now(why) => panic!("{why:?}"),
        };
        assert_eq!(
            [1, 2, 3, 4, 5, 6, u32::MAX].map(pause),
            [Some(120), Some(600), Some(3600), Some(21_600), Some(86_400), None, None]
        );
        let tries = |outcome: Outcome, count: u32| tries(&of("f", "e"), Some(&record(outcome, count)));
        assert_eq!([tries(Outcome::Failed, 2), tries(Outcome::Running, 2), tries(Outcome::Succeeded, 2)], [3, 3, 1]);
        assert_eq!(super::tries(&of("g", "e"), Some(&record(Outcome::Failed, 2))), 1, "another access starts over");
    }
}
