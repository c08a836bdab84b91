//! StatefulSets that are judged beside each other; each advice is followed as it is written.

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::defrag::{
    assess::{Assessment, Verdict, assess, assess_before_enrolment},
    policy::{EnrollmentMode, Governing, Policy},
};

fn now() -> Timestamp {
    "2026-11-24T00:00:00Z".parse().unwrap()
}

const ALL: &str =
    "http://etcd-a-0.etcd-a.db.svc:2379,http://etcd-b-0.etcd-b.db.svc:2379,http://etcd-c-0.etcd-c.db.svc:2379";
const OPTED_OUT: Option<&str> = Some("false");
const ENROLLED: Option<&str> = Some("true");

/// One of three StatefulSets of one member each, of one etcd.
fn part(name: &str, label: Option<&str>, endpoints: Option<&str>, shows_members: bool) -> StatefulSet {
    let member = |name: &str| format!("{name}-0=http://{name}-0.{name}.db.svc:2380");
    let members = ["etcd-a", "etcd-b", "etcd-c"].map(member).join(",");
    let members =
        if shows_members { format!("--initial-cluster={members}") } else { "--discovery-srv=db.example".to_owned() };
    let etcd = json!({
        "name": "etcd", "image": "quay.io/coreos/etcd:v3.6.5",
        "command": ["etcd", "--name=$(POD)", "--data-dir=/data", "--quota-backend-bytes=2147483648", members,
            "--listen-client-urls=http://0.0.0.0:2379", format!("--advertise-client-urls=http://$(POD).{name}.db.svc:2379")],
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    let claim = json!({"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "20Gi"}}}});
    serde_json::from_value(json!({
        "metadata": {"namespace": "db", "name": name, "labels": label.map(|label| json!({ENABLED: label})),
            "annotations": endpoints.map(|urls| json!({"etcd-defrag.io/endpoints": urls}))},
        "spec": {"serviceName": name, "replicas": 1, "template": {"spec": {"containers": [etcd]}}, "volumeClaimTemplates": [claim]},
    }))
    .unwrap()
}

fn enrols_all() -> Governing {
    let mut governing = Governing::built_in();
    let mut policy = Policy::clone(&governing.policy);
    policy.enrollment = EnrollmentMode::All;
    governing.policy = policy.into();
    governing
}

/// What is made of each beside the others.
fn judged(objects: &[StatefulSet], governing: &Governing) -> Vec<Assessment> {
    let neighbours = Neighbours::of(objects.iter().map(|object| (object, &*governing.policy)));
    let around = Surroundings { neighbours: Some(&neighbours), ..Surroundings::nothing() };
    objects.iter().map(|object| assess(object, governing, &around, now())).collect()
}

/// Those of this table, and whether there is a CronJob.
fn said(assessment: &Assessment) -> String {
    let elsewhere = assessment.findings.iter().filter(|finding| {
        matches!(finding.code, Code::MembersElsewhere | Code::OptOutRefused | Code::EndpointsMismatch)
            && finding.field != "spec.template.spec.containers[0].command".into()
            || finding.denies()
    });
    let mut said: Vec<String> = elsewhere.map(|finding| format!("{} {}", finding.severity, finding.code)).collect();
    said.push(if matches!(assessment.verdict, Verdict::Present(_)) { "runs" } else { "none" }.to_owned());
    said.join(", ")
}

fn all_said(objects: &[StatefulSet], governing: &Governing) -> Vec<String> {
    judged(objects, governing).iter().map(said).collect()
}

#[test]
fn one_etcd_is_enrolled_once() {
    let (labelled, all) = (Governing::built_in(), enrols_all());
    let refused = "deny members-elsewhere, none";
    let kept = "warn members-elsewhere, runs";
    for (governing, parts, shows_members, expected) in [
        // Each with the list of all.
        (&labelled, [(ENROLLED, Some(ALL)); 3], true, [kept, refused, refused]),
        (&labelled, [(ENROLLED, Some(ALL)); 3], false, [kept, refused, refused]),
        (&labelled, [(ENROLLED, None), (ENROLLED, Some(ALL)), (OPTED_OUT, None)], false, [refused, kept, "none"]),
        (&labelled, [(ENROLLED, None), (ENROLLED, Some(ALL)), (OPTED_OUT, None)], true, [refused, "runs", "none"]),
        (&labelled, [(ENROLLED, None); 3], false, ["runs"; 3]),
        // As the message has it.
        (&labelled, [(ENROLLED, Some(ALL)), (OPTED_OUT, None), (OPTED_OUT, None)], true, ["runs", "none", "none"]),
        (&all, [(ENROLLED, Some(ALL)), (None, None), (None, None)], true, ["runs", "none", "none"]),
        (&all, [(ENROLLED, Some(ALL)), (OPTED_OUT, None), (None, None)], true, ["runs", "none", "none"]),
        (&all, [(None, Some(ALL)), (None, None), (None, None)], false, ["runs", "none", "none"]),
        (
            &all,
            [(None, None), (OPTED_OUT, None), (OPTED_OUT, None)],
            false,
            ["runs", "deny opt-out-refused, none", "deny opt-out-refused, none"],
        ),
        (&all, [(ENROLLED, Some(ALL)), (ENROLLED, None), (None, None)], false, [kept, refused, "none"]),
    ] {
        let names = ["etcd-a", "etcd-b", "etcd-c"].iter().zip(parts);
        let objects: Vec<StatefulSet> =
            names.map(|(name, (label, endpoints))| part(name, label, endpoints, shows_members)).collect();
        assert_eq!(all_said(&objects, governing), expected, "{parts:?} {shows_members}");
    }
}

/// What a label that the policy filled in says, nobody asked for.
#[test]
fn a_label_that_was_filled_in_gives_way() {
    let mut filled_in = part("etcd-b", ENROLLED, None, true);
    let annotations = filled_in.metadata.annotations.get_or_insert_default();
    annotations.insert(Key::Defaulted.annotation().to_owned(), "enabled,schedule".to_owned());
    let objects = [part("etcd-a", ENROLLED, Some(ALL), true), filled_in];
    assert_eq!(all_said(&objects, &enrols_all()), ["runs", "none"]);
}

#[test]
fn whose_members_are_covered_is_not_judged_as_if_it_were_enrolled() {
    let governing = Governing::built_in();
    let before = |objects: &[StatefulSet]| {
        let neighbours = Neighbours::of(objects.iter().map(|object| (object, &*governing.policy)));
        let around = Surroundings { neighbours: Some(&neighbours), ..Surroundings::nothing() };
        assess_before_enrolment(&objects[1], &governing, &around, now())
    };
    let with = |endpoints| [part("etcd-a", ENROLLED, endpoints, true), part("etcd-b", None, None, true)];
    assert_eq!(before(&with(Some(ALL))), None);
    let mut set = with(Some(ALL));
    set[1].metadata.annotations = Some([("etcd-defrag.io/schedule".to_owned(), "0 3 * * *".to_owned())].into());
    assert_eq!(before(&set), None, "a label would enrol it a second time");
    let alone: Vec<Code> = before(&with(None)).unwrap().iter().map(|finding| finding.code).collect();
    assert_eq!(alone, [Code::NotEnrolled, Code::MembersElsewhere]);
}

/// A list of pods of another etcd is refused, and then that one has no rival.
#[test]
fn a_refused_list_is_nobodys_rival() {
    let astray = "http://other-0.other.db.svc:2379";
    let objects = [part("etcd-a", ENROLLED, Some(astray), false), part("other", ENROLLED, None, false)];
    assert_eq!(all_said(&objects, &Governing::built_in()), ["deny endpoints-mismatch, none", "runs"]);
}

#[test]
fn names_that_are_no_pods_are_compared_as_they_are() {
    for (one, other, is_shared) in [
        ("http://lb.example.com:2379", "http://lb.example.com:2379", true),
        ("http://lb.example.com:2379", "http://LB.example.com:2379", true),
        ("http://lb.example.com:2379", "http://lb.example.com:2479", false),
        ("http://lb.example.com:2379", "http://lb2.example.com:2379", false),
        ("http://10.0.0.1:2379", "http://10.0.0.1:2379", true),
        ("http://etcd-client:2379", "http://etcd-client.db.svc.cluster.local:2379", true),
        ("http://etcd-client:2379", "http://etcd-client.dev.svc:2379", false),
    ] {
        let objects = [part("etcd-a", ENROLLED, Some(one), false), part("etcd-b", ENROLLED, Some(other), false)];
        let refused = all_said(&objects, &Governing::built_in())[1].starts_with("deny");
        assert_eq!(refused, is_shared, "{one} {other}");
    }
}

/// Members of the same name in several namespaces.
#[test]
fn namespaces_tell_pods_of_the_same_name_apart() {
    let urls = |namespaces: &[&str]| {
        let each = namespaces.iter().map(|namespace| format!("http://etcd-a-0.etcd-a.{namespace}.svc:2379"));
        each.collect::<Vec<_>>().join(",")
    };
    let in_dev = |endpoints: Option<&str>| {
        let mut object = part("etcd-a", ENROLLED, endpoints, false);
        object.metadata.namespace = Some("dev".to_owned());
        object
    };
    let (both, dev) = (urls(&["db", "dev"]), urls(&["dev"]));
    let spread = [part("etcd-a", ENROLLED, Some(&both), false), in_dev(Some(&dev))];
    let governing = Governing::built_in();
    assert_eq!(all_said(&spread, &governing), ["warn members-elsewhere, runs", "deny members-elsewhere, none"]);
    let judged = judged(&spread, &governing);
    let finding = judged[1].findings.iter().find(|finding| finding.code == Code::MembersElsewhere).unwrap();
    assert!(finding.message.contains("\"db/etcd-a\""), "{}", finding.message);
    let db = urls(&["db"]);
    let apart = [part("etcd-a", ENROLLED, Some(&db), false), in_dev(Some(&dev))];
    assert_eq!(all_said(&apart, &governing), ["runs", "runs"]);
}

/// The CronJobs of others say what their runs reach; one that is there already is suspended where another one is kept.
#[test]
fn cronjobs_in_view_count_as_their_statefulsets() {
    let governing = Governing::built_in();
    let objects = ["etcd-a", "etcd-b"].map(|name| part(name, ENROLLED, Some(ALL), false));
    let live = objects.iter().map(|object| {
        let alone = assess(object, &governing, &Surroundings::nothing(), now());
        let mut cronjob = alone.cronjob().unwrap().clone();
        cronjob.metadata.uid = Some(object.name().to_owned());
        crate::defrag::cronjob::live::Live::of(cronjob).unwrap()
    });
    let live: Vec<_> = live.collect();
    let around = Surroundings { cronjobs: Some(&live), ..Surroundings::nothing() };
    let suspended: Vec<(String, bool)> = objects
        .iter()
        .map(|object| {
            let assessment = assess(object, &governing, &around, now());
            (said(&assessment), assessment.plan.is_some_and(|plan| plan.suspended))
        })
        .collect();
    let expected = [("warn members-elsewhere, runs", false), ("deny members-elsewhere, runs", true)];
    assert_eq!(suspended, expected.map(|(said, suspended)| (said.to_owned(), suspended)));
}

#[test]
fn messages() {
    let objects = ["etcd-a", "etcd-b", "etcd-c"].map(|name| part(name, ENROLLED, Some(ALL), true));
    let judged = judged(&objects, &Governing::built_in());
    let texts: Vec<&str> = judged
        .iter()
        .flat_map(|one| &one.findings)
        .filter(|one| one.code == Code::MembersElsewhere)
        .map(|one| one.message.as_str())
        .collect();
    insta::assert_snapshot!("shared-members", texts.join("\n\n"));
}
