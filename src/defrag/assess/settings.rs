//! Settings checked, and which of them are in force.

use jiff::Timestamp;

use crate::defrag::{
    cronjob::record::Record,
    etcd,
    facts::Facts,
    field::Field,
    finding::{Code, Finding},
    keys::Key,
    policy::{DEFAULT_SCHEDULE, Policy},
    rule::{self, Thresholds},
    schedule::{self, Resolved},
    settings::{self, Given, Settings, Trigger, length},
    statefulset::StatefulSet,
};

/// For which etcd settings are checked, and under which policy.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) object: &'a StatefulSet,
    pub(super) policy: &'a Policy,
    /// In bytes; `None` where it is not known.
    pub(super) quota: Option<u64>,
    /// The members of the cluster; `None` where they are not known.
    pub(super) members: Option<u32>,
    pub(super) now: Timestamp,
}

/// Settings that have been checked.
pub(super) struct CheckedSettings {
    pub(super) settings: Settings,
    pub(super) given: Given,
    pub(super) findings: Vec<Finding>,
    /// The rule, as the engine gets it.
    pub(super) rule: String,
    /// None where Kubernetes would refuse the schedule or the zone.
    pub(super) resolved: Option<Resolved>,
}

/// Which settings are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The ones that are asked for now.
    Current,
    /// Those that were last accepted under the same policy, as a whole.
    LastGood,
    /// The ones that are asked for now, but for these keys: for them the policy's default, or else the built-in one.
    Defaults(Vec<Key>),
    /// None: everything that could take their place is refused too.
    Nothing,
}

impl Case<'_> {
    /// The same for the facts that are followed.
    pub(super) fn of(self, facts: Option<&Facts>) -> Self {
        let members = facts.map(|facts| facts.replicas).or(self.members);
        Self { quota: facts.map(|facts| facts.quota), members, ..self }
    }

    /// Checks settings and adds what is wrong with them to `findings`, which say already what is wrong with their values.
    /// `own_trigger` says whether a person and not the policy says when to defragment; `compiled` is the rule that thresholds
    /// compiled to when they were accepted.
    pub(super) fn check(
        self,
        settings: Settings,
        given: Given,
        mut findings: Vec<Finding>,
        own_trigger: bool,
        compiled: Option<&str>,
    ) -> CheckedSettings {
        let limits = &self.policy.limits;
        let rule = match (&settings.trigger, compiled) {
            (Trigger::Thresholds(_), Some(compiled)) => compiled.to_owned(),
            (trigger, _) => trigger.rule(limits),
        };
        let quota = self.quota.unwrap_or(etcd::DEFAULT_QUOTA);
        let mut judged = rule::judge(&rule, quota, limits, &settings.trigger_key.field());
        judged.findings.retain(|finding| !restates(finding, &findings));
        // A rule of the policy is for etcds of any quota: a part that means nothing to this one is nobody's mistake here.
        // What is wrong with it for every quota, the policy's own findings say.
        if !own_trigger {
            judged.findings.retain(|finding| finding.code != Code::RuleConstantSuspect);
        }
        let scheduled = schedule::judge(
            &settings.schedule,
            settings.time_zone.as_deref(),
            &schedule::Place::annotations(self.object.namespace(), self.object.name()),
            &limits.of_schedule(judged.floor.is_some()),
            self.now,
        );
        findings.extend(scheduled.findings);
        let members = self.members.unwrap_or_else(|| u32::try_from(self.object.replicas()).unwrap_or(0));
        let run = length::Run { settings: &settings, given: &given, members, quota: self.quota };
        findings.extend(length::Bounds::of(self.policy).judge(run, settings::Place::Annotations));
        // Without a quota there is no state space to judge the rule on, and without a threshold there is no rule; what is
        // missing is refused already.
        let unread = settings.trigger == Trigger::Thresholds(Thresholds::default());
        if self.quota.is_some() && !unread {
            findings.extend(judged.findings);
        }
        CheckedSettings { settings, given, findings, rule, resolved: scheduled.resolved }
    }

    /// That no database of this quota has as much to reclaim as a person's threshold asks for. One of the policy is for etcds of
    /// any quota.
    pub(super) fn out_of_reach(self, settings: &Settings) -> Option<Finding> {
        rule::out_of_reach(settings.trigger.free_above()?, self.quota?, &self.policy.limits, &Key::FreeAbove.field())
    }

    /// The settings in force where the ones that are asked for are refused by `findings`.
    pub(super) fn instead(
        self,
        asked: &Given,
        findings: &[Finding],
        record: Option<&Record>,
        policy: Option<&str>,
    ) -> (Source, Option<CheckedSettings>) {
        let last = record.filter(|record| record.policy.as_deref() == policy);
        if let Some(last) = last.and_then(|record| self.understood(record)) {
            return (Source::LastGood, Some(last));
        }
        let mut given = asked.clone();
        let mut replaced = self.refused(findings);
        // First by the policy's defaults, then by the built-in ones.
        for defaults in [&self.policy.defaults, &self.built_in_defaults()] {
            for key in &replaced {
                match defaults.get(key) {
                    Some(value) => given.insert(*key, value.clone()),
                    None => given.remove(key),
                };
            }
            let checked = self.check_given(&given, None);
            let refused = self.refused(&checked.findings);
            if refused.is_empty() && checked.resolved.is_some() {
                replaced.sort_unstable();
                return (Source::Defaults(replaced), Some(checked));
            }
            replaced.extend(refused.into_iter().filter(|key| !replaced.contains(key)).collect::<Vec<_>>());
        }
        (Source::Nothing, None)
    }

    /// Settings that were accepted before, where they can be understood. What a stricter policy or another quota makes
    /// of them does not matter; settings that no policy and no quota would accept were not written by us.
    fn understood(self, record: &Record) -> Option<CheckedSettings> {
        let checked = self.check_given(record.settings.as_ref()?, record.rule.as_deref());
        let was_accepted = |finding: &Finding| {
            !finding.denies() || finding.code.is_limit() || finding.code.is_of_quota() && self.elsewhere(&checked.rule)
        };
        (checked.resolved.is_some() && checked.findings.iter().all(was_accepted)).then_some(checked)
    }

    /// Whether the rule is a sound one for some quota, from 256 MiB to 256 GiB.
    fn elsewhere(self, rule: &str) -> bool {
        let field = Key::Rule.field();
        let sound = |quota| {
            let judged = rule::judge(rule, quota, &self.policy.limits, &field);
            judged.findings.iter().all(|finding| !finding.denies() || finding.code.is_limit())
        };
        (28..=38).any(|power| sound(1 << power))
    }

    /// The built-in settings.
    pub(super) fn built_in(self) -> CheckedSettings {
        self.check_given(&self.built_in_defaults(), None)
    }

    /// The built-in default of each setting that has one besides what its absence means. The rule keeps to the limits.
    fn built_in_defaults(self) -> Given {
        let rule = rule::compile_within(Thresholds::default(), &self.policy.limits);
        Given::from([(Key::Schedule, DEFAULT_SCHEDULE.to_owned()), (Key::Rule, rule)])
    }

    fn check_given(self, given: &Given, compiled: Option<&str>) -> CheckedSettings {
        let (settings, findings) = settings::parse_given(given, &self.policy.limits);
        self.check(settings, given.clone(), findings, true, compiled)
    }

    /// The settings that findings refuse; of those that say when to defragment, all.
    fn refused(self, findings: &[Finding]) -> Vec<Key> {
        let mut keys: Vec<Key> = Vec::new();
        for finding in findings.iter().filter(|finding| self.policy.prevents(finding)) {
            let Field::Annotation(key) = finding.field else { continue };
            let group = if Key::TRIGGERS.contains(&key) { Key::TRIGGERS } else { &[key] };
            keys.extend(group.iter().filter(|key| Key::SETTINGS.contains(key)));
        }
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

impl Code {
    /// Whether the quota of an etcd can make a rule one of this code.
    const fn is_of_quota(self) -> bool {
        matches!(self, Self::RuleAlwaysTrue | Self::RuleNeverTrue | Self::RuleCanFail)
    }
}

/// Whether a finding refuses the settings: a value of one, a name that there is not, or the label.
pub(super) fn concerns_settings(finding: &Finding) -> bool {
    match &finding.field {
        Field::Annotation(key) => Key::SETTINGS.contains(key),
        Field::Label(_) | Field::UnknownAnnotation(_) => true,
        Field::Default(_) | Field::Path(_) => false,
    }
}

/// Whether a finding on the rule that thresholds compile to only repeats a finding of a threshold.
pub(crate) fn restates(finding: &Finding, said: &[Finding]) -> bool {
    let of_threshold = match finding.code {
        Code::FreeBelowMinimum => Code::FreeBelowMinimum,
        Code::RuleMissesQuota => Code::QuotaUsageOutOfRange,
        Code::RuleNeverTrue | Code::RuleConstantSuspect => Code::RuleNeverTrue,
        _ => return false,
    };
    said.iter().any(|one| one.code == of_threshold)
}
