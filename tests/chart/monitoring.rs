//! Rules and dashboards arrive as they are in the chart's files.

use std::{fs, path::Path};

use serde_json::Value;

use super::support::{RELEASE, find, render};
use harness::chart;

fn file(name: &str) -> String {
    let path = chart().join("files").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_rules_are_those_of_the_files_with_links_of_ones_own() {
    let rendered = render("metrics: {rules: {enabled: true, runbookUrl: 'https://wiki.example.com/etcd/'}}");
    let rule = find(&rendered, &format!("PrometheusRule {RELEASE}"));
    let text = ["recording.yaml", "alerts.yaml"].map(file);
    let groups = text.iter().flat_map(|text| {
        let text = text.replace("docs/runbooks/", "https://wiki.example.com/etcd/");
        let file: Value = serde_saphyr::from_str(&text).unwrap();
        file["groups"].as_array().unwrap().clone()
    });
    assert_eq!(rule["spec"]["groups"], Value::Array(groups.collect()));
    assert!(rule.to_string().contains("https://wiki.example.com/etcd/EtcdDefragNoSpace.md"));
    // Without a value of one's own there is no link, since it would lead nowhere; all else is the same.
    let rendered = render("metrics: {rules: {enabled: true}}");
    let without = find(&rendered, &format!("PrometheusRule {RELEASE}"));
    let mut linked = rule.clone();
    for group in linked["spec"]["groups"].as_array_mut().unwrap() {
        for alert in group["rules"].as_array_mut().unwrap() {
            if let Some(annotations) = alert.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove("runbook_url").unwrap();
            }
        }
    }
    assert_eq!(without["spec"], linked["spec"]);
}

#[test]
fn the_dashboards_are_those_of_the_files() {
    let rendered = render("metrics: {dashboards: {enabled: true}}");
    let map = find(&rendered, &format!("ConfigMap {RELEASE}-dashboards"));
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let data = map["data"].as_object().unwrap();
    assert_eq!(data.len(), 3);
    for (name, text) in data {
        let shipped = file(&format!("dashboards/{}", name.strip_prefix("etcd-defrag-").unwrap()));
        assert!(Path::new(name).extension().is_some_and(|extension| extension == "json"));
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(read(text.as_str().unwrap()), read(&shipped), "{name}");
    }
}
