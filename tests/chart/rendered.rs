//! What the chart renders, without a cluster.

use std::collections::{BTreeMap, BTreeSet};

use etcd_defrag_webhook::admission::registration::{Registration, Target};
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::support::{NAMESPACE, RELEASE, SETS, find, objects, render, template, title};
use harness::{chart, helm, helm_ok};

#[test]
fn helm_lint_finds_nothing() {
    let chart = chart();
    for (name, values) in SETS {
        let said = helm_ok(&["lint", "--strict", chart.to_str().unwrap(), "-f", "-"], values);
        assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{name}: {said}");
    }
}

/// The whole of the default installation, and of the others what differs from it. What the code generates is left out.
#[test]
fn six_sets_of_values() {
    let default = short(&render(""));
    for (name, values) in SETS {
        if values.is_empty() {
            let pages: Vec<String> = default.iter().map(|(title, page)| format!("## {title}\n{page}")).collect();
            insta::assert_snapshot!(name, pages.join("\n"));
        } else {
            insta::assert_snapshot!(name, differences(&default, &short(&render(values))));
        }
    }
}

/// Each object as a page, by its title; without what the code generates, and with the labels that all have on one only.
fn short(objects: &[Value]) -> BTreeMap<String, String> {
    let page = |object: &Value| {
        let mut object = object.clone();
        // The names of everything differ where the name is overridden; what remains is what matters.
        let title = title(&object).replace("keeper", RELEASE);
        match object["kind"].as_str() {
            Some("CustomResourceDefinition" | "ValidatingAdmissionPolicy") => object["spec"] = json!("(generated)"),
            // What is in them is looked at in monitoring.rs.
            Some("PrometheusRule") => object["spec"] = json!("(files/recording.yaml and files/alerts.yaml)"),
            Some("ConfigMap") if title.ends_with("-dashboards") => {
                for (name, dashboard) in object["data"].as_object_mut().unwrap() {
                    *dashboard = json!(format!("(files/dashboards, {name})"));
                }
            }
            Some("MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration") => {
                for webhook in object["webhooks"].as_array_mut().unwrap() {
                    *webhook = json!({"name": webhook["name"], "clientConfig": webhook["clientConfig"]});
                }
            }
            _ => {}
        }
        if object["kind"] != "Service"
            && let Some(labels) = object["metadata"].get_mut("labels").and_then(Value::as_object_mut)
        {
            labels.retain(|key, _| {
                !key.starts_with("app.kubernetes.io/") && key != "helm.sh/chart" && key != "example.com/team"
            });
        }
        (title, serde_saphyr::to_string(&object).unwrap().replace("keeper", RELEASE))
    };
    objects.iter().map(page).collect()
}

fn differences(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> String {
    let titles: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut lines = Vec::new();
    for title in titles {
        match (old.get(title), new.get(title)) {
            (Some(_), None) => lines.push(format!("- {title}")),
            (None, Some(new)) => {
                lines.push(format!("+ {title}"));
                lines.extend(new.lines().map(|line| format!("  + {line}")));
            }
            (Some(old), Some(new)) if old != new => {
                lines.push(format!("  {title}"));
                let diff = TextDiff::from_lines(old, new);
                lines.extend(diff.iter_all_changes().filter(|change| change.tag() != ChangeTag::Equal).map(|change| {
                    let sign = if change.tag() == ChangeTag::Delete { '-' } else { '+' };
                    format!("  {sign} {}", change.value().trim_end())
                }));
            }
            _ => {}
        }
    }
    lines.join("\n")
}

/// Entry by entry, field by field, under any name and in any namespace.
#[test]
fn the_chart_registers_what_the_code_says() {
    for (release, namespace) in [(RELEASE, NAMESPACE), ("guard", "elsewhere")] {
        let chart = chart();
        let args = ["template", release, chart.to_str().unwrap(), "--namespace", namespace, "-f", "-"];
        let rendered = objects(&helm_ok(&args, ""));
        let name = if release == RELEASE { RELEASE.to_owned() } else { format!("{release}-{RELEASE}") };
        let registration = Registration {
            target: Target::Service { namespace: namespace.to_owned(), name: name.clone(), port: 443 },
            ca_bundle: None,
            exempt_namespaces: vec!["kube-system".to_owned(), namespace.to_owned()],
        };
        let said = [
            ("Mutating", serde_json::to_value(registration.mutating()).unwrap()),
            ("Validating", serde_json::to_value(registration.validating()).unwrap()),
        ];
        for (kind, said) in said {
            let rendered = find(&rendered, &format!("{kind}WebhookConfiguration {name}"));
            let entries = |object: &Value| object["webhooks"].as_array().unwrap().clone();
            for (rendered, said) in entries(rendered).iter().zip(entries(&said)) {
                assert_eq!(serde_saphyr::to_string(rendered).unwrap(), serde_saphyr::to_string(&said).unwrap());
            }
            assert_eq!(entries(rendered).len(), entries(&said).len());
        }
    }
}

/// One value says which namespaces are left alone, and both sides get it (the process has its own namespace from the pod); another
/// one how widely the status is looked at.
#[test]
fn webhook_and_reconciler_leave_out_the_same_namespaces() {
    for (values, names) in [
        ("", &["kube-system", NAMESPACE][..]),
        ("exemptNamespaces: [a, b]", &["a", "b"]),
        ("exemptNamespaces: [kube-system, '{{ .Release.Namespace }}', kube-system]", &["kube-system", NAMESPACE]),
        ("exemptNamespaces: []", &[]),
        ("statusWrites: {everyStatefulSet: false}", &["kube-system", NAMESPACE]),
    ] {
        let rendered = render(values);
        let deployment = find(&rendered, &format!("Deployment {RELEASE}"));
        let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
        let exempt = names.join(",").replace(NAMESPACE, "$(POD_NAMESPACE)");
        assert!(args.contains(&json!(format!("--exempt-namespaces={exempt}"))), "{values}: {args:?}");
        let served = match names {
            [] => json!({}),
            names => json!({"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": names}]}),
        };
        for kind in ["Mutating", "Validating"] {
            let configuration = find(&rendered, &format!("{kind}WebhookConfiguration {RELEASE}"));
            for webhook in configuration["webhooks"].as_array().unwrap() {
                let everywhere =
                    webhook["name"].as_str().unwrap().starts_with("status.") && !values.starts_with("statusWrites");
                let expected = if everywhere { &json!({}) } else { &served };
                assert_eq!(&webhook["namespaceSelector"], expected, "{values}: {}", webhook["name"]);
                assert_eq!(webhook["objectSelector"] == json!({}), everywhere, "{values}: {}", webhook["name"]);
            }
        }
    }
}

#[test]
fn the_versions_are_those_of_the_program() {
    let said = helm_ok(&["show", "chart", chart().to_str().unwrap()], "");
    let version = env!("CARGO_PKG_VERSION");
    let engine = format!("  etcd-defrag.io/engine-image: {}", etcd_defrag_webhook::defrag::engine::IMAGE);
    for line in [format!("version: {version}"), format!("appVersion: {version}"), engine] {
        assert!(said.lines().any(|found| found == line), "{line} is not in Chart.yaml:\n{said}");
    }
}

/// The first time the kind of the policy is unknown to the cluster; then it is made last, and later taken over.
#[test]
fn the_policy_is_a_hook_until_its_kind_is_known() {
    let first = objects(&template("", &[]));
    let later = render("");
    let annotations = |objects: &[Value]| find(objects, "DefragPolicy default")["metadata"]["annotations"].clone();
    let hook = annotations(&first);
    assert_eq!(hook["helm.sh/hook"], "post-install,post-upgrade");
    assert_eq!(hook["meta.helm.sh/release-name"], RELEASE);
    assert_eq!(annotations(&later), json!({"helm.sh/resource-policy": "keep"}));
    assert_eq!(find(&first, "DefragPolicy default")["spec"], find(&later, "DefragPolicy default")["spec"]);
    // Nothing else is a hook but the test.
    for object in first {
        let hook = &object["metadata"]["annotations"]["helm.sh/hook"];
        assert!(hook.is_null() || hook == "test" || title(&object) == "DefragPolicy default", "{object}");
    }
}

/// No Secret but the one that the process makes for itself, and that only where it does.
#[test]
fn no_right_reaches_a_secret_of_an_etcd() {
    for (name, values) in SETS {
        for object in render(values) {
            for rule in object["rules"].as_array().into_iter().flatten() {
                let resources = rule["resources"].to_string();
                assert!(!resources.contains('*') && !rule["verbs"].to_string().contains('*'), "{name}: {rule}");
                if !resources.contains("secrets") {
                    continue;
                }
                assert_eq!((name, object["kind"].as_str()), ("self-signed", Some("Role")), "{rule}");
                let only = rule["resourceNames"] == json!([format!("{RELEASE}-tls")]);
                assert!(only || rule["verbs"] == json!(["create"]), "{rule}");
            }
        }
    }
}

/// Another chart that depends on this one, with values of its own, `global` and a condition.
#[test]
fn it_works_as_a_subchart() {
    let dir = tempfile::tempdir().unwrap();
    let parent = dir.path().join("platform");
    std::fs::create_dir_all(parent.join("charts")).unwrap();
    std::os::unix::fs::symlink(chart(), parent.join("charts/etcd-defrag-webhook")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let description = format!(
        "apiVersion: v2\nname: platform\nversion: 1.0.0\ndependencies:\n  - name: etcd-defrag-webhook\n    version: {version}\n    condition: etcd-defrag-webhook.enabled\n"
    );
    std::fs::write(parent.join("Chart.yaml"), description).unwrap();
    let args = ["template", "all", parent.to_str().unwrap(), "--namespace", "platform", "-f", "-"];
    let values = "global: {region: north, imageRegistry: mirror.example}\netcd-defrag-webhook: {enabled: true, replicas: 3, \
         tls: {mode: self-signed}, image: {repository: etcd-defrag-webhook}}";
    let rendered = objects(&helm_ok(&args, values));
    let deployment = find(&rendered, "Deployment all-etcd-defrag-webhook");
    assert_eq!(deployment["spec"]["replicas"], 3);
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    assert!(image.as_str().unwrap().starts_with("mirror.example/etcd-defrag-webhook:"), "{image}");
    // What is wrong is still refused, at its place.
    let refused = helm(args, "etcd-defrag-webhook: {enabled: true, replica: 3}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("replica"), "{said}");
    let without = helm_ok(&args, "etcd-defrag-webhook: {enabled: false}");
    assert_eq!(objects(&without), Vec::<Value>::new());
}

/// What a person is told to do next.
#[test]
fn the_notes_say_what_to_do_next() {
    let chart = chart();
    let notes = |values: &str| {
        let args = ["install", RELEASE, chart.to_str().unwrap(), "-n", NAMESPACE, "--dry-run=client", "-f", "-"];
        let said = helm_ok(&args, values);
        said.split_once("NOTES:\n").unwrap().1.to_owned()
    };
    insta::assert_snapshot!("notes", notes(""));
    insta::assert_snapshot!("notes_secret", notes("tls: {mode: secret}"));
}
