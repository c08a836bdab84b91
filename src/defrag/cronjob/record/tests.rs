use serde_json::{Value, json};

use super::{super::names::MANAGER, *};
use crate::defrag::{Surroundings, assess, cronjob::live::Live, policy::Governing, statefulset::StatefulSet};

fn built(annotations: &[(&str, &str)]) -> CronJob {
    let mut object: Value = serde_saphyr::from_str(include_str!("../../../../examples/kamaji-etcd.yaml")).unwrap();
    object["metadata"]["uid"] = json!("u");
    for (key, value) in annotations {
        object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
    }
    let object: StatefulSet = serde_json::from_value(object).unwrap();
    let now = "2026-11-24T00:00:00Z".parse().unwrap();
    assess(&object, &Governing::built_in(), &Surroundings::nothing(), now).cronjob().unwrap().clone()
}

/// The same CronJob as a version without records made it.
fn without_record(mut cronjob: CronJob) -> CronJob {
    cronjob.metadata.annotations.as_mut().unwrap().remove(IN_FORCE);
    cronjob
}

fn in_force(cronjob: CronJob) -> Record {
    Live::of(cronjob).unwrap().in_force(None, &Governing::built_in().policy.limits).unwrap()
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let cronjob = built(&[("schedule", "H 3 * * *"), ("username-secret", "root:user,password"), ("suspend", "true")]);
    let record = in_force(cronjob);
    assert_eq!(Record::read(&record.write().unwrap()), Some(record.clone()));
    assert_eq!(record.settings.as_ref().unwrap()[&Key::Schedule], "H 3 * * *");
    assert!(record.suspend && record.facts.unwrap().login.is_some());
}

#[test]
fn what_a_version_without_records_made_is_read_back() {
    let settings = [("schedule", "5 3 * * *"), ("time-zone", "Etc/UTC"), ("username-secret", "root:user,password")];
    let cronjob = built(&settings);
    let (record, back) = (in_force(cronjob.clone()), in_force(without_record(cronjob.clone())));
    assert_eq!((back.facts, back.policy, back.suspend), (record.facts, None, false));
    let (given, recorded) = (back.settings.unwrap(), record.settings.unwrap());
    for (key, value) in recorded {
        assert_eq!(given.get(&key), Some(&value));
    }
    assert!(!given.contains_key(&Key::CommandTimeout), "what was computed from the quota was not given");
    let timed = in_force(without_record(built(&[("command-timeout", "10m")])));
    assert_eq!(timed.settings.unwrap()[&Key::CommandTimeout], "10m0s");
    let mut cluttered = without_record(cronjob);
    let pod = cluttered.spec.job_template.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    pod.containers[0].args = Some(vec!["--cluster".to_owned()]);
    let limits = &Governing::built_in().policy.limits;
    assert_eq!(Live::of(cluttered).unwrap().in_force(None, limits), None, "nothing can be read back of that");
}

#[test]
fn a_literal_user_and_a_health_check_that_is_left_out_are_kept_and_read_back() {
    let cronjob = built(&[("username-secret", "root:user=r.oot@x,password")]);
    let pod = cronjob.spec.job_template.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    let user = pod.containers[0].env.as_ref().unwrap().iter().find(|variable| variable.name == USER).unwrap();
    assert_eq!((user.value.as_deref(), user.value_from.as_ref()), (Some("r.oot@x"), None));
    let record = in_force(cronjob.clone());
    assert_eq!(Record::read(&record.write().unwrap()), Some(record.clone()));
    assert_eq!(in_force(without_record(cronjob)).facts, record.facts);
    let Facts { login: Some(login), .. } = record.facts.clone().unwrap() else { panic!() };
    assert_eq!(login.user, UserName::Literal("r.oot@x".to_owned()));
    for forged in ["user=a b", "user=", "user=a,b", "a b"] {
        let mut record = record.clone();
        record.facts.as_mut().unwrap().login.as_mut().unwrap().user = forged.to_owned().into();
        assert_eq!(Record::read(&record.write().unwrap()), None, "{forged}");
    }
    let mut skipping = built(&[]);
    let pod = skipping.spec.job_template.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    pod.containers[0].args.as_mut().unwrap().push(SKIP_HEALTH_CHECK.to_owned());
    assert!(in_force(without_record(skipping)).facts.unwrap().skips_health_check);
}

#[test]
fn what_nobody_of_ours_wrote_is_ignored() {
    let cronjob = built(&[]);
    let text = cronjob.metadata.annotations.as_ref().unwrap()[IN_FORCE].clone();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let forged = [
        String::new(),
        "{".to_owned(),
        "{}".to_owned(),
        "null".to_owned(),
        changed("\"version\":1", "\"version\":2"),
        changed("\"schedule\"", "\"shedule\""),
        changed("\"schedule\"", "\"suspend\""),
        changed("\"firstOrdinal\"", "\"unknown\":1,\"firstOrdinal\""),
        changed("https://kamaji-etcd-0", "unix://kamaji-etcd-0"),
        changed("\"quota\":8589934592", "\"quota\":0"),
        changed("\"kamaji-etcd-certs\"", "\"../etcd\""),
        changed("\"replicas\":3", "\"replicas\":4000000000"),
        changed("\"replicas\":3", "\"replicas\":-1"),
        format!("{text}{}", " ".repeat(LIMIT)),
    ];
    for text in forged {
        assert_eq!(Record::read(&text), None, "{text}");
        let mut live = cronjob.clone();
        live.metadata.annotations.as_mut().unwrap().insert(IN_FORCE.to_owned(), text);
        assert_eq!(in_force(live).settings.unwrap()[&Key::Schedule], "0 0 * * *", "it is read back");
    }
}

#[test]
fn a_record_that_somebody_else_wrote_is_ignored_whatever_it_says() {
    let mut live = built(&[]);
    let text = live.metadata.annotations.as_ref().unwrap()[IN_FORCE].replace("0 0 * * *", "7 7 * * *");
    live.metadata.annotations.as_mut().unwrap().insert(IN_FORCE.to_owned(), text);
    let schedule = |live: &CronJob| in_force(live.clone()).settings.unwrap()[&Key::Schedule].clone();
    assert_eq!(schedule(&live), "7 7 * * *", "nothing shows who wrote it");
    let owns = |manager: &str, operation: &str, record: bool| {
        let fields = if record { json!({"f:etcd-defrag.io/in-force": {}}) } else { json!({}) };
        json!({"manager": manager, "operation": operation, "apiVersion": "batch/v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:annotations": fields}}})
    };
    let managed = |all: Value, live: &mut CronJob| {
        live.metadata.managed_fields = Some(serde_json::from_value(all).unwrap());
    };
    managed(json!([owns(MANAGER, "Apply", true)]), &mut live);
    assert_eq!(schedule(&live), "7 7 * * *");
    managed(json!([owns(MANAGER, "Apply", false), owns("kubectl-edit", "Update", true)]), &mut live);
    assert_eq!(schedule(&live), "0 0 * * *", "as the specification says");
}

#[test]
fn a_record_that_would_be_too_long_is_not_written() {
    let rule = "x".repeat(LIMIT);
    let record = Record { settings: Some(BTreeMap::from([(Key::Rule, rule)])), ..Record::default() };
    assert_eq!(record.write(), None);
}
