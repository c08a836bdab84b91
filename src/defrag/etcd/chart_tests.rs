//! Each known chart and operator: what its StatefulSet says, in one snapshot apiece.

use std::fmt::Write;

use super::{Discovery, Overrides, discover, hazards};
use crate::defrag::{finding::Finding, policy::Policy, statefulset::StatefulSet};

fn statefulset(yaml: &str) -> StatefulSet {
    serde_saphyr::from_str(yaml).unwrap()
}

fn list(out: &mut String, title: &str, findings: &[Finding]) {
    for Finding { code, severity, field, message, brief } in findings {
        write!(out, "\n{title}: {severity} {code}\n  at {field}\n  {message}\n  brief: {brief}\n").unwrap();
    }
}

fn describe(discovery: &Discovery) -> String {
    let mut out = serde_json::to_string_pretty(&discovery.etcd).unwrap() + "\n";
    list(&mut out, "discovery", &discovery.findings);
    if let Some(etcd) = &discovery.etcd {
        list(&mut out, "hazard", &hazards(etcd, &Policy::built_in().limits));
    }
    out
}

macro_rules! charts {
    ($($name:ident = $file:literal;)+) => {
        $(#[test]
        fn $name() {
            let yaml = include_str!(concat!("../../../tests/fixtures/charts/", $file, ".yaml"));
            let discovery = discover(&statefulset(yaml), &Overrides::default());
            let mut settings = insta::Settings::clone_current();
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            settings.set_snapshot_path("snapshots/charts");
            settings.bind(|| insta::assert_snapshot!($file, describe(&discovery)));
        })+
    };
}

charts! {
    kamaji_etcd = "kamaji-etcd";
    kamaji_etcd_cert_manager = "kamaji-etcd-cert-manager";
    bitnami = "bitnami";
    bitnami_config_file = "bitnami-config-file";
    etcd_druid = "etcd-druid";
    cozystack = "cozystack";
    etcd_operator = "etcd-operator";
    etcd_example = "etcd-example";
    hypershift = "hypershift";
    k0smotron = "k0smotron";
    kubermatic = "kubermatic";
    kubermatic_launcher = "kubermatic-launcher";
}

#[test]
fn the_example_says_the_same_as_the_chart() {
    let example = statefulset(include_str!("../../../examples/kamaji-etcd.yaml"));
    assert_eq!(example.label(crate::defrag::keys::ENABLED), Some("true"));
    let example = discover(&example, &Overrides::default());
    let chart = statefulset(include_str!("../../../tests/fixtures/charts/kamaji-etcd.yaml"));
    let chart = discover(&chart, &Overrides::default());
    assert_eq!(example, chart);
}
