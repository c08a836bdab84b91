//! `check` in CI: folders, templates, and the forms that CI systems show.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the lints know test functions, but not the helpers of tests"
)]

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../examples/kamaji-etcd.yaml");

/// A folder as repositories have it: a manifest, others one level deeper, one of them in violation, and a chart.
fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let harmful = EXAMPLE.replace(
        "\nspec:\n  serviceName",
        "\n  annotations:\n    etcd-defrag.io/schedule: '0 3 31 2 *'\nspec:\n  serviceName",
    );
    assert_ne!(harmful, EXAMPLE);
    for (path, text) in [
        ("etcd.yaml", EXAMPLE),
        ("clusters/a/etcd.yaml", &harmful),
        ("clusters/a/notes.txt", "not read"),
        ("clusters/<b>/other.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"),
        (
            "chart/templates/sts.yaml",
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: {{ .Release.Name }}\n",
        ),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Runs the program in the folder.
fn run(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook"));
    command.args(args).current_dir(folder).env_clear().output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_a_folder_has_inside_is_read_or_named() {
    let folder = repository();
    let flat = run(folder.path(), &["check", "-f", "."]);
    assert_eq!(flat.status.code(), Some(0));
    let said = text(&flat.stderr);
    assert_eq!(
        said,
        "note: .: without -R, its subfolders are skipped: ./chart/templates/sts.yaml, \
         ./clusters/<b>/other.yaml, ./clusters/a/etcd.yaml\n"
    );
    let deep = run(folder.path(), &["check", "-R", "-f", "clusters"]);
    assert_eq!(deep.status.code(), Some(1), "{}", text(&deep.stderr));
    assert!(text(&deep.stdout).contains("clusters/a/etcd.yaml:"), "{}", text(&deep.stdout));
    let only = run(folder.path(), &["check", "-f", "clusters"]);
    assert_eq!(only.status.code(), Some(2));
    assert!(text(&only.stderr).contains("clusters has no *.yaml, *.yml or *.json file itself; with -R"));
}

#[test]
fn a_helm_template_is_recognised() {
    let folder = repository();
    let output = run(folder.path(), &["render", "-f", "chart/templates"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "error: chart/templates/sts.yaml:4: document 1: this is a Helm template and not a manifest; \
         render it first: helm template RELEASE CHART | etcd-defrag-webhook check -f -\n"
    );
}

/// With an object in violation, one with warnings only, and a file that cannot be read.
#[test]
fn findings_as_junit_and_as_annotations_of_github() {
    let folder = repository();
    for form in ["junit", "github"] {
        let output = run(folder.path(), &["check", "-R", "-f", ".", "-o", form]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("this is a Helm template"), "{}", text(&output.stderr));
        insta::assert_snapshot!(form, text(&output.stdout));
        let rejected = run(folder.path(), &["check", "-f", "clusters/a", "-o", form]);
        assert_eq!(rejected.status.code(), Some(1));
    }
    // Where nothing can be read, the form says so all the same.
    let none = run(folder.path(), &["check", "-f", "chart/templates", "-o", "junit"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text(&none.stdout).contains("tests=\"1\" failures=\"0\" errors=\"1\""), "{}", text(&none.stdout));
}

/// Writes one file beside the example.
fn file(name: &str, content: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), content).unwrap();
    fs::write(folder.path().join("etcd.yaml"), EXAMPLE).unwrap();
    folder
}

/// The example with these lines in its metadata.
fn with_metadata(lines: &str) -> String {
    let changed = EXAMPLE.replace("\nspec:\n  serviceName", &format!("\n{lines}\nspec:\n  serviceName"));
    assert_ne!(changed, EXAMPLE);
    changed
}

/// What is no text, and what is no YAML, is told what to write; what is proposed is accepted.
#[test]
fn what_to_write_in_place_of_what_cannot_be_read_is_accepted() {
    let mut seen = String::new();
    for (line, written) in [
        ("disalarm-below: .9", Some("disalarm-below: \"0.9\"")),
        ("client-port: 0x94b", Some("client-port: \"2379\"")),
        ("quota: 8_589_934_592", Some("quota: \"8589934592\"")),
        ("suspend: true", Some("suspend: \"true\"")),
        ("schedule: [0 3 * * *]", Some("schedule: \"0 3 * * *\"")),
        ("schedule: * 3 * * *", Some("schedule: \"* 3 * * *\"")),
        ("schedule: @daily", Some("schedule: \"@daily\"")),
        ("schedule: */30 3 * * *   # at night", Some("schedule: \"*/30 3 * * *\"")),
        ("schedule:", None),
        ("time-zone: ~", None),
        ("schedule: 5", None),
    ] {
        let folder = file("a.yaml", &with_metadata(&format!("  annotations:\n    etcd-defrag.io/{line}")));
        let output = run(folder.path(), &["check", "-f", "a.yaml"]);
        assert_eq!(output.status.code(), Some(2), "{line}");
        let said = text(&output.stderr);
        let _ = write!(seen, "{line}\n  {said}");
        let Some(written) = written else { continue };
        let value = written.split_once(": ").unwrap().1;
        assert!(
            said.contains(&format!("write {value}")) || said.contains(&format!("write etcd-defrag.io/{written}")),
            "{said}"
        );
        let corrected = with_metadata(&format!("  annotations:\n    etcd-defrag.io/{written}"));
        fs::write(folder.path().join("a.yaml"), corrected).unwrap();
        let after = run(folder.path(), &["check", "-f", "a.yaml"]);
        // That another finding refuses a schedule so frequent is another matter.
        assert_ne!(after.status.code(), Some(2), "{written}: {}", text(&after.stderr));
    }
    let twice =
        "  annotations:\n    etcd-defrag.io/schedule: \"0 3 * * *\"\n    etcd-defrag.io/schedule: \"0 4 * * *\"";
    for content in [with_metadata(twice), EXAMPLE.replace("kind: StatefulSet", "kind: Statefulset")] {
        let folder = file("a.yaml", &content);
        let output = run(folder.path(), &["check", "-f", "a.yaml"]);
        assert_eq!(output.status.code(), Some(2));
        seen.push_str(&text(&output.stderr));
    }
    insta::assert_snapshot!("unreadable", seen);
}

/// GitHub shows what cannot be read at its line.
#[test]
fn what_cannot_be_read_has_its_place_in_annotations_of_github() {
    let folder = file("broken.yaml", "kind: A\nx: [1\n");
    let output = run(folder.path(), &["check", "-f", "broken.yaml", "missing.yaml", "-o", "github"]);
    assert_eq!(output.status.code(), Some(2));
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("::error file=broken.yaml,line=2,title=unreadable::broken.yaml:2: "), "{lines:?}");
    assert!(
        lines[1].starts_with("::error file=missing.yaml,title=unreadable::cannot read missing.yaml: "),
        "{lines:?}"
    );
}

/// The codes and fields that `check` finds.
fn found(folder: &Path, args: &[&str]) -> Vec<(String, String)> {
    let output = run(folder, &[&["check", "-o", "json"], args].concat());
    let objects: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let findings = objects.iter().flat_map(|object| object["findings"].as_array().unwrap());
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    findings.map(|finding| (text(&finding["code"]), text(&finding["field"]))).collect()
}

/// Settings where nobody reads them, in any object and in any field, and nothing of what others write.
#[test]
fn settings_in_the_wrong_place_are_found() {
    let other = |kind: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: {kind}\nmetadata:\n  name: x\n  namespace: kamaji-system\n  annotations:\n    etcd-defrag.io/schedule: \"0 3 * * *\"\n{more}"
        )
    };
    let labelled = "apiVersion: v1\nkind: Service\nmetadata: {name: x, labels: {etcd-defrag.io/enabled: \"true\"}}\n";
    let same = with_metadata("  annotations:\n    etcd-defrag.io/schedule: \"0 3 * * *\"");
    let annotation = "metadata.annotations[etcd-defrag.io/schedule]";
    for (content, field) in [
        (other("Service", ""), Some(annotation)),
        (other("CronJob", ""), Some(annotation)),
        (other("Pod", "spec: {containers: []}\n"), Some(annotation)),
        // What a controller made of a template.
        (other("Pod", "  ownerReferences: [{kind: StatefulSet, name: etcd}]\n"), None),
        // What a set of objects has in common with the StatefulSet, where it is read.
        (labelled.to_owned(), None),
        (format!("{same}---\n{}", other("Service", "")), None),
        (other("Namespace", ""), None),
        (
            with_metadata("  annotation:\n    etcd-defrag.io/schedule: \"0 3 * * *\""),
            Some("metadata.annotation[etcd-defrag.io/schedule]"),
        ),
        (with_metadata("  etcd-defrag.io/schedule: \"0 3 * * *\""), Some("metadata[etcd-defrag.io/schedule]")),
        (
            with_metadata("annotations:\n    etcd-defrag.io/schedule: \"0 3 * * *\""),
            Some("annotations[etcd-defrag.io/schedule]"),
        ),
        (
            with_metadata("  annotations:\n    etcd-defrag/schedule: \"0 3 * * *\""),
            Some("metadata.annotations[etcd-defrag/schedule]"),
        ),
        (with_metadata("  annotations:\n    example.org/schedule: \"0 3 * * *\""), None),
    ] {
        let folder = file("a.yaml", &content);
        let both = found(folder.path(), &["-f", "a.yaml", "etcd.yaml"]);
        let unread: Vec<&str> =
            both.iter().filter(|(code, _)| code == "setting-unread").map(|(_, field)| field.as_str()).collect();
        assert_eq!(unread, Vec::from_iter(field), "{content}");
    }
    let folder = file("a.yaml", &[&other("Service", ""), labelled].join("---\n"));
    insta::assert_snapshot!("bystanders", text(&run(folder.path(), &["check", "-f", "a.yaml"]).stdout));
}

#[test]
fn a_statefulset_that_is_there_twice_is_named_with_both_places() {
    let folder = file("a.yaml", EXAMPLE);
    for args in [&["-f", "etcd.yaml", "-f", "etcd.yaml"][..], &["-f", "etcd.yaml", "a.yaml"], &["-f", "."]] {
        let twice = found(folder.path(), args).into_iter().filter(|(code, _)| code == "statefulset-twice").count();
        assert_eq!(twice, 1, "{args:?}");
    }
    let output = text(&run(folder.path(), &["check", "-f", "etcd.yaml", "a.yaml"]).stdout);
    let message = output.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(message.contains("at a.yaml:6 is at etcd.yaml:6 already."), "{output}");
    assert!(found(folder.path(), &["-f", "a.yaml"]).iter().all(|(code, _)| code != "statefulset-twice"));
}

/// Whatever in the input defragments the same etcd, by whatever name.
#[test]
fn rivals_among_the_manifests_are_found() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: etcd-client, namespace: kamaji-system}\nspec: {selector: {app.kubernetes.io/name: kamaji-etcd}}\n---\n";
    let cronjob = |namespace: &str, endpoints: &str, suspend: bool| {
        format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: r, namespace: {namespace}}}\nspec:\n  schedule: \"0 1 * * *\"\n  suspend: {suspend}\n  jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: x, image: 'quay.io/coreos/etcd:v3.6.12', command: [etcdctl, '--endpoints={endpoints}', defrag]}}]}}}}}}}}\n"
        )
    };
    let deployment = |endpoints: &str, replicas: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d, namespace: kamaji-system}}\nspec: {{replicas: {replicas}, template: {{spec: {{containers: [{{name: x, image: i, command: [sh, -c, 'while :; do etcdctl --endpoints={endpoints} defrag; sleep 9; done']}}]}}}}}}\n"
        )
    };
    let pod = "https://kamaji-etcd-1.kamaji-etcd.kamaji-system.svc.cluster.local:2379";
    let governing = "https://kamaji-etcd.kamaji-system.svc:2379";
    for (content, is_rival) in [
        (format!("{service}{}", cronjob("kamaji-system", "https://etcd-client:2379", false)), true),
        (cronjob("kamaji-system", "https://etcd-client:2379", false), false),
        (cronjob("ops", pod, false), true),
        (cronjob("ops", governing, false), true),
        (cronjob("ops", governing, true), false),
        // In another namespace these are other pods.
        (cronjob("ops", "https://kamaji-etcd-1.kamaji-etcd:2379", false), false),
        (cronjob("ops", "https://kamaji-etcd-1.kamaji-etcd.other.svc:2379", false), false),
        (deployment(pod, 1), true),
        (deployment(pod, 0), false),
        (deployment("https://other-0.other.kamaji-system.svc:2379", 1), false),
        (deployment(pod, 1).replace("defrag;", "status;"), false),
    ] {
        let folder = file("a.yaml", &content);
        let found = found(folder.path(), &["-f", "etcd.yaml", "a.yaml"]);
        assert_eq!(
            found.iter().filter(|(code, _)| code == "rival-defragmenter").count(),
            usize::from(is_rival),
            "{content}"
        );
    }
    let folder = file("a.yaml", &[cronjob("ops", pod, false), deployment(pod, 1)].join("---\n"));
    let output = text(&run(folder.path(), &["check", "-f", "etcd.yaml", "a.yaml"]).stdout);
    insta::assert_snapshot!("rivals", output);
}

#[test]
fn a_schedule_without_quotation_marks_is_told_to_have_them() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["explain", "schedule", "0", "3", "a", "b", "c"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("put it in quotation marks: explain schedule \"0 3 * * *\""),
        "{}",
        text(&output.stderr)
    );
    let zoned = run(folder.path(), &["explain", "schedule", "0 3 * * *", "--time-zone", "UTC"]);
    assert_eq!(zoned.status.code(), Some(0), "{}", text(&zoned.stderr));
}
