//! `explain rule`: what a rule does in every state of an etcd with a given quota, or in one of them.

use std::sync::Arc;

use anyhow::bail;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Exit, Format,
    output::{self, Page},
    policies::Policies,
};
use crate::defrag::{
    assess,
    field::Field,
    finding::{Code, Finding},
    keys::Key,
    policy::{Limits, Policy},
    quantity,
    rule::{self, FRAGMENTATION_ALERT, Judged, Rule, State, Verdict},
    settings::{self, Given},
};

/// Explains an etcd-defrag rule: its properties are proven, or a state is shown in which they do not hold
///
/// Instead of a rule, thresholds are explained as the rule that they compile to; with neither, the default of the policy.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The rule, such as 'dbQuotaUsage > 0.8 && dbSizeFree > 200*1024*1024'
    #[arg(
        allow_hyphen_values = true,
        required_unless_present_any = ["quota_usage_above", "free_above", "free_share_above", "policy"],
        conflicts_with_all = ["quota_usage_above", "free_above", "free_share_above"]
    )]
    rule: Option<String>,
    /// Instead of a rule: a share of the quota, such as 80%
    #[arg(long)]
    quota_usage_above: Option<String>,
    /// Instead of a rule: space to reclaim, such as 200Mi
    #[arg(long)]
    free_above: Option<String>,
    /// Instead of a rule: the share of the database file to reclaim, such as 50%
    #[arg(long)]
    free_share_above: Option<String>,
    /// The quota of the etcd, in bytes or as a quantity such as 8Gi
    #[arg(long, default_value = "2Gi", value_parser = quota)]
    quota: u64,
    /// Evaluate the rule for a database of this size, in bytes or as a quantity such as 341Mi
    #[arg(long, requires = "in_use", value_parser = bytes)]
    size: Option<u64>,
    /// The part of that size that is in use
    #[arg(long, requires = "size", value_parser = bytes)]
    in_use: Option<u64>,
    #[command(flatten)]
    policies: Policies,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

fn bytes(text: &str) -> Result<u64, String> {
    quantity::parse(text).map_err(|error| format!("it {error}; write a number of bytes or a quantity such as 8Gi"))
}

fn quota(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        0 => Err("a quota of 0 bytes leaves no room; etcd reads 0 as 2Gi".to_owned()),
        bytes => Ok(bytes),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation<'a> {
    valid: bool,
    /// The rule as the engine gets it; `null` where a threshold cannot be read, so that there is none.
    rule: Option<&'a str>,
    findings: &'a [Finding],
    counterexample: Option<Counterexample>,
    fires_above: Option<u64>,
    /// `null` where the rule cannot be read.
    alert: Option<Alert>,
    /// The state that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Evaluated>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counterexample {
    db_size: u64,
    db_size_in_use: u64,
}

impl From<State> for Counterexample {
    fn from(state: State) -> Self {
        Self { db_size: state.db_size, db_size_in_use: state.db_size_in_use }
    }
}

/// Whether the rule is true wherever the alert on fragmentation fires.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    name: &'static str,
    /// `null` where it could not be decided.
    implies_rule: Option<bool>,
    counterexample: Option<Counterexample>,
}

impl From<Verdict> for Alert {
    fn from(verdict: Verdict) -> Self {
        let implies_rule = match verdict {
            Verdict::Proven => Some(true),
            Verdict::Refuted(_) => Some(false),
            Verdict::Undecided => None,
        };
        let counterexample = verdict.counterexample().map(Into::into);
        Self { name: FRAGMENTATION_ALERT, implies_rule, counterexample }
    }
}

/// What the rule comes to at one state. The names are those of the variables of a rule.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Evaluated {
    db_size: u64,
    db_size_in_use: u64,
    db_size_free: u64,
    db_quota: u64,
    db_quota_usage: f64,
    /// `null` where it fails.
    value: Option<bool>,
    error: Option<String>,
}

impl Evaluated {
    fn of(rule: &Rule, state: &State) -> Self {
        let usage = state.values().into_iter().find(|(variable, _)| *variable == rule::Variable::DbQuotaUsage);
        let outcome = rule.evaluate(state);
        Self {
            db_size: state.db_size,
            db_size_in_use: state.db_size_in_use,
            db_size_free: state.free(),
            db_quota: state.quota,
            db_quota_usage: usage.map_or(f64::NAN, |(_, value)| value),
            value: outcome.as_ref().ok().copied(),
            error: outcome.err().map(|error| error.to_string()),
        }
    }
}

/// What is explained, and by whose limits.
struct Subject {
    /// `None` where a threshold cannot be read.
    text: Option<String>,
    judged: Judged,
    findings: Vec<Finding>,
    limits: Limits,
    alert: Option<Verdict>,
    fires_above: Option<u64>,
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let state = args.state()?;
    let subject = args.subject()?;
    let exit = Exit::of(&subject.findings);
    if args.output == Format::Text {
        output::print(&page(args, &subject, state.as_ref()))?;
    } else {
        let rule = subject.judged.rule.as_ref();
        let explanation = Explanation {
            valid: rule.is_some(),
            rule: subject.text.as_deref(),
            findings: &subject.findings,
            counterexample: subject.judged.counterexample.map(Into::into),
            fires_above: subject.fires_above,
            alert: subject.alert.map(Into::into),
            state: rule.zip(state.as_ref()).map(|(rule, state)| Evaluated::of(rule, state)),
        };
        output::data(args.output, &explanation)?;
    }
    Ok(exit)
}

impl Args {
    fn state(&self) -> anyhow::Result<Option<State>> {
        let Some((db_size, db_size_in_use)) = self.size.zip(self.in_use) else { return Ok(None) };
        if db_size_in_use > db_size {
            bail!(
                "--in-use is {}, more than the --size of the database, {}",
                quantity::human(db_size_in_use),
                quantity::human(db_size)
            );
        }
        Ok(Some(State { db_size, db_size_in_use, quota: self.quota }))
    }

    fn policy(&self) -> anyhow::Result<Arc<Policy>> {
        if !self.policies.given() {
            return Ok(Arc::new(Policy::built_in()));
        }
        let loaded = self.policies.load(&[], false, Timestamp::now())?;
        match loaded.policies.as_slice() {
            [(_, compiled)] => Ok(Arc::clone(&compiled.policy)),
            several => bail!("the rule is assessed under one policy, and --policy names {}", several.len()),
        }
    }

    fn subject(&self) -> anyhow::Result<Subject> {
        let policy = self.policy()?;
        let limits = policy.limits.clone();
        let asked = [
            (Key::Rule, &self.rule),
            (Key::QuotaUsageAbove, &self.quota_usage_above),
            (Key::FreeAbove, &self.free_above),
            (Key::FreeShareAbove, &self.free_share_above),
        ];
        let mut given: Given = asked.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect();
        if given.is_empty() {
            let of_policy = policy.defaults.iter().filter(|(key, _)| Key::TRIGGERS.contains(key));
            given.extend(of_policy.map(|(key, value)| (*key, value.clone())));
        }
        let (settings, mut findings) = settings::parse_given(&given, &limits);
        // What the others compile to is not what was asked about.
        if findings.iter().any(|finding| finding.code == Code::ThresholdInvalid) {
            let judged = Judged { findings: Vec::new(), rule: None, floor: None, counterexample: None };
            return Ok(Subject { text: None, judged, findings, limits, alert: None, fires_above: None });
        }
        let text = settings.trigger.rule(&limits);
        let free_above = settings.trigger.free_above();
        findings
            .extend(free_above.and_then(|free| rule::out_of_reach(free, self.quota, &limits, &Key::FreeAbove.field())));
        let field = if self.rule.is_some() { Field::from("rule") } else { settings.trigger_key.field() };
        let judged = rule::judge(&text, self.quota, &limits, &field);
        let others = judged.findings.iter().filter(|finding| !assess::restates(finding, &findings));
        let others: Vec<Finding> = others.cloned().collect();
        findings.extend(others);
        findings.sort_by_key(|finding| finding.severity);
        let alert = judged.rule.as_ref().map(|rule| rule::quiets_alert(rule, self.quota, &limits));
        let first = judged.rule.as_ref().and_then(|rule| rule::first_firing(rule, self.quota, &limits));
        let fires_above = first.map(|state| state.db_size);
        Ok(Subject { text: Some(text), judged, findings, limits, alert, fires_above })
    }
}

fn page(args: &Args, subject: &Subject, state: Option<&State>) -> Page {
    let mut page = Page::default();
    match subject.text.as_deref().map(|text| (text, Rule::parse(text))) {
        None => {}
        Some((text, Ok(rule))) => {
            page.line(text);
            page.lines(&format!("\nfor a quota of {}:\n\n", quantity::human(args.quota)));
            page.lines(&rule::picture(&rule, args.quota));
            page.line("");
            if let Some(state) = state {
                evaluated(&mut page, &rule, state);
            }
        }
        Some((text, Err(error))) => page.marked(text, error.column, 1),
    }
    if let Some(bytes) = subject.fires_above {
        page.line(&format!("  least size at which it fires    {}", quantity::human(bytes)));
    }
    if let Some(bytes) = subject.judged.floor {
        page.line(&format!("  never fires with less to reclaim than {}", quantity::human(bytes)));
    }
    if let Some(verdict) = subject.alert {
        page.line(&format!("  {}", alert(verdict, &subject.limits)));
    }
    let verdict = if subject.findings.iter().any(Finding::denies) { "refused" } else { "accepted" };
    page.line(&format!("  verdict  {verdict}"));
    page.findings(&subject.findings);
    page
}

fn evaluated(page: &mut Page, rule: &Rule, state: &State) {
    let outcome = match rule.evaluate(state) {
        Ok(value) => value.to_string(),
        Err(error) => format!("it fails: {error}"),
    };
    page.line(&format!("for {}: {outcome}", rule::database(state)));
    for (variable, value) in state.values() {
        page.line(&format!("  {:<14}{value}", variable.name()));
    }
    page.line("");
}

fn alert(verdict: Verdict, limits: &Limits) -> String {
    match verdict {
        Verdict::Proven => format!("true wherever the alert {FRAGMENTATION_ALERT} fires"),
        Verdict::Undecided => format!("not proven: that it is true wherever the alert {FRAGMENTATION_ALERT} fires"),
        Verdict::Refuted(state) => {
            let least = match limits.min_free {
                0 => String::new(),
                least => format!("; the policy requires {} to reclaim (minFree)", quantity::human(least)),
            };
            let state = rule::database(&state);
            format!("the alert {FRAGMENTATION_ALERT} can fire while it is false: {state}{least}")
        }
    }
}
