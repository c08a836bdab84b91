//! The one assessment of a StatefulSet, which webhook, reconciler and command line all call.
//!
//! ```text
//! annotations, policy ── settings::parse ──▶ what is asked for ──┐
//! pod template ───────── etcd::discover ───▶ facts ──────────────┼─ check ─▶ findings ─▶ what is in force ─▶ CronJob
//! CronJobs in sight ──── their records ────▶ what was in force ──┘
//! ```
//!
//! Facts and settings are separate. Facts (members, endpoints, certificates, login, quota, and the emergency stop
//! `suspend`) take effect whatever is refused. Settings (when and how to defragment) are in force only if they are accepted;
//! otherwise the last accepted ones stay, or those of the policy replace them.

mod compaction;
mod enrollment;
mod login;
mod neighbours;
mod plan;
mod settings;
mod sharing;
mod surroundings;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;

pub(crate) use self::settings::restates;
pub use self::{
    enrollment::Enrollment,
    neighbours::{Neighbours, gives_way},
    plan::Plan,
    settings::Source,
    surroundings::{Other, Service, Surroundings},
};
use self::{
    enrollment::{left_out, not_enrolled, opted_out, unclear},
    settings::{Case, concerns_settings},
    surroundings::{foreign, hides_members, no_facts, no_settings, rival, unresolved_members},
};
use super::{
    budget::{self, Excess},
    cronjob::{self, Built, live::Live, ownership::Ownership, record::Record},
    etcd::{self, Discovery, Etcd, NoCompaction, Overrides},
    facts::{self, Facts},
    field::Field,
    finding::{Code, Finding},
    keys::ENABLED,
    policy::{Governing, Policy},
    settings::{self as asking, Asked, Settings},
    statefulset::StatefulSet,
};

/// The result for one StatefulSet: findings and what to do.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// What it asks of us.
    pub enrollment: Enrollment,
    /// Everything that is wrong or risky.
    pub findings: Vec<Finding>,
    /// What is refused.
    pub refused: Refused,
    /// Whether no run may start, as the StatefulSet says: `suspend` is set, or it has no member.
    pub suspended: bool,
    /// What is in force; `None` where nothing is.
    pub plan: Option<Plan>,
    /// Which settings are in force.
    pub source: Source,
    /// What is to become of its CronJob.
    pub verdict: Verdict,
}

/// What of a StatefulSet is refused. Where the policy does not refuse ([`Policy::actions`]), a broken limit does not keep
/// an etcd from being defragmented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Anything at all: no CronJob is made.
    pub any: bool,
    /// How and when to defragment: what was in force stays, or the policy's defaults take its place.
    pub settings: bool,
    /// A fact that is needed cannot be read: the ones that were known stay.
    pub facts: Option<Code>,
}

/// What is to become of the CronJob of a StatefulSet.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Nobody can say, because the caller does not see the CronJobs.
    Unseen,
    /// There should be none.
    Absent,
    /// The StatefulSet is being deleted: whatever is there goes with it.
    Leave,
    /// Something is refused and nothing was ever in force: none is made.
    Withheld,
    /// Its name is taken by a CronJob that is not ours.
    Taken {
        /// What shows that, as the end of the sentence "it …".
        why: String,
    },
    /// It should exist, and look like this.
    Present(Box<Built>),
}

impl Assessment {
    /// The findings that refuse.
    pub fn denials(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.denies())
    }

    /// The CronJob that should exist, if one should.
    #[must_use]
    pub const fn cronjob(&self) -> Option<&CronJob> {
        match &self.verdict {
            Verdict::Present(built) => Some(&built.cronjob),
            Verdict::Unseen | Verdict::Absent | Verdict::Leave | Verdict::Withheld | Verdict::Taken { .. } => None,
        }
    }

    /// That the StatefulSet says that no run may start, for an admission warning.
    #[must_use]
    pub fn suspension(&self) -> Option<String> {
        let rest = if self.refused.any { ", whatever else is refused" } else { "" };
        self.suspended.then(|| format!("etcd-defrag: {}{rest}", plan::SUSPENDED))
    }

    fn without(enrollment: Enrollment, verdict: Verdict) -> Self {
        Self {
            enrollment,
            findings: Vec::new(),
            refused: Refused::default(),
            suspended: false,
            plan: None,
            source: Source::Current,
            verdict,
        }
    }
}

/// Assesses a StatefulSet under the policy that governs it. Findings of daylight-saving changeovers are about those
/// after `now`.
#[must_use]
pub fn assess(object: &StatefulSet, governing: &Governing, around: &Surroundings<'_>, now: Timestamp) -> Assessment {
    let enrollment = Enrollment::of(object, &governing.policy);
    if object.metadata.deletion_timestamp.is_some() {
        return Assessment::without(enrollment, Verdict::Leave);
    }
    match enrollment {
        Enrollment::NotEnrolled | Enrollment::OptedOut => Assessment::without(enrollment, Verdict::Absent),
        Enrollment::Enrolled | Enrollment::Unclear if governing.left_out => {
            Assessment { findings: vec![left_out(object)], ..Assessment::without(enrollment, Verdict::Absent) }
        }
        Enrollment::Enrolled if around.covers(object) => Assessment::without(Enrollment::NotEnrolled, Verdict::Absent),
        Enrollment::Enrolled | Enrollment::Unclear => match Excess::of(object).map(|excess| excess.finding()) {
            None => enrolled(object, enrollment, governing, around, now, None),
            unread => enrolled(&budget::rest(object), enrollment, governing, around, now, unread),
        },
    }
}

/// Assesses a StatefulSet that is not enrolled as if it had the label, if it runs an etcd; the findings also say that
/// it is not enrolled, and which settings are not read. All others are what it would get. `None` if there is no
/// finding.
#[must_use]
pub fn assess_before_enrolment(
    object: &StatefulSet,
    governing: &Governing,
    around: &Surroundings<'_>,
    now: Timestamp,
) -> Option<Vec<Finding>> {
    if Enrollment::of(object, &governing.policy) != Enrollment::NotEnrolled {
        return None;
    }
    let mut findings = asking::unread(object);
    if around.covers(object) {
        // With the label it would be one too many.
        findings.retain(|finding| finding.code == Code::SettingUnread && matches!(finding.field, Field::Path(_)));
        return (!findings.is_empty()).then_some(findings);
    }
    let evidence = etcd::evidence(object);
    if evidence.runs_etcd() || !findings.is_empty() && evidence.names_etcd() {
        findings.insert(0, not_enrolled(evidence.sentence()));
        let mut labelled = object.clone();
        labelled.metadata.labels.get_or_insert_default().insert(ENABLED.to_owned(), "true".to_owned());
        let assessment = assess(&labelled, governing, around, now);
        // What stands in a wrong place has been reported, and so has what is meant as the label.
        let is_new = |finding: &Finding| {
            let is_said = findings.iter().any(|said| (said.code, &said.field) == (finding.code, &finding.field));
            !is_said && !asking::says_again(finding, object)
        };
        let new: Vec<Finding> = assessment.findings.into_iter().filter(is_new).collect();
        findings.extend(new);
    }
    (!findings.is_empty()).then_some(findings)
}

/// That an object of another kind carries the label or settings, which only a StatefulSet can; `object` is what it has in common
/// with one. What a StatefulSet carries too (`is_read`, by key and value) is common to a set of objects, and read there.
#[must_use]
pub fn labelled_in_vain(kind: &str, object: &StatefulSet, is_read: impl Fn(&str, &str) -> bool) -> Option<Finding> {
    if etcd::evidence(object).runs_etcd()
        && let Some(finding) = asking::on_other_kind(kind, object)
    {
        return Some(finding);
    }
    asking::on_bystander(kind, object, is_read)
}

/// `unread` says why only the [`budget::rest`] of the object is read; it is then its only finding.
fn enrolled(
    object: &StatefulSet,
    enrollment: Enrollment,
    governing: &Governing,
    around: &Surroundings<'_>,
    now: Timestamp,
    unread: Option<Finding>,
) -> Assessment {
    let policy = &*governing.policy;
    let name = cronjob::name(object.name());
    let live = around.named(&name);
    let ownership = live.map(|live| live.ownership(object.name()));
    let ours = live.filter(|_| ownership == Some(Ownership::Ours));

    let Asked { settings, given, overrides, suspend, defrag_now, mut findings } = asking::parse(object, policy);
    let own_trigger = asking::has_own_trigger(object, policy);
    let Discovery { etcd, findings: discovered } = around.sized(etcd::discover(object, &overrides));
    let unread_script = discovered.iter().find(|finding| finding.code == Code::TooMuchToRead).cloned();
    if unread_script.is_some() {
        return enrolled(&budget::rest(object), enrollment, governing, around, now, unread_script);
    }
    let facts = etcd.as_ref().and_then(|etcd| Facts::of(etcd, &overrides));
    let record = ours.and_then(|ours| ours.in_force(facts.as_ref(), &policy.limits));
    let known = record.as_ref().and_then(|record| record.facts.as_ref());
    let quota = etcd.as_ref().and_then(|etcd| etcd.quota.as_ref()).map(|quota| quota.bytes);
    let members = etcd.as_ref().map(|etcd| etcd.members).or_else(|| known.map(|facts| facts.replicas));
    let case = Case { object, policy, quota: quota.or_else(|| known.map(|facts| facts.quota)), members, now };

    findings.extend(opted_out(object).into_iter().chain(asking::misplaced(object)));
    findings.extend(unless_named_wrongly(discovered, &findings));
    findings.retain(|finding| !asking::repeats_discovery(finding, object, etcd.as_ref()));
    findings.extend(case.out_of_reach(&settings).filter(|_| own_trigger));
    let mut checked = case.check(settings, given, findings, own_trigger, None);
    let mut findings = std::mem::take(&mut checked.findings);
    let shared = around.shared(object, etcd.as_ref(), &findings);
    if let Some(etcd) = &etcd {
        findings.extend(hazards(etcd, &checked.settings, &overrides, policy));
        findings.extend(shared.as_ref().map(|shared| shared.finding.clone()));
        findings.extend(hides_members(around.services, etcd));
        findings.extend(unresolved_members(around.services, object, etcd));
    }
    let is_read = unread.is_none();
    let mut findings = unread.map_or(findings, |unread| vec![unread]);
    let hidden = facts::hidden(&findings, policy).map(|finding| finding.code);
    let hidden = hidden.or_else(|| facts.is_none().then_some(Code::EtcdNotFound));
    let refused = refused(&findings, policy, enrollment, is_read && checked.resolved.is_some(), hidden);
    // Members elsewhere go on without the pods of this StatefulSet.
    let no_member = etcd.as_ref().map_or(object.replicas() <= 0, |etcd| etcd.members == 0);
    let suspended = suspend == Some(true) || no_member;

    let (source, plan) = if refused.any && ours.is_none() {
        (Source::Nothing, None)
    } else {
        let facts = if hidden.is_some() { known.cloned() } else { facts };
        let case = case.of(facts.as_ref());
        let (source, checked) = if refused.settings {
            case.instead(&checked.given, &findings, record.as_ref(), governing.name())
        } else {
            (Source::Current, Some(checked))
        };
        let mut plan = Plan::new(case, checked, facts);
        plan.suspend = suspend.unwrap_or_else(|| record.as_ref().is_some_and(|record| record.suspend));
        plan.paused = around.pause.is_some();
        // Two that were enrolled at once have a CronJob each, and one of them is enough.
        plan.suspended |= plan.suspend || no_member || plan.paused || shared.is_some_and(|shared| shared.is_in_vain);
        plan.defrag_now = defrag_now;
        plan.deadline = plan.deadline.min(longest_deadline(ours, record.as_ref(), governing));
        let reason = etcd.as_ref().and_then(Etcd::no_compaction);
        // That etcd compacts itself, its own flags say.
        let reason = reason.filter(|reason| !matches!(reason, NoCompaction::Itself(_)));
        plan.no_compaction = reason.map(|reason| reason.to_string());
        plan.quota_source = match etcd.and_then(|etcd| etcd.quota).filter(|_| hidden.is_none()) {
            Some(quota) => quota.source,
            None => "as it was".to_owned(),
        };
        (source, Some(plan))
    };

    if enrollment == Enrollment::Unclear {
        findings = vec![unclear(object)];
    }
    if let Some(plan) = &plan {
        if plan.given.is_none() {
            findings.push(no_settings());
        }
        // Those of an etcd that had no members say nothing of members that came back.
        let unreachable = plan.facts.as_ref().is_none_or(|facts| facts.endpoints.is_empty());
        if unreachable && !no_member {
            findings.push(no_facts());
        }
    }
    if enrollment == Enrollment::Enrolled {
        let rivals = around.rivals(object, &name);
        findings
            .extend(policy.limits.weigh(rivals.into_iter().map(rival).chain(around.other_rivals(object)).collect()));
    }
    let verdict = match (ownership, &plan) {
        (Some(Ownership::Foreign { why }), _) => {
            findings.push(foreign(&name, &why));
            Verdict::Taken { why }
        }
        _ if around.cronjobs.is_none() => Verdict::Unseen,
        (_, None) => Verdict::Withheld,
        (ownership, Some(plan)) => {
            let adopts = ownership == Some(Ownership::Adoptable);
            Verdict::Present(Box::new(cronjob::built(plan, governing, &findings, ours, around, adopts)))
        }
    };
    Assessment { enrollment, findings, refused, suspended, plan, source, verdict }
}

/// What of an etcd is refused; `is_read` says whether its settings could be read at all.
fn refused(
    findings: &[Finding],
    policy: &Policy,
    enrollment: Enrollment,
    is_read: bool,
    facts: Option<Code>,
) -> Refused {
    let is_unclear = enrollment == Enrollment::Unclear;
    let mut prevents = findings.iter().filter(|finding| policy.prevents(finding)).peekable();
    Refused {
        any: is_unclear || prevents.peek().is_some() || facts.is_some(),
        settings: is_unclear || !is_read || prevents.any(concerns_settings),
        facts,
    }
}

/// Those of `discovered` that matter beside what is `asked`: if the name of a Secret is wrong, it does not matter which
/// one is assumed instead.
fn unless_named_wrongly(discovered: Vec<Finding>, asked: &[Finding]) -> Vec<Finding> {
    let is_named_wrongly =
        |field: &Field| asked.iter().any(|one| one.code == Code::SecretReferenceInvalid && one.field == *field);
    let matters = |one: &Finding| one.code != Code::TlsSecretAssumed || !is_named_wrongly(&one.field);
    discovered.into_iter().filter(matters).collect()
}

/// How long a run may take at most. More members or a larger quota, which need no permission, do not make it longer
/// than the policy allows; one that is longer already, under the same policy, stays, and never grows.
fn longest_deadline(ours: Option<&Live>, record: Option<&Record>, governing: &Governing) -> Duration {
    if !governing.policy.actions.deny {
        return Duration::MAX;
    }
    let same = record.is_some_and(|record| record.policy.as_deref() == governing.name());
    let kept = ours.filter(|_| same).and_then(|ours| ours.deadline);
    governing.policy.limits.max_deadline.max(kept.unwrap_or_default())
}

/// What follows from the facts alone, or from them and the settings together.
fn hazards(etcd: &Etcd, settings: &Settings, overrides: &Overrides, policy: &Policy) -> Vec<Finding> {
    let mut findings = etcd::hazards(etcd, &policy.limits);
    findings.extend(policy.limits.weigh(compaction::judge(settings, etcd)));
    findings.extend(login::missing(overrides, etcd));
    findings
}

#[cfg(test)]
mod advice_tests;
#[cfg(test)]
mod in_force_tests;
#[cfg(test)]
mod relabel_tests;
#[cfg(test)]
mod tests;
