//! The language, the verdicts and the words, by table.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::defrag::{
    field::Field,
    finding::{Code, WARNING_LIMIT},
    keys::Key,
    policy::{DEFAULT_RULE, Limits, Policy},
    quantity::{GIB, MIB},
};

const QUOTA: u64 = 8 * GIB;
const FIELD: &Field = &Key::Rule.field();

fn limits() -> Limits {
    Policy::built_in().limits
}

fn judged(text: &str) -> Judged {
    judge(text, QUOTA, &limits(), FIELD)
}

fn codes(text: &str) -> Vec<&'static str> {
    judged(text).findings.iter().map(|finding| finding.code.as_str()).collect()
}

fn analysed(text: &str) -> Analysis {
    analyse(&Rule::parse(text).unwrap(), QUOTA, &limits())
}

fn fires_above(text: &str) -> Option<u64> {
    first_firing(&Rule::parse(text).unwrap(), QUOTA, &limits()).map(|state| state.db_size)
}

/// The value at a database of 6 GiB with 2 GiB in use and a quota of 8 GiB: `1`, `0`, an error kind or a parse error.
fn value(text: &str) -> String {
    let state = State { db_size: 6 * GIB, db_size_in_use: 2 * GIB, quota: QUOTA };
    match Rule::parse(text) {
        Ok(rule) => match rule.evaluate(&state) {
            Ok(value) => u8::from(value).to_string(),
            Err(error) => format!("{:?}", error.kind),
        },
        Err(error) => format!("{:?} at {}", error.kind, error.column),
    }
}

#[test]
fn the_language_is_the_engine_s() {
    for (text, expected) in [
        ("", "1"),
        (" ", "Syntax at 2"),
        ("true", "1"),
        ("dbSize == 6*1024*1024*1024", "1"),
        ("dbSizeFree == dbSize - dbSizeInUse", "1"),
        ("dbQuotaUsage == 0.75", "1"),
        ("dbSize > 80/100*dbQuota", "1"),
        ("dbSize > 80.0/100*dbQuota", "0"),
        ("dbSize > dbQuota*80/100", "0"),
        ("7/2 == 3 && -7/2 == -3 && -7%3 == -1 && 7.5%2 == 1.5", "1"),
        ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9", "1"),
        ("2 ** 3 ** 2 == 64 && 2 * 3 ** 2 == 36", "1"),
        ("-2 ** 2 == 4", "1"),
        ("1 | 2 == 2", "Type at 3"),
        ("(1 | 2) == 3 && 1 << 3 == 8 && 5 >> 1 == 2 && 8 << -2 == 2 && ~0 == -1", "1"),
        ("9223372036854775807 + 1 < 0", "1"),
        ("0xFFFFFFFFFFFFFFFF == -1", "1"),
        ("9223372036854775808 > 1", "Literal at 1"),
        ("9007199254740993 == 9007199254740992.0", "1"),
        ("1 < 2 == true", "1"),
        ("1 < 2 < 3", "Type at 7"),
        ("true == 1", "0"),
        ("0 < 1 ? dbSize > 1 : false", "1"),
        ("true ? false : true ? true : true", "0"),
        ("true || 1/0 > 1", "DivisionByZero"),
        ("true || 1/0.0 > 1", "DivisionByZero"),
        ("true || 1%0 > 1", "RemainderByZero"),
        ("1.0%0 == 1", "0"),
        ("true || (0.5 | 1) > 1", "NotAnInteger"),
        ("true ? 1 : true", "NotABoolean"),
        ("(true ? 1 : true) + 1 == 2", "1"),
        ("1<-1", "0"),
        ("1--1 > 0", "Syntax at 2"),
        ("1- -1 == 2", "1"),
        ("!true == false", "1"),
        ("!(dbSize > 1)", "0"),
        ("dbSize > .8e1_0 // the rest", "0"),
        ("dbSize /* inside */ > 1\n", "1"),
        ("dbSize > 1 /* unclosed", "1"),
        ("\u{feff}dbSize > 1", "1"),
        ("dbSize > 1;", "Syntax at 11"),
        ("dbSize = 1", "Syntax at 8"),
        ("dbSize + 1", "Type at 1"),
        ("dbsize > 1", "UnknownVariable at 1"),
        ("dbSize > \"1\"", "Refused(Text) at 10"),
        ("dbSize != nil", "Refused(Nil) at 11"),
        ("[1] == 1", "Refused(Array) at 1"),
        ("dbSize[0] > 1", "Refused(Array) at 7"),
        ("{} == 1", "Refused(Object) at 1"),
        ("dbSize.x > 1", "Refused(Field) at 7"),
        ("1 in dbSize", "Refused(Membership) at 3"),
        ("min(1, 2) > 1", "Refused(Function) at 1"),
        ("dbSize ** 1.5 > 1", "Refused(Power) at 8"),
        ("dbSize ** 0.5 > 1", "1"),
        ("2 ** dbQuotaUsage > 1", "Refused(Power) at 3"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    for (open, close) in [("(", ")"), ("-", ""), ("!", ""), ("~", ""), ("true ? ", ""), ("- -", "")] {
        for count in [100, 1_000, 1_000_000] {
            let text = format!("{}1{} > 0", open.repeat(count), close.repeat(count));
            assert!(Rule::parse(&text).is_err(), "{open} × {count}");
        }
    }
    let chain = format!("{}0 < 1", "1-".repeat(500));
    assert_eq!(Rule::parse(&chain).unwrap().evaluate(&ENGINE_SAMPLE), Ok(true));
    assert_eq!(Rule::parse(&"x".repeat(MAX_LENGTH + 1)).unwrap_err().kind, RuleErrorKind::TooLarge);
    assert!(Rule::parse(&format!("{}1 > 0{}", "(".repeat(MAX_DEPTH - 1), ")".repeat(MAX_DEPTH - 1))).is_ok());
}

#[test]
fn every_parse_error_says_what_to_write() {
    let list: Vec<String> = [
        "dbSize > 80%",
        "dbQuotaUsage > 80% && dbSizeFree > 1",
        "dbSizeFree > 200Mi",
        "dbSizeFree > 200MB",
        "dbSize > 1 and dbSizeFree > 2",
        "dbSize => 1",
        "dbSize = 1",
        "dbSize ≥ 1",
        "“dbSize > 1”",
        "dbSizefree > 1",
        "db_size > 1",
        "size(db) >= 1",
        "dbSize",
        "0.8",
        "dbSize > 1 && 2",
        "dbSize > 1 || dbSizeFree",
        "1 < dbSize < 2",
        "dbSize > 1 & dbSizeFree > 2",
        "!dbSize > 1",
        "-(dbSize > 1) > 1",
        "dbSize > 1 ? 2",
        "dbSize ? true : false",
        "(dbSize > 1",
        "dbSize > 1)",
        "dbSize > 08",
        "dbSize > 9223372036854775808",
        "dbSize > 1__0",
        "dbSize > 2i",
        "dbSize--1 > 1",
        "dbSize > 1; true",
        "dbSize > 'a'",
        "dbSize > \"8Gi\"",
        "dbSize in [1]",
        "dbSize ** 1.5 > 2",
        "",
    ]
    .into_iter()
    .map(|text| match Rule::parse(text) {
        Ok(_) => format!("{text:?}: accepted"),
        Err(error) => format!("{text:?}: {error}"),
    })
    .collect();
    insta::assert_snapshot!(list.join("\n"));
}

#[test]
fn every_finding_in_its_words() {
    let mut text = String::new();
    for rule in [
        DEFAULT_RULE,
        "",
        "dbQuotaUsage > 80%",
        "dbQuotaUsage > 80/100",
        "dbQuotaUsage > 80",
        "dbQuotaUsage > 0.8 || dbSizeFree > 200*1024*1024",
        "dbSizeFree > 10*1024*1024*1024",
        "dbSizeFree > 1024*1024*1024",
        "dbSizeFree / dbSize > 0.45",
        "dbSize / 8589934592 > 0.8 && dbSizeFree > 32*1024*1024",
        "dbSize / 2147483648 > 0.8 && dbSizeFree > 32*1024*1024",
        "dbSize % 0 > 1",
        "dbSizeFree > 0",
        "dbSizeFree * dbSizeInUse == 209715201",
        "1/(dbQuota - 2*1024*1024*1024) > 0 && dbSizeFree > 200*1024*1024",
    ] {
        let judged = judged(rule);
        let above = judged.rule.as_ref().and_then(|rule| first_firing(rule, QUOTA, &limits()));
        let (floor, above, shown) = (judged.floor, above.map(|state| state.db_size), judged.counterexample);
        let _ = writeln!(text, "{rule:?}\n  floor {floor:?}, fires above {above:?}, counterexample {shown:?}");
        for finding in judged.findings {
            assert!(finding.brief.chars().count() <= WARNING_LIMIT);
            let _ = writeln!(text, "  {} {}\n  {}", finding.severity, finding.brief, finding.message);
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_picture_shows_where_a_rule_fires() {
    insta::assert_snapshot!(picture(&Rule::parse(DEFAULT_RULE).unwrap(), QUOTA));
    insta::assert_snapshot!(picture(&Rule::parse("1/dbSizeFree < 1").unwrap(), 2_147_483_647));
}

#[test]
fn the_built_in_rule_is_proven_for_every_usual_quota() {
    let rule = Rule::parse(DEFAULT_RULE).unwrap();
    for quota in [100 * MIB, 2 * GIB, 2_147_483_647, 8 * GIB, 16 * GIB, 100 * GIB, 10_000_000_000, 1 << 50] {
        let analysis = analyse(&rule, quota, &limits());
        for verdict in [
            analysis.never_fails,
            analysis.not_always_true,
            analysis.not_always_false,
            analysis.fires_above_ceiling,
            analysis.never_futile,
        ] {
            assert_eq!(verdict, Verdict::Proven, "{quota}");
        }
        // Near the quota a tenth of it is enough, and 256 MiB are; else more than 100 MiB are free.
        let expected = (quota / 10).min(100 * MIB) / MIB;
        let floor = analysis.floor.unwrap() / MIB;
        assert!((expected - 1..=expected).contains(&floor), "{quota}: {floor} MiB");
        println!("{quota}: {floor} MiB by {} regions", analysis.regions);
    }
    // More than 100 MiB in use and as many and one more free.
    assert_eq!(first_firing(&rule, 8 * GIB, &limits()).map(|state| state.db_size), Some(200 * MIB + 3));
    assert_eq!(first_firing(&rule, 100 * MIB, &limits()).map(|state| state.db_size), Some(80 * MIB + 1));
}

#[test]
fn rules_as_people_write_them_are_decided() {
    for (rule, expected) in [
        (DEFAULT_RULE, &[][..]),
        ("", &["rule-always-true"]),
        ("true", &["rule-always-true"]),
        ("false", &["rule-never-true"]),
        ("dbSize >= 0", &["rule-always-true"]),
        ("dbSizeFree >= 0 || dbSize > 7", &["rule-always-true"]),
        ("dbSize > 80/100*dbQuota", &["rule-always-true", "rule-constant-suspect"]),
        ("dbQuotaUsage > 80/100", &["rule-always-true", "rule-constant-suspect"]),
        ("dbSize > 4096", &["rule-always-true"]),
        ("dbQuotaUsage > 80", &["rule-never-true", "rule-constant-suspect"]),
        ("dbQuotaUsage > 0.8", &["rule-futile"]),
        ("dbQuotaUsage > 0.95 && dbSizeFree > 32*1024*1024", &["rule-misses-quota"]),
        ("dbQuotaUsage > 0.9 && dbSizeFree > 32*1024*1024", &[]),
        ("dbSize > dbQuota*80/100 || dbSize - dbSizeInUse > 200*1024*1024", &["rule-futile"]),
        ("dbSize > dbQuota*80/100 && dbSize - dbSizeInUse > 200*1024*1024", &[]),
        ("dbSize - dbSizeInUse > 256*1024*1024", &[]),
        ("dbSize - dbSizeInUse > 257*1024*1024", &["rule-misses-quota"]),
        ("dbSizeFree > 100*1024*1024 && dbSizeFree / (dbSize + 1) > 0.01", &[]),
        ("dbSizeFree > 0.45 * dbSize && dbSizeFree > 100*1000*1000", &["rule-misses-quota"]),
        ("dbSizeInUse < 0.5 * dbSize", &["rule-misses-quota", "rule-futile"]),
        // A database has a size, so nothing is divided by zero: the rule is judged for what it asks.
        ("dbSizeInUse / dbSize <= 0.55", &["rule-misses-quota", "rule-futile"]),
        ("dbSizeInUse / dbSize <= 0.55 || dbQuotaUsage > 0.8", &["rule-futile"]),
        ("(dbSizeInUse / dbSize <= 0.55 || dbQuotaUsage > 0.8) && dbSizeFree > 32*1024*1024", &[]),
        ("dbSizeFree > 20*1024*1024*1024", &["rule-never-true", "rule-constant-suspect"]),
        ("dbQuotaUsage > 1.3 && dbSizeFree > 32*1024*1024", &["rule-never-true", "rule-constant-suspect"]),
        // A part that no database reaches is no reason to refuse the whole.
        (
            "dbSizeFree > 20*1024*1024*1024 || (dbQuotaUsage > 0.8 && dbSizeFree > 32*1024*1024)",
            &["rule-constant-suspect"],
        ),
        ("dbSize / dbSizeInUse > 2", &["rule-can-fail", "rule-misses-quota", "rule-futile"]),
        ("dbSize > 1024*1024*1024*1024", &["rule-never-true", "rule-constant-suspect"]),
        ("dbSize > dbQuota && dbSizeFree > 1024*1024", &["rule-misses-quota"]),
        ("dbSizeFree > 200*(2**20)", &[]),
        ("dbSizeFree > 200*2**20", &["rule-never-true", "rule-constant-suspect"]),
        ("dbSize > 0.8*2*1024*1024*1024 && dbSizeFree > 32*1024*1024", &["rule-constant-suspect"]),
        // A round size near the quota is nobody's share of another one.
        ("dbSize > 7*1024*1024*1024 && dbSizeFree > 256*1024*1024", &[]),
        ("dbSizeFree > 17179869184*1073741824", &["rule-futile", "rule-constant-suspect"]),
        ("dbSizeFree > 10000000000*10000000000", &["rule-never-true", "rule-constant-suspect"]),
        ("1/0 > 1", &["rule-can-fail"]),
    ] {
        assert_eq!(codes(rule), expected, "{rule}");
    }
}

#[test]
fn a_single_state_among_billions_is_found() {
    let state = |db_size| State { db_size, db_size_in_use: 0, quota: QUOTA };
    let needle = Some(12_345_679);
    let size = |verdict: Verdict| verdict.counterexample().map(|state| state.db_size);
    assert_eq!(size(analysed("1 / (dbSize - 12345679) < 99").never_fails), needle);
    assert_eq!(size(analysed("10 / ((dbSize << 0) - 12345679) >= -99").never_fails), needle);
    assert_eq!(size(analysed("10 % ((dbSize << 0) - 12345679) >= -99").never_fails), needle);
    let rule = "0 % (dbSize - 12345679) >= 0";
    assert_eq!(Rule::parse(rule).unwrap().evaluate(&state(12_345_679)), Ok(false));
    assert_eq!(analysed(rule).not_always_true, Verdict::Proven);
    assert_eq!(analysed("dbSize != 12345679").not_always_true, Verdict::Proven);
    assert_eq!(fires_above("dbSizeFree == 12345679"), needle);
    assert_eq!(analysed("dbSizeFree == 12345679.5").not_always_false.counterexample(), Some(state(QUOTA)));
}

#[test]
fn thresholds_and_floors_are_exact() {
    let floor = |rule| analysed(rule).floor;
    let rule = "dbQuotaUsage > 0.8 && dbSize - dbSizeInUse > 100*1024*1024";
    assert_eq!((fires_above(rule), floor(rule)), (Some(6_871_947_674), Some(100 * MIB)));
    assert_eq!((fires_above("dbQuotaUsage >= 0.5"), floor("dbQuotaUsage >= 0.5")), (Some(4 * GIB), None));
    assert_eq!(floor("dbSizeFree >= 0.1*dbSize && dbSize >= 500*1024*1024"), Some(50 * MIB));
    assert_eq!(floor("dbSizeFree / (dbSize+1) > 0.5 && dbSizeFree >= 3*1024*1024"), Some(3 * MIB));
    // Where the least size has neither nothing nor everything in use.
    for (rule, least) in [
        (DEFAULT_RULE, 200 * MIB + 3),
        ("dbSizeInUse / dbSize < 0.5 && dbSizeInUse > 100*1024*1024", 200 * MIB + 3),
        ("dbSizeFree > 0.45*dbSize && dbSizeInUse > 77*1024*1024", 140 * MIB + 2),
        ("dbSizeInUse > 1024*1024 && dbSizeFree > 2*1024*1024", 3 * MIB + 2),
    ] {
        assert_eq!(fires_above(rule), Some(least), "{rule}");
    }
    assert_eq!(fires_above("dbSizeFree > 20*1024*1024*1024"), None);
}

#[test]
fn an_undecided_rule_is_as_severe_as_the_policy_says() {
    let mut limits = limits();
    limits.unproven_rule = crate::defrag::policy::Reaction::Deny;
    let rule = "dbSizeFree * dbSizeInUse == 209715201";
    let findings = judge(rule, QUOTA, &limits, FIELD).findings;
    let undecided = findings.iter().find(|finding| finding.code == Code::RuleUndecided).unwrap();
    assert!(undecided.denies());
}

/// Thresholds: a share of the quota, bytes, a share of the file.
const fn thresholds(usage: Option<f64>, free: Option<u64>, share: Option<f64>) -> Thresholds {
    Thresholds { usage_above: usage, free_above: free, free_share_above: share }
}

#[test]
fn compiled_thresholds_are_proven() {
    let compiled = |usage, free, share| compile(thresholds(usage, free, share));
    insta::assert_snapshot!(
        [
            compiled(Some(0.8), Some(200 * MIB), None),
            compiled(Some(0.75), None, None),
            compiled(None, Some(GIB), None),
            compiled(None, Some(16 * MIB), None),
            compiled(None, None, None),
            compiled(None, Some(u64::MAX), None),
            compiled(Some(1e-7), Some(1025), None),
            compiled(None, None, Some(0.5)),
            compiled(Some(0.7), None, Some(0.45)),
            compiled(None, Some(GIB), Some(0.5)),
            compiled(Some(0.85), Some(GIB), Some(0.333)),
            compiled(Some(0.85), Some(32 * MIB), Some(1e-7)),
        ]
        .join("\n")
    );
    assert_eq!(compiled(None, None, None), DEFAULT_RULE);
    for usage in [None, Some(0.001), Some(0.5), Some(0.8), Some(0.9)] {
        for free in [None, Some(MIB), Some(32 * MIB), Some(33 * MIB), Some(200 * MIB), Some(GIB)] {
            for share in [None, Some(0.001), Some(0.45), Some(0.5), Some(0.999)] {
                for quota in [2 * GIB, 8 * GIB, 10_000_000_000] {
                    let text = compiled(usage, free, share);
                    let judged = judge(&text, quota, &limits(), FIELD);
                    assert!(judged.findings.is_empty(), "{text} at {quota}: {:?}", judged.findings);
                    let least =
                        if text == DEFAULT_RULE { judged.floor } else { Some(free.unwrap_or(32 * MIB).min(32 * MIB)) };
                    assert_eq!(judged.floor, least, "{text}");
                }
            }
        }
    }
    assert_eq!(codes(&compiled(Some(0.95), None, None)), ["rule-misses-quota"]);
    assert_eq!(codes(&compiled(None, Some(0), None)), ["rule-futile"]);
}

#[test]
fn no_part_of_compiled_thresholds_is_weaker_than_the_limits() {
    let limits = Limits { min_free: 64 * MIB, quota_ceiling: 0.7, ..limits() };
    let text = compile_within(thresholds(None, Some(GIB), Some(0.01)), &limits);
    insta::assert_snapshot!(text, @"dbSizeFree > 1024*1024*1024 || (dbSizeFree > 0.01*dbSize && dbSizeFree > 64*1024*1024) || (dbQuotaUsage > 0.7 && dbSizeFree > 64*1024*1024)");
    for share in [0.001, 0.01, 0.5, 0.9] {
        for free in [None, Some(100 * MIB), Some(GIB)] {
            let judged = judge(&compile_within(thresholds(None, free, Some(share)), &limits), QUOTA, &limits, FIELD);
            assert_eq!((judged.findings, judged.floor), (vec![], Some(64 * MIB)));
        }
    }
}

#[test]
fn extreme_quotas_do_no_harm() {
    for quota in [0, 1, 2, 4095, MIB, 1 << 53, 1 << 62, u64::MAX] {
        for rule in [DEFAULT_RULE, "dbSize > 1", "dbSizeInUse / dbSize < 0.5", "dbQuota > 5", ""] {
            let judged = judge(rule, quota, &limits(), FIELD);
            assert!(judged.rule.is_some());
            assert!(picture(&judged.rule.unwrap(), quota).lines().count() > 5);
        }
    }
}

#[test]
fn a_hint_repeats_no_line_breaks_and_no_control_characters() {
    for text in ["dbSize\n+ 1", "dbSize /* \u{1b}[2J"] {
        let error = Rule::parse(text).unwrap_err().to_string();
        assert!(!error.contains(char::is_control), "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_and_judged_without_panic(text in "\\PC{0,60}") {
        let _ = judged(&text);
    }

    #[test]
    fn any_words_are_read_and_judged_without_panic(words in prop::collection::vec(
        prop::sample::select(&["dbSize", "dbSizeFree", "dbQuotaUsage", "1", "0.5", "80/100", "+", "-", "*", "/", "%", "**",
            "<<", ">>", "&", "|", "^", "~", "&&", "||", "!", "==", "<", ">=", "(", ")", "?", ":", "true", "é", "/*"][..]), 0..14)
    ) {
        let _ = judged(&words.join(" "));
    }

    #[test]
    fn a_ratio_never_panics_and_stays_inside(text in "\\PC{0,12}|[0-9]{0,4}[.]?[0-9]{0,4}%?") {
        if let Ok(value) = crate::defrag::ratio::parse(&text) {
            prop_assert!(value > 0.0 && value < 1.0);
        }
    }

    #[test]
    fn columns_point_into_the_text(text in "[dbSizeFre><=&|()0-9. é\"%]{0,40}") {
        if let Err(error) = Rule::parse(&text) {
            prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
        }
    }
}
