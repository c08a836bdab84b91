//! The rules: promtool checks and tests them, and files, tests and pages are in step.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::files::{self, text};
use harness::prometheus;

#[test]
fn promtool_finds_nothing_wrong_with_the_rules() {
    let Some(programs) = prometheus::found("promtool_finds_nothing_wrong_with_the_rules") else { return };
    for name in ["alerts.yaml", "recording.yaml"] {
        let path = files::chart(name);
        let (fine, said) = prometheus::promtool(programs, &["check", "rules", path.to_str().unwrap()], "");
        assert!(fine && said.contains("SUCCESS"), "{said}");
    }
}

fn unit_tests() -> Vec<std::path::PathBuf> {
    files::files_in(&files::root().join("tests/monitoring"), "_test.yaml")
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    let Some(programs) = prometheus::found("each_alert_fires_when_it_should_and_only_then") else { return };
    for path in unit_tests() {
        let (fine, said) = prometheus::promtool(programs, &["test", "rules", path.to_str().unwrap()], "");
        assert!(fine, "{said}");
    }
}

/// The name of a case says what it shows, and what it expects is that.
#[test]
fn each_alert_has_a_case_that_fires_and_one_that_does_not() {
    let alerts = files::alerts();
    let mut shown = BTreeSet::new();
    for path in unit_tests() {
        let file: Value = serde_saphyr::from_str(&files::read(&path)).unwrap();
        for case in file["tests"].as_array().unwrap() {
            let name = text(&case["name"]);
            let (alert, rest) = name.split_once(' ').unwrap();
            let fires = rest.starts_with("fires: ");
            assert!(fires || rest.starts_with("stays silent: "), "{name}");
            assert!(alerts.contains_key(alert), "{name}: there is no such alert");
            let check = &case["promql_expr_test"][0];
            assert_eq!(
                text(&check["expr"]),
                format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}"),
                "{name}"
            );
            assert_eq!(!check["exp_samples"].as_array().unwrap().is_empty(), fires, "{name}");
            shown.insert((alert.to_owned(), fires));
        }
    }
    let wanted: BTreeSet<_> = alerts.keys().flat_map(|alert| [(alert.clone(), true), (alert.clone(), false)]).collect();
    assert_eq!(shown, wanted);
}

#[test]
fn each_alert_says_what_to_do_and_has_a_page() {
    let alerts = files::alerts();
    let overview = files::read(&files::root().join("docs/monitoring.md"));
    for (name, alert) in &alerts {
        let annotations = &alert["annotations"];
        for key in ["summary", "description"] {
            assert!(text(&annotations[key]).ends_with('.'), "{name}: the {key} is no sentence");
        }
        assert!(["critical", "warning"].contains(&text(&alert["labels"]["severity"])), "{name}");
        let page = format!("docs/runbooks/{name}.md");
        assert_eq!(text(&annotations["runbook_url"]), page);
        let page = files::read(&files::root().join(page));
        assert!(page.starts_with(&format!("# {name}\n")), "{name}: the page has another title");
        for part in ["## What it means", "## How to check", "## How to fix it"] {
            assert!(page.contains(part), "{name}: the page has no part {part:?}");
        }
        assert!(
            overview.contains(&format!("| [{name}](runbooks/{name}.md) |")),
            "docs/monitoring.md does not list {name}"
        );
    }
    let pages = files::files_in(&files::root().join("docs/runbooks"), ".md");
    for page in pages.iter().filter(|page| !page.ends_with("README.md")) {
        let name = page.file_stem().unwrap().to_str().unwrap();
        assert!(alerts.contains_key(name), "{} is about no alert", page.display());
    }
}

#[test]
fn what_alerts_and_dashboards_read_is_recorded_and_what_is_recorded_is_read() {
    let recorded = files::recorded();
    let mut read: BTreeSet<String> = BTreeSet::new();
    let dashboards = files::files_in(&files::chart("dashboards"), ".json");
    let paths = dashboards.into_iter().chain(["alerts.yaml", "recording.yaml"].map(files::chart));
    for path in paths {
        let content = files::read(&path);
        let expressions = content.lines().filter(|line| !line.trim_start().starts_with(['#', '-']));
        let words = expressions.flat_map(|line| files::words(line)).filter(|word| word.contains(':'));
        read.extend(
            words
                .map(|word| word.trim_end_matches(':').to_owned())
                .filter(|word| word.matches(':').count() == 2 && (word.starts_with("etcd"))),
        );
    }
    assert_eq!(read, recorded);
}
