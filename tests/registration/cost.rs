//! What the conditions of the webhook configurations cost the API server, on objects that are as large as they can be.
//!
//! Nobody is behind the webhooks, and no controller runs: what is measured is the writes and the conditions alone.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use axum::http::{Method, Request, header::CONTENT_TYPE};
use etcd_defrag_webhook::admission::registration::{Registration, Target};
use http_body_util::BodyExt as _;
use kube::Client;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::statefulset;
use harness::{CONTROLLER_MANAGER, ControlPlane, client};

/// How often each write is made, with the webhooks and without them.
const TIMES: u32 = 3;

/// One evaluation of the conditions of one entry may take so long, in seconds, on any object and on a machine that is busy. With
/// conditions that went through every key, one took 30 s.
const MOST_SECONDS: f64 = 0.25;

const STATEFULSETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";

/// The writes that are none of our business, by name: path after the object's name, and a body with `@` in place of a number.
const WRITES: [(&str, &str, &str); 4] = [
    ("an edit of the specification", "", r#"{"spec":{"minReadySeconds":@}}"#),
    ("a write of the status", "/status", r#"{"status":{"observedGeneration":@,"replicas":0}}"#),
    ("another annotation", "", r#"{"metadata":{"annotations":{"example.com/note":"@"}}}"#),
    ("another label", "", r#"{"metadata":{"labels":{"example.com/note":"@"}}}"#),
];

async fn ask(client: &Client, method: Method, path: &str, kind: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, kind).body(body.into()).unwrap();
    let (head, body) = client.send(request).await.unwrap().into_parts();
    (head.status.as_u16(), body.collect().await.unwrap().to_bytes().to_vec())
}

/// So many short keys without values, which is the most of them that so many bytes can hold.
fn small(prefix: &str, count: usize) -> Map<String, Value> {
    (0..count).map(|number| (format!("{prefix}{number:04x}"), json!(""))).collect()
}

/// The samples of a metric of the API server, by their labels.
async fn metric(client: &Client, name: &str) -> BTreeMap<String, f64> {
    let (status, body) = ask(client, Method::GET, "/metrics", "application/json", Vec::new()).await;
    assert_eq!(status, 200);
    let text = String::from_utf8(body).unwrap();
    let samples = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} "));
    samples.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
}

/// The median of some writes of one kind.
async fn median(client: &Client, object: &str, (what, path, body): (&str, &str, &str), first: u32) -> Duration {
    let mut times = Vec::new();
    for number in first..first + TIMES {
        let body = body.replace('@', &number.to_string()).into_bytes();
        let path = format!("{STATEFULSETS}/{object}{path}");
        let begun = Instant::now();
        let (status, answer) = ask(client, Method::PATCH, &path, "application/merge-patch+json", body).await;
        assert_eq!(status, 200, "{what} of {object}: {}", String::from_utf8_lossy(&answer));
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

/// 1.4 MB of labels, which have no limit but that of the object, and 256 KiB of annotations.
#[tokio::test]
async fn the_conditions_cost_no_write_much_and_never_fail_whatever_an_object_carries() {
    let plane = ControlPlane::start();
    plane.component(CONTROLLER_MANAGER).stop();
    let client = client(plane.kubeconfig()).await;
    let mut sizes = Vec::new();
    for (name, prefix, labels, annotations) in [
        ("plain", "k", 0, 0),
        ("labels-quarter", "k", 31_500, 0),
        ("labels", "k", 126_000, 0),
        ("annotations", "k", 0, 52_000),
        ("ours", "etcd-defrag.io/k", 30_000, 13_000),
        // The most that is gone through.
        ("scanned", "etcd-defrag.io/k", 998, 998),
    ] {
        let mut labels = small(prefix, labels);
        labels.insert("etcd-defrag.io/enabled".to_owned(), json!("true"));
        let mut object: Value =
            serde_json::from_str(&statefulset(name, &labels.into(), &small(prefix, annotations).into())).unwrap();
        object["spec"]["replicas"] = json!(0);
        // Who writes which field is as long again as the fields.
        object["metadata"]["managedFields"] = json!([{}]);
        let body = object.to_string().into_bytes();
        sizes.push((name, object["metadata"].to_string().len()));
        let (status, answer) = ask(&client, Method::POST, STATEFULSETS, "application/json", body).await;
        assert_eq!(status, 201, "{name}: {}", String::from_utf8_lossy(&answer));
    }
    let mut bare = BTreeMap::new();
    for (name, _) in &sizes {
        for write in WRITES {
            bare.insert((*name, write.0), median(&client, name, write, 1).await);
        }
    }

    let target = Target::Url("https://127.0.0.1:1".to_owned());
    let registration = Registration { target, ca_bundle: None, exempt_namespaces: Vec::new() };
    plane.apply(&serde_saphyr::to_string(&registration.mutating()).unwrap());
    plane.apply(&serde_saphyr::to_string(&registration.validating()).unwrap());
    harness::eventually("the configurations to be in force", Duration::from_secs(20), || {
        let change = ["annotate", "--dry-run=server", "statefulset/plain", "etcd-defrag.io/schedule=1 1 * * *"];
        (!plane.kubectl(change).status.success()).then_some(())
    });

    let mut table = String::new();
    for (name, bytes) in &sizes {
        for write in WRITES {
            let (without, with) = (bare[&(*name, write.0)], median(&client, name, write, 1000).await);
            let _ = writeln!(
                table,
                "{name:<15} {bytes:>8} bytes, {:<29} {without:>7.0?} without, {with:>7.0?} with",
                write.0
            );
        }
    }
    // Lists that a pod template can make long.
    let words = json!(vec!["-v"; 60_000]);
    let variables: Value = (0..20_000).map(|number| json!({"name": format!("V{number}")})).collect();
    let containers: Value = (0..5_000).map(|number| json!({"name": format!("c{number}"), "image": "x"})).collect();
    let most: Vec<Value> = (0..64)
        .map(|number| {
            let variables: Vec<Value> =
                (0..250).map(|number| json!({"name": format!("V{number}"), "value": "x"})).collect();
            json!({"name": format!("c{number}"), "image": "x", "args": vec!["-v"; 250], "env": variables})
        })
        .collect();
    for (what, containers) in [
        ("arguments", json!([{"name": "a", "image": "x", "args": words}])),
        ("variables", json!([{"name": "a", "image": "x", "env": variables}])),
        ("containers", containers),
        // The most that is gone through, and none of it speaks of an etcd.
        ("of all", most.into()),
    ] {
        let mut object: Value = serde_json::from_str(&statefulset("big", &json!({}), &json!({}))).unwrap();
        object["spec"]["template"]["spec"]["containers"] = containers;
        let path = format!("{STATEFULSETS}?dryRun=All");
        let begun = Instant::now();
        let (status, answer) = ask(&client, Method::POST, &path, "application/json", object.to_string().into()).await;
        assert_eq!(status, 201, "{what}: {}", String::from_utf8_lossy(&answer));
        let _ = writeln!(table, "a create with very many {what}: {:.0?}", begun.elapsed());
    }
    println!("{table}");
    let name = "apiserver_admission_match_condition_evaluation";
    let errors = metric(&client, &format!("{name}_errors_total")).await;
    assert!(errors.values().all(|count| *count == 0.0), "{errors:?}\n{table}");
    let (sums, counts) = (
        metric(&client, &format!("{name}_seconds_sum")).await,
        metric(&client, &format!("{name}_seconds_count")).await,
    );
    assert_eq!(sums.len(), counts.len());
    for (labels, sum) in &sums {
        println!("{:.6} s for {labels}", sum / counts[labels]);
        assert!(sum / counts[labels] < MOST_SECONDS, "{labels}\n{table}");
    }
    let entries = ["enroll", "mutate", "validate", "status"];
    assert!(entries.iter().all(|entry| sums.keys().any(|labels| labels.contains(&format!("\"{entry}.")))), "{sums:?}");
}
