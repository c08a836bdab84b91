//! Whether a run starts now.

use std::{cmp::Ordering, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    Aim, Measured, Pace, about,
    measure::{Member, usage},
};
use crate::defrag::{finding::quoted, quantity::human, rule::State, schedule};

/// What is known of an etcd besides its measured state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether a run of it is in progress.
    pub active: bool,
    /// The start or end, whichever is known and later, of its last run.
    pub last_run: Option<Timestamp>,
}

/// The members of an etcd as Kubernetes sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// How many are ready.
    pub ready: u32,
    /// How many there should be.
    pub wanted: u32,
    /// Whether the probe that says so takes a member with an alarm for one that is not ready: under NOSPACE none is, then,
    /// and a run is what leads back.
    pub counts_alarms: bool,
}

/// Why a run waits. [`Hold::because`] ends the sentence "it waits, because …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The whole fleet is paused.
    Paused,
    /// The CronJob is suspended.
    Suspended,
    /// A run is under way.
    Active,
    /// Members are not ready.
    NotReady(Readiness),
    /// The last run was a short while ago.
    Cooldown {
        /// How long runs are kept apart.
        cooldown: Duration,
    },
    /// What was measured is from before the end of the last run.
    Outdated,
    /// No window is open.
    OutsideWindows,
    /// A member reports the alarm CORRUPT.
    Corrupt {
        /// The pods that report it.
        pods: Vec<String>,
    },
    /// As many runs as the policy allows are under way: of those that were nearest to their quota.
    Crowded {
        /// How many may be.
        allowed: u32,
    },
    /// Its namespace has all places but the one that is left to other namespaces.
    NamespaceShare {
        /// How many there are.
        allowed: u32,
    },
    /// A preflight of it is in progress.
    Preflight,
    /// The next scheduled run is near.
    NextRun,
    /// The rule cannot be computed at the measured state.
    RuleFails {
        /// Why not.
        error: String,
    },
}

impl Hold {
    /// A name that stays the same, for annotations and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Paused => "fleet-paused",
            Self::Suspended => "suspended",
            Self::Active => "run-under-way",
            Self::NotReady(_) => "members-not-ready",
            Self::Cooldown { .. } => "cooldown",
            Self::Outdated => "measured-before-run",
            Self::OutsideWindows => "outside-windows",
            Self::Corrupt { .. } => "member-corrupt",
            Self::Crowded { .. } => "others-first",
            Self::NamespaceShare { .. } => "namespace-share",
            Self::Preflight => "preflight-under-way",
            Self::NextRun => "next-run-soon",
            Self::RuleFails { .. } => "rule-fails",
        }
    }

    /// Whether it is worth a word on the etcd: what ends by itself in a moment, after each run, is not.
    #[must_use]
    pub const fn lasts(&self) -> bool {
        !matches!(self, Self::Active | Self::Outdated | Self::Preflight | Self::NextRun)
    }

    /// The reason, as the end of the sentence "it waits, because …".
    #[must_use]
    pub fn because(&self) -> String {
        match self {
            Self::Paused => "the whole fleet is paused; `etcd-defrag-webhook status` says by whom and why".to_owned(),
            Self::Suspended => "the CronJob is suspended".to_owned(),
            Self::Active => "another run is in progress".to_owned(),
            Self::NotReady(Readiness { ready, wanted, .. }) => {
                format!("{ready} of {wanted} members are ready, and a member is unavailable while it is defragmented")
            }
            Self::Cooldown { cooldown } => {
                format!(
                    "the last run was less than {} ago (the policy's metrics.prometheus.cooldown)",
                    about(*cooldown)
                )
            }
            Self::Outdated => "what was measured is from before the end of the last run".to_owned(),
            Self::OutsideWindows => "none of the policy's windows (limits.windows) is open".to_owned(),
            Self::Corrupt { pods } => format!(
                "the alarm CORRUPT is raised ({}), and no member may be defragmented before its data is checked",
                pods.join(", ")
            ),
            Self::Crowded { allowed } => format!(
                "{allowed} at a time are defragmented (the policy's metrics.prometheus.maxConcurrent), and others came first"
            ),
            Self::NamespaceShare { allowed } => format!(
                "{allowed} at a time are defragmented (the policy's metrics.prometheus.maxConcurrent), its namespace has all but one \
                 of these places, and the last one is left to other namespaces"
            ),
            Self::Preflight => "a preflight of it is in progress".to_owned(),
            Self::NextRun => "the next scheduled run is less than 10 min away".to_owned(),
            Self::RuleFails { error } => format!("the rule cannot be computed at the measured state: {error}"),
        }
    }
}

/// What happens to an etcd in this interval.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The rule holds for no member.
    NotRequired,
    /// A run should start.
    Start {
        /// The share of the quota of the fullest member.
        usage: f64,
        /// Whether that is too near to the quota to wait for others.
        urgent: bool,
        /// Why, as a sentence.
        reason: String,
    },
    /// The rule holds, and the run waits.
    Hold(Hold),
}

/// The guards of every run that is not a scheduled one, whether a person or metrics require it.
pub fn guard(suspended: bool, active: bool, members: Readiness) -> Result<(), Hold> {
    if suspended {
        return Err(Hold::Suspended);
    }
    if active {
        return Err(Hold::Active);
    }
    // Should all of them be down for another reason, the engine finds that out before it touches the first one.
    let alarmed = members.ready == 0 && members.counts_alarms;
    if members.ready < members.wanted && !alarmed {
        return Err(Hold::NotReady(members));
    }
    Ok(())
}

/// Whether the etcd requires a run, by its own rule on its measured state, and what prevents one. Readiness of members
/// and room among the other etcds are checked by [`guard`] and by the caller, once there is something to start.
#[must_use]
pub fn wants(aim: &Aim, measured: &Measured, facts: Facts, pace: &Pace, now: Timestamp) -> Decision {
    let mut firing: Vec<&Member> = Vec::new();
    for member in &measured.members {
        match aim.rule.evaluate(&member.state) {
            Ok(true) => firing.push(member),
            Ok(false) => {}
            Err(error) => return Decision::Hold(Hold::RuleFails { error: error.to_string() }),
        }
    }
    let Some(fullest) = firing.iter().max_by(|a, b| usage(&a.state).total_cmp(&usage(&b.state))) else {
        return Decision::NotRequired;
    };
    // The rule may hold for a member with much to reclaim while another is nearer to the quota.
    let share = measured.usage();
    if !measured.corrupt.is_empty() {
        return Decision::Hold(Hold::Corrupt { pods: measured.corrupt.clone() });
    }
    if aim.paused {
        return Decision::Hold(Hold::Paused);
    }
    if aim.suspended {
        return Decision::Hold(Hold::Suspended);
    }
    if facts.active {
        return Decision::Hold(Hold::Active);
    }
    if facts.last_run.is_some_and(|last| measured.scraped <= last) {
        return Decision::Hold(Hold::Outdated);
    }
    let urgent = share >= pace.emergency_above;
    let cooldown = if urgent { pace.emergency_cooldown.min(pace.cooldown) } else { pace.cooldown };
    let since = facts.last_run.map(|last| now.duration_since(last));
    if since.is_some_and(|since| since < SignedDuration::try_from(cooldown).unwrap_or(SignedDuration::MAX)) {
        return Decision::Hold(Hold::Cooldown { cooldown });
    }
    let open = pace.windows.as_ref().is_none_or(|windows| schedule::any_open(windows, &aim.zone, now));
    if !open && !urgent {
        return Decision::Hold(Hold::OutsideWindows);
    }
    let hurry = if open { "" } else { " That is too near to the quota to wait for a window." };
    let reason = format!(
        "The rule {} holds for {} of {} members, {} first: {}.{hurry}",
        quoted(aim.rule.as_str()),
        firing.len(),
        measured.members.len(),
        fullest.pod,
        in_words(&fullest.state)
    );
    Decision::Start { usage: share, urgent, reason }
}

/// The one nearest to its quota first; names decide between equals, so that the order is always the same.
#[must_use]
pub fn nearest_first(a: (f64, &Aim), b: (f64, &Aim)) -> Ordering {
    b.0.total_cmp(&a.0).then_with(|| (&a.1.namespace, &a.1.name).cmp(&(&b.1.namespace, &b.1.name)))
}

/// A state in words.
fn in_words(state: &State) -> String {
    let free = human(state.free());
    format!(
        "{} of its quota of {} are used, {} in use and {free} to reclaim",
        human(state.db_size),
        human(state.quota),
        human(state.db_size_in_use)
    )
}
