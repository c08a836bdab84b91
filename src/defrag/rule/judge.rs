//! Findings about a rule.

use super::{
    Analysis, ENGINE_SAMPLE, Rule, RuleErrorKind, State, Verdict, compile, kept,
    lex::quote,
    suggest, suspect,
    words::{self, database, database_in_brief},
};
use crate::defrag::{
    field::Field,
    finding::{Code, Finding},
    keys::Key,
    policy::Limits,
    quantity::{self, MIB},
};

/// What a rule is worth for one etcd.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Everything that is wrong or risky, refusals first.
    pub findings: Vec<Finding>,
    /// The rule, where the engine's language accepts it.
    pub rule: Option<Rule>,
    /// It never fires with less than this to reclaim, in bytes; `None` where that is less than 1 MiB or not proven.
    pub floor: Option<u64>,
    /// The state that the first finding shows, in which the rule does what it should not.
    pub counterexample: Option<State>,
}

/// The findings of the text of a rule for an etcd with this quota in bytes. `field` is the place of the rule.
///
/// A quota of zero has its own finding; here the rule is then only parsed.
#[must_use]
pub fn judge(text: &str, quota: u64, limits: &Limits, field: &Field) -> Judged {
    let rule = match Rule::parse(text) {
        Ok(rule) => rule,
        Err(error) => {
            let why = match error.kind {
                RuleErrorKind::Refused(_) => "A rule does not need it.",
                RuleErrorKind::TooLarge => "Its meaning is not clear.",
                _ => "The engine would stop before it defragments anything.",
            };
            let advice = suggest::with_example("A rule compares sizes in bytes", quota, limits);
            let message = format!("The rule {} cannot be used: {error}. {why} {advice}", quote(text));
            let brief = format!("column {}: found {}, expected {}", error.column, error.found, error.expected);
            let findings = vec![Finding::new(Code::RuleInvalid, field.clone(), brief, message)];
            return Judged { findings, rule: None, floor: None, counterexample: None };
        }
    };
    if quota == 0 {
        return Judged { findings: Vec::new(), rule: Some(rule), floor: None, counterexample: None };
    }
    if let Some(finding) = minimum_out_of_reach(quota, limits, field) {
        return Judged { findings: vec![finding], rule: Some(rule), floor: None, counterexample: None };
    }
    let analysis = kept::analyse(&rule, quota, limits);
    let mut found = RuleFindings { rule: &rule, quota, limits, field, findings: Vec::new(), counterexample: None };
    found.properties(&analysis);
    found.constants(&analysis);
    let counterexample = found.counterexample;
    let mut findings = limits.weigh(found.findings);
    findings.sort_by_key(|finding| finding.severity);
    Judged { findings, rule: Some(rule), floor: analysis.floor, counterexample }
}

/// A finding where no database of this quota, in bytes, has as much to reclaim as a threshold asks for.
#[must_use]
pub fn out_of_reach(free_above: u64, quota: u64, limits: &Limits, field: &Field) -> Option<Finding> {
    if free_above < quota || quota == 0 {
        return None;
    }
    let (asked, all) = (words::size(free_above), words::size(quota));
    let less = suggest::reachable_free(quota, limits);
    let example = less.map_or_else(String::new, |less| format!(", such as \"{}\"", quantity::short(less)));
    let message = format!(
        "The threshold requires more than {asked} to reclaim, and the quota is {all}: no database can reach that, so the threshold \
         would never start a run. Write less than the quota{example}, or a share of the file in free-share-above."
    );
    let brief = format!("requires {asked} to reclaim; the quota is {all}");
    Some(Finding::new(Code::RuleNeverTrue, field.clone(), brief, message))
}

/// A finding where no database of this quota, in bytes, has as much to reclaim as the policy asks of every run.
fn minimum_out_of_reach(quota: u64, limits: &Limits, field: &Field) -> Option<Finding> {
    if limits.min_free < quota {
        return None;
    }
    let (asked, all) = (words::size(limits.min_free), words::size(quota));
    let message = format!(
        "The policy allows no run for less than {asked} to reclaim (spec.limits.minFree), and the quota is {all}: no database \
         can reach that, so no run would ever start and the etcd would reach its quota. {} If it is right, lower minFree in the policy \
         that governs this etcd.",
        suggest::no_rule(quota)
    );
    let brief = format!("the policy requires {asked} to reclaim; the quota is {all}");
    Some(Finding::new(Code::RuleNeverTrue, field.clone(), brief, message))
}

/// Which key of thresholds a field is, and the field of another one in the same place; nothing for a rule.
fn threshold(field: &Field) -> Option<fn(Key) -> Field> {
    match field {
        Field::Annotation(key) if Key::THRESHOLDS.contains(key) => Some(Key::field),
        Field::Default(key) if Key::THRESHOLDS.contains(key) => Some(Key::default_field),
        _ => None,
    }
}

struct RuleFindings<'a> {
    rule: &'a Rule,
    quota: u64,
    limits: &'a Limits,
    field: &'a Field,
    findings: Vec<Finding>,
    counterexample: Option<State>,
}

impl RuleFindings<'_> {
    fn add(&mut self, code: Code, brief: impl AsRef<str>, message: String) {
        self.findings.push(Finding::new(code, self.field.clone(), brief, message));
    }

    /// `advice` for a rule, with one that is accepted. Who wrote thresholds has no rule to change, but may write one instead.
    fn with_example(&self, advice: &str) -> String {
        let advice =
            if threshold(self.field).is_some() { "Remove the thresholds and write a rule instead" } else { advice };
        suggest::with_example(advice, self.quota, self.limits)
    }

    fn properties(&mut self, analysis: &Analysis) {
        let mut open = Vec::new();
        self.evaluation(analysis, &mut open);
        let always = analysis.not_always_true.counterexample();
        let never = analysis.not_always_false.counterexample();
        // A rule that fails everywhere has been found to fail; nothing else is to be said about its values.
        let fails_everywhere = never.is_some_and(|state| self.rule.evaluate(&state).is_err())
            && analysis.never_fails.counterexample().is_some();
        match (always, never) {
            _ if fails_everywhere => {}
            (Some(state), _) => self.always_true(state),
            (None, Some(state)) => self.never_true(state),
            (None, None) => {
                if let Verdict::Refuted(state) = analysis.fires_above_ceiling {
                    // What fails on one side of || fails as a whole.
                    self.misses_quota(state, analysis.never_fails.counterexample().is_some());
                }
                if let Verdict::Refuted(state) = analysis.never_futile {
                    self.futile(state);
                }
                if self.worth(analysis) == Verdict::Undecided {
                    open.push("that it never fires with less to reclaim than the policy allows");
                }
                let verdicts = [
                    (analysis.not_always_true, "that it is not always true"),
                    (analysis.not_always_false, "that it is ever true"),
                    (analysis.fires_above_ceiling, "that it fires before the quota is reached"),
                    (analysis.never_futile, "that it never fires with nothing to reclaim"),
                ];
                open.extend(
                    verdicts.iter().filter(|(verdict, _)| *verdict == Verdict::Undecided).map(|(_, what)| *what),
                );
            }
        }
        if !open.is_empty() {
            self.undecided(&open);
        }
    }

    fn evaluation(&mut self, analysis: &Analysis, open: &mut Vec<&'static str>) {
        const WHY: &str = "The engine then defragments nothing and the run counts as failed.";
        const INSTEAD: &str = "Multiply instead of dividing by a size that can be 0, as in dbSize > 2*dbSizeInUse \
                               instead of dbSize/dbSizeInUse > 2.";
        match analysis.never_fails {
            Verdict::Refuted(state) => {
                let reason = self.reason(&state);
                self.counterexample.get_or_insert(state);
                let brief = format!("fails at {}: {reason}", database_in_brief(&state));
                let message =
                    format!("The rule cannot be evaluated for {}: {reason}. {WHY} {INSTEAD}", database(&state));
                self.add(Code::RuleCanFail, brief, message);
            }
            Verdict::Proven | Verdict::Undecided => {
                if analysis.never_fails == Verdict::Undecided {
                    open.push("that it can always be evaluated");
                }
                if let Err(error) = self.rule.evaluate(&ENGINE_SAMPLE) {
                    self.counterexample.get_or_insert(ENGINE_SAMPLE);
                    let message = format!(
                        "The engine tries each rule once for a database of 100 MiB with 60 MiB in use and a quota of \
                         2 GiB before it starts, and there the rule cannot be evaluated: {error}. No run would do \
                         anything. {INSTEAD}"
                    );
                    self.add(Code::RuleCanFail, format!("fails the engine's own trial: {error}"), message);
                }
            }
        }
    }

    fn reason(&self, state: &State) -> String {
        self.rule.evaluate(state).err().map_or_else(String::new, |error| error.to_string())
    }

    fn always_true(&mut self, state: State) {
        self.counterexample.get_or_insert(state);
        let what = if self.rule.as_str().is_empty() { "An empty rule is" } else { "The rule is" };
        let advice = self.with_example("Ask for space to reclaim");
        let message = format!(
            "{what} true for every database of 1 MiB or more, even for {}. Each run would then stop every member in turn \
             without any gain. {advice}",
            database(&state)
        );
        self.add(Code::RuleAlwaysTrue, "true for every database; ask for space to reclaim: dbSizeFree > …", message);
    }

    fn never_true(&mut self, state: State) {
        self.counterexample.get_or_insert(state);
        if let Some(field) = threshold(self.field) {
            self.thresholds_never_true(field);
            return;
        }
        let advice = self.with_example("Lower the threshold");
        let message = format!(
            "The rule is false for every database, even for {}. No run would ever defragment and the etcd would reach its \
             quota. {advice}",
            database(&state)
        );
        self.add(Code::RuleNeverTrue, "false for every database; lower the threshold", message);
    }

    /// Thresholds but for a low `free-above` ask for as much to reclaim as makes a run worth its pause.
    fn thresholds_never_true(&mut self, field: fn(Key) -> Field) {
        let (least, all) = (words::size(compile::least_worth(self.limits)), words::size(self.quota));
        let instead = match (suggest::reachable_free(self.quota, self.limits), field(Key::FreeAbove)) {
            (None, _) => suggest::no_rule(self.quota),
            (Some(free), Field::Default(_)) => {
                format!("Check the quota first; if it is right, set freeAbove: \"{}\".", quantity::short(free))
            }
            (Some(free), _) => format!(
                "Check the quota first; if it is right, set {}: \"{}\".",
                Key::FreeAbove.annotation(),
                quantity::short(free)
            ),
        };
        let message = format!(
            "The thresholds start no run for less than {least} to reclaim, and the quota is {all}: no database can reach that, so no run \
             would ever defragment and the etcd would reach its quota. {instead}"
        );
        self.add(Code::RuleNeverTrue, format!("never true: requires {least} to reclaim, the quota is {all}"), message);
    }

    fn misses_quota(&mut self, state: State, fails: bool) {
        self.counterexample.get_or_insert(state);
        let ceiling = self.limits.quota_ceiling * 100.0;
        let enough = self.limits.enough_to_reclaim(self.quota);
        let (near, watched) = (compile::near_quota(self.limits), compile::watched_usage(self.limits));
        let message = format!(
            "The rule does not fire for {}. Above {ceiling:.0} % of the quota of {} it has to fire whenever more than {} \
             can be reclaimed, or the etcd stops accepting writes while space could have been freed. {}",
            database(&state),
            words::size(self.quota),
            words::size(enough),
            match (threshold(self.field), fails) {
                (Some(_), _) => self.with_example(""),
                (None, true) => self.with_example("Write a rule that can be evaluated for every database"),
                (None, false) => suggest::joined(self.rule, "||", &format!("({near})")),
            }
        );
        let add = if fails { String::new() } else { format!("; add || (dbQuotaUsage > {watched} && …)") };
        let brief = format!("does not fire at {}{add}", database_in_brief(&state));
        self.add(Code::RuleMissesQuota, brief, message);
    }

    fn futile(&mut self, state: State) {
        self.counterexample.get_or_insert(state);
        if let Some(field) = threshold(self.field) {
            self.threshold_futile(field, &state);
            return;
        }
        let floor = suggest::floor(self.quota, self.limits);
        let advice = match &floor {
            Some(floor) => suggest::joined(self.rule, "&&", floor),
            None => suggest::no_rule(self.quota),
        };
        let message = format!(
            "The rule fires for {}. The run stops every member for a while and gains nothing, and the next one does so \
             again. {advice}",
            database(&state)
        );
        let add = floor.map_or_else(String::new, |floor| format!("; write (…) && {floor}"));
        let brief = format!("fires at {}{add}", database_in_brief(&state));
        self.add(Code::RuleFutile, brief, message);
    }

    /// Of thresholds, only a low `free-above` fires with nothing to reclaim.
    fn threshold_futile(&mut self, field: fn(Key) -> Field, state: &State) {
        let (advice, add) = match suggest::least_free(self.quota, self.limits).map(quantity::short) {
            Some(least) => (format!("Write \"{least}\" or more."), format!("; write \"{least}\" or more")),
            None => (suggest::no_rule(self.quota), String::new()),
        };
        let message = format!(
            "With this threshold runs start for {}. Such a run stops every member for a while and gains nothing, and the next one \
             does so again. {advice}",
            database(state)
        );
        let brief = format!("fires at {}{add}", database_in_brief(state));
        self.findings.push(Finding::new(Code::RuleFutile, field(Key::FreeAbove), brief, message));
    }

    /// Whether it fires only with as much to reclaim as the policy asks for. A rule that fires with nothing at all is found
    /// futile already, which a policy with such a bound refuses.
    fn worth(&mut self, analysis: &Analysis) -> Verdict {
        let least = self.limits.min_free;
        if least == 0 || analysis.floor.is_some_and(|floor| floor >= least / MIB * MIB) {
            return Verdict::Proven;
        }
        let Some(state) = analysis.least_free.filter(|state| state.free() < least) else { return Verdict::Undecided };
        self.counterexample.get_or_insert(state);
        let (least, bytes) = (words::size(least), super::compile::bytes(least));
        let message = format!(
            "The rule fires for {}, and the policy allows no run for less than {least} to reclaim: each run stops every \
             member for a while, which has to be worth it. {}",
            database(&state),
            suggest::joined(self.rule, "&&", &format!("dbSizeFree >= {bytes}"))
        );
        let brief = format!("fires at {}; write (…) && dbSizeFree >= {bytes}", database_in_brief(&state));
        self.add(Code::FreeBelowMinimum, brief, message);
        Verdict::Refuted(state)
    }

    fn undecided(&mut self, open: &[&str]) {
        let list = open.join(", and ");
        let advice = self
            .with_example("Compare dbSizeFree and dbQuotaUsage with numbers, without products or quotients of the two");
        let message = format!("It could not be proven for this rule {list}. {advice}");
        self.add(Code::RuleUndecided, format!("not proven {list}"), message);
    }

    fn constants(&mut self, analysis: &Analysis) {
        // What thresholds compile to has numbers that nobody wrote.
        if threshold(self.field).is_some() {
            return;
        }
        for suspect in suspect::suspects(self.rule, self.quota, analysis.size_limit) {
            self.add(Code::RuleConstantSuspect, suspect.brief, suspect.message);
        }
    }
}
