//! Endpoints that a person states.

use serde_json::json;

use super::{json_merge, message, statefulset};
use crate::defrag::{
    etcd::{Overrides, discover},
    finding::Severity,
    statefulset::StatefulSet,
};

/// An etcd of three members with these URLs for clients; peers are at 2380.
fn listening(urls: &str, patch: serde_json::Value) -> StatefulSet {
    let command = json!([
        "etcd",
        "--data-dir=/data",
        "--name=$(POD)",
        "--quota-backend-bytes=2147483648",
        format!("--listen-client-urls={urls}"),
        "--listen-peer-urls=http://0.0.0.0:2380",
        "--initial-cluster=etcd-0=http://etcd-0.x:2380,etcd-1=http://etcd-1.x:2380,etcd-2=http://etcd-2.x:2380",
    ]);
    let container = json!({
        "name": "etcd", "image": "quay.io/coreos/etcd:v3.6.1", "command": command,
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    });
    let mut whole = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    json_merge(&mut whole, patch);
    statefulset(whole)
}

fn stated(urls: &str) -> Overrides {
    Overrides { endpoints: Some(urls.split(',').map(str::to_owned).collect()), ..Overrides::default() }
}

/// The first words of what is said of the endpoints.
fn said(sts: &StatefulSet, urls: &str) -> Vec<String> {
    let findings = discover(sts, &stated(urls)).findings.into_iter();
    let about = findings.filter(|finding| ["endpoints-mismatch", "members-left-out"].contains(&finding.code.as_str()));
    about.map(|finding| format!("{} {}", finding.severity, finding.brief)).collect()
}

const ALL: &str = "http://etcd-0.x:2379,http://etcd-1.x:2379,http://etcd-2.x:2379";

#[test]
fn every_message() {
    let plain = listening("http://0.0.0.0:2379", json!({}));
    let tls = listening("https://0.0.0.0:2379", json!({}));
    for (name, sts, urls) in [
        ("stated-for-peers", &plain, ALL.replace("2379", "2380")),
        ("stated-without-tls", &tls, ALL.to_owned()),
        ("stated-with-tls", &plain, ALL.replace("http", "https")),
        (
            "stated-with-tls-in-front",
            &plain,
            "https://a.example:443,https://b.example:443,https://c.example:443".to_owned(),
        ),
        ("stated-where-nothing-listens", &plain, ALL.replace("2379", "4001")),
        ("stated-bare", &plain, ALL.replace(".x", "")),
        ("stated-one-of-three", &plain, "http://etcd-1.x:2379".to_owned()),
        ("stated-one-in-front-of-three", &plain, "http://etcd.ns.svc:2379".to_owned()),
        ("stated-five-of-three", &plain, format!("{ALL},http://etcd-3.x:2379,http://etcd-4.x:2379")),
        ("stated-four-of-three", &plain, format!("{ALL},http://d.example:2379")),
    ] {
        message(name, sts, &stated(&urls));
    }
}

#[test]
fn endpoints_are_held_against_what_is_in_view() {
    let plain = "http://0.0.0.0:2379";
    let tls = "https://0.0.0.0:2379";
    let both = "http://0.0.0.0:2379,https://0.0.0.0:2381";
    let sidecar = json!([{}, {"name": "proxy", "image": "haproxy:3"}]);
    for (listens, urls, expected) in [
        (plain, ALL.to_owned(), ""),
        (both, ALL.to_owned(), ""),
        (both, ALL.replace("http", "https").replace("2379", "2381"), ""),
        ("http://10.0.0.1:2379,http://127.0.0.1:2379", ALL.to_owned(), ""),
        // Whatever stands in front may have any port.
        (plain, "http://a.example:80,http://b.example:80,http://c.example:80".to_owned(), ""),
        (plain, ALL.replace("http", "https"), "deny etcd listens for http only"),
        (tls, ALL.to_owned(), "deny etcd listens for https only"),
        (both, ALL.replace("http", "https"), ""),
        (tls, ALL.replace("http", "https").replace("2379", "2380"), "deny port 2380 is that of peers"),
        (plain, ALL.replace("2379", "2381"), "warn nothing in view listens on port 2381"),
        ("$(URLS)", ALL.replace("2379", "9"), ""),
        // Something in the pod forwards to loopback.
        ("http://127.0.0.1:2379", ALL.replace("http", "https"), ""),
        (plain, "http://etcd-0.x:2379,http://etcd-2.x:2379".to_owned(), "deny endpoints names 2 of 3 members"),
        (
            plain,
            "http://etcd-0.x:2379,http://etcd-2.x:2379,http://etcd-7.x:2379".to_owned(),
            "deny endpoints names 3 of 3",
        ),
        (plain, "http://etcd-0.x:2379,http://etcd-2.x:2379,http://lb.example:2379".to_owned(), ""),
        (plain, format!("{ALL},http://etcd-3.x:2379"), "warn endpoints has 4 URLs for 3 members"),
    ] {
        let found = said(&listening(listens, json!({})), &urls);
        let brief =
            found.first().map(|text| text.replace("endpoints-mismatch: ", "").replace("members-left-out: ", ""));
        let brief = brief.unwrap_or_default();
        assert!(
            if expected.is_empty() { brief.is_empty() } else { brief.starts_with(expected) },
            "{listens} {urls}: {found:?}"
        );
    }
    // A sidecar may end TLS at another port, and not at that of etcd.
    let mut beside = listening(tls, json!({}));
    beside.spec.template.spec.containers.push(serde_json::from_value(sidecar[1].clone()).unwrap());
    assert_eq!(said(&beside, &ALL.replace("2379", "9379")), [""; 0]);
    assert_eq!(said(&beside, ALL).len(), 1);
}

#[test]
fn the_list_that_is_proposed_is_accepted() {
    for (listens, urls) in [
        ("http://0.0.0.0:2379", ALL.replace("2379", "2380")),
        ("https://0.0.0.0:2379", ALL.to_owned()),
        ("https://0.0.0.0:2379", ALL.replace("2379", "2380")),
        ("http://0.0.0.0:2379", "https://etcd-1.x:2380".to_owned()),
        ("http://0.0.0.0:2379", ALL.replace("2379", "4001")),
    ] {
        let sts = listening(listens, json!({}));
        let mut urls = urls;
        // What is wrong with the list as a whole is proposed with the rest corrected.
        for _ in 0..2 {
            let findings = discover(&sts, &stated(&urls)).findings;
            let proposed = findings
                .iter()
                .rev()
                .find_map(|finding| finding.message.split('"').find(|part| part.contains("://etcd-")));
            urls = proposed.map_or(urls, str::to_owned);
        }
        assert_eq!(said(&sts, &urls), [""; 0], "{listens} {urls}");
    }
}

#[test]
fn a_wrong_scheme_hides_no_other_finding() {
    let sts = listening("https://0.0.0.0:2379", json!({}));
    let discovery = discover(&sts, &stated(ALL));
    let fields: Vec<String> =
        discovery.findings.iter().map(|finding| format!("{} {}", finding.severity, finding.code)).collect();
    assert!(fields.contains(&"deny tls-secret-unknown".to_owned()), "TLS is judged as it is spoken: {fields:?}");
    assert!(discovery.findings.iter().any(|finding| finding.severity == Severity::Deny));
}
