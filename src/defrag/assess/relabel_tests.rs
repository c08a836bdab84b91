//! An etcd that leaves a policy by a label, takes a setting along, and comes back: what was good under another policy is not
//! kept. And how long a run may take, whatever is done in between.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::*;
use crate::defrag::{
    cronjob::live::Live,
    keys::Key,
    policy::{DefragPolicy, PolicySet, compile},
};

fn now() -> Timestamp {
    "2026-11-24T00:00:00Z".parse().unwrap()
}

/// A strict policy for those with a label, and whatever is given for the others.
fn policies(strict: &Value, others: Option<&Value>) -> PolicySet {
    let compiled = |name: &str, spec: Value| {
        let object: DefragPolicy = serde_json::from_value(json!({
            "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap();
        Arc::new(compile(&object, now()))
    };
    let mut of_label = strict.clone();
    of_label["priority"] = json!(10);
    of_label["selector"] = json!({"matchLabels": {"tier": "strict"}});
    let others = others.map(|spec| compiled("others", spec.clone()));
    PolicySet::new([compiled("strict", of_label)].into_iter().chain(others))
}

/// An etcd, the policies, and its CronJob as it was left.
struct Etcd {
    object: Value,
    policies: PolicySet,
    live: Option<CronJob>,
}

impl Etcd {
    fn new(policies: PolicySet, annotations: &[(&str, &str)]) -> Self {
        let mut object: Value = serde_saphyr::from_str(include_str!("../../../examples/kamaji-etcd.yaml")).unwrap();
        object["metadata"]["uid"] = json!("u");
        object["metadata"]["labels"]["tier"] = json!("strict");
        let mut etcd = Self { object, policies, live: None };
        etcd.annotate(annotations);
        etcd
    }

    fn annotate(&mut self, annotations: &[(&str, &str)]) {
        for (key, value) in annotations {
            self.object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
        }
    }

    fn label(&mut self, tier: &str) {
        self.object["metadata"]["labels"]["tier"] = json!(tier);
    }

    fn quota(&mut self, bytes: &str) {
        let command = &mut self.object["spec"]["template"]["spec"]["containers"][0]["command"];
        let text = command.to_string();
        assert!(text.contains("8589934592"));
        *command = serde_json::from_str(&text.replace("8589934592", bytes)).unwrap();
    }

    /// One look of the reconciler.
    fn look(&mut self) -> Assessment {
        let object: StatefulSet = serde_json::from_value(self.object.clone()).unwrap();
        let governing = self.policies.govern(&BTreeMap::new(), object.metadata.labels.as_ref().unwrap());
        let live: Vec<Live> = self.live.clone().and_then(Live::of).into_iter().collect();
        let assessment =
            assess(&object, &governing, &Surroundings { cronjobs: Some(&live), ..Surroundings::nothing() }, now());
        if let Some(cronjob) = assessment.cronjob() {
            self.live = Some(cronjob.clone());
        }
        assessment
    }

    fn schedule(&self) -> &str {
        &self.live.as_ref().unwrap().spec.schedule
    }

    fn argument(&self, name: &str) -> String {
        let pod = self.live.as_ref().unwrap().spec.job_template.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        let prefix = format!("--{name}=");
        let args = pod.containers[0].args.as_ref().unwrap();
        args.iter().find_map(|arg| arg.strip_prefix(&prefix)).unwrap().to_owned()
    }

    fn deadline(&self) -> i64 {
        self.live.as_ref().unwrap().spec.job_template.spec.as_ref().unwrap().active_deadline_seconds.unwrap()
    }
}

fn daily() -> Value {
    json!({"defaults": {"schedule": "0 4 * * *"}, "limits": {"minInterval": "12h", "minIntervalWithoutFloor": "12h"}})
}

/// What the others are governed by: nothing, a policy without limits, and one that only warns.
fn others() -> [Option<Value>; 3] {
    [None, Some(json!({"defaults": {"schedule": "5 5 * * *"}})), Some(json!({"validationActions": ["Warn"]}))]
}

#[test]
fn a_schedule_that_was_good_under_another_policy_is_not_kept_by_the_strict_one() {
    for others in others() {
        let mut etcd = Etcd::new(policies(&daily(), others.as_ref()), &[("schedule", "7 3 * * *")]);
        etcd.look();
        assert_eq!(etcd.schedule(), "7 3 * * *");
        etcd.label("gone");
        etcd.annotate(&[("schedule", "*/15 * * * *")]);
        etcd.look();
        assert_eq!(etcd.schedule(), "*/15 * * * *", "nothing of the strict policy holds elsewhere");
        etcd.label("strict");
        for _ in 0..3 {
            let assessment = etcd.look();
            assert_eq!(etcd.schedule(), "0 4 * * *", "{others:?}");
            assert!(assessment.denials().any(|finding| finding.code == Code::ScheduleTooOften));
        }
        // Nor does it come in force when something else is edited, or by going round once more.
        etcd.annotate(&[("wait-between-members", "45s")]);
        etcd.look();
        assert_eq!(etcd.schedule(), "0 4 * * *");
        etcd.label("gone");
        etcd.label("strict");
        etcd.look();
        assert_eq!(etcd.schedule(), "0 4 * * *");
    }
}

/// The label comes back before anybody has looked.
#[test]
fn an_etcd_that_was_away_for_a_moment_keeps_what_the_strict_policy_accepted() {
    let mut etcd = Etcd::new(policies(&daily(), None), &[("schedule", "7 3 * * *")]);
    etcd.look();
    etcd.annotate(&[("schedule", "*/15 * * * *")]);
    assert_eq!(etcd.look().source, Source::LastGood);
    assert_eq!(etcd.schedule(), "7 3 * * *");
}

#[test]
fn an_etcd_that_was_first_made_elsewhere_takes_the_defaults_of_the_strict_policy() {
    for others in others() {
        let mut etcd = Etcd::new(policies(&daily(), others.as_ref()), &[("schedule", "*/15 * * * *")]);
        etcd.label("gone");
        etcd.look();
        etcd.label("strict");
        assert_eq!(etcd.look().source, Source::Defaults(vec![Key::Schedule]));
        assert_eq!(etcd.schedule(), "0 4 * * *");
    }
}

/// A record that is too long to be written is read back from the CronJob, with the policy that is named there.
#[test]
fn without_a_record_it_is_the_same() {
    let mut etcd = Etcd::new(policies(&daily(), None), &[("schedule", "7 3 * * *")]);
    etcd.look();
    etcd.label("gone");
    etcd.annotate(&[("schedule", "*/15 * * * *")]);
    etcd.look();
    etcd.live.as_mut().unwrap().metadata.annotations.as_mut().unwrap().remove(cronjob::names::IN_FORCE);
    etcd.label("strict");
    etcd.look();
    assert_eq!(etcd.schedule(), "0 4 * * *");
}

#[test]
fn no_limit_is_walked_around_by_a_label() {
    let strict = json!({
        "defaults": {"rule": "dbSizeFree > 512*1024*1024"},
        "limits": {"minFree": "512Mi", "minWaitBetweenMembers": "1m", "maxWaitBetweenMembers": "2m", "maxCommandTimeout": "10m",
            "windows": [{"from": "00:00", "to": "05:00"}], "quotaUsage": {"max": "85%"}},
    });
    for (key, bad, argument, good) in [
        ("free-above", "64Mi", "defrag-rule", "dbSizeFree > 512*1024*1024"),
        ("rule", "dbQuotaUsage > 0.5 && dbSizeFree > 64*1024*1024", "defrag-rule", "dbSizeFree > 512*1024*1024"),
        ("wait-between-members", "1s", "wait-between-defrags", "1m0s"),
        ("wait-between-members", "30m", "wait-between-defrags", "1m0s"),
        ("command-timeout", "1h", "command-timeout", "4m0s"),
    ] {
        let mut etcd = Etcd::new(policies(&strict, None), &[]);
        etcd.look();
        etcd.label("gone");
        etcd.annotate(&[(key, bad)]);
        assert_eq!(etcd.look().source, Source::Current, "{key} {bad}");
        assert_ne!(etcd.argument(argument), good);
        etcd.label("strict");
        etcd.look();
        assert_eq!(etcd.argument(argument), good, "{key} {bad}");
        etcd.look();
        assert_eq!(etcd.argument(argument), good, "{key} {bad}");
    }
}

const TWELVE_HOURS: i64 = 12 * 3600;
/// So many members at a day and a day each, as before there was a maximum.
const FOUR_DAYS: &[(&str, &str)] = &[("command-timeout", "24h"), ("wait-between-members", "5m")];

fn generous() -> Value {
    json!({"limits": {"maxCommandTimeout": "24h", "maxDeadline": "720h"}})
}

#[test]
fn a_job_of_four_days_is_refused_and_one_that_is_there_is_reported_and_stays() {
    let strict = |spec: &Value| policies(spec, None);
    let assessment = Etcd::new(strict(&json!({})), FOUR_DAYS).look();
    assert!(matches!(assessment.verdict, Verdict::Withheld));
    let codes: Vec<Code> = assessment.denials().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::CommandTimeoutTooLong]);

    // The same policy had no such limit once.
    let mut etcd = Etcd::new(strict(&generous()), FOUR_DAYS);
    etcd.look();
    let before = etcd.deadline();
    assert!(before > 4 * 24 * 3600);
    etcd.policies = strict(&json!({}));
    let assessment = etcd.look();
    assert!(assessment.denials().any(|finding| finding.code == Code::CommandTimeoutTooLong));
    assert_eq!((assessment.source, etcd.deadline()), (Source::LastGood, before));
    // It never grows, and what is put right counts at once.
    etcd.object["spec"]["replicas"] = json!(5);
    etcd.look();
    assert_eq!(etcd.deadline(), before);
    etcd.annotate(&[("command-timeout", "10m")]);
    assert_eq!(etcd.look().source, Source::Current);
    assert!(etcd.deadline() < TWELVE_HOURS);
    etcd.annotate(&[("command-timeout", "24h")]);
    assert_eq!(etcd.look().source, Source::LastGood);
    assert!(etcd.deadline() < TWELVE_HOURS, "there is no way back");
}

#[test]
fn a_job_of_four_days_that_another_policy_allowed_does_not_come_along() {
    let mut etcd = Etcd::new(policies(&json!({}), Some(&generous())), &[]);
    etcd.label("gone");
    etcd.annotate(FOUR_DAYS);
    etcd.look();
    assert!(etcd.deadline() > 4 * 24 * 3600);
    etcd.label("strict");
    etcd.look();
    assert_eq!((etcd.argument("command-timeout").as_str(), etcd.deadline() < TWELVE_HOURS), ("4m0s", true));
}

/// No edit of the pod template is refused, and no scaling.
#[test]
fn a_quota_without_end_and_more_members_make_no_run_longer_than_the_policy_allows() {
    let mut etcd = Etcd::new(policies(&json!({}), Some(&generous())), &[]);
    etcd.look();
    etcd.quota("9007199254740992");
    for replicas in [3, 7] {
        etcd.object["spec"]["replicas"] = json!(replicas);
        let assessment = etcd.look();
        assert_eq!(etcd.deadline(), TWELVE_HOURS);
        assert!(assessment.denials().any(|finding| finding.code == Code::DeadlineTooLong));
    }
    // Not by way of another policy either.
    etcd.label("gone");
    etcd.look();
    assert!(etcd.deadline() > TWELVE_HOURS);
    etcd.label("strict");
    etcd.look();
    assert_eq!(etcd.deadline(), TWELVE_HOURS);
    // Who never had a CronJob gets none.
    etcd.live = None;
    assert!(matches!(etcd.look().verdict, Verdict::Withheld));
}

#[test]
fn members_that_come_later_make_no_run_longer_than_the_policy_allows() {
    let mut etcd = Etcd::new(policies(&json!({}), None), &[]);
    etcd.look();
    etcd.quota("858993459200");
    etcd.annotate(&[("command-timeout", "5h")]);
    etcd.object["spec"]["replicas"] = json!(1);
    etcd.look();
    assert_eq!(etcd.argument("command-timeout"), "5h0m0s");
    etcd.object["spec"]["replicas"] = json!(7);
    let assessment = etcd.look();
    assert!(assessment.denials().any(|finding| finding.code == Code::DeadlineTooLong));
    assert_eq!(etcd.deadline(), TWELVE_HOURS);
}

#[test]
fn where_a_policy_does_not_refuse_a_run_is_as_long_as_it_is_asked_for() {
    let mut etcd = Etcd::new(policies(&json!({"validationActions": ["Warn"]}), None), FOUR_DAYS);
    let assessment = etcd.look();
    assert!(assessment.denials().any(|finding| finding.code == Code::CommandTimeoutTooLong));
    assert!(etcd.deadline() > 4 * 24 * 3600);
}
