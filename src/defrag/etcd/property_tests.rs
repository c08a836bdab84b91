//! Whatever a StatefulSet holds, the discovery ends, soon, with findings that fit.

use std::time::Duration;

use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use super::{
    CaSecret, ClientSecret, MAX_MEMBERS, Overrides, discover, hazards,
    marks::{POD, UNKNOWN},
};
use crate::defrag::{finding::WARNING_LIMIT, policy::Policy, statefulset::StatefulSet};

/// The time that this thread has had a processor.
fn on_processor() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

fn word() -> impl Strategy<Value = String> {
    let flag = prop_oneof![
        Just("--quota-backend-bytes"),
        Just("--quota-backend-gb"),
        Just("--advertise-client-urls"),
        Just("--listen-client-urls"),
        Just("--cert-file"),
        Just("--trusted-ca-file"),
        Just("--key-file"),
        Just("--client-cert-auth"),
        Just("--auto-compaction-retention"),
        Just("--config-file"),
        Just("--data-dir"),
    ];
    let value = prop_oneof![
        "[-+0-9_xGi]{0,20}",
        "https?://(\\$\\(A\\)|etcd-[0-9]|\\[::1\\])(\\.[a-z]{0,3}){0,5}(:[0-9]{0,6})?",
        "/(data|certs|\\.\\.)(/[a-z.]{0,6}){0,2}",
        "(\\$|\\(|\\)|\\{|\\}|[ABC]|'|\"|`|\\\\|;|&|<|#| |\n){0,24}",
        any::<String>(),
    ];
    prop_oneof![
        3 => (flag.clone(), value.clone()).prop_map(|(flag, value)| format!("{flag}={value}")),
        1 => flag.prop_map(str::to_owned),
        1 => value,
        1 => prop::sample::select(vec!["etcd", "sh", "-c", "start-etcd", "exec etcd --a=$A \"$@\""])
            .prop_map(str::to_owned),
    ]
}

fn env() -> impl Strategy<Value = Value> {
    let names = prop_oneof![
        Just("A"),
        Just("B"),
        Just("C"),
        Just("ETCDCTL_CERT"),
        Just("ETCDCTL_KEY"),
        Just("ETCD_QUOTA_BACKEND_BYTES"),
        Just("ETCD_ADVERTISE_CLIENT_URLS"),
        Just("ETCD_ON_K8S")
    ];
    let reference = "(\\$\\([ABC]\\)|\\$\\$|x|/certs/a){0,8}".prop_map(|value| json!({"value": value}));
    let source = prop_oneof![Just("metadata.name"), Just("metadata.namespace"), Just("status.podIP")]
        .prop_map(|path| json!({"valueFrom": {"fieldRef": {"fieldPath": path}}}));
    (names, prop_oneof![reference, source, Just(json!({"valueFrom": {}})), Just(json!({}))]).prop_map(
        |(name, mut var)| {
            var["name"] = json!(name);
            var
        },
    )
}

fn container() -> impl Strategy<Value = Value> {
    let name = prop_oneof![3 => Just("etcd"), 1 => Just("sidecar"), 1 => Just("")];
    let image = prop_oneof![Just("etcd:v3.5.9".to_owned()), "[a-z/:@.0-9]{0,20}"];
    let mounts = prop::collection::vec(("(data|certs|x)", "(/data|/certs|/|)[/.a]{0,4}", "[/.a]{0,3}"), 0..4);
    let words = || prop::collection::vec(word(), 0..5);
    let probe = prop::option::of((any::<Option<i32>>(), any::<Option<i32>>()));
    (name, image, words(), words(), prop::collection::vec(env(), 0..6), mounts, any::<bool>(), probe).prop_map(
        |(name, image, command, args, env, mounts, from, probe)| {
            let mounts: Vec<Value> =
                mounts.iter().map(|(name, at, sub)| json!({"name": name, "mountPath": at, "subPath": sub})).collect();
            json!({
                "name": name, "image": image, "command": command, "args": args, "env": env, "volumeMounts": mounts,
                "envFrom": if from { json!([{"configMapRef": {"name": "x"}}]) } else { json!([]) },
                "livenessProbe": probe.map(|(p, t)| json!({"periodSeconds": p, "failureThreshold": t}))
            })
        },
    )
}

fn statefulset() -> impl Strategy<Value = StatefulSet> {
    let volume = prop_oneof![
        Just(json!({"name": "certs", "secret": {"secretName": "s"}})),
        Just(json!({"name": "certs", "projected": {"sources": [
            {"secret": {"name": "s"}}, {"configMap": {"items": []}}
        ]}})),
        Just(
            json!({"name": "etcd-client-tls", "secret": {"secretName": "c", "items": [{"key": "a", "path": "a.key"}]}})
        ),
        Just(json!({"name": "data", "emptyDir": {"sizeLimit": "1Gi"}})),
        Just(json!({"name": "data"})),
    ];
    let size = prop_oneof![Just("8Gi".to_owned()), "[-0-9.eEGi]{0,9}"];
    (
        any::<Option<i32>>(),
        any::<i32>(),
        "[a-z-]{0,8}",
        prop::collection::vec(container(), 0..4),
        prop::collection::vec(volume, 0..4),
        prop::collection::vec(size, 0..3),
    )
        .prop_map(|(replicas, start, service, containers, volumes, sizes)| {
            let claims: Vec<Value> = sizes
                .iter()
                .map(|size| json!({"storage": size}))
                .map(|requests| json!({"metadata": {"name": "data"}, "spec": {"resources": {"requests": requests}}}))
                .collect();
            serde_json::from_value(json!({
                "metadata": {"name": "etcd"},
                "spec": {
                    "replicas": replicas, "ordinals": {"start": start}, "serviceName": service,
                    "template": {"spec": {"containers": containers, "volumes": volumes}},
                    "volumeClaimTemplates": claims
                }
            }))
            .unwrap()
        })
}

fn overrides() -> impl Strategy<Value = Overrides> {
    let endpoints = prop::option::of(prop::collection::vec("https?://[a-z]{1,3}:[0-9]", 0..3));
    (endpoints, any::<Option<u64>>(), any::<Option<u16>>(), any::<bool>()).prop_map(
        |(endpoints, quota, port, secrets)| Overrides {
            endpoints,
            quota,
            client_port: port,
            ca_secret: secrets.then(|| CaSecret { name: "s".into(), key: None }),
            client_secret: secrets.then(|| ClientSecret { name: "s".into(), keys: None }),
            ..Overrides::default()
        },
    )
}

proptest! {
    #[test]
    fn any_statefulset_is_assessed(sts in statefulset(), overrides in overrides()) {
        let discovery = discover(&sts, &overrides);
        let refuses = discovery.findings.iter().any(crate::defrag::finding::Finding::denies);
        for finding in &discovery.findings {
            let field = finding.field.to_string();
            prop_assert!(!field.is_empty() && finding.brief.chars().count() <= WARNING_LIMIT);
            // Marks that stand for what cannot be seen never reach a person.
            prop_assert!(!finding.message.contains([POD, UNKNOWN]) && !field.contains([POD, UNKNOWN]));
        }
        let Some(etcd) = discovery.etcd else {
            prop_assert!(refuses);
            return Ok(());
        };
        // What is missing always comes with a refusal.
        if !refuses {
            prop_assert!(etcd.quota.as_ref().is_some_and(|quota| quota.bytes > 0));
            prop_assert!(etcd.tls.as_ref().is_none_or(|tls| tls.ca.is_some()));
            if overrides.endpoints.is_none() {
                prop_assert_eq!(etcd.endpoints.len(), usize::try_from(etcd.replicas).unwrap());
                prop_assert!(etcd.replicas <= MAX_MEMBERS);
            }
        }
        for endpoint in &etcd.endpoints {
            prop_assert!(!endpoint.contains([POD, UNKNOWN, ' ']));
        }
        let _ = hazards(&etcd, &Policy::built_in().limits);
    }

    #[test]
    fn any_script_is_read(
        script in "(\\$|\\(|\\)|\\{|\\}|\\[|\\]|@|[A-C]|'|\"|`|\\\\|;|&|\\||<|>|#|,|:|-|\\+| |\n|=|etcd|exec|if|fi|case|esac|in|for|do|done|export |unset |set -a|\\. /x|ETCD_A|--a=|é){0,60}"
    ) {
        let sts = json!({
            "metadata": {"name": "etcd"},
            "spec": {"template": {"spec": {"containers": [{"name": "etcd", "command": ["sh", "-c", script]}]}}}
        });
        let _ = discover(&serde_json::from_value(sts).unwrap(), &Overrides::default());
    }
}

#[test]
fn objects_made_to_be_slow_are_assessed_at_once() {
    let doubling: Vec<Value> =
        (0..3000).map(|n| json!({"name": format!("V{n}"), "value": format!("x$(V{p})$(V{p})", p = n - 1)})).collect();
    let words: Vec<String> = (0..20_000).map(|n| format!("--x{n}=$(V{})", n % 3000)).collect();
    let hostile = [
        "$(".repeat(125_000),
        "`".repeat(250_001),
        "\"$(".repeat(75_000),
        "if ".repeat(75_000),
        "etcd;".repeat(50_000),
        "A=$A$A$A$A ".repeat(25_000),
        "export A=xx$A$A;".repeat(15_000) + "etcd $A",
        "\\".repeat(250_001),
        "<".repeat(250_000),
        "${".repeat(125_000),
        "${A:-".repeat(50_000),
        "${A:=".repeat(25_000) + &"}".repeat(25_000),
        "((".repeat(125_000),
        "$((A=".repeat(50_000),
        "A=(".repeat(80_000),
        "A+=(x) ".repeat(15_000) + &"etcd \"${A[@]}\";".repeat(8_000),
        "(".repeat(125_000) + &")".repeat(125_000),
        "(export ETCD_A=1);".repeat(14_000) + "etcd",
        ". /x\nexport ETCD_A=1\netcd\n".repeat(10_000),
        "cat <<E\n".repeat(30_000),
        "$'".repeat(125_000),
        "{a,b}".repeat(50_000),
        "for a in b; do A=$A$A; ".repeat(10_000) + &"done;".repeat(10_000),
        "case x in ".repeat(25_000),
        "printf -v ".repeat(25_000),
    ];
    let mut containers = vec![json!({"name": "etcd", "command": ["etcd"], "args": words, "env": doubling})];
    containers.extend((0..300).map(|n| json!({"name": format!("s{n}"), "args": ["$(V9)"], "env": doubling.get(..30)})));
    let mut objects = vec![json!(containers)];
    objects.extend(hostile.iter().map(|script| json!([{"name": "etcd", "command": ["sh", "-c", script]}])));
    for containers in objects {
        let sts = json!({"metadata": {"name": "etcd"}, "spec": {"template": {"spec": {"containers": containers}}}});
        let sts: StatefulSet = serde_json::from_value(sts).unwrap();
        let start = on_processor();
        let discovery = discover(&sts, &Overrides::default());
        let took = on_processor().saturating_sub(start);
        assert!(took < Duration::from_secs(20), "{took:?}: {:?}", discovery.findings);
    }
}
