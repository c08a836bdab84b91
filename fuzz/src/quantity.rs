//! Input: a quantity or a ratio; every text is read as both.

use etcd_defrag_webhook::defrag::{
    policy::Policy,
    quantity::{self, GIB, MIB, QuantityError},
    ratio,
    rule::{Rule, Thresholds, Verdict, analyse, compile},
};

const QUOTA: u64 = 8 * GIB;

pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    amount(text);
    share(text);
}

fn amount(text: &str) {
    let read = quantity::parse(text);
    if !text.starts_with(['+', '-']) {
        let below = quantity::parse(&format!("-{text}"));
        match read {
            _ if text.is_empty() => assert_eq!(read, Err(QuantityError::Empty)),
            Ok(0) => assert_eq!(below, Ok(0), "{text:?}"),
            Ok(_) => assert_eq!(below, Err(QuantityError::Negative), "{text:?}"),
            Err(error) => assert_eq!(below, Err(error), "{text:?}"),
        }
        assert!(text.is_empty() || quantity::parse(&format!("+{text}")) == read, "{text:?}");
        assert!(read.is_err() || quantity::parse(&format!("00{text}")) == read, "{text:?}");
    }
    let Ok(bytes) = read else { return };
    assert_eq!(quantity::parse(&bytes.to_string()), Ok(bytes), "{text:?}");
    // A person may copy what a message shows.
    let shown = quantity::human(bytes);
    let copied = shown.trim_end_matches(" bytes").trim_end_matches(" byte").trim_end_matches('B').replace(' ', "");
    assert_eq!(quantity::parse(&copied), Ok(bytes), "{text:?} is shown as {shown}");
    let thresholds = Thresholds { free_above: Some(bytes), ..Thresholds::default() };
    becomes_a_rule(thresholds, (MIB..QUOTA).contains(&bytes));
}

fn share(text: &str) {
    match ratio::parse(text) {
        Ok(value) => {
            assert!(value > 0.0 && value < 1.0, "{text:?} is {value}");
            let shown = value.to_string();
            // Numbers next to zero take more digits than are read.
            assert!(shown.len() > 32 || ratio::parse(&shown) == Ok(value), "{text:?} is shown as {shown}");
            let usage = Thresholds { usage_above: Some(value), ..Thresholds::default() };
            becomes_a_rule(usage, value <= Policy::built_in().limits.quota_ceiling);
            becomes_a_rule(Thresholds { free_share_above: Some(value), ..Thresholds::default() }, true);
        }
        Err(error) => {
            let prose = ["it without blanks", "for example 80%"].contains(&error.instead.as_str());
            assert!(prose || ratio::parse(&error.instead).is_ok(), "{text:?}: {error}");
        }
    }
}

/// Every threshold compiles to a rule, and one inside the limits to a rule that is proven.
fn becomes_a_rule(thresholds: Thresholds, inside: bool) {
    let text = compile(thresholds);
    let rule = Rule::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let analysis = analyse(&rule, QUOTA, &Policy::built_in().limits);
    let verdicts = [
        analysis.never_fails,
        analysis.not_always_true,
        analysis.not_always_false,
        analysis.fires_above_ceiling,
        analysis.never_futile,
    ];
    assert!(!inside || verdicts.iter().all(|verdict| *verdict == Verdict::Proven), "{text}: {analysis:?}");
}
