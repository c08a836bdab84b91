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

/// The same with the label.
fn enrolled(manifest: &str) -> String {
    manifest.replace("namespace: db", "namespace: db, labels: {etcd-defrag.io/enabled: 'true'}")
}

/// The same with another program and image.
fn no_etcd(manifest: &str) -> String {
    manifest.replace("[etcd, ", "[other, ").replace("name: etcd", "name: app").replace("coreos/etcd", "x/y")
}

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
    let refused = refused.replace("namespace: db", "namespace: db-2");
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
    let other = no_etcd(ETCD);
    let silent = check("opted-out", &[("a.yaml", &out), ("b.yaml", &other)]);
    assert_eq!((codes(&silent.objects[0]), codes(&silent.objects[1])), (Vec::new(), Vec::new()));
}

#[test]
fn settings_that_nobody_reads_are_named() {
    let on_pods = ETCD.replace("labels: {app: meta}", "labels: {etcd-defrag.io/enabled: 'true'}");
    let without = ETCD.replace("namespace: db", "namespace: db, annotations: {etcd-defrag.io/schedule: '0 3 * * *'}");
    let both = enrolled(&on_pods);
    let elsewhere = no_etcd(&without);
    let [without, both, elsewhere] = [(without, 2), (both, 3), (elsewhere, 4)]
        .map(|(text, number)| text.replace("namespace: db", &format!("namespace: db-{number}")));
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

/// The size of a claim that is there counts, where the manifest of it is among the files.
#[test]
fn the_claim_of_the_database_is_measured() {
    let etcd = enrolled(ETCD)
        .replace(
            "http://$(POD):2379",
            "http://$(POD).meta.db.svc:2379', '--data-dir=/data', '--quota-backend-bytes=8589934592",
        )
        .replace(
            "    spec:\n      containers",
            "    spec:\n      volumes: [{name: data, persistentVolumeClaim: {claimName: disk}}]\n      containers",
        )
        .replace("        command:", "        volumeMounts: [{name: data, mountPath: /data}]\n        command:");
    let claim = |namespace: &str, size: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: disk, namespace: {namespace}}}\nspec: {{resources: {{requests: {{storage: {size}}}}}}}\n"
        )
    };
    for (name, claim, found) in [
        ("claim-small", claim("db", "1Gi"), &["deny volume-too-small"][..]),
        ("claim-large", claim("db", "20Gi"), &[]),
        ("claim-elsewhere", claim("other", "1Gi"), &[]),
        ("claim-of-any-size", claim("db", "[1]"), &[]),
    ] {
        let checked = check(name, &[("a.yaml", &etcd), ("b.yaml", &claim)]);
        assert_eq!(codes(&checked.objects[0]), found, "{name}");
    }
}

/// A Deployment that runs an etcd is no StatefulSet, whatever its label says.
#[test]
fn the_label_on_another_kind_is_named() {
    let labelled = enrolled(ETCD);
    let deployment = labelled.replace("kind: StatefulSet", "kind: Deployment");
    let without = ETCD.replace("kind: StatefulSet", "kind: Deployment");
    let proxy = no_etcd(&deployment);
    let checked = check("other-kind", &[("a.yaml", &deployment), ("b.yaml", &without), ("c.yaml", &proxy)]);
    assert_eq!(checked.code, 0);
    // Nothing that only a StatefulSet can have has an effect on a Deployment, whatever that runs.
    assert_eq!(checked.objects.as_array().map(Vec::len), Some(2));
    assert_eq!(codes(&checked.objects[1]), ["warn setting-unread"]);
    assert_eq!(
        (codes(&checked.objects[0])[0].as_str(), &checked.objects[0]["kind"]),
        ("warn setting-unread", &"Deployment".into())
    );
    assert!(checked.screen.contains("Deployment db/meta: warn setting-unread"), "{}", checked.screen);
    assert!(
        checked.screen.ends_with("0 StatefulSets, 0 enrolled, 0 refused: 0 denials, 2 warnings\n"),
        "{}",
        checked.screen
    );
}

#[test]
fn what_cannot_be_read_does_not_end_the_judgement_of_the_rest() {
    let labelled = enrolled(ETCD);
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
        (
            "of-other-pods",
            selecting("app: other").replace("meta-client", "meta"),
            &["warn members-hidden", "warn members-unresolved"],
        ),
        ("of-our-pods", selecting("app: meta").replace("meta-client", "meta"), &["warn members-hidden"]),
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

/// A CronJob with a container of this image, command and mounts, and with these volumes.
fn cronjob(image: &str, command: &str, volumes: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: nightly, namespace: db}}\nspec:\n  schedule: '@daily'\n  jobTemplate:\n    \
         spec:\n      template:\n        spec:\n          restartPolicy: Never\n          containers: [{{name: a, image: {image}, \
         command: {command}, volumeMounts: [{{name: v, mountPath: /v}}]}}]\n          volumes: [{{name: v, {volumes}}}]\n"
    )
}

#[test]
fn a_cronjob_that_defragments_is_found_by_what_it_shares_with_the_etcd() {
    let etcd = |volumes: &str| {
        enrolled(ETCD).replace("http://$(POD):2379", "http://$(POD).meta.db.svc:2379").replace(
            "    spec:\n      containers",
            &format!("    spec:\n      volumes: [{{name: v, {volumes}}}]\n      containers"),
        )
    };
    let secret = "secret: {secretName: etcd-client}";
    let map = "configMap: {name: bin}";
    let script = |text: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: bin, namespace: db}}\ndata: {{run.sh: '{text}'}}\n")
    };
    let launcher = cronjob("x/etcd-launcher:v1", "[/etcd-launcher, defrag, --cluster=one]", secret);
    let runs = cronjob("registry.k8s.io/etcd-amd64:3.5.21", "[/v/run.sh]", map);
    let (rival, nothing) = (&["warn rival-defragmenter"][..], &[][..]);
    for (name, files, found, part) in [
        (
            "launcher",
            vec![etcd(secret), launcher.clone()],
            rival,
            "reads the Secret \"etcd-client\", as this etcd does",
        ),
        ("launcher-of-another", vec![etcd(map), launcher.clone()], nothing, ""),
        ("launcher-elsewhere", vec![etcd(secret), launcher.replace("namespace: db", "namespace: other")], nothing, ""),
        ("script-out-of-view", vec![etcd(map), runs.clone()], rival, "runs a script that is not read here"),
        ("script-of-another", vec![etcd(secret), runs.clone()], nothing, ""),
        (
            "script-that-defragments",
            vec![etcd(map), runs.clone(), script("etcdctl defrag")],
            rival,
            "defragments an etcd",
        ),
        ("script-that-compacts", vec![etcd(map), runs.clone(), script("etcdctl compact 7")], nothing, ""),
        ("script-that-saves", vec![etcd(map), runs.replace("run.sh", "backup.sh")], nothing, ""),
    ] {
        let stream = files.join("---\n");
        let checked = check(&format!("cronjob-{name}"), &[("a.yaml", &stream)]);
        let expected: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!((checked.code, codes(&checked.objects[0])), (0, expected), "{name}: {}", checked.errors);
        assert!(checked.objects[0].to_string().replace("\\\"", "\"").contains(part), "{name}: {}", checked.objects[0]);
    }
}
