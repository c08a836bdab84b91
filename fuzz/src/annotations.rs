//! Input: an edit of `examples/kamaji-etcd.yaml` on each line, either an annotation without its prefix, `KEY: VALUE`,
//! or a JSON pointer and what is to stand there, `/spec/replicas 5` (`-` at the end appends to a list). A number in front,
//! `300*/spec/template/spec/containers/0/args/- "-v"` or `300*endpoints: http://a:1,`, does so many times what follows:
//! short inputs reach objects beyond what is read.

use std::{collections::BTreeMap, sync::LazyLock};

use etcd_defrag_webhook::defrag::{
    Assessment, Surroundings, assess,
    cronjob::NAME_LIMIT,
    defaulting::{Change, changes},
    finding::{Code, WARNING_LIMIT},
    keys::{Key, PREFIX},
    policy::{Governing, Policy},
    schedule::Schedule,
    statefulset::StatefulSet,
};
use serde_json::Value;

use super::{NOW, readable};

/// How often all lines of an input together may say that something is to be done again.
const MOST_REPEATED: usize = 10_000;

static EXAMPLE: LazyLock<Value> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("../../examples/kamaji-etcd.yaml")).expect("the example is YAML")
});

static UNCHANGED: LazyLock<StatefulSet> =
    LazyLock::new(|| serde_json::from_value(EXAMPLE.clone()).expect("the example is a StatefulSet"));

pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let Ok(object) = serde_json::from_value::<StatefulSet>(edited(text)) else { return };
    let assessment = assessed(&object);
    ends(&assessment);
    fills_in_once(&object, &assessment, &Policy::built_in());
}

fn assessed(object: &StatefulSet) -> Assessment {
    assess(object, &Governing::built_in(), &Surroundings::nothing(), NOW)
}

fn edited(text: &str) -> Value {
    let mut object = EXAMPLE.clone();
    let mut annotations = BTreeMap::new();
    let mut left = MOST_REPEATED;
    for line in text.lines() {
        let repeated =
            line.split_once('*').and_then(|(times, line)| Some((times.parse::<usize>().ok()?.min(left), line)));
        let (times, line) = repeated.unwrap_or((1, line));
        left -= repeated.map_or(0, |(times, _)| times);
        if line.starts_with('/') {
            let _ = (0..times).try_for_each(|_| set(&mut object, line));
        } else if let Some((key, value)) = line.split_once(": ") {
            annotations.insert(format!("{PREFIX}{key}"), value.repeat(times));
        }
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("annotations".to_owned(), serde_json::json!(annotations));
    }
    object
}

/// Carries out `POINTER JSON`, where that is possible.
fn set(object: &mut Value, line: &str) -> Option<()> {
    let (pointer, value) = line.split_once(' ')?;
    let value = serde_json::from_str(value).ok()?;
    let (parent, leaf) = pointer.rsplit_once('/')?;
    match object.pointer_mut(parent)? {
        Value::Object(fields) => drop(fields.insert(leaf.to_owned(), value)),
        Value::Array(items) if leaf == "-" => items.push(value),
        Value::Array(items) => *items.get_mut(leaf.parse::<usize>().ok()?)? = value,
        _ => {}
    }
    Some(())
}

/// An enrolled object has a plan or a refusal, and never both.
fn ends(assessment: &Assessment) {
    use etcd_defrag_webhook::defrag::Enrollment::{Enrolled, NotEnrolled, OptedOut, Unclear};
    readable(&assessment.findings);
    let refused = assessment.denials().next().is_some();
    match assessment.enrollment {
        Enrolled => assert_eq!(assessment.plan.is_none(), refused, "{assessment:?}"),
        Unclear => assert!(assessment.plan.is_none() && refused, "{assessment:?}"),
        NotEnrolled | OptedOut => {
            assert!(assessment.plan.is_none() && assessment.findings.is_empty(), "{assessment:?}");
        }
    }
    if assessment.plan.is_some() {
        runs(assessment);
    }
}

/// The CronJob is one that Kubernetes takes, with arguments that reach the engine as they are meant.
fn runs(assessment: &Assessment) {
    let plan = assessment.plan.as_ref().expect("it is sound");
    for line in plan.effective(NOW) {
        assert!(line.chars().count() <= WARNING_LIMIT && !line.contains(char::is_control), "{line:?}");
    }
    let cronjob = assessment.cronjob().expect("a plan has a CronJob");
    assert!(cronjob.metadata.name.as_ref().is_some_and(|name| name.len() <= NAME_LIMIT), "{cronjob:?}");
    assert!(Schedule::parse(&cronjob.spec.schedule).is_ok(), "{cronjob:?}");
    assert!(plan.next_runs(NOW, 3).is_sorted());
    let job = cronjob.spec.job_template.spec.as_ref().expect("a Job has a specification");
    assert!(job.active_deadline_seconds.is_some_and(|seconds| seconds > 0), "{cronjob:?}");
    let pod = job.template.spec.as_ref().expect("a pod has a specification");
    let args = pod.containers.iter().flat_map(|container| container.args.iter().flatten());
    for arg in args {
        // The kubelet would expand a single dollar with a bracket.
        assert!(!arg.replace("$$", "").contains('$'), "{arg:?}");
        let is_switch = arg == "--skip-healthcheck-cluster-endpoints";
        assert!(arg.starts_with("--") && (is_switch || arg.contains('=')), "{arg:?}");
    }
}

/// Filling in what the policy gives touches our own keys only, is done at once, and changes nothing about the plan.
fn fills_in_once(object: &StatefulSet, assessment: &Assessment, policy: &Policy) {
    let first = changes(object, None, policy);
    assert!(first.iter().all(|change| Key::ALL.iter().any(|key| key.annotation() == change.annotation)), "{first:?}");
    let filled = applied(object, first);
    for old in [None, Some(object), Some(&filled), Some(&*UNCHANGED)] {
        assert_eq!(changes(&filled, old, policy), [], "with {old:?}");
        let again = applied(object, changes(object, old, policy));
        assert_eq!(changes(&again, old, policy), [], "with {old:?}");
    }
    // A list of filled-in keys that a person wrote gives their values away.
    if object.annotations().contains_key(Key::Defaulted.annotation()) {
        return;
    }
    let after = assessed(&filled);
    // What is filled in can be what is too much.
    if after.findings.iter().any(|finding| finding.code == Code::TooMuchToRead) {
        return;
    }
    let codes = |assessment: &Assessment| assessment.findings.iter().map(|finding| finding.code).collect::<Vec<Code>>();
    assert_eq!(codes(&after), codes(assessment));
    assert_eq!(after.cronjob(), assessment.cronjob());
}

fn applied(object: &StatefulSet, changes: Vec<Change>) -> StatefulSet {
    let mut object = object.clone();
    let annotations = object.metadata.annotations.get_or_insert_default();
    for change in changes {
        match change.value {
            Some(value) => annotations.insert(change.annotation.to_owned(), value),
            None => annotations.remove(change.annotation),
        };
    }
    object
}
