//! Rules: evaluated at one state, and judged on all of them.

use std::time::Instant;

use etcd_defrag_webhook::defrag::{
    policy::{DEFAULT_RULE, Policy},
    rule::{self, Rule, State, Thresholds},
};
use serde_json::json;

use crate::{
    harness::{Result, here, measure},
    oracle::Oracle,
    random::Random,
    table::Table,
};

/// Judging any rule, in nanoseconds.
const GOAL: f64 = 1_000_000.0;
/// Rules that are tried in search of the slowest.
const GENERATED: usize = 2_000;
const QUOTA: u64 = 8 << 30;

const RULES: [&str; 4] = [
    "dbSizeFree > 200*1024*1024",
    "dbQuotaUsage > 0.8 || dbSize - dbSizeInUse > 200*1024*1024",
    DEFAULT_RULE,
    "dbSizeFree > (dbQuotaUsage > 0.8 ? 32 : 200)*1024*1024 && !(dbSizeInUse / dbQuota > 0.95)",
];

/// Times parsing and evaluating, which the engine does in one step.
pub fn compare(table: &mut Table, oracle: &Oracle) -> Result {
    let state = State { db_size: 7 << 30, db_size_in_use: 3 << 30, quota: QUOTA };
    let at = [state.db_size, state.db_size_in_use, state.quota];
    table.part("parse a rule, evaluate it at one state", &["Go"]);
    for text in RULES {
        let ours = Rule::parse(text)?.evaluate(&state)?;
        let theirs = oracle.ask("rule", &json!({"rule": text, "states": [at]}))?;
        if theirs != u8::from(ours).to_string() {
            return Err(format!("{text} differs from Go: {ours}, {theirs}").into());
        }
        let times = measure(vec![
            here(|| Rule::parse(text).map(|rule| rule.evaluate(&state))),
            oracle.batches(json!({"What": "rule", "Text": text, "State": at, "Zone": "UTC"})),
        ])?;
        table.row(text, &times.into_iter().map(Some).collect::<Vec<_>>(), None);
    }
    Ok(())
}

/// Times parsing and judging: plain rules, and ones that use up the budget.
pub fn judge(table: &mut Table) -> Result {
    let limits = Policy::built_in().limits;
    let chain = |part: &str, joint: &str| {
        let mut text = part.to_owned();
        while text.len() + joint.len() + part.len() <= rule::MAX_LENGTH {
            text = text + joint + part;
        }
        text
    };
    let mut rules: Vec<String> = RULES.map(str::to_owned).into();
    rules.extend([
        rule::compile(Thresholds { usage_above: Some(0.75), free_above: Some(512 << 20), free_share_above: Some(0.5) }),
        "dbSizeFree * dbQuotaUsage > 100*1024*1024".to_owned(),
        "dbSizeFree / dbSize > 0.45".to_owned(),
        "(dbSize - dbSizeInUse) % 4096 == 1 || dbSize * dbSizeFree % 7 > 5".to_owned(),
        "dbSize ** dbQuotaUsage > dbSizeFree ** 0.9".to_owned(),
        chain("dbSizeFree > 200", " && "),
        chain("dbSize%3*dbSizeFree>7", "||"),
        chain("dbSizeFree", "*"),
        format!("{}dbSize > 1{}", "(".repeat(rule::MAX_DEPTH - 1), ")".repeat(rule::MAX_DEPTH - 1)),
    ]);
    rules.push(slowest(&limits));
    table.part("parse and judge a rule", &[]);
    for (index, text) in rules.iter().enumerate() {
        let judged = rule::judge(text, QUOTA, &limits, &"rule".into());
        let said = judged.findings.first().map_or("sound", |finding| finding.code.as_str());
        let times = measure(vec![here(|| {
            rule::forget_analyses();
            rule::judge(text, QUOTA, &limits, &"rule".into())
        })])?;
        let what = if index + 1 == rules.len() { format!("slowest of {GENERATED}: ") } else { String::new() };
        let shown: String = text.chars().take(if text.len() > 60 { 30 } else { 60 }).collect();
        let dots = if shown.len() < text.len() { "…" } else { "" };
        table.row(
            &format!("{what}{said}: {shown}{dots}"),
            &times.into_iter().map(Some).collect::<Vec<_>>(),
            Some(GOAL),
        );
    }
    Ok(())
}

/// The generated rule whose judgement takes longest.
fn slowest(limits: &etcd_defrag_webhook::defrag::policy::Limits) -> String {
    let mut random = Random::new();
    let mut slowest = (0, String::new());
    for _ in 0..GENERATED {
        let text = condition(&mut random, 4);
        let took = (0..3).map(|_| {
            rule::forget_analyses();
            let began = Instant::now();
            std::hint::black_box(rule::judge(&text, QUOTA, limits, &"rule".into()));
            began.elapsed().as_nanos()
        });
        slowest = slowest.max((took.min().unwrap_or(0), text));
    }
    slowest.1
}

fn condition(random: &mut Random, depth: usize) -> String {
    if depth > 0 && random.one_in(2) {
        let (left, right) = (condition(random, depth - 1), condition(random, depth - 1));
        return match random.below(4) {
            0 => format!("({left} && {right})"),
            1 => format!("({left} || {right})"),
            2 => format!("!({left})"),
            _ => format!("({left} ? {right} : {left})"),
        };
    }
    let compared = random.pick(&[">", "<", ">=", "<=", "==", "!="]).to_owned();
    format!("{} {compared} {}", number(random, depth), number(random, depth))
}

fn number(random: &mut Random, depth: usize) -> String {
    if depth > 0 && random.one_in(2) {
        let operation = random.pick(&["+", "-", "*", "/", "%", "**"]).to_owned();
        return format!("({}{operation}{})", number(random, depth - 1), number(random, depth - 1));
    }
    match random.below(8) {
        0 => random.below(100).to_string(),
        1 => format!("0.{}", 1 + random.below(99)),
        2 => format!("{}*1024*1024", 1 + random.below(9000)),
        _ => (*random.pick(&["dbSize", "dbSizeInUse", "dbSizeFree", "dbQuota", "dbQuotaUsage"])).to_owned(),
    }
}
