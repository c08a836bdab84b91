//! The one judgement of a StatefulSet, which webhook, reconciler and command line all call.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    etcd::{self, Etcd},
    field::Field,
    finding::{Code, Finding, WARNING_LIMIT, quoted, shorten},
    keys::{ENABLED, Key},
    policy::{EnrollmentMode, Policy},
    quantity, rule,
    schedule::{self, Schedule, TimeZone},
    settings::{self, Settings, Trigger},
    statefulset::StatefulSet,
};

/// What a StatefulSet asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrollment {
    /// It carries no label of ours, and no policy enrols it.
    NotEnrolled,
    /// It opts out.
    OptedOut,
    /// It opts in, or the policy enrols it.
    Enrolled,
    /// Its label cannot be understood.
    Unclear,
}

impl Enrollment {
    /// Reads the label, and where the policy enrols all etcds and the label does not say yes, the pod template: an etcd
    /// without the label is enrolled, and so is one that opts out although the policy does not allow it.
    #[must_use]
    pub fn of(object: &StatefulSet, policy: &Policy) -> Self {
        let by_policy = || policy.enrollment == EnrollmentMode::All && etcd::evidence(object).runs_etcd();
        match object.label(ENABLED) {
            Some("true") => Self::Enrolled,
            None if by_policy() => Self::Enrolled,
            Some("false") if !policy.allow_opt_out && by_policy() => Self::Enrolled,
            None => Self::NotEnrolled,
            Some("false") => Self::OptedOut,
            Some(_) => Self::Unclear,
        }
    }
}

/// What the judgement says of one StatefulSet.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// What it asks of us.
    pub enrollment: Enrollment,
    /// Everything that is wrong or risky.
    pub findings: Vec<Finding>,
    /// What to run; only for an enrolled object that nothing refuses. Where the policy does not refuse
    /// ([`Policy::actions`]), a broken limit does not keep an etcd from being defragmented.
    pub plan: Option<Plan>,
    /// What a CronJob that is there already should follow: only the pod template is refused, after an edit that nobody
    /// may block, and the settings are sound.
    pub follow: Option<Plan>,
}

impl Judgement {
    /// The findings that refuse.
    pub fn denials(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.denies())
    }
}

/// A judged and sound configuration; only [`resolve`] makes one.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The namespace of the StatefulSet and of its CronJob.
    pub namespace: String,
    /// The name of the StatefulSet.
    pub name: String,
    /// The uid of the StatefulSet, where it has one.
    pub uid: Option<String>,
    /// What was asked for.
    pub settings: Settings,
    /// What was discovered.
    pub etcd: Etcd,
    /// The quota in bytes.
    pub quota: u64,
    /// The schedule with `H` resolved, as the CronJob carries it.
    pub schedule: String,
    /// The rule, as the engine gets it.
    pub rule: String,
    /// How long one member's defragmentation may take.
    pub command_timeout: Duration,
    /// Whether each run compacts first.
    pub compaction: bool,
    /// The longest time between two runs, by the schedule; none for one that never fires.
    pub longest_pause: Option<Duration>,
    parsed: Schedule,
    zone: TimeZone,
    fires_above: Option<u64>,
}

/// Judges a StatefulSet under a policy. `now` bounds what is said of daylight-saving changeovers to come.
#[must_use]
pub fn resolve(object: &StatefulSet, policy: &Policy, now: Timestamp) -> Judgement {
    let enrollment = Enrollment::of(object, policy);
    let (findings, buildable) = match enrollment {
        Enrollment::NotEnrolled | Enrollment::OptedOut => (Vec::new(), None),
        Enrollment::Unclear => (vec![unclear(object)], None),
        Enrollment::Enrolled => judge(object, policy, now),
    };
    let refused = findings.iter().any(|finding| policy.prevents(finding));
    let (plan, follow) = if refused { (None, buildable) } else { (buildable, None) };
    Judgement { enrollment, findings, plan, follow }
}

fn unclear(object: &StatefulSet) -> Finding {
    let value = quoted(object.label(ENABLED).unwrap_or_default());
    Finding::new(
        Code::EnabledInvalid,
        Field::ENABLED,
        "must be \"true\" or \"false\"",
        format!(
            "{value} is neither \"true\" nor \"false\": whether this etcd is to be defragmented must not be left to a guess. Write \"true\" to opt in or \"false\" to opt out."
        ),
    )
}

/// That an etcd opts out where the policy enrols all.
fn opted_out(object: &StatefulSet) -> Option<Finding> {
    let evidence = (object.label(ENABLED) == Some("false")).then(|| etcd::evidence(object))?;
    Some(Finding::new(
        Code::OptOutRefused,
        Field::ENABLED,
        "the policy enrols every etcd and lets none opt out; remove the label",
        format!(
            "The label says \"false\", but the policy that governs this etcd enrols every etcd and lets none opt out: an etcd \
             that nobody defragments ends with an alarm that stops all writes. {} Remove the label; to pause, set the \
             annotation {} to \"true\".",
            evidence.sentence(),
            Key::Suspend.annotation()
        ),
    ))
}

/// All findings, and the plan where no setting is refused and no fact is missing.
fn judge(object: &StatefulSet, policy: &Policy, now: Timestamp) -> (Vec<Finding>, Option<Plan>) {
    let (settings, mut findings) = settings::parse(object, policy);
    findings.extend(opted_out(object));
    let etcd::Discovery { etcd, findings: discovered } = etcd::discover(object, &settings.overrides);
    findings.extend(discovered);
    let quota = etcd.as_ref().and_then(|etcd| etcd.quota.as_ref()).map(|quota| quota.bytes);

    let rule_text = match &settings.trigger {
        Trigger::Rule(text) => text.clone(),
        Trigger::Thresholds { usage_above, free_above } => {
            rule::compile_within(*usage_above, *free_above, &policy.limits)
        }
    };
    let mut judged_rule =
        rule::judge(&rule_text, quota.unwrap_or(etcd::DEFAULT_QUOTA), &policy.limits, &settings.trigger_key.field());
    judged_rule.findings.retain(|finding| !restates(finding, &findings));
    // A rule of the policy is for etcds of any quota: a part that means nothing to this one is nobody's mistake here. What is
    // wrong with it for every quota, the policy's own findings say.
    if !settings::has_own_trigger(object, policy) {
        judged_rule.findings.retain(|finding| finding.code != Code::RuleConstantSuspect);
    }
    let judged_schedule = schedule::judge(
        &settings.schedule,
        settings.time_zone.as_deref(),
        &schedule::Place::annotations(object.namespace(), object.name()),
        &policy.limits.of_schedule(judged_rule.floor.is_some()),
        now,
    );
    findings.extend(judged_schedule.findings);
    // Without a quota there is no state space to judge the rule on, and without a threshold there is no rule; what is
    // missing is refused already.
    let unread = settings.trigger == Trigger::Thresholds { usage_above: None, free_above: None };
    if quota.is_some() && !unread {
        findings.extend(judged_rule.findings);
    }
    if let Some(etcd) = &etcd {
        findings.extend(etcd::hazards(etcd, &policy.limits));
        findings.extend(policy.limits.weigh(redundant_compaction(&settings, etcd).into_iter().collect()));
        findings.extend(missing_credentials(&settings, etcd));
    }
    if findings.iter().any(|finding| policy.prevents(finding) && finding.field.is_setting()) {
        return (findings, None);
    }
    let reachable = etcd.filter(|etcd| etcd.replicas == 0 || !etcd.endpoints.is_empty());
    let plan = reachable.zip(quota).zip(judged_schedule.resolved).map(|((etcd, quota), resolved)| Plan {
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        uid: object.metadata.uid.clone(),
        command_timeout: settings
            .command_timeout
            .unwrap_or_else(|| etcd::default_command_timeout(quota, &policy.limits)),
        compaction: settings.compaction.unwrap_or(etcd.auto_compaction.is_none()),
        settings,
        etcd,
        quota,
        longest_pause: resolved.intervals.map(|intervals| intervals.longest),
        schedule: resolved.text,
        rule: rule_text,
        parsed: resolved.schedule,
        zone: resolved.zone.unwrap_or_else(TimeZone::utc),
        fires_above: judged_rule.fires_above,
    });
    (findings, plan)
}

/// Whether a finding on the rule that thresholds compile to only says again what has been said of a threshold.
pub(super) fn restates(finding: &Finding, said: &[Finding]) -> bool {
    let of_threshold = match finding.code {
        Code::FreeBelowMinimum => Code::FreeBelowMinimum,
        Code::RuleMissesQuota => Code::QuotaUsageOutOfRange,
        _ => return false,
    };
    said.iter().any(|one| one.code == of_threshold)
}

/// Compaction before each run drops history that watchers may still need, for nothing where etcd compacts itself.
fn redundant_compaction(settings: &Settings, etcd: &Etcd) -> Option<Finding> {
    let own = etcd.auto_compaction.as_ref().filter(|_| settings.compaction == Some(true))?;
    Some(Finding::new(
        Code::CompactionRedundant,
        Key::Compaction.field(),
        "etcd compacts itself; compacting on each run makes watchers relist",
        format!(
            "compaction is \"true\" although this etcd compacts itself ({own}): each run would compact to the newest revision even when nothing is defragmented, and every watcher further back has to list again. Remove the annotation or write \"false\"."
        ),
    ))
}

/// A least size in words: `>` makes it one byte more than the number that a person wrote.
fn from(bytes: u64) -> String {
    match bytes.checked_sub(1) {
        Some(below) if below > 0 && below.is_multiple_of(quantity::MIB) => format!("above {}", quantity::human(below)),
        _ => format!("from {} on", quantity::human(bytes)),
    }
}

/// An etcd with RBAC refuses a run that does not log in.
fn missing_credentials(settings: &Settings, etcd: &Etcd) -> Option<Finding> {
    let missing = etcd.rbac && settings.overrides.username_secret.is_none();
    missing.then(|| {
        Finding::new(
            Code::CredentialsUnknown,
            Key::UsernameSecret.field(),
            "etcd asks for a login: name its Secret in username-secret",
            format!(
                "The container {} sets a root password, so this etcd asks every client to log in, and no Secret for that is named: each run would fail. Write {}: \"name:userKey,passwordKey\".",
                quoted(&etcd.container),
                Key::UsernameSecret.annotation()
            ),
        )
    })
}

impl Plan {
    /// The zone that the schedule is read in; UTC where it is the controller manager's.
    #[must_use]
    pub const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The next fire times after `now`, at most `count`.
    #[must_use]
    pub fn next_runs(&self, now: Timestamp, count: usize) -> Vec<Timestamp> {
        self.parsed.fire_times(now, &self.zone).take(count).collect()
    }

    /// The settings in force, a line of at most [`WARNING_LIMIT`] characters each: next runs, quota, when the rule fires.
    #[must_use]
    pub fn effective(&self, now: Timestamp) -> Vec<String> {
        let next: Vec<String> = self
            .next_runs(now, 2)
            .into_iter()
            .map(|run| run.to_zoned(self.zone.rules().clone()).strftime("%Y-%m-%d %H:%M").to_string())
            .collect();
        let zone = self.settings.time_zone.as_deref().unwrap_or("if the controller manager runs in UTC");
        let runs = if self.settings.suspend || self.etcd.replicas == 0 {
            "suspended: no run until that ends".to_owned()
        } else {
            format!("next runs {} ({zone})", next.join(" and "))
        };
        let source = self.etcd.quota.as_ref().map_or("", |quota| quota.source.as_str());
        let fires = match self.fires_above {
            Some(bytes) => format!("a run defragments a mostly free database {}", from(bytes)),
            None => "no database size makes the rule fire".to_owned(),
        };
        [runs, format!("quota {} ({source})", quantity::human(self.quota)), fires]
            .into_iter()
            .map(|line| shorten(&format!("etcd-defrag: {line}"), WARNING_LIMIT))
            .collect()
    }
}

#[cfg(test)]
mod tests;
