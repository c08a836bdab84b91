//! Logins and client certificates that are asked for, and members in other Kubernetes clusters.

use serde_json::{Value, json};

use super::{codes, container, json_merge, message, plain, statefulset, with_args, with_container, with_tls};
use crate::defrag::{
    etcd::{CaSecret, Login, Overrides, discover},
    finding::{Code, Finding, Severity},
    keys::Key,
    statefulset::StatefulSet,
};

fn login(sts: &StatefulSet) -> Option<Login> {
    plain(sts).etcd.unwrap().login
}

/// The base with a patch of its container, and containers beside it.
fn pod(patch: Value, beside: Vec<Value>) -> StatefulSet {
    let mut etcd = container(&["--quota-backend-bytes=2147483648"]);
    json_merge(&mut etcd, patch);
    let containers: Vec<Value> = std::iter::once(etcd).chain(beside).collect();
    statefulset(json!({"spec": {"template": {"spec": {"containers": containers}}}}))
}

#[test]
fn logins_in_view() {
    let hook = |script: &str| json!({"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", script]}}}});
    let probe = |words: Value| json!({"readinessProbe": {"exec": {"command": words}}});
    let sidecar = |value: Value| vec![value];
    for (patch, beside, expected) in [
        (json!({}), vec![], None),
        (hook("etcdctl user add root:pw && etcdctl auth enable"), vec![], Some((true, "auth enable"))),
        (hook("sleep 5; etcdctl --endpoints http://x:2379 auth enable || true"), vec![], Some((true, "auth enable"))),
        (hook("etcdctl user add root --new-user-password=x"), vec![], Some((false, "user add root"))),
        (hook("etcdctl user add rooted:x"), vec![], None),
        (hook("etcdctl auth status"), vec![], None),
        (probe(json!(["etcdctl", "--user", "root:x", "endpoint", "health"])), vec![], Some((true, "(--user)"))),
        (probe(json!(["sh", "-c", "etcdctl --user=root:x endpoint health"])), vec![], Some((true, "(--user)"))),
        (probe(json!(["etcdctl", "endpoint", "health"])), vec![], None),
        (probe(json!(["curl", "--user", "a:b", "localhost:2381/health"])), vec![], None),
        (
            json!({}),
            sidecar(json!({"name": "b", "env": [{"name": "ETCDCTL_USER", "value": "root:x"}]})),
            Some((true, "(ETCDCTL_USER)")),
        ),
        (json!({}), sidecar(json!({"name": "b", "env": [{"name": "ETCDCTL_USER", "value": ""}]})), None),
        (
            json!({}),
            sidecar(json!({"name": "b", "command": ["etcdctl", "auth", "enable"]})),
            Some((true, "\"b\" runs")),
        ),
        (
            json!({}),
            sidecar(
                json!({"name": "b", "command": ["bash", "-ec", "until etcdctl endpoint health; do sleep 1; done\netcdctl auth enable"]}),
            ),
            Some((true, "auth enable")),
        ),
    ] {
        let found = login(&pod(patch.clone(), beside));
        let short = found.as_ref().map(|login| login.is_certain);
        assert_eq!(short, expected.map(|(certain, _)| certain), "{patch} {found:?}");
        assert!(expected.is_none_or(|(_, part)| found.unwrap().shown.contains(part)), "{patch}");
    }
    let script = "etcdctl user add root:x; etcdctl auth enable & exec etcd --listen-client-urls=http://0.0.0.0:2379";
    let by_script = with_container(json!({"name": "etcd", "image": "etcd:v3.6.1", "command": ["sh", "-c", script]}));
    assert!(login(&by_script).unwrap().is_certain);
}

#[test]
fn the_login_of_bitnamis_image_may_stand_in_its_environment() {
    let bitnami = |env: Value, from: Value| {
        let sts = with_container(json!({
            "name": "etcd", "image": "docker.io/bitnami/etcd:3.6.4", "env": env, "envFrom": from,
        }));
        login(&sts)
    };
    let allows = |value: &str| json!([{"name": "ALLOW_NONE_AUTHENTICATION", "value": value}]);
    let flags = |value: &str| json!([{"name": "ALLOW_NONE_AUTHENTICATION", "value": "yes"}, {"name": "ETCD_EXTRA_AUTH_FLAGS", "value": value}]);
    let secret = json!([{"secretRef": {"name": "auth"}}]);
    let prefixed =
        json!([{"secretRef": {"name": "auth"}, "prefix": "ETCD_"}, {"configMapRef": {"name": "c"}, "prefix": "X_"}]);
    for (env, from, expected) in [
        (allows("no"), secret.clone(), Some((true, Some("ETCD_ROOT_PASSWORD")))),
        (allows("no"), json!([]), Some((true, None))),
        (allows("false"), prefixed.clone(), Some((true, Some("ROOT_PASSWORD")))),
        // A password switches authentication on, whatever this says.
        (allows("yes"), secret.clone(), Some((false, Some("ETCD_ROOT_PASSWORD")))),
        (allows("True"), json!([{"secretRef": {"name": "auth"}, "prefix": "X_"}]), None),
        (allows("yes"), json!([{"configMapRef": {"name": "auth"}}]), None),
        (flags("--user=root:pw"), json!([]), Some((true, None))),
        (flags("--insecure-skip-tls-verify --user root:pw"), json!([]), Some((true, None))),
        (flags("$(X)"), json!([{"configMapRef": {"name": "x"}}]), Some((false, None))),
        (flags("--insecure-skip-tls-verify"), json!([]), None),
        (json!([]), secret.clone(), Some((false, Some("ETCD_ROOT_PASSWORD")))),
        (json!([]), json!([{"configMapRef": {"name": "auth"}}]), Some((false, None))),
        (json!([]), json!([{"secretRef": {"name": "auth"}, "prefix": "X_"}]), None),
        (json!([]), json!([]), None),
    ] {
        let found = bitnami(env.clone(), from.clone());
        let usual = expected.and_then(|(_, key)| key).map(|key| ("auth".to_owned(), key.to_owned()));
        assert_eq!(found.as_ref().map(|login| login.is_certain), expected.map(|(certain, _)| certain), "{env} {from}");
        assert_eq!(found.and_then(|login| login.usual), usual, "{env} {from}");
    }
    let other = with_container(json!({"name": "etcd", "image": "etcd:v3.6.1", "env": allows("no"), "envFrom": secret}));
    assert_eq!(login(&other), None, "another image reads no such variable");
}

fn of_client(sts: &StatefulSet) -> Option<Finding> {
    plain(sts).findings.into_iter().find(|finding| finding.field == Key::ClientSecret.field())
}

/// TLS without client certificates is no dead end: where it cannot be seen, a warning says what to set if they are asked for.
#[test]
fn whether_clients_need_a_certificate_is_said_as_far_as_it_is_seen() {
    let envs = json!([{"configMapRef": {"name": "settings"}}]);
    let mut elsewhere = with_tls(&["--cert-file=/certs/tls.crt"]);
    elsewhere.spec.template.spec.containers[0].env_from = serde_json::from_value(envs).unwrap();
    let in_front = with_args(&["--advertise-client-urls=https://$(POD).etcd-headless.ns.svc:2379"]);
    for (sts, expected) in [
        (with_tls(&["--cert-file=/certs/tls.crt"]), None),
        (
            with_tls(&["--cert-file=/certs/tls.crt", "--client-cert-auth"]),
            Some((Severity::Deny, "This etcd accepts only clients")),
        ),
        (
            with_tls(&["--cert-file=/certs/tls.crt", "--trusted-ca-file=$(CA)"]),
            Some((Severity::Deny, "This etcd accepts only")),
        ),
        (elsewhere.clone(), Some((Severity::Warn, "it may be set in ConfigMap \"settings\" (envFrom)"))),
        (in_front, Some((Severity::Warn, "etcd itself listens without TLS"))),
    ] {
        let found = of_client(&sts);
        assert_eq!(found.as_ref().map(|finding| finding.severity), expected.map(|(severity, _)| severity), "{found:?}");
        assert!(expected.is_none_or(|(_, part)| found.as_ref().unwrap().message.contains(part)), "{found:?}");
    }
    message("tls-clients-unknown", &elsewhere, &Overrides::default());
    message(
        "tls-in-front",
        &with_args(&["--advertise-client-urls=https://$(POD).etcd-headless.ns.svc:2379"]),
        &Overrides::default(),
    );
    let mut probed = with_tls(&["--cert-file=/certs/tls.crt", "--trusted-ca-file=/certs/ca.crt", "--client-cert-auth"]);
    let probe = json!({"failureThreshold": 60, "exec": {"command": ["etcdctl", "--cert=/certs/tls.crt", "--key=/certs/tls.key", "endpoint", "health"]}});
    probed.spec.template.spec.containers[0].liveness_probe = serde_json::from_value(probe).unwrap();
    message("client-of-a-probe", &probed, &Overrides::default());
    let file = with_args(&["--config-file=/etc/etcd.yaml"]);
    let urls = (0..3).map(|ordinal| format!("https://etcd-{ordinal}.etcd-headless:2379")).collect();
    let stated = Overrides { endpoints: Some(urls), quota: Some(1 << 31), ..Overrides::default() };
    message("tls-in-a-configuration-file", &file, &stated);
    let ca = crate::defrag::etcd::CaSecret { name: "ca".into(), key: None };
    let discovery = discover(&file, &Overrides { ca_secret: Some(ca), ..stated });
    assert!(!discovery.findings.iter().any(Finding::denies), "{:#?}", discovery.findings);
}

#[test]
fn the_same_host_in_several_kubernetes_clusters() {
    let member = |cluster: u8| format!("c{cluster}=https://etcd-0.etcd-headless.ns.svc.cluster{cluster}.local:2380");
    let cluster = format!("--initial-cluster={},{},{}", member(1), member(2), member(3));
    let outside = |args: &[&str]| {
        let mut sts = with_args(&[&[cluster.as_str()], args].concat());
        sts.spec.replicas = Some(1);
        let found = plain(&sts).findings.into_iter().find(|finding| finding.code == Code::MembersElsewhere);
        found.map(|finding| finding.message)
    };
    let own = "--advertise-client-urls=http://$(POD).etcd-headless.ns.svc.cluster2.local:2379";
    for args in [&["--name=c2"][..], &[own, "--name=$(NAME)"], &[own]] {
        let found = outside(args).unwrap_or_default();
        assert!(
            found.contains("svc.cluster1.local, etcd-0.etcd-headless.ns.svc.cluster3.local are elsewhere"),
            "{args:?} {found}"
        );
    }
    assert!(outside(&[]).is_some(), "one of them is our own at most");
    // One domain, written in full or not, is no other cluster.
    let same = "--initial-cluster=a=http://etcd-0.etcd-headless.ns.svc:2380,b=http://etcd-1.etcd-headless.ns.svc.cluster.local:2380";
    assert_eq!(plain(&with_args(&[same])).findings, []);
}

/// A run goes to the pods of this StatefulSet, and none of them has a name in another namespace.
#[test]
fn addresses_stay_in_the_namespace() {
    let advertised = |host: &str, replicas: i32| {
        let mut sts = with_args(&[&format!("--advertise-client-urls=http://{host}:2379")]);
        sts.spec.replicas = Some(replicas);
        let discovery = discover(&sts, &Overrides::default());
        let said = discovery.findings.iter().any(|finding| finding.code == Code::AdvertisedUnreachable);
        let etcd = discovery.etcd.unwrap();
        assert_eq!(etcd.skips_health_check, said, "the engine would dial what is advertised: {host}");
        (etcd.endpoints[0].clone(), said)
    };
    let ours = || "http://etcd-0.etcd-headless.ns.svc:2379".to_owned();
    for host in [
        "$(POD).x.other.svc",
        "$(POD).x.other.svc.cluster.local",
        "etcd-0.etcd-headless.OTHER",
        "$(POD).etcd-headless.other",
    ] {
        assert_eq!(advertised(host, 3), (ours(), true), "{host}");
    }
    assert_eq!(advertised("victim.other.svc", 1), (ours(), true));
    for (host, expected) in [
        ("$(POD).etcd-headless.ns.svc", "etcd-0.etcd-headless.ns.svc"),
        ("$(POD).etcd-headless.ns", "etcd-0.etcd-headless.ns"),
        ("$(POD).x.example.org", "etcd-0.x.example.org"),
        ("$(POD).x.example", "etcd-0.x.example"),
    ] {
        assert_eq!(advertised(host, 3), (format!("http://{expected}:2379"), false), "{host}");
    }
    message(
        "advertised-in-another-namespace",
        &with_args(&["--advertise-client-urls=http://$(POD).x.other.svc:2379"]),
        &Overrides::default(),
    );
}

/// What is locked changes nothing of that, and what peers and clients in the pod are told counts as little.
#[test]
fn no_other_url_leads_into_another_namespace() {
    for flag in ["--initial-advertise-peer-urls", "--initial-cluster"] {
        let value = if flag == "--initial-cluster" {
            "a=http://etcd-0.x.other.svc:2380,b=http://etcd-1.x.other.svc:2380"
        } else {
            "http://$(POD).x.other.svc:2380"
        };
        let sts = with_args(&["--advertise-client-urls=http://front:2379", &format!("{flag}={value}")]);
        let endpoints = plain(&sts).etcd.unwrap().endpoints;
        assert_eq!(endpoints[0], "http://etcd-0.etcd-headless.ns.svc:2379", "{flag}");
    }
}

/// Whoever applies it chooses.
#[test]
fn a_manifest_that_names_no_namespace_may_be_in_any() {
    let mut sts = with_args(&["--advertise-client-urls=http://$(POD).etcd-headless.other.svc:2379"]);
    assert_eq!(plain(&sts).etcd.unwrap().endpoints[0], "http://etcd-0.etcd-headless.ns.svc:2379");
    sts.metadata.namespace = None;
    assert_eq!(plain(&sts).etcd.unwrap().endpoints[0], "http://etcd-0.etcd-headless.other.svc:2379");
}

/// Members sign their own certificates: no authority makes a run succeed.
#[test]
fn no_ca_secret_helps_where_members_sign_for_themselves() {
    let auto = ["--auto-tls", "--listen-client-urls=https://0.0.0.0:2379"];
    let url = "--advertise-client-urls=https://$(POD).etcd-headless.ns.svc:2379";
    let is_unknown = |args: &[&str], named: bool| {
        let ca_secret = named.then(|| CaSecret { name: "ca".to_owned(), key: None });
        let overrides = Overrides { ca_secret, ..Overrides::default() };
        let args: Vec<&str> = args.iter().copied().chain([url]).collect();
        codes(&with_args(&args), &overrides).contains(&Code::TlsSecretUnknown)
    };
    assert!(is_unknown(&auto, false) && is_unknown(&auto, true));
    let own = ["--auto-tls", "--listen-client-urls=https://0.0.0.0:2379", "--cert-file=/certs/tls.crt"];
    assert!(!is_unknown(&own, true), "etcd takes the certificate that it is given");
}

/// Whoever names every member by another name than the one that is advertised has a certificate with that name.
#[test]
fn the_advertised_urls_are_not_dialled_where_endpoints_name_others() {
    let skips = |advertised: &str, stated: &str, scheme: &str| {
        let mut etcd = container(&[
            &format!("--listen-client-urls={scheme}://0.0.0.0:2379"),
            &format!("--advertise-client-urls={scheme}://{advertised}:2379"),
        ]);
        let hidden = json!({"name": "HIDDEN", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}});
        etcd["env"].as_array_mut().unwrap().push(hidden);
        let sts = with_container(etcd);
        let endpoints = (0..3).map(|member| format!("{scheme}://{}:2379", stated.replace('N', &member.to_string())));
        let overrides = Overrides { endpoints: Some(endpoints.collect()), ..Overrides::default() };
        discover(&sts, &overrides).etcd.unwrap().skips_health_check
    };
    let advertised = "$(POD).etcd-headless.ns.svc";
    assert!(skips(advertised, "etcd-N.etcd-headless.ns", "https"));
    assert!(skips(advertised, "mN.example.org", "https"));
    assert!(!skips(advertised, "etcd-N.etcd-headless.ns.svc", "https"));
    assert!(!skips(advertised, "etcd-N.etcd-headless.ns", "http"), "no certificate is checked");
    assert!(!skips("$(HIDDEN)", "etcd-N.etcd-headless.ns", "https"), "it may be the same");
}

/// The label of the StatefulSet can be changed by whoever writes its metadata, and no Secret is chosen by that.
#[test]
fn no_label_of_the_object_chooses_a_secret() {
    let client = |metadata: Value, selector: Value| {
        let args = [
            "--initial-cluster-token=kamaji",
            "--listen-client-urls=https://0.0.0.0:2379",
            "--advertise-client-urls=https://$(POD).etcd.ns.svc:2379",
            "--client-cert-auth=true",
            "--trusted-ca-file=/certs/ca.crt",
            "--cert-file=/certs/server.pem",
            "--key-file=/certs/server-key.pem",
        ];
        let volumes = json!([{"name": "certs", "secret": {"secretName": "etcd-certs"}}]);
        let spec = json!({"selector": {"matchLabels": selector}, "template": {"spec": {"containers": [container(&args)], "volumes": volumes}}});
        let sts = statefulset(json!({"metadata": {"labels": metadata}, "spec": spec}));
        plain(&sts).etcd.unwrap().tls.unwrap().client.unwrap().name
    };
    let chart = json!({"app.kubernetes.io/name": "kamaji-etcd"});
    let own = json!({"app": "etcd"});
    assert_eq!(client(own.clone(), own.clone()), "root-client-certs");
    assert_eq!(client(chart.clone(), own.clone()), "root-client-certs");
    assert_eq!(client(chart.clone(), chart.clone()), "etcd-root-client-certs");
    assert_eq!(client(own, chart), "etcd-root-client-certs");
}
