//! Input: `RULE` or `RULE # QUOTA`.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use etcd_defrag_webhook::defrag::{
    finding::Code,
    policy::Policy,
    quantity::{self, GIB, MIB},
    rule::{Analysis, Rule, SMALLEST_DATABASE, State, analyse, judge, picture},
};

use super::{parts, readable};

#[path = "../../tests/support/verdicts.rs"]
mod verdicts;

/// The largest quota that the analysis takes as it is.
const LARGEST_QUOTA: u64 = 1 << 61;

pub fn check(input: &[u8]) {
    let Some((text, quota)) = parts(input, " # ") else { return };
    let quota = quota.and_then(|quota| quantity::parse(quota).ok()).unwrap_or(8 * GIB).clamp(1, LARGEST_QUOTA);
    let limits = Policy::built_in().limits;
    let judged = judge(text, quota, &limits, &"rule".into());
    readable(&judged.findings);
    assert_eq!(judged.rule.is_none(), judged.findings.iter().any(|finding| finding.code == Code::RuleInvalid));
    let rule = match Rule::parse(text) {
        Ok(rule) => rule,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.column), "{text:?}: {error}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
            return;
        }
    };
    assert!(!picture(&rule, quota).is_empty());
    let analysis = analyse(&rule, quota, &limits);
    verdicts::confirm(text, &rule, &analysis, &limits);
    let besides = verdicts::Besides::of(text, &rule, quota, &limits);
    for state in states(text, quota, &analysis, besides.first) {
        verdicts::check(text, &rule, &analysis, &state, &limits);
        besides.check(text, &rule, &state);
    }
}

/// Corners, the neighbourhood of every number that the analysis names, and a few states that are all over the place.
fn states(text: &str, quota: u64, analysis: &Analysis, first: Option<State>) -> Vec<State> {
    let limit = analysis.size_limit;
    let named = [analysis.floor, first.map(|state| state.db_size)];
    let mut sizes = vec![SMALLEST_DATABASE, SMALLEST_DATABASE + 1, MIB, quota / 2, quota / 10 * 9, quota, limit];
    for size in named.into_iter().flatten() {
        sizes.extend([size.saturating_sub(1), size, size.saturating_add(1)]);
    }
    sizes.extend((0..8).map(|n| hash(text, n) % (limit + 1)));
    let mut states = Vec::new();
    for size in sizes.into_iter().filter(|size| (SMALLEST_DATABASE..=limit).contains(size)) {
        let mut frees = vec![0, 1, MIB - 1, MIB, 32 * MIB, size / 2, size];
        frees.extend(analysis.floor.into_iter().flat_map(|floor| [floor.saturating_sub(1), floor]));
        frees.push(hash(text, size) % (size + 1));
        let frees = frees.into_iter().filter(|free| *free <= size);
        states.extend(frees.map(|free| State { db_size: size, db_size_in_use: size - free, quota }));
    }
    states
}

fn hash(text: &str, salt: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (text, salt).hash(&mut hasher);
    hasher.finish()
}
