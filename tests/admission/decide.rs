//! The decision on a write, without any transport.

use etcd_defrag_webhook::{
    admission::{
        Entry,
        decide::{Decision, Write, decide},
        review::Operation,
    },
    defrag::{finding::Code, policy::PolicySnapshot, statefulset::StatefulSet},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fixtures::{annotated, etcd, set, with};

fn read(object: &Value) -> StatefulSet {
    serde_json::from_value(object.clone()).unwrap()
}

fn run(entry: Entry, operation: Operation, object: &Value, old: Option<&Value>) -> Decision {
    let (object, old) = (read(object), old.map(read));
    let write = Write { operation, object: &object, old: old.as_ref(), of_status: false };
    decide(entry, write, &PolicySnapshot::default(), Timestamp::UNIX_EPOCH)
}

fn create(object: &Value) -> Vec<Code> {
    codes(&run(Entry::Validate, Operation::Create, object, None))
}

fn update(old: &Value, object: &Value) -> Vec<Code> {
    codes(&run(Entry::Validate, Operation::Update, object, Some(old)))
}

fn codes(decision: &Decision) -> Vec<Code> {
    decision.refusals.iter().map(|finding| finding.code).collect()
}

const NONE: [Code; 0] = [];

#[test]
fn a_sound_etcd_may_be_created_and_a_typo_may_not() {
    assert_eq!(create(&etcd()), NONE);
    assert_eq!(create(&annotated(&[("etcd-defrag.io/shedule", "0 0 * * *")])), [Code::AnnotationUnknown]);
    assert_eq!(create(&with("/metadata/labels/etcd-defrag.io~1enabled", json!("yes"))), [Code::EnabledInvalid]);
}

#[test]
fn an_object_that_is_not_enrolled_is_none_of_our_business() {
    let mut object = annotated(&[("etcd-defrag.io/shedule", "x")]);
    for labels in [json!({"app": "etcd"}), json!({"etcd-defrag.io/enabled": "false"}), json!(null)] {
        object["metadata"]["labels"] = labels;
        assert_eq!(create(&object), NONE);
        let decision = run(Entry::Validate, Operation::Create, &object, None);
        assert!(decision.findings.is_empty() && decision.warnings.is_empty());
    }
}

#[test]
fn deleting_passes_whatever_the_object_says() {
    let bad = annotated(&[("etcd-defrag.io/shedule", "x")]);
    for entry in Entry::ALL {
        assert!(codes(&run(entry, Operation::Other, &bad, None)).is_empty());
        let mut deleting = bad.clone();
        deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let decision = run(entry, Operation::Update, &deleting, Some(&etcd()));
        assert!(decision.refusals.is_empty() && decision.warnings.is_empty() && decision.patch.is_empty());
    }
}

/// The rescue path: no edit elsewhere is refused, whatever state our settings are in.
#[test]
fn quota_image_and_replicas_can_always_be_edited() {
    let healthy = etcd();
    let in_violation = annotated(&[("etcd-defrag.io/shedule", "x"), ("etcd-defrag.io/rule", "true")]);
    let mut unclear = etcd();
    unclear["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("yes");
    let edits: [(&str, Value); 8] = [
        ("/spec/template/spec/containers/0/command/14", json!("--quota-backend-bytes=17179869184")),
        ("/spec/template/spec/containers/0/command/14", json!("--quota-backend-bytes=nonsense")),
        ("/spec/template/spec/containers/0/image", json!("registry.example/etcd:debug")),
        ("/spec/template/spec/containers/0/resources", json!({"limits": {"memory": "64Gi"}})),
        ("/spec/replicas", json!(0)),
        ("/spec/replicas", json!(i32::MAX)),
        ("/spec/template/spec/containers", json!([])),
        ("/metadata/annotations/example.com~1note", json!("rescue")),
    ];
    for old in [&healthy, &in_violation, &unclear] {
        for (pointer, value) in &edits {
            let mut object = old.clone();
            set(&mut object, pointer, value.clone());
            for entry in Entry::ALL {
                let decision = run(entry, Operation::Update, &object, Some(old));
                assert_eq!(codes(&decision), NONE, "{entry} {pointer}");
                // A patch would turn the edit into a change of our keys.
                assert!(decision.patch.is_empty(), "{entry} {pointer}");
            }
        }
    }
}

#[test]
fn an_edit_elsewhere_is_told_what_is_wrong() {
    let old = annotated(&[("etcd-defrag.io/shedule", "x")]);
    let mut object = old.clone();
    object["spec"]["replicas"] = json!(5);
    let decision = run(Entry::Mutate, Operation::Update, &object, Some(&old));
    assert!(decision.warnings.iter().any(|line| line.starts_with("annotation-unknown: ")), "{decision:?}");
    // The refusing entry answers for a change of our keys; the same words must not come twice.
    let bad = annotated(&[("etcd-defrag.io/shedule", "x"), ("etcd-defrag.io/rule", "true")]);
    let decision = run(Entry::Mutate, Operation::Update, &bad, Some(&etcd()));
    assert!(decision.warnings.is_empty() && decision.refusals.is_empty());
    // For keys that do not exist it is not asked.
    assert_eq!(codes(&run(Entry::Mutate, Operation::Update, &old, Some(&etcd()))), [Code::AnnotationUnknown]);
    // A rescue that takes one away, as a replace by what is in git does, is none that brings one in.
    let mut rescue = etcd();
    set(&mut rescue, "/spec/template/spec/containers/0/command/14", json!("--quota-backend-bytes=nonsense"));
    assert_eq!(codes(&run(Entry::Mutate, Operation::Update, &rescue, Some(&old))), NONE);
}

#[test]
fn a_change_of_our_keys_is_refused_for_what_it_adds_only() {
    let one = [("etcd-defrag.io/shedule", "x")];
    let bad = annotated(&one);
    assert_eq!(update(&etcd(), &bad), [Code::AnnotationUnknown]);
    // Repairing something else while a violation stands.
    let better = annotated(&[one[0], ("etcd-defrag.io/suspend", "true")]);
    assert_eq!(update(&bad, &better), NONE);
    let decision = run(Entry::Validate, Operation::Update, &better, Some(&bad));
    assert!(decision.warnings.iter().any(|line| line.starts_with("annotation-unknown: ")), "{decision:?}");
    // Adding a second violation.
    let worse = annotated(&[one[0], ("etcd-defrag.io/no-such-thing", "x")]);
    assert_eq!(update(&bad, &worse), [Code::AnnotationUnknown]);
    // Removing it.
    assert_eq!(update(&bad, &etcd()), NONE);
}

/// The emergency stop works whatever else is refused, and whoever pulls it reads that it does.
#[test]
fn a_suspension_is_confirmed_whatever_else_is_refused() {
    let line = |decision: &Decision| {
        assert!(decision.refusals.is_empty(), "{decision:?}");
        decision.warnings.iter().find(|line| line.contains("suspended: no run until that ends")).cloned()
    };
    let typo = ("etcd-defrag.io/shedule", "x");
    let (bad, stopped) = (annotated(&[typo]), annotated(&[typo, ("etcd-defrag.io/suspend", "true")]));
    assert_eq!(
        line(&run(Entry::Validate, Operation::Update, &stopped, Some(&bad))).as_deref(),
        Some("etcd-defrag: suspended: no run until that ends, whatever else is refused")
    );
    assert_eq!(line(&run(Entry::Validate, Operation::Update, &bad, Some(&stopped))), None);
    // Scaling to zero is an edit elsewhere.
    for (before, refused) in [(bad, true), (etcd(), false)] {
        let mut none = before.clone();
        none["spec"]["replicas"] = json!(0);
        let said = line(&run(Entry::Mutate, Operation::Update, &none, Some(&before)));
        assert_eq!(said.is_some_and(|said| said.contains("whatever else")), refused);
        assert!(line(&run(Entry::Mutate, Operation::Update, &none, Some(&before))).is_some());
        assert_eq!(line(&run(Entry::Mutate, Operation::Update, &none, Some(&none))), None, "it is no news");
    }
}

#[test]
fn enrolling_is_judged_as_a_whole() {
    let bad = annotated(&[("etcd-defrag.io/shedule", "x")]);
    for label in [json!("false"), json!("yes"), json!(null)] {
        let mut old = bad.clone();
        old["metadata"]["labels"]["etcd-defrag.io/enabled"] = label;
        if old["metadata"]["labels"]["etcd-defrag.io/enabled"].is_null() {
            old["metadata"].as_object_mut().unwrap().remove("labels");
        }
        assert_eq!(update(&old, &bad), [Code::AnnotationUnknown]);
    }
}

#[test]
fn opting_out_is_never_refused() {
    let bad = annotated(&[("etcd-defrag.io/shedule", "x")]);
    let mut out = bad.clone();
    out["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("false");
    assert_eq!(update(&bad, &out), NONE);
    out["metadata"].as_object_mut().unwrap().remove("labels");
    assert_eq!(update(&bad, &out), NONE);
}

#[test]
fn a_label_that_stays_unclear_is_no_new_violation_but_another_one_is() {
    let mut old = etcd();
    old["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("yes");
    let mut object = old.clone();
    object["metadata"]["annotations"] = json!({"etcd-defrag.io/suspend": "true"});
    assert_eq!(update(&old, &object), NONE);
    object["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("on");
    assert_eq!(update(&old, &object), [Code::EnabledInvalid]);
}

#[test]
fn an_update_without_its_old_object_is_judged_as_new() {
    let bad = annotated(&[("etcd-defrag.io/shedule", "x")]);
    assert_eq!(codes(&run(Entry::Validate, Operation::Update, &bad, None)), [Code::AnnotationUnknown]);
}

/// Whoever enrols an etcd reads which Secrets and addresses come into force by it: another may have written them.
#[test]
fn enrolling_names_the_access_that_comes_into_force() {
    let planted = annotated(&[
        ("etcd-defrag.io/username-secret", "other:user,password"),
        ("etcd-defrag.io/endpoints", "https://a.example:1,https://b.example:1,https://c.example:1"),
    ]);
    let mut out = planted.clone();
    out["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("false");
    let mut bare = planted.clone();
    bare["metadata"]["labels"].as_object_mut().unwrap().remove("etcd-defrag.io/enabled");
    let named = |decision: &Decision| {
        let lines = decision.warnings.iter().filter(|line| line.starts_with("etcd-defrag: in force from now on: "));
        lines.cloned().collect::<Vec<_>>()
    };
    let expected = [
        "etcd-defrag: in force from now on: username-secret \"other:user,password\"",
        "etcd-defrag: in force from now on: endpoints \"https://a.example:1,https://b.example:1,https://c.example:1\"",
    ];
    for old in [&out, &bare] {
        assert_eq!(named(&run(Entry::Validate, Operation::Update, &planted, Some(old))), expected);
    }
    assert_eq!(named(&run(Entry::Create, Operation::Create, &planted, None)), expected);
    // It is no news afterwards.
    let mut touched = planted.clone();
    touched["metadata"]["annotations"]["etcd-defrag.io/defrag-now"] = json!("please");
    assert_eq!(named(&run(Entry::Validate, Operation::Update, &touched, Some(&planted))), [""; 0]);
}

/// The CronJob that such a write leads to is not there yet, and a token that is older than it asks for nothing.
#[test]
fn a_token_that_comes_with_the_etcd_is_said_to_start_nothing() {
    let asked = annotated(&[("etcd-defrag.io/defrag-now", "please")]);
    let mut bare = asked.clone();
    bare["metadata"]["labels"].as_object_mut().unwrap().remove("etcd-defrag.io/enabled");
    let said = |decision: &Decision| decision.warnings.iter().any(|line| line.contains("defrag-now starts no run"));
    let warning = "etcd-defrag: defrag-now starts no run here, since it was written together with the etcd; only a new value starts one";
    let created = run(Entry::Create, Operation::Create, &asked, None);
    assert!(created.warnings.contains(&warning.to_owned()), "{:?}", created.warnings);
    assert!(said(&run(Entry::Validate, Operation::Update, &asked, Some(&bare))), "enrolled with it");
    assert!(!said(&run(Entry::Validate, Operation::Update, &asked, Some(&etcd()))), "it became new");
    let mut empty = asked.clone();
    empty["metadata"]["annotations"]["etcd-defrag.io/defrag-now"] = json!("");
    assert!(!said(&run(Entry::Create, Operation::Create, &empty, None)));
}

/// Kubernetes takes the prefix in any letters on annotations. No condition looks for it, and a call that comes anyway refuses it.
#[test]
fn a_prefix_in_other_letters_is_refused_and_ratcheted() {
    let bad = annotated(&[("Etcd-Defrag.io/schedule", "0 3 * * *")]);
    assert_eq!(codes(&run(Entry::Create, Operation::Create, &bad, None)), [Code::AnnotationUnknown]);
    let mut worse = bad.clone();
    worse["metadata"]["annotations"]["etcd-defrag.io/defrag-now"] = json!("please");
    assert_eq!(codes(&run(Entry::Validate, Operation::Update, &worse, Some(&etcd()))), [Code::AnnotationUnknown]);
    assert_eq!(codes(&run(Entry::Validate, Operation::Update, &worse, Some(&bad))), NONE);
    // It is no key of ours, so by itself it is an edit elsewhere.
    assert_eq!(codes(&run(Entry::Validate, Operation::Update, &bad, Some(&etcd()))), NONE);
}
