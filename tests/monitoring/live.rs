//! Every query and every alert on real data, and our own metrics on a real `serve`.

use std::{collections::BTreeSet, path::Path, time::Duration};

use crate::{
    dashboards,
    files::{self, text},
    plots,
    world::{NAME, NAMESPACE, statefulset, world},
};
use harness::{eventually, prometheus};

/// Variables as a person would set them.
pub(crate) fn substituted(expression: &str) -> String {
    expression.replace("$__rate_interval", "5m").replace("$namespace", NAMESPACE).replace("$statefulset", NAME)
}

#[test]
fn every_query_of_the_dashboards_has_data() {
    let Some(programs) = prometheus::found("every_query_of_the_dashboards_has_data") else { return };
    let world = world(programs);
    let mut count = 0;
    for (file, dashboard) in dashboards::all() {
        for variable in dashboard["templating"]["list"].as_array().unwrap().iter().filter(|one| one["type"] == "query")
        {
            let query = text(&variable["query"]["query"]);
            let selector = query.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(", ")).unwrap().0;
            world.prometheus.wait_for(&substituted(selector));
        }
        for (title, query) in dashboards::queries(&dashboard) {
            let query = substituted(&query);
            assert!(!query.contains('$'), "{file}, {title}: a variable is left in {query}");
            eventually(&format!("data for {query}"), Duration::from_secs(90), || {
                let found = !world.prometheus.query(&query).is_empty();
                if !found {
                    // Rates are of the last minutes.
                    world.write_is_refused();
                }
                found.then_some(())
            });
            count += 1;
        }
    }
    println!("{count} queries have data");
    if let Some(folder) = std::env::var_os("PLOTS") {
        plots::draw(&world, Path::new(&folder));
    }
}

/// What an alert compares is there, or the alert could never fire; and each is evaluated without an error. What is there only
/// once calls have failed is shown below.
#[test]
fn what_every_alert_reads_is_there() {
    let Some(programs) = prometheus::found("what_every_alert_reads_is_there") else { return };
    let world = world(programs);
    let recorded = files::recorded();
    let mut seen = BTreeSet::new();
    for (name, alert) in files::alerts() {
        let expression = text(&alert["expr"]);
        world.prometheus.query(expression);
        let names = files::words(expression);
        let names =
            names.into_iter().filter(|word| recorded.contains(*word) || word.starts_with("etcd_defrag_webhook_"));
        let names: Vec<&str> = names.collect();
        assert!(!names.is_empty(), "{name} reads nothing that is known");
        for series in names.into_iter().filter(|series| !series.contains(":failed_")) {
            world.prometheus.wait_for(series);
            seen.insert(series.to_owned());
        }
    }
    println!("{} series", seen.len());
    // Labels meet: the quota that was discovered is compared with those that real members report, and no run is missing.
    let both =
        "etcd_member:quota_bytes:max == on (namespace, statefulset) group_left () etcd:discovered_quota_bytes:max";
    eventually("all three members to be compared", Duration::from_secs(90), || {
        (world.prometheus.query(both).len() == 3).then_some(())
    });
    let fires = |alert: &str| format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\", statefulset=\"{NAME}\"}}");
    world.prometheus.wait_for(&fires("EtcdDefragRunFailed"));
    for silent in
        ["EtcdDefragQuotaMismatch", "EtcdDefragMetricsMissing", "EtcdDefragNoSpace", "EtcdDefragNoSuccessfulRun"]
    {
        assert_eq!(world.prometheus.query(&fires(silent)), Vec::<serde_json::Value>::new());
    }
}

#[test]
fn our_metrics_are_well_named_and_documented() {
    let Some(programs) = prometheus::found("our_metrics_are_well_named_and_documented") else { return };
    let world = world(programs);
    let (fine, said) = prometheus::promtool(programs, &["check", "metrics"], &world.metrics("*/*"));
    assert!(fine && said.trim().is_empty(), "{said}");
    let text = world.metrics("*/*");
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut exposed: BTreeSet<(String, &str)> = types.map(|(name, kind)| (name.to_owned(), kind)).collect();
    // There only since the first time that a certificate was replaced, which tests/admission/certificates.rs sees.
    exposed.insert(("etcd_defrag_webhook_certificate_reloads_total".to_owned(), "counter"));
    let page = files::read(&files::root().join("docs/metrics.md"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `etcd_defrag_webhook_"));
    let documented: BTreeSet<(String, &str)> = rows
        .map(|row| {
            let mut cells = row.split(" | ");
            let name = cells.next().unwrap().trim_end_matches('`');
            (format!("etcd_defrag_webhook_{name}"), cells.next().unwrap())
        })
        .collect();
    assert_eq!(exposed, documented, "what is exposed and what docs/metrics.md lists");
}

#[test]
fn the_series_of_an_etcd_go_with_it() {
    let Some(programs) = prometheus::found("the_series_of_an_etcd_go_with_it") else { return };
    let world = world(programs);
    world.plane.apply(&statefulset("short-lived").to_string());
    let lines = || world.metrics("*/*").lines().filter(|line| line.contains("statefulset=\"short-lived\"")).count();
    let soon = Duration::from_secs(30);
    // Quota, interval, suspended, violations, creation of the CronJob.
    eventually("the series of an etcd without a run", soon, || (lines() == 5).then_some(()));
    world.job("short-lived", "short-lived-run", "Succeeded");
    eventually("the time of its run", soon, || (lines() == 6).then_some(()));
    world.plane.kubectl_ok(&["-n", NAMESPACE, "label", "statefulset", "short-lived", "etcd-defrag.io/enabled-"]);
    eventually("the series to go", soon, || (lines() == 0).then_some(()));
}
