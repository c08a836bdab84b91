//! From label to CronJob and back, whatever happens to either.

use std::time::Instant;

use serde_json::{Value, json};

use super::support::{etcd, namespace, stderr, unlabelled, world};

/// The CronJob that kamaji-etcd's defrag.sh makes, by its facts: names, arguments, root user.
pub(super) fn defrag_sh_cronjob(namespace: &str, etcd: &str, service: &str) -> Value {
    let endpoints: Vec<String> = (0..3)
        .map(|ordinal| format!("https://{etcd}-{ordinal}.{service}.{namespace}.svc.cluster.local:2379"))
        .collect();
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": format!("{etcd}-defrag-job"), "namespace": namespace},
        "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "OnFailure",
            "securityContext": {"runAsUser": 0},
            "containers": [{
                "name": "etcd-defrag", "image": "ghcr.io/ahrtr/etcd-defrag:v0.15.0",
                "args": [
                    format!("--endpoints={}", endpoints.join(",")),
                    "--cacert=/opt/certs/ca/ca.crt", "--cert=/opt/certs/root-client-certs/tls.crt",
                    "--key=/opt/certs/root-client-certs/tls.key", "--cluster", "--defrag-rule",
                    "dbQuotaUsage > 0.8 || dbSize - dbSizeInUse > 200*1024*1024",
                ],
                "volumeMounts": [
                    {"mountPath": "/opt/certs/root-client-certs", "name": "root-client-certs"},
                    {"mountPath": "/opt/certs/ca", "name": "certs"},
                ],
            }],
            "volumes": [
                {"name": "root-client-certs", "secret": {"secretName": format!("{etcd}-root-client-certs")}},
                {"name": "certs", "secret": {"secretName": format!("{etcd}-certs")}},
            ],
        }}}}},
    })
}

pub(super) fn foreign_cronjob(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": namespace},
        "spec": {"schedule": "1 1 * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "backup", "image": "example.org/backup:1"}],
        }}}}},
    })
}

#[test]
fn a_label_brings_the_cronjob_that_render_prints() {
    let world = world();
    let ns = namespace(&world.plane, "label");
    let object = etcd(&ns.name, "kamaji-etcd", &[("schedule", "14 9 * * 1-5"), ("time-zone", "Europe/Rome")]);
    ns.accepts(&object);
    let live = ns.cronjob("kamaji-etcd");

    let rendered = render(&object);
    assert_eq!(live["spec"], rendered["spec"], "the API server changed something, so each comparison would differ");
    let owner = &live["metadata"]["ownerReferences"][0];
    let statefulset = ns.get("statefulset", "kamaji-etcd").unwrap();
    assert_eq!(owner["uid"], statefulset["metadata"]["uid"]);
    assert_eq!(owner["controller"], json!(true));
    // It says itself that it was made: no Event has to.
    let made = live["metadata"]["annotations"]["etcd-defrag.io/created-at"].as_str().unwrap();
    made.parse::<jiff::Timestamp>().unwrap();
}

/// What `render` prints for an object: its CronJob.
fn render(object: &Value) -> Value {
    let mut command = std::process::Command::new(harness::binary());
    command
        .args(["render", "-o", "json", "-f", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), object.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let documents: Value = serde_json::from_slice(&output.stdout).unwrap();
    let items = documents.as_array().or_else(|| documents["items"].as_array()).expect("a list");
    items.iter().find(|item| item["kind"] == "CronJob").expect("a CronJob").clone()
}

#[test]
fn a_deleted_or_edited_cronjob_is_repaired() {
    let world = world();
    let ns = namespace(&world.plane, "repair");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    let before = ns.cronjob("e");

    ns.run(&["delete", "cronjob", "e-defrag-job", "--wait=false"]);
    let deleted = Instant::now();
    let again = ns.cronjob_that("e", "be made again", |now| now["metadata"]["uid"] != before["metadata"]["uid"]);
    println!("made again {} ms after its deletion", deleted.elapsed().as_millis());
    assert_eq!(again["spec"], before["spec"]);

    let edit = json!({"spec": {
        "schedule": "*/5 * * * *", "timeZone": "Etc/UTC",
        "jobTemplate": {"spec": {"backoffLimit": 6, "template": {"spec": {"hostNetwork": true, "containers": [
            {"name": "etcd-defrag", "command": ["sleep", "1"], "args": ["--cluster"]},
        ]}}}},
    }});
    ns.run(&["patch", "cronjob", "e-defrag-job", "-p", &edit.to_string()]);
    ns.cronjob_that("e", "be as it was", |now| now["spec"] == before["spec"]);
    ns.event("e", "Repaired");

    ns.run(&["label", "cronjob", "e-defrag-job", "team=platform"]);
    ns.run(&["label", "cronjob", "e-defrag-job", "app.kubernetes.io/managed-by-"]);
    let labelled = ns.cronjob_that("e", "carry our label again", |now| {
        now["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "etcd-defrag-webhook"
    });
    assert_eq!(labelled["metadata"]["labels"]["team"], "platform", "a label that is not ours was taken away");
}

/// What is created is kept under our name as an update, which an application does not take away. Without a server: `tests/model/calls.rs`.
#[test]
fn a_label_and_an_annotation_that_we_created_and_do_not_ask_for_any_more_go_with_a_change() {
    let world = world();
    let ns = namespace(&world.plane, "leftover");
    let change = |schedule: &str| {
        ns.accepts(&etcd(&ns.name, "e", &[("schedule", schedule)]));
        ns.cronjob_that("e", "follow the schedule", |now| now["spec"]["schedule"] == schedule)
    };
    change("1 1 * * *");
    // As a version before this one would have created it, before and after something was applied over it.
    let created = json!({"metadata": {
        "labels": {"old": "1"}, "annotations": {"etcd-defrag.io/old": "1", "etcd-defrag.io/last-on-demand": "kept"},
    }});
    let patch = created.to_string();
    for (first, second) in [("1 2 * * *", "1 3 * * *"), ("1 4 * * *", "1 5 * * *")] {
        ns.run(&[
            "patch",
            "cronjob",
            "e-defrag-job",
            "--type=merge",
            "--field-manager=etcd-defrag-webhook",
            "-p",
            &patch,
        ]);
        ns.run(&["label", "cronjob", "e-defrag-job", "team=platform", "--overwrite"]);
        change(first);
        change(second);
        let meta = ns.cronjob_that("e", "be without what nobody asks for", |now| {
            let (labels, notes) = (&now["metadata"]["labels"], &now["metadata"]["annotations"]);
            labels["old"].is_null() && notes["etcd-defrag.io/old"].is_null()
        });
        assert_eq!(
            meta["metadata"]["annotations"]["etcd-defrag.io/last-on-demand"], "kept",
            "what is noted beside stays"
        );
        assert_eq!(meta["metadata"]["labels"]["team"], "platform");
    }
}

#[test]
fn an_update_reaches_the_cronjob() {
    let world = world();
    let ns = namespace(&world.plane, "update");
    let mut object = etcd(&ns.name, "e", &[]);
    ns.accepts(&object);
    ns.cronjob("e");
    object["spec"]["replicas"] = json!(5);
    let text = object.to_string().replace("8589934592", "4294967296");
    ns.plane.apply(&text);
    ns.cronjob_that("e", "follow replicas and quota", |cronjob| {
        let args = cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
        args.contains("e-4.") && args.contains("--etcd-storage-quota-bytes=4294967296")
    });
}

#[test]
fn opting_out_and_in_again() {
    let world = world();
    let ns = namespace(&world.plane, "opt");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.cronjob("e");
    ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled-"]);
    ns.no_cronjob("e");
    ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled=true"]);
    ns.cronjob("e");
    ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled=false", "--overwrite"]);
    ns.no_cronjob("e");
}

#[test]
fn deleted_and_made_again_under_the_same_name() {
    let world = world();
    let ns = namespace(&world.plane, "again");
    let object = etcd(&ns.name, "e", &[]);
    ns.accepts(&object);
    let first = ns.cronjob("e");
    ns.run(&["delete", "statefulset", "e", "--wait=true"]);
    ns.accepts(&object);
    let uid = ns.get("statefulset", "e").unwrap()["metadata"]["uid"].clone();
    ns.cronjob_that("e", "belong to the new StatefulSet", |cronjob| {
        cronjob["metadata"]["ownerReferences"][0]["uid"] == uid && cronjob["metadata"]["deletionTimestamp"].is_null()
    });
    assert_ne!(first["metadata"]["ownerReferences"][0]["uid"], uid);
    ns.run(&["delete", "statefulset", "e"]);
    ns.no_cronjob("e");
}

#[test]
fn a_namespace_with_an_enrolled_etcd_can_be_deleted() {
    let world = world();
    let ns = namespace(&world.plane, "gone");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.cronjob("e");
    let output = world.plane.kubectl(["delete", "namespace", &ns.name, "--timeout=240s"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn scaling_to_zero_suspends_and_back_resumes() {
    let world = world();
    let ns = namespace(&world.plane, "scale");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.cronjob_that("e", "run", |cronjob| cronjob["spec"]["suspend"] == false);
    ns.run(&["scale", "statefulset", "e", "--replicas=0"]);
    ns.cronjob_that("e", "be suspended", |cronjob| cronjob["spec"]["suspend"] == true);
    ns.run(&["scale", "statefulset", "e", "--replicas=3"]);
    ns.cronjob_that("e", "run again", |cronjob| cronjob["spec"]["suspend"] == false);
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/suspend=true"]);
    ns.cronjob_that("e", "be suspended by annotation", |cronjob| cronjob["spec"]["suspend"] == true);
}

#[test]
fn the_cronjob_of_defrag_sh_is_adopted() {
    let world = world();
    let ns = namespace(&world.plane, "adopt");
    ns.plane.apply(&defrag_sh_cronjob(&ns.name, "kamaji-etcd", "kamaji-etcd").to_string());
    let theirs = ns.cronjob("kamaji-etcd");
    let object = etcd(&ns.name, "kamaji-etcd", &[("schedule", "14 9 * * 1-5"), ("time-zone", "Europe/Rome")]);
    ns.accepts(&object);
    let ours = ns.cronjob_that("kamaji-etcd", "be adopted", |cronjob| {
        cronjob["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet" && cronjob["spec"] == render(&object)["spec"]
    });
    assert_eq!(ours["metadata"]["uid"], theirs["metadata"]["uid"], "adopted means kept, with its history");
    insta::assert_snapshot!(ns.event("kamaji-etcd", "Adopted"));
}

#[test]
fn a_foreign_cronjob_is_never_touched() {
    let world = world();
    let ns = namespace(&world.plane, "theirs");
    ns.plane.apply(&foreign_cronjob(&ns.name, "e-defrag-job").to_string());
    let before = ns.cronjob("e");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    let note = ns.event("e", "CronJobForeign");
    assert!(note.contains("e-defrag-job"), "{note}");
    assert_eq!(ns.cronjob("e")["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled-"]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(ns.cronjob("e")["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
}

#[test]
fn our_cronjob_replaced_by_a_foreign_one_is_left_alone() {
    let world = world();
    let ns = namespace(&world.plane, "swap");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.cronjob("e");
    ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled=false", "--overwrite"]);
    ns.no_cronjob("e");
    ns.plane.apply(&foreign_cronjob(&ns.name, "e-defrag-job").to_string());
    ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled=true", "--overwrite"]);
    ns.event("e", "CronJobForeign");
    assert_eq!(ns.cronjob("e")["spec"]["schedule"], "1 1 * * *");
}

#[test]
fn the_label_can_be_there_before_the_object_is_known_to_us() {
    let world = world();
    let ns = namespace(&world.plane, "later");
    ns.accepts(&unlabelled(etcd(&ns.name, "e", &[])));
    assert!(ns.get("cronjob", "e-defrag-job").is_none());
    ns.run(&["label", "statefulset", "e", "etcd-defrag.io/enabled=true"]);
    ns.cronjob("e");
}
