//! What the verdicts of the analysis say about single states.

use etcd_defrag_webhook::defrag::{
    policy::Limits,
    quantity::MIB,
    rule::{Analysis, Rule, State, Verdict},
};

pub(crate) fn verdicts(analysis: &Analysis) -> [Verdict; 5] {
    [
        analysis.never_fails,
        analysis.not_always_true,
        analysis.not_always_false,
        analysis.fires_above_ceiling,
        analysis.never_futile,
    ]
}

#[expect(clippy::cast_precision_loss, reason = "the engine rounds in the same way")]
fn missed(state: &State, limits: &Limits) -> bool {
    state.db_size as f64 / state.quota as f64 > limits.quota_ceiling
        && state.free() > limits.enough_to_reclaim(state.quota)
}

/// A property that is said to hold must hold here.
pub(crate) fn check(text: &str, rule: &Rule, analysis: &Analysis, state: &State, limits: &Limits) {
    let value = rule.evaluate(state);
    let contradiction = match value {
        Err(_) => analysis.never_fails == Verdict::Proven,
        Ok(_) => false,
    } || (value == Ok(false)
        && state.db_size >= MIB.min(state.quota / 16)
        && matches!(analysis.not_always_true, Verdict::Refuted(_)))
        || (value == Ok(true) && matches!(analysis.not_always_false, Verdict::Refuted(_)))
        || (value != Ok(true) && missed(state, limits) && analysis.fires_above_ceiling == Verdict::Proven)
        || (value == Ok(true) && state.free() < MIB && analysis.never_futile == Verdict::Proven)
        || (value == Ok(true) && analysis.floor.is_some_and(|floor| state.free() < floor))
        || (value == Ok(true)
            && state.db_size_in_use == 0
            && analysis.fires_above.is_some_and(|least| state.db_size < least))
        || (value == Ok(true)
            && state.db_size_in_use == state.db_size
            && analysis.fires_above_compact.is_some_and(|least| state.db_size < least));
    assert!(!contradiction, "{text:?} is {value:?} at {state:?}, against {analysis:?}");
}

/// A counterexample must be one.
pub(crate) fn confirm(text: &str, rule: &Rule, analysis: &Analysis, quota: u64, limits: &Limits) {
    for (verdict, fits) in verdicts(analysis).into_iter().zip([
        (|value, _, _| value != Some(true) && value != Some(false)) as fn(Option<bool>, &State, &Limits) -> bool,
        |value, _, _| value == Some(true),
        |value, _, _| value != Some(true),
        |value, state, limits| value != Some(true) && missed(state, limits),
        |value, state, _| value == Some(true) && state.free() < MIB,
    ]) {
        if let Verdict::Refuted(state) = verdict {
            assert!(
                fits(rule.evaluate(&state).ok(), &state, limits),
                "{text:?}: {state:?} shows nothing: {analysis:?}"
            );
            assert!(state.db_size <= analysis.size_limit && state.db_size_in_use <= state.db_size);
        }
    }
    for (least, in_use) in [(analysis.fires_above, 0), (analysis.fires_above_compact, 1)] {
        let Some(size) = least else { continue };
        let state = State { db_size: size, db_size_in_use: size * in_use, quota };
        assert_eq!(rule.evaluate(&state), Ok(true), "{text:?} at {state:?}");
    }
}
