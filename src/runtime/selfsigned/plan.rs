//! What to do about the Secret: a function of what was found and the time.
//!
//! ```text
//!            nothing to serve                   2/3 of its time are over,
//!  Absent ──────────────────► Sound ◄─────────┐ or the Secret was lost
//!  Empty, Broken   issue        │             │
//!                               │ prepare     │ prune: the old CA is trusted an hour longer
//!                               ▼             │
//!                   Sound, with next ──────► Sound, two CAs
//!                                  promote: once the API server trusts both
//! ```

use jiff::{SignedDuration, Timestamp};

use super::secret_store::{Found, Stored};

/// How long a pair is valid.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A pair is valid from this long before it was made, for clocks that are behind.
pub const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// How long the API server still trusts the old CA once the new pair is served, for a replica that learns of it late.
pub const OVERLAP: SignedDuration = SignedDuration::from_hours(1);

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Keep,
    /// Nothing, for somebody has to act, or a clock is wrong.
    Wait(String),
    /// Write a fresh pair, which is served at once.
    Issue {
        /// Why, as a part of a sentence.
        because: String,
    },
    /// Write a fresh pair beside the one that is served.
    Prepare {
        /// The content that it is added to.
        base: Box<Stored>,
        /// Why, as a part of a sentence.
        because: String,
    },
    /// Write the content after the change to the next pair.
    Promote(Box<Stored>),
    /// Write the content without the CAs that nothing is served of any more.
    Prune(Box<Stored>),
}

/// Everything that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What is in the Secret.
    pub found: &'a Found,
    /// The last sound content that this process saw, which it still serves.
    pub known: Option<&'a Stored>,
    /// Whether the API server has had the time to learn of the CA of the next pair.
    pub spread: bool,
    /// The time.
    pub now: Timestamp,
}

/// When a pair is to be followed by another one: after two thirds of its time.
#[must_use]
pub fn renewal(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    not_after - (not_after.duration_since(not_before) / 3)
}

/// Plans.
#[must_use]
pub fn plan(situation: Situation<'_>) -> Plan {
    let Situation { found, known, spread, now } = situation;
    // Clients trust what is served now: it stays for as long as the change to something else takes.
    let lost = |because: String| match known.filter(|known| now < known.current.not_after) {
        Some(known) => Plan::Prepare { base: Box::new(known.clone()), because },
        None => Plan::Issue { because },
    };
    match found {
        Found::Absent => lost("there is no Secret".to_owned()),
        Found::Empty => lost("the Secret is empty".to_owned()),
        Found::Broken(reason) => lost(reason.clone()),
        Found::Foreign => Plan::Wait(
            "it was created by something else, so it is not changed; delete it, or name another one with --tls-secret"
                .to_owned(),
        ),
        Found::Early(from) => {
            Plan::Wait(format!("its certificate is not valid before {from}; is a clock wrong? It is not overwritten"))
        }
        Found::Sound(stored) => sound(stored, spread, now),
    }
}

fn sound(stored: &Stored, spread: bool, now: Timestamp) -> Plan {
    let current = &stored.current;
    match &stored.next {
        Some(_) if spread => Plan::Promote(Box::new(stored.promoted(now))),
        None if now >= renewal(current.not_before, current.not_after) => Plan::Prepare {
            base: Box::new(stored.clone()),
            because: format!("the certificate expires at {}", current.not_after),
        },
        None if stored.authorities.len() > 1 && stored.since.is_none_or(|since| now >= since + OVERLAP) => {
            Plan::Prune(Box::new(stored.pruned()))
        }
        Some(_) | None => Plan::Keep,
    }
}
