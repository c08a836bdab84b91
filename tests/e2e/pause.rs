//! The switch for the whole fleet, with the real CronJob controller.

use std::process::{Command, Output};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::support::{Namespace, SOON, World, etcd, namespace, stderr};
use harness::{ControlPlane, binary, eventually};

fn program(plane: &ControlPlane, args: &[&str]) -> Output {
    Command::new(binary()).args(args).env("KUBECONFIG", plane.kubeconfig()).output().unwrap()
}

/// The names of the Jobs that a CronJob controls.
fn jobs(ns: &Namespace<'_>, cronjob: &str) -> Vec<String> {
    let list = ns.plane.get(&["-n", &ns.name, "jobs"]).unwrap();
    let of_it = |job: &&Value| job["metadata"]["ownerReferences"][0]["name"] == cronjob;
    let all = list["items"].as_array().unwrap().iter().filter(of_it);
    all.map(|job| job["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn is_paused(cronjob: &Value) -> bool {
    cronjob["spec"]["suspend"] == true && cronjob["metadata"]["annotations"]["etcd-defrag.io/paused"].is_string()
}

/// A registration as the chart makes it, by which the commands find the namespace; it matches nothing.
fn registration() -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "chart"},
        "webhooks": [{"name": "validate.etcd-defrag-webhook.etcd-defrag.io", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"service": {"namespace": "etcd-defrag-system", "name": "etcd-defrag-webhook"}},
            "rules": [{"apiGroups": ["nothing.example.org"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothings"]}]}]})
}

/// Another CronJob with the schedule and the starting deadline of one of ours, which nobody keeps from catching up.
fn control(like: &Value) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "control", "namespace": like["metadata"]["namespace"]},
        "spec": {"schedule": like["spec"]["schedule"], "timeZone": "Etc/UTC", "suspend": true,
            "startingDeadlineSeconds": like["spec"]["startingDeadlineSeconds"],
            "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}]}}}}}})
}

#[test]
fn a_paused_fleet_runs_nothing_and_goes_on_without_what_it_missed() {
    let world = World::start();
    let ns = namespace(&world.plane, "paused");
    world.plane.apply(&registration().to_string());
    let due = (Timestamp::now() + SignedDuration::from_secs(150)).to_zoned(TimeZone::UTC);
    let due = due.with().second(0).subsec_nanosecond(0).build().unwrap();
    let schedule = format!("{} {} * * *", due.minute(), due.hour());
    let settings = [("schedule", schedule.as_str()), ("time-zone", "Etc/UTC")];
    ns.accepts(&etcd(&ns.name, "e", &settings));
    ns.accepts(&etcd(&ns.name, "off", &[("suspend", "true")]));
    ns.cronjob("off");
    ns.accepts(&control(&ns.cronjob("e")));

    let paused = program(&world.plane, &["pause", "--reason", "a drill\nof the test"]);
    assert!(paused.status.success(), "{}", stderr(&paused));
    ns.cronjob_that("e", "be paused", is_paused);
    ns.cronjob_that("off", "be paused", is_paused);
    assert!(Timestamp::now() < due.timestamp(), "the machine is too slow for this test");
    // What is enrolled later, too.
    ns.accepts(&etcd(&ns.name, "later", &settings));
    ns.cronjob_that("later", "be paused", is_paused);
    ns.run(&["annotate", "statefulset", "e", "etcd-defrag.io/defrag-now=please"]);
    assert!(ns.event("e", "DefragNowWaits").contains("the whole fleet is paused"));
    let status = program(&world.plane, &["status", "-n", &ns.name]);
    let said = stderr(&status);
    assert!(said.contains("the fleet is paused since 20") && said.contains(r"(a drill\nof the test)"), "{said}");
    let table = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(table.lines().filter(|line| line.contains(" paused ")).count(), 3, "{table}");

    eventually("the schedule to be missed", SOON + SOON + SOON, || {
        (Timestamp::now() > due.timestamp() + SignedDuration::from_secs(5)).then_some(())
    });
    assert_eq!(jobs(&ns, "e-defrag-job"), [""; 0]);
    let resumed = program(&world.plane, &["resume"]);
    assert!(stderr(&resumed).contains("the fleet is no longer paused; it was paused since 20"), "{}", stderr(&resumed));
    for name in ["e", "later"] {
        ns.cronjob_that(name, "go on", |cronjob| cronjob["spec"]["suspend"] == false && !is_paused(cronjob));
    }
    ns.cronjob_that("off", "stay suspended", |cronjob| {
        cronjob["spec"]["suspend"] == true && cronjob["metadata"]["annotations"]["etcd-defrag.io/paused"].is_null()
    });
    // The controller catches up with what it was not told to forget; it has looked at ours before.
    ns.run(&["patch", "cronjob", "control", "-p", r#"{"spec": {"suspend": false}}"#]);
    eventually("the other CronJob to catch up", SOON, || (!jobs(&ns, "control").is_empty()).then_some(()));
    for name in ["e", "later"] {
        assert_eq!(jobs(&ns, &format!("{name}-defrag-job")), [""; 0]);
    }
    let again = program(&world.plane, &["resume"]);
    assert!(again.status.success() && stderr(&again).contains("the fleet is not paused"), "{}", stderr(&again));
}

/// As `docs/break-glass.md` has it for where the program is not at hand.
#[test]
fn kubectl_pauses_and_resumes_as_well() {
    let world = World::start();
    let ns = namespace(&world.plane, "by-hand");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    ns.cronjob("e");
    let page = include_str!("../../docs/break-glass.md");
    let commands = page.lines().filter(|line| line.contains(" configmap etcd-defrag-webhook-pause"));
    let commands: Vec<&str> = commands.collect();
    let [pause, resume] = commands.as_slice() else { panic!("{commands:?}") };
    let run = |command: &str| {
        let mut words = command.strip_prefix("kubectl ").unwrap().split('"');
        let mut args: Vec<String> = words.next().unwrap().split(' ').map(str::to_owned).collect();
        if let Some(reason) = words.next() {
            args.last_mut().unwrap().push_str(reason);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        world.plane.kubectl_ok(&args);
    };
    run(pause);
    ns.cronjob_that("e", "be paused", is_paused);
    run(resume);
    ns.cronjob_that("e", "go on", |cronjob| cronjob["spec"]["suspend"] == false);
}
