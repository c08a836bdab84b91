//! The webhook configurations on a real API server, with nobody behind them: what is matched and what is not.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use etcd_defrag_webhook::{
    admission::registration::{Registration, Target},
    defrag::{etcd, statefulset::StatefulSet},
};
use serde_json::{Value, json};

fn statefulset(name: &str, labels: &Value, annotations: &Value) -> String {
    let mut object: Value = serde_saphyr::from_str(include_str!("fixtures/charts/kamaji-etcd.yaml")).unwrap();
    object["metadata"] = json!({"name": name, "namespace": "default", "labels": labels, "annotations": annotations});
    object["spec"]["selector"] = json!({"matchLabels": {"app": "etcd"}});
    object["spec"]["template"]["metadata"] = json!({"labels": {"app": "etcd"}});
    object["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] = json!(["ReadWriteOnce"]);
    object.to_string()
}

#[test]
fn only_writes_of_our_keys_depend_on_the_webhook() {
    let plane = harness::ControlPlane::start();
    let run = |args: &[&str], stdin: &str| {
        let output = plane.kubectl_stdin(args, stdin);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let passes = |args: &[&str]| {
        let (done, said) = run(args, "");
        assert!(done, "{args:?} is blocked: {said}");
    };
    let blocked = |args: &[&str]| {
        let (done, said) = run(args, "");
        assert!(!done, "{args:?} goes unjudged");
        assert!(said.contains("validate.etcd-defrag-webhook.etcd-defrag.io"), "{said}");
    };
    let apply = |manifest: &str| {
        let (applied, said) = run(&["create", "-f", "-"], manifest);
        assert!(applied, "{said}");
    };

    let enabled = json!({"etcd-defrag.io/enabled": "true"});
    // The condition has a budget in the API server, which many annotations must not use up.
    let many: Value =
        (0..2_000).map(|number| (format!("k{number}"), json!(""))).collect::<serde_json::Map<_, _>>().into();
    apply(&statefulset("set", &enabled, &json!({"etcd-defrag.io/rule": "x"})));
    apply(&statefulset("bare", &enabled, &json!(null)));
    apply(&statefulset("crowded", &enabled, &many));
    let target = Target::Url("https://127.0.0.1:1".to_owned());
    let registration = Registration { target, ca_bundle: None, own_namespace: None };
    let configurations = [
        serde_saphyr::to_string(&registration.mutating()).unwrap(),
        serde_saphyr::to_string(&registration.validating()).unwrap(),
    ];
    for configuration in &configurations {
        apply(configuration);
        let (same, said) = run(&["diff", "-f", "-"], configuration);
        assert!(same, "the API server fills in a default: {said}");
    }
    // The API server reads configurations from a cache.
    harness::eventually("the configurations to be in force", std::time::Duration::from_secs(20), || {
        (!run(&["create", "--dry-run=server", "-f", "-"], &statefulset("new", &enabled, &json!(null))).0).then_some(())
    });

    for name in ["set", "bare", "crowded"] {
        let object = format!("statefulset/{name}");
        let merge = |patch: &'static str| ["patch", "--type=merge", "--subresource=status", "-p", patch];
        passes(&["scale", &object, "--replicas=2"]);
        passes(&["set", "image", &object, "etcd=registry.example/etcd:v3"]);
        passes(&["annotate", &object, "example.com/note=by-night"]);
        passes(&["label", &object, "example.com/note=by-night"]);
        passes(&[&merge(r#"{"status":{"replicas":1}}"#)[..], &[&object]].concat());
        blocked(&["annotate", &object, "etcd-defrag.io/schedule=1 1 * * *"]);
        blocked(&["label", &object, "etcd-defrag.io/enabled-"]);
        blocked(&["label", &object, "etcd-defrag.io/enabled=false", "--overwrite"]);
        blocked(&[&merge(r#"{"metadata":{"annotations":{"etcd-defrag.io/rule":"z"}}}"#)[..], &[&object]].concat());
    }
    blocked(&["annotate", "statefulset/set", "etcd-defrag.io/rule-"]);

    apply(&statefulset("foreign", &json!({}), &json!({"etcd-defrag.io/rule": "x"})));
    passes(&["annotate", "statefulset/foreign", "etcd-defrag.io/rule-"]);
    blocked(&["label", "statefulset/foreign", "etcd-defrag.io/enabled=true"]);

    passes(&["patch", "statefulset/set", "--type=merge", "-p", r#"{"metadata":{"finalizers":["example.com/hold"]}}"#]);
    passes(&["delete", "statefulset/set", "--wait=false"]);
    passes(&["annotate", "statefulset/set", "etcd-defrag.io/schedule=1 1 * * *"]);
    passes(&["patch", "statefulset/set", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    passes(&["delete", "statefulset/bare", "--wait=false"]);
}

/// Nobody answers, so each call of the enrolling entry fails open, which the audit log says.
#[test]
fn only_what_may_be_an_etcd_costs_a_call_to_enrol() {
    let plane = harness::ControlPlane::start();
    let target = Target::Url("https://127.0.0.1:1".to_owned());
    let registration = Registration { target, ca_bundle: None, own_namespace: None };
    plane.apply(&serde_saphyr::to_string(&registration.mutating()).unwrap());
    let called = |args: &[&str], stdin: &str| {
        let mark = plane.audit_mark();
        plane.kubectl_stdin(args, stdin);
        harness::eventually("the audit log to have the write", Duration::from_secs(20), || {
            let writes = plane.audit_since(mark).of("statefulsets");
            let writes = writes.filter(|event| matches!(event.verb.as_str(), "create" | "patch"));
            let event = writes.into_iter().last()?;
            let open = |(key, value): (&String, &String)| {
                key.starts_with("failed-open.mutation.") && value == "enroll.etcd-defrag-webhook.etcd-defrag.io"
            };
            Some(event.annotations.iter().any(open))
        })
    };
    // What the API server makes of the rest of the object comes after its mutation.
    let create = ["create", "--dry-run=server", "--validate=ignore", "-f", "-"];
    let unlabelled = statefulset("bare", &json!({}), &json!({}));
    harness::eventually("the configuration to be in force", Duration::from_secs(20), || {
        called(&create, &unlabelled).then_some(())
    });

    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/charts");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let lean: StatefulSet = serde_saphyr::from_str(&text).unwrap();
        let mut object: Value = serde_saphyr::from_str(&text).unwrap();
        object["metadata"] = json!({"name": "chart", "namespace": "default"});
        assert!(!etcd::evidence(&lean).runs_etcd() || called(&create, &object.to_string()), "{object}");
        seen += 1;
    }
    assert!(seen > 5, "{seen}");
    let with = |containers: Value| {
        let mut object: Value = serde_json::from_str(&unlabelled).unwrap();
        object["spec"]["template"]["spec"]["containers"] = containers;
        object.to_string()
    };
    for (containers, costs) in [
        (json!([{"name": "web", "image": "nginx:1"}]), false),
        (
            json!([{"name": "db", "image": "postgres:17", "command": ["postgres"], "args": ["-D", "/x"], "env": [{"name": "A", "value": "b"}]}]),
            false,
        ),
        (
            json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x", "env": [{"name": "PROGRAM", "value": "/usr/bin/etcd"}]}]),
            true,
        ),
        (json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x", "args": ["exec etcd --data-dir=/x"]}]), true),
        (json!([{"name": "a", "image": "quay.io/coreos/etcd:v3.6.1"}]), true),
    ] {
        assert_eq!(called(&create, &with(containers.clone())), costs, "{containers}");
    }

    assert!(!called(&create, &statefulset("set", &json!({"etcd-defrag.io/enabled": "true"}), &json!({}))));
    plane.apply(&unlabelled);
    assert!(!called(&["set", "image", "statefulset/bare", "etcd=registry.example/etcd:v3"], ""));
    assert!(!called(&["label", "statefulset/bare", "tier=gold"], ""));
    assert!(called(&["annotate", "statefulset/bare", "etcd-defrag.io/rule=x"], ""));
    plane.kubectl_ok(&["label", "statefulset/bare", "etcd-defrag.io/enabled=true"]);
    assert!(!called(&["annotate", "--overwrite", "statefulset/bare", "etcd-defrag.io/rule=y"], ""));
    assert!(called(&["label", "statefulset/bare", "etcd-defrag.io/enabled-"], ""));
}
