//! The real binary, as people and scripts run it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the lints know test functions, but not the helpers of tests"
)]

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

const EXAMPLE: &str = "examples/kamaji-etcd.yaml";

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// Runs with `input` on standard input.
fn feed(args: &[&str], input: &str) -> Output {
    let mut child = command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Standard error without the fire times, which depend on the day.
fn stderr(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.lines()
        .map(|line| match line.split_once("next runs ") {
            Some((before, _)) => format!("{before}next runs …\n"),
            None => format!("{line}\n"),
        })
        .collect()
}

/// Everything that a person sees.
fn screen(output: &Output) -> String {
    let code = output.status.code().unwrap();
    format!("exit code {code}\n--- standard output\n{}--- standard error\n{}", stdout(output), stderr(output))
}

fn example(change: impl Fn(String) -> String) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE)).unwrap();
    let changed = change(text.clone());
    assert_ne!(changed, text, "the change found nothing to change");
    changed
}

/// The example with annotations of ours.
fn annotated(annotations: &[(&str, &str)]) -> String {
    let lines: Vec<String> =
        annotations.iter().map(|(key, value)| format!("    etcd-defrag.io/{key}: {}\n", json!(value))).collect();
    let lines = lines.concat();
    example(|text| text.replace("\nspec:\n  serviceName", &format!("\n  annotations:\n{lines}spec:\n  serviceName")))
}

#[test]
fn render_shows_what_would_exist() {
    let output = run(&["render", "-f", EXAMPLE]);
    insta::assert_snapshot!(screen(&output));
    let parsed: Vec<Value> = serde_saphyr::from_multiple(&stdout(&output)).unwrap();
    let listed: Value = serde_json::from_slice(&run(&["render", "-o", "json", "-f", EXAMPLE]).stdout).unwrap();
    assert_eq!(listed, json!({"apiVersion": "v1", "kind": "List", "items": parsed}));
}

#[test]
fn render_changes_only_our_annotations() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE)).unwrap();
    let before: Value =
        serde_saphyr::from_str(&text.replace("kind: StatefulSet", "kind: StatefulSet\nfuture: {field: [1, 2.5]}"))
            .unwrap();
    let listed: Value =
        serde_json::from_slice(&feed(&["render", "-o", "json", "-f", "-"], &before.to_string()).stdout).unwrap();
    let mut after = listed["items"][0].clone();
    let annotations = after["metadata"].as_object_mut().unwrap().remove("annotations").unwrap();
    assert_eq!(after, before);
    assert!(annotations.as_object().unwrap().keys().all(|key| key.starts_with("etcd-defrag.io/")));
}

#[test]
fn render_is_a_fixed_point() {
    let once = stdout(&run(&["render", "-f", EXAMPLE]));
    let twice = stdout(&feed(&["render", "-f", "-"], &once));
    assert_eq!(once, twice);
}

#[test]
fn render_passes_the_rest_through_in_order() {
    let input = format!(
        "kind: A\n---\n{}---\nkind: B\nitems: 1\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: other}}\n",
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE)).unwrap()
    );
    let kinds = |args: &[&str]| -> Vec<String> {
        let output = feed(args, &input);
        assert_eq!(output.status.code(), Some(0), "{}", screen(&output));
        let parsed: Vec<Value> = serde_saphyr::from_multiple(&stdout(&output)).unwrap();
        parsed.iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&["render", "-f", "-"]), ["StatefulSet", "CronJob"]);
    assert_eq!(kinds(&["render", "--all", "-f", "-"]), ["A", "StatefulSet", "CronJob", "B", "StatefulSet"]);
}

#[test]
fn a_refused_statefulset_is_left_out_of_render() {
    let input = format!("{}---\n{}", annotated(&[("schedule", "0 3 31 2 *")]), annotated(&[("suspend", "true")]));
    let output = feed(&["render", "-f", "-"], &input);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(serde_saphyr::from_multiple::<Value>(&stdout(&output)).unwrap().len(), 2);
    assert!(stderr(&output).contains("deny schedule-never-fires"));
}

#[test]
fn check_tells_people_what_is_wrong() {
    let input = annotated(&[("shedule", "0 3 * * *"), ("schedule", "0 3 31 2 *"), ("suspend", "yes")]);
    insta::assert_snapshot!(screen(&feed(&["check", "-f", "-"], &input)));
}

#[test]
fn check_tells_programs_what_is_wrong() {
    let input = format!(
        "{}---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: other}}\n",
        annotated(&[("schedule", "0 3 31 2 *")])
    );
    let output = feed(&["check", "-o", "json", "-f", "-"], &input);
    assert_eq!(output.status.code(), Some(1));
    let judged: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(judged[1], json!({"namespace": "default", "name": "other", "enrolled": false, "findings": []}));
    let first = judged[0].as_object().unwrap();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["enrolled", "findings", "name", "namespace"]);
    assert_eq!(
        (&first["namespace"], &first["name"], &first["enrolled"]),
        (&json!("kamaji-system"), &json!("kamaji-etcd"), &json!(true))
    );
    let finding =
        judged[0]["findings"].as_array().unwrap().iter().find(|finding| finding["severity"] == "deny").unwrap();
    assert_eq!(finding.as_object().unwrap().keys().collect::<Vec<_>>(), ["code", "field", "message", "severity"]);
    assert_eq!(finding["code"], "schedule-never-fires");
    assert_eq!(finding["field"], "metadata.annotations[etcd-defrag.io/schedule]");
    let yaml: Value = serde_saphyr::from_str(&stdout(&feed(&["check", "-o", "yaml", "-f", "-"], &input))).unwrap();
    assert_eq!(yaml, judged);
}

/// For Kubernetes it is another annotation; nothing but the settings of its author would be lost.
#[test]
fn check_finds_a_prefix_in_other_letters() {
    let file = annotated(&[("move-leader", "true")]).replace("etcd-defrag.io/move-leader", "Etcd-Defrag.io/schedule");
    let found = feed(&["check", "-o", "json", "-f", "-"], &file);
    assert_eq!(found.status.code(), Some(1), "{}", stderr(&found));
    let found: Value = serde_json::from_str(&stdout(&found)).unwrap();
    let findings = found[0]["findings"].as_array().unwrap();
    let field = "metadata.annotations[Etcd-Defrag.io/schedule]";
    assert!(findings.iter().any(|one| one["code"] == "annotation-unknown" && one["field"] == field), "{found:#}");
}

#[test]
fn check_speaks_sarif() {
    let output = feed(&["check", "-o", "sarif", "-f", "-"], &annotated(&[("schedule", "0 3 31 2 *")]));
    assert_eq!(output.status.code(), Some(1));
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let results = run["results"].as_array().unwrap();
    let result = results.iter().find(|result| result["ruleId"] == "schedule-never-fires").unwrap();
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "stdin");
    assert_eq!(place["region"]["startLine"], 15);
    let rules: Vec<_> = run["tool"]["driver"]["rules"].as_array().unwrap().iter().map(|rule| &rule["id"]).collect();
    assert!(results.iter().all(|result| rules.contains(&&result["ruleId"])));
}

#[test]
fn a_clean_check_ends_with_0() {
    let output = feed(
        &["check", "-f", "-"],
        &example(|text| {
            text.replace("storage: 8Gi", "storage: 16Gi").replace("failureThreshold: 3", "failureThreshold: 9")
        }),
    );
    assert_eq!(output.status.code(), Some(0), "{}", screen(&output));
    assert!(
        stdout(&output).ends_with("1 StatefulSet, 1 enrolled, 0 refused: 0 denials, 1 warning\n"),
        "{}",
        screen(&output)
    );
    assert_eq!(stdout(&run(&["check", "-f", "Cargo.toml", "-o", "json"])), "");
}

#[test]
fn what_cannot_be_read_ends_with_2() {
    for (input, says) in [
        ("kind: [\n", "stdin:1: document 1: "),
        ("kind: A\n---\nb: 1\nb: 2\n", "stdin:4: document 2: "),
        (
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: e}\nspec: {replicas: three}\n",
            "stdin:4: document 1: spec.replicas: ",
        ),
        ("hello\n", "stdin:1: document 1: not a Kubernetes object"),
    ] {
        for name in ["render", "check"] {
            let output = feed(&[name, "-f", "-"], input);
            assert_eq!(output.status.code(), Some(2), "{input:?}");
            assert!(stderr(&output).starts_with(&format!("error: {says}")), "{input:?}: {}", stderr(&output));
            assert_eq!(stdout(&output), "", "{input:?}");
        }
    }
    let missing = run(&["check", "-f", "no/such.yaml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("cannot read no/such.yaml"));
}

#[test]
fn an_empty_input_is_said_to_be_empty() {
    let output = feed(&["check", "-f", "-"], "# nothing\n---\n");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "note: there is no StatefulSet in the input\n");
}

#[test]
fn a_folder_stands_for_its_manifests() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = |name: &str| format!("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\n");
    for name in ["b.yml", "a.yaml", "note.txt"] {
        fs::write(folder.path().join(name), manifest(&name.replace('.', "-"))).unwrap();
    }
    fs::write(
        folder.path().join("c.json"),
        r#"{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "c"}}"#,
    )
    .unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    fs::write(folder.path().join("d/e.yaml"), manifest("e")).unwrap();
    let judged: Value =
        serde_json::from_slice(&run(&["check", "-o", "json", "-f", folder.path().to_str().unwrap()]).stdout).unwrap();
    let names: Vec<_> = judged.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a-yaml", "b-yml", "c"]);
    assert_eq!(run(&["check", "-f", folder.path().join("d").to_str().unwrap(), EXAMPLE]).status.code(), Some(0));
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(run(&["check", "-f", empty.path().to_str().unwrap()]).status.code(), Some(2));
}

#[test]
fn cronjob_has_the_flags_of_defrag_sh() {
    insta::assert_snapshot!(screen(&run(&["cronjob"])));
    let output = run(&["cronjob", "-e", "db", "-s", "db-peers", "-n", "tenants", "-j", "15 4 * * *", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", screen(&output));
    let cronjob: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(cronjob["metadata"]["name"], "db-defrag-job");
    assert_eq!(cronjob["metadata"]["namespace"], "tenants");
    assert_eq!(cronjob["spec"]["schedule"], "15 4 * * *");
    let pod = &cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert!(pod["containers"][0]["args"][0].as_str().unwrap().contains("https://db-2.db-peers.tenants.svc"));
    let secrets: Vec<_> = pod["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| volume["secret"]["secretName"].as_str().unwrap())
        .collect();
    assert_eq!(secrets, ["db-certs", "db-root-client-certs"]);
}

#[test]
fn cronjob_and_render_agree_on_the_real_statefulset() {
    let rendered: Value = serde_json::from_slice(&run(&["render", "-o", "json", "-f", EXAMPLE]).stdout).unwrap();
    // `cronjob` leaves out what the reconciler keeps current.
    let mut rendered = rendered["items"][1].clone();
    let notes = rendered["metadata"]["annotations"].as_object_mut().unwrap();
    assert!(notes.len() > 1);
    notes.retain(|key, _| key == "etcd-defrag.io/statefulset");
    let of_file: Value = serde_json::from_slice(&run(&["cronjob", "-o", "json", "-f", EXAMPLE]).stdout).unwrap();
    let assumed: Value = serde_json::from_slice(&run(&["cronjob", "-o", "json"]).stdout).unwrap();
    assert_eq!(of_file, rendered);
    assert_eq!(assumed, rendered, "what is assumed is not what the chart installs");
}

#[test]
fn cronjob_refuses_what_would_hurt() {
    let output = run(&["cronjob", "-j", "0 3 31 2 *"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    assert!(stderr(&output).contains("deny schedule-never-fires"));
    for args in [["-e", "Bad_Name"], ["-s", ""], ["-n", "a/b"], ["-f", "Cargo.lock"], ["-e", "x -- rm"]] {
        let output = run(&["cronjob", args[0], args[1]]);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{args:?}");
    }
    let opted_out = example(|text| text.replace("enabled: \"true\"", "enabled: \"false\""));
    let output = feed(&["cronjob", "-f", "-"], &opted_out);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("opts out"));
}

#[test]
fn debug_traces_every_step() {
    let output = command(&["cronjob"]).env("DEBUG", "1").output().unwrap();
    let traced: Vec<String> =
        stderr(&output).lines().filter(|line| line.starts_with("+ ")).map(str::to_owned).collect();
    assert!(traced.len() >= 2, "{traced:?}");
    assert!(!stderr(&run(&["cronjob"])).contains("+ "));
}

#[test]
fn apply_without_a_cluster_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let output = command(&["cronjob", "--apply"]).env("KUBECONFIG", folder.path().join("none")).output().unwrap();
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    assert!(stderr(&output).contains("cannot reach a cluster"), "{}", stderr(&output));
}

#[test]
fn defrag_sh_applies_with_the_same_flags() {
    let folder = tempfile::tempdir().unwrap();
    let fake = folder.path().join("etcd-defrag-webhook");
    fs::write(&fake, "#!/bin/sh\nprintf '%s|' \"$@\"\n").unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let sh = |args: &[&str], path: &str| {
        Command::new("/bin/sh")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/defrag.sh"))
            .args(args)
            .env_clear()
            .env("PATH", path)
            .output()
            .unwrap()
    };
    let path = folder.path().to_str().unwrap();
    let output = sh(&["-e", "a", "-s", "b", "-n", "c", "-j", "0 1 * * *"], path);
    assert_eq!(stdout(&output), "cronjob|--apply|-e|a|-s|b|-n|c|-j|0 1 * * *|");
    let output = sh(&[], "/nonexistent:/bin:/usr/bin");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("not on PATH"));
}

#[test]
fn explain_prints_pages() {
    let output = run(&["explain", "schedule-never-fires"]);
    assert!(stdout(&output).starts_with("# schedule-never-fires\n"));
    let entry: Value = serde_json::from_slice(&run(&["explain", "quota-unknown", "-o", "json"]).stdout).unwrap();
    assert_eq!((&entry["code"], &entry["severity"]), (&json!("quota-unknown"), &json!("deny")));
    let output = run(&["explain", "schedule-never-fire"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean schedule-never-fires?"));
    let all: Value = serde_json::from_slice(&run(&["explain", "-o", "json"]).stdout).unwrap();
    assert!(all.as_array().unwrap().len() > 40);
    let list = stdout(&run(&["explain", "list"]));
    assert_eq!(list.lines().count(), all.as_array().unwrap().len());
    assert!(list.lines().all(|line| line.starts_with("deny ") || line.starts_with("warn ")), "{list}");
}

#[test]
fn explain_schedule_and_rule_answer_programs() {
    let output = run(&[
        "explain",
        "schedule",
        "0 3 * * *",
        "--time-zone",
        "Europe/Rome",
        "--from",
        "2026-01-01T00:00:00Z",
        "--count",
        "2",
        "-o",
        "json",
    ]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["next"], json!(["2026-01-01T02:00:00Z", "2026-01-02T02:00:00Z"]));
    assert_eq!((&answer["valid"], &answer["resolved"]), (&json!(true), &json!("0 3 * * *")));
    assert_eq!(output.status.code(), Some(0));
    let output = run(&["explain", "rule", "dbQuotaUsage > 80", "--quota", "8589934592", "-o", "json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &answer["valid"]), (Some(1), &json!(true)));
    assert!(answer["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "rule-never-true"));
}

#[test]
fn certs_keeps_the_key_private_and_replaces_nothing_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a/certs");
    let out = out.to_str().unwrap();
    assert_eq!(run(&["certs", "--out", out]).status.code(), Some(0));
    let read = |name: &str| fs::read_to_string(Path::new(out).join(name)).unwrap();
    let mode = |name: &str| fs::metadata(Path::new(out).join(name)).unwrap().permissions().mode() & 0o777;
    assert!(read("ca.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(read("tls.key").starts_with("-----BEGIN PRIVATE KEY-----"));
    assert_eq!(mode("tls.key"), 0o600);
    let key = read("tls.key");
    let again = run(&["certs", "--out", out]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("--force"));
    assert_eq!(read("tls.key"), key);
    fs::set_permissions(Path::new(out).join("tls.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(run(&["certs", "--out", out, "--force"]).status.code(), Some(0));
    assert_ne!(read("tls.key"), key);
    assert_eq!(mode("tls.key"), 0o600);
}

#[test]
fn every_shell_gets_a_completion() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completion", shell]);
        assert_eq!(output.status.code(), Some(0));
        assert!(stdout(&output).contains("etcd-defrag-webhook"), "{shell}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    for args in
        [&["render"][..], &["check", "-f"], &["nonsense"], &["render", "-f", "x", "-o", "xml"], &["certs", "--no-such"]]
    {
        let output = run(args);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{args:?}");
    }
    for args in [&["--help"][..], &["cronjob", "-h"], &["--version"], &["explain", "schedule", "--help"]] {
        let output = run(args);
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn colour_appears_only_where_it_is_wanted() {
    let input = annotated(&[("schedule", "0 3 31 2 *")]);
    assert!(!stdout(&feed(&["check", "-f", "-"], &input)).contains('\u{1b}'));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &input).unwrap();
    let forced = |more: &[(&str, &str)]| {
        let mut command = command(&["check", "-f", file.path().to_str().unwrap()]);
        stdout(&command.env("CLICOLOR_FORCE", "1").envs(more.iter().copied()).output().unwrap())
    };
    assert!(forced(&[]).contains('\u{1b}'));
    assert!(!forced(&[("NO_COLOR", "1")]).contains('\u{1b}'));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    for args in [&["explain", "-o", "json"][..], &["render", "-f", EXAMPLE], &["completion", "zsh"], &["--help"]] {
        let mut child = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        child.wait().unwrap();
        assert!(!said.contains("panicked") && !said.contains("Broken pipe"), "{args:?}: {said}");
    }
}
