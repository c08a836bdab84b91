//! How long a run may take: the time-out of a member, the wait between two, and the deadline that follows from both, held
//! against what the policy allows at most. Whoever hangs keeps a place among the runs on demand for no longer.

use std::time::Duration;

use super::{DEFAULT_WAIT, Given, MAX_DURATION, Place, Settings};
use crate::defrag::{
    duration::{self, in_seconds},
    etcd::{default_command_timeout, time_budget},
    finding::{Code, Finding, quoted},
    keys::Key,
    policy::{LONGEST_TIMEOUT, LONGEST_WAIT, Limits, Policy},
    quantity::human,
};

/// What a policy says of the length of runs.
#[derive(Clone, Copy, Debug)]
pub(in crate::defrag) struct Bounds<'a> {
    limits: &'a Limits,
    /// What a run may take besides its members.
    slack: Duration,
    /// The time-out and the wait that the policy gives: they are not too long where it names no limit.
    timeout: Option<Duration>,
    wait: Option<Duration>,
}

/// The longest wait between two members under a policy.
#[must_use]
pub fn longest_wait(policy: &Policy) -> Duration {
    Bounds::of(policy).longest_wait()
}

/// The run whose length is checked.
#[derive(Clone, Copy, Debug)]
pub(in crate::defrag) struct Run<'a> {
    pub(in crate::defrag) settings: &'a Settings,
    pub(in crate::defrag) given: &'a Given,
    /// How many members it goes to.
    pub(in crate::defrag) members: u32,
    /// In bytes; if it is not known, nothing that depends on it is checked.
    pub(in crate::defrag) quota: Option<u64>,
}

impl<'a> Bounds<'a> {
    /// Those of the limits and the Job of a policy and of its defaults.
    pub(in crate::defrag) fn new(limits: &'a Limits, slack_seconds: i32, defaults: &Given) -> Self {
        let given = |key: Key| duration::parse_unsigned(defaults.get(&key)?).ok();
        Self {
            limits,
            slack: Duration::from_secs(u64::try_from(slack_seconds).unwrap_or(0)),
            timeout: given(Key::CommandTimeout),
            wait: given(Key::WaitBetweenMembers),
        }
    }

    /// Those of a policy.
    pub(in crate::defrag) fn of(policy: &'a Policy) -> Self {
        Self::new(&policy.limits, policy.job.shape.deadline_slack_seconds, &policy.defaults)
    }

    /// The longest time-out for an etcd of this quota, in bytes. The one that scales with the quota is never too long: it is
    /// what the policy itself says that a member takes.
    fn longest_timeout(self, quota: u64) -> Duration {
        let scaled = default_command_timeout(quota, self.limits);
        match self.limits.max_command_timeout {
            Some(most) => most.max(scaled),
            None => LONGEST_TIMEOUT.max(scaled.saturating_mul(3)).max(self.timeout.unwrap_or_default()),
        }
    }

    fn longest_wait(self) -> Duration {
        let most = self.limits.max_wait.unwrap_or_else(|| LONGEST_WAIT.max(self.wait.unwrap_or_default()));
        most.max(self.limits.min_wait)
    }

    /// Until a run is ended: every member at its time-out and wait, once more for moving the leader and compacting, and the
    /// policy's slack for the start of the pod, pulling the image and the engine's own health check.
    pub(in crate::defrag) fn deadline(self, members: u32, timeout: Duration, wait: Duration) -> Duration {
        let step = timeout.as_secs().saturating_add(wait.as_secs()).saturating_add(1);
        let steps = u64::from(members).saturating_add(1);
        Duration::from_secs(steps.saturating_mul(step).saturating_add(self.slack.as_secs()))
    }

    /// What is left of the longest deadline for each member besides this, in whole minutes.
    fn fitting(self, members: u32, besides: Duration) -> Option<Duration> {
        let left = self.limits.max_deadline.checked_sub(self.slack)?.as_secs() / (u64::from(members) + 1);
        let minutes = left.checked_sub(besides.as_secs().saturating_add(1))? / 60;
        Some(Duration::from_secs(minutes * 60)).filter(|fits| !fits.is_zero())
    }

    /// What of a run is too long, and a time-out that is too short for a full database.
    pub(in crate::defrag) fn judge(self, run: Run<'_>, place: Place) -> Vec<Finding> {
        let judged = Judged { bounds: self, run, place };
        let mut findings: Vec<Finding> = judged.wait().into_iter().collect();
        if let Some(quota) = run.quota {
            findings.extend(judged.timeout(quota));
            findings.extend(judged.tight(quota));
            findings.extend(judged.run_of_all(quota));
        }
        findings
    }
}

struct Judged<'a> {
    bounds: Bounds<'a>,
    run: Run<'a>,
    place: Place,
}

impl Judged<'_> {
    fn text(&self, key: Key) -> String {
        quoted(self.run.given.get(&key).map(String::as_str).unwrap_or_default())
    }

    fn timeout(&self, quota: u64) -> Option<Finding> {
        let most = self.bounds.longest_timeout(quota);
        self.run.settings.command_timeout.filter(|timeout| *timeout > most)?;
        let (name, noun) = (self.place.name(Key::CommandTimeout), self.place.noun());
        let scaled = in_seconds(default_command_timeout(quota, self.bounds.limits), "");
        let short = in_seconds(most, "");
        Some(Finding::new(
            Code::CommandTimeoutTooLong,
            self.place.field(Key::CommandTimeout),
            format!("{name} is over {short}, the most that the policy allows"),
            format!(
                "{} is over {short}, the most that the policy allows (limits.maxCommandTimeout): a member that hangs delays the run for as long, and other \
                 runs wait. Write \"{short}\" or less, or remove the {noun}: the time-out then scales with the quota \
                 ({scaled}).",
                self.text(Key::CommandTimeout)
            ),
        ))
    }

    /// Whether the time-out ends before a member with a full database is done, by what the policy says that a GiB takes.
    fn tight(&self, quota: u64) -> Option<Finding> {
        let limits = self.bounds.limits;
        let needed = time_budget(quota, limits);
        let needed = Duration::from_secs(needed.as_secs() + u64::from(needed.subsec_nanos() > 0));
        let least = limits.min_command_timeout;
        // Whatever is under the least is refused, and a value that is advised there does here, too.
        self.run
            .settings
            .command_timeout
            .filter(|timeout| *timeout < needed && (*timeout >= least || needed > least))?;
        let (name, enough) = (self.place.name(Key::CommandTimeout), in_seconds(needed, ""));
        Some(Finding::new(
            Code::CommandTimeoutTight,
            self.place.field(Key::CommandTimeout),
            format!("{name} is under {enough}, which a member with a full database may take"),
            format!(
                "{} is under {enough}, which a member may take to defragment a full database (limits.secondsPerGiB is {}, the quota \
                 {}): the run then counts as failed while the member is still blocked, and the members after it are skipped. {}",
                self.text(Key::CommandTimeout),
                limits.seconds_per_gib,
                human(quota),
                self.longer(needed, default_command_timeout(quota, limits))
            ),
        ))
    }

    /// What to write for a time-out of at least `needed`; `scaled` is the one that is in force without any.
    fn longer(&self, needed: Duration, scaled: Duration) -> String {
        let Run { settings, members, .. } = self.run;
        let limits = self.bounds.limits;
        let fits = |timeout| self.bounds.deadline(members, timeout, settings.wait) <= limits.max_deadline;
        let (name, enough, unset) =
            (self.place.name(Key::CommandTimeout), in_seconds(needed, ""), in_seconds(scaled, ""));
        if !fits(needed) {
            let most = in_seconds(limits.max_deadline, "");
            return match self.place {
                Place::Annotations => format!(
                    "A longer one does not fit into limits.maxDeadline, {most}, with {members} members: ask the owners of the policy \
                     for a longer maxDeadline."
                ),
                Place::Policy => {
                    format!("A longer one does not fit into maxDeadline, {most}: write a longer maxDeadline, too.")
                }
            };
        }
        let is_default = self.bounds.timeout.is_some() && self.bounds.timeout == settings.command_timeout;
        match (self.place, limits.max_command_timeout.filter(|most| *most < needed)) {
            (Place::Policy, Some(most)) => format!(
                "maxCommandTimeout is {} and allows no longer default: remove the field, and the time-out scales with the quota \
                 ({unset}), or write a longer maxCommandTimeout.",
                in_seconds(most, "")
            ),
            (Place::Annotations, _) if limits.locked.contains(&Key::CommandTimeout) => format!(
                "The policy locks {name}: ask its owners for a defaults.commandTimeout of \"{enough}\" or more."
            ),
            (Place::Annotations, _) if is_default => format!(
                "It is the default of the policy (defaults.commandTimeout): write the annotation {name} with \"{enough}\" or more, or \
                 ask the owners of the policy to remove the default: the time-out then scales with the quota ({unset})."
            ),
            _ if needed > MAX_DURATION || !fits(scaled) => {
                format!("Write \"{}\" or more.", in_seconds(needed.min(MAX_DURATION), ""))
            }
            _ => format!(
                "Write \"{enough}\" or more, or remove the {}: the time-out then scales with the quota ({unset}).",
                self.place.noun()
            ),
        }
    }

    fn wait(&self) -> Option<Finding> {
        let (most, noun) = (self.bounds.longest_wait(), self.place.noun());
        (self.run.settings.wait > most).then(|| {
            let short = in_seconds(most, "");
            Finding::new(
                Code::WaitTooLong,
                self.place.field(Key::WaitBetweenMembers),
                format!("{} is over {short}, the most that the policy allows", self.place.name(Key::WaitBetweenMembers)),
                format!(
                    "{} is over {short}, the most that the policy allows (limits.maxWaitBetweenMembers): between two members a run only waits, and runs of other \
                     etcds wait meanwhile. Write \"{short}\" or less, or remove the {noun}.",
                    self.text(Key::WaitBetweenMembers)
                ),
            )
        })
    }

    /// Whether all members together take too long, with what is too long by itself taken as the longest that is allowed.
    fn run_of_all(&self, quota: u64) -> Option<Finding> {
        let Run { settings, members, .. } = self.run;
        let scaled = default_command_timeout(quota, self.bounds.limits);
        let timeout = settings.command_timeout.unwrap_or(scaled).min(self.bounds.longest_timeout(quota));
        let wait = settings.wait.min(self.bounds.longest_wait());
        let most = self.bounds.limits.max_deadline;
        let deadline = self.bounds.deadline(members, timeout, wait);
        if members == 0 || deadline <= most {
            return None;
        }
        // Whatever is above what it would be without being asked for is to blame; else it is the etcd itself.
        let above = [
            (Key::CommandTimeout, timeout.saturating_sub(scaled)),
            (Key::WaitBetweenMembers, wait.saturating_sub(DEFAULT_WAIT)),
        ];
        let blamed = above.into_iter().filter(|(key, above)| self.run.given.contains_key(key) && !above.is_zero());
        let blamed = blamed.max_by_key(|(_, above)| *above).map(|(key, _)| key);
        let (short, most) = (in_seconds(deadline, ""), in_seconds(most, ""));
        let (key, besides, least) = if blamed == Some(Key::WaitBetweenMembers) {
            (Key::WaitBetweenMembers, timeout, self.bounds.limits.min_wait)
        } else {
            (Key::CommandTimeout, wait, self.bounds.limits.min_command_timeout)
        };
        let fits = self.bounds.fitting(members, besides).filter(|fits| *fits >= least);
        let advice = match fits {
            Some(fits) => format!("Write a {} of \"{}\" or less.", self.place.name(key), in_seconds(fits, "")),
            None if blamed.is_some() => {
                format!(
                    "Write a shorter {}, or ask the owners of the policy for a longer limits.maxDeadline.",
                    self.place.name(key)
                )
            }
            None => match self.place {
                Place::Annotations => "Ask the owners of the policy for a longer limits.maxDeadline.".to_owned(),
                Place::Policy => "Write a longer maxDeadline.".to_owned(),
            },
        };
        let why = if blamed.is_none() && settings.command_timeout.is_none() {
            format!(" (it scales with the quota of {})", human(quota))
        } else {
            String::new()
        };
        Some(Finding::new(
            Code::DeadlineTooLong,
            match (blamed, self.place) {
                (Some(key), _) => self.place.field(key),
                (None, Place::Annotations) => "spec.template".into(),
                (None, Place::Policy) => "spec.limits.maxDeadline".into(),
            },
            format!("a run may take {short}; the policy allows {most}"),
            format!(
                "With {members} members, a time-out of {}{why} and a wait of {}, a run may take up to {short}, and the policy \
                 allows {most} (limits.maxDeadline): no other run of this etcd starts while one hangs, and runs of other etcds \
                 wait. {advice}",
                in_seconds(timeout, ""),
                in_seconds(wait, "")
            ),
        ))
    }
}

#[cfg(test)]
mod tests;
