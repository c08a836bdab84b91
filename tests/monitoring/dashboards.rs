//! The dashboards as files: Grafana's own types read them.

use std::process::Command;

use serde_json::Value;

use crate::files::{self, text};

/// Every query of a dashboard, with the title of its panel.
pub(crate) fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| {
        let title = text(&panel["title"]);
        panel["targets"].as_array().into_iter().flatten().map(move |target| (title, target))
    });
    targets.map(|(title, target)| (title.to_owned(), text(&target["expr"]).to_owned())).collect()
}

/// The dashboards, by the name of their file.
pub(crate) fn all() -> Vec<(String, Value)> {
    files::files_in(&files::chart("dashboards"), ".json")
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&files::read(&path)).unwrap())
        })
        .collect()
}

/// Read by the types that are generated from Grafana's schemas: unknown fields of dashboards, rows and panels' options, missing
/// ones and wrong types are errors. What it does not look at: the words of enumerations, and field defaults.
#[test]
fn grafanas_own_types_read_the_dashboards() {
    if Command::new("go").arg("version").output().is_err() {
        println!("SKIPPED: grafanas_own_types_read_the_dashboards: there is no Go toolchain");
        return;
    }
    let mut command = Command::new("go");
    command.args(["run", "-trimpath", "."]).current_dir(files::root().join("tests/grafana")).env("CGO_ENABLED", "0");
    let paths = files::files_in(&files::chart("dashboards"), ".json");
    let output = command.args(&paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), paths.len());
}

#[test]
fn each_panel_explains_itself_and_dashboards_link_to_each_other() {
    let dashboards = all();
    assert_eq!(
        dashboards.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["etcd.json", "fleet.json", "webhook.json"]
    );
    for (name, dashboard) in &dashboards {
        assert_eq!(dashboard["links"][0]["tags"], dashboard["tags"], "{name}");
        let mut ids = std::collections::BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_i64()), "{name}: {} has the id of another panel", panel["title"]);
            if panel["type"] == "row" {
                continue;
            }
            assert!(text(&panel["description"]).ends_with('.'), "{name}: {} has no description", panel["title"]);
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}: {}", panel["title"]);
        }
        assert!(queries(dashboard).len() > 10, "{name}");
    }
}
