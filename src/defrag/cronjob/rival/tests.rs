use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::defrag::cronjob::live::Live;

/// A CronJob with this container and these volumes.
fn cronjob(container: &Value, volumes: &Value) -> CronJob {
    let value = json!({
        "metadata": {"name": "x", "namespace": "ns"},
        "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {
            "containers": [container], "volumes": volumes,
        }}}}},
    });
    serde_json::from_value(value).unwrap()
}

/// A StatefulSet with these volumes.
fn etcd(name: &str, service: &str, volumes: &Value) -> StatefulSet {
    let spec = json!({"serviceName": service, "template": {"spec": {"volumes": volumes}}});
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec})).unwrap()
}

fn rivals(container: &Value, name: &str, service: &str) -> bool {
    let live = Live::of(cronjob(container, &json!([]))).unwrap();
    let object = etcd(name, service, &json!([]));
    let is_rival = live.rivals(&object).is_some();
    assert_eq!(live.concerns(name, Some(&object), "other"), is_rival);
    is_rival
}

#[test]
fn rivals_are_found_in_arguments_scripts_and_variables() {
    let engine =
        json!({"name": "a", "image": "x/etcd-defrag:v1", "args": ["--endpoints=https://etcd-0.etcd.ns.svc:2379"]});
    assert!(rivals(&engine, "etcd", ""));
    assert!(!rivals(&engine, "etc", ""));
    assert!(!rivals(&engine, "etcd-1", ""));
    let script = json!({"name": "a", "image": "etcd", "command": ["bash", "-c", "for e in kamaji-etcd-0.kamaji-etcd:2379; do etcdctl defrag; done"]});
    assert!(rivals(&script, "kamaji-etcd", ""));
    assert!(!rivals(&script, "etcd", ""), "the end of a longer name is another name");
    let variable = json!({"name": "a", "image": "etcd", "command": ["etcdctl", "defrag"],
        "env": [{"name": "ETCDCTL_ENDPOINTS", "value": "http://my-etcd-10.my-etcd-headless:2379"}]});
    assert!(rivals(&variable, "my-etcd", ""));
    assert!(!rivals(&variable, "my-etcd-headless", ""));
    let service =
        json!({"name": "a", "image": "etcd", "args": ["etcdctl --endpoints http://etcd.ns.svc:2379 defrag --cluster"]});
    assert!(rivals(&service, "etcd", ""));
    for url in ["http://db-headless:2379", "http://db-headless.ns.svc:2379", "db-headless.ns.svc.cluster.local"] {
        let by_service =
            json!({"name": "a", "image": "etcd", "args": [format!("etcdctl --endpoints={url} defrag --cluster")]});
        assert!(rivals(&by_service, "db", "db-headless") && !rivals(&by_service, "db", "headless"), "{url}");
    }
}

#[test]
fn one_that_is_suspended_is_no_rival() {
    let container = json!({"name": "a", "image": "x", "command": ["etcdctl", "--endpoints=etcd:2379", "defrag"]});
    let mut live = cronjob(&container, &json!([]));
    let object = etcd("etcd", "etcd", &json!([]));
    assert!(Live::of(live.clone()).unwrap().rivals(&object).is_some());
    live.spec.suspend = Some(true);
    assert_eq!(Live::of(live), None);
}

#[test]
fn a_loop_over_the_pods_and_a_statefulset_of_kubectl_name_the_etcd() {
    for script in [
        "kubectl exec statefulset/prod-store -- etcdctl defrag --cluster",
        "kubectl -n x exec sts/prod-store -c etcd -- etcdctl defrag",
        "for i in 0 1 2; do kubectl exec prod-store-$i -- etcdctl defrag; done",
        "for i in 0 1; do etcdctl --endpoints=http://prod-store-${i}.peers:2379 defrag; done",
        "for m in prod-store-{0..2}; do kubectl exec $m -- etcdctl defrag; done",
        "curl -X POST http://prod-store-0.peers:2379/v3/maintenance/defragment",
    ] {
        let container = json!({"name": "a", "image": "x/tools", "command": ["sh", "-c", script]});
        assert!(rivals(&container, "prod-store", "peers"), "{script}");
        assert!(!rivals(&container, "store", "other") && !rivals(&container, "prod", "other"), "{script}");
    }
}

#[test]
fn a_program_that_says_defrag_is_a_rival_where_it_reads_what_the_etcd_reads() {
    let pair = |name: &str| json!([{"name": "v", "secret": {"secretName": name}}]);
    let launcher =
        |args: Value| json!({"name": "a", "image": "x/etcd-launcher:v1", "command": ["/etcd-launcher"], "args": args});
    let shares = |container: &Value, volumes: &Value, of_etcd: &Value| {
        let live = Live::of(cronjob(container, volumes))?;
        let object = etcd("db", "db", of_etcd);
        let rivalry = live.rivals(&object)?;
        assert!(rivalry.is_seen);
        rivalry.shared.map(|(kind, name)| format!("{kind:?} {name}"))
    };
    let by_launcher = launcher(json!(["defrag", "--cluster=de-test-01"]));
    assert_eq!(shares(&by_launcher, &pair("client"), &pair("client")).as_deref(), Some("Secret client"));
    assert_eq!(shares(&by_launcher, &pair("client"), &pair("other")), None);
    assert_eq!(shares(&by_launcher, &json!([]), &pair("client")), None);
    for word in ["defragment", "/usr/bin/etcd-defragger", "sleep 1; tool DEFRAG=1 defrag"] {
        assert!(shares(&launcher(json!([word])), &pair("client"), &pair("client")).is_some(), "{word}");
    }
    let projected = json!([{"name": "v", "projected": {"sources": [{"secret": {"name": "client"}}]}}]);
    assert!(shares(&by_launcher, &projected, &pair("client")).is_some());
    // Another program, one that only names files, and one whose hosts are the pods of another etcd.
    for args in [
        json!(["snapshot"]),
        json!(["redefragged"]),
        json!(["defrag", "--data-dir=/restored"]),
        json!(["defrag", "--endpoints=https://events-0.events:2379"]),
    ] {
        assert_eq!(shares(&launcher(args.clone()), &pair("client"), &pair("client")), None, "{args}");
    }
    // What every pod of the namespace has shows nothing.
    let everywhere = json!([{"name": "v", "configMap": {"name": "kube-root-ca.crt"}}]);
    assert_eq!(shares(&by_launcher, &everywhere, &everywhere), None);
    let by_variable = json!({"name": "a", "image": "etcd", "args": ["etcdctl", "defrag"],
        "env": [{"name": "ETCDCTL_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "client", "key": "password"}}}]});
    assert!(shares(&by_variable, &json!([]), &pair("client")).is_some());
}

#[test]
fn a_script_out_of_view_may_defragment_and_one_in_view_says_so() {
    let bin = json!([{"name": "bin", "configMap": {"name": "etcd-bin", "items": [{"key": "compact", "path": "compact.sh"}]}}]);
    let container = |image: &str, words: Value| {
        json!({"name": "a", "image": image, "command": words,
            "volumeMounts": [{"name": "bin", "mountPath": "/bin/compact.sh", "subPath": "compact.sh"}]})
    };
    let object = etcd("db", "db-headless", &bin);
    let said = |container: &Value, script: Option<&str>| {
        let scripts = |file: &ObjectKey| {
            assert_eq!((file.name.as_str(), file.key.as_str()), ("etcd-bin", "compact"));
            script
        };
        let live = Live::reading(cronjob(container, &bin), Some(&scripts))?;
        live.rivals(&object).map(|rivalry| rivalry.is_seen)
    };
    let image = "registry.k8s.io/etcd-amd64:3.4.3";
    for words in [
        json!(["/bin/compact.sh"]),
        json!(["sh", "/bin/compact.sh"]),
        json!(["sh", "-c", "set -e; /bin/compact.sh >/dev/null"]),
    ] {
        let container = container(image, words);
        assert_eq!(said(&container, None), Some(false));
        assert_eq!(said(&container, Some("etcdctl compact 7\netcdctl defrag")), Some(true));
        assert_eq!(said(&container, Some("etcdctl compact 7")), None);
        // The reconciler reads no ConfigMap.
        assert!(Live::of(cronjob(&container, &bin)).unwrap().rivals(&object).is_some_and(|rivalry| !rivalry.is_seen));
    }
    // A program of the image, another image, a backup, and an etcd that has nothing in common with it.
    assert_eq!(said(&container(image, json!(["etcdctl", "compact", "7"])), None), None);
    assert_eq!(said(&container("busybox", json!(["/bin/compact.sh"])), None), None);
    assert_eq!(said(&container("busybox", json!(["/bin/compact.sh"])), Some("etcdctl defrag")), Some(true));
    assert_eq!(said(&container(image, json!(["sh", "-c", "/bin/compact.sh --snapshot"])), None), None);
    let live = Live::of(cronjob(&container(image, json!(["/bin/compact.sh"])), &bin)).unwrap();
    assert_eq!(live.rivals(&etcd("db", "db", &json!([]))), None);
}

/// Whether a text names a pod of a StatefulSet or a Service of its name, searched for in full.
fn mentions(text: &str, statefulset: &str) -> bool {
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (0..text.len()).filter(|at| text[*at..].starts_with(statefulset)).any(|at| {
        let rest = &text[at + statefulset.len()..];
        let pod = rest.strip_prefix('-').unwrap_or_default();
        let digits = pod.bytes().take_while(u8::is_ascii_digit).count();
        !text[..at].ends_with(|c| of_name(c) || c == '.')
            && (rest.starts_with(['.', ':']) || (digits > 0 && !pod[digits..].starts_with(of_name)))
    })
}

proptest! {
    #[test]
    fn names_are_found_as_by_a_search_in_full(text in "[ab1.: -]{0,24}", name in "[ab1]([ab1.-]{0,4}[ab1])?") {
        prop_assert_eq!(Names::of(&text).has(&name), mentions(&text, &name));
    }
}
