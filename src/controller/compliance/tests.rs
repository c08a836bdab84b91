use serde_json::{Value, json};

use super::*;
use crate::defrag::{finding::Code, keys::Key};

fn etcd() -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": {"namespace": "ns", "name": "etcd", "uid": "7f1c"}, "spec": {"serviceName": "etcd", "template": {}},
    }))
    .unwrap()
}

fn findings() -> Vec<Finding> {
    vec![
        Finding::new(Code::SingleMember, "spec.replicas", "one", "One member: each run is an outage."),
        Finding::new(Code::ScheduleInvalid, Key::Schedule.field(), "bad", "No schedule."),
    ]
}

fn report(kind: Kind, findings: &[Finding]) -> Report {
    Report::of(kind, &etcd(), &Governing::built_in(), findings).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// As the API server gives it back.
fn live(object: &DynamicObject) -> DynamicObject {
    let mut value = serde_json::to_value(object).unwrap();
    value["metadata"]["uid"] = json!("of-the-report");
    value["metadata"]["labels"]["team"] = json!("platform");
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_report_names_the_statefulset_the_policy_and_each_finding() {
    let object = report(Kind::OpenReports, &findings()).dated(None, at(1_700_000_000));
    insta::assert_snapshot!(serde_json::to_string_pretty(&object).unwrap());
}

#[test]
fn without_a_refusal_there_is_a_pass_and_risks_are_no_failures() {
    let results = |findings: &[Finding]| {
        let object = report(Kind::PolicyReport, findings).dated(None, at(0));
        assert_eq!(object.data["source"], Value::Null, "PolicyReport has no such field");
        let results = object.data["results"].as_array().unwrap().clone();
        let text =
            |result: &Value| format!("{} {}", result["result"].as_str().unwrap(), result["rule"].as_str().unwrap());
        (results.iter().map(text).collect::<Vec<_>>(), object.data["summary"].clone())
    };
    let summary = |pass, fail, warn| json!({"pass": pass, "fail": fail, "warn": warn, "error": 0, "skip": 0});
    let [warning, denial] = findings().try_into().unwrap();
    assert_eq!(results(&[]), (vec!["pass compliant".to_owned()], summary(1, 0, 0)));
    let (pass, warn) = ("pass compliant".to_owned(), "warn single-member".to_owned());
    assert_eq!(results(std::slice::from_ref(&warning)), (vec![pass, warn.clone()], summary(1, 0, 1)));
    assert_eq!(results(&[warning, denial]), (vec!["fail schedule-invalid".to_owned(), warn], summary(0, 1, 1)));
}

#[test]
fn what_is_told_already_is_not_written_again_and_keeps_its_time() {
    let first = live(&report(Kind::OpenReports, &findings()).dated(None, at(100)));
    assert!(report(Kind::OpenReports, &findings()).is_told_by(&Shown::of(&first)), "the time is no difference");

    let mut changed = findings();
    changed.push(Finding::new(Code::VolumeTight, "spec", "tight", "The volume is tight."));
    let again = report(Kind::OpenReports, &changed);
    assert!(!again.is_told_by(&Shown::of(&first)));
    let again = again.dated(Some(&first), at(200));
    let times: Vec<_> =
        again.data["results"].as_array().unwrap().iter().map(|one| one["timestamp"]["seconds"].clone()).collect();
    assert_eq!(times, [json!(100), json!(100), json!(200)]);
}

#[test]
fn whatever_a_person_changes_in_a_report_is_seen() {
    let good = live(&report(Kind::OpenReports, &findings()).dated(None, at(100)));
    let told = |edit: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(&good).unwrap();
        edit(&mut value);
        let shown = Shown::of(&serde_json::from_value(value).unwrap());
        report(Kind::OpenReports, &findings()).is_told_by(&shown)
    };
    assert!(told(&|_| ()));
    assert!(!told(&|value| value["results"][0]["result"] = json!("pass")));
    assert!(!told(&|value| value["results"] = json!("no list")));
    assert!(!told(&|value| value["summary"]["fail"] = json!(0)));
    assert!(!told(&|value| value["scope"]["name"] = json!("other")));
    assert!(!told(&|value| value["metadata"]["ownerReferences"] = json!([])));
    assert!(!told(&|value| value["metadata"]["labels"] = json!({})));
}

#[test]
fn a_thousand_findings_do_not_make_a_report_too_large_and_refusals_are_told_first() {
    let mut many: Vec<_> =
        (0..1000).map(|index| Finding::new(Code::VolumeTight, index.to_string(), "x", "y")).collect();
    many.extend(findings());
    let object = report(Kind::OpenReports, &many).dated(None, at(0));
    assert_eq!(object.data["results"].as_array().unwrap().len(), RESULTS_TOLD);
    assert_eq!(object.data["results"][0]["rule"], "schedule-invalid");
    assert_eq!(object.data["summary"]["warn"], 1001);
}
