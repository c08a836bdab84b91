//! Verdicts of the analysis against random states and corners, and its counterexamples against the engine's library.
//!
//! `SOUND_RULES` and `SOUND_STATES` set how many, `SOUND_SEED` where the sequence starts.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its numbers are small"
)]

mod support;
#[path = "support/verdicts.rs"]
mod verdicts;

use std::sync::OnceLock;

use etcd_defrag_webhook::defrag::{
    policy::Policy,
    rule::{Rule, SMALLEST_DATABASE, State, Verdict, analyse},
};
use support::{QUOTAS, Random, ask, setting, sound_rule, state};
use verdicts::{Besides, check, confirm, verdicts};

/// Rules as people write them, with generated numbers.
fn plausible(random: &mut Random) -> String {
    let bytes = |random: &mut Random| format!("{}*1024*1024", 1 + random.below(9000));
    let ratio = |random: &mut Random| format!("0.{}", 1 + random.below(99));
    let part = |random: &mut Random| match random.below(12) {
        0 => format!("dbSizeFree > {}", bytes(random)),
        1 => format!("dbSize - dbSizeInUse > {}", bytes(random)),
        2 => format!("dbQuotaUsage > {}", ratio(random)),
        3 => format!("dbSize > dbQuota*{}/100", random.below(120)),
        4 => format!("dbSize > {}", bytes(random)),
        5 => format!(
            "dbSize{} / dbSize {} {}",
            random.pick(&["Free", "InUse"]),
            random.pick(&[">", "<", "<=", ">="]),
            ratio(random)
        ),
        6 => format!("dbSizeInUse < {} * dbSize", ratio(random)),
        7 => format!("dbSizeFree > {} * dbSize", ratio(random)),
        8 => format!("dbSizeInUse / dbQuota > {}", ratio(random)),
        9 => format!("dbSize - dbSizeInUse >= dbQuota / {}", 1 + random.below(40)),
        10 => format!("dbSizeFree * dbQuotaUsage > {}", bytes(random)),
        _ => format!("dbSizeFree >= {}", random.below(3)),
    };
    let mut text = part(random);
    for _ in 0..random.below(3) {
        let other = part(random);
        text = match random.below(4) {
            0 => format!("{text} && {other}"),
            1 => format!("{text} || {other}"),
            2 => format!("{text} || ({other} && {})", part(random)),
            _ => format!("!({text}) && {other}"),
        };
    }
    text
}

#[derive(Debug, Default)]
struct Counts {
    rules: u64,
    states: u64,
    proven: u64,
    refuted: u64,
    undecided: u64,
    with_undecided: u64,
    /// Rules with an undecided property, among those that never fail for certain.
    most_regions: usize,
}

/// What came of judging rules and trying states on each verdict.
struct Judged {
    plain: Counts,
    /// Each refuted rule with its counterexamples, and what they come to for us.
    questions: Vec<(String, Vec<State>)>,
    answers: Vec<String>,
}

/// Judges rules and tries states on each verdict, once for all tests.
fn judged() -> &'static Judged {
    static JUDGED: OnceLock<Judged> = OnceLock::new();
    JUDGED.get_or_init(judge)
}

fn judge() -> Judged {
    let (rules, states, seed) = (setting("SOUND_RULES", 2_000), setting("SOUND_STATES", 300), setting("SOUND_SEED", 1));
    let limits = Policy::built_in().limits;
    let mut random = Random::seeded(seed);
    let (mut plain, mut wild) = (Counts::default(), Counts::default());
    let mut questions: Vec<(String, Vec<State>)> = Vec::new();
    let mut answers: Vec<String> = Vec::new();
    while plain.rules + wild.rules < rules {
        let likely = random.chance(50);
        let text = if likely { plausible(&mut random) } else { sound_rule(&mut random) };
        let Ok(rule) = Rule::parse(&text) else {
            continue;
        };
        let quota = *random.pick(&QUOTAS[..4]);
        let analysis = analyse(&rule, quota, &limits);
        confirm(&text, &rule, &analysis, &limits);
        let besides = Besides::of(&text, &rule, quota, &limits);
        let counts = if likely { &mut plain } else { &mut wild };
        counts.rules += 1;
        counts.states += states;
        let mut undecided = false;
        for verdict in verdicts(&analysis) {
            match verdict {
                Verdict::Proven => counts.proven += 1,
                Verdict::Refuted(_) => counts.refuted += 1,
                Verdict::Undecided => {
                    counts.undecided += 1;
                    undecided = true;
                }
            }
        }
        counts.with_undecided += u64::from(undecided);
        if undecided && std::env::var_os("SOUND_SHOW").is_some() {
            println!("undecided: {text:?} {analysis:?}");
        }
        counts.most_regions = counts.most_regions.max(analysis.regions);
        for _ in 0..states {
            let state = state(&mut random, quota, analysis.size_limit);
            check(&text, &rule, &analysis, &state, &limits);
            besides.check(&text, &rule, &state);
        }
        let shown: Vec<State> = verdicts(&analysis).iter().filter_map(Verdict::counterexample).collect();
        if !shown.is_empty() {
            let values = shown.iter().map(|state| match rule.evaluate(state) {
                Ok(true) => '1',
                Ok(false) => '0',
                Err(error) if error.to_string().contains("remainder") => 'p',
                Err(_) => 'e',
            });
            answers.push(values.collect());
            questions.push((text, shown));
        }
    }
    println!("seed {seed}: rules as people write them {plain:?}");
    println!("seed {seed}: rules by the grammar {wild:?}");
    Judged { plain, questions, answers }
}

#[test]
fn no_state_contradicts_a_verdict() {
    let plain = &judged().plain;
    assert!(plain.with_undecided * 100 <= plain.rules, "too much is undecided: {plain:?}");
}

#[test]
fn the_engine_s_library_confirms_each_counterexample() {
    let Judged { questions, answers, .. } = judged();
    let Some(confirmed) = ask(questions) else { return };
    let states: usize = questions.iter().map(|(_, states)| states.len()).sum();
    for (((text, states), ours), theirs) in questions.iter().zip(answers).zip(&confirmed) {
        assert_eq!(ours, theirs, "{text:?} at {states:?}");
    }
    println!("{states} counterexamples confirmed by the engine's library");
}

#[test]
fn every_state_of_a_small_etcd_agrees_with_the_verdicts() {
    let limits = Policy::built_in().limits;
    let mut random = Random::seeded(setting("SOUND_SEED", 7));
    for _ in 0..setting("SOUND_RULES", 2_000) / 20 {
        let text = sound_rule(&mut random);
        let Ok(rule) = Rule::parse(&text) else { continue };
        let analysis = analyse(&rule, 8, &limits);
        let besides = Besides::of(&text, &rule, 8, &limits);
        // The smallest sizes, with the least and the most in use: there the edges of such rules lie.
        for db_size in SMALLEST_DATABASE..SMALLEST_DATABASE + 40 {
            for step in 0..40 {
                for db_size_in_use in [step, db_size - step, db_size / 40 * step] {
                    let state = State { db_size, db_size_in_use, quota: 8 };
                    check(&text, &rule, &analysis, &state, &limits);
                    besides.check(&text, &rule, &state);
                }
            }
        }
    }
}
