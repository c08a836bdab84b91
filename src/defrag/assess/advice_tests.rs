//! Whatever a message says to write is accepted: applied as it stands, it makes the finding go away and brings no new refusal,
//! under the policy that governs.

mod beyond;
mod rules;

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::defrag::{
    finding::Severity,
    keys::{Key, PREFIX},
    policy::{DefragPolicy, PolicySet, compile},
    ratio,
};

fn now() -> Timestamp {
    "2026-11-24T00:00:00Z".parse().unwrap()
}

/// Policies whose limits leave out what the built-in ones accept.
fn policies() -> Vec<Value> {
    let night =
        json!({"from": "22:00", "to": "04:00", "days": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]});
    let rome = json!({"from": "02:15", "to": "05:00", "timeZone": "Europe/Rome"});
    let summer = json!({"from": "02:00", "to": "03:00", "timeZone": "Europe/Rome"});
    let sunday = json!({"from": "03:10", "to": "03:50", "days": ["Sunday"]});
    let limits = |value: Value| json!({"limits": value});
    vec![
        json!({}),
        limits(json!({"windows": [night]})),
        limits(json!({"windows": [rome]})),
        limits(json!({"windows": [summer]})),
        limits(json!({"windows": [sunday], "minInterval": "24h", "minIntervalWithoutFloor": "24h"})),
        limits(json!({"windows": [{"from": "01:00", "to": "03:00"}], "maxInterval": "26h"})),
        limits(json!({"minInterval": "150h", "minIntervalWithoutFloor": "150h"})),
        limits(
            json!({"windows": [{"from": "13:00", "to": "15:00"}], "minInterval": "168h", "minIntervalWithoutFloor": "168h"}),
        ),
        limits(json!({"quotaUsage": {"min": "50%", "max": "70%"}, "minFree": "1Gi"})),
        limits(json!({"quotaUsage": {"min": "33.33333333%", "max": "66.66666667%"}})),
        limits(json!({"minWaitBetweenMembers": "1m", "maxWaitBetweenMembers": "5m"})),
        limits(json!({"minCommandTimeout": "5m", "maxCommandTimeout": "10m"})),
        limits(json!({"minCommandTimeout": "1m30.5s"})),
    ]
}

fn governed(spec: &Value) -> Governing {
    let object: DefragPolicy = serde_json::from_value(json!({
        "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "p"}, "spec": spec,
    }))
    .unwrap();
    let none = std::collections::BTreeMap::new();
    PolicySet::new([std::sync::Arc::new(compile(&object, now()))]).govern(&none, &none)
}

/// Values that are refused, or warned about, under one of the policies.
fn values() -> Vec<(&'static str, &'static str)> {
    let of = |key: &'static str, values: &[&'static str]| values.iter().map(|value| (key, *value)).collect::<Vec<_>>();
    [
        of(
            "schedule",
            &[
                "",
                "*/5 * * * *",
                "0 12 * * *",
                "@every 1m",
                "@every 2h",
                "@every 10000h",
                "0 0 31 2 *",
                ", * * * *",
                "60 * * * *",
                "0 0 * *",
                "@Daily",
                "@dayly",
                "0 0 1 1 *",
                "0 3 1 * *",
                "30 2 * * *",
                "30 1 * * *",
                "0 */6 * * *",
                "* 1 * * 0",
                "0 25 * * *",
                "0 0 * * 7",
                "0 3 * * SUN-MON",
                "*/60 12 * * *",
                "H H * * *",
                "H/0 12 * * *",
                "15 3 * * 2",
                "H/7 * * * *",
                "H 12 * * *",
                "H/5 H(10-14) H * *",
                "H(0-31) 2 * * *",
                "@hourly",
            ],
        ),
        of(
            "time-zone",
            &[
                "Europe/Roma",
                "utc",
                "Europe/Rome",
                "America/New_York",
                "Rome",
                "Mars/Base",
                "Africa/Cairo",
                "Etc/GMT+25",
            ],
        ),
        of("quota-usage-above", &["80", "0.99", "99%", "5%", "eighty", " 0.8", "60", "33.3333%", "1", "8", "1.5"]),
        of("free-above", &["0", "100Ki", "1Mi", "200MB", "lots", "512Mi", "20Gi"]),
        of("free-share-above", &["0", "1", "50", "half", "101%", "99.9%", "5", "2.5"]),
        of("suspend", &["yes", "True", "0", "maybe"]),
        of("move-leader", &["off", "TRUE"]),
        of("compaction", &["yes", "no", "n"]),
        of("disalarm-below", &["90", "1", "x", "1.5", "8", "80%"]),
        of("wait-between-members", &["5", "1 minute", "0s", "25h", "2h", "-1s", "1d", "10"]),
        of("command-timeout", &["30", "59s", "1 minute", "3h", "26h", "20m", "90"]),
        of("service", &["Etcd"]),
        of("client-port", &["http"]),
        of("cluster-domain", &["."]),
        of("ca-secret", &["Ca", "ca:a,b"]),
        of("client-secret", &["c:a,a", "C", "c:a"]),
        of("username-secret", &["root", "root:a,a"]),
    ]
    .concat()
}

fn etcd(annotations: &[(&str, &str)]) -> Value {
    let mut object: Value = serde_saphyr::from_str(include_str!("../../../examples/kamaji-etcd.yaml")).unwrap();
    object["metadata"]["annotations"] = json!({});
    for (key, value) in annotations {
        object["metadata"]["annotations"][format!("{PREFIX}{key}")] = json!(value);
    }
    object
}

/// The same with this quota, in bytes.
fn etcd_of(quota: u64, annotations: &[(&str, &str)]) -> Value {
    let text = etcd(annotations).to_string();
    let with_quota = text.replace("bytes=8589934592", &format!("bytes={quota}"));
    assert!(quota == 8 << 30 || with_quota != text);
    serde_json::from_str(&with_quota).unwrap()
}

fn assessed(object: &Value, governing: &Governing) -> Vec<Finding> {
    let object = serde_json::from_value(object.clone()).unwrap();
    assess(&object, governing, &Surroundings::default(), now()).findings
}

/// The values that a message says to write, each with its key: those between quotation marks behind such words. Those that it
/// joins by "and" are one advice.
fn advised(finding: &Finding) -> Vec<Vec<(Key, String)>> {
    let mut advised: Vec<Vec<(Key, String)>> = Vec::new();
    let mut follows = false;
    let parts: Vec<&str> = finding.message.split('"').collect();
    for (before, value) in parts.iter().zip(parts.iter().skip(1)).step_by(2) {
        let before = before.trim_end();
        let named = Key::ALL.iter().find(|key| before.ends_with(&format!("{}:", key.annotation())));
        let leads = ["Write", "write", "for example", "such as", "Write a value such as"];
        follows =
            leads.iter().any(|lead| before.ends_with(lead)) || follows && before.trim_start_matches(',').trim() == "or";
        match (named, &finding.field, advised.last_mut()) {
            (Some(key), _, Some(last)) if before.starts_with(" and ") => last.push((*key, (*value).to_owned())),
            (Some(key), _, _) => advised.push(vec![(*key, (*value).to_owned())]),
            (None, Field::Annotation(key), _) if follows => advised.push(vec![(*key, (*value).to_owned())]),
            _ => {}
        }
    }
    // Shares stand without quotation marks.
    if let Field::Annotation(key @ (Key::QuotaUsageAbove | Key::FreeShareAbove | Key::DisalarmBelow)) = finding.field {
        let behind = finding.message.rsplit("rite ").next().unwrap_or_default();
        let words = behind.split_whitespace().map(|word| word.trim_end_matches(['.', ',']));
        advised.extend(words.filter(|word| ratio::parse(word).is_ok()).map(|word| vec![(key, word.to_owned())]));
    }
    advised
}

/// Whatever refuses, by code and place.
fn denials(findings: &[Finding]) -> BTreeSet<(Code, Field)> {
    let denied = findings.iter().filter(|finding| finding.severity == Severity::Deny);
    denied.map(|finding| (finding.code, finding.field.clone())).collect()
}

#[track_caller]
fn holds(annotations: &[(&str, &str)], governing: &Governing) -> usize {
    holds_of(&etcd(annotations), governing)
}

#[track_caller]
fn holds_of(object: &Value, governing: &Governing) -> usize {
    let annotations = &object["metadata"]["annotations"];
    let before = assessed(object, governing);
    let mut tried = 0;
    // What a rule should be is not for this test.
    for finding in before.iter().filter(|finding| finding.field != Key::Rule.field()) {
        for values in advised(finding) {
            let mut corrected = object.clone();
            for (key, value) in &values {
                corrected["metadata"]["annotations"][key.annotation()] = json!(value);
            }
            let after = assessed(&corrected, governing);
            let context = format!("{annotations}: {} advises {values:?}\n{after:#?}", finding.message);
            assert!(
                after.iter().all(|one| (one.code, &one.field) != (finding.code, &finding.field)),
                "stays: {context}"
            );
            let new: Vec<_> = denials(&after).difference(&denials(&before)).cloned().collect();
            assert!(new.is_empty(), "new {new:?}: {context}");
            tried += 1;
        }
    }
    tried
}

#[test]
fn each_advice_alone_is_accepted_under_each_policy() {
    let mut tried = 0;
    for spec in policies() {
        let governing = governed(&spec);
        for value in values() {
            tried += holds(&[value], &governing);
        }
    }
    assert!(tried > 500, "only {tried} values were advised");
}

/// An example of a time zone is accepted beside any schedule, although it is where the schedule will fire.
#[test]
fn the_example_of_a_time_zone_is_accepted_beside_any_schedule() {
    let schedules = values().into_iter().filter(|(key, _)| *key == "schedule");
    let mut tried = 0;
    for (spec, schedule) in policies().iter().flat_map(|spec| schedules.clone().map(move |schedule| (spec, schedule))) {
        let governing = governed(spec);
        for zone in [("time-zone", "Mars/Base"), ("time-zone", "Etc/GMT+25")] {
            tried += holds(&[schedule, zone], &governing);
        }
    }
    assert!(tried > 800, "only {tried} values were advised");
}

/// Not only is what is advised accepted: something is advised, wherever limits leave something.
#[test]
fn a_schedule_outside_of_windows_gets_one_inside() {
    for spec in policies() {
        let governing = governed(&spec);
        for (key, value) in values().into_iter().filter(|(key, _)| *key == "schedule") {
            let found = assessed(&etcd(&[(key, value)]), &governing);
            let of_schedule = |finding: &&Finding| finding.field == Key::Schedule.field() && finding.denies();
            for finding in found.iter().filter(of_schedule) {
                assert!(!advised(finding).is_empty(), "{spec} {value}: {}", finding.message);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn advice_is_accepted_beside_others(
        policy in proptest::sample::select(policies()),
        several in proptest::sample::subsequence(values(), 2..4),
    ) {
        let distinct: std::collections::BTreeMap<&str, &str> = several.into_iter().collect();
        let annotations: Vec<(&str, &str)> = distinct.into_iter().collect();
        holds(&annotations, &governed(&policy));
    }
}

/// The finding of a code, its message.
#[track_caller]
fn message_of(found: &[Finding], code: Code) -> &str {
    &found.iter().find(|finding| finding.code == code).unwrap_or_else(|| panic!("{code:?} in {found:#?}")).message
}

/// Windows by another clock: the way out is that clock, and not the one day of the year on which both agree.
#[test]
fn windows_in_a_zone_are_kept_by_a_schedule_in_that_zone() {
    let windows = |more: Value| {
        let mut limits = json!({"windows": [{"from": "02:00", "to": "03:00", "timeZone": "Europe/Rome"}]});
        limits.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        governed(&json!({"limits": limits, "defaults": {"timeZone": "Etc/UTC"}}))
    };
    let advice = |schedule: &str, governing: &Governing| {
        message_of(&assessed(&etcd(&[("schedule", schedule)]), governing), Code::ScheduleOutsideWindow).to_owned()
    };
    let free = windows(json!({}));
    for (schedule, wanted) in [("0 0 * * *", "0 2 * * *"), ("17 3 * * *", "17 2 * * *"), ("30 2 * * *", "30 2 * * *")] {
        let advice = advice(schedule, &free);
        let expected = format!("Write for example \"{wanted}\" and etcd-defrag.io/time-zone: \"Europe/Rome\", ");
        assert!(advice.contains(&expected), "{schedule}: {advice}");
    }
    let locked = advice("0 0 * * *", &windows(json!({"lockedKeys": ["time-zone"]})));
    assert!(!locked.contains("Europe/Rome\", "), "{locked}");
}

/// Who wrote a threshold has no rule to change.
#[test]
fn advice_on_thresholds_is_for_thresholds() {
    let strict = governed(&json!({"limits": {"futileRule": "Deny"}}));
    let found = assessed(&etcd(&[("free-above", "100Ki")]), &strict);
    assert!(message_of(&found, Code::RuleFutile).ends_with("Write \"32Mi\" or more."), "{found:#?}");
    let small = etcd_of(16 << 20, &[("free-share-above", "50%")]);
    let found = assessed(&small, &strict);
    assert!(message_of(&found, Code::RuleNeverTrue).contains("etcd-defrag.io/free-above: \"2Mi\""), "{found:#?}");
    assert!(found.iter().all(|finding| finding.code != Code::RuleConstantSuspect), "{found:#?}");
    assert!(holds_of(&small, &strict) > 0 && holds(&[("free-above", "100Ki")], &strict) > 0);
}

/// A policy that asks every run for more than there can be is refused where it governs, whatever the trigger is.
#[test]
fn a_minimum_that_no_database_reaches_is_never_true() {
    for (least, quota, expected) in [("2Gi", 2, true), ("9Gi", 8, true), ("1Gi", 2, false), ("0", 2, false)] {
        let governing = governed(&json!({"limits": {"minFree": least}}));
        for trigger in [None, Some(("free-share-above", "50%")), Some(("rule", "dbSizeFree > 1024*1024*1024"))] {
            let annotations: Vec<_> = trigger.into_iter().collect();
            let found = assessed(&etcd_of(quota << 30, &annotations), &governing);
            let denied = found.iter().any(|finding| finding.code == Code::RuleNeverTrue && finding.denies());
            assert_eq!(denied, expected, "{least} of {quota} GiB, {trigger:?}: {found:#?}");
        }
    }
}

/// What is accepted where single members are refused is named there.
#[test]
fn advice_on_a_single_member_depends_on_the_policy() {
    let advice = |reaction: &str| {
        let mut object = etcd(&[]);
        object["spec"]["replicas"] = json!(1);
        let found = assessed(&object, &governed(&json!({"limits": {"singleMember": reaction}})));
        message_of(&found, Code::SingleMember).to_owned()
    };
    assert!(advice("Warn").contains("or schedule runs for a time"));
    let denied = advice("Deny");
    assert!(denied.contains("ask the owners of the policy") && !denied.contains("schedule"), "{denied}");
}

/// What has the number of members in the endpoints, says so.
#[test]
fn an_even_number_of_endpoints_is_not_that_of_replicas() {
    let urls: Vec<String> = (0..4).map(|number| format!("https://m{number}.example:2379")).collect();
    let found = assessed(&etcd(&[("endpoints", &urls.join(","))]), &governed(&json!({})));
    let even = found.iter().find(|finding| finding.code == Code::EvenMembers).unwrap();
    assert!(even.message.starts_with("etcd-defrag.io/endpoints has 4 URLs: "), "{}", even.message);
    assert_eq!(even.field, Key::Endpoints.field());
}

/// What is locked to a value may be written as that value, in any way, and an address as it is discovered.
#[test]
fn locked_keys_may_repeat_what_they_are_locked_to() {
    let keys = ["free-share-above", "endpoints", "service", "command-timeout"];
    let defaults = json!({"freeShareAbove": "50%", "commandTimeout": "3m"});
    let governing = governed(&json!({"defaults": defaults, "limits": {"lockedKeys": keys}}));
    let object = etcd(&[]);
    let sts: StatefulSet = serde_json::from_value(object).unwrap();
    let discovered = etcd::discover(&sts, &Overrides::default()).etcd.unwrap();
    let (service, mut urls) = (discovered.service, discovered.endpoints);
    let all = urls.join(",");
    urls.reverse();
    let reversed = urls.join(", ");
    urls.pop();
    let fewer = urls.join(",");
    for (key, value, locked) in [
        ("free-share-above", "0.5", false),
        ("free-share-above", "0.4", true),
        ("command-timeout", "180s", false),
        ("service", service.as_str(), false),
        ("service", "other", true),
        ("endpoints", all.as_str(), false),
        ("endpoints", reversed.as_str(), false),
        ("endpoints", fewer.as_str(), true),
        ("endpoints", "https://evil.example:2379", true),
    ] {
        let found = assessed(&self::etcd(&[(key, value)]), &governing);
        assert_eq!(found.iter().any(|finding| finding.code == Code::KeyLocked), locked, "{key} {value}: {found:#?}");
    }
}

/// What a policy locks is not advised without whom to ask.
#[test]
fn advice_on_a_locked_key_names_whom_to_ask() {
    let governing = governed(&json!({"limits": {"lockedKeys": ["endpoints", "service"]}}));
    let mut object = etcd(&[("endpoints", "https://a.example:2379")]);
    object["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["/start.sh"]);
    let found = assessed(&object, &governing);
    let of = |code: Code| found.iter().find(|finding| finding.code == code).unwrap();
    assert!(of(Code::KeyLocked).message.ends_with("Remove the annotation, or ask the owners of the policy."));
    let unknown = of(Code::EndpointsUnknown);
    assert!(unknown.message.contains("locks endpoints: ask its owners"), "{}", unknown.message);
    assert!(!unknown.brief.contains("set "), "{}", unknown.brief);
    let free = assessed(&object, &governed(&json!({})));
    assert!(free.iter().all(|finding| !finding.message.contains("ask the owners")), "{free:#?}");
}

/// A run goes to all members that endpoints name, and may take as long, whatever the replicas of this StatefulSet are.
#[test]
fn the_length_of_a_run_counts_the_members_that_endpoints_name() {
    let governing = governed(&json!({"limits": {"maxDeadline": "30m"}}));
    let is_too_long = |count: usize| {
        let urls: Vec<String> = (0..count).map(|number| format!("https://m{number}.example:2379")).collect();
        let mut object = etcd(&[("endpoints", &urls.join(",")), ("command-timeout", "5m"), ("quota", "8Gi")]);
        object["spec"]["replicas"] = json!(1);
        object["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["/start.sh"]);
        assessed(&object, &governing).iter().any(|finding| finding.code == Code::DeadlineTooLong)
    };
    assert_eq!([1, 3, 5].map(is_too_long), [false, false, true]);
}
