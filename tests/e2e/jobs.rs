//! The real CronJob controller makes a Job of our CronJob, and the real engine takes its arguments.

use std::{process::Command, time::Duration};

use serde_json::Value;

use super::support::{due_soon, etcd, namespace, stderr, world};
use etcd_defrag_webhook::defrag::rule::SMALLEST_DATABASE;
use harness::{EtcdCluster, EtcdOptions, eventually};

/// A schedule whose next run is at most a minute away would be refused, so the run is asked for as people do it.
#[test]
fn the_job_of_the_cronjob_has_the_pod_template_that_was_built() {
    let world = world();
    let ns = namespace(&world.plane, "job");
    ns.accepts(&etcd(&ns.name, "e", &[]));
    let cronjob = ns.cronjob("e");
    ns.run(&["create", "job", "by-hand", "--from=cronjob/e-defrag-job"]);
    let job = ns.get("job", "by-hand").unwrap();
    let built = &cronjob["spec"]["jobTemplate"]["spec"];
    assert_eq!(job["spec"]["template"]["spec"], built["template"]["spec"]);
    assert_eq!(job["spec"]["backoffLimit"], built["backoffLimit"]);
    // Pod Security "restricted" is enforced in this namespace: the Job controller gets its pod only if that is content.
    let pods = eventually("the pod of the Job", Duration::from_secs(30), || {
        let pods = ns.plane.get(&["-n", &ns.name, "pods", "-l", "job-name=by-hand"])?;
        pods["items"].as_array().filter(|items| !items.is_empty()).cloned()
    });
    assert_eq!(pods[0]["spec"]["containers"][0]["args"], built["template"]["spec"]["containers"][0]["args"]);
}

/// That of docs/policies.md.
#[test]
fn the_documented_network_policy_selects_the_runs_of_one_etcd() {
    let world = world();
    let ns = namespace(&world.plane, "netpol");
    let page = include_str!("../../docs/policies.md");
    let text = &page[page.find("apiVersion: networking.k8s.io/v1").unwrap()..];
    let text = text.split("```").next().unwrap().replace("kamaji-system", &ns.name);
    let args = ["create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-"];
    let output = ns.plane.kubectl_stdin(args, &text);
    assert!(output.status.success(), "{}", stderr(&output));
    let policy: Value = serde_json::from_slice(&output.stdout).unwrap();
    let wanted = policy["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"].as_object().unwrap();
    let selects = |name: &str| {
        ns.accepts(&etcd(&ns.name, name, &[]));
        let labels = &ns.cronjob(name)["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"];
        wanted.iter().all(|(key, value)| labels[key] == *value)
    };
    assert!(selects("kamaji-etcd") && !selects("kamaji-etcd-2"));
}

/// The controller itself fires: the schedule is due in the minute that comes, and the starting deadline is generous.
#[test]
fn the_controller_starts_a_job_when_the_schedule_is_due() {
    let world = world();
    let ns = namespace(&world.plane, "due");
    let cronjob = due_soon(&ns, "e");
    let job = eventually("the Job of the schedule", Duration::from_secs(150), || {
        let jobs = ns.plane.get(&["-n", &ns.name, "jobs"])?;
        jobs["items"].as_array()?.first().cloned()
    });
    assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], cronjob["metadata"]["uid"]);
    assert_eq!(job["spec"]["template"]["spec"], cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]);
}

/// The arguments go to the real engine, with the paths of the mounted files and the endpoints of the members exchanged
/// for those of a real cluster on this machine.
#[test]
fn the_engine_takes_the_arguments() {
    let world = world();
    let ns = namespace(&world.plane, "engine");
    ns.accepts(&etcd(&ns.name, "e", &[("auto-disalarm", "true")]));
    let cronjob = ns.cronjob("e");
    if Command::new("etcd-defrag").arg("--version").output().is_err() {
        println!("SKIPPED: the_engine_takes_the_arguments: etcd-defrag is not on PATH");
        return;
    }
    let cluster = EtcdCluster::start(&EtcdOptions::default());
    let container = &cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].as_array().unwrap().iter().filter_map(Value::as_str).map(|arg| {
        let file = |name: &str, path: Option<&std::path::Path>| format!("--{name}={}", path.unwrap().display());
        match arg.split_once('=').unwrap().0 {
            "--endpoints" => format!("--endpoints={}", cluster.endpoints().join(",")),
            "--cacert" => file("cacert", cluster.ca_file()),
            "--cert" => file("cert", cluster.client_cert_file()),
            "--key" => file("key", cluster.client_key_file()),
            _ => arg.to_owned(),
        }
    });
    let output = Command::new("etcd-defrag").args(args).arg("--dry-run").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("[Dry run]") || said.to_lowercase().contains("dry run"), "{said}");
}

/// The analysis of rules begins at the smallest database that there is.
#[test]
fn no_database_is_smaller_than_the_analysis_of_rules_assumes() {
    let cluster = EtcdCluster::start(&EtcdOptions { members: 1, tls: false, ..EtcdOptions::default() });
    let size = || cluster.status()[0].db_size;
    let fresh = size();
    cluster.etcdctl_ok(&["defrag"]);
    let defragmented = size();
    println!("a fresh database has {fresh} bytes, a defragmented one {defragmented}");
    assert!(fresh.min(defragmented) >= SMALLEST_DATABASE, "{fresh} and {defragmented}");
}
