use std::fmt::Write as _;

use super::*;
use crate::defrag::{
    quantity::GIB,
    settings::{parse_defaults, parse_given},
};

const HOUR: u64 = 3600;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What is found of a run with these settings, in seconds; 0 for none.
fn found(policy: &Policy, members: u32, quota: Option<u64>, timeout: &str, wait: &str) -> Vec<Finding> {
    let mut given = Given::new();
    for (key, value) in [(Key::CommandTimeout, timeout), (Key::WaitBetweenMembers, wait)] {
        if !value.is_empty() {
            given.insert(key, value.to_owned());
        }
    }
    let (settings, _) = parse_given(&given, &policy.limits);
    Bounds::of(policy).judge(Run { settings: &settings, given: &given, members, quota }, Place::Annotations)
}

fn codes(findings: &[Finding]) -> Vec<(&str, String)> {
    findings.iter().map(|one| (one.code.as_str(), one.field.to_string())).collect()
}

fn is_accepted(policy: &Policy, members: u32, quota: u64, timeout: &str, wait: &str) -> bool {
    found(policy, members, Some(quota), timeout, wait).is_empty()
}

#[test]
fn the_longest_are_an_hour_or_thrice_what_scales_half_an_hour_and_twelve_hours() {
    let policy = Policy::built_in();
    let accepted = |members, gib: u64, timeout, wait| is_accepted(&policy, members, gib * GIB, timeout, wait);
    assert!(accepted(3, 2, "1h", "30m") && !accepted(3, 2, "1h0m1s", "") && !accepted(3, 2, "", "30m1s"));
    // 30 s for each GiB, and thrice that.
    assert!(accepted(3, 40, "1h", "") && !accepted(3, 40, "1h0m1s", ""));
    assert!(accepted(3, 60, "90m", "") && !accepted(3, 60, "90m1s", ""));
    // Seven members, and once more: 8 times an hour and half an hour are 12 h, without the slack.
    assert!(!accepted(7, 2, "1h", "30m") && accepted(7, 2, "1h", "29m"));
    assert!(accepted(0, 2, "1h", "30m"), "without members there is no run");
}

#[test]
fn a_policy_says_otherwise_and_what_scales_is_never_too_long_by_itself() {
    let mut policy = Policy::built_in();
    policy.limits.max_command_timeout = Some(seconds(600));
    policy.limits.max_wait = Some(seconds(60));
    assert!(is_accepted(&policy, 3, GIB, "10m", "60s"));
    assert!(!is_accepted(&policy, 3, GIB, "10m1s", "") && !is_accepted(&policy, 3, GIB, "", "61s"));
    // 50 GiB take 1500 s.
    assert!(is_accepted(&policy, 3, 50 * GIB, "", "") && is_accepted(&policy, 3, 50 * GIB, "25m", ""));
    assert!(!is_accepted(&policy, 3, 50 * GIB, "25m1s", ""));
    policy.limits.max_deadline = seconds(HOUR);
    assert_eq!(codes(&found(&policy, 3, Some(50 * GIB), "", "")), [("deadline-too-long", "spec.template".to_owned())]);
    assert!(is_accepted(&policy, 3, GIB, "10m", ""));
}

#[test]
fn what_the_policy_gives_is_not_too_long_where_it_names_no_limit() {
    let mut policy = Policy::built_in();
    policy.defaults.insert(Key::CommandTimeout, "2h".to_owned());
    policy.defaults.insert(Key::WaitBetweenMembers, "45m".to_owned());
    assert!(is_accepted(&policy, 3, GIB, "2h", "45m"));
    assert!(!is_accepted(&policy, 3, GIB, "2h1s", "") && !is_accepted(&policy, 3, GIB, "", "45m1s"));
    let mut policy = Policy::built_in();
    policy.limits.min_wait = seconds(HOUR);
    assert!(is_accepted(&policy, 3, GIB, "", "1h"), "the shortest is never too long");
}

#[test]
fn without_a_quota_only_the_wait_is_judged() {
    let policy = Policy::built_in();
    assert_eq!(found(&policy, 3, None, "24h", ""), []);
    assert_eq!(found(&policy, 3, None, "24h", "1h").len(), 1);
}

#[test]
fn what_makes_a_run_too_long_is_named() {
    let policy = Policy::built_in();
    let long = |members, gib: u64, timeout, wait| {
        let found = found(&policy, members, Some(gib * GIB), timeout, wait);
        codes(&found).into_iter().map(|(code, at)| format!("{code} {at}")).collect::<Vec<_>>().join(" ")
    };
    let at = |key: Key| format!("deadline-too-long {}", key.field());
    assert_eq!(long(7, 60, "90m", ""), at(Key::CommandTimeout));
    assert_eq!(long(7, 100, "61m", "30m"), at(Key::WaitBetweenMembers));
    assert_eq!(long(3, 1024, "", ""), "deadline-too-long spec.template");
    assert_eq!(long(3, u64::MAX / GIB, "", ""), "deadline-too-long spec.template");
}

/// The attack: a Job of four days.
#[test]
fn the_messages_say_what_to_write_instead() {
    let mut page = String::new();
    let policy = Policy::built_in();
    let mut short = Policy::built_in();
    short.limits.max_deadline = seconds(1200);
    for (policy, members, gib, timeout, wait) in [
        (&policy, 3, 2, "24h", "24h"),
        (&policy, 7, 60, "90m", ""),
        (&policy, 7, 100, "61m", "30m"),
        (&policy, 3, 1024, "", ""),
        (&short, 7, 2, "", "10m"),
        (&short, 15, 2, "", ""),
    ] {
        let found = found(policy, members, Some(gib * GIB), timeout, wait);
        let _ = writeln!(page, "{members} members, {gib} GiB, time-out {timeout:?}, wait {wait:?}");
        for one in found {
            assert!(one.brief.chars().count() <= 120 && one.denies() && one.code.is_limit());
            let _ = writeln!(page, "  {}\n  {}: {}", one.brief, one.field, one.message);
        }
        page.push('\n');
    }
    insta::assert_snapshot!(page);
}

#[test]
fn a_time_out_that_is_advised_is_accepted() {
    let policy = Policy::built_in();
    for members in 1..=9 {
        for gib in [2_u64, 64, 200, 1024] {
            let fits = Bounds::of(&policy).fitting(members, DEFAULT_WAIT).unwrap();
            let written = fits.min(Bounds::of(&policy).longest_timeout(gib * GIB));
            let findings = found(&policy, members, Some(gib * GIB), &duration::format_go(written), "");
            // Where the deadline leaves less than a full database takes, only that is said.
            let (tight, others): (Vec<_>, Vec<_>) =
                findings.into_iter().partition(|one| one.code == Code::CommandTimeoutTight);
            assert_eq!(others, [], "{members} members, {gib} GiB");
            assert!(tight.iter().all(|one| one.message.contains("longer maxDeadline")), "{tight:?}");
        }
    }
}

#[test]
fn the_defaults_of_a_policy_are_judged_at_their_own_place() {
    let limits = Limits { max_command_timeout: Some(seconds(600)), ..Policy::built_in().limits };
    let values = Given::from([(Key::CommandTimeout, "11m".to_owned())]);
    let (settings, _) = parse_defaults(&values, &limits);
    let run = Run { settings: &settings, given: &values, members: 3, quota: Some(GIB) };
    let found = Bounds::new(&limits, 300, &values).judge(run, Place::Policy);
    assert_eq!(codes(&found), [("command-timeout-too-long", "spec.defaults.commandTimeout".to_owned())]);
}

/// The time-out that scales is three times what a member may take; a time-out that a person sets may be shorter than that.
#[test]
fn a_time_out_under_what_a_full_database_takes_is_warned_about() {
    let policy = Policy::built_in();
    let tight = |policy: &Policy, gib: u64, timeout: &str| {
        let findings = found(policy, 3, Some(gib * GIB), timeout, "");
        assert!(findings.iter().all(|one| !one.denies()), "{findings:?}");
        !findings.is_empty()
    };
    // 10 s for each GiB.
    assert!(tight(&policy, 8, "79s") && tight(&policy, 8, "60s") && !tight(&policy, 8, "80s"));
    assert!(tight(&policy, 32, "60s") && !tight(&policy, 32, "320s") && !tight(&policy, 6, "60s"));
    for gib in [1, 2, 8, 64, 300] {
        assert!(!tight(&policy, gib, ""), "the one that scales is long enough");
    }
    let mut slow = Policy::built_in();
    slow.limits.seconds_per_gib = 60;
    assert!(tight(&slow, 8, "7m59s") && !tight(&slow, 8, "8m"));
    assert_eq!(found(&slow, 3, None, "60s", ""), [], "without a quota nothing is known");
    assert_eq!(codes(&found(&policy, 3, Some(GIB * 13 / 2), "60s", "")).len(), 1, "65 s");
}

/// What is advised against a time-out that is too short is accepted.
#[test]
fn a_longer_time_out_that_is_advised_is_accepted() {
    for seconds_per_gib in [1, 10, 60, 600] {
        let mut policy = Policy::built_in();
        policy.limits.seconds_per_gib = seconds_per_gib;
        for (members, gib) in [(1, 8), (3, 8), (5, 20), (7, 64), (3, 200)] {
            let first = found(&policy, members, Some(gib * GIB), "60s", "");
            let Some(tight) = first.iter().find(|one| one.code == Code::CommandTimeoutTight) else { continue };
            let advised = tight.message.split("Write \"").nth(1).and_then(|rest| rest.split('"').next());
            let written = advised.map_or_else(String::new, str::to_owned);
            if advised.is_none() {
                assert!(tight.message.contains("longer maxDeadline"), "{}", tight.message);
                continue;
            }
            let again = found(&policy, members, Some(gib * GIB), &written, "");
            assert_eq!(again, [], "{members} members, {gib} GiB, {seconds_per_gib} s: {written}");
        }
    }
}

#[test]
fn what_to_write_for_a_time_out_that_is_too_short() {
    let mut page = String::new();
    let built_in = Policy::built_in();
    let mut slow = Policy::built_in();
    slow.limits.seconds_per_gib = 600;
    let mut given = Policy::built_in();
    given.defaults.insert(Key::CommandTimeout, "60s".to_owned());
    let mut locked = given.clone();
    locked.limits.locked.insert(Key::CommandTimeout);
    let mut short = Policy::built_in();
    short.limits.max_deadline = seconds(600);
    let mut capped = Policy::built_in();
    capped.limits.max_command_timeout = Some(seconds(70));
    for (what, policy, gib) in [
        ("an annotation", &built_in, 8),
        ("slow storage", &slow, 8),
        ("the default of the policy", &given, 8),
        ("a locked key", &locked, 8),
        ("a deadline that leaves no room", &short, 16),
        ("a longest time-out, which does not bind what scales", &capped, 8),
    ] {
        let _ = writeln!(page, "{what}");
        for one in found(policy, 3, Some(gib * GIB), "60s", "") {
            let _ = writeln!(page, "  {}\n  {}: {}", one.brief, one.field, one.message);
        }
    }
    let limits = Limits { seconds_per_gib: 60, max_command_timeout: Some(seconds(90)), ..built_in.limits };
    let values = Given::from([(Key::CommandTimeout, "60s".to_owned())]);
    let (settings, _) = parse_defaults(&values, &limits);
    let run = Run { settings: &settings, given: &values, members: 3, quota: Some(2 * GIB) };
    let _ = writeln!(page, "a default of a policy with a longest time-out");
    for one in Bounds::new(&limits, 300, &values).judge(run, Place::Policy) {
        let _ = writeln!(page, "  {}\n  {}: {}", one.brief, one.field, one.message);
    }
    insta::assert_snapshot!(page);
}
