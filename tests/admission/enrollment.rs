//! `enrollment: All`: who gets the label, who does not, and who may take it off.

use etcd_defrag_webhook::{admission::Entry, defrag::policy::PolicySnapshot};
use serde_json::{Value, json};

use crate::{
    fixtures::{cluster, etcd, policy, review, set, with},
    policies::filled_in,
    reviews::answer_under,
};

const LABEL: &str = "etcd-defrag.io/enabled";

fn all() -> PolicySnapshot {
    cluster([policy("everyone", json!({"enrollment": "All"}))])
}

fn all_but_those_who_say_no() -> PolicySnapshot {
    cluster([policy("everyone", json!({"enrollment": "All", "allowOptOut": true}))])
}

/// An etcd whose label has this value, or that has none.
fn labelled(value: Option<&str>) -> Value {
    let mut object = etcd();
    match value {
        Some(value) => object["metadata"]["labels"][LABEL] = json!(value),
        None => {
            object["metadata"]["labels"].as_object_mut().unwrap().remove(LABEL);
        }
    }
    object
}

async fn ask(snapshot: &PolicySnapshot, entry: Entry, object: &Value, old: Option<&Value>) -> Value {
    let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
    answer_under(snapshot, entry, &review(operation, "", object.clone(), old.cloned().unwrap_or_default())).await
}

#[tokio::test]
async fn an_etcd_without_the_label_gets_it_and_what_the_policy_gives() {
    let mut bare = labelled(None);
    bare["metadata"].as_object_mut().unwrap().remove("labels");
    bare["metadata"].as_object_mut().unwrap().remove("annotations");
    for object in [labelled(None), bare] {
        let enrolled = filled_in(&all(), Entry::Enroll, "CREATE", &object, None).await;
        assert_eq!(enrolled["metadata"]["labels"][LABEL], "true");
        assert_eq!(enrolled["metadata"]["annotations"]["etcd-defrag.io/schedule"], "0 0 * * *");
        assert_eq!(enrolled["metadata"]["annotations"]["etcd-defrag.io/defaulted"], "schedule,rule");
        assert_eq!(enrolled["spec"], object["spec"]);
        // The other entries see it now, and there is nothing left to do.
        for entry in [Entry::Enroll, Entry::Mutate] {
            assert_eq!(filled_in(&all(), entry, "CREATE", &enrolled, None).await, enrolled);
        }
        assert_eq!(ask(&all(), Entry::Validate, &enrolled, None).await["allowed"], true);
    }
    let answer = ask(&all(), Entry::Enroll, &labelled(None), None).await;
    insta::assert_snapshot!(
        answer["warnings"],
        @r#"["etcd-defrag: enrolled by DefragPolicy everyone. The container \"etcd\" starts etcd with --listen-client-urls, so it is an…"]"#
    );
}

#[tokio::test]
async fn nobody_is_enrolled_where_no_policy_asks_for_it() {
    let elsewhere = json!({"enrollment": "All", "selector": {"matchLabels": {"tier": "gold"}}});
    let shadowed = [policy("all", json!({"enrollment": "All"})), policy("labeled", json!({"priority": 1}))];
    for snapshot in [cluster([]), cluster([policy("elsewhere", elsewhere)]), cluster(shadowed)] {
        for entry in [Entry::Enroll, Entry::Mutate, Entry::Validate] {
            let answer = ask(&snapshot, entry, &labelled(None), None).await;
            assert_eq!(
                (&answer["allowed"], &answer["patch"], &answer["warnings"]),
                (&json!(true), &json!(null), &json!(null))
            );
        }
    }
}

#[tokio::test]
async fn what_only_looks_like_an_etcd_is_left_alone() {
    let container = |value: Value| {
        let mut object = labelled(None);
        set(&mut object, "/spec/template/spec/containers", json!([value]));
        object
    };
    let mut lines = String::new();
    for object in [
        container(json!({"name": "etcd", "image": "postgres:17", "args": ["--data-dir=/x"]})),
        container(
            json!({"name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "command": ["etcdctl", "watch", "/etcd"]}),
        ),
        container(json!({"name": "proxy", "image": "quay.io/coreos/etcd:v3.6.1", "args": ["gateway", "start"]})),
        // Nobody would take these for an etcd, so nothing is said.
        container(
            json!({"name": "kube-apiserver", "image": "kube-apiserver:v1", "command": ["kube-apiserver", "--etcd-servers=https://etcd:2379"]}),
        ),
        container(json!({"name": "web", "image": "nginx:1"})),
        container(json!({"name": "manager", "image": "etcd-operator:v1", "command": ["/manager"]})),
    ] {
        let answer = ask(&all(), Entry::Enroll, &object, None).await;
        assert_eq!((&answer["allowed"], &answer["patch"]), (&json!(true), &json!(null)));
        lines.push_str(&format!(
            "{}: {}\n",
            object["spec"]["template"]["spec"]["containers"][0]["image"], answer["warnings"]
        ));
        let mut touched = object.clone();
        touched["metadata"]["annotations"]["etcd-defrag.io/suspend"] = json!("true");
        let answer = ask(&all(), Entry::Enroll, &touched, Some(&object)).await;
        assert_eq!((&answer["patch"], &answer["warnings"]), (&json!(null), &json!(null)), "said again: {answer}");
    }
    insta::assert_snapshot!(lines);
}

/// One that was there before the policy is enrolled by the reconciler; an edit of its pods must not become a write that
/// can be refused.
#[tokio::test]
async fn an_update_enrols_only_where_it_changes_our_keys() {
    let old = labelled(None);
    let mut edited = old.clone();
    edited["spec"]["replicas"] = json!(5);
    for entry in Entry::ALL {
        let answer = ask(&all(), entry, &edited, Some(&old)).await;
        assert_eq!((&answer["allowed"], &answer["patch"]), (&json!(true), &json!(null)), "{entry}");
    }
    let mut tuned = old.clone();
    tuned["metadata"]["annotations"]["etcd-defrag.io/schedule"] = json!("*/2 * * * *");
    let enrolled = filled_in(&all(), Entry::Enroll, "UPDATE", &tuned, Some(&old)).await;
    assert_eq!(enrolled["metadata"]["labels"][LABEL], "true");
    assert_eq!(ask(&all(), Entry::Validate, &enrolled, Some(&old)).await["allowed"], false);
}

#[tokio::test]
async fn a_label_that_is_taken_off_comes_back_and_opting_out_is_refused() {
    for (snapshot, may_opt_out) in [(all(), false), (all_but_those_who_say_no(), true)] {
        for old in [labelled(Some("true")), labelled(Some("false"))] {
            for entry in [Entry::Enroll, Entry::Mutate] {
                let back = filled_in(&snapshot, entry, "UPDATE", &labelled(None), Some(&old)).await;
                assert_eq!(back["metadata"]["labels"][LABEL], "true", "{entry}");
                assert_eq!(ask(&snapshot, Entry::Validate, &back, Some(&old)).await["allowed"], true);
            }
            // While the mutating entries are away the label stays off; the policy enrols it all the same.
            assert_eq!(ask(&snapshot, Entry::Validate, &labelled(None), Some(&old)).await["allowed"], true);
        }
        for old in [Some(labelled(Some("true"))), Some(labelled(None)), None] {
            let answer = ask(&snapshot, Entry::Validate, &labelled(Some("false")), old.as_ref()).await;
            assert_eq!(answer["allowed"], may_opt_out, "{answer}");
        }
        let answer = ask(&snapshot, Entry::Enroll, &labelled(None), Some(&labelled(Some("true")))).await;
        let out = if may_opt_out { "; \"false\" opts out" } else { "" };
        let line = format!("etcd-defrag: the label {LABEL} is back: DefragPolicy everyone enrols every etcd{out}");
        assert_eq!(answer["warnings"], json!([line]));
    }
    // Where it is no etcd, nothing is lost.
    let other = with("/spec/template/spec/containers", json!([{"name": "web", "image": "nginx:1"}]));
    let mut out = other.clone();
    out["metadata"]["labels"][LABEL] = json!("false");
    assert_eq!(ask(&all(), Entry::Validate, &out, Some(&other)).await["allowed"], true);
}

#[tokio::test]
async fn with_an_opt_out_allowed_nothing_is_filled_in() {
    let out = labelled(Some("false"));
    assert_eq!(filled_in(&all_but_those_who_say_no(), Entry::Mutate, "CREATE", &out, None).await, out);
    assert!(ask(&all_but_those_who_say_no(), Entry::Validate, &out, None).await["warnings"].is_null());
}

#[tokio::test]
async fn objects_that_are_being_deleted_are_not_enrolled() {
    let mut object = labelled(None);
    object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let old = labelled(Some("true"));
    assert_eq!(filled_in(&all(), Entry::Enroll, "UPDATE", &object, Some(&old)).await, object);
}
