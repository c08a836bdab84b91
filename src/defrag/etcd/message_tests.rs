//! Every message, and every fact that an override or a variation of a StatefulSet changes.

mod access;
mod named;
mod quotas;
mod scripts;
mod stated;
mod targets;

use serde_json::{Value, json};

use super::{Discovery, Etcd, MAX_MEMBERS, Overrides, Scheme, discover, hazards};
use crate::defrag::{
    finding::{Code, Finding},
    policy::{Policy, Reaction},
    quantity::GIB,
    statefulset::StatefulSet,
};

/// A three-member etcd without TLS, about which nothing is wrong; `patch` is merged into it.
fn statefulset(patch: Value) -> StatefulSet {
    let mut whole = json!({
        "metadata": {"name": "etcd", "namespace": "ns"},
        "spec": {
            "replicas": 3,
            "serviceName": "etcd-headless",
            "template": {"spec": {"containers": [container(&["--quota-backend-bytes=2147483648"])]}},
            "volumeClaimTemplates": [claim("8Gi")]
        }
    });
    json_merge(&mut whole, patch);
    serde_json::from_value(whole).unwrap()
}

fn container(args: &[&str]) -> Value {
    json!({
        "name": "etcd",
        "image": "quay.io/coreos/etcd:v3.6.1",
        "command": ["etcd", "--data-dir=/data", "--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://$(POD).etcd-headless.ns.svc:2379"],
        "args": args,
        "env": [
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "certs", "mountPath": "/certs"}]
    })
}

fn claim(size: &str) -> Value {
    json!({"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}})
}

#[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
fn with_container(container: Value) -> StatefulSet {
    statefulset(json!({"spec": {"template": {"spec": {"containers": [container]}}}}))
}

fn with_args(args: &[&str]) -> StatefulSet {
    with_container(container(args))
}

/// An etcd with TLS whose certificates come from the Secret `certs`.
fn with_tls(args: &[&str]) -> StatefulSet {
    let mut args = args.to_vec();
    args.push("--listen-client-urls=https://0.0.0.0:2379");
    args.push("--advertise-client-urls=https://$(POD).etcd-headless.ns.svc.example.org:2379");
    let volumes = json!([{"name": "certs", "secret": {"secretName": "certs"}}]);
    statefulset(json!({"spec": {"template": {"spec": {"containers": [container(&args)], "volumes": volumes}}}}))
}

fn json_merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                json_merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}

fn plain(sts: &StatefulSet) -> Discovery {
    discover(sts, &Overrides::default())
}

fn facts(sts: &StatefulSet) -> Etcd {
    plain(sts).etcd.unwrap()
}

fn all_findings(sts: &StatefulSet, overrides: &Overrides) -> Vec<Finding> {
    let discovery = discover(sts, overrides);
    let mut findings = discovery.findings;
    findings.extend(discovery.etcd.iter().flat_map(|etcd| hazards(etcd, &Policy::built_in().limits)));
    findings
}

fn codes(sts: &StatefulSet, overrides: &Overrides) -> Vec<Code> {
    all_findings(sts, overrides).iter().map(|finding| finding.code).collect()
}

#[track_caller]
fn message(name: &str, sts: &StatefulSet, overrides: &Overrides) {
    let findings = all_findings(sts, overrides);
    assert!(findings.iter().all(|finding| finding.brief.chars().count() <= 120));
    assert!(findings.iter().all(|finding| !finding.brief.ends_with('…')), "{name}: {findings:#?}");
    let lines: Vec<String> = findings
        .iter()
        .map(|f| format!("{} {}\n  at {}\n  {}\n  brief: {}\n", f.severity, f.code, f.field, f.message, f.brief))
        .collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("snapshots/messages");
    settings.bind(|| insta::assert_snapshot!(name, lines.join("\n")));
}

#[test]
fn nothing_is_wrong_with_the_base() {
    assert_eq!(codes(&statefulset(json!({})), &Overrides::default()), []);
    let etcd = facts(&statefulset(json!({})));
    assert_eq!(etcd.endpoints[2], "http://etcd-2.etcd-headless.ns.svc:2379");
    assert_eq!((etcd.tls, etcd.liveness, etcd.rivals.len()), (None, None, 0));
}

#[test]
fn every_message() {
    let none = Overrides::default();
    let containers = |list: Value| statefulset(json!({"spec": {"template": {"spec": {"containers": list}}}}));
    message("no-containers", &containers(json!([])), &none);
    let ten: Vec<Value> =
        (0..10).map(|n| json!({"name": format!("c{n}"), "image": "nginx:1", "command": ["run"]})).collect();
    message("ten-containers", &containers(json!(ten)), &none);
    message("too-many-members", &statefulset(json!({"spec": {"replicas": i32::MAX}})), &none);
    let listening =
        json!({"name": "etcd", "image": "etcd:v3.6.1", "args": ["--listen-client-urls=http://0.0.0.0:2379"]});
    message("no-service", &with_container(listening).without_service(), &none);
    message(
        "environment-from-elsewhere",
        &with_container(json!({
            "name": "etcd", "image": "etcd:v3.6.1", "command": ["etcd"],
            "envFrom": [{"configMapRef": {"name": "settings"}}]
        })),
        &none,
    );
    message("configuration-file", &with_args(&["--config-file=/etc/etcd.yaml"]), &none);
    message(
        "quota-from-a-secret",
        &with_container(json!({
            "name": "etcd", "image": "etcd:v3.6.1", "command": ["etcd", "--listen-client-urls=http://0.0.0.0:2379"],
            "env": [{"name": "ETCD_QUOTA_BACKEND_BYTES", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
        })),
        &none,
    );
    message("quota-with-a-unit", &with_args(&["--quota-backend-bytes=8Gi"]), &none);
    message("quota-negative", &with_args(&["--quota-backend-bytes", "-1"]), &none);
    message("quota-annotation-zero", &statefulset(json!({})), &Overrides { quota: Some(0), ..none.clone() });
    message("quota-mismatch", &statefulset(json!({})), &Overrides { quota: Some(8 * GIB), ..none.clone() });
    message(
        "quota-above-suggested",
        &statefulset(json!({"spec": {
            "template": {"spec": {"containers": [container(&["--quota-backend-bytes=17179869184"])]}},
            "volumeClaimTemplates": [claim("64Gi")]
        }})),
        &none,
    );
    message("volume-too-small", &statefulset(json!({"spec": {"volumeClaimTemplates": [claim("1Gi")]}})), &none);
    let unset = |size: &str, args: &[&str]| {
        statefulset(json!({"spec": {
            "template": {"spec": {"containers": [container(args)]}}, "volumeClaimTemplates": [claim(size)]
        }}))
    };
    message("volume-under-default-quota", &unset("1Gi", &[]), &none);
    message("volume-under-default-quota-of-0", &unset("500Mi", &["--quota-backend-bytes=0"]), &none);
    message("volume-tight", &statefulset(json!({"spec": {"volumeClaimTemplates": [claim("3Gi")]}})), &none);
    let mut eager = container(&["--quota-backend-bytes=4294967296"]);
    eager["livenessProbe"] = json!({"periodSeconds": 7});
    message("liveness-too-eager", &with_container(eager.clone()), &none);
    eager["livenessProbe"] = json!({"periodSeconds": 5, "timeoutSeconds": 12});
    message("liveness-too-eager-attempts-wait", &with_container(eager), &none);
    let mut stops = container(&["--quota-backend-bytes=4294967296", "--feature-gates=StopGRPCServiceOnDefrag=true"]);
    stops["livenessProbe"] = json!({"grpc": {"port": 2379}});
    message("liveness-too-eager-grpc-stops", &with_container(stops), &none);
    for (name, image) in
        [("version-old", "etcd:v3.5.5"), ("version-unknown", "etcd:latest"), ("version-ancient", "etcd:v3.3.27")]
    {
        let mut container = container(&[]);
        container["image"] = json!(image);
        message(name, &with_container(container), &none);
    }
    for members in [1, 2, 4, 8] {
        message(&format!("members-{members}"), &statefulset(json!({"spec": {"replicas": members}})), &none);
    }
    for (name, rival) in [
        ("rival-scheduled", json!({"name": "backup-restore", "args": ["--defragmentation-schedule=0 1 * * *"]})),
        ("rival-default-schedule", json!({"name": "backup-restore", "args": ["--embedded-etcd-quota-bytes=1"]})),
        ("rival-script", json!({"name": "cron", "command": ["sh", "-c", "while sleep 1d; do etcdctl defrag; done"]})),
        ("rival-image", json!({"name": "x", "image": "ghcr.io/ahrtr/etcd-defrag:v0.42.0"})),
    ] {
        message(name, &containers(json!([container(&[]), rival])), &none);
    }
    every_message_of_addresses();
    message("tls-unknown", &with_tls(&["--cert-file=/elsewhere/tls.crt", "--client-cert-auth"]), &none);
    message("tls-assumed-ca", &with_tls(&["--cert-file=/certs/tls.crt"]), &none);
    message("tls-auto", &with_tls(&["--auto-tls"]), &none);
}

fn every_message_of_addresses() {
    let none = Overrides::default();
    for (name, listens) in
        [("unreachable", "http://127.0.0.1:2379,unix:///run/etcd.sock"), ("unreachable-ipv6", "http://[::1]:2379")]
    {
        message(name, &with_args(&[&format!("--listen-client-urls={listens}")]), &none);
    }
    message(
        "unreachable-by-default",
        &with_container(json!({"name": "etcd", "image": "etcd:v3.6.1", "command": ["etcd"]})),
        &none,
    );
    message("entry-point", &with_container(json!({"name": "etcd", "image": "registry.example/etcd:3.6.1"})), &none);
    for (name, command) in [
        ("program-unknown", json!(["/scripts/etcd.sh"])),
        ("script-file", json!(["bash", "-x", "/scripts/etcd.sh"])),
        ("proxy", json!(["etcd", "grpc-proxy", "start"])),
        ("mirror", json!(["etcdctl", "make-mirror", "http://other:2379"])),
    ] {
        message(name, &with_container(json!({"name": "etcd", "image": "etcd:v3.6.1", "command": command})), &none);
    }
    for (name, url) in [
        ("advertises-bare", "http://$(POD):2379"),
        ("advertises-loopback", "http://127.0.0.1:2379"),
        ("advertises-unspecified", "http://[::]:2379"),
    ] {
        message(name, &with_args(&[&format!("--advertise-client-urls={url}")]), &none);
    }
    let endpoints = Some(vec!["http://etcd-0.etcd-headless:2379".to_owned()]);
    message(
        "advertises-bare-and-endpoints-are-few",
        &with_args(&["--advertise-client-urls=http://$(POD):2379"]),
        &Overrides { endpoints, ..none.clone() },
    );
    let cluster = "--initial-cluster=etcd-0=http://etcd-0.etcd-headless.ns.svc:2380,b-0=http://b-0.etcd-headless.ns.svc:2380,c-0=http://c-0.etcd-headless.ns.svc:2380";
    message("members-elsewhere", &with_args(&[cluster]), &none);
    let endpoints =
        Some(vec!["http://etcd-0.etcd-headless:2379".to_owned(), "http://b-0.etcd-headless:2379".to_owned()]);
    message("members-elsewhere-and-not-all-named", &with_args(&[cluster]), &Overrides { endpoints, ..none.clone() });
    let mut second = container(&["--listen-client-urls=http://0.0.0.0:2382"]);
    second["name"] = json!("etcd-events");
    let pair = json!([container(&["--quota-backend-bytes=2147483648"]), second]);
    message("second-etcd", &statefulset(json!({"spec": {"template": {"spec": {"containers": pair}}}})), &none);
}

#[test]
fn what_the_engine_cannot_dial_is_left_out_of_its_health_check() {
    let skips = |advertise: &str, listen: &str| {
        facts(&with_args(&[&format!("--advertise-client-urls={advertise}"), &format!("--listen-client-urls={listen}")]))
            .skips_health_check
    };
    let all = "http://0.0.0.0:2379";
    for (advertise, listen, expected) in [
        ("http://$(POD).etcd-headless:2379", all, false),
        ("http://$(POD):2379", all, true),
        ("http://127.0.0.1:2379", all, true),
        ("http://localhost:2379", "http://[::]:2379", true),
        // etcd replaces its own default by the address of the pod.
        ("http://localhost:2379", all, false),
        ("http://localhost:2380", all, true),
        ("http://localhost:2379,http://$(POD).etcd-headless:2379", all, true),
        ("http://0.0.0.0:2379", all, true),
        ("http://[::]:2379", all, true),
        ("http://$(IP):2379", all, false),
        ("https://$(POD).etcd-headless:2379,https://$(IP):2379", "https://0.0.0.0:2379", true),
        ("https://$(POD).etcd-headless:2379,https://etcd:2379", "https://0.0.0.0:2379", false),
    ] {
        assert_eq!(skips(advertise, listen), expected, "{advertise} {listen}");
    }
}

#[test]
fn members_elsewhere_are_those_that_are_no_pods_of_the_statefulset() {
    let outside = |cluster: &str, name: &str| {
        let sts = with_args(&[&format!("--initial-cluster={cluster}"), &format!("--name={name}")]);
        codes(&sts, &Overrides::default()).contains(&Code::MembersElsewhere)
    };
    for (cluster, name, expected) in [
        ("etcd-0=http://etcd-0.x:2380,etcd-1=http://etcd-1.x:2380", "$(POD)", false),
        // Beyond the replicas: the flag may be out of date.
        ("etcd-0=http://etcd-0.x:2380,etcd-7=http://etcd-7.x:2380", "$(POD)", false),
        ("$(POD)=http://$(POD).x:2380", "$(POD)", false),
        ("etcd-0=http://etcd-0.x:2380,b-0=http://b-0.x:2380", "$(POD)", true),
        ("a=http://etcd:2380", "a", false),
        ("default=http://etcd:2380,b=http://etcd-b:2380", "default", true),
        ("a=http://a.ns.svc:2380,b=http://b.ns.svc:2380", "a", true),
        ("etcd-0=http://10.0.0.1:2380,etcd-1=http://10.0.0.2:2380", "$(POD)", false),
        ("a=http://$(IP):2380,b=http://b.ns.svc:2380", "a", true),
        // The same name in three namespaces, or under three Services.
        ("a=http://etcd-0.x.ns.svc:2380,b=http://etcd-0.x.other.svc:2380", "a", true),
        ("a=http://etcd-0.etcd-headless:2380,b=http://etcd-0.other:2380", "a", true),
        // One member, two URLs.
        ("a=http://etcd-0.x:2380,a=http://other.example:2380", "a", false),
    ] {
        assert_eq!(outside(cluster, name), expected, "{cluster} {name}");
    }
}

#[test]
fn endpoints_of_all_members_make_one_etcd_of_several_statefulsets() {
    let cluster = "--initial-cluster=etcd-0=http://etcd-0.etcd-headless.ns.svc:2380,b-0=http://b-0.etcd-headless.ns.svc:2380,c-0=http://c-0.etcd-headless.ns.svc:2380";
    let mut sts = with_args(&["--quota-backend-bytes=2147483648", "--name=$(POD)", cluster]);
    let with = |sts: &StatefulSet, urls: &[&str]| {
        let endpoints = Some(urls.iter().map(|url| format!("http://{url}:2379")).collect());
        let overrides = Overrides { endpoints, ..Overrides::default() };
        (codes(sts, &overrides), discover(sts, &overrides).etcd.unwrap())
    };
    sts.spec.replicas = Some(1);
    for urls in [
        ["etcd-0.etcd-headless", "b-0.etcd-headless", "c-0.etcd-headless"],
        ["etcd-0.etcd-headless.ns.svc", "b-0.etcd-headless.ns.svc.z", "lb.example"],
    ] {
        let (found, etcd) = with(&sts, &urls);
        assert_eq!(
            (found, etcd.members, etcd.replicas),
            (vec![], 3, 1),
            "{urls:?}: an odd number, and no single member"
        );
    }
    for urls in [
        &["etcd-0.etcd-headless", "b-0.etcd-headless"][..],
        &["etcd-0.etcd-headless", "etcd-1.etcd-headless", "etcd-2.etcd-headless"],
    ] {
        assert!(with(&sts, urls).0.contains(&Code::MembersElsewhere), "{urls:?}");
    }
    sts.spec.replicas = Some(0);
    let (found, etcd) = with(&sts, &["etcd-0.etcd-headless", "b-0.etcd-headless", "c-0.etcd-headless"]);
    assert_eq!((found, etcd.members), (vec![], 3), "the others go on");
}

trait WithoutService {
    fn without_service(self) -> Self;
}

impl WithoutService for StatefulSet {
    fn without_service(mut self) -> Self {
        self.spec.service_name.clear();
        self
    }
}

#[test]
fn members_are_bounded() {
    let endpoints = |replicas: i32| facts(&statefulset(json!({"spec": {"replicas": replicas}}))).endpoints.len();
    assert_eq!(endpoints(i32::MAX), 0);
    assert_eq!(endpoints(10), 0);
    assert_eq!(endpoints(MAX_MEMBERS.cast_signed()), 9);
    assert_eq!(endpoints(0), 0);
    assert_eq!(endpoints(-5), 0);
    assert_eq!(codes(&statefulset(json!({"spec": {"replicas": 0}})), &Overrides::default()), []);
    let late = facts(&statefulset(json!({"spec": {"ordinals": {"start": i32::MAX}}})));
    assert_eq!(late.endpoints[2], "http://etcd-2147483649.etcd-headless.ns.svc:2379");
}

#[test]
fn policy_sets_how_members_are_judged() {
    let mut limits = Policy::built_in().limits;
    limits.single_member = Reaction::Deny;
    limits.even_members = Reaction::Deny;
    for replicas in [1, 2] {
        let etcd = facts(&statefulset(json!({"spec": {"replicas": replicas}})));
        assert!(hazards(&etcd, &limits).iter().all(Finding::denies));
    }
}

#[test]
fn addresses_follow_the_advertised_url() {
    let endpoint = |url: &str| {
        let listening = "--listen-client-urls=http://0.0.0.0:7,http://0.0.0.0:1234,http://0.0.0.0:2379";
        let etcd = facts(&with_args(&[&format!("--advertise-client-urls={url}"), listening]));
        etcd.endpoints[0].clone()
    };
    for (url, expected) in [
        (
            "http://$(POD).etcd-headless.ns.svc.cluster.local:2379",
            "http://etcd-0.etcd-headless.ns.svc.cluster.local:2379",
        ),
        ("http://$(POD).etcd-headless.ns.svc.a.example:1234", "http://etcd-0.etcd-headless.ns.svc.a.example:1234"),
        (
            "http://$(POD).etcd-headless.ns.svc.cluster.local.:2379",
            "http://etcd-0.etcd-headless.ns.svc.cluster.local:2379",
        ),
        ("http://$(POD).etcd-headless.ns.svc:2379", "http://etcd-0.etcd-headless.ns.svc:2379"),
        ("http://$(POD).x.y:2379", "http://etcd-0.x.y:2379"),
        ("http://$(POD).etcd-headless:2379", "http://etcd-0.etcd-headless:2379"),
        ("http://etcd-4.etcd-headless.ns.svc.z:2379", "http://etcd-0.etcd-headless.ns.svc.z:2379"),
        ("https://svc.ns.svc.z:1,http://$(POD).etcd-headless:2379", "http://etcd-0.etcd-headless:2379"),
        ("http://$(POD):1,http://$(POD).etcd-headless:2379", "http://etcd-0.etcd-headless:2379"),
        ("http://$(POD).etcd-headless.ns.svc.$(DOMAIN):2379", "http://etcd-0.etcd-headless.ns.svc:2379"),
        // What another Service gives no names is left out, whatever is advertised so.
        ("http://$(POD).other.ns.svc:2379", "http://etcd-0.etcd-headless.ns.svc:2379"),
        ("http://$(POD).other:2379,http://$(POD).etcd-headless:2379", "http://etcd-0.etcd-headless:2379"),
        ("http://$(POD).other.ns:2379", "http://etcd-0.etcd-headless.ns.svc:2379"),
        // A Service for each pod has its name, and another domain its own names.
        ("http://$(POD).ns.svc:2379", "http://etcd-0.ns.svc:2379"),
        // Where nothing better is in view, the convention.
        ("http://$(POD):2379", "http://etcd-0.etcd-headless.ns.svc:2379"),
        ("http://10.0.0.1:2380", "http://etcd-0.etcd-headless.ns.svc:7"),
        ("http://$(POD).$(NOPE).y:2379", "http://etcd-0.etcd-headless.ns.svc:2379"),
        ("$(NOPE)", "http://etcd-0.etcd-headless.ns.svc:7"),
    ] {
        assert_eq!(endpoint(url), expected, "{url}");
    }
}

#[test]
fn overrides_of_the_address() {
    let sts = with_tls(&["--cert-file=/certs/tls.crt"]);
    let overrides = Overrides {
        service: Some("etcd-headless".into()),
        client_port: Some(99),
        cluster_domain: Some("d.e".into()),
        ..Overrides::default()
    };
    let etcd = discover(&sts, &overrides).etcd.unwrap();
    assert_eq!(etcd.endpoints[1], "https://etcd-1.etcd-headless.ns.svc.d.e:99");
    let endpoints = vec!["http://a:1".to_owned(), "http://b:1".to_owned()];
    let overrides = Overrides { endpoints: Some(endpoints.clone()), ..overrides };
    let etcd = discover(&with_args(&[]), &overrides).etcd.unwrap();
    assert_eq!((etcd.endpoints, etcd.scheme, etcd.tls), (endpoints, Scheme::Http, None));
}
