use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use serde_json::{Value, json};

use super::*;
use crate::defrag::{
    Assessment, Surroundings, Verdict, assess,
    assess::Source,
    cronjob::live::Live,
    etcd,
    policy::{EnrollmentMode, Governing, Policy},
};

fn now() -> jiff::Timestamp {
    "2026-11-24T00:00:00Z".parse().unwrap()
}

fn kamaji() -> Value {
    let mut object: Value = serde_saphyr::from_str(include_str!("../../../examples/kamaji-etcd.yaml")).unwrap();
    object["metadata"]["annotations"] = json!({"etcd-defrag.io/schedule": "5 3 * * *"});
    object
}

/// The example with one more than is read, of each thing that is counted.
fn beyond(counted: Counted) -> Value {
    let mut object = kamaji();
    let container = &mut object["spec"]["template"]["spec"]["containers"][0];
    match counted {
        Counted::Bytes => container["args"] = json!(["-".repeat(counted.most())]),
        Counted::Items => container["args"] = vec!["-v"; counted.most()].into(),
        Counted::Invocations => {
            container["command"] = json!(["sh", "-c", "etcd --name=a\n".repeat(counted.most() + 1)]);
        }
        Counted::Containers => {
            let others = (0..counted.most()).map(|number| json!({"name": format!("c{number}")}));
            object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().extend(others);
        }
        Counted::Keys => {
            for number in 0..counted.most() {
                object["metadata"]["labels"][format!("{PREFIX}l{number}")] = "x".into();
            }
        }
    }
    object
}

fn read(object: &Value) -> StatefulSet {
    serde_json::from_value(object.clone()).unwrap()
}

fn assessed(object: &Value, live: &[Live]) -> Assessment {
    let around = Surroundings { cronjobs: Some(live), ..Surroundings::nothing() };
    assess(&read(object), &Governing::built_in(), &around, now())
}

#[test]
fn beyond_each_bound_there_is_one_finding_that_says_what_is_too_much() {
    let mut said = String::new();
    for counted in Counted::ALL {
        let assessment = assessed(&beyond(counted), &[]);
        let [finding] = assessment.findings.as_slice() else { panic!("{counted:?}: {:#?}", assessment.findings) };
        assert_eq!((finding.code, finding.denies()), (Code::TooMuchToRead, true));
        assert!(matches!(assessment.verdict, Verdict::Withheld), "{counted:?}");
        writeln!(said, "{}\n  at {}\n  {}", finding.brief, finding.field, finding.message).unwrap();
    }
    insta::assert_snapshot!(said);
}

#[test]
fn what_is_at_a_bound_is_read() {
    for counted in Counted::ALL {
        let (mut object, most) = (kamaji(), counted.most());
        let found = size(&read(&object)).into_iter().find(|(one, _)| *one == counted).map_or(0, |(_, found)| found);
        let room = most - found;
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        match counted {
            Counted::Bytes => container["args"] = json!(["-".repeat(room)]),
            Counted::Items => container["args"] = vec!["-v"; room].into(),
            Counted::Invocations => container["command"] = json!(["sh", "-c", "etcd --name=a\n".repeat(most)]),
            Counted::Containers => {
                let others = (0..room).map(|number| json!({"name": format!("c{number}")}));
                object["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().extend(others);
            }
            Counted::Keys => {
                for number in 0..room {
                    object["metadata"]["labels"][format!("{PREFIX}l{number}")] = "x".into();
                }
            }
        }
        let codes: BTreeSet<Code> = assessed(&object, &[]).findings.iter().map(|finding| finding.code).collect();
        assert!(!codes.contains(&Code::TooMuchToRead), "{counted:?}: {codes:?}");
    }
}

#[test]
fn what_was_in_force_stays_and_the_emergency_stop_is_heard() {
    let before = assessed(&kamaji(), &[]).cronjob().unwrap().clone();
    let live = [Live::of(before.clone()).unwrap()];
    for counted in Counted::ALL {
        let mut object = beyond(counted);
        object["metadata"]["annotations"]["etcd-defrag.io/schedule"] = json!("* * * * *");
        let assessment = assessed(&object, &live);
        assert_eq!(assessment.source, Source::LastGood);
        assert_eq!(assessment.refused.facts, Some(Code::TooMuchToRead));
        assert_eq!(assessment.cronjob().unwrap().spec, before.spec, "{counted:?}");

        let suspended = |object: &Value| assessed(object, &live).cronjob().unwrap().spec.suspend;
        assert_eq!(suspended(&object), Some(false));
        let mut stopped = object.clone();
        stopped["metadata"]["annotations"][Key::Suspend.annotation()] = json!("true");
        assert_eq!(suspended(&stopped), Some(true));
        object["spec"]["replicas"] = json!(0);
        assert_eq!(suspended(&object), Some(true));
    }
}

#[test]
fn a_policy_that_enrols_every_etcd_enrols_none_that_is_not_read() {
    for counted in Counted::ALL {
        let mut object = beyond(counted);
        let labels = object["metadata"]["labels"].as_object_mut().unwrap();
        labels.remove(ENABLED);
        let evidence = etcd::evidence(&read(&object));
        assert!(evidence.names_etcd() && !evidence.runs_etcd(), "{counted:?}");
        assert!(evidence.sentence().contains("at most"), "{}", evidence.sentence());
        let policy = Policy { enrollment: EnrollmentMode::All, ..Policy::built_in() };
        let governing = Governing { policy: policy.into(), by: None, left_out: false };
        let assessment = assess(&read(&object), &governing, &Surroundings::nothing(), now());
        assert!(matches!(assessment.verdict, Verdict::Absent), "{counted:?}");
    }
}

/// The bounds are far above every real object: none of those that are known takes a tenth of one.
#[test]
fn no_real_object_comes_near_a_bound() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("examples/kamaji-etcd.yaml")];
    files.extend(fs::read_dir(root.join("tests/fixtures/charts")).unwrap().map(|entry| entry.unwrap().path()));
    let mut largest = Vec::new();
    for file in &files {
        let object: StatefulSet = serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        for (counted, found) in size(&object) {
            let share = found * 1000 / counted.most();
            largest.push((share, counted, found, file.file_name().unwrap().to_owned()));
        }
    }
    largest.sort_by_key(|(share, ..)| std::cmp::Reverse(*share));
    let (share, counted, found, file) = &largest[0];
    println!("the largest share of a bound: {share} thousandths, {found} {counted:?} in {}", file.display());
    assert!(files.len() > 10 && *share < 100, "{found} {counted:?} in {}", file.display());
}
