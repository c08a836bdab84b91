//! What the verdicts of the analysis say about single states.

use etcd_defrag_webhook::defrag::{
    policy::Limits,
    quantity::MIB,
    rule::{Analysis, Rule, SMALLEST_DATABASE, State, Verdict, first_firing, quiets_alert},
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
        && state.db_size >= MIB.min(state.quota / 16).max(SMALLEST_DATABASE)
        && matches!(analysis.not_always_true, Verdict::Refuted(_)))
        || (value == Ok(true) && matches!(analysis.not_always_false, Verdict::Refuted(_)))
        || (value != Ok(true) && missed(state, limits) && analysis.fires_above_ceiling == Verdict::Proven)
        || (value == Ok(true) && state.free() < MIB && analysis.never_futile == Verdict::Proven)
        || (value == Ok(true) && analysis.floor.is_some_and(|floor| state.free() < floor));
    assert!(!contradiction, "{text:?} is {value:?} at {state:?}, against {analysis:?}");
}

/// A counterexample must be one.
pub(crate) fn confirm(text: &str, rule: &Rule, analysis: &Analysis, limits: &Limits) {
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
            assert!((SMALLEST_DATABASE..=analysis.size_limit).contains(&state.db_size));
            assert!(state.db_size_in_use <= state.db_size);
        }
    }
}

/// What is said of a rule besides: where it fires first, and that it fires wherever the alert on fragmentation does.
pub(crate) struct Besides {
    pub(crate) first: Option<State>,
    alert: Verdict,
}

impl Besides {
    pub(crate) fn of(text: &str, rule: &Rule, quota: u64, limits: &Limits) -> Self {
        let (first, alert) = (first_firing(rule, quota, limits), quiets_alert(rule, quota, limits));
        if let Some(state) = first {
            assert_eq!(rule.evaluate(&state), Ok(true), "{text:?} at {state:?}");
        }
        if let Verdict::Refuted(state) = alert {
            assert!(alert_fires(&state) && rule.evaluate(&state) != Ok(true), "{text:?}: {state:?} shows nothing");
        }
        Self { first, alert }
    }

    /// What is said must hold here.
    pub(crate) fn check(&self, text: &str, rule: &Rule, state: &State) {
        let value = rule.evaluate(state);
        let before = value == Ok(true) && self.first.is_some_and(|first| state.db_size < first.db_size);
        assert!(!before, "{text:?} fires at {state:?}, before {:?}", self.first);
        let alerted = self.alert == Verdict::Proven && value != Ok(true) && alert_fires(state);
        assert!(!alerted, "{text:?} is {value:?} at {state:?}, where the alert fires");
    }
}

/// What Prometheus makes of the alert's expression.
#[expect(clippy::cast_precision_loss, reason = "Prometheus rounds in the same way")]
fn alert_fires(state: &State) -> bool {
    let (size, in_use) = (state.db_size as f64, state.db_size_in_use as f64);
    in_use / size < 0.5 && in_use > 104_857_600.0
}
