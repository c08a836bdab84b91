use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{api::LockableKey, *};
use crate::defrag::{Assessment, Enrollment, Surroundings, assess, statefulset::StatefulSet};

pub(super) fn now() -> Timestamp {
    "2026-11-24T00:00:00Z".parse().unwrap()
}

pub(super) fn compiled(spec: &Value) -> Compiled {
    let object: DefragPolicy = serde_json::from_value(json!({
        "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "p"}, "spec": spec,
    }))
    .unwrap();
    compile(&object, now())
}

/// The policy of a spec in which nothing is wrong.
pub(super) fn policy(spec: &Value) -> Policy {
    let compiled = compiled(spec);
    assert_eq!(compiled.findings, [], "{spec}");
    (*compiled.policy).clone()
}

fn etcd(labels: &Value, annotations: &Value) -> StatefulSet {
    let mut object: Value = serde_saphyr::from_str(include_str!("../../../examples/kamaji-etcd.yaml")).unwrap();
    object["metadata"]["labels"] = labels.clone();
    object["metadata"]["annotations"] = json!({});
    for (key, value) in annotations.as_object().into_iter().flatten() {
        object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn resolve(object: &StatefulSet, policy: &Policy) -> Assessment {
    assess(object, &Governing::of(policy.clone()), &Surroundings::default(), now())
}

fn assessed(annotations: &Value, policy: &Policy) -> Assessment {
    resolve(&etcd(&json!({"etcd-defrag.io/enabled": "true"}), annotations), policy)
}

fn codes(assessment: &Assessment) -> Vec<&str> {
    assessment.denials().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn an_empty_policy_is_the_built_in_one() {
    assert_eq!(policy(&json!({})), Policy::built_in());
}

#[test]
fn every_field_reaches_its_place() {
    insta::assert_debug_snapshot!(policy(&json!({
        "priority": 10,
        "enrollment": "All",
        "allowOptOut": true,
        "validationActions": ["Warn", "Audit"],
        "defaults": {
            "schedule": "H H(0-3) * * *", "timeZone": "Etc/UTC", "quotaUsageAbove": "75%", "freeAbove": "1Gi",
            "freeShareAbove": "0.45", "suspend": false, "moveLeader": false, "autoDisalarm": true, "disalarmBelow": "0.85", "compaction": false,
            "waitBetweenMembers": "1m", "commandTimeout": "5m", "clientPort": 2379, "clusterDomain": "cluster.local",
            "caSecret": "etcd-ca", "clientSecret": "etcd-client:tls.crt,tls.key", "usernameSecret": "root:user,pass",
        },
        "limits": {
            "minInterval": "20h", "minIntervalWithoutFloor": "24h", "maxInterval": "168h",
            "windows": [
                {"days": ["Monday", "Friday"], "from": "22:00", "to": "04:30"},
                {"from": "00:00", "to": "24:00", "timeZone": "Etc/UTC"},
            ],
            "quotaUsage": {"min": "50%", "max": "0.85"}, "minFree": "64Mi", "minWaitBetweenMembers": "30s",
            "minCommandTimeout": "2m", "maxCommandTimeout": "2h", "maxWaitBetweenMembers": "10m", "maxDeadline": "8h",
            "secondsPerGiB": 30, "suggestedQuota": "16Gi",
            "volume": {"refuseBelowPercent": 150, "warnBelowPercent": 300},
            "singleMember": "Deny", "evenMembers": "Allow", "unprovenRule": "Deny", "futileRule": "Deny",
            "aboveSuggestedQuota": "Allow", "eagerLivenessProbe": "Deny", "unknownVersion": "Allow",
            "redundantCompaction": "Deny", "rivalDefragmenter": "Deny", "lockedKeys": ["time-zone", "rule"],
        },
        "job": {"resources": {"requests": {"cpu": "0.5"}, "limits": {"memory": "1024Mi"}}, "failureBudget": 3},
    })));
}

/// A limit beside one that is absent: the absent one gives way.
#[test]
fn limits_that_are_absent_follow_their_neighbours() {
    let limits = |written: serde_json::Value| {
        let compiled = compiled(&json!({"limits": written}));
        assert_eq!(compiled.findings, [], "{written}");
        let limits = &compiled.policy.limits;
        (limits.min_interval_without_floor.as_secs() / 3600, limits.volume_warned_below)
    };
    assert_eq!(limits(json!({})), (1, 200));
    assert_eq!(limits(json!({"minInterval": "6h"})), (6, 200));
    assert_eq!(limits(json!({"minInterval": "5m"})), (1, 200));
    assert_eq!(limits(json!({"minInterval": "6h", "minIntervalWithoutFloor": "8h"})), (8, 200));
    assert_eq!(limits(json!({"volume": {"refuseBelowPercent": 300}})), (1, 300));
    assert_eq!(limits(json!({"volume": {"refuseBelowPercent": 50}})), (1, 200));
}

#[test]
fn what_is_wrong_in_words_that_help() {
    let mut page = String::new();
    for spec in [
        json!({"validationActions": []}),
        json!({"validationActions": ["Deny", "Warn"]}),
        json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
        json!({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}}),
        json!({"defaults": {"schedule": "0 25 * * *"}}),
        json!({"defaults": {"schedule": "0 0 31 2 *"}}),
        json!({"defaults": {"schedule": "*/5 * * * *"}}),
        json!({"defaults": {"timeZone": "cet"}}),
        json!({"defaults": {"timeZone": "Mars/Base"}}),
        json!({"defaults": {"rule": "dbSize >"}}),
        json!({"defaults": {"rule": "dbQuotaUsage > 80"}}),
        json!({"defaults": {"rule": "dbSizeFree > 0", "freeAbove": "1Gi"}}),
        json!({"defaults": {"quotaUsageAbove": "80"}}),
        json!({"defaults": {"quotaUsageAbove": "95%"}}),
        json!({"defaults": {"freeAbove": "much"}}),
        json!({"defaults": {"freeAbove": "20Gi"}}),
        json!({"defaults": {"freeShareAbove": "50"}}),
        json!({"defaults": {"rule": "dbSizeFree > 0", "freeShareAbove": "50%"}}),
        json!({"defaults": {"disalarmBelow": "100%"}}),
        json!({"defaults": {"waitBetweenMembers": "30"}}),
        json!({"defaults": {"commandTimeout": "10s"}}),
        json!({"defaults": {"clientPort": 0}}),
        json!({"defaults": {"clusterDomain": ".local"}}),
        json!({"defaults": {"caSecret": "A"}}),
        json!({"limits": {"minInterval": "10 minutes"}}),
        json!({"limits": {"minInterval": "2h", "minIntervalWithoutFloor": "1h"}}),
        json!({"limits": {"minFree": "9Gi"}}),
        json!({"limits": {"minInterval": "48h", "minIntervalWithoutFloor": "48h"}}),
        json!({"limits": {"maxInterval": "5m"}}),
        json!({"limits": {"maxInterval": "12h"}}),
        json!({"limits": {"windows": [{"from": "1:00", "to": "04:00"}]}}),
        json!({"limits": {"windows": [{"from": "04:00", "to": "04:00"}]}}),
        json!({"limits": {"windows": [{"from": "22:00", "to": "25:00"}]}}),
        json!({"limits": {"windows": [{"from": "22:00", "to": "04:00", "timeZone": "Europe/Roma"}]}}),
        json!({"limits": {"windows": [{"from": "01:00", "to": "04:00"}]}}),
        json!({"limits": {"windows": [{"from": "01:00", "to": "04:00"}]}, "defaults": {"schedule": "0 H * * *"}}),
        json!({"limits": {"quotaUsage": {"min": "90%", "max": "80%"}}}),
        json!({"limits": {"quotaUsage": {"max": "120%"}}}),
        json!({"limits": {"minFree": "lots"}}),
        json!({"limits": {"minFree": "1Gi"}, "defaults": {"freeAbove": "512Mi"}}),
        json!({"limits": {"minFree": "1Gi"}, "defaults": {"rule": "dbSizeFree > 512*1024*1024"}}),
        json!({"limits": {"minWaitBetweenMembers": "1m"}, "defaults": {"waitBetweenMembers": "30s"}}),
        json!({"limits": {"maxCommandTimeout": "1h", "minCommandTimeout": "2h"}}),
        json!({"limits": {"maxCommandTimeout": "long"}}),
        json!({"limits": {"maxCommandTimeout": "5m"}, "defaults": {"commandTimeout": "6m"}}),
        json!({"limits": {"maxWaitBetweenMembers": "30s", "minWaitBetweenMembers": "1m"}}),
        json!({"limits": {"maxWaitBetweenMembers": "1m"}, "defaults": {"waitBetweenMembers": "2m"}}),
        json!({"limits": {"maxDeadline": "half a day"}}),
        json!({"limits": {"maxDeadline": "5m"}}),
        json!({"defaults": {"commandTimeout": "4h"}}),
        json!({"limits": {"secondsPerGiB": 0}}),
        json!({"limits": {"lockedKeys": ["time-zone", "free-above"]}}),
        json!({"job": {"resources": {"limits": {"memory": "lots"}}}}),
        json!({"job": {"startingDeadlineSeconds": 1, "failureBudget": 0}}),
    ] {
        let compiled = compiled(&spec);
        assert!(!compiled.is_valid(), "{spec} was accepted");
        let _ = writeln!(page, "{spec}");
        for finding in &compiled.findings {
            assert!(finding.field.to_string().starts_with("spec."), "{finding:?}");
            let _ = writeln!(page, "  {}\n  {}: {}", finding.brief, finding.field, finding.message);
        }
        page.push('\n');
    }
    insta::assert_snapshot!(page);
}

#[test]
fn a_value_that_cannot_be_understood_takes_the_built_in_one() {
    let built_in = Policy::built_in();
    let broken = compiled(&json!({
        "defaults": {"schedule": "often", "timeZone": "cet", "rule": "?", "clientPort": 0, "commandTimeout": "2m"},
        "limits": {"minInterval": "x", "maxInterval": "1m", "quotaUsage": {"max": "x"}, "singleMember": "Deny"},
    }));
    assert!(!broken.is_valid());
    assert_eq!(broken.policy.defaults.get(&Key::Schedule), built_in.defaults.get(&Key::Schedule));
    assert_eq!(broken.policy.defaults.get(&Key::Rule), built_in.defaults.get(&Key::Rule));
    assert_eq!(broken.policy.defaults.get(&Key::CommandTimeout).map(String::as_str), Some("2m"));
    assert_eq!(broken.policy.defaults.len(), 3);
    let limits = Limits { single_member: Reaction::Deny, ..built_in.limits };
    assert_eq!(broken.policy.limits, limits);
}

#[test]
fn a_default_that_a_limit_excludes_stands_beside_it() {
    let contradictory = compiled(
        &json!({"defaults": {"schedule": "0 * * * *"}, "limits": {"minInterval": "12h", "minIntervalWithoutFloor": "12h"}}),
    );
    assert!(!contradictory.is_valid());
    assert_eq!(codes(&assessed(&json!({}), &contradictory.policy)), ["schedule-too-often"]);
    assert!(codes(&assessed(&json!({"schedule": "0 0 * * *"}), &contradictory.policy)).is_empty());
}

#[test]
fn limits_hold_for_annotations() {
    let mut page = String::new();
    for (limits, annotations) in [
        (json!({"minInterval": "24h", "minIntervalWithoutFloor": "24h"}), json!({"schedule": "0 */12 * * *"})),
        (json!({"maxInterval": "48h"}), json!({"schedule": "0 0 * * 0"})),
        (
            json!({"windows": [{"days": ["Saturday"], "from": "22:00", "to": "04:00"}, {"from": "00:00", "to": "01:00"}]}),
            json!({"schedule": "0 23 * * *"}),
        ),
        (
            json!({"windows": [{"from": "00:00", "to": "04:00", "timeZone": "Europe/Rome"}]}),
            json!({"schedule": "30 2 * * *", "time-zone": "Etc/UTC"}),
        ),
        (json!({"quotaUsage": {"min": "50%", "max": "85%"}}), json!({"quota-usage-above": "40%"})),
        (json!({"quotaUsage": {"min": "50%", "max": "85%"}}), json!({"quota-usage-above": "90%"})),
        (json!({"quotaUsage": {"max": "70%"}}), json!({"rule": "dbQuotaUsage > 0.75 && dbSizeFree > 64*1024*1024"})),
        (json!({"minFree": "100Mi"}), json!({"free-above": "64Mi"})),
        (json!({"minFree": "100Mi"}), json!({"rule": "dbSizeFree > 64*1024*1024"})),
        (json!({"minFree": "100Mi"}), json!({"rule": "dbQuotaUsage > 0.5"})),
        (json!({"minWaitBetweenMembers": "1m"}), json!({"wait-between-members": "30s"})),
        (json!({"minCommandTimeout": "15m"}), json!({"command-timeout": "2m"})),
        (json!({"maxWaitBetweenMembers": "1m"}), json!({"wait-between-members": "90s"})),
        (json!({"maxCommandTimeout": "5m"}), json!({"command-timeout": "6m"})),
        (json!({"maxDeadline": "1h"}), json!({"command-timeout": "15m"})),
        (json!({"volume": {"refuseBelowPercent": 400, "warnBelowPercent": 400}}), json!({})),
        (json!({"redundantCompaction": "Deny"}), json!({"compaction": "true"})),
        (json!({"futileRule": "Deny"}), json!({"rule": "dbQuotaUsage > 0.5"})),
    ] {
        let assessment = assessed(
            &annotations,
            &policy(&json!({"limits": limits, "defaults": {"timeZone": "Etc/UTC"}, "validationActions": ["Deny"]})),
        );
        assert!(assessment.plan.is_none(), "{limits} {annotations}");
        let _ = writeln!(page, "{limits} {annotations}");
        for finding in assessment.denials() {
            assert!(finding.code.is_limit(), "{}", finding.code);
            let _ = writeln!(page, "  {}\n  {}: {}", finding.brief, finding.field, finding.message);
        }
        page.push('\n');
        let tolerant =
            policy(&json!({"limits": limits, "defaults": {"timeZone": "Etc/UTC"}, "validationActions": ["Warn"]}));
        assert!(assessed(&annotations, &tolerant).plan.is_some(), "{limits} {annotations}: without Deny it runs");
    }
    insta::assert_snapshot!(page);
}

#[test]
fn without_deny_a_setting_that_cannot_be_understood_still_runs_nothing() {
    let tolerant = policy(&json!({"validationActions": ["Audit"]}));
    for annotations in
        [json!({"schedule": "often"}), json!({"rule": "?"}), json!({"rule": "true"}), json!({"shedule": "x"})]
    {
        assert!(assessed(&annotations, &tolerant).plan.is_none(), "{annotations}");
    }
}

#[test]
fn a_hazard_that_is_allowed_is_not_mentioned() {
    let mut object = etcd(&json!({"etcd-defrag.io/enabled": "true"}), &json!({}));
    object.spec.replicas = Some(2);
    let mentions = |reaction: &str| {
        let policy = policy(&json!({"limits": {"evenMembers": reaction}}));
        let found = resolve(&object, &policy).findings.into_iter().find(|one| one.code == Code::EvenMembers);
        found.map(|finding| finding.severity)
    };
    assert_eq!(
        [mentions("Allow"), mentions("Warn"), mentions("Deny")],
        [None, Some(Severity::Warn), Some(Severity::Deny)]
    );
}

#[test]
fn the_default_rule_follows_the_limits() {
    let rule = |limits: Value| policy(&json!({"limits": limits})).defaults[&Key::Rule].clone();
    assert_eq!(rule(json!({})), DEFAULT_RULE);
    insta::assert_snapshot!(rule(json!({"minFree": "64Mi"})), @"(dbSizeFree > 0.5*dbSize && dbSizeInUse > 100*1024*1024) || (dbQuotaUsage > 0.8 && dbSizeFree > 64*1024*1024 && (dbSizeFree > 256*1024*1024 || dbSizeFree > 0.1*dbQuota))");
    insta::assert_snapshot!(rule(json!({"minFree": "1Gi"})), @"(dbSizeFree > 0.5*dbSize && dbSizeInUse > 100*1024*1024 && dbSizeFree > 1024*1024*1024) || (dbQuotaUsage > 0.8 && dbSizeFree > 1024*1024*1024)");
    insta::assert_snapshot!(rule(json!({"quotaUsage": {"max": "70%"}})), @"(dbSizeFree > 0.5*dbSize && dbSizeInUse > 100*1024*1024) || (dbQuotaUsage > 0.7 && (dbSizeFree > 256*1024*1024 || dbSizeFree > 0.1*dbQuota))");
}

/// The addresses are locked as the Secrets are; there is no value for a whole fleet, so it is what is discovered.
#[test]
fn addresses_are_locked_to_what_is_discovered() {
    let locked = policy(&json!({"limits": {"lockedKeys": ["endpoints", "service"]}}));
    assert_eq!(locked.limits.locked, [Key::Endpoints, Key::Service].into());
    let asked = json!({"endpoints": "https://attacker.example:2379", "service": "attacker"});
    assert_eq!(codes(&assessed(&asked, &locked)), ["key-locked", "key-locked"]);
    let tolerant = Policy { actions: Actions { deny: false, warn: true, audit: false }, ..locked };
    let cronjob = format!("{:?}", assessed(&asked, &tolerant).plan);
    assert!(cronjob.contains("https://") && !cronjob.contains("attacker"), "{cronjob}");
}

#[test]
fn a_locked_key_is_the_policys_to_say() {
    let locked = policy(&json!({
        "defaults": {"timeZone": "Etc/UTC", "freeAbove": "1Gi"}, "limits": {"lockedKeys": ["time-zone", "free-above"]},
    }));
    let same = assessed(&json!({"time-zone": "Etc/UTC", "free-above": "1Gi"}), &locked);
    assert_eq!(same.denials().count(), 0);
    let other = assessed(&json!({"time-zone": "Asia/Tokyo", "rule": "dbSizeFree > 1024*1024*1024"}), &locked);
    assert_eq!(codes(&other), ["key-locked", "key-locked"]);
    let page: Vec<String> =
        other.denials().map(|one| format!("{}\n{}: {}", one.brief, one.field, one.message)).collect();
    insta::assert_snapshot!(page.join("\n\n"));
    let tolerant = Policy { actions: Actions { deny: false, warn: true, audit: false }, ..locked };
    let plan = assessed(&json!({"time-zone": "Asia/Tokyo", "rule": "true"}), &tolerant).plan.unwrap();
    assert_eq!((plan.settings.time_zone.as_deref(), plan.rule.contains("true")), (Some("Etc/UTC"), false));
}

#[test]
fn lockable_keys_are_the_fields_of_the_defaults() {
    let fields = serde_json::to_value(crd()).unwrap();
    let spec = &fields["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let mut fields: Vec<&str> =
        spec["defaults"]["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut lockable: Vec<&str> = LockableKey::ALL.iter().filter_map(|(_, _, field)| *field).collect();
    fields.sort_unstable();
    lockable.sort_unstable();
    let unvalued = LockableKey::ALL.iter().filter(|(_, _, field)| field.is_none());
    assert_eq!(unvalued.map(|(_, name, _)| *name).collect::<Vec<_>>(), ["endpoints", "service"]);
    assert_eq!(fields, lockable);
    for (_, name, field) in LockableKey::ALL {
        let key = Key::from_name(name).unwrap();
        assert!(field.is_none_or(|field| key.defaults_field() == field), "{name}");
    }
}

#[test]
fn a_policy_may_enrol_every_etcd() {
    let all = policy(&json!({"enrollment": "All"}));
    let optional = policy(&json!({"enrollment": "All", "allowOptOut": true}));
    let of = |label: Option<&str>, policy: &Policy| {
        let labels = label.map_or(json!({}), |value| json!({"etcd-defrag.io/enabled": value}));
        let assessment = resolve(&etcd(&labels, &json!({})), policy);
        (assessment.enrollment, codes(&assessment).join(","))
    };
    let clean = |enrollment| (enrollment, String::new());
    assert_eq!(of(None, &Policy::built_in()), clean(Enrollment::NotEnrolled));
    assert_eq!(of(None, &all), clean(Enrollment::Enrolled));
    assert_eq!(of(Some("true"), &all), clean(Enrollment::Enrolled));
    assert_eq!(of(Some("false"), &all), (Enrollment::Enrolled, "opt-out-refused".to_owned()));
    assert_eq!(of(Some("false"), &optional), clean(Enrollment::OptedOut));
    assert_eq!(of(Some("no"), &all).0, Enrollment::Unclear);
    let mut client = etcd(&json!({"etcd-defrag.io/enabled": "false"}), &json!({}));
    client.spec.template.spec.containers[0].command = vec!["etcdctl".to_owned()];
    assert_eq!(Enrollment::of(&client, &all), Enrollment::OptedOut);
    client.metadata.labels = None;
    assert_eq!(Enrollment::of(&client, &all), Enrollment::NotEnrolled);
    let refused = resolve(&etcd(&json!({"etcd-defrag.io/enabled": "false"}), &json!({})), &all);
    insta::assert_snapshot!(refused.findings[0].message);
}
