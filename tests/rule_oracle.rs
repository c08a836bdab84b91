//! Rules against the engine's own library: the same value, or an error on both sides, for every rule and state.
//!
//! `ORACLE_RULES` sets how many rules are generated, `ORACLE_SEED` where the sequence starts.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its numbers are small"
)]

mod support;

use etcd_defrag_webhook::defrag::rule::{EvalErrorKind, Rule, RuleErrorKind, State};
use support::{QUOTAS, Random, ask, rule, setting, state};

const STATES: usize = 20;
const BATCH: u64 = 20_000;

#[derive(Debug, Default)]
struct Counts {
    rules: u64,
    states: u64,
    accepted: u64,
    invalid: u64,
    refused_by_name: u64,
    refused_by_name_yet_valid: u64,
    true_values: u64,
    false_values: u64,
    errors: u64,
}

fn answer(rule: &Rule, state: &State) -> char {
    match rule.evaluate(state) {
        Ok(true) => '1',
        Ok(false) => '0',
        Err(error) if error.kind == EvalErrorKind::RemainderByZero => 'p',
        Err(_) => 'e',
    }
}

fn compare(text: &str, states: &[State], expected: &str, counts: &mut Counts) {
    counts.rules += 1;
    counts.states += states.len() as u64;
    match Rule::parse(text) {
        Ok(rule) => {
            counts.accepted += 1;
            let ours: String = states.iter().map(|state| answer(&rule, state)).collect();
            assert_eq!(ours, expected, "{text:?} at {states:?}");
            for value in ours.chars() {
                match value {
                    '1' => counts.true_values += 1,
                    '0' => counts.false_values += 1,
                    _ => counts.errors += 1,
                }
            }
        }
        Err(error) if matches!(error.kind, RuleErrorKind::Refused(_) | RuleErrorKind::TooLarge) => {
            counts.refused_by_name += 1;
            counts.refused_by_name_yet_valid += u64::from(expected.contains(['0', '1']));
        }
        Err(error) => {
            counts.invalid += 1;
            assert!(!expected.contains(['0', '1']), "refused {text:?} ({error}), the engine says {expected}");
        }
    }
}

#[test]
fn every_generated_rule_has_the_engine_s_value() {
    let (rules, seed) = (setting("ORACLE_RULES", 20_000), setting("ORACLE_SEED", 1));
    let mut random = Random::seeded(seed);
    let mut counts = Counts::default();
    let mut left = rules;
    while left > 0 {
        let batch = left.min(BATCH);
        left -= batch;
        let questions: Vec<(String, Vec<State>)> = (0..batch)
            .map(|_| {
                let quota = *random.pick(&QUOTAS);
                let states = (0..STATES).map(|_| state(&mut random, quota, quota + quota / 4)).collect();
                (rule(&mut random), states)
            })
            .collect();
        let Some(answers) = ask(&questions) else {
            return;
        };
        assert_eq!(answers.len(), questions.len());
        for ((text, states), expected) in questions.iter().zip(&answers) {
            compare(text, states, expected, &mut counts);
        }
    }
    println!("seed {seed}: {counts:?}");
    assert!(counts.accepted * 4 > counts.rules, "the generator makes mostly nonsense: {counts:?}");
}
