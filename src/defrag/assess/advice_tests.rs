//! Whatever a message says to write is accepted: applied as it stands, it makes the finding go away and brings no new refusal,
//! under the policy that governs.

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
    let sunday = json!({"from": "03:10", "to": "03:50", "days": ["Sunday"]});
    let limits = |value: Value| json!({"limits": value});
    vec![
        json!({}),
        limits(json!({"windows": [night]})),
        limits(json!({"windows": [rome]})),
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
                "@hourly",
            ],
        ),
        of(
            "time-zone",
            &["Europe/Roma", "utc", "Europe/Rome", "America/New_York", "Rome", "Mars/Base", "Africa/Cairo"],
        ),
        of("quota-usage-above", &["80", "0.99", "99%", "5%", "eighty", " 0.8", "60", "33.3333%", "1"]),
        of("free-above", &["0", "1Mi", "200MB", "lots", "512Mi", "20Gi"]),
        of("free-share-above", &["0", "1", "50", "half", "101%", "99.9%"]),
        of("suspend", &["yes", "True", "0", "maybe"]),
        of("move-leader", &["off", "TRUE"]),
        of("compaction", &["yes", "no", "n"]),
        of("disalarm-below", &["90", "1", "x"]),
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

fn assessed(object: &Value, governing: &Governing) -> Vec<Finding> {
    let object = serde_json::from_value(object.clone()).unwrap();
    assess(&object, governing, &Surroundings::default(), now()).findings
}

/// The values that a message says to write, each with its key: those between quotation marks behind such words.
fn advised(finding: &Finding) -> Vec<(Key, String)> {
    let mut advised = Vec::new();
    let mut follows = false;
    let parts: Vec<&str> = finding.message.split('"').collect();
    for (before, value) in parts.iter().zip(parts.iter().skip(1)).step_by(2) {
        let before = before.trim_end();
        let named = Key::ALL.iter().find(|key| before.ends_with(&format!("{}:", key.annotation())));
        let leads = ["Write", "write", "for example", "such as", "Write a value such as"];
        follows =
            leads.iter().any(|lead| before.ends_with(lead)) || follows && before.trim_start_matches(',').trim() == "or";
        match (named, &finding.field) {
            (Some(key), _) => advised.push((*key, (*value).to_owned())),
            (None, Field::Annotation(key)) if follows => advised.push((*key, (*value).to_owned())),
            _ => {}
        }
    }
    // Shares stand without quotation marks.
    if let Field::Annotation(key @ (Key::QuotaUsageAbove | Key::FreeShareAbove | Key::DisalarmBelow)) = finding.field {
        let behind = finding.message.rsplit("rite ").next().unwrap_or_default();
        let words = behind.split_whitespace().map(|word| word.trim_end_matches(['.', ',']));
        advised.extend(words.filter(|word| ratio::parse(word).is_ok()).map(|word| (key, word.to_owned())));
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
    let object = etcd(annotations);
    let before = assessed(&object, governing);
    let mut tried = 0;
    // What a rule should be is not for this test.
    for finding in before.iter().filter(|finding| finding.field != Key::Rule.field()) {
        for (key, value) in advised(finding) {
            let mut corrected = object.clone();
            corrected["metadata"]["annotations"][key.annotation()] = json!(value);
            let after = assessed(&corrected, governing);
            let context = format!("{annotations:?}: {} advises {value:?}\n{after:#?}", finding.message);
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

/// What a policy locks is not advised without whom to ask.
#[test]
fn advice_on_a_locked_key_names_whom_to_ask() {
    let governing = governed(&json!({"limits": {"lockedKeys": ["endpoints", "service"]}}));
    let mut object = etcd(&[("endpoints", "https://a.example:2379")]);
    object["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["/start.sh"]);
    let found = assessed(&object, &governing);
    let of = |code: Code| found.iter().find(|finding| finding.code == code).unwrap();
    assert!(of(Code::KeyLocked).message.ends_with("Remove the annotation, or ask those who keep the policy."));
    let unknown = of(Code::EndpointsUnknown);
    assert!(unknown.message.contains("locks endpoints: ask those who keep it"), "{}", unknown.message);
    assert!(!unknown.brief.contains("set "), "{}", unknown.brief);
    let free = assessed(&object, &governed(&json!({})));
    assert!(free.iter().all(|finding| !finding.message.contains("ask those who keep")), "{free:#?}");
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
