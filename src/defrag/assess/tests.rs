use std::{collections::BTreeSet, fmt::Write as _};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::defrag::{
    finding::WARNING_LIMIT,
    keys::{ENABLED, Key, PREFIX},
    policy::PolicySnapshot,
};

fn now() -> Timestamp {
    "2026-11-24T00:00:00Z".parse().unwrap()
}

fn kamaji() -> Value {
    serde_saphyr::from_str(include_str!("../../../examples/kamaji-etcd.yaml")).unwrap()
}

fn annotated(annotations: &[(&str, &str)]) -> Value {
    let mut object = kamaji();
    for (key, value) in annotations {
        object["metadata"]["annotations"][format!("{PREFIX}{key}")] = json!(value);
    }
    object
}

fn assessed(object: Value) -> Assessment {
    assess(&serde_json::from_value(object).unwrap(), &Governing::built_in(), &Surroundings::default(), now())
}

fn page(assessment: &Assessment) -> String {
    let mut page = String::new();
    for finding in &assessment.findings {
        let _ = writeln!(page, "{} {}\n  {}: {}\n", finding.severity, finding.brief, finding.field, finding.message);
    }
    for line in assessment.plan.iter().flat_map(|plan| plan.effective(now())) {
        let _ = writeln!(page, "{line}");
    }
    page
}

#[test]
fn a_kamaji_etcd_is_sound_and_its_risks_are_named() {
    insta::assert_snapshot!(page(&assessed(kamaji())));
}

#[test]
fn settings_that_hurt_are_refused_with_a_cure() {
    insta::assert_snapshot!(page(&assessed(annotated(&[
        ("schedule", "0 0 31 2 *"),
        ("rule", "dbQuotaUsage > 80/100"),
        ("compaction", "true"),
        ("quota", "2Gi"),
        ("time-zone", "CET+1"),
    ]))));
}

#[test]
fn what_is_said_of_a_cronjob_shows_how_it_is_tied_to_the_etcd() {
    use crate::defrag::{cronjob::rival::Rivalry, etcd::Kind};
    let said = |is_seen, shared| rival(("nightly", Rivalry { is_seen, shared }));
    for (finding, parts) in [
        (
            said(true, None),
            [
                "The CronJob \"nightly\" in the same namespace defragments this etcd too: two runs",
                "suspend one of the two.",
            ],
        ),
        (
            said(true, Some((Kind::Secret, "client"))),
            ["defragments an etcd and reads the Secret \"client\", as this etcd does: two runs", "Delete or suspend"],
        ),
        (
            said(false, Some((Kind::ConfigMap, "bin"))),
            [
                "has an image of etcd, reads the ConfigMap \"bin\", as this etcd does, and runs a script that is not read here.",
                "The command check reads it where its ConfigMap is among the manifests.",
            ],
        ),
        (
            said(false, None),
            ["has an image of etcd, names this etcd, and runs a script", "If that defragments, two runs"],
        ),
    ] {
        assert!(parts.iter().all(|part| finding.message.contains(part)), "{}", finding.message);
        assert!(finding.brief.chars().count() <= WARNING_LIMIT, "{}", finding.brief);
    }
}

#[test]
fn a_schedule_may_be_denser_when_the_rule_has_a_floor() {
    let quarter = ("schedule", "*/15 * * * *");
    assert!(assessed(annotated(&[quarter])).plan.is_some());
    let codes: Vec<Code> =
        assessed(annotated(&[quarter, ("rule", "dbQuotaUsage > 0.5")])).denials().map(|f| f.code).collect();
    assert!(codes.contains(&Code::ScheduleTooOften), "{codes:?}");
}

#[test]
fn an_etcd_with_a_root_password_wants_credentials() {
    let mut object = kamaji();
    let etcd = &mut object["spec"]["template"]["spec"]["containers"][0];
    etcd["env"] = json!([{"name": "ETCD_ROOT_PASSWORD", "value": "x"}]);
    etcd["command"][0] = json!("/opt/bitnami/scripts/etcd/run.sh");
    insta::assert_snapshot!(page(&assessed(object.clone())));
    object["metadata"]["annotations"]["etcd-defrag.io/username-secret"] = json!("root:user,password");
    assert!(assessed(object).plan.is_some());
}

#[test]
fn the_label_decides() {
    for (label, expected) in [
        (json!("true"), Enrollment::Enrolled),
        (json!("false"), Enrollment::OptedOut),
        (json!("True"), Enrollment::Unclear),
        (json!(""), Enrollment::Unclear),
        (Value::Null, Enrollment::NotEnrolled),
    ] {
        let mut object = annotated(&[("schedule", "nonsense")]);
        if label.is_null() {
            object["metadata"]["labels"] = json!({});
        } else {
            object["metadata"]["labels"][ENABLED] = label;
        }
        let assessment = assessed(object);
        assert_eq!(assessment.enrollment, expected);
        assert_eq!(assessment.findings.is_empty(), matches!(expected, Enrollment::OptedOut | Enrollment::NotEnrolled));
    }
}

#[test]
fn thresholds_take_the_place_of_the_rule() {
    let plan = assessed(annotated(&[("quota-usage-above", "75%"), ("free-above", "1Gi")])).plan.unwrap();
    insta::assert_snapshot!(plan.rule);
    let plan = assessed(annotated(&[("free-share-above", "45%"), ("quota-usage-above", "75%")])).plan.unwrap();
    insta::assert_snapshot!(plan.rule, @"(dbSizeFree > 0.45*dbSize && dbSizeFree > 32*1024*1024) || (dbQuotaUsage > 0.75 && dbSizeFree > 32*1024*1024)");
    let broken = assessed(annotated(&[("quota-usage-above", "eighty")]));
    assert_eq!(broken.denials().map(|finding| finding.code).collect::<Vec<_>>(), [Code::ThresholdInvalid]);
}

/// The quota is 8 GiB. As a threshold and as a rule; in a part of a rule it is a warning, and in a policy nobody's mistake here.
#[test]
fn a_threshold_that_no_database_reaches_is_refused() {
    let denials = |annotations: &[(&str, &str)]| {
        let assessment = assessed(annotated(annotations));
        assessment.denials().map(|finding| (finding.code, finding.message.clone())).collect::<Vec<_>>()
    };
    let refused = denials(&[("free-above", "20Gi")]);
    assert_eq!(refused.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [Code::RuleNeverTrue]);
    insta::assert_snapshot!(refused[0].1, @r#"The threshold requires more than 20 GiB to reclaim, and the quota is 8 GiB: no database can reach that, so the threshold would never start a run. Write less than the quota, such as "1Gi", or a share of the file in free-share-above."#);
    assert_eq!(denials(&[("free-above", "8Gi"), ("free-share-above", "50%")]).len(), 1);
    assert_eq!(denials(&[("free-above", "8191Mi")]), []);
    assert_eq!(denials(&[("rule", "dbSizeFree > 20*1024*1024*1024")])[0].0, Code::RuleNeverTrue);
    let near = "(dbQuotaUsage > 0.8 && dbSizeFree > 32*1024*1024)";
    assert_eq!(denials(&[("rule", &format!("dbSizeFree > 20*1024*1024*1024 || {near}"))]), []);
    let mut policy = Policy::built_in();
    policy.defaults.remove(&Key::Rule);
    policy.defaults.insert(Key::FreeAbove, "20Gi".to_owned());
    let object = serde_json::from_value(annotated(&[])).unwrap();
    let governing = Governing::of(policy);
    assert_eq!(assess(&object, &governing, &Surroundings::nothing(), now()).denials().count(), 0);
}

#[test]
fn absurd_objects_are_assessed_all_the_same() {
    for spec in [
        json!({}),
        json!({"replicas": i32::MAX, "template": {"spec": {"containers": [{"name": "etcd"}]}}}),
        json!({"replicas": -1, "ordinals": {"start": i32::MAX}, "template": {"spec": {"containers": [{"name": "etcd"}]}}}),
        json!({"template": {"spec": {"containers": vec![json!({"name": "x"}); 10]}}}),
    ] {
        let object = json!({"metadata": {"name": "x".repeat(253), "labels": {ENABLED: "true"}}, "spec": spec});
        let assessment = assessed(object);
        assert!(assessment.plan.is_some() || assessment.denials().next().is_some());
    }
}

proptest! {
    #[test]
    fn every_assessment_ends_in_a_plan_or_a_refusal(
        annotations in proptest::collection::btree_map(proptest::sample::select(Key::ALL.to_vec()), "\\PC{0,40}", 0..6),
        replicas in proptest::option::of(any::<i32>()),
    ) {
        let mut object = kamaji();
        object["spec"]["replicas"] = json!(replicas);
        for (key, value) in annotations {
            object["metadata"]["annotations"][key.annotation()] = json!(value);
        }
        let assessment = assessed(object);
        prop_assert_eq!(assessment.plan.is_none(), assessment.denials().next().is_some());
        for line in assessment.plan.iter().flat_map(|plan| plan.effective(now())) {
            prop_assert!(line.chars().count() <= WARNING_LIMIT);
        }
    }
}

#[test]
fn a_constant_of_the_policys_rule_is_nobodys_mistake_on_a_small_etcd() {
    let suspects = |annotations: &[(&str, &str)]| {
        let mut object = annotated(annotations);
        let command = object["spec"]["template"]["spec"]["containers"][0]["command"].as_array_mut().unwrap();
        let quota = command.iter_mut().find(|word| word.as_str().unwrap().starts_with("--quota-backend-bytes"));
        *quota.unwrap() = json!("--quota-backend-bytes=67108864");
        let assessment = assessed(object);
        assessment.findings.iter().filter(|finding| finding.code == Code::RuleConstantSuspect).count()
    };
    let rule = crate::defrag::policy::DEFAULT_RULE;
    assert_eq!(suspects(&[]), 0, "the built-in rule");
    assert_eq!(suspects(&[("rule", rule), ("defaulted", "rule")]), 0, "filled in by the webhook");
    assert_eq!(suspects(&[("rule", rule)]), 2, "a person's");
}

/// Where nothing is served, nothing is judged but that it is enrolled, and there is no CronJob, in every caller.
#[test]
fn an_enrolled_etcd_in_a_namespace_that_is_left_out_has_one_finding_and_no_cronjob() {
    let harmful = || serde_json::from_value::<StatefulSet>(annotated(&[("schedule", "* * * * *")])).unwrap();
    let namespace = harmful().namespace().to_owned();
    let snapshot = PolicySnapshot::default().with_exempt(BTreeSet::from([namespace.clone()]).into());
    let assessed = |object: &StatefulSet| {
        let governing = snapshot.govern(object.namespace(), &object.labels());
        assess(object, &governing, &Surroundings::nothing(), now())
    };
    let assessment = assessed(&harmful());
    assert!(matches!(assessment.verdict, Verdict::Absent), "{:?}", assessment.verdict);
    insta::assert_snapshot!(page(&assessment));
    let mut out = harmful();
    out.metadata.labels = Some([(ENABLED.to_owned(), "false".to_owned())].into());
    assert!(assessed(&out).findings.is_empty());
    let mut elsewhere = harmful();
    elsewhere.metadata.namespace = Some(format!("{namespace}-2"));
    assert!(assessed(&elsewhere).findings.iter().any(|finding| finding.code == Code::ScheduleTooOften));
}
