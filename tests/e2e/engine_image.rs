//! The image of the engine follows the installed release, and one that a policy names stays.

use std::time::Duration;

use etcd_defrag_webhook::defrag::{engine, policy};
use serde_json::{Value, json};

use super::policies::manifest;
use harness::{ControlPlane, Serve, ServeOptions, eventually, example_etcd};

const SOON: Duration = Duration::from_mins(1);
const NAMESPACE: &str = "engines";
/// What the definition of earlier releases stored in each policy.
const FORMER: &str = "ghcr.io/ahrtr/etcd-defrag:v0.42.0";
const OTHER: &str = "ghcr.io/ahrtr/etcd-defrag:v0.41.0";
const PINNED: &str =
    "ghcr.io/ahrtr/etcd-defrag:v0.42.0@sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// The definition as it was while it had a default for the image.
fn former_definition() -> Value {
    let mut crd = serde_json::to_value(policy::crd()).unwrap();
    let job = crd
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/job")
        .expect("the schema of job");
    job["default"]["image"] = json!(FORMER);
    job["properties"]["image"]["default"] = json!(FORMER);
    crd
}

fn define(plane: &ControlPlane, crd: &Value) {
    let applied = plane.kubectl_stdin(["apply", "--server-side", "-f", "-"], &crd.to_string());
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    plane.wait_established("defragpolicies.etcd-defrag.io");
}

/// Makes a policy and the etcd of the same name, which it governs.
fn govern(plane: &ControlPlane, name: &str, mut spec: Value) {
    spec["selector"] = json!({"matchLabels": {"tier": name}});
    plane.apply(&manifest(name, &spec));
    let mut etcd = example_etcd(NAMESPACE, name, &[]);
    etcd["metadata"]["labels"]["tier"] = json!(name);
    plane.apply(&etcd.to_string());
}

#[track_caller]
fn runs(plane: &ControlPlane, name: &str, image: &str) {
    eventually(&format!("the CronJob of {name} to run {image}"), SOON, || {
        let cronjob = plane.get(&["-n", NAMESPACE, "cronjob", &format!("{name}-defrag-job")])?;
        let found = &cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"];
        (found == image).then_some(())
    });
}

/// What the status says of the image: whether it follows, the reason, and the image.
#[track_caller]
fn tells(plane: &ControlPlane, name: &str, follows: &str, reason: &str, image: &str) {
    eventually(&format!("the status of {name} to say {reason} {image}"), SOON, || {
        let status = plane.get(&["defragpolicy", name])?["status"].clone();
        let conditions = status["conditions"].as_array()?;
        let told = conditions.iter().find(|one| one["type"] == "EngineFollowsRelease")?;
        (told["status"] == follows && told["reason"] == reason && status["engineImage"] == image).then_some(())
    });
}

#[test]
fn an_upgrade_moves_the_engine_of_policies_that_name_none_and_of_stored_defaults() {
    let plane = ControlPlane::start();
    plane.kubectl_ok(&["create", "namespace", NAMESPACE]);
    let release = |image: Option<&str>| {
        let args = image.map(|image| format!("--engine-image={image}")).into_iter().collect();
        Serve::start_with(&plane, &ServeOptions { args, ..ServeOptions::default() })
    };

    define(&plane, &former_definition());
    govern(&plane, "stored", json!({}));
    govern(&plane, "other", json!({"job": {"image": OTHER}}));
    govern(&plane, "pinned", json!({"job": {"image": PINNED}}));
    let stored = || plane.get(&["defragpolicy", "stored"]).unwrap()["spec"]["job"]["image"].clone();
    assert_eq!(stored(), FORMER, "the definition of earlier releases stores it");

    define(&plane, &serde_json::to_value(policy::crd()).unwrap());
    eventually("the definition to be served", SOON, || {
        let made =
            plane.kubectl_stdin(["create", "--dry-run=server", "-o", "json", "-f", "-"], &manifest("try", &json!({})));
        let made: Value = serde_json::from_slice(&made.stdout).ok()?;
        made["spec"]["job"]["image"].is_null().then_some(())
    });
    govern(&plane, "new", json!({}));
    let none = plane.get(&["defragpolicy", "new"]).unwrap()["spec"]["job"]["image"].clone();
    assert_eq!(none, Value::Null, "this one stores none");
    let before = release(None);
    for (name, image) in [("stored", engine::IMAGE), ("new", engine::IMAGE), ("other", OTHER), ("pinned", PINNED)] {
        runs(&plane, name, image);
    }
    tells(&plane, "stored", "True", "StoredDefault", engine::IMAGE);
    tells(&plane, "new", "True", "NotSet", engine::IMAGE);
    assert!(before.stop());

    // The next release knows a newer one; an installation may say so itself.
    let next = "ghcr.io/ahrtr/etcd-defrag:v0.43.0";
    let after = release(Some(next));
    for (name, image) in [("stored", next), ("new", next), ("other", OTHER), ("pinned", PINNED)] {
        runs(&plane, name, image);
    }
    tells(&plane, "stored", "True", "StoredDefault", next);
    tells(&plane, "new", "True", "NotSet", next);
    tells(&plane, "other", "False", "SetByPolicy", OTHER);
    tells(&plane, "pinned", "False", "SetByPolicy", PINNED);
    assert_eq!(stored(), FORMER, "nobody rewrites a policy");
    assert!(after.stop());
}
