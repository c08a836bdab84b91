//! `DefragPolicy` on the real API server: the definition is taken, what it refuses and fills in.

use etcd_defrag_webhook::defrag::{
    Surroundings, assess,
    policy::{self, DefragPolicy, Governing},
    statefulset::StatefulSet,
};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use super::{
    contradictions::{contradictions, unsafe_prometheus},
    support::{World, world},
};
use harness::client;

pub(crate) fn manifest(name: &str, spec: &Value) -> String {
    json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": name}, "spec": spec})
        .to_string()
}

/// The policy of this name and spec as it would be stored: stored in truth, it would govern what other tests make.
fn stored(world: &World, name: &str, spec: &Value) -> DefragPolicy {
    let command = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
    let output = world.plane.kubectl_stdin(command, &manifest(name, spec));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A control plane that knows the kind.
pub(super) fn with_definition() -> &'static World {
    let world = world();
    define(world);
    world
}

/// Has a control plane know the kind.
pub(super) fn define(world: &World) {
    // On the server's side, since several tests do this at once.
    let crd = serde_json::to_string(&policy::crd()).unwrap();
    let applied = world.plane.kubectl_stdin(["apply", "--server-side", "-f", "-"], &crd);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    world.plane.wait_established("defragpolicies.etcd-defrag.io");
}

/// A policy that uses every field of the Job that a person may write in more than one way.
fn shaped() -> Value {
    json!({"job": {
        "image": "registry.example/etcd-defrag:v0.38.0@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "pull"}],
        "serviceAccountName": "defrag",
        "resources": {"requests": {"cpu": "0.1", "memory": "1024Ki"}, "limits": {"memory": 134_217_728}},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "effect": "NoSchedule"}, {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
        ]}}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
        "priorityClassName": "low",
        "runtimeClassName": "gvisor",
        "securityContext": "Platform",
        "mesh": "Join",
        "podLabels": {"team": "platform", "sidecar.istio.io/inject": "true"},
        "podAnnotations": {"note": "x", "linkerd.io/inject": "enabled"},
    }})
}

#[tokio::test]
async fn the_cronjob_of_a_policy_comes_back_as_it_was_built() {
    let world = with_definition();
    let compiled = policy::compile(&stored(world, "shaped", &shaped()), Timestamp::now());
    assert_eq!(compiled.findings, []);
    let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kamaji-etcd.yaml")).unwrap();
    let object: StatefulSet = serde_saphyr::from_str(&example).unwrap();
    let governing = Governing::of((*compiled.policy).clone());
    let mut built = assess(&object, &governing, &Surroundings::nothing(), Timestamp::now()).cronjob().unwrap().clone();
    built.metadata.namespace = Some("default".to_owned());
    let api = Api::<CronJob>::namespaced(client(world.plane.kubeconfig()).await, "default");
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let live = api.create(&parameters, &built).await.unwrap();
    assert_eq!(serde_json::to_value(&live.spec).unwrap(), serde_json::to_value(&built.spec).unwrap());
}

#[test]
fn an_empty_policy_is_filled_in_to_the_built_in_one() {
    let world = with_definition();
    let stored = stored(world, "empty", &json!({}));
    let compiled = policy::compile(&stored, Timestamp::now());
    assert_eq!(*compiled.policy, policy::Policy::built_in());
    assert_eq!(stored.spec, DefragPolicy::default().spec);
    let nothing = json!({"selector": {"matchLabels": {"no": "object"}}});
    world.plane.apply(&manifest("empty", &nothing));
    let table = world.plane.kubectl_ok(&["get", "dfp", "empty"]);
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "PRIORITY", "ENROLLMENT", "ACTION", "MATCHED", "VIOLATING", "READY", "AGE"]);
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..4], ["empty", "0", "Labeled", "Deny"], "{table}");
    let all = world.plane.kubectl_ok(&["get", "dfp", "--field-selector=spec.enrollment=All", "-o", "name"]);
    assert!(!all.contains("empty"), "{all}");
}

#[test]
fn a_prometheus_that_cannot_be_asked_safely_is_refused_in_words_that_help() {
    let world = with_definition();
    let spec = |prometheus: Value| json!({"metrics": {"prometheus": prometheus}});
    for (prometheus, words) in unsafe_prometheus() {
        let refused =
            world.plane.kubectl_stdin(["apply", "-f", "-"], &manifest("unsafe-prometheus", &spec(prometheus.clone())));
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(words), "{prometheus}: {said}");
    }
    let stored = stored(
        world,
        "asked",
        &spec(json!({"url": "https://p:9090/prefix", "caFile": "ca.crt",
        "basicAuth": {"username": "u", "passwordFile": "p"}})),
    );
    let compiled = policy::compile(&stored, Timestamp::now());
    assert_eq!(compiled.findings, []);
    let metrics = compiled.policy.metrics.as_ref().unwrap();
    assert_eq!(metrics.source.queries, etcd_defrag_webhook::defrag::ondemand::Queries::default());
    assert_eq!((metrics.max_concurrent, metrics.pace.cooldown.as_secs()), (1, 24 * 3600));
}

#[test]
fn contradictions_are_refused_in_words_that_help() {
    let world = with_definition();
    for (spec, words) in contradictions() {
        let output = world.plane.kubectl_stdin(["apply", "--dry-run=server", "-f", "-"], &manifest("refused", &spec));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{spec}: {said}");
    }
    let long = world.plane.kubectl_stdin(["apply", "-f", "-"], &manifest(&"x".repeat(64), &json!({})));
    assert!(String::from_utf8_lossy(&long.stderr).contains("write at most 63 characters"));
}

#[test]
fn the_examples_are_accepted_as_they_stand() {
    let world = with_definition();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/policies");
    // A dry run: they select other tests' objects.
    let output = world.plane.kubectl(["apply", "--dry-run=server", "--validate=strict", "-f", folder]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), files);
}
