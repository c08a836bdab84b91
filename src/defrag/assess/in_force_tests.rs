//! What is in force while something is refused: each case is a CronJob that was made, a change, and what it becomes.

use serde_json::{Value, json};

use super::*;
use crate::defrag::{
    cronjob::{
        live::Live,
        names::{IN_FORCE, OURS},
    },
    keys::Key,
    policy::{DefragPolicy, PolicySet, compile},
};

fn now() -> Timestamp {
    "2026-11-24T00:00:00Z".parse().unwrap()
}

fn etcd() -> Value {
    let mut object: Value = serde_saphyr::from_str(include_str!("../../../examples/kamaji-etcd.yaml")).unwrap();
    object["metadata"]["uid"] = json!("u");
    object["metadata"]["annotations"]["etcd-defrag.io/schedule"] = json!("5 3 * * *");
    object
}

fn with(key: &str, value: &str) -> Value {
    annotate(etcd(), key, value)
}

fn annotate(mut object: Value, key: &str, value: &str) -> Value {
    object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
    object
}

fn scaled(mut object: Value, replicas: i64) -> Value {
    object["spec"]["replicas"] = json!(replicas);
    object
}

/// Each occurrence in the command of etcd replaced.
fn started_with(mut object: Value, from: &str, to: &str) -> Value {
    let command = &mut object["spec"]["template"]["spec"]["containers"][0]["command"];
    let text = command.to_string();
    assert!(text.contains(from), "{from}");
    *command = serde_json::from_str(&text.replace(from, to)).unwrap();
    object
}

fn governed(name: &str, spec: &Value) -> Governing {
    let object: DefragPolicy = serde_json::from_value(json!({
        "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap();
    let set = PolicySet::new([std::sync::Arc::new(compile(&object, now()))]);
    set.govern(&std::collections::BTreeMap::new(), &std::collections::BTreeMap::new())
}

fn assessed(object: &Value, governing: &Governing, live: Option<&CronJob>) -> Assessment {
    let object = serde_json::from_value(object.clone()).unwrap();
    let live: Vec<Live> = live.cloned().and_then(Live::of).into_iter().collect();
    assess(&object, governing, &Surroundings { cronjobs: Some(&live), ..Surroundings::nothing() }, now())
}

/// The CronJob of a sound object.
fn made(object: &Value, governing: &Governing) -> CronJob {
    let assessment = assessed(object, governing, None);
    assessment.cronjob().unwrap_or_else(|| panic!("{:#?}", assessment.findings)).clone()
}

/// What the CronJob of a sound object becomes after a change; applied once more it stays like that.
fn becomes(object: &Value, governing: &Governing, live: &CronJob) -> (CronJob, Source) {
    let assessment = assessed(object, governing, Some(live));
    let built = assessment.cronjob().unwrap_or_else(|| panic!("{:#?}", assessment.verdict)).clone();
    let again = assessed(object, governing, Some(&built));
    assert_eq!(again.cronjob(), Some(&built), "it comes to rest");
    (built, assessment.source)
}

fn args(cronjob: &CronJob) -> Vec<String> {
    let pod = cronjob.spec.job_template.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    pod.containers[0].args.clone().unwrap()
}

fn arg(cronjob: &CronJob, name: &str) -> String {
    let prefix = format!("--{name}=");
    args(cronjob).iter().find_map(|arg| arg.strip_prefix(&prefix)).unwrap_or_default().to_owned()
}

fn members(cronjob: &CronJob) -> usize {
    arg(cronjob, "endpoints").split(',').filter(|url| !url.is_empty()).count()
}

fn suspended(cronjob: &CronJob) -> bool {
    cronjob.spec.suspend == Some(true)
}

const STRICT: &str = r#"{"limits": {"minInterval": "48h", "minIntervalWithoutFloor": "48h"}}"#;

fn strict() -> Value {
    serde_json::from_str(STRICT).unwrap()
}

#[test]
fn a_policy_that_became_stricter_leaves_the_settings_and_the_facts_are_followed() {
    let before = governed("p", &json!({}));
    let live = made(&scaled(etcd(), 5), &before);
    let stricter = governed("p", &strict());
    let (built, source) = becomes(&scaled(etcd(), 3), &stricter, &live);
    assert_eq!((members(&built), built.spec.schedule.as_str(), source), (3, "5 3 * * *", Source::LastGood));
    assert!(built.metadata.annotations.as_ref().unwrap()["etcd-defrag.io/findings"].contains("schedule-too-often"));
    let (built, _) = becomes(&annotate(etcd(), "suspend", "true"), &stricter, &built);
    assert!(suspended(&built));
    let (built, _) = becomes(&etcd(), &stricter, &built);
    assert!(!suspended(&built));
    let (built, _) = becomes(&scaled(etcd(), 0), &stricter, &built);
    assert!(suspended(&built) && members(&built) == 0);
    let (built, _) = becomes(&etcd(), &stricter, &built);
    assert_eq!((suspended(&built), members(&built)), (false, 3));
}

#[test]
fn a_rule_that_a_later_quota_makes_wrong_stays_and_the_quota_is_followed() {
    let rule = "dbSize > 6*1024*1024*1024 && dbSizeFree > 200*1024*1024";
    let governing = Governing::built_in();
    let live = made(&with("rule", rule), &governing);
    let smaller = started_with(scaled(with("rule", rule), 5), "8589934592", "4294967296");
    let (built, source) = becomes(&smaller, &governing, &live);
    assert_eq!(source, Source::LastGood);
    assert_eq!((members(&built), arg(&built, "etcd-storage-quota-bytes").as_str()), (5, "4294967296"));
    assert_eq!(arg(&built, "defrag-rule"), rule);
    assert_eq!(arg(&built, "command-timeout"), "2m0s", "what follows from the quota is computed anew");
}

#[test]
fn a_mistyped_annotation_leaves_all_settings_as_they_were() {
    let governing = Governing::built_in();
    let live = made(&with("wait-between-members", "45s"), &governing);
    let mut mistyped = annotate(scaled(etcd(), 5), "shedule", "7 7 * * *");
    mistyped["metadata"]["annotations"].as_object_mut().unwrap().remove("etcd-defrag.io/schedule");
    let (built, source) = becomes(&mistyped, &governing, &live);
    assert_eq!((built.spec.schedule.as_str(), source), ("5 3 * * *", Source::LastGood));
    assert_eq!((arg(&built, "wait-between-defrags").as_str(), members(&built)), ("45s", 5));
}

#[test]
fn under_another_policy_each_refused_setting_takes_its_default() {
    let live = made(&with("wait-between-members", "45s"), &Governing::built_in());
    let mut spec = strict();
    spec["defaults"] = json!({"schedule": "0 4 * * 1,4"});
    let (built, source) = becomes(&with("wait-between-members", "50s"), &governed("q", &spec), &live);
    assert_eq!((built.spec.schedule.as_str(), source), ("0 4 * * 1,4", Source::Defaults(vec![Key::Schedule])));
    assert_eq!(arg(&built, "wait-between-defrags"), "50s", "what is accepted is followed");
    // From now on it is the same policy, and what it gave stays.
    spec["defaults"] = json!({"schedule": "0 5 * * 1,4"});
    let (built, source) = becomes(&with("wait-between-members", "55s"), &governed("q", &spec), &built);
    assert_eq!((built.spec.schedule.as_str(), source), ("0 4 * * 1,4", Source::LastGood));
}

#[test]
fn where_a_policy_refuses_its_own_default_the_built_in_one_is_in_force() {
    let own = "dbQuotaUsage > 0.5";
    let live = made(&with("rule", own), &Governing::built_in());
    let policy =
        governed("q", &json!({"defaults": {"rule": own}, "limits": {"minFree": "100Mi", "futileRule": "Deny"}}));
    let (built, source) = becomes(&with("rule", own), &policy, &live);
    let Source::Defaults(keys) = source else { panic!("{source:?}") };
    assert!(keys.contains(&Key::Rule), "{keys:?}");
    assert!(!suspended(&built) && arg(&built, "defrag-rule").contains("100*1024*1024"), "{:?}", args(&built));
}

#[test]
fn where_nothing_is_acceptable_the_cronjob_is_suspended_until_something_is() {
    let live = made(&etcd(), &Governing::built_in());
    let policy = governed("q", &strict());
    let assessment = assessed(&scaled(etcd(), 5), &policy, Some(&live));
    assert!(assessment.findings.iter().any(|finding| finding.code == Code::NothingInForce));
    let (built, source) = becomes(&scaled(etcd(), 5), &policy, &live);
    assert_eq!((source, suspended(&built), members(&built)), (Source::Nothing, true, 5));
    let mut bare = built.clone();
    bare.metadata.annotations.as_mut().unwrap().remove(IN_FORCE);
    let (bare, source) = becomes(&scaled(etcd(), 5), &policy, &bare);
    assert_eq!(
        (source, suspended(&bare)),
        (Source::Nothing, true),
        "what fills the place of settings was never accepted"
    );
    let (built, source) = becomes(&with("schedule", "0 0 * * 1,4"), &policy, &built);
    assert_eq!((source, suspended(&built)), (Source::Current, false));
}

#[test]
fn while_a_fact_cannot_be_read_all_facts_stay_but_suspension() {
    let governing = Governing::built_in();
    let live = made(&etcd(), &governing);
    let hidden = |replicas| {
        let mut object = scaled(etcd(), replicas);
        let containers = &mut object["spec"]["template"]["spec"]["containers"];
        *containers = json!([{"name": "web", "image": "nginx:1"}]);
        object
    };
    let wrong_quota = annotate(scaled(etcd(), 5), "quota", "much");
    for object in [hidden(5), wrong_quota.clone()] {
        let (built, source) = becomes(&object, &governing, &live);
        assert_eq!((members(&built), suspended(&built), source), (3, false, Source::Current));
        assert_eq!((built.spec.job_template.spec.as_ref()), live.spec.job_template.spec.as_ref());
    }
    assert_eq!(assessed(&hidden(5), &governing, Some(&live)).refused.facts, Some(Code::EtcdNotFound));
    assert!(suspended(&becomes(&hidden(0), &governing, &live).0));
    assert!(suspended(&becomes(&annotate(hidden(5), "suspend", "true"), &governing, &live).0));
    // Settings are followed meanwhile, and assessed by the quota that was known.
    assert_eq!(becomes(&annotate(hidden(5), "schedule", "6 6 * * *"), &governing, &live).0.spec.schedule, "6 6 * * *");
    assert_eq!(becomes(&annotate(hidden(5), "rule", "true"), &governing, &live).1, Source::LastGood);
}

/// Scaled to zero, then back with a pod template that hides a fact: nobody knows where the members are.
#[test]
fn members_that_come_back_unseen_are_not_taken_for_none() {
    let governing = Governing::built_in();
    let live = made(&scaled(etcd(), 0), &governing);
    let hidden = annotate(etcd(), "quota", "much");
    let assessment = assessed(&hidden, &governing, Some(&live));
    assert!(assessment.findings.iter().any(|finding| finding.code == Code::NothingInForce));
    let (built, _) = becomes(&hidden, &governing, &live);
    assert!(suspended(&built));
    let (built, _) = becomes(&etcd(), &governing, &built);
    assert_eq!((suspended(&built), members(&built)), (false, 3));
}

#[test]
fn thresholds_keep_the_rule_that_they_compiled_to() {
    let before = governed("p", &json!({}));
    let object = annotate(with("quota-usage-above", "70%"), "free-above", "300Mi");
    let live = made(&object, &before);
    let rule = arg(&live, "defrag-rule");
    assert!(rule.contains("0.7") && rule.contains("300*1024*1024"), "{rule}");
    let stricter = governed("p", &json!({"limits": {"minFree": "1Gi"}}));
    let (built, source) = becomes(&object, &stricter, &live);
    assert_eq!((arg(&built, "defrag-rule"), source), (rule, Source::LastGood));
    let mut forged = live;
    let notes = forged.metadata.annotations.as_mut().unwrap();
    let mut record: Value = serde_json::from_str(&notes[IN_FORCE]).unwrap();
    record["rule"] = json!("dbSize >");
    notes.insert(IN_FORCE.to_owned(), record.to_string());
    assert_ne!(becomes(&object, &stricter, &forged).1, Source::LastGood);
}

#[test]
fn a_suspend_that_says_nothing_changes_nothing() {
    let governing = Governing::built_in();
    for (before, stays) in [("true", true), ("false", false)] {
        let live = made(&with("suspend", before), &governing);
        let (built, source) = becomes(&scaled(with("suspend", "yes"), 5), &governing, &live);
        assert_eq!((suspended(&built), source, members(&built)), (stays, Source::Current, 5));
    }
    let locks = json!({"defaults": {"suspend": false}, "limits": {"lockedKeys": ["suspend"]}});
    let policy = governed("p", &locks);
    let live = made(&etcd(), &policy);
    assert!(!suspended(&becomes(&with("suspend", "true"), &policy, &live).0), "the policy locks it");
}

#[test]
fn a_refused_pod_template_is_followed() {
    let governing = Governing::built_in();
    let live = made(&etcd(), &governing);
    let mut small = scaled(etcd(), 5);
    small["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = json!("4Gi");
    let (built, source) = becomes(&small, &governing, &live);
    assert_eq!((members(&built), source), (5, Source::Current));
    let (built, _) = becomes(&annotate(small, "schedule", "6 6 * * *"), &governing, &built);
    assert_eq!(built.spec.schedule, "6 6 * * *");
}

#[test]
fn nothing_is_made_of_what_is_refused() {
    let mut script = made(&etcd(), &Governing::built_in());
    script.metadata.owner_references = None;
    script.metadata.labels = None;
    script
        .metadata
        .annotations
        .as_mut()
        .unwrap()
        .retain(|key, _| !OURS.contains(&key.as_str()) && !key.contains("statefulset"));
    for (name, object) in [
        ("a setting", with("schedule", "* * * * *")),
        ("a name", with("shedule", "5 3 * * *")),
        ("a fact", with("quota", "much")),
        ("suspend", with("suspend", "yes")),
        ("a template", started_with(etcd(), "8589934592", "107374182400")),
    ] {
        for live in [None, Some(&script)] {
            let assessment = assessed(&object, &Governing::built_in(), live);
            assert!(matches!(assessment.verdict, Verdict::Withheld), "{name}: {:?}", assessment.verdict);
            assert!(assessment.plan.is_none() && assessment.denials().next().is_some(), "{name}");
        }
    }
    let adopted = assessed(&etcd(), &Governing::built_in(), Some(&script));
    assert!(matches!(adopted.verdict, Verdict::Present(built) if built.adopts));
}

#[test]
fn a_label_that_cannot_be_understood_keeps_the_settings_and_follows_the_facts() {
    let live = made(&etcd(), &Governing::built_in());
    let mut object = scaled(with("schedule", "6 6 * * *"), 5);
    object["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("yes");
    let (built, source) = becomes(&object, &Governing::built_in(), &live);
    assert_eq!((members(&built), built.spec.schedule.as_str(), source), (5, "5 3 * * *", Source::LastGood));
    let findings = assessed(&object, &Governing::built_in(), Some(&live)).findings;
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::EnabledInvalid]);
}

#[test]
fn a_record_that_was_forged_is_no_way_around_what_every_policy_refuses() {
    let governing = Governing::built_in();
    let refused = with("schedule", "0 0 31 2 *");
    for (key, value) in [
        ("schedule", "0 0 31 2 *"),
        ("schedule", "often"),
        ("time-zone", "Mars/Olympus"),
        ("rule", "true"),
        ("rule", "dbSize >"),
        ("move-leader", "perhaps"),
        ("command-timeout", "-1s"),
        ("disalarm-below", "2"),
    ] {
        let mut live = made(&etcd(), &governing);
        let notes = live.metadata.annotations.as_mut().unwrap();
        let mut record: Value = serde_json::from_str(&notes[IN_FORCE]).unwrap();
        record["settings"][key] = json!(value);
        notes.insert(IN_FORCE.to_owned(), record.to_string());
        let (built, source) = becomes(&refused, &governing, &live);
        assert_eq!(source, Source::Defaults(vec![Key::Schedule]), "{key} {value}");
        assert_eq!(built.spec.schedule, "0 0 * * *", "{key} {value}");
    }
}

#[test]
fn rivals_and_a_name_that_is_taken_are_findings() {
    let mut foreign = made(&etcd(), &Governing::built_in());
    foreign.metadata.owner_references = None;
    foreign.metadata.annotations = None;
    foreign.metadata.labels = Some([("app.kubernetes.io/managed-by".to_owned(), "Helm".to_owned())].into());
    let taken = assessed(&etcd(), &Governing::built_in(), Some(&foreign));
    assert!(matches!(taken.verdict, Verdict::Taken { .. }));
    assert_eq!(taken.findings.last().unwrap().code, Code::CronJobForeign);
    foreign.metadata.name = Some("nightly".to_owned());
    let rival = assessed(&etcd(), &Governing::built_in(), Some(&foreign));
    assert_eq!(rival.findings.last().unwrap().code, Code::RivalDefragmenter);
    assert!(
        rival.cronjob().unwrap().metadata.annotations.as_ref().unwrap()["etcd-defrag.io/findings"].contains("rival")
    );
}
