//! Clients in the pod that talk to this etcd, and such as talk to something else.

use serde_json::{Value, json};

use super::{codes, container, json_merge, message, plain, statefulset};
use crate::defrag::{
    etcd::{Overrides, Tls},
    finding::Code,
    statefulset::StatefulSet,
};

const SERVER: [&str; 4] = [
    "--listen-client-urls=https://0.0.0.0:2379",
    "--advertise-client-urls=https://$(POD).etcd-headless.ns.svc:2379",
    "--cert-file=/certs/tls.crt",
    "--key-file=/certs/tls.key",
];
const FILES: &str = "--cacert=/o/ca.crt --cert=/o/tls.crt --key=/o/tls.key";

/// An etcd with TLS, its certificate from the Secret `srv`, with volumes more and a container beside it.
#[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
fn pod(args: &[&str], volumes: Value, patch: Value, beside: Vec<Value>) -> StatefulSet {
    let mut etcd = container(&[&SERVER, args].concat());
    json_merge(&mut etcd, patch);
    let mut all = vec![
        json!({"name": "certs", "secret": {"secretName": "srv"}}),
        json!({"name": "o", "secret": {"secretName": "other"}}),
    ];
    all.splice(0..0, volumes.as_array().cloned().unwrap_or_default());
    let containers: Vec<Value> = std::iter::once(etcd).chain(beside).collect();
    statefulset(json!({"spec": {"template": {"spec": {"containers": containers, "volumes": all}}}}))
}

#[expect(clippy::needless_pass_by_value, reason = "callers write the JSON in place")]
fn side(command: Value, env: Value) -> Value {
    json!({"name": "side", "command": command, "env": env, "volumeMounts": [{"name": "o", "mountPath": "/o"}]})
}

fn script(text: &str) -> Value {
    side(json!(["sh", "-c", text]), json!([]))
}

fn tls(sts: &StatefulSet) -> Tls {
    plain(sts).etcd.unwrap().tls.unwrap()
}

/// Where the CA and the pair are taken from, and whether one is assumed.
fn taken(sts: &StatefulSet) -> String {
    let Tls { ca, client } = tls(sts);
    let ca = ca.map_or_else(String::new, |ca| format!("{}:{}", ca.name, ca.key));
    let client = client.map_or_else(String::new, |pair| format!(" {}", pair.name));
    let assumed = codes(sts, &Overrides::default()).contains(&Code::TlsSecretAssumed);
    format!("{ca}{client}{}", if assumed { " assumed" } else { "" })
}

const MUTUAL: [&str; 2] = ["--client-cert-auth", "--trusted-ca-file=/certs/ca.crt"];

/// What a client uses for another server is neither the CA nor the pair of this etcd.
#[test]
fn what_talks_to_something_else_is_no_evidence() {
    const OURS: &str = "other:ca.crt other";
    const NONE: &str = "srv:ca.crt";
    for (target, expected) in [
        // Itself.
        ("https://127.0.0.1:2379", OURS),
        ("localhost:2379", OURS),
        ("https://[::1]:2379", OURS),
        ("https://etcd-0.etcd-headless:2379,https://etcd-1.etcd-headless:2379", OURS),
        ("https://etcd-headless.ns.svc.cluster.local:2379", OURS),
        ("https://etcd.ns.svc:2379", OURS),
        ("https://etcd-client:2379", OURS),
        ("https://main.prod.svc:2379,https://127.0.0.1:2379", OURS),
        // What cannot be seen counts.
        ("$URL", OURS),
        ("https://$HOST:2379", OURS),
        ("https://etcd-$i.etcd-headless:2379", OURS),
        ("https://$i.etcd-headless.ns:2379", OURS),
        // Another etcd.
        ("https://main-etcd.prod.svc:2379", NONE),
        ("https://$i.main-etcd.prod.svc:2379", NONE),
        ("main.example.com:2379", NONE),
        ("https://$i.example.com:2379", NONE),
        ("https://main-0.main:2379", NONE),
        ("https://etcd-0.etcd-headless.prod.svc:2379", NONE),
    ] {
        let expected_alone = expected;
        for command in [
            format!("read URL HOST i; while sleep 60; do etcdctl --endpoints={target} {FILES} get x; done"),
            format!("read URL HOST i; ETCDCTL_ENDPOINTS={target} etcdctl {FILES} get x"),
            format!("read URL HOST i; timeout 5 env ETCDCTL_ENDPOINTS={target} etcdctl {FILES} get x"),
        ] {
            let sts = pod(&MUTUAL, json!([]), json!({}), vec![script(&command)]);
            assert_eq!(taken(&sts), expected_alone, "{command}");
        }
        if target.contains('$') {
            continue;
        }
        let variables = |own: bool| {
            let mut env = vec![
                json!({"name": "ETCDCTL_CACERT", "value": "/o/ca.crt"}),
                json!({"name": "ETCDCTL_CERT", "value": "/o/tls.crt"}),
                json!({"name": "ETCDCTL_KEY", "value": "/o/tls.key"}),
            ];
            env.extend(own.then(|| json!({"name": "ETCDCTL_ENDPOINTS", "value": target})));
            json!(env)
        };
        for beside in [
            side(json!(["sh", "-c", "etcdctl get x"]), variables(true)),
            side(json!(["sh", "-c", format!("etcdctl --endpoints={target} get x")]), variables(false)),
            side(json!(["etcdctl", "--endpoints", target, "get", "x"]), variables(false)),
            side(json!(["/backup"]), variables(true)),
            side(
                json!([
                    "kube-apiserver",
                    format!("--etcd-servers={target}"),
                    "--etcd-cafile=/o/ca.crt",
                    "--etcd-certfile=/o/tls.crt",
                    "--etcd-keyfile=/o/tls.key"
                ]),
                json!([]),
            ),
        ] {
            let sts = pod(&MUTUAL, json!([]), json!({}), vec![beside.clone()]);
            assert_eq!(taken(&sts), expected, "{target} {beside}");
        }
    }
    let overrides = "--etcd-servers-overrides=/events#https://main.example.com:2379;https://127.0.0.1:2379";
    let apiserver =
        ["kube-apiserver", "--etcd-servers=https://a.example.com:2379", overrides, "--etcd-cafile=/o/ca.crt"];
    assert_eq!(taken(&pod(&[], json!([]), json!({}), vec![side(json!(apiserver), json!([]))])), "other:ca.crt");
}

/// curl and wget talk to servers of any kind, so a port that no etcd is known by is another server's.
#[test]
fn a_web_client_is_evidence_only_at_a_port_of_etcd() {
    for (url, expected) in [
        ("https://localhost:2379/health", "other:ca.crt"),
        ("https://localhost:2381/metrics", "other:ca.crt"),
        ("https://$(hostname):2379/health", "other:ca.crt"),
        ("https://etcd-headless:2379/health", "other:ca.crt"),
        ("https://localhost:8443/x", "srv:ca.crt assumed"),
        ("https://s3.example.com/b/x", "srv:ca.crt assumed"),
        ("https://s3.example.com:2379/b/x", "srv:ca.crt assumed"),
        ("https://remote/x", "srv:ca.crt assumed"),
        ("https://vault.ns.svc:8200/x", "srv:ca.crt assumed"),
        ("http://localhost:2379/health", "srv:ca.crt assumed"),
        ("$URL", "srv:ca.crt assumed"),
        ("https://$HOST/x", "srv:ca.crt assumed"),
        ("-H 'Referer: https://localhost:2379' https://s3.example.com", "srv:ca.crt assumed"),
        ("--url=https://localhost:2379/health", "other:ca.crt"),
    ] {
        let metrics = ["--listen-metrics-urls=https://0.0.0.0:2381"];
        for tool in ["curl --cacert /o/ca.crt -T /b/x", "wget --ca-certificate=/o/ca.crt"] {
            let command = format!("read URL HOST; {tool} {url}");
            let sts = pod(&metrics, json!([]), json!({}), vec![script(&command)]);
            assert_eq!(taken(&sts), expected, "{command}");
            let hook = json!({"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", command]}}},
                "volumeMounts": [{"name": "certs", "mountPath": "/certs"}, {"name": "o", "mountPath": "/o"}]});
            assert_eq!(taken(&pod(&metrics, json!([]), hook, vec![])), expected, "{command}");
        }
    }
}

/// The right client counts, whatever stands before or behind it.
#[test]
fn what_talks_to_this_etcd_is_found_among_others() {
    let ours = format!("etcdctl --endpoints=https://127.0.0.1:2379 {FILES} snapshot save /b/x");
    for others in [
        "curl --cacert /s3/ca.crt --cert /s3/tls.crt --key /s3/tls.key https://s3.example.com/x",
        "curl --cacert /s3/ca.crt --cert /s3/tls.crt --key /s3/tls.key \"$URL\"",
        "etcdctl --endpoints=https://main.prod.svc:2379 --cacert=/s3/ca.crt --cert=/s3/tls.crt --key=/s3/tls.key get x",
        "etcdctl --endpoints=https://main:2379 --cacert=/s3/ca.crt --cert=/s3/tls.crt --key=/s3/tls.key get x",
    ] {
        for text in [format!("read URL; {ours}; {others}"), format!("read URL; {others}; {ours}")] {
            let mut beside = script(&text);
            beside["volumeMounts"].as_array_mut().unwrap().push(json!({"name": "s3", "mountPath": "/s3"}));
            let volumes = json!([{"name": "s3", "secret": {"secretName": "s3"}}]);
            assert_eq!(taken(&pod(&MUTUAL, volumes, json!({}), vec![beside])), "other:ca.crt other", "{text}");
        }
    }
}

/// A Service of another name may be in front of this etcd or of another one: what its clients use is taken with a warning.
#[test]
fn a_service_of_another_name_is_said() {
    let apart = ["--client-cert-auth", "--trusted-ca-file=/cca/ca.crt"];
    let beside = script(&format!("etcdctl --endpoints=https://main:2379 {FILES} get x"));
    let sts = pod(&apart, json!([]), json!({}), vec![beside]);
    assert_eq!(taken(&sts), "other:ca.crt other assumed");
    message("tls-assumed-by-a-client", &sts, &Overrides::default());
    let mut by_map = sts;
    by_map.spec.template.spec.volumes[1] =
        serde_json::from_value(json!({"name": "o", "configMap": {"name": "bundle"}})).unwrap();
    message("tls-assumed-by-a-client-from-a-configmap", &by_map, &Overrides::default());
}

/// Two etcds in a pod: each one's clients dial its own port.
#[test]
fn a_client_of_the_other_etcd_of_the_pod_is_none_of_this_one() {
    let events = json!({
        "name": "events",
        "command": ["etcd", "--listen-client-urls=https://0.0.0.0:4002", "--data-dir=/e"],
        "volumeMounts": [{"name": "o", "mountPath": "/o"}],
        "readinessProbe": {"exec": {"command": ["etcdctl", "--endpoints=https://127.0.0.1:4002", "--cacert=/o/ca.crt", "endpoint", "health"]}}
    });
    assert_eq!(taken(&pod(&[], json!([]), json!({}), vec![events])), "srv:ca.crt assumed");
}

/// A login at another etcd asks for none here, and a defragmentation of another one is no rival.
#[test]
fn logins_and_defragmentations_of_another_etcd_are_none_of_this_one() {
    let plain_etcd =
        |beside: Value| statefulset(json!({"spec": {"template": {"spec": {"containers": [container(&[]), beside]}}}}));
    for (target, is_ours) in [
        ("http://main.prod.svc:2379", false),
        ("http://main.example.com:2379", false),
        ("http://localhost:2379", true),
        ("http://etcd-0.etcd-headless:2379", true),
        ("$URL", true),
        ("http://x:2379", true),
    ] {
        for login in ["--user root:$PW get x", "auth enable", "user add root:x"] {
            let sts = plain_etcd(script(&format!("read URL; etcdctl --endpoints={target} {login}")));
            assert_eq!(plain(&sts).etcd.unwrap().login.is_some(), is_ours, "{target} {login}");
        }
        let env = json!([{"name": "ETCDCTL_USER", "value": "root:x"}, {"name": "ETCDCTL_ENDPOINTS", "value": target}]);
        let sts = plain_etcd(side(json!(["sh", "-c", "etcdctl get x"]), env));
        assert_eq!(plain(&sts).etcd.unwrap().login.is_some(), is_ours, "{target}");
        for (command, image) in [
            (json!(["sh", "-c", format!("read URL; while sleep 9; do etcdctl --endpoints={target} defrag; done")]), ""),
            (json!(["etcdctl", format!("--endpoints={target}"), "defrag"]), ""),
            (json!(["etcd-defrag", format!("--endpoints={target}")]), "ghcr.io/x/etcd-defrag:v1"),
        ] {
            let mut beside = side(command, json!([]));
            beside["image"] = image.into();
            assert_eq!(!plain(&plain_etcd(beside.clone())).etcd.unwrap().rivals.is_empty(), is_ours, "{beside}");
        }
    }
    let both = "etcdctl --endpoints=http://main.prod.svc:2379 defrag; sh -c 'etcdctl defrag'";
    assert_eq!(plain(&plain_etcd(script(both))).etcd.unwrap().rivals.len(), 1, "one of them cannot be seen whole");
}

/// What is kept with the server's certificate under a name for clients is assumed at most.
#[test]
fn an_authority_that_is_named_for_clients() {
    let trusts = |file: &str| [MUTUAL[0].to_owned(), format!("--trusted-ca-file=/certs/{file}")];
    let certs = |items: &[(&str, &str)]| {
        let items: Vec<Value> = items.iter().map(|(key, path)| json!({"key": key, "path": path})).collect();
        json!([{"name": "certs", "secret": {"secretName": "srv", "items": items}}])
    };
    let pair = [("tls.crt", "tls.crt"), ("tls.key", "tls.key")];
    let with = |more: &[(&str, &str)]| certs(&[&pair, more].concat());
    for (file, volumes, expected) in [
        ("ca.crt", json!([]), "srv:ca.crt"),
        ("etcd-ca.pem", json!([]), "srv:etcd-ca.pem"),
        ("client-ca.crt", json!([]), "srv:client-ca.crt assumed"),
        ("server-client-ca.crt", json!([]), "srv:server-client-ca.crt"),
        ("client-ca.crt", with(&[("client-ca.crt", "client-ca.crt")]), "srv:client-ca.crt assumed"),
        (
            "client-ca.crt",
            with(&[("client-ca.crt", "client-ca.crt"), ("server-ca.crt", "server-ca.crt")]),
            "srv:server-ca.crt",
        ),
        ("client-ca.crt", with(&[("client-ca.crt", "client-ca.crt"), ("ca.crt", "ca.crt")]), "srv:ca.crt"),
        ("client-ca.crt", with(&[("c", "client-ca.crt"), ("a", "a-ca.crt"), ("b", "b-ca.crt")]), "srv:c"),
    ] {
        let [auth, trusted] = trusts(file);
        assert_eq!(taken(&pod(&[&auth, &trusted], volumes.clone(), json!({}), vec![])), expected, "{file} {volumes}");
    }
    let peers = ["--peer-trusted-ca-file=/certs/peer-ca.crt", "--peer-cert-file=/certs/peer.crt"];
    assert_eq!(taken(&pod(&peers, json!([]), json!({}), vec![])), "srv:peer-ca.crt assumed");
    let shown = ["--peer-trusted-ca-file=/certs/peer-ca.crt", "--peer-cert-file=/certs/tls.crt"];
    assert_eq!(taken(&pod(&shown, json!([]), json!({}), vec![])), "srv:peer-ca.crt", "peers verify that certificate");
    let sts = pod(&["--trusted-ca-file=/certs/client-ca.crt"], json!([]), json!({}), vec![]);
    message("tls-assumed-by-its-name", &sts, &Overrides::default());
}

/// What the manifest puts next to the certificate comes before the convention.
#[test]
fn the_authority_that_stands_next_to_the_certificate() {
    let items =
        |items: &[(&str, &str)]| items.iter().map(|(key, path)| json!({"key": key, "path": path})).collect::<Vec<_>>();
    let pair = || items(&[("server.pem", "tls.crt"), ("server-key.pem", "tls.key")]);
    let secret = |more: &[(&str, &str)]| {
        let all: Vec<Value> = pair().into_iter().chain(items(more)).collect();
        json!([{"name": "certs", "secret": {"secretName": "srv", "items": all}}])
    };
    let projected = |source: Value| json!([{"name": "certs", "projected": {"sources": [{"secret": {"name": "srv", "items": pair()}}, source]}}]);
    let map = |path: &str| json!({"configMap": {"name": "bundle", "items": [{"key": "b.pem", "path": path}]}});
    for (volumes, expected) in [
        (secret(&[("root.pem", "ca.crt")]), "srv:root.pem"),
        (secret(&[("x", "ca.pem")]), "srv:x"),
        (secret(&[("x", "server-ca.crt"), ("y", "client-ca.crt"), ("z", "ca-key.pem")]), "srv:x"),
        (secret(&[("x", "a-ca.pem"), ("y", "b-ca.pem")]), "srv:ca.crt assumed"),
        (secret(&[("x", "deep/ca.pem")]), "srv:ca.crt assumed"),
        (secret(&[]), "srv:ca.crt assumed"),
        (projected(map("ca.crt")), "bundle:b.pem"),
        (projected(map("deep/ca.crt")), "srv:ca.crt assumed"),
    ] {
        assert_eq!(taken(&pod(&[], volumes.clone(), json!({}), vec![])), expected, "{volumes}");
    }
    // By which etcd verifies clients only.
    let trusts = ["--trusted-ca-file=/certs/ca.crt"];
    let sts = pod(&trusts, projected(map("ca.crt")), json!({}), vec![]);
    assert_eq!(tls(&sts).ca, None, "nothing shows that it signed the server's");
    let mounted = json!({"volumeMounts": [
        {"name": "certs", "mountPath": "/certs"}, {"name": "map", "mountPath": "/certs/ca.crt", "subPath": "b.pem"}
    ]});
    let volumes = json!([{"name": "map", "configMap": {"name": "bundle"}}]);
    assert_eq!(taken(&pod(&[], volumes, mounted, vec![])), "bundle:b.pem");
}

/// Its name says that a volume is for clients, or shown to them.
#[test]
fn the_pair_that_etcd_serves_is_no_clients_by_the_name_of_its_volume() {
    for volume in ["client-tls", "etcd-client-tls", "certs"] {
        let mounts = json!({"volumeMounts": [{"name": volume, "mountPath": "/certs"}]});
        let volumes = json!([{"name": volume, "secret": {"secretName": "own"}}]);
        assert_eq!(tls(&pod(&MUTUAL, volumes, mounts, vec![])).client, None, "{volume}");
    }
    let volumes = json!([{"name": "client-tls", "secret": {"secretName": "own"}}, {"name": "client-certs", "secret": {"secretName": "c"}}]);
    let mounts = json!({"volumeMounts": [{"name": "client-tls", "mountPath": "/certs"}]});
    assert_eq!(tls(&pod(&MUTUAL, volumes, mounts, vec![])).client.unwrap().name, "c");
    let listed = json!([
        {"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}
    ]);
    let volumes = json!([{"name": "client-tls", "secret": {"secretName": "srv", "items": listed}}]);
    assert_eq!(tls(&pod(&MUTUAL, volumes, json!({}), vec![])).client, None);
}

/// etcd asks whether the name is empty, and a flag beats the variable whatever it says.
#[test]
fn an_empty_name_of_a_file_is_none() {
    for args in [
        &["--trusted-ca-file="][..],
        &["--trusted-ca-file", ""],
        &["--trusted-ca-file=", "--client-cert-auth=false"],
        &["--client-cert-auth=false"],
    ] {
        assert!(
            !codes(&pod(args, json!([]), json!({}), vec![]), &Overrides::default()).contains(&Code::TlsSecretUnknown)
        );
    }
    let mut etcd = container(&["--cert-file=", "--trusted-ca-file="]);
    etcd["env"].as_array_mut().unwrap().extend([
        json!({"name": "ETCD_CERT_FILE", "value": "/certs/tls.crt"}),
        json!({"name": "ETCD_TRUSTED_CA_FILE", "value": "/certs/ca.crt"}),
    ]);
    etcd["command"] = json!(["etcd", "--listen-client-urls=http://0.0.0.0:2379"]);
    let sts = statefulset(json!({"spec": {"template": {"spec": {"containers": [etcd]}}}}));
    assert_eq!(plain(&sts).etcd.unwrap().tls, None);
    assert!(
        codes(&pod(&["--trusted-ca-file=", "--client-cert-auth"], json!([]), json!({}), vec![]), &Overrides::default())
            .contains(&Code::TlsSecretUnknown),
        "it asks for a certificate all the same"
    );
}
