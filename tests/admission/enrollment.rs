//! `enrollment: All`: who gets the label, who does not, and who may take it off.

use etcd_defrag_webhook::{
    admission::Entry,
    defrag::{finding::Code, policy::PolicySnapshot},
};
use serde_json::{Value, json};

use crate::{
    breaches::{Breach, actions_for, broken, cases, touched},
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

fn unlabelled(mut object: Value) -> Value {
    object["metadata"]["labels"].as_object_mut().unwrap().remove(LABEL);
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
        assert_eq!(enrolled["metadata"]["annotations"]["etcd-defrag.io/defaulted"], "enabled,schedule,rule");
        assert_eq!(enrolled["spec"], object["spec"]);
        // The other entries see it now, and there is nothing left to do.
        for entry in [Entry::Enroll, Entry::Mutate] {
            assert_eq!(filled_in(&all(), entry, "CREATE", &enrolled, None).await, enrolled);
        }
        assert_eq!(ask(&all(), Entry::Create, &enrolled, None).await["allowed"], true);
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
        for entry in [Entry::Enroll, Entry::Mutate, Entry::Create] {
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

/// One that was there before the policy is enrolled by the reconciler; an edit of it must not become a write that can be
/// refused.
#[tokio::test]
async fn an_update_enrols_nothing() {
    let old = labelled(None);
    let mut edited = old.clone();
    edited["spec"]["replicas"] = json!(5);
    for entry in Entry::ALL {
        let answer = ask(&all(), entry, &edited, Some(&old)).await;
        assert_eq!((&answer["allowed"], &answer["patch"]), (&json!(true), &json!(null)), "{entry}");
    }
    let mut tuned = old.clone();
    tuned["metadata"]["annotations"]["etcd-defrag.io/schedule"] = json!("*/2 * * * *");
    assert_eq!(filled_in(&all(), Entry::Enroll, "UPDATE", &tuned, Some(&old)).await, tuned);
    assert_eq!(ask(&all(), Entry::Validate, &tuned, Some(&old)).await["allowed"], false);
}

/// What installs today installs under any policy that enrols all: whoever creates it asked for nothing. The reconciler
/// reports it, and makes no CronJob.
#[tokio::test]
async fn a_create_that_only_a_policy_enrols_is_admitted_with_warnings_under_every_action() {
    let mut seen = 0;
    for case in cases().into_iter().filter(|case| case.breach.is_in_spec()) {
        let object = unlabelled(broken(&case.breach));
        for actions in actions_for(case.code) {
            let mut spec = case.spec.clone();
            spec["enrollment"] = json!("All");
            spec["validationActions"] = json!(actions);
            let snapshot = cluster([policy("everyone", spec)]);
            let enrolled = filled_in(&snapshot, Entry::Enroll, "CREATE", &object, None).await;
            if enrolled == object {
                // No etcd that could be told from its pod template.
                continue;
            }
            let answer = ask(&snapshot, Entry::Create, &enrolled, None).await;
            assert_eq!(answer["allowed"], true, "{} {actions:?}: {answer}", case.code);
            let code = format!("{}: ", case.code);
            let warned =
                answer["warnings"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().starts_with(&code));
            assert!(warned, "{} {actions:?}: {answer}", case.code);
            // A word of one's own, and it is judged as a whole.
            let mut asked = object.clone();
            asked["metadata"]["annotations"]["etcd-defrag.io/move-leader"] = json!("true");
            let asked = filled_in(&snapshot, Entry::Enroll, "CREATE", &asked, None).await;
            let deny = actions.contains(&"Deny");
            assert_eq!(
                ask(&snapshot, Entry::Create, &asked, None).await["allowed"],
                !deny,
                "{} {actions:?}",
                case.code
            );
            // Afterwards what stands may stay, and nothing worse comes.
            let better = touched(enrolled.clone());
            assert_eq!(
                ask(&snapshot, Entry::Validate, &better, Some(&enrolled)).await["allowed"],
                true,
                "{}",
                case.code
            );
            let mut worse = enrolled.clone();
            worse["metadata"]["annotations"]["etcd-defrag.io/disalarm-below"] = json!("100%");
            let judged = ask(&snapshot, Entry::Validate, &worse, Some(&enrolled)).await;
            assert!(
                judged["allowed"] == !deny || case.code == Code::TooMuchToRead,
                "{} {actions:?}: {judged}",
                case.code
            );
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}

/// Whoever writes the list by hand gains nothing: what it names follows the policy, and what it does not name is theirs.
#[tokio::test]
async fn a_forged_list_of_what_was_filled_in_excuses_nothing_that_somebody_asked_for() {
    let with_list = |list: &str, annotations: &[(&str, &str)]| {
        let mut object = unlabelled(broken(&Breach::Quota("17179869184")));
        object["metadata"]["labels"][LABEL] = json!("true");
        object["metadata"]["annotations"]["etcd-defrag.io/defaulted"] = json!(list);
        for (key, value) in annotations {
            object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
        }
        object
    };
    let labeled = cluster([policy("some", json!({}))]);
    for (snapshot, object, allowed) in [
        (all(), with_list("enabled", &[]), true),
        (all(), with_list(" enabled , schedule", &[("schedule", "* * * * *")]), true),
        (all(), with_list("schedule", &[]), false),
        (all(), with_list("enabled", &[("client-secret", "other")]), false),
        (all(), with_list("enabled,client-secret", &[("client-secret", "other")]), false),
        (all(), with_list("enabled,schedule", &[("Schedule", "x")]), false),
        (labeled, with_list("enabled", &[]), false),
    ] {
        let answer = ask(&snapshot, Entry::Create, &object, None).await;
        assert_eq!(answer["allowed"], allowed, "{object:#}\n{answer:#}");
    }
    // A list under a policy that enrols by the label only loses the word.
    let object = with_list("enabled,schedule", &[("schedule", "0 0 * * *")]);
    let filled = filled_in(&cluster([]), Entry::Mutate, "CREATE", &object, None).await;
    assert_eq!(filled["metadata"]["annotations"]["etcd-defrag.io/defaulted"], "schedule,rule");
}

#[tokio::test]
async fn a_label_that_is_taken_off_comes_back_and_opting_out_is_refused() {
    for (snapshot, may_opt_out) in [(all(), false), (all_but_those_who_say_no(), true)] {
        for old in [labelled(Some("true")), labelled(Some("false"))] {
            let back = filled_in(&snapshot, Entry::Mutate, "UPDATE", &labelled(None), Some(&old)).await;
            assert_eq!(back["metadata"]["labels"][LABEL], "true");
            assert_eq!(back["metadata"]["annotations"]["etcd-defrag.io/defaulted"], "enabled,schedule,rule");
            assert_eq!(ask(&snapshot, Entry::Validate, &back, Some(&old)).await["allowed"], true);
            // While the mutating entries are away the label stays off; the policy enrols it all the same.
            assert_eq!(ask(&snapshot, Entry::Validate, &labelled(None), Some(&old)).await["allowed"], true);
        }
        for old in [Some(labelled(Some("true"))), Some(labelled(None)), None] {
            let answer = ask(&snapshot, Entry::Validate, &labelled(Some("false")), old.as_ref()).await;
            assert_eq!(answer["allowed"], may_opt_out, "{answer}");
        }
        let answer = ask(&snapshot, Entry::Mutate, &labelled(None), Some(&labelled(Some("true")))).await;
        let out = if may_opt_out { "; \"false\" opts out" } else { "" };
        let line =
            format!("etcd-defrag: the label {LABEL} was added again: DefragPolicy everyone enrols every etcd{out}");
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
