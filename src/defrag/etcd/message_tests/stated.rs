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
    let mut command = vec!["etcd".to_owned()];
    command.extend([

        "--data-dir=/data",
        "--name=$(POD)",
        "--quota-backend-bytes=2147483648",
        "--listen-peer-urls=http://0.0.0.0:2380",
        "--initial-cluster=etcd-0=http://etcd-0.etcd-headless:2380,etcd-1=http://etcd-1.etcd-headless:2380,etcd-2=http://etcd-2.etcd-headless:2380",
    ].map(str::to_owned));
    // Further flags are on further lines.
    command.extend(format!("--listen-client-urls={urls}").lines().map(str::to_owned));
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

const ALL: &str = "http://etcd-0.etcd-headless:2379,http://etcd-1.etcd-headless:2379,http://etcd-2.etcd-headless:2379";

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
        ("stated-bare", &plain, ALL.replace(".etcd-headless", "")),
        ("stated-one-of-three", &plain, "http://etcd-1.etcd-headless:2379".to_owned()),
        ("stated-one-in-front-of-three", &plain, "http://etcd.ns.svc:2379".to_owned()),
        (
            "stated-five-of-three",
            &plain,
            format!("{ALL},http://etcd-3.etcd-headless:2379,http://etcd-4.etcd-headless:2379"),
        ),
        ("stated-in-another-namespace", &plain, ALL.replace(".etcd-headless", ".etcd-headless.other.svc")),
        ("stated-under-another-service", &plain, ALL.replace(".etcd-headless", ".other.ns.svc")),
        ("stated-four-of-three", &plain, format!("{ALL},http://d.example:2379")),
        ("stated-twice", &plain, format!("{ALL},http://etcd-1.etcd-headless.ns.svc:2379")),
    ] {
        message(name, sts, &stated(&urls));
    }
    let others = listening(
        "http://0.0.0.0:2379\n--listen-metrics-urls=http://0.0.0.0:2381\n--listen-client-http-urls=http://0.0.0.0:2378",
        json!({}),
    );
    let other = |count: u32| {
        let each = (0..count).map(|n| format!("http://other-{n}.other.ns.svc:2379"));
        each.collect::<Vec<_>>().join(",")
    };
    let local = listening("http://127.0.0.1:2379", json!({}));
    let mut beside = local.clone();
    let forward = json!({"name": "forward", "image": "haproxy:3", "ports": [{"containerPort": 9379}]});
    beside.spec.template.spec.containers.push(serde_json::from_value(forward).unwrap());
    for (name, sts, urls) in [
        ("stated-for-metrics", &others, ALL.replace("2379", "2381")),
        ("stated-for-http", &others, ALL.replace("2379", "2378")),
        ("stated-of-another-etcd", &plain, other(3)),
        ("stated-with-a-pod-of-another", &plain, format!("{},{}", ALL.rsplit_once(',').unwrap().0, other(1))),
        ("stated-on-loopback", &local, ALL.to_owned()),
        ("stated-on-loopback-beside-a-container", &beside, ALL.to_owned()),
    ] {
        message(name, sts, &stated(&urls));
    }
    let domain = Overrides { cluster_domain: Some("k8s.example".to_owned()), ..Overrides::default() };
    let named = listening(
        "http://0.0.0.0:2379\n--initial-advertise-peer-urls=http://$(POD).etcd-headless.ns.svc.a.b:2380",
        json!({}),
    );
    message("another-domain", &named, &domain);
    message("client-port-of-metrics", &others, &Overrides { client_port: Some(2381), ..Overrides::default() });
    for (name, port) in [("client-port-of-peers", 2380), ("client-port-where-nothing-listens", 4001)] {
        message(name, &plain, &Overrides { client_port: Some(port), ..Overrides::default() });
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
        (plain, ALL.replace("2379", "2381"), "warn nothing visible listens on port 2381"),
        ("$(URLS)", ALL.replace("2379", "9"), ""),
        (
            plain,
            "http://etcd-0.etcd-headless:2379,http://etcd-2.etcd-headless:2379".to_owned(),
            "deny endpoints names 2 of 3 members",
        ),
        (
            plain,
            "http://etcd-0.etcd-headless:2379,http://etcd-2.etcd-headless:2379,http://etcd-7.etcd-headless:2379"
                .to_owned(),
            "deny endpoints names 2 of 3",
        ),
        (
            plain,
            "http://etcd-0.etcd-headless:2379,http://etcd-2.etcd-headless:2379,http://lb.example:2379".to_owned(),
            "",
        ),
        (plain, format!("{ALL},http://etcd-3.etcd-headless:2379"), "warn endpoints has 4 URLs for 3 members"),
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
        ("http://0.0.0.0:2379", "https://etcd-1.etcd-headless:2380".to_owned()),
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

/// No pod of this StatefulSet is in another namespace; members of the same name may be, beside its own.
#[test]
fn endpoints_that_name_own_pods_in_another_namespace() {
    let sts = listening("http://0.0.0.0:2379", json!({}));
    let here = ALL.replace(".etcd-headless", ".etcd-headless.ns.svc");
    let there = ALL.replace(".etcd-headless", ".etcd-headless.other.svc");
    for (urls, expected) in [
        (there.clone(), true),
        (ALL.replace(".etcd-headless", ".etcd-headless.other"), true),
        (here.replace("etcd-1.etcd-headless.ns", "etcd-1.etcd-headless.other"), true),
        (here.clone(), false),
        (format!("{here},{there}"), false),
        (there.replace("etcd-", "member-"), false),
    ] {
        let said =
            said(&sts, &urls).iter().any(|words| words.starts_with("deny") && words.contains("another namespace"));
        assert_eq!(said, expected, "{urls}");
    }
}
