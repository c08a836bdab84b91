//! Candidates for the built-in rule, side by side: what a year of each costs, and what is proven of it.

use etcd_defrag_webhook::defrag::{
    policy::Policy,
    quantity::{GIB, MIB, human},
    rule::{Rule, Verdict, analyse, quiets_alert},
};

use crate::{
    Outcome,
    model::{Shape, Year},
    simulate,
    strategy::{Decider, Strategy},
};

/// Where the alert on fragmentation fires.
const ALERT: &str = "(dbSizeFree > 0.5*dbSize && dbSizeInUse > 100*1024*1024)";
/// The quotas for which both properties are to hold.
const QUOTAS: [u64; 9] = [100 * MIB, 256 * MIB, 512 * MIB, GIB, 2 * GIB, 4 * GIB, 8 * GIB, 10_000_000_000, 16 * GIB];

/// A rule that is evaluated each midnight.
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) rule: String,
    /// One for each pattern.
    pub(crate) outcomes: Vec<Outcome>,
    /// What every night without a rule comes to, in steps in NOSPACE.
    nightly: u32,
    /// The quotas for which it is not true wherever the alert is.
    pub(crate) alert: Vec<u64>,
    /// The quotas for which it is not true above the ceiling with enough to reclaim.
    pub(crate) ceiling: Vec<u64>,
}

impl Candidate {
    pub(crate) fn all(days: u32, seed: u64, contiguous: f64) -> Vec<Self> {
        let years = Shape::ALL.map(|shape| Year::of(shape, days, seed));
        let nightly =
            years.iter().map(|year| simulate(year, Strategy::EveryNight.decider(), contiguous).refusing).sum();
        rules()
            .into_iter()
            .map(|(name, rule)| {
                let outcomes = years.iter().map(|year| simulate(year, Decider::nightly(&rule), contiguous)).collect();
                let (alert, ceiling) = unproven(&rule);
                Self { name, rule, outcomes, nightly, alert, ceiling }
            })
            .collect()
    }

    pub(crate) fn member_runs(&self) -> u32 {
        self.outcomes.iter().map(|outcome| outcome.member_runs).sum()
    }

    pub(crate) fn hours(&self) -> f64 {
        self.outcomes.iter().map(Outcome::hours).sum()
    }

    fn is_eligible(&self) -> bool {
        let refusing: u32 = self.outcomes.iter().map(|outcome| outcome.refusing).sum();
        self.alert.is_empty() && self.ceiling.is_empty() && refusing <= self.nightly
    }
}

/// The candidate with the fewest member-runs of those that are proven for every quota, and not longer in NOSPACE than every
/// night gives.
pub(crate) fn chosen(candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.iter().filter(|candidate| candidate.is_eligible()).min_by_key(|candidate| candidate.member_runs())
}

/// For which quotas a proof is missing, in words.
pub(crate) fn missing(quotas: &[u64]) -> String {
    match quotas {
        [] => "every quota".to_owned(),
        [one] => format!("not {}", human(*one)),
        [first, .., last] if quotas.len() == QUOTAS.len() => format!("none, {} to {}", human(*first), human(*last)),
        [first, .., last] => format!("not {} to {}", human(*first), human(*last)),
    }
}

/// The first is the least; of equal ones it is chosen.
fn rules() -> Vec<(String, String)> {
    let near = |least: &str| format!("(dbQuotaUsage > 0.8 && dbSizeFree > {least})");
    let mebibytes = |number: u32| format!("{number}*1024*1024");
    let mut rules: Vec<(String, String)> = [256, 200, 128, 64, 32, 16]
        .map(|number| (format!("N = {number} MiB"), format!("{ALERT} || {}", near(&mebibytes(number)))))
        .into();
    for (share, name) in [("0.03", "3 %"), ("0.015", "1.5 %")] {
        let rule = format!("{ALERT} || {}", near(&format!("{share}*dbQuota")));
        rules.push((format!("N = {name} of the quota"), rule));
    }
    let lesser = "(dbQuotaUsage > 0.8 && (dbSizeFree > 256*1024*1024 || dbSizeFree > 0.1*dbQuota))";
    rules.push(("N = 256 MiB, at most a tenth of the quota".to_owned(), format!("{ALERT} || {lesser}")));
    for (third, name) in [
        ("200*1024*1024", "200 MiB"),
        ("1024*1024*1024", "1 GiB"),
        ("2*1024*1024*1024", "2 GiB"),
        ("0.25*dbQuota", "a quarter of the quota"),
    ] {
        let rule = format!("{ALERT} || {lesser} || dbSizeFree > {third}");
        rules.push((format!("the same, or {name} free"), rule));
    }
    rules.push(("without the quota".to_owned(), ALERT.to_owned()));
    rules.push((
        "without the alert, or 200 MiB free".to_owned(),
        format!("dbSizeFree > 200*1024*1024 || {}", near(&mebibytes(32))),
    ));
    rules
}

/// The quotas for which each property is not proven.
fn unproven(rule: &str) -> (Vec<u64>, Vec<u64>) {
    let Ok(rule) = Rule::parse(rule) else { unreachable!("the rules here are constants") };
    let limits = Policy::built_in().limits;
    let without = |holds: &dyn Fn(u64) -> Verdict| {
        QUOTAS.into_iter().filter(|quota| holds(*quota) != Verdict::Proven).collect::<Vec<_>>()
    };
    (
        without(&|quota| quiets_alert(&rule, quota, &limits)),
        without(&|quota| analyse(&rule, quota, &limits).fires_above_ceiling),
    )
}
