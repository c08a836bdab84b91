//! Rights that are bound to namespaces, and those that are switched off.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::support::{NAMESPACE, RELEASE, find, render};
use harness::{ControlPlane, Serve, ServeOptions, eventually, example_etcd};

const BOUND: &str = "
tls: {mode: self-signed}
rbac: {namespaces: [etcds, tenants], reports: false}
";

/// `verb resource` for each right of these rules.
fn rights(object: &Value) -> BTreeSet<String> {
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let rules = object["rules"].as_array().unwrap().iter();
    rules
        .flat_map(|rule| {
            let verbs = texts(&rule["verbs"]);
            texts(&rule["resources"])
                .into_iter()
                .flat_map(move |of| verbs.clone().into_iter().map(move |verb| format!("{verb} {of}")))
        })
        .collect()
}

/// What is taken from the whole cluster is given in each namespace, and nothing else changes.
#[test]
fn rights_to_change_move_from_the_cluster_to_the_listed_namespaces() {
    let everywhere = rights(find(&render("tls: {mode: self-signed}"), &format!("ClusterRole {RELEASE}")));
    let bound = render(BOUND);
    let cluster = rights(find(&bound, &format!("ClusterRole {RELEASE}")));
    let runs = format!("{RELEASE}-runs");
    let in_each = [
        "create cronjobs",
        "create jobs",
        "delete cronjobs",
        "list events",
        "list pods",
        "patch cronjobs",
        "patch cronjobs/status",
    ];
    let mut places = Vec::new();
    for object in bound.iter().filter(|object| object["metadata"]["name"] == json!(runs)) {
        places.push(format!(
            "{} {}",
            object["kind"].as_str().unwrap(),
            object["metadata"]["namespace"].as_str().unwrap()
        ));
        if object["kind"] == "Role" {
            assert_eq!(rights(object), in_each.map(str::to_owned).into());
        } else {
            assert_eq!(object["roleRef"]["name"], json!(runs));
            assert_eq!(
                object["subjects"],
                json!([{"kind": "ServiceAccount", "name": RELEASE, "namespace": NAMESPACE}])
            );
        }
    }
    assert_eq!(places, ["Role etcds", "Role tenants", "RoleBinding etcds", "RoleBinding tenants"]);
    let moved: BTreeSet<String> = everywhere.difference(&cluster).cloned().collect();
    let (reports, rest): (Vec<String>, Vec<String>) = moved.into_iter().partition(|right| right.contains("report"));
    assert_eq!(rest, in_each);
    assert_eq!(reports.len(), 12, "{reports:?}");
    // What the process may still change in the whole cluster.
    let changes: Vec<&String> = cluster
        .iter()
        .filter(|right| !["get ", "list ", "watch "].iter().any(|verb| right.starts_with(verb)))
        .collect();
    assert_eq!(
        changes,
        [
            "create events",
            "patch defragpolicies/status",
            // Those of its own name.
            "patch mutatingwebhookconfigurations",
            "patch validatingwebhookconfigurations",
        ]
    );
}

/// With these rights, on a real API server: a CronJob in a listed namespace, and an Event instead in another one.
#[test]
fn a_listed_namespace_gets_its_cronjob_and_another_one_an_event() {
    let plane = ControlPlane::start();
    for namespace in [NAMESPACE, "etcds", "tenants", "others"] {
        plane.kubectl_ok(&["create", "namespace", namespace]);
    }
    plane.apply(include_str!("../../deploy/manifests/05-defragpolicies.crd.yaml"));
    plane.wait_established("defragpolicies.etcd-defrag.io");
    let kinds = ["ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
    for object in render(BOUND) {
        let test = &object["metadata"]["annotations"]["helm.sh/hook"];
        if test.is_null() && kinds.iter().any(|kind| object["kind"] == *kind) {
            plane.apply(&object.to_string());
        }
    }
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:{RELEASE}");
    let may = |what: &[&str]| {
        let args = ["auth", "can-i", "-q", &account].into_iter().chain(what.iter().copied());
        plane.kubectl(args).status.success()
    };
    for verb in ["create", "patch", "delete"] {
        assert!(
            may(&[verb, "cronjobs.batch", "-n", "etcds"]) && !may(&[verb, "cronjobs.batch", "-n", "others"]),
            "{verb}"
        );
    }
    assert!(may(&["create", "jobs.batch", "-n", "tenants"]) && !may(&["create", "jobs.batch", "-n", NAMESPACE]));
    assert!(may(&["watch", "cronjobs.batch", "-A"]) && may(&["watch", "jobs.batch", "-A"]));

    let options = ServeOptions {
        kubeconfig: Some(plane.service_account_kubeconfig(NAMESPACE, RELEASE)),
        args: vec![format!("--namespace={NAMESPACE}")],
        ..ServeOptions::default()
    };
    let _serve = Serve::start_with(&plane, &options);
    for namespace in ["others", "etcds"] {
        plane.apply(&example_etcd(namespace, "kamaji-etcd", &[]).to_string());
    }
    let soon = Duration::from_mins(1);
    eventually("the CronJob", soon, || plane.get(&["-n", "etcds", "cronjob", "kamaji-etcd-defrag-job"]));
    let note = eventually("the Event", soon, || {
        let events = plane.get(&["-n", "others", "events.events.k8s.io"])?;
        let failed = events["items"].as_array()?.iter().find(|event| event["reason"] == "ApplyFailed")?.clone();
        Some(failed["note"].as_str()?.to_owned())
    });
    assert!(note.contains("forbidden") && note.contains("cronjobs.batch"), "{note}");
    assert_eq!(plane.get(&["-n", "others", "cronjobs"]).unwrap()["items"], json!([]));
}
