//! What is asked for, and what a person names.

use serde_json::json;

use super::{all_findings, container, json_merge, plain, statefulset, with_args, with_tls};
use crate::defrag::{
    etcd::{CaSecret, ClientSecret, Kind, ObjectKey, Overrides, SecretPair, discover},
    field::Field,
    finding::Code,
    keys::Key,
};

#[test]
fn a_trusted_ca_alone_asks_for_a_certificate() {
    let missing = |args: &[&str]| {
        let fields: Vec<Field> = plain(&with_tls(args)).findings.into_iter().map(|finding| finding.field).collect();
        fields.contains(&Key::ClientSecret.field())
    };
    assert!(!missing(&["--cert-file=/certs/tls.crt"]));
    assert!(!missing(&["--cert-file=/certs/tls.crt", "--client-cert-auth=false"]));
    assert!(missing(&["--cert-file=/certs/tls.crt", "--client-cert-auth"]));
    assert!(missing(&["--cert-file=/certs/tls.crt", "--client-cert-auth=false", "--trusted-ca-file=/certs/ca.crt"]));
}

/// Never taken for "no certificate" in silence.
#[test]
fn whether_a_certificate_is_asked_for_may_stand_elsewhere() {
    let mut sts = with_tls(&["--cert-file=/certs/tls.crt"]);
    let auth = json!({"name": "ETCD_CLIENT_CERT_AUTH", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "auth"}}});
    sts.spec.template.spec.containers[0].env.push(serde_json::from_value(auth).unwrap());
    let finding = plain(&sts).findings.into_iter().find(|finding| finding.field == Key::ClientSecret.field()).unwrap();
    assert_eq!(finding.code, Code::TlsSecretUnknown);
    assert!(finding.message.starts_with("It is not known whether this etcd accepts only clients with a certificate"));
    assert!(!finding.denies(), "TLS without client certificates is no dead end");
}

/// Pods that name only themselves are as many etcds.
#[test]
fn pods_that_are_an_etcd_each() {
    let each = |list: &str, replicas: i32| {
        let mut sts =
            with_args(&["--quota-backend-bytes=2147483648", "--name=$(POD)", &format!("--initial-cluster={list}")]);
        sts.spec.replicas = Some(replicas);
        let findings = all_findings(&sts, &Overrides::default());
        let single = findings.into_iter().find(|finding| finding.code == Code::SingleMember);
        single.map(|finding| finding.field.to_string())
    };
    let itself = "$(POD)=http://$(POD).etcd-headless.ns.svc:2380";
    let list = Some("spec.template.spec.containers[0].args".to_owned());
    assert_eq!(each(itself, 3), list);
    assert_eq!(each(itself, 1), Some("spec.replicas".to_owned()));
    assert_eq!(
        each("etcd-0=http://etcd-0.etcd-headless:2380", 3),
        None,
        "the flag may be older than the other members"
    );
    assert_eq!(each(&format!("{itself},$(OTHERS)"), 3), None);
    assert_eq!(each("$(POD)=http://$(POD).etcd-headless:2380,etcd-1=http://etcd-1.etcd-headless:2380", 3), None);
}

/// A pod that calls itself by its full name advertises that.
#[test]
fn a_hostname_with_the_domain() {
    let found = |patch: serde_json::Value| {
        let script = "exec etcd --data-dir=/data --listen-client-urls=http://0.0.0.0:2379 \
                      --advertise-client-urls=http://$(hostname):2379";
        let mut container = container(&[]);
        container["command"] = json!(["sh", "-c", script]);
        let mut whole = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        json_merge(&mut whole, patch);
        let discovery = plain(&statefulset(whole));
        let codes: Vec<Code> = discovery.findings.iter().map(|finding| finding.code).collect();
        (discovery.etcd.unwrap().endpoints[0].clone(), codes)
    };
    let full = || json!({"spec": {"template": {"spec": {"setHostnameAsFQDN": true}}}});
    let url = "http://etcd-0.etcd-headless.ns.svc:2379".to_owned();
    assert_eq!(found(full()), (url.clone(), vec![]));
    assert_eq!(found(json!({})), (url, vec![Code::AdvertisedUnreachable]));
}

/// Whoever names more members than there are pods knows of others.
#[test]
fn members_are_those_that_a_person_names() {
    let sts = with_args(&["--advertise-client-urls=http://$(POD).etcd-headless.ns.svc:2379"]);
    let members = |count: usize| {
        let urls = (0..count).map(|number| format!("http://m{number}.example:2379")).collect();
        let overrides = Overrides { endpoints: Some(urls), ..Overrides::default() };
        discover(&sts, &overrides).etcd.unwrap().members
    };
    assert_eq!([2, 3, 5].map(members), [3, 3, 5]);
}

#[test]
fn secrets_that_a_person_names() {
    let sts = with_tls(&["--cert-file=/certs/tls.crt", "--client-cert-auth", "--trusted-ca-file=/certs/my-ca.pem"]);
    let named = |ca: CaSecret, client: ClientSecret| {
        let overrides = Overrides { ca_secret: Some(ca), client_secret: Some(client), ..Overrides::default() };
        let discovery = discover(&sts, &overrides);
        assert_eq!(discovery.findings, []);
        let tls = discovery.etcd.unwrap().tls.unwrap();
        (tls.ca.unwrap(), tls.client.unwrap())
    };
    let ca = |name: &str, key: &str| ObjectKey { kind: Kind::Secret, name: name.into(), key: key.into() };
    let pair = |cert: &str, key: &str| SecretPair { name: "client".into(), cert_key: cert.into(), key_key: key.into() };
    let bare = ClientSecret { name: "client".into(), keys: None };
    let keyed = ClientSecret { name: "client".into(), keys: Some(("a".into(), "b".into())) };
    assert_eq!(named(CaSecret { name: "x".into(), key: None }, bare), (ca("x", "ca.crt"), pair("tls.crt", "tls.key")));
    assert_eq!(
        named(CaSecret { name: "certs".into(), key: None }, keyed.clone()),
        (ca("certs", "my-ca.pem"), pair("a", "b"))
    );
    assert_eq!(named(CaSecret { name: "certs".into(), key: Some("k".into()) }, keyed).0, ca("certs", "k"));
}
