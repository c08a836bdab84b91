//! The webhook configurations on a real API server, with nobody behind them: what is matched and what is not.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

mod cost;

use std::time::Duration;

use etcd_defrag_webhook::{
    admission::registration::{Registration, Target},
    defrag::{etcd, keys::Key, statefulset::StatefulSet},
};
use serde_json::{Value, json};

fn statefulset(name: &str, labels: &Value, annotations: &Value) -> String {
    let mut object: Value = serde_saphyr::from_str(include_str!("../fixtures/charts/kamaji-etcd.yaml")).unwrap();
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
    let blocked_by = |entry: &str, args: &[&str]| {
        let (done, said) = run(args, "");
        assert!(!done, "{args:?} goes unjudged");
        assert!(
            said.contains(&format!("{entry}.etcd-defrag-webhook.etcd-defrag.io"))
                || entry.is_empty() && said.contains("etcd-defrag-webhook"),
            "{said}"
        );
    };
    let blocked = |args: &[&str]| blocked_by("validate", args);
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
    let registration = Registration { target, ca_bundle: None, exempt_namespaces: vec!["kube-system".to_owned()] };
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
    let change = ["annotate", "--dry-run=server", "statefulset/set", "etcd-defrag.io/schedule=1 1 * * *"];
    harness::eventually("the configurations to be in force", Duration::from_secs(20), || {
        (!run(&change, "").0).then_some(())
    });

    // Nothing is blocked by our absence but an update of our keys.
    apply(&statefulset("new", &enabled, &json!({"etcd-defrag.io/schedule": "* * * * *"})));
    passes(&["annotate", "statefulset/new", "etcd-defrag.io/shedule=1 1 * * *"]);
    blocked(&["annotate", "--overwrite", "statefulset/new", "etcd-defrag.io/schedule=1 1 * * *"]);

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
        let through_status = merge(r#"{"metadata":{"annotations":{"etcd-defrag.io/rule":"z"}}}"#);
        blocked_by("status", &[&through_status[..], &[&object]].concat());
    }
    blocked(&["annotate", "statefulset/set", "etcd-defrag.io/rule-"]);

    apply(&statefulset("foreign", &json!({}), &json!({"etcd-defrag.io/rule": "x"})));
    passes(&["annotate", "statefulset/foreign", "etcd-defrag.io/rule-"]);
    blocked(&["label", "statefulset/foreign", "etcd-defrag.io/enabled=true"]);
    secrets_are_not_chosen_unjudged_through_any_status(&plane, &blocked_by, &passes);

    passes(&["patch", "statefulset/set", "--type=merge", "-p", r#"{"metadata":{"finalizers":["example.com/hold"]}}"#]);
    passes(&["delete", "statefulset/set", "--wait=false"]);
    passes(&["annotate", "statefulset/set", "etcd-defrag.io/schedule=1 1 * * *"]);
    passes(&["patch", "statefulset/set", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    passes(&["delete", "statefulset/bare", "--wait=false"]);
}

/// Also where they are not in force: without the label, opted out, and in a namespace that is left alone.
fn secrets_are_not_chosen_unjudged_through_any_status(
    plane: &harness::ControlPlane,
    blocked_by: &dyn Fn(&str, &[&str]),
    passes: &dyn Fn(&[&str]),
) {
    let out = statefulset("out", &json!({"etcd-defrag.io/enabled": "false"}), &json!(null));
    let away =
        statefulset("away", &json!({}), &json!({})).replace(r#""namespace":"default""#, r#""namespace":"kube-system""#);
    for object in [out, away] {
        assert!(plane.kubectl_stdin(["create", "-f", "-"], &object).status.success());
    }
    for (namespace, name) in [("default", "foreign"), ("default", "out"), ("kube-system", "away")] {
        let object = format!("statefulset/{name}");
        let patch = |patch: &str| {
            let args = ["-n", namespace, "patch", "--type=merge", "--subresource=status", &object, "-p", patch];
            args.map(ToOwned::to_owned)
        };
        for key in Key::ACCESS {
            let planted = patch(&json!({"metadata": {"annotations": {key.annotation(): "x"}}}).to_string());
            let planted: Vec<&str> = planted.iter().map(String::as_str).collect();
            if name == "out" {
                // Two entries ask; which of them is named is chance.
                blocked_by("", &planted);
            } else {
                blocked_by("status", &planted);
            }
        }
        for other in [r#"{"metadata":{"annotations":{"example.com/a":"x"}}}"#, r#"{"status":{"replicas":1}}"#] {
            let args = patch(other);
            passes(&args.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
    for (namespace, name) in [("default", "foreign"), ("kube-system", "away")] {
        let label = r#"{"metadata":{"labels":{"etcd-defrag.io/enabled":"true"}}}"#;
        let object = format!("statefulset/{name}");
        blocked_by("", &["-n", namespace, "patch", "--type=merge", "--subresource=status", &object, "-p", label]);
    }
    // Whoever may edit the object itself may choose, and where it is left alone nobody is asked.
    passes(&["-n", "kube-system", "annotate", "statefulset/away", "etcd-defrag.io/client-secret=x"]);
}

/// Nobody answers, so each call of an entry that mutates fails open, which the audit log says.
struct FailsOpen {
    plane: harness::ControlPlane,
}

impl FailsOpen {
    fn start() -> Self {
        let plane = harness::ControlPlane::start();
        let target = Target::Url("https://127.0.0.1:1".to_owned());
        let registration = Registration { target, ca_bundle: None, exempt_namespaces: Vec::new() };
        plane.apply(&serde_saphyr::to_string(&registration.mutating()).unwrap());
        Self { plane }
    }

    /// Whether the write that `kubectl` makes with these arguments asks the entry.
    fn asks(&self, entry: &str, args: &[&str], stdin: &str) -> bool {
        let entry = format!("{entry}.etcd-defrag-webhook.etcd-defrag.io");
        let mark = self.plane.audit_mark();
        self.plane.kubectl_stdin(args, stdin);
        let writes = self.plane.audit_since(mark).of("statefulsets");
        let writes = writes.filter(|event| matches!(event.verb.as_str(), "create" | "patch"));
        let event = writes.into_iter().last().expect("the write is in the audit log");
        let open = |(key, value): (&String, &String)| key.starts_with("failed-open.mutation.") && *value == entry;
        event.annotations.iter().any(open)
    }
}

#[test]
fn a_value_that_a_person_changes_costs_one_call() {
    let world = FailsOpen::start();
    let labels = json!({"etcd-defrag.io/enabled": "true"});
    let annotations = json!({
        "etcd-defrag.io/schedule": "5 5 * * *",
        "etcd-defrag.io/rule": "dbQuotaUsage > 0.5 && dbSizeFree > 200*1024*1024",
        "etcd-defrag.io/defaulted": "rule",
    });
    let object = statefulset("set", &labels, &annotations);
    harness::eventually("the configuration to be in force", Duration::from_secs(20), || {
        world.asks("mutate", &["create", "--dry-run=server", "-f", "-"], &object).then_some(())
    });
    world.plane.apply(&object);
    let annotate = |edit: &str| world.asks("mutate", &["annotate", "--overwrite", "statefulset/set", edit], "");
    assert!(!annotate("etcd-defrag.io/schedule=6 6 * * *"), "a value of a person");
    assert!(!annotate("example.com/note=x"), "a key of somebody else");
    assert!(annotate("etcd-defrag.io/rule=dbSizeFree > 1024*1024*1024"), "a value that the policy gave");
    assert!(annotate("etcd-defrag.io/defaulted=schedule,rule"), "the list of them");
    assert!(annotate("etcd-defrag.io/time-zone=Europe/Rome"), "a new key");
    assert!(annotate("etcd-defrag.io/time-zone-"), "a key that goes");
    assert!(annotate("etcd-defrag.io/shedule=x"), "a key that does not exist");
    assert!(
        world.asks("mutate", &["set", "image", "statefulset/set", "etcd=registry.example/etcd:v3"], ""),
        "the rest"
    );
}

#[test]
fn only_what_may_be_an_etcd_costs_a_call_to_enrol() {
    let world = FailsOpen::start();
    let plane = &world.plane;
    let called = |args: &[&str], stdin: &str| world.asks("enroll", args, stdin);
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
        // More than the API server can go through.
        (json!([{"name": "a", "image": "x", "args": vec!["-v"; 251]}]), true),
        ((0..65).map(|number| json!({"name": format!("c{number}"), "image": "x"})).collect(), true),
    ] {
        assert_eq!(called(&create, &with(containers.clone())), costs, "{containers}");
    }

    assert!(!called(&create, &statefulset("set", &json!({"etcd-defrag.io/enabled": "true"}), &json!({}))));
    plane.apply(&unlabelled);
    assert!(!called(&["set", "image", "statefulset/bare", "etcd=registry.example/etcd:v3"], ""));
    assert!(!called(&["label", "statefulset/bare", "tier=gold"], ""));
    // The rest of its life it costs none. A label that is taken off is the business of the entry that fills in.
    assert!(!called(&["annotate", "statefulset/bare", "etcd-defrag.io/rule=x"], ""));
    plane.kubectl_ok(&["label", "statefulset/bare", "etcd-defrag.io/enabled=true"]);
    assert!(!called(&["annotate", "--overwrite", "statefulset/bare", "etcd-defrag.io/rule=y"], ""));
    assert!(!called(&["label", "statefulset/bare", "etcd-defrag.io/enabled-"], ""));
    plane.kubectl_ok(&["label", "statefulset/bare", "etcd-defrag.io/enabled=true"]);
    let mark = plane.audit_mark();
    plane.kubectl_ok(&["label", "statefulset/bare", "etcd-defrag.io/enabled-"]);
    let filled_in = |value: &String| value == "mutate.etcd-defrag-webhook.etcd-defrag.io";
    assert_eq!(plane.audit_since(mark).count(|event| event.annotations.values().any(filled_in)), 1);
}
