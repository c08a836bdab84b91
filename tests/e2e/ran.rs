//! What a run did, by what its pod says. No node runs pods here, so each pod is made to end as one would.

use serde_json::{Value, json};

use super::{
    policies::with_definition,
    status::status,
    support::{Namespace, end_pod, etcd, namespace, stderr},
};

/// Makes a run of a CronJob, and has its pod end with this exit code and termination message.
fn run(ns: &Namespace<'_>, statefulset: &str, code: i32, message: &str) {
    let (job, from) = (format!("{statefulset}-run"), format!("--from=cronjob/{statefulset}-defrag-job"));
    ns.run(&["create", "job", &job, &from]);
    end_pod(ns, &job, code, message);
}

fn result(outcome: &str, did: &str, reason: &str) -> String {
    let member =
        |name: &str| json!({"name": name, "did": did, "sizeBefore": 100 << 20, "sizeAfter": 25 << 20, "seconds": 1.5});
    json!({"version": 1, "outcome": outcome, "members": [member("e-0"), member("e-1"), member("e-2")], "membersTotal": 3,
        "seconds": 34.5, "leaderFrom": "e-0", "leaderTo": "e-1", "reason": reason})
    .to_string()
}

#[test]
fn each_run_tells_what_it_did_and_one_that_was_put_off_is_no_failure() {
    let world = with_definition();
    let ns = namespace(&world.plane, "ran");
    world.plane.apply(
        &json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "ran"}, "spec": {
            "priority": 1000,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns.name}},
            "job": {"failureBudget": 1, "engine": "BuiltIn"},
        }})
        .to_string(),
    );
    let names = ["done", "quiet", "deferred", "failed"];
    for name in names {
        ns.accepts(&etcd(&ns.name, name, &[]));
        ns.governed(name, "ran");
    }
    run(&ns, "done", 0, &result("Done", "Defragmented", ""));
    run(&ns, "quiet", 0, "");
    run(&ns, "deferred", 75, &result("Deferred", "NotTouched", "e-1 is not healthy"));
    run(&ns, "failed", 1, "2026/01/01 00:00:00 Failed to get members' health info: context deadline exceeded");

    let done = ns.event("done", "Defragmented");
    assert!(done.contains("3 of 3 members, 225 MiB reclaimed, 34.5 s, leader moved from e-0 to e-1"), "{done}");
    assert!(ns.event("quiet", "RunSucceeded").contains("reports no details"));
    assert!(ns.event("deferred", "Deferred").contains("e-1 is not healthy"));
    assert!(ns.event("failed", "DefragmentationFailed").contains("context deadline exceeded"));
    let outcome = |name: &str, outcome: &'static str| {
        ns.cronjob_that(name, "say what its last run did", move |cronjob| {
            let note = cronjob["metadata"]["annotations"]["etcd-defrag.io/last-run"].as_str().unwrap_or_default();
            note.contains(&format!("\"outcome\":\"{outcome}\""))
        })
    };
    outcome("done", "Defragmented");
    outcome("quiet", "Succeeded");
    outcome("failed", "Failed");
    // The one that failed spends the budget; the one that was put off does not, though its Job failed as well.
    ns.cronjob_that("failed", "be suspended", |cronjob| cronjob["spec"]["suspend"] == true);
    let deferred = outcome("deferred", "Deferred");
    assert_eq!(deferred["spec"]["suspend"], false);
    assert_eq!(deferred["metadata"]["annotations"]["etcd-defrag.io/failed-runs"], Value::Null);
    let job = ns.get("job", "deferred-run").unwrap();
    let conditions = job["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|one| one["type"] == "Failed" && one["reason"] == "PodFailurePolicy"), "{job}");

    let events = ns.plane.get(&["events.events.k8s.io", "-n", &ns.name]).unwrap()["items"].clone();
    let changed = events.as_array().unwrap().iter().filter(|event| event["reason"] == "ChangedByCluster").count();
    assert_eq!(changed, 0, "what the API server makes of the policy of the Job is what was asked for");
    let output = status(&ns, &["-n", &ns.name, "-o", "json"]);
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(row("done")["lastRun"]["reclaimed"], 225 << 20);
    assert_eq!(
        (&row("deferred")["lastFailure"], &row("deferred")["lastRun"]["outcome"]),
        (&Value::Null, &json!("Deferred"))
    );
    assert!(row("failed")["lastFailure"].is_string());
    let output = status(&ns, &["-n", &ns.name, "-o", "wide"]);
    let wide = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = wide.lines().find(|line| line.starts_with("done ")).unwrap();
    assert!(line.contains(" 3/3 -225 MiB ") && line.contains(" done-run ") && line.contains(" 4.5s "), "{wide}");
}
