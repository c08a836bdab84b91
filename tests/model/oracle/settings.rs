//! What each variant of a policy and of the settings comes to, written down by hand.

use std::collections::BTreeSet;

use super::facts::{Look, SMALL_QUOTA};
use crate::objects::LARGE_RULE;

/// The rule and the schedule of every etcd that neither a person nor a policy gives others.
pub(crate) const RULE: &str = "(dbSizeFree > 0.5*dbSize && dbSizeInUse > 100*1024*1024) || \
     (dbQuotaUsage > 0.8 && (dbSizeFree > 256*1024*1024 || dbSizeFree > 0.1*dbQuota))";
pub(crate) const SCHEDULE: &str = "0 0 * * *";

/// Findings that refuse nothing.
const WARNINGS: &[&str] =
    &["liveness-too-eager", "rival-defragmenter", "rule-constant-suspect", "tls-secret-assumed", "volume-tight"];
/// Findings that refuse only where the policy denies.
const LIMITS: &[&str] =
    &["key-locked", "opt-out-refused", "schedule-outside-window", "schedule-too-often", "volume-too-small"];
/// Findings for which settings are refused, beside those on a rule. The others are about the etcd or the emergency stop.
const OF_SETTINGS: &[&str] =
    &["annotation-unknown", "enabled-invalid", "opt-out-refused", "schedule-outside-window", "schedule-too-often"];

/// Settings as they were given. What a CronJob derives from facts is not among them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Settings {
    pub(crate) schedule: String,
    pub(crate) zone: Option<String>,
    pub(crate) rule: String,
    pub(crate) wait: Option<String>,
    /// Nothing acceptable is known, and nothing runs.
    pub(crate) held: bool,
}

/// The policy that governs: which of the variants it is, and its name; neither for the built-in one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Governing {
    pub(crate) says: Option<usize>,
    pub(crate) name: Option<String>,
    pub(crate) reason: String,
}

impl Governing {
    /// What its defaults say. A schedule that never fires is none.
    fn schedule(&self) -> &'static str {
        match self.says {
            Some(0) => "3 2 * * *",
            Some(1) => "4 2 * * *",
            Some(5) => "0 * * * *",
            _ => SCHEDULE,
        }
    }

    /// Whether every etcd is enrolled, and whether one may opt out of that.
    fn enrols_all(&self) -> bool {
        matches!(self.says, Some(2 | 3))
    }

    fn allows_opting_out(&self) -> bool {
        self.says == Some(3)
    }

    fn denies(&self) -> bool {
        self.says != Some(6)
    }

    fn locks_suspend(&self) -> bool {
        self.says == Some(8)
    }

    /// The pause between two members where nobody gives one, in seconds.
    pub(crate) fn wait(&self) -> u64 {
        if self.says == Some(7) { 40 } else { 30 }
    }

    pub(crate) fn pod_team(&self) -> Option<&'static str> {
        (self.says == Some(1)).then_some("platform")
    }

    /// What is wrong with each schedule of a sequence.
    fn faults(&self, schedule: &str) -> &'static [&'static str] {
        match (schedule, self.says) {
            // Every minute.
            ("* * * * *", Some(6 | 7 | 9)) => &["schedule-outside-window", "schedule-too-often"],
            ("* * * * *", _) => &["schedule-too-often"],
            // None of the others fires between four and five.
            (_, Some(9)) => &["schedule-outside-window"],
            // Every hour, and every two hours, where at least twelve are asked for.
            ("0 * * * *" | "0 */2 * * *", Some(5)) => &["schedule-too-often"],
            // By day.
            ("0 * * * *" | "0 */2 * * *" | "7 7 * * *", Some(6 | 7)) => &["schedule-outside-window"],
            _ => &[],
        }
    }

    /// Whether a finding keeps a CronJob from being made.
    fn prevents(&self, code: &str) -> bool {
        denies(code) && (self.denies() || !LIMITS.contains(&code))
    }
}

/// Whether a policy counts an etcd with this finding as a violation.
pub(crate) fn denies(code: &str) -> bool {
    !WARNINGS.contains(&code)
}

/// Whether a StatefulSet is to have a CronJob at all.
pub(crate) fn is_enrolled(look: &Look, policy: &Governing) -> bool {
    let by_policy = policy.enrols_all() && look.facts.runs_etcd;
    match look.enabled() {
        Some("false") => by_policy && !policy.allows_opting_out(),
        Some(_) => true,
        None => by_policy,
    }
}

/// Whether the label can be understood.
pub(crate) fn is_clear(look: &Look) -> bool {
    matches!(look.enabled(), None | Some("true" | "false"))
}

/// Everything that is found of an enrolled StatefulSet, its rule measured by a quota in bytes where one is known.
pub(crate) fn findings(look: &Look, policy: &Governing, quota: Option<u64>) -> BTreeSet<&'static str> {
    if !is_clear(look) {
        return BTreeSet::from(["enabled-invalid"]);
    }
    let mut found: BTreeSet<&str> = look.facts.findings().into_iter().collect();
    found.extend((look.enabled() == Some("false")).then_some("opt-out-refused"));
    found.extend(look.given("shedule").map(|_| "annotation-unknown"));
    found.extend(policy.faults(look.given("schedule").unwrap_or(policy.schedule())));
    found.extend(match look.given("suspend") {
        Some("true" | "yes") if policy.locks_suspend() => Some("key-locked"),
        Some("yes") => Some("boolean-invalid"),
        _ => None,
    });
    if look.given("rule") == Some(LARGE_RULE) {
        // A round size above half of the quota may well be meant.
        let is_beyond = quota == Some(SMALL_QUOTA);
        found.extend(["rule-constant-suspect", "rule-never-true"].into_iter().filter(|_| is_beyond));
    }
    found
}

/// What is to become of the settings of an enrolled StatefulSet.
pub(crate) struct Ruling {
    /// No CronJob is made.
    pub(crate) prevented: bool,
    /// The settings do not come in force.
    pub(crate) refused: bool,
    /// The settings as they stand, and the policy's where none stand.
    pub(crate) current: Settings,
    /// What takes their place where nothing that was in force before still counts.
    pub(crate) instead: Vec<Settings>,
}

/// The ruling. There are two of them where a rule may or may not be measured by a quota that is out of sight.
pub(crate) fn rulings(look: &Look, policy: &Governing) -> Vec<Ruling> {
    if !is_enrolled(look, policy) {
        return Vec::new();
    }
    let large = look.given("rule") == Some(LARGE_RULE);
    let wrong: &[bool] = match look.facts.quota {
        _ if !large => &[false],
        _ if !look.facts.are_readable() => &[false, true],
        Some(SMALL_QUOTA) => &[true],
        _ => &[false],
    };
    wrong.iter().map(|wrong| ruling(look, policy, *wrong)).collect()
}

fn ruling(look: &Look, policy: &Governing, wrong_rule: bool) -> Ruling {
    let text = |key: &str, default: &str| look.given(key).unwrap_or(default).to_owned();
    let found = findings(look, policy, look.facts.quota.filter(|_| look.facts.runs_etcd));
    let prevents: Vec<&str> = found.into_iter().filter(|code| policy.prevents(code)).collect();
    let current = Settings {
        schedule: text("schedule", policy.schedule()),
        zone: None,
        rule: text("rule", RULE),
        wait: look.given("wait-between-members").map(str::to_owned),
        held: false,
    };
    let acceptable = |schedule: &&str| !policy.faults(schedule).iter().any(|code| policy.prevents(code));
    let schedule = [current.schedule.as_str(), policy.schedule(), SCHEDULE].into_iter().find(acceptable);
    let rule = if wrong_rule { RULE.to_owned() } else { current.rule.clone() };
    let instead = match schedule {
        Some(schedule) => vec![Settings { schedule: schedule.to_owned(), rule, ..current.clone() }],
        // Nothing runs, so a pause between members that was accepted may stand there or not.
        None => [current.wait.clone(), None]
            .map(|wait| Settings { schedule: SCHEDULE.to_owned(), zone: None, rule: RULE.to_owned(), wait, held: true })
            .into(),
    };
    Ruling {
        prevented: !prevents.is_empty(),
        refused: wrong_rule || prevents.iter().any(|code| OF_SETTINGS.contains(code)),
        current,
        instead,
    }
}

/// What the emergency stop and the number of members say of the suspension; `None` where it stays as it was.
pub(crate) fn suspension(look: &Look, policy: &Governing) -> Option<bool> {
    if look.facts.members == 0 {
        return Some(true);
    }
    match look.given("suspend") {
        _ if policy.locks_suspend() => Some(false),
        Some("true") => Some(true),
        Some("false") | None => Some(false),
        Some(_) => None,
    }
}
