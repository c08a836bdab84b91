//! `--policy` of the real binary: manifests judged by policies, without a cluster.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the lints know test functions, but not the helpers of tests"
)]

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

const EXAMPLE: &str = "examples/kamaji-etcd.yaml";
const NAMESPACE: &str =
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: kamaji-system, labels: {environment: production}}\n";

/// A folder with files, and the binary run beside the examples.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    /// Runs with `@name` as the file of that name.
    fn run(&self, args: &[&str]) -> Output {
        let path = |arg: &&str| match arg.strip_prefix('@') {
            Some(name) => self.0.path().join(name).to_str().unwrap().to_owned(),
            None => (*arg).to_owned(),
        };
        Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook"))
            .args(args.iter().map(path))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a person sees, without the place of the folder and without fire times.
    fn screen(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = |bytes: &[u8]| -> String {
            let text = String::from_utf8_lossy(bytes).replace(&format!("{}/", self.0.path().display()), "");
            let lines: Vec<&str> = text.lines().map(|line| line.split("next runs ").next().unwrap()).collect();
            lines.iter().flat_map(|line| [line, "\n"]).collect()
        };
        format!(
            "exit code {}\n--- standard output\n{}--- standard error\n{}",
            output.status.code().unwrap(),
            text(&output.stdout),
            text(&output.stderr)
        )
    }

    fn json(&self, args: &[&str]) -> (Option<i32>, Value) {
        let output = self.run(args);
        let value = serde_json::from_slice(&output.stdout);
        (output.status.code(), value.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
    }
}

fn policy(name: &str, spec: &Value) -> String {
    json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": name}, "spec": spec})
        .to_string()
}

#[test]
fn the_policy_that_governs_is_named_and_followed() {
    let desk = Desk::new(&[("namespace.yaml", NAMESPACE)]);
    insta::assert_snapshot!(desk.screen(&["check", "-f", EXAMPLE, "@namespace.yaml", "--policy", "examples/policies"]));
    let (code, judged) = desk.json(&["check", "-o", "json", "-f", EXAMPLE, "--policy", "examples/policies"]);
    assert_eq!(code, Some(0), "without the Namespace its labels are not known: {judged}");
    let of = |name: &str| judged.as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap().clone();
    assert_eq!(of("kamaji-etcd")["policy"], "default");
    assert_eq!(of("production"), json!({"kind": "DefragPolicy", "name": "production", "findings": []}));
}

/// What is not in the input is not guessed: neither that the policy governs nor that it does not.
#[test]
fn which_policy_governs_is_unknown_without_the_labels_of_the_namespace() {
    const PRODUCTION: &str = "examples/policies/production.yaml";
    let desk = Desk::new(&[("namespace.yaml", NAMESPACE)]);
    insta::assert_snapshot!(desk.screen(&["check", "-f", EXAMPLE, "--policy", PRODUCTION]));
    let strict = |files: &[&str]| {
        desk.run(&[&["check", "--strict", "-f"], files, &["--policy", PRODUCTION]].concat()).status.code()
    };
    assert_eq!(strict(&[EXAMPLE]), Some(1));
    let rendered = desk.screen(&["render", "-f", EXAMPLE, "--policy", PRODUCTION]);
    let said = rendered.split("--- standard error").nth(1).unwrap();
    assert!(said.contains("warn namespace-labels-unknown") && said.contains("perhaps governed by"), "{said}");
    let (code, judged) = desk.json(&["check", "-o", "json", "-f", EXAMPLE, "@namespace.yaml", "--policy", PRODUCTION]);
    assert_eq!(judged[1]["policy"], "production");
    assert!(!judged.to_string().contains("namespace-labels-unknown"), "{code:?} {judged}");
    let (_, log) = desk.json(&["check", "-o", "sarif", "-f", EXAMPLE, "--policy", PRODUCTION]);
    let governed = &log["runs"][0]["results"][0]["properties"]["policy"];
    assert!(governed.as_str().unwrap().starts_with("perhaps governed by the built-in policy"), "{governed}");
}

#[test]
fn labels_are_asked_for_only_where_it_depends_on_them_which_policy_governs() {
    let by_label = |operator: &str, values: &Value| json!({"matchExpressions": [{"key": "environment", "operator": operator, "values": values}]});
    let by_name = |name: &str| json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
    let elsewhere = json!({"matchLabels": {"kubernetes.io/metadata.name": "elsewhere", "environment": "production"}});
    for (spec, asks) in [
        (json!({"namespaceSelector": by_label("In", &json!(["production"]))}), true),
        (json!({"namespaceSelector": by_label("NotIn", &json!(["production"]))}), true),
        (json!({"namespaceSelector": by_label("Exists", &json!([]))}), true),
        (json!({"namespaceSelector": by_label("DoesNotExist", &json!([]))}), true),
        (json!({"namespaceSelector": by_name("kamaji-system")}), false),
        (json!({"namespaceSelector": by_name("elsewhere")}), false),
        (json!({"namespaceSelector": elsewhere}), false),
        (
            json!({"namespaceSelector": by_label("Exists", &json!([])), "selector": {"matchLabels": {"tier": "none"}}}),
            false,
        ),
        (json!({}), false),
    ] {
        let desk = Desk::new(&[("p.json", &policy("p", &spec))]);
        let (code, judged) = desk.json(&["check", "-o", "json", "-f", EXAMPLE, "--policy", "@p.json"]);
        assert_eq!((code, judged.to_string().contains("namespace-labels-unknown")), (Some(0), asks), "{spec}");
    }
    // A policy that governs in any case leaves nothing to ask for those behind it.
    let select = by_label("Exists", &json!([]));
    for (priority, asks) in [(1, true), (-1, false)] {
        let sometimes = policy("sometimes", &json!({"priority": priority, "namespaceSelector": select}));
        let desk = Desk::new(&[("a.json", &sometimes), ("b.json", &policy("always", &json!({})))]);
        let (_, judged) = desk.json(&["check", "-o", "json", "-f", EXAMPLE, "--policy", "@a.json", "@b.json"]);
        assert_eq!(judged.to_string().contains("namespace-labels-unknown"), asks, "{priority}: {judged}");
    }
}

#[test]
fn strict_fails_for_warnings_and_not_for_what_is_only_looked_at() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kamaji-etcd.yaml")).unwrap();
    let quiet = json!({
        "defaults": {"clientSecret": "kamaji-etcd-root-client-certs:tls.crt,tls.key"},
        "limits": {"eagerLivenessProbe": "Allow", "volume": {"refuseBelowPercent": 10, "warnBelowPercent": 10}},
    });
    let desk = Desk::new(&[
        ("unlabelled.yaml", &text.replace("etcd-defrag.io/enabled", "example.org/enabled")),
        ("p.json", &policy("p", &quiet)),
    ]);
    let code = |args: &[&str]| desk.run(args).status.code();
    assert_eq!(code(&["check", "-f", EXAMPLE]), Some(0));
    assert_eq!(code(&["check", "--strict", "-f", EXAMPLE]), Some(1), "the example has a tight volume");
    assert_eq!(code(&["check", "--strict", "-f", EXAMPLE, "--policy", "@p.json"]), Some(0));
    assert_eq!(code(&["check", "--strict", "-f", "@unlabelled.yaml"]), Some(0));
}

#[test]
fn a_policy_whose_metadata_no_api_server_takes_is_refused() {
    let metadata = json!({"name": "P_x", "labels": {"a b": "c", "a": "x y"}, "annotations": {"a b": "any text"}});
    let written =
        json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": metadata, "spec": {}});
    let desk = Desk::new(&[("p.json", &written.to_string())]);
    let (code, judged) = desk.json(&["check", "-o", "json", "-f", EXAMPLE, "--policy", "@p.json"]);
    let fields: Vec<&str> =
        judged[0]["findings"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    let expected = ["metadata.name", "metadata.labels[a b]", "metadata.labels[a]", "metadata.annotations[a b]"];
    assert_eq!((code, fields.len()), (Some(1), 4), "{judged}");
    assert!(expected.iter().all(|field| fields.contains(field)), "{fields:?}");
}

#[test]
fn without_a_policy_that_selects_it_the_built_in_one_governs() {
    let desk = Desk::new(&[("p.json", &policy("p", &json!({"selector": {"matchLabels": {"tier": "none"}}})))]);
    let (code, judged) = desk.json(&["check", "-o", "json", "-f", EXAMPLE, "--policy", "@p.json"]);
    assert_eq!((code, &judged[1]["policy"], &judged[1]["kind"]), (Some(0), &Value::Null, &json!("StatefulSet")));
}

#[test]
fn the_actions_of_the_policy_decide_what_a_violation_is() {
    let actions = |actions: &[&str]| {
        policy("p", &json!({"validationActions": actions, "limits": {"volume": {"refuseBelowPercent": 150}}}))
    };
    for (named, code, severity) in [
        (&["Deny"][..], 1, "deny"),
        (&["Deny", "Audit"], 1, "deny"),
        (&["Warn"], 0, "warn"),
        (&["Audit"], 0, "warn"),
        (&["Warn", "Audit"], 0, "warn"),
    ] {
        let desk = Desk::new(&[("p.json", &actions(named))]);
        let (found, judged) = desk.json(&["check", "-o", "json", "-f", EXAMPLE, "--policy", "@p.json"]);
        let findings = judged[1]["findings"].as_array().unwrap();
        let volume = findings.iter().find(|finding| finding["code"] == "volume-too-small").unwrap();
        assert_eq!((found, &volume["severity"]), (Some(code), &json!(severity)), "{named:?}");
        let rendered = desk.run(&["render", "-o", "json", "-f", EXAMPLE, "--policy", "@p.json"]);
        assert_eq!(rendered.status.code(), Some(code), "{named:?}");
    }
}

#[test]
fn a_policy_is_judged_at_its_own_place() {
    let invalid = "apiVersion: etcd-defrag.io/v1alpha1\nkind: DefragPolicy\nmetadata:\n  name: p\nspec:\n  defaults:\n    schedule: 0 3 31 2 *\n";
    let desk = Desk::new(&[("p.yaml", invalid)]);
    insta::assert_snapshot!(desk.screen(&["check", "-f", EXAMPLE, "--policy", "@p.yaml"]));
    let (_, log) = desk.json(&["check", "-o", "sarif", "-f", EXAMPLE, "--policy", "@p.yaml"]);
    let results = log["runs"][0]["results"].as_array().unwrap();
    let result = results.iter().find(|result| result["ruleId"] == "schedule-never-fires").unwrap();
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 7);
    assert_eq!(
        result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"],
        "DefragPolicy p: spec.defaults.schedule"
    );
    let governed = results.iter().find(|result| result["ruleId"] == "volume-tight").unwrap();
    assert_eq!(
        governed["properties"]["policy"],
        "governed by DefragPolicy p (priority 0, the highest that selects it)"
    );
}

#[test]
fn a_field_that_no_policy_has_is_refused_with_the_nearest() {
    let unknown = "apiVersion: etcd-defrag.io/v1alpha1
kind: DefragPolicy
metadata: {name: p}
spec:
  prio: 5
  schedule: 0 3 * * *
  limits:
    min-interval: 5m
    windows:
    - {from: \"01:00\", to: \"02:00\", tz: UTC}
  job:
    affinity: {nodeAffinty: {}}
    nodeSelector: {any: thing}
";
    let desk = Desk::new(&[("p.yaml", unknown)]);
    insta::assert_snapshot!(desk.screen(&["check", "-f", EXAMPLE, "--policy", "@p.yaml"]));
}

#[test]
fn what_cannot_be_a_policy_ends_with_2() {
    let good = policy("p", &json!({}));
    for (text, says) in [
        (NAMESPACE.to_owned(), "there is no DefragPolicy in the files of --policy"),
        (good.replace("v1alpha1", "v1"), "the only version there is is etcd-defrag.io/v1alpha1"),
        (good.replace(r#""name":"p""#, ""), "has no metadata.name"),
        (good.replace(r#","spec":{}"#, ""), "has no spec"),
        (format!("{good}\n---\n{good}"), "already; a cluster has only one of a name"),
        (
            policy("p", &json!({"validationActions": ["Refuse"]})),
            "spec.validationActions[0]: \"Refuse\" is not one of Deny, Warn, Audit",
        ),
        (policy("p", &json!({"priority": "high"})), "spec.priority: must be a whole number, but is the text \"high\""),
    ] {
        let desk = Desk::new(&[("p.yaml", &text)]);
        for command in ["check", "render"] {
            let output = desk.run(&[command, "-f", EXAMPLE, "--policy", "@p.yaml"]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{text}: {said}");
            assert!(said.contains(says), "{text}: {said}");
        }
    }
    let desk = Desk::new(&[]);
    let both = desk.run(&["check", "-f", "-", "--policy", "-"]);
    assert!(String::from_utf8_lossy(&both.stderr).contains("can be read once"));
}

#[test]
fn a_policy_among_the_manifests_is_not_followed_in_silence() {
    let desk = Desk::new(&[("p.json", &policy("p", &json!({})))]);
    let output = desk.run(&["check", "-f", EXAMPLE, "@p.json"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("name its file with --policy"));
}

#[test]
fn render_gives_what_the_policy_gives() {
    let spec = json!({"defaults": {"schedule": "5 4 * * *", "freeAbove": "1Gi"}, "job": {"priorityClassName": "low"}});
    let desk = Desk::new(&[("p.json", &policy("p", &spec))]);
    let (code, list) = desk.json(&["render", "-o", "json", "-f", EXAMPLE, "--policy", "@p.json"]);
    assert_eq!(code, Some(0));
    let annotations = &list["items"][0]["metadata"]["annotations"];
    assert_eq!(annotations["etcd-defrag.io/schedule"], "5 4 * * *");
    assert_eq!(annotations["etcd-defrag.io/free-above"], "1Gi");
    let spec = &list["items"][1]["spec"];
    assert_eq!(spec["schedule"], "5 4 * * *");
    assert_eq!(spec["jobTemplate"]["spec"]["template"]["spec"]["priorityClassName"], "low");
}

#[test]
fn an_etcd_without_a_label_is_enrolled_where_the_policy_says_so() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kamaji-etcd.yaml")).unwrap();
    let unlabelled = text.replace("etcd-defrag.io/enabled", "example.org/enabled");
    assert_ne!(text, unlabelled);
    let desk = Desk::new(&[
        ("etcd.yaml", &unlabelled),
        ("all.json", &policy("all", &json!({"enrollment": "All"}))),
        ("labeled.json", &policy("labeled", &json!({}))),
    ]);
    let enrolled =
        |file: &str| desk.json(&["check", "-o", "json", "-f", "@etcd.yaml", "--policy", file]).1[1]["enrolled"].clone();
    assert_eq!((enrolled("@all.json"), enrolled("@labeled.json")), (json!(true), json!(false)));
}
