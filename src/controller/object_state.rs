//! What is remembered of one StatefulSet between two looks at it, in this process only.

use std::{
    collections::BTreeMap,
    hash::{Hash, Hasher as _},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::defrag::{
    Assessment, Plan, Verdict,
    finding::{Code, Finding},
    ondemand::Aim,
    policy::Policy,
    preflight::Access,
};

/// Something that an Event says once, and again only after it changed or went away and came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    Refused,
    InForce,
    Foreign,
    Rival,
    Unsettled,
    Contested,
    ApplyFailed,
    Pending,
    Budget,
    LeftOut,
}

/// What an enrolled StatefulSet counts as in the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum EtcdStatus {
    /// Not enrolled.
    #[default]
    None,
    /// Enrolled, with its CronJob.
    Sound,
    /// Enrolled, with refused settings.
    Refused,
    /// Enrolled, but the name of its CronJob is taken.
    Foreign,
}

/// What a live CronJob settled on after we applied ours, and something in the cluster changed it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// The CronJob.
    pub(super) uid: Option<String>,
    /// The fingerprint of what we asked for.
    pub(super) desired: u64,
    /// The fingerprint of what the API server made of it.
    pub(super) live: u64,
}

/// What the last look found at an enrolled StatefulSet. Who has to see all of it, such as Events and reports, saw it then.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LastLook {
    /// The code of everything that is wrong or risky, and whether it refuses.
    pub(super) findings: Box<[(Code, bool)]>,
    /// The messages of those that refuse, in the same order.
    messages: Box<[Box<str>]>,
    /// What its CronJob goes by; `None` where it has none.
    pub(super) planned: Option<Planned>,
}

impl LastLook {
    pub(super) fn of(findings: &[Finding], planned: Option<Planned>) -> Self {
        let denials = findings.iter().filter(|finding| finding.denies());
        Self {
            findings: findings.iter().map(|finding| (finding.code, finding.denies())).collect(),
            messages: denials.map(|finding| finding.message.as_str().into()).collect(),
            planned,
        }
    }

    /// What refuses the settings, with its message.
    pub(super) fn denials(&self) -> impl Iterator<Item = (Code, &str)> {
        let codes = self.findings.iter().filter(|(_, denies)| *denies).map(|(code, _)| *code);
        codes.zip(self.messages.iter().map(AsRef::as_ref))
    }
}

/// The part of a plan that is in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// The quota in bytes; `None` where it was never known.
    pub(super) quota: Option<u64>,
    /// The longest time between two runs, by the schedule.
    pub(super) longest_pause: Option<Duration>,
    /// Whether runs are suspended, or there is no member.
    pub(super) suspended: bool,
}

impl Planned {
    pub(super) fn of(plan: &Plan) -> Self {
        let quota = plan.facts.as_ref().map(|facts| facts.quota);
        Self { quota, longest_pause: plan.longest_pause, suspended: plan.suspended }
    }
}

/// The state of one object.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectState {
    /// The fingerprint of the desired CronJob that was last seen in place.
    pub(super) in_place: Option<u64>,
    /// What the API server insists on.
    pub(super) settled: Option<Settled>,
    /// The runs that failed, as they stood on the CronJob last.
    pub(super) failed: Option<String>,
    /// The repairs of late.
    pub(super) repairs: Allowance,
    /// The writes of its report of compliance of late.
    pub(super) report_writes: Allowance,
    /// How it counts.
    pub(super) status: EtcdStatus,
    /// What was found; `None` where it is not enrolled.
    pub(super) last_look: Option<LastLook>,
    /// By what its measured state is decided on; `None` where it has no sound CronJob.
    pub(super) aim: Option<Arc<Aim>>,
    /// What its runs need to reach the members; `None` where there are to be no preflights.
    pub(super) access: Option<Access>,
    published: BTreeMap<Topic, u64>,
}

impl ObjectState {
    /// Notes what an assessment came to.
    pub(super) fn note(&mut self, assessment: &Assessment, policy: &Policy) {
        let sound = assessment.plan.as_ref().filter(|_| !assessment.refused.any);
        // Most etcds are under no policy that asks, and their looks cost nothing more.
        let asks = policy.metrics.is_some() && matches!(assessment.verdict, Verdict::Present(_));
        let preflights = policy.job.shape.preflight;
        self.access = assessment.cronjob().filter(|_| preflights).and_then(Access::of);
        self.aim = sound.filter(|_| asks).and_then(Aim::of).map(Arc::new);
        let planned = assessment.plan.as_ref().map(Planned::of);
        self.last_look = Some(LastLook::of(&assessment.findings, planned));
        self.status = match &assessment.verdict {
            Verdict::Leave => self.status,
            Verdict::Unseen | Verdict::Absent => EtcdStatus::None,
            _ if assessment.refused.any => EtcdStatus::Refused,
            Verdict::Taken { .. } => EtcdStatus::Foreign,
            Verdict::Present(_) | Verdict::Withheld => EtcdStatus::Sound,
        };
    }

    /// What is left of it where there is to be no CronJob: that something was published, while it still holds.
    pub(super) fn forgotten(&self) -> Self {
        let published = self.published.iter().filter(|(topic, _)| **topic == Topic::LeftOut);
        Self { published: published.map(|(topic, digest)| (*topic, *digest)).collect(), ..Self::default() }
    }

    /// Whether this has not been published yet; it counts as published from now on.
    pub(super) fn is_news(&mut self, topic: Topic, content: &impl Hash) -> bool {
        let mut hasher = std::hash::DefaultHasher::new();
        content.hash(&mut hasher);
        let digest = hasher.finish();
        self.published.insert(topic, digest) != Some(digest)
    }

    /// Forgets a topic, so that it is published when it comes back.
    pub(super) fn over(&mut self, topic: Topic) {
        self.published.remove(&topic);
    }
}

/// How many repairs of one object of ours are at hand: a burst at once, then a few a minute. Whoever keeps changing it back,
/// a person or a tool, is not outrun at full speed.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    left: u32,
    since: Option<Instant>,
}

/// Repairs that follow each other at once.
const BURST: u32 = 30;
/// The time after which one more is allowed.
const REFILL: Duration = Duration::from_secs(10);

impl Default for Allowance {
    fn default() -> Self {
        Self { left: BURST, since: None }
    }
}

impl Allowance {
    /// Takes one, or says how long to wait for the next.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since);
        let earned = u32::try_from(passed.as_secs() / REFILL.as_secs()).unwrap_or(BURST);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.since = Some(since + REFILL * earned);
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(REFILL.saturating_sub(now.saturating_duration_since(self.since.unwrap_or(now)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_repairs_is_at_hand_and_then_a_few_a_minute() {
        let (mut allowance, start) = (Allowance::default(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(allowance.take(start), Ok(()));
        }
        assert_eq!(allowance.take(start + Duration::from_secs(4)), Err(Duration::from_secs(6)));
        assert_eq!(allowance.take(start + Duration::from_secs(10)), Ok(()));
        assert!(allowance.take(start + Duration::from_secs(11)).is_err());
        let later = start + Duration::from_secs(100_000);
        for _ in 0..BURST {
            assert_eq!(allowance.take(later), Ok(()), "it fills up to the burst");
        }
        assert!(allowance.take(later).is_err(), "and not above");
    }

    #[test]
    fn news_is_news_once_until_it_changes_or_comes_back() {
        let mut state = ObjectState::default();
        assert!(state.is_news(Topic::Refused, &"a"));
        assert!(!state.is_news(Topic::Refused, &"a"));
        assert!(state.is_news(Topic::Foreign, &"a"));
        assert!(state.is_news(Topic::Refused, &"b"));
        state.over(Topic::Refused);
        assert!(state.is_news(Topic::Refused, &"b"));
    }
}
