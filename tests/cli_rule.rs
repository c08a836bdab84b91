//! `explain rule` and `cronjob --rule` of the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the lints know test functions, but not the helpers of tests"
)]

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use etcd_defrag_webhook::defrag::policy::DEFAULT_RULE;
use serde_json::{Value, json};

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear().stdin(Stdio::null()).output().unwrap()
}

fn explain(args: &[&str]) -> Output {
    run(&[&["explain", "rule"], args].concat())
}

fn answer(args: &[&str]) -> (Option<i32>, Value) {
    let output = explain(&[args, &["-o", "json"]].concat());
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The rule that is left without a threshold is not the one that was asked about.
#[test]
fn an_unreadable_threshold_is_no_other_rule() {
    for thresholds in [
        &["--free-share-above", "0"][..],
        &["--free-share-above", "5"],
        &["--free-above", "200MB"],
        &["--free-above", "200MB", "--quota-usage-above", "80%"],
    ] {
        let output = explain(thresholds);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(!text.contains("dbSize") && !text.contains("fires") && text.contains("threshold-invalid"), "{text}");
        let (_, of) = answer(thresholds);
        assert_eq!((&of["valid"], &of["rule"], &of["alert"]), (&json!(false), &Value::Null, &Value::Null), "{of}");
    }
}

/// The state of kamaji-etcd#138.
#[test]
fn explain_rule_evaluates_one_state() {
    let state = ["--size", "341Mi", "--in-use", "147Mi"];
    let (code, of) = answer(&[&[DEFAULT_RULE][..], &state].concat());
    let expected = json!({
        "dbSize": 341_u64 << 20, "dbSizeInUse": 147_u64 << 20, "dbSizeFree": 194_u64 << 20, "dbQuota": 2_u64 << 30,
        "dbQuotaUsage": 341.0 / 2048.0, "value": true, "error": null,
    });
    assert_eq!((code, &of["state"]), (Some(0), &expected));
    let (_, of) =
        answer(&[&["dbQuotaUsage > 0.8 && dbSizeFree > 32*1024*1024", "--quota", "8Gi"][..], &state].concat());
    assert_eq!((&of["state"]["value"], &of["state"]["dbQuota"]), (&json!(false), &json!(8_u64 << 30)));
    let (code, of) = answer(&["dbSize/dbSizeInUse > 2", "--size", "1Gi", "--in-use", "0"]);
    assert_eq!((code, &of["state"]["value"]), (Some(1), &json!(null)));
    assert!(of["state"]["error"].as_str().unwrap().contains("a division by zero"), "{of}");
    insta::assert_snapshot!(text(&explain(&[&[DEFAULT_RULE, "--quota", "8Gi"][..], &state].concat())));
    for (args, said) in [
        (&["true", "--size", "1Gi"][..], "--in-use"),
        (&["true", "--size", "1Gi", "--in-use", "2Gi"], "more than the --size of the database, 1 GiB"),
        (&["true", "--size", "1GB", "--in-use", "0"], "write a number of bytes or a quantity"),
        (&[], "required"),
        (&["true", "--free-above", "1Gi"], "cannot be used with"),
    ] {
        let output = explain(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(said), "{args:?}: {error}");
    }
}

#[test]
fn explain_rule_says_whether_the_alert_on_fragmentation_goes_quiet() {
    let alert = |args: &[&str]| answer(args).1["alert"].clone();
    let quiet = json!({"name": "etcdDatabaseHighFragmentationRatio", "impliesRule": true, "counterexample": null});
    assert_eq!(alert(&[DEFAULT_RULE]), quiet);
    assert_eq!(alert(&["--free-share-above", "50%", "--quota", "8Gi"]), quiet);
    let loud = alert(&["--free-share-above", "60%", "--quota", "8Gi"]);
    assert_eq!(loud["impliesRule"], json!(false));
    let (size, used) = (&loud["counterexample"]["dbSize"], &loud["counterexample"]["dbSizeInUse"]);
    assert!(2 * used.as_u64().unwrap() < size.as_u64().unwrap(), "{loud}");
    assert_eq!(alert(&["dbSize >"]), json!(null));
    insta::assert_snapshot!(text(&explain(&["--quota-usage-above", "80%", "--quota", "8Gi"])));
}

#[test]
fn explain_rule_takes_thresholds_and_the_default_of_a_policy() {
    let (code, of) = answer(&["--free-above", "20Gi", "--quota", "8Gi"]);
    let codes: Vec<&str> = of["findings"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!((code, codes), (Some(1), vec!["rule-never-true"]));
    assert_eq!(answer(&["--free-share-above", "150%"]).1["findings"][0]["code"], json!("threshold-invalid"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let policy = "apiVersion: etcd-defrag.io/v1alpha1\nkind: DefragPolicy\nmetadata: {name: strict}\n\
                  spec: {limits: {minFree: 1Gi}}\n";
    fs::write(&file, policy).unwrap();
    let file = file.to_str().unwrap();
    let (code, of) = answer(&["--quota", "8Gi", "--policy", file]);
    assert_eq!((code, &of["alert"]["impliesRule"]), (Some(0), &json!(false)));
    assert!(of["rule"].as_str().unwrap().contains("dbSizeFree > 1024*1024*1024"), "{of}");
    let page = text(&explain(&["--quota", "8Gi", "--policy", file]));
    assert!(page.contains("; the policy requires 1 GiB to reclaim (minFree)\n"), "{page}");
    let (code, of) = answer(&[DEFAULT_RULE, "--quota", "8Gi", "--policy", file]);
    assert_eq!((code, &of["findings"][0]["code"]), (Some(1), &json!("free-below-minimum")));
}

#[test]
fn cronjob_takes_another_rule() {
    let rule = |args: &[&str]| {
        let output = run(&[&["cronjob", "-o", "json"], args].concat());
        let cronjob: Value = serde_json::from_slice(&output.stdout).unwrap();
        let args = cronjob.pointer("/spec/jobTemplate/spec/template/spec/containers/0/args").unwrap();
        let args = args.as_array().unwrap().iter().filter_map(Value::as_str);
        args.filter_map(|arg| arg.strip_prefix("--defrag-rule=")).collect::<String>()
    };
    assert_eq!(rule(&[]), DEFAULT_RULE);
    assert_eq!(rule(&["--rule", "defrag.sh"]), "dbQuotaUsage > 0.8 || dbSize - dbSizeInUse > 200*1024*1024");
    // What a StatefulSet has of its own, or of a policy, gives way to the flag.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("etcd.yaml");
    let etcd = fs::read_to_string("examples/kamaji-etcd.yaml").unwrap();
    for (annotations, expected) in [
        (
            "etcd-defrag.io/rule: 'dbSizeFree > 7'\n    etcd-defrag.io/defaulted: schedule, rule",
            "dbSizeFree > 128*1024*1024",
        ),
        ("etcd-defrag.io/free-share-above: 30%", "dbSizeFree > 128*1024*1024"),
    ] {
        fs::write(&file, etcd.replacen("metadata:\n", &format!("metadata:\n  annotations:\n    {annotations}\n"), 1))
            .unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(rule(&["-f", file, "--rule", "dbSizeFree > 128*1024*1024"]), expected, "{annotations}");
    }
}
