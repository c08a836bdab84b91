//! `status` on a real cluster.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{
    policies::with_definition,
    support::{Namespace, SOON, etcd, namespace, stderr, unlabelled},
};
use etcd_defrag_webhook::{
    controller::on_demand::{LAST_ON_DEMAND, ON_DEMAND},
    defrag::text::is_printable,
};
use harness::{ControlPlane, Terminal, binary, eventually, on_terminal};

pub(super) fn status(ns: &Namespace<'_>, args: &[&str]) -> Output {
    Command::new(binary()).arg("status").args(args).env("KUBECONFIG", ns.plane.kubeconfig()).output().unwrap()
}

fn rows(ns: &Namespace<'_>) -> Vec<Value> {
    let output = status(ns, &["-n", &ns.name, "-o", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)))
}

/// The table with one separator between columns, and days, times and ages masked.
fn masked(text: &str) -> String {
    let mask = |cell: &str| -> String {
        let age = cell.len() > 1 && cell.trim_end_matches(['s', 'm', 'h']).bytes().all(|b| b.is_ascii_digit());
        if age {
            return "AGE".to_owned();
        }
        // What became of the last run stands between when it ended and how long it took.
        if let [ended, outcome, took] = cell.split(' ').collect::<Vec<_>>()[..]
            && [ended, took].iter().all(|time| time.strip_suffix('s').is_some_and(|time| time.parse::<u32>().is_ok()))
        {
            return format!("AGE {outcome} SECONDS");
        }
        match cell.get(..16).filter(|time| time.as_bytes()[4] == b'-' && time.as_bytes()[13] == b':') {
            Some(time) => cell.replace(time, "YYYY-MM-DD HH:MM"),
            None => cell.to_owned(),
        }
    };
    let line = |line: &str| {
        if line.starts_with(' ') {
            return line.to_owned();
        }
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(mask).collect::<Vec<_>>().join(" | ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// A run of a CronJob that fails at once: it is given one second.
pub(super) fn failed_run(ns: &Namespace<'_>, cronjob: &str) {
    let from = format!("--from=cronjob/{cronjob}");
    let text = ns.plane.kubectl_ok(&["-n", &ns.name, "create", "job", "late", &from, "--dry-run=client", "-o", "json"]);
    let mut job: Value = serde_json::from_str(&text).unwrap();
    job["spec"]["activeDeadlineSeconds"] = json!(1);
    ns.accepts(&job);
    eventually("the Job to fail", 2 * SOON, || {
        let job = ns.get("job", "late")?;
        let conditions = job["status"]["conditions"].as_array()?.clone();
        conditions.iter().any(|condition| condition["type"] == "Failed").then_some(())
    });
}

#[test]
fn status_shows_each_enrolled_etcd_and_what_is_wrong() {
    let world = with_definition();
    let ns = namespace(&world.plane, "shown");
    world.plane.apply(
        &json!({"apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "shown"}, "spec": {
            // Above those that other tests write for everything.
            "priority": 1000,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns.name}},
            "limits": {"singleMember": "Deny"},
        }})
        .to_string(),
    );
    let zoned = &[("schedule", "7 3 * * *"), ("time-zone", "Europe/Rome")];
    ns.accepts(&etcd(&ns.name, "ran", zoned));
    ns.accepts(&etcd(&ns.name, "paused", &[("schedule", "7 3 * * *"), ("suspend", "true")]));
    ns.accepts(&etcd(&ns.name, "shrunk", &[("schedule", "7 3 * * *")]));
    ns.accepts(&unlabelled(etcd(&ns.name, "elsewhere", &[])));
    for name in ["ran", "paused", "shrunk"] {
        ns.governed(name, "shown");
    }
    ns.run(&["scale", "statefulset", "shrunk", "--replicas=1"]);
    let succeeded = json!({"status": {"lastSuccessfulTime": "2026-01-01T00:00:00Z"}}).to_string();
    ns.run(&["patch", "cronjob", "ran-defrag-job", "--subresource=status", "--type=merge", "-p", &succeeded]);
    failed_run(&ns, "ran-defrag-job");
    ns.cronjob_that("ran", "say what its last run did", |cronjob| {
        let run = cronjob["metadata"]["annotations"]["etcd-defrag.io/last-run"].as_str();
        run.is_some_and(|run| run.contains(r#""job":"late""#))
    });

    let output = status(&ns, &["-n", &ns.name]);
    let text = masked(&String::from_utf8_lossy(&output.stdout)).replace(&ns.name, "NAMESPACE");
    let text: Vec<String> = text.lines().map(days_masked).collect();
    insta::assert_snapshot!(text.join("\n"));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));

    let rows = rows(&ns);
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["paused", "ran", "shrunk"]);
    assert_eq!((&rows[0]["suspended"], &rows[0]["nextRun"]), (&json!(true), &Value::Null));
    let ran = &rows[1];
    assert_eq!((&ran["policy"], &ran["timeZone"]), (&json!("shown"), &json!("Europe/Rome")));
    assert_eq!(ran["lastSuccess"], "2026-01-01T00:00:00Z");
    assert_eq!(ran["cronJob"], "ran-defrag-job");
    assert!(ran["lastFailure"].as_str().unwrap() > "2026-01-01", "{ran}");
    assert!(ran["nextRun"].as_str().unwrap().ends_with(":07:00Z"), "{ran}");

    let all = status(&ns, &["-A"]);
    let all = String::from_utf8_lossy(&all.stdout);
    assert!(all.starts_with("NAMESPACE "), "{all}");
    assert!(all.lines().any(|line| line.starts_with(&ns.name) && line.contains(" ran ")), "{all}");
}

/// Ages in days grow with the calendar.
fn days_masked(line: &str) -> String {
    let mask = |cell: &str| match cell.strip_suffix('d') {
        Some(days) if !days.is_empty() && days.bytes().all(|b| b.is_ascii_digit()) => "DAYS".to_owned(),
        _ => cell.to_owned(),
    };
    line.split(" | ").map(mask).collect::<Vec<_>>().join(" | ")
}

#[test]
fn an_empty_namespace_is_said_to_be_empty() {
    let world = with_definition();
    let ns = namespace(&world.plane, "shown-empty");
    let output = status(&ns, &["-n", &ns.name]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b""[..]));
    assert!(stderr(&output).contains(&format!("no enrolled etcd in the namespace {}", ns.name)), "{}", stderr(&output));
    let nowhere = Command::new(binary()).args(["status", "-A"]).env("KUBECONFIG", "/nonexistent/kubeconfig").output();
    let nowhere = nowhere.unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(stderr(&nowhere).contains("cannot reach a cluster"), "{}", stderr(&nowhere));
}

#[test]
fn without_the_definition_the_built_in_policy_is_shown_and_nobody_has_to_be_told() {
    let plane = ControlPlane::start();
    let ns = namespace(&plane, "plain");
    ns.accepts(&etcd(&ns.name, "etcd", &[("schedule", "7 3 * * *"), ("time-zone", "Europe/Rome")]));
    let output = status(&ns, &["-n", &ns.name, "-o", "json"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let rows = rows(&ns);
    assert_eq!(
        (&rows[0]["name"], &rows[0]["policy"], &rows[0]["cronJob"]),
        (&json!("etcd"), &Value::Null, &Value::Null)
    );
    assert_eq!(rows[0]["schedule"], "7 3 * * *");
    let text = status(&ns, &["-A"]);
    assert_eq!(text.status.code(), Some(0), "{}", stderr(&text));
    assert!(String::from_utf8_lossy(&text.stdout).contains("<built-in>"), "{}", String::from_utf8_lossy(&text.stdout));
}

/// Clears the screen, in three ways, forges a row, goes back to the beginning of the line and turns the rest around.
const HOSTILE: &str = "x\n\u{1b}[2J\u{1b}[H\u{9b}2J\u{1b}ctenants   forged   <built-in>\r\u{202e}\u{200b}\u{2028}y";

#[test]
fn a_tenant_forges_no_row_and_clears_no_screen() {
    // Nobody reconciles and nobody judges, so that everything stays as the tenant wrote it.
    let plane = ControlPlane::start();
    let ns = namespace(&plane, "hostile");
    let keys = ["schedule", "time-zone", "rule", "endpoints", "quota", "command-timeout", "suspend"];
    ns.accepts(&etcd(&ns.name, "etcd", &keys.map(|key| (key, HOSTILE))));
    ns.accepts(&json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {
            "name": "etcd-defrag-job", "namespace": ns.name, "labels": {"app.kubernetes.io/managed-by": "etcd-defrag-webhook"},
            "annotations": {
                "etcd-defrag.io/statefulset": "etcd",
                ON_DEMAND: HOSTILE, LAST_ON_DEMAND: format!("{}{HOSTILE}", "long ".repeat(1000)),
            },
        },
        "spec": {"schedule": "7 3 * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}},
    }));

    let row = rows(&ns).remove(0);
    assert_eq!(
        (&row["name"], &row["onDemand"]),
        (&json!("etcd"), &json!(HOSTILE)),
        "data for programs is whole: {row}"
    );

    let mut command = Command::new(binary());
    command.args(["status", "-n", &ns.name]).env("KUBECONFIG", plane.kubeconfig());
    let Some(screen) = on_terminal("a_tenant_forges_no_row_and_clears_no_screen", &command) else { return };
    let lines = screen.lines(is_printable);
    assert!(screen.is_coloured() && screen.code == Some(1), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.starts_with("tenants")), "{lines:#?}");
    let seen = r"x\n\u{1b}[2J\u{1b}[H\u{9b}2J\u{1b}ctenants   forged   <built-in>\r\u{202e}\u{200b}\u{2028}y";
    assert!(lines.contains(&format!("{}/etcd: waits: {seen}", ns.name)), "{lines:#?}");
    let long = lines.iter().find(|line| line.contains("last on demand: long long")).unwrap();
    assert!(long.ends_with('…') && long.chars().count() < 600, "{long}");
    assert!(lines.iter().any(|line| line.contains(r"forged   <built-in>\r\u{202e}")), "{lines:#?}");
}

#[test]
fn a_watch_goes_on_and_prints_an_etcd_again_when_it_has_changed() {
    // Nobody reconciles, so that nothing changes by itself.
    let plane = ControlPlane::start();
    let ns = namespace(&plane, "watched");
    for name in ["changed", "quiet"] {
        ns.accepts(&etcd(&ns.name, name, &[("schedule", "7 3 * * *"), ("time-zone", "Etc/UTC")]));
    }
    let mut command = Command::new(binary());
    command.args(["status", "-w", "-n", &ns.name]).env("KUBECONFIG", plane.kubeconfig());
    let test = "a_watch_goes_on_and_prints_an_etcd_again_when_it_has_changed";
    let Some(mut terminal) = Terminal::start(test, &command) else { return };
    terminal.wait_for("both etcds", |sent| sent.contains("changed ") && sent.contains("quiet "));
    ns.run(&["annotate", "--overwrite", "statefulset", "changed", "etcd-defrag.io/schedule=8 4 * * *"]);
    terminal.wait_for("the one that changed", |sent| sent.contains("8 4 * * *"));
    let screen = terminal.interrupt();
    let lines = screen.lines(is_printable);
    let count = |first: &str| lines.iter().filter(|line| line.split(' ').next() == Some(first)).count();
    assert_eq!([count("NAME"), count("changed"), count("quiet")], [1, 2, 1], "{lines:#?}");
    assert_eq!(screen.code, Some(130), "{lines:#?}");
}
