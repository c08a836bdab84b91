//! What the assessment accepts, the API server accepts: the CronJob of any sound StatefulSet, its pod under Pod Security
//! "restricted", and every time zone as Kubernetes sees it.

use etcd_defrag_webhook::defrag::{
    Surroundings, assess, policy::Governing, schedule::TimeZone, statefulset::StatefulSet,
};
use jiff::Timestamp;
use k8s_openapi::api::{batch::v1::CronJob, core::v1::Pod};
use kube::{Api, api::PostParams};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};

use super::{
    schedules::asked,
    support::{SOON, namespace, world},
};
use harness::{client, eventually};

/// Sound StatefulSets that are sent to the API server.
const CASES: usize = 100;

/// Every chart of the fixtures, by name.
const CHARTS: &[(&str, &str)] = &[
    ("kamaji-etcd", include_str!("../fixtures/charts/kamaji-etcd.yaml")),
    ("kamaji-etcd-cert-manager", include_str!("../fixtures/charts/kamaji-etcd-cert-manager.yaml")),
    ("bitnami", include_str!("../fixtures/charts/bitnami.yaml")),
    ("etcd-druid", include_str!("../fixtures/charts/etcd-druid.yaml")),
    ("etcd-operator", include_str!("../fixtures/charts/etcd-operator.yaml")),
    ("hypershift", include_str!("../fixtures/charts/hypershift.yaml")),
    ("kubermatic", include_str!("../fixtures/charts/kubermatic.yaml")),
    ("kubermatic-launcher", include_str!("../fixtures/charts/kubermatic-launcher.yaml")),
];

/// Settings as people write them, good and bad; the judgement sorts them out.
fn setting() -> impl Strategy<Value = (&'static str, String)> {
    let of = |key: &'static str, values: &'static [&'static str]| {
        proptest::sample::select(values).prop_map(move |value| (key, value.to_owned()))
    };
    prop_oneof![
        of(
            "schedule",
            &[
                "0 0 * * *",
                "H H * * *",
                "@daily",
                "14 9 * * mon-5",
                "?/15 * * * *",
                "0, 3 1 jan-MAR/2 *",
                "@every 6h",
                "*-5 1 * * *",
                "0 0 29 2 *"
            ]
        ),
        "[0-9*/,]{1,5} [0-9*]{1,2} \\* \\* [0-6]".prop_map(|schedule| ("schedule", schedule)),
        of("time-zone", &["Europe/Rome", "Etc/GMT+5", "EST", "utc"]),
        of(
            "rule",
            &[
                "dbSizeFree > 100*1024*1024",
                "dbQuotaUsage > 0.5 && dbSizeFree > 50*1024*1024 // often",
                "dbSize - dbSizeInUse > .5e9"
            ]
        ),
        of("quota-usage-above", &["70%", "0.85"]),
        of("free-above", &["200Mi", "1G"]),
        of("free-share-above", &["50%", "0.333"]),
        of("suspend", &["true", "false"]),
        of("move-leader", &["false"]),
        of("auto-disalarm", &["true"]),
        of("disalarm-below", &["85.5%", "0.000001"]),
        of("compaction", &["true", "false"]),
        of("wait-between-members", &["0s", "1.5h", "1ns"]),
        of("command-timeout", &["60s", "24h", "61.5s"]),
        of("service", &["a", "x0-9"]),
        of("client-port", &["1", "65535"]),
        of("cluster-domain", &["k8s.example.org", "cluster.local"]),
        of("endpoints", &["http://[2001:db8::1]:2379", "https://a.b:1,https://a.c:2"]),
        of("ca-secret", &["ca", "ca.with.dots:a_b-c.pem"]),
        of("client-secret", &["client:tls.crt,tls.key"]),
        of("username-secret", &["root:user,password"]),
    ]
}

/// A StatefulSet of some chart, with some settings, under some name.
fn object() -> impl Strategy<Value = Value> {
    let name = prop_oneof!["[a-z]([a-z0-9-]{0,30}[a-z0-9])?", "[a-z]{40,60}", "[a-z]{1,5}\\.[a-z]{1,60}"];
    let settings = proptest::collection::vec(setting(), 0..5);
    (proptest::sample::select(CHARTS), name, settings, proptest::option::of(0..8)).prop_map(
        |((_, yaml), name, settings, replicas)| {
            let mut object: Value = serde_saphyr::from_str(yaml).unwrap();
            object["metadata"]["name"] = json!(name);
            object["metadata"]["labels"]["etcd-defrag.io/enabled"] = json!("true");
            if let Some(replicas) = replicas {
                object["spec"]["replicas"] = json!(replicas);
            }
            for (key, value) in settings {
                object["metadata"]["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
            }
            object
        },
    )
}

#[tokio::test]
async fn the_cronjob_of_any_sound_statefulset_is_accepted_and_its_pod_is_restricted() {
    let world = world();
    let ns = namespace(&world.plane, "sound-all");
    // Without it, no pod is admitted.
    eventually("the service account of a new namespace", SOON, || ns.get("serviceaccount", "default"));
    let client = client(world.plane.kubeconfig()).await;
    let cronjobs = Api::<CronJob>::namespaced(client.clone(), &ns.name);
    let pods = Api::<Pod>::namespaced(client, &ns.name);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let seed = [7; 32];
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let (mut accepted, mut tried) = (0, 0);
    while accepted < CASES {
        tried += 1;
        assert!(tried < 100 * CASES, "only {accepted} of {tried} objects are sound");
        let mut object = object().new_tree(&mut runner).unwrap().current();
        object["metadata"]["namespace"] = json!(ns.name);
        let judged: StatefulSet = serde_json::from_value(object.clone()).unwrap();
        let assessment = assess(&judged, &Governing::built_in(), &Surroundings::nothing(), Timestamp::now());
        let Some(built) = assessment.cronjob().cloned() else { continue };
        accepted += 1;
        let stored = cronjobs.create(&dry, &built).await.unwrap_or_else(|error| panic!("{error}\n{object:#}"));
        let (built, stored) = (serde_json::to_value(&built).unwrap(), serde_json::to_value(&stored).unwrap());
        assert_eq!(built["spec"], stored["spec"], "the API server changed something, so each comparison would differ");
        let template = &built["spec"]["jobTemplate"]["spec"]["template"];
        let mut pod = template.clone();
        pod["metadata"]["name"] = json!("tried");
        let pod: Pod = serde_json::from_value(pod).unwrap();
        pods.create(&dry, &pod).await.unwrap_or_else(|error| panic!("{error}\n{object:#}"));
    }
    println!("{accepted} CronJobs and pods accepted, of {tried} objects judged");
}

#[tokio::test]
async fn every_time_zone_agrees_with_the_api_server() {
    let world = world();
    let api = Api::<CronJob>::namespaced(client(world.plane.kubeconfig()).await, "default");
    let zones = [
        "UTC",
        "utc",
        "Etc/UTC",
        "Etc/GMT+5",
        "GMT+5",
        "EST",
        "EST5EDT",
        "Z",
        "+05:00",
        "Local",
        "local",
        "LOCAL",
        "",
        " ",
        "Europe/Rome",
        "europe/rome",
        "Europe/Rome ",
        "America/Argentina/Buenos_Aires",
        "Antarctica/DumontDUrville",
        "Asia/Kathmandu",
        "CET+1",
        "-UTC",
        "../UTC",
        "./UTC",
        "Europe//Rome",
        "Europe/",
        "/Europe",
        "US/Pacific-New",
        "Factory",
        "Etc/GMT-14",
        "Pacific/Apia",
        "A/VeryLongPartOfAZone",
    ];
    let mut disagreements = Vec::new();
    for zone in zones {
        let ours = TimeZone::parse(zone).is_ok();
        if ours != asked(&api, "0 0 * * *", Some(zone)).await {
            disagreements.push(format!("{zone:?}: we say {ours}"));
        }
    }
    assert_eq!(disagreements, Vec::<String>::new());
}
