//! `check` and `render` on an etcd that is spread over several StatefulSets, and on one whose endpoints are those of another: each advice
//! is followed as the message has it.

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Value, json};

const ALL: &str =
    "http://etcd-a-0.etcd-a.db.svc:2379,http://etcd-b-0.etcd-b.db.svc:2379,http://etcd-c-0.etcd-c.db.svc:2379";
const NAMES: [&str; 3] = ["etcd-a", "etcd-b", "etcd-c"];

/// A StatefulSet of one member, with the label and the endpoints where there are any.
fn part(name: &str, label: Option<&str>, endpoints: Option<&str>, members: &[&str]) -> Value {
    let member = |name: &&str| format!("{name}-0=http://{name}-0.{name}.db.svc:2380");
    let members: Vec<String> = members.iter().map(member).collect();
    let etcd = json!({
        "name": "etcd", "image": "quay.io/coreos/etcd:v3.6.5",
        "command": ["etcd", "--name=$(POD)", "--data-dir=/data", "--quota-backend-bytes=2147483648", "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=5m", "--listen-client-urls=http://0.0.0.0:2379", format!("--initial-cluster={}", members.join(",")),
            format!("--advertise-client-urls=http://$(POD).{name}.db.svc:2379")],
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    let claim = json!({"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "20Gi"}}}});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"namespace": "db", "name": name, "labels": label.map(|label| json!({"etcd-defrag.io/enabled": label})),
            "annotations": endpoints.map(|urls| json!({"etcd-defrag.io/endpoints": urls}))},
        "spec": {"serviceName": name, "replicas": 1, "template": {"spec": {"containers": [etcd]}}, "volumeClaimTemplates": [claim]},
    })
}

/// One etcd on three StatefulSets, with these labels and endpoints.
fn spread(each: [(Option<&str>, Option<&str>); 3]) -> Vec<Value> {
    let parts = NAMES.iter().zip(each);
    parts.map(|(name, (label, endpoints))| part(name, label, endpoints, &NAMES)).collect()
}

/// The exit code of a command on these objects, and what it prints.
fn run(test: &str, command: &str, objects: &[Value], enrols_all: bool) -> (i32, Value) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("spread-{test}"));
    fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, value: &Value| {
        let path = folder.join(name);
        fs::write(&path, value.to_string()).unwrap();
        path.display().to_string()
    };
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let mut arguments =
        vec![command.to_owned(), "-o".to_owned(), "json".to_owned(), "-f".to_owned(), write("list.json", &list)];
    if enrols_all {
        let policy = json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "all"},
            "spec": {"enrollment": "All"}});
        arguments.extend(["--policy".to_owned(), write("policy.json", &policy)]);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook")).args(arguments).env_clear().output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

/// `name: severity code` for each StatefulSet and finding of a check.
fn findings(checked: &Value) -> Vec<String> {
    let objects = checked.as_array().unwrap().iter().filter(|object| object["kind"] != "DefragPolicy");
    let each = |object: &Value| {
        let findings = object["findings"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let name = text(&object["name"]);
        findings
            .map(|one| format!("{name}: {} {}", text(&one["severity"]), text(&one["code"])))
            .filter(|one| !one.contains("single-member"))
            .collect::<Vec<_>>()
    };
    objects.flat_map(each).collect()
}

/// The names of the CronJobs among what was rendered.
fn cronjobs(rendered: &Value) -> Vec<&str> {
    let items = rendered["items"].as_array().unwrap().iter().filter(|item| item["kind"] == "CronJob");
    items.map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

const ENROLLED: Option<&str> = Some("true");

#[test]
fn the_advice_on_members_elsewhere_is_followed_as_written() {
    let (code, checked) = run("advice", "check", &spread([(ENROLLED, None); 3]), false);
    assert_eq!(code, 1);
    let messages: Vec<&str> = (0..3)
        .map(|index| {
            checked[index]["findings"]
                .as_array()
                .unwrap()
                .iter()
                .find(|one| one["code"] == "members-elsewhere")
                .unwrap()["message"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert!(messages[0].contains("Enrol only this one: set etcd-defrag.io/endpoints here to \""), "{}", messages[0]);
    for message in &messages[1..] {
        assert!(message.contains("Enrol only the StatefulSet \"etcd-a\", which has the member etcd-a-0.etcd-a.db.svc: set etcd-defrag.io/endpoints there to"), "{message}");
        assert!(message.contains("etcd-defrag.io/enabled: \"false\" here"), "{message}");
    }
    let list = messages[1].split("there to \"").nth(1).unwrap().split('"').next().unwrap();
    let none = Vec::<String>::new();
    let opted_out = spread([(ENROLLED, Some(list)), (Some("false"), None), (Some("false"), None)]);
    let (code, checked) = run("advice", "check", &opted_out, false);
    assert_eq!((code, findings(&checked)), (0, none.clone()));
    let unlabelled = spread([(ENROLLED, Some(list)), (None, None), (None, None)]);
    for enrols_all in [false, true] {
        let (code, checked) = run("advice", "check", &unlabelled, enrols_all);
        assert_eq!((code, findings(&checked)), (0, none.clone()), "{enrols_all}");
        let (code, rendered) = run("advice", "render", &unlabelled, enrols_all);
        assert_eq!((code, cronjobs(&rendered)), (0, vec!["etcd-a-defrag-job"]), "{enrols_all}");
    }
}

#[test]
fn one_etcd_that_is_enrolled_three_times_has_one_cronjob() {
    let objects = spread([(ENROLLED, Some(ALL)); 3]);
    let (code, checked) = run("thrice", "check", &objects, false);
    let expected =
        ["etcd-a: warn members-elsewhere", "etcd-b: deny members-elsewhere", "etcd-c: deny members-elsewhere"];
    assert_eq!((code, findings(&checked)), (1, expected.map(str::to_owned).to_vec()));
    let (code, rendered) = run("thrice", "render", &objects, false);
    assert_eq!((code, cronjobs(&rendered)), (1, vec!["etcd-a-defrag-job"]));
}

#[test]
fn endpoints_of_another_etcd_make_no_cronjob_beside_its_own() {
    let other = "http://other-0.other.db.svc:2379";
    let objects = [part("etcd-a", ENROLLED, Some(other), &["etcd-a"]), part("other", ENROLLED, None, &["other"])];
    let (code, checked) = run("astray", "check", &objects, false);
    assert_eq!((code, findings(&checked)), (1, vec!["etcd-a: deny endpoints-mismatch".to_owned()]));
    let (code, rendered) = run("astray", "render", &objects, false);
    assert_eq!((code, cronjobs(&rendered)), (1, vec!["other-defrag-job"]));
}
