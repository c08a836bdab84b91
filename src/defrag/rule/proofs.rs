//! Two proofs of the built-in rule, and of what keeps other rules from them.
//!
//! Each verdict is over every state from the smallest file to a quarter beyond the quota, in whole bytes.

use super::*;
use crate::defrag::{
    policy::{DEFAULT_RULE, Limits, Policy},
    quantity::{GIB, MIB},
    rule::compile::Thresholds,
};

/// From the least that anybody gives an etcd to more than etcd advises, powers of two and others.
const QUOTAS: [u64; 16] = [
    100 * MIB,
    128 * MIB,
    200 * MIB,
    256 * MIB,
    300 * MIB,
    512 * MIB,
    GIB,
    1_500_000_000,
    2 * GIB,
    2_147_483_647,
    3 * GIB,
    4 * GIB,
    6 * GIB,
    8 * GIB,
    10_000_000_000,
    16 * GIB,
];

fn limits() -> Limits {
    Policy::built_in().limits
}

fn quiet(text: &str, quota: u64, limits: &Limits) -> Verdict {
    quiets_alert(&Rule::parse(text).unwrap(), quota, limits)
}

/// What Prometheus makes of the alert's expression.
#[expect(clippy::cast_precision_loss, reason = "Prometheus rounds in the same way")]
fn alert_fires(state: &State) -> bool {
    let [size, in_use] = [state.db_size, state.db_size_in_use].map(|bytes| bytes as f64);
    in_use / size < 0.5 && in_use > 104_857_600.0
}

#[test]
fn the_built_in_rule_is_true_wherever_the_alert_is() {
    for quota in QUOTAS {
        assert_eq!(quiet(DEFAULT_RULE, quota, &limits()), Verdict::Proven, "{quota}");
    }
}

#[test]
fn the_built_in_rule_is_true_above_the_ceiling_wherever_enough_can_be_reclaimed() {
    let rule = Rule::parse(DEFAULT_RULE).unwrap();
    for quota in QUOTAS {
        for quota_ceiling in [0.8, 0.85, 0.9, 0.95, 0.99] {
            let limits = Limits { quota_ceiling, ..limits() };
            let verdict = analyse(&rule, quota, &limits).fires_above_ceiling;
            assert_eq!(verdict, Verdict::Proven, "{quota} above {quota_ceiling}");
        }
    }
}

/// The built-in rule follows the limits of a policy. A `minFree` of up to 100 MiB keeps the first proof: where the alert fires, more
/// than that is free. Only a larger one keeps the rule from being true wherever the alert is, and never above the ceiling.
#[test]
fn the_built_in_rule_under_other_limits_keeps_what_they_allow() {
    for (mebibytes, ceiling) in [(0, 0.7), (64, 0.9), (100, 0.8), (101, 0.9), (1024, 0.5)] {
        let limits = Limits { min_free: mebibytes * MIB, quota_ceiling: ceiling, ..limits() };
        let text = compile_within(Thresholds::default(), &limits);
        for quota in QUOTAS.into_iter().filter(|quota| *quota > 2 * limits.min_free) {
            let above = analyse(&Rule::parse(&text).unwrap(), quota, &limits).fires_above_ceiling;
            assert_eq!(above, Verdict::Proven, "{text} at {quota}");
            match quiet(&text, quota, &limits) {
                Verdict::Proven => assert!(mebibytes <= 100, "{text} at {quota}"),
                // A database of such a size is beyond the quota.
                Verdict::Refuted(state) => {
                    assert!(mebibytes > 100 && alert_fires(&state) && state.free() <= limits.min_free, "{state:?}");
                }
                Verdict::Undecided => panic!("{text} at {quota}"),
            }
        }
    }
}

#[test]
fn what_other_rules_are_to_the_alert() {
    let of = |text: &str| quiet(text, 8 * GIB, &limits());
    for implied in [
        FRAGMENTATION_ALERT_CONDITION,
        "dbSizeInUse < 0.5*dbSize && dbSizeInUse > 104857600",
        "2*dbSizeInUse < dbSize && dbSizeInUse > 104857600",
        "dbSizeFree > dbSize/2 && dbSizeInUse > 100*1024*1024",
        "dbSize / dbSizeInUse > 2 || dbSizeFree > 4*1024*1024*1024",
        "dbSizeInUse / dbSize <= 0.55 && dbSizeFree > 64*1024*1024",
        "dbSizeInUse / dbSize <= 0.55 || dbQuotaUsage > 0.8",
        "dbSizeFree > 0.45*dbSize",
        "dbSizeFree > 100*1024*1024",
        "true",
    ] {
        assert_eq!(of(implied), Verdict::Proven, "{implied}");
    }
    for other in [
        "dbQuotaUsage > 0.8 && dbSizeFree > 32*1024*1024",
        "dbSizeFree > 101*1024*1024",
        "dbSizeFree > 0.5*dbSize && dbSizeInUse > 100*1024*1024 + 1",
        "dbSizeFree > 0.5*dbSize + 1 && dbSizeInUse > 100*1024*1024",
        "dbSizeFree >= 0.51*dbSize && dbSizeInUse > 100*1024*1024",
        "dbQuotaUsage > 0.8 || dbSize - dbSizeInUse > 200*1024*1024",
        "1 / (dbSize - 1073741824) > 0 || dbSizeFree > 1024*1024",
        "false",
    ] {
        let rule = Rule::parse(other).unwrap();
        let state = of(other).counterexample().unwrap_or_else(|| panic!("{other}: {:?}", of(other)));
        assert!(alert_fires(&state) && rule.evaluate(&state) != Ok(true), "{other}: {state:?}");
    }
}

#[test]
fn thresholds_quiet_the_alert_where_they_are_not_above_it() {
    let of = |usage_above, free_above, free_share_above| {
        quiet(&compile(Thresholds { usage_above, free_above, free_share_above }), 8 * GIB, &limits())
    };
    for implied in [of(None, Some(100 * MIB), None), of(None, None, Some(0.5)), of(Some(0.9), Some(GIB), Some(0.4))] {
        assert_eq!(implied, Verdict::Proven);
    }
    for other in [of(Some(0.8), None, None), of(None, Some(GIB), None), of(Some(0.5), None, Some(0.6))] {
        assert!(alert_fires(&other.counterexample().unwrap()), "{other:?}");
    }
}

/// The edge of the alert, byte by byte: the quotient that Prometheus computes against the comparison without one.
#[test]
fn the_alert_and_the_rule_agree_to_the_byte() {
    let [alert, rule] = [FRAGMENTATION_ALERT_CONDITION, DEFAULT_RULE].map(|text| Rule::parse(text).unwrap());
    for half in [100 * MIB, 100 * MIB + 1, 123_456_789, GIB, 3 * GIB + 7] {
        for size in 2 * half - 2..=2 * half + 4 {
            for in_use in half - 2..=half + 2 {
                let state = State { db_size: size, db_size_in_use: in_use, quota: 16 * GIB };
                assert_eq!(alert.evaluate(&state), Ok(alert_fires(&state)), "{state:?}");
                assert_eq!(rule.evaluate(&state), Ok(alert_fires(&state)), "{state:?}");
            }
        }
    }
}

#[test]
fn a_suggestion_passes_the_checks_it_is_a_way_out_of() {
    let strict = Limits { min_free: 512 * MIB, quota_usage_min: 0.6, quota_ceiling: 0.7, ..limits() };
    let others = [limits(), Limits { min_free: 64 * MIB, ..limits() }, strict];
    let mut shown = Vec::new();
    for quota in
        [1, 8, 4096, 40_000, MIB, 8 * MIB, 20 * MIB, 33 * MIB, 64 * MIB, 100 * MIB, 700 * MIB, 2 * GIB, 100 * GIB]
    {
        for (index, limits) in others.iter().enumerate() {
            let judged = |text: &str| judge(text, quota, limits, &"rule".into());
            for text in ["", "dbQuotaUsage > 80", "dbSize >", "dbSizeFree * dbSizeInUse == 7"] {
                for finding in judged(text).findings {
                    let Some((_, example)) = finding.message.split_once(", for example: ") else {
                        let nothing = finding.message.contains("No rule suits a quota of");
                        assert!(
                            nothing
                                || finding.code.as_str() == "rule-misses-quota"
                                || finding.code.as_str() == "rule-futile"
                                || finding.code.as_str() == "rule-constant-suspect"
                                || finding.code.as_str() == "free-below-minimum",
                            "{finding:?}"
                        );
                        continue;
                    };
                    assert_eq!(judged(example).findings, [], "{example} at {quota} under {limits:?}");
                    shown.push(format!("{quota} {index} {example}"));
                }
            }
            // A part to add, joined to the rule as the message says.
            for text in ["dbSizeFree > 0.99*dbSize", "dbQuotaUsage > 0.5"] {
                let joined = judged(text).findings.iter().fold(text.to_owned(), |rule, finding| {
                    let message = &finding.message;
                    match (message.split_once("Add: "), message.split_once("in parentheses and add: ")) {
                        (Some((_, part)), _) | (_, Some((_, part))) => format!("({rule}) {part}"),
                        _ => rule,
                    }
                });
                let refused = judged(&joined).findings.into_iter().filter(|finding| {
                    quota > 2 * limits.min_free.max(32 * MIB)
                        && (finding.denies() || finding.code.as_str() == "rule-futile")
                });
                assert_eq!(refused.collect::<Vec<_>>(), [], "{joined} at {quota}");
            }
        }
    }
    shown.dedup();
    insta::assert_snapshot!(shown.join("\n"));
}

/// Each part of the built-in rule waits for more than 100 MiB where the quota is not smaller than what it needs to.
#[test]
fn the_floor_of_the_built_in_rule_is_that_of_its_parts() {
    for quota in QUOTAS.into_iter().filter(|quota| *quota >= 2 * GIB) {
        let floor = |text: &str| analyse(&Rule::parse(text).unwrap(), quota, &limits()).floor;
        assert_eq!(floor("dbSizeFree > 0.5*dbSize && dbSizeInUse > 100*1024*1024"), Some(100 * MIB), "{quota}");
        let analysis = analyse(&Rule::parse(DEFAULT_RULE).unwrap(), quota, &limits());
        assert_eq!(analysis.floor, Some(100 * MIB), "{quota}: {analysis:?}");
    }
}
