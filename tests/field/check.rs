//! `check` on what nobody has enrolled, and on input of which a part cannot be read.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

const ETCD: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: meta, namespace: db}
spec:
  serviceName: meta
  replicas: 3
  template:
    metadata:
      labels: {app: meta}
    spec:
      containers:
      - name: etcd
        image: quay.io/coreos/etcd:v3.6.5
        env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        command: [etcd, '--listen-client-urls=http://0.0.0.0:2379', '--advertise-client-urls=http://$(POD):2379']
";

struct Checked {
    code: i32,
    objects: Value,
    screen: String,
    errors: String,
}

/// What `check` makes of files with these texts; the last of several names is the folder.
fn check(name: &str, files: &[(&str, &str)]) -> Checked {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let mut arguments = Vec::new();
    for (file, text) in files {
        let path = folder.join(file);
        if !text.is_empty() {
            fs::write(&path, text).unwrap();
        }
        arguments.extend(["-f".to_owned(), path.display().to_string()]);
    }
    let run = |output: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook"));
        command.arg("check").args(&arguments).args(["-o", output]).env_clear().output().unwrap()
    };
    let (json, page) = (run("json"), run("text"));
    assert_eq!(json.status.code(), page.status.code());
    Checked {
        code: json.status.code().unwrap(),
        objects: serde_json::from_slice(&json.stdout).unwrap_or_default(),
        screen: String::from_utf8(page.stdout).unwrap(),
        errors: String::from_utf8(json.stderr).unwrap(),
    }
}

fn codes(object: &Value) -> Vec<String> {
    let findings = object["findings"].as_array().unwrap();
    findings.iter().map(|f| format!("{} {}", f["severity"].as_str().unwrap(), f["code"].as_str().unwrap())).collect()
}

#[test]
fn an_etcd_without_the_label_is_judged_as_if_it_had_it() {
    let refused = ETCD.replace(
        "--listen-client-urls=http://0.0.0.0:2379",
        "--quota-backend-bytes=8Gi','--listen-client-urls=http://0.0.0.0:2379",
    );
    let checked = check("unlabelled", &[("a.yaml", ETCD), ("b.yaml", &refused)]);
    assert_eq!(codes(&checked.objects[0]), ["warn not-enrolled", "warn advertised-unreachable"]);
    assert_eq!(codes(&checked.objects[1]), ["warn not-enrolled", "warn advertised-unreachable", "deny quota-invalid"]);
    assert_eq!(checked.objects[1]["enrolled"], false);
    // Nothing is refused that nobody asked for.
    assert_eq!(checked.code, 0);
    assert!(
        checked
            .screen
            .ends_with("0 enrolled, 0 refused: 0 denials, 0 warnings; 2 without the label, with what they would get: 1 denial, 4 warnings\n"),
        "{}",
        checked.screen
    );
    let out = ETCD.replace("namespace: db", "namespace: db, labels: {etcd-defrag.io/enabled: 'false'}");
    let other = ETCD.replace("[etcd, ", "[other, ").replace("name: etcd", "name: app").replace("coreos/etcd", "x/y");
    let silent = check("opted-out", &[("a.yaml", &out), ("b.yaml", &other)]);
    assert_eq!((codes(&silent.objects[0]), codes(&silent.objects[1])), (Vec::new(), Vec::new()));
}

#[test]
fn settings_that_nobody_reads_are_named() {
    let on_pods = ETCD.replace("labels: {app: meta}", "labels: {etcd-defrag.io/enabled: 'true'}");
    let without = ETCD.replace("namespace: db", "namespace: db, annotations: {etcd-defrag.io/schedule: '0 3 * * *'}");
    let both = on_pods.replace("namespace: db", "namespace: db, labels: {etcd-defrag.io/enabled: 'true'}");
    let elsewhere =
        without.replace("[etcd, ", "[other, ").replace("name: etcd", "name: app").replace("coreos/etcd", "x/y");
    let checked =
        check("unread", &[("a.yaml", &on_pods), ("b.yaml", &without), ("c.yaml", &both), ("d.yaml", &elsewhere)]);
    for index in [0, 1] {
        let found = codes(&checked.objects[index]);
        assert_eq!(found, ["warn not-enrolled", "warn setting-unread", "warn advertised-unreachable"], "{index}");
    }
    assert_eq!(codes(&checked.objects[2]), ["warn setting-unread", "warn advertised-unreachable"]);
    assert_eq!(codes(&checked.objects[3]), ["warn setting-unread"]);
    assert_eq!(checked.code, 0);
}

#[test]
fn what_cannot_be_read_does_not_end_the_judgement_of_the_rest() {
    let labelled = ETCD.replace("namespace: db", "namespace: db, labels: {etcd-defrag.io/enabled: 'true'}");
    let old = labelled.replace("apps/v1", "apps/v1beta1");
    let typed = labelled.replace("replicas: 3", "replicas: three");
    let stream = format!("{old}---{typed}---{labelled}");
    let checked = check("unreadable", &[("a.yaml", "a: [\n"), ("gone.yaml", ""), ("b.yaml", &stream)]);
    assert_eq!(checked.code, 2);
    assert_eq!(checked.objects.as_array().map(Vec::len), Some(1));
    assert_eq!(codes(&checked.objects[0]), ["warn advertised-unreachable"]);
    for part in ["a.yaml:", "gone.yaml", "apiVersion \"apps/v1beta1\"", "spec.replicas"] {
        assert!(checked.errors.contains(part), "{part} in {}", checked.errors);
    }
}

#[test]
fn what_is_wrong_with_the_service_is_seen_among_the_manifests() {
    let labelled = ETCD
        .replace("namespace: db", "labels: {etcd-defrag.io/enabled: 'true'}")
        .replace("http://$(POD):2379", "http://$(POD).meta.default.svc:2379")
        .replace("command: [etcd", "readinessProbe: {httpGet: {path: /health, port: 2381}}\n        command: [etcd");
    let service = |extra: &str| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: meta}}\nspec: {{clusterIP: None{extra}}}\n")
    };
    let elsewhere = service("").replace("{name: meta}", "{name: meta, namespace: other}");
    let address = service("").replace("clusterIP: None", "type: ClusterIP");
    let selecting =
        |labels: &str| service(&format!(", selector: {{{labels}}}")).replace("name: meta", "name: meta-client");
    for (name, service, found) in [
        ("hides", service(""), &["warn members-hidden"][..]),
        ("hides-and-says-so", service(", publishNotReadyAddresses: false"), &["warn members-hidden"]),
        ("publishes", service(", publishNotReadyAddresses: true"), &[]),
        ("elsewhere", elsewhere, &[]),
        ("has-an-address", address, &["warn members-unresolved"]),
        ("of-any-shape", "apiVersion: v1\nkind: Service\nspec: [1]\n".to_owned(), &[]),
        ("another", service("").replace("name: meta", "name: meta-client"), &[]),
        ("another-of-the-pods", selecting("app: meta"), &["warn members-unresolved"]),
        ("another-of-other-pods", selecting("app: meta, tier: db"), &[]),
        ("another-of-all-pods", selecting(""), &[]),
    ] {
        let checked = check(name, &[("a.yaml", &service), ("b.yaml", &labelled)]);
        assert_eq!(
            (checked.code, codes(&checked.objects[0])),
            (0, found.iter().map(ToString::to_string).collect()),
            "{name}"
        );
    }
}
