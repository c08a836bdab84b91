//! CronJobs that somebody else wrote: what they defragment, what was in force, and how they differ from ours.

use std::hint::black_box;

use etcd_defrag_webhook::defrag::{
    Surroundings, assess,
    cronjob::{drift::drift, live::Live},
    policy::{Governing, Policy},
};
use k8s_openapi::api::batch::v1::CronJob;
use serde_json::{Value, json};

use super::{
    LARGEST, NOW, adversary, read,
    work::{Alone, grows},
};

type Change = (&'static str, fn(&mut Value, usize));

const CHANGES: [Change; 9] = [
    ("arguments", |object, size| {
        container(object)["args"] = vec!["--endpoints=http://etcd-0.etcd:2379"; size / 40].into();
    }),
    ("hosts in one word", |object, size| {
        container(object)["args"] = json!([format!("etcdctl defrag {}", "a.".repeat(size / 2))]);
    }),
    ("numbers in one word", |object, size| {
        container(object)["args"] = json!([format!("etcdctl defrag {}", "a-1".repeat(size / 3))]);
    }),
    ("endpoints", |object, size| {
        container(object)["args"] = json!([format!("--endpoints={}", "http://e:1,".repeat(size / 11))]);
    }),
    ("a long record", |object, size| {
        object["metadata"]["annotations"]["etcd-defrag.io/in-force"] =
            format!("{{\"version\":1,\"rule\":\"{}\"}}", "x".repeat(size)).into();
    }),
    ("variables", |object, size| {
        container(object)["env"] =
            (0..size / 30).map(|n| json!({"name": format!("V{n}"), "value": "etcd-0"})).collect();
    }),
    ("volumes of scripts", |object, size| {
        let count = size / 200;
        container(object)["image"] = "etcd".into();
        container(object)["command"] = json!(["/v0/run.sh"]);
        container(object)["volumeMounts"] =
            (0..count).map(|n| json!({"name": format!("v{n}"), "mountPath": format!("/v{n}")})).collect();
        pod(object)["volumes"] =
            (0..count).map(|n| json!({"name": format!("v{n}"), "configMap": {"name": format!("m{n}")}})).collect();
    }),
    ("containers with scripts", |object, size| {
        let count = size / 200;
        let one = json!({"name": "a", "image": "etcd", "command": ["/v/run.sh"], "volumeMounts": [{"name": "v0", "mountPath": "/v"}]});
        pod(object)["containers"] = vec![one; count].into();
        pod(object)["volumes"] =
            (0..count).map(|n| json!({"name": format!("v{n}"), "configMap": {"name": format!("m{n}")}})).collect();
    }),
    ("labels of pods", |object, size| {
        let labels: serde_json::Map<String, Value> =
            (0..size / 20).map(|n| (format!("example.com/l{n}"), json!("x"))).collect();
        object["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"] = labels.into();
    }),
];

fn pod(object: &mut Value) -> &mut Value {
    &mut object["spec"]["jobTemplate"]["spec"]["template"]["spec"]
}

fn container(object: &mut Value) -> &mut Value {
    &mut pod(object)["containers"][0]
}

#[test]
fn a_cronjob_is_read_in_linear_time() {
    let alone = Alone::wait();
    let object = read(&adversary::etcd("args", vec!["--quota-backend-bytes=8589934592"]));
    let governing = Governing::built_in();
    let desired = assess(&object, &governing, &Surroundings::nothing(), NOW).cronjob().unwrap().clone();
    let limits = Policy::built_in().limits;
    let mut found = Vec::new();
    for ours in [true, false] {
        for (what, change) in CHANGES {
            let inputs = [8, 4, 2, 1].map(|part| {
                let mut live = serde_json::to_value(&desired).unwrap();
                if !ours {
                    live["metadata"]["labels"] = json!({});
                    live["metadata"]["annotations"] = json!({});
                    live["metadata"]["name"] = json!("rival");
                }
                change(&mut live, LARGEST / part);
                serde_json::from_value::<CronJob>(live).unwrap()
            });
            let growth = grows(&alone, &inputs, |live: &CronJob| {
                black_box(drift(live, &desired));
                let seen = Live::of(live.clone()).map(|live| [live]);
                for seen in seen.iter().flatten() {
                    black_box((seen.rivals(&object), seen.in_force(None, &limits)));
                }
                let around = Surroundings { cronjobs: seen.as_ref().map(|seen| &seen[..]), ..Surroundings::nothing() };
                black_box(assess(&object, &governing, &around, NOW));
            });
            found.extend(growth.map(|growth| format!("{what}: {growth}\n")));
        }
    }
    assert!(found.is_empty(), "faster than n log n:\n{}", found.concat());
}
