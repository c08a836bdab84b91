//! Reports of compliance: written where a kind of report is installed, only when they change, and gone with what they are about.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{Namespace, SOON, etcd, namespace};
use harness::{AuditMark, ControlPlane, Serve, ServeOptions, eventually, with_its_own_rights};

const POLICY_REPORTS: &str = "policyreports.wgpolicyk8s.io";
const REPORTS: &str = "reports.openreports.io";
/// A definition is noticed within a minute.
const NOTICED: Duration = Duration::from_secs(90);
/// When nothing is expected any more.
const QUIET: Duration = Duration::from_secs(3);

fn install(plane: &ControlPlane, definition: &str, kind: &str) {
    plane.apply(definition);
    plane.wait_established(kind);
}

/// Waits until the report about a StatefulSet is as wanted.
#[track_caller]
fn report_that(
    ns: &Namespace<'_>,
    kind: &str,
    about: &str,
    limit: Duration,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    eventually(&format!("the {kind} of {}/{about} to {what}", ns.name), limit, || {
        let all = ns.plane.get(&["-n", &ns.name, kind])?;
        all["items"].as_array()?.iter().find(|one| one["scope"]["name"] == about && wanted(one)).cloned()
    })
}

fn results(report: &Value) -> Vec<String> {
    let text = |result: &Value, field: &str| result[field].as_str().unwrap_or_default().to_owned();
    let results = report["results"].as_array().unwrap().iter();
    results.map(|one| format!("{} {}", text(one, "result"), text(one, "rule"))).collect()
}

/// What was written to reports since then, as verbs.
fn writes(plane: &ControlPlane, since: AuditMark, kind: &str) -> Vec<String> {
    let resource = kind.split('.').next().unwrap();
    let written = plane.audit_since(since).writes().by_agent("etcd-defrag-webhook").of(resource);
    written.into_iter().map(|event| format!("{} {}", event.verb, event.code)).collect()
}

#[track_caller]
fn nothing_is_written(plane: &ControlPlane, what: &str) {
    let mark = plane.audit_mark();
    std::thread::sleep(QUIET);
    let events = plane.audit_since(mark).writes().by_agent("etcd-defrag-webhook");
    assert_eq!(events.count(|event| event.resource != "leases"), 0, "{what}: {events:?}");
}

/// With the webhooks asleep, so that a setting that refuses gets through.
fn serve(plane: &ControlPlane, options: &ServeOptions) -> Serve {
    Serve::start_with(plane, &ServeOptions { register: false, ..options.clone() })
}

fn seconds(report: &Value, result: usize) -> i64 {
    report["results"][result]["timestamp"]["seconds"].as_i64().unwrap()
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

#[test]
fn compliance_is_reported_in_the_kind_that_is_installed() {
    let plane = ControlPlane::start();
    let options = with_its_own_rights(&plane);
    let started = Instant::now();
    let running = serve(&plane, &options);
    let ns = namespace(&plane, "reports");
    ns.accepts(&etcd(&ns.name, "etcd", &[]));
    let mut one = etcd(&ns.name, "one", &[]);
    one["spec"]["replicas"] = json!(1);
    ns.accepts(&one);
    ns.cronjob("etcd");
    ns.cronjob("one");

    // No kind: nothing is asked, but for which groups there are.
    let asked = plane.audit().by_agent("etcd-defrag-webhook");
    let of_reports = |uri: &str| uri.contains("openreports") || uri.contains("wgpolicy");
    assert_eq!(asked.count(|event| of_reports(&event.request_uri)), 0);
    let discoveries = asked.count(|event| event.request_uri == "/apis" || event.request_uri == "/apis/");
    // At the start, and once a minute; in the first two minutes at most twice.
    let most = 1 + (started.elapsed().as_secs() / 60).max(1);
    assert!((1..=most).contains(&(discoveries as u64)), "{discoveries} questions for groups");

    // PolicyReport: a pass, a risk and a refusal.
    let begin = now();
    install(&plane, include_str!("../fixtures/reports/wgpolicyk8s.io.yaml"), POLICY_REPORTS);
    let first = report_that(&ns, POLICY_REPORTS, "etcd", NOTICED, "be written", |_| true);
    let owner = &first["metadata"]["ownerReferences"][0];
    let uid = ns.get("statefulset", "etcd").unwrap()["metadata"]["uid"].clone();
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("StatefulSet"), &uid));
    assert_eq!(
        first["scope"],
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "namespace": ns.name, "name": "etcd", "uid": uid})
    );
    assert_eq!(results(&first)[0], "pass compliant");
    assert_eq!((&first["summary"]["pass"], &first["summary"]["fail"]), (&json!(1), &json!(0)));
    assert!((begin..=now()).contains(&seconds(&first, 0)), "{first}");
    let risky = report_that(&ns, POLICY_REPORTS, "one", SOON, "be written", |_| true);
    assert!(results(&risky).contains(&"warn single-member".to_owned()), "{:?}", results(&risky));
    assert_eq!(risky["summary"]["pass"], 1);
    nothing_is_written(&plane, "all is reported");

    let mark = plane.audit_mark();
    ns.run(&["annotate", "statefulset", "etcd", "etcd-defrag.io/schedule=0 0 31 2 *"]);
    let failed = report_that(&ns, POLICY_REPORTS, "etcd", SOON, "fail", |report| report["summary"]["fail"] == 1);
    assert_eq!(results(&failed)[0], "fail schedule-never-fires");
    let result = &failed["results"][0];
    assert!(result["message"].as_str().unwrap().contains("never fires"), "{result}");
    assert_eq!(result["properties"]["field"], "metadata.annotations[etcd-defrag.io/schedule]");
    assert_eq!(
        (&result["severity"], &result["scored"], &result["policy"]),
        (&json!("high"), &json!(true), &json!("built-in policy"))
    );
    std::thread::sleep(QUIET);
    assert_eq!(writes(&plane, mark, POLICY_REPORTS), ["patch 200"], "a changed finding is one write");
    nothing_is_written(&plane, "the finding is reported");

    // Another process takes over and has nothing to add.
    assert!(running.stop());
    let mark = plane.audit_mark();
    let _running = serve(&plane, &options);
    ns.run(&["annotate", "statefulset", "one", "etcd-defrag.io/schedule=1 2 * * 5"]);
    ns.cronjob_that("one", "be kept by the new process", |cronjob| cronjob["spec"]["schedule"] == "1 2 * * 5");
    std::thread::sleep(QUIET);
    assert_eq!(writes(&plane, mark, POLICY_REPORTS), Vec::<String>::new(), "a restart is no reason to write");

    // What a person does to a report is put right, and times stay.
    let name = failed["metadata"]["name"].as_str().unwrap();
    ns.run(&["patch", POLICY_REPORTS, name, "--type=merge", "-p", r#"{"results": [], "summary": {"fail": 0}}"#]);
    report_that(&ns, POLICY_REPORTS, "etcd", SOON, "fail again", |report| report["summary"]["fail"] == 1);
    ns.run(&["delete", POLICY_REPORTS, name]);
    report_that(&ns, POLICY_REPORTS, "etcd", SOON, "be there again", |report| report["summary"]["fail"] == 1);

    // openreports.io is preferred, and what was told in the other kind goes.
    let mark = plane.audit_mark();
    install(&plane, include_str!("../fixtures/reports/openreports.io.yaml"), REPORTS);
    let report = report_that(&ns, REPORTS, "etcd", NOTICED, "be written", |report| report["summary"]["fail"] == 1);
    assert_eq!(report["source"], "etcd-defrag-webhook");
    report_that(&ns, REPORTS, "one", SOON, "be written", |_| true);
    eventually("the reports of the other kind to go", SOON, || {
        let left = plane.get(&["-n", &ns.name, POLICY_REPORTS])?;
        left["items"].as_array()?.is_empty().then_some(())
    });
    std::thread::sleep(QUIET);
    assert_eq!(writes(&plane, mark, REPORTS), ["patch 201"; 2], "each is written once");
    nothing_is_written(&plane, "all is reported in the other kind");

    // A repaired setting, an etcd that opts out, and one that is deleted.
    let before = seconds(&report, 1);
    ns.run(&["annotate", "statefulset", "etcd", "etcd-defrag.io/schedule-", "--overwrite"]);
    let passed = report_that(&ns, REPORTS, "etcd", SOON, "pass", |report| report["summary"]["pass"] == 1);
    assert_eq!(seconds(&passed, 1), before, "what was found before keeps its time: {passed}");
    ns.run(&["label", "statefulset", "etcd", "etcd-defrag.io/enabled=false", "--overwrite"]);
    ns.run(&["delete", "statefulset", "one", "--cascade=orphan"]);
    eventually("the reports to go", SOON, || {
        let left = plane.get(&["-n", &ns.name, REPORTS])?;
        left["items"].as_array()?.is_empty().then_some(())
    });

    // Without any kind again it goes on as before.
    plane.kubectl_ok(&["delete", "crd", REPORTS, POLICY_REPORTS]);
    ns.run(&["label", "statefulset", "etcd", "etcd-defrag.io/enabled=true", "--overwrite"]);
    ns.cronjob("etcd");
}
