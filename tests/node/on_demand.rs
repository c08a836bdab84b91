//! The drill: two etcds run towards NOSPACE under the same writes. What is measured starts a run for one of them in time; the
//! other gets there, and is brought back by a run on request.

use std::{
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::support::{Before, RUN, SOON, World, chart_policy, container, namespace, policy, world};
use harness::{Engine, EtcdPods, Fill, PodsOptions, Prometheus, PrometheusOptions, eventually, prometheus};

const QUOTA: u64 = 64 << 20;
/// What the burst leaves below the quota, at least, in bytes.
const LEFT: u64 = 1 << 20;
/// The object of the writer, in bytes: how large it is at first, by how much it grows in a second, and how far; etcd takes
/// requests of up to 1.5 MiB.
const FIRST: u64 = 100_000;
const GROWTH: u64 = 25_000;
const LARGEST: u64 = 1_400_000;
/// How long the object is written at its largest.
const LARGEST_FOR: Duration = Duration::from_secs(8);
/// What etcd says of a write that it refuses.
const REFUSED: &str = "database space exceeded";

/// An etcd that no schedule defragments before next year. Its readiness probe is the one that many have, and that takes a member
/// with an alarm for one that is not ready.
fn etcd<'a>(world: &'a World, purpose: &str) -> EtcdPods<'a> {
    let readiness = json!({"httpGet": {"path": "/health", "port": 2381}, "periodSeconds": 1, "failureThreshold": 2});
    let options = PodsOptions { quota: QUOTA, readiness: Some(readiness), ..PodsOptions::default() }
        .annotated("wait-between-members", "1s")
        .annotated("schedule", "0 0 1 1 *")
        .annotated("time-zone", "Etc/UTC");
    EtcdPods::start(&world.node, &namespace(&world.node, purpose), options)
}

/// A burst: keys are written over and over until the largest file is just below the quota. Then they are deleted and
/// compacted, so that nearly all of the file is to be reclaimed.
fn burst(pods: &EtcdPods<'_>) {
    let room = || {
        let largest = pods.status().iter().map(|member| member.db_size).max().unwrap();
        (QUOTA - LEFT).saturating_sub(largest)
    };
    // A key takes two pages, and somewhat more by what leads to them.
    let keys = |room: u64| usize::try_from(room * 24 / 25 / 8192).unwrap();
    let most = Fill::to(QUOTA, 80);
    pods.fill(Fill { keep: most.keys, compact: false, ..most });
    loop {
        let keys = keys(room());
        if keys < 20 {
            break;
        }
        pods.fill(Fill { keys, size: 8000, keep: keys, compact: false, until_full: false });
    }
    pods.fill(Fill { keys: 1, size: 8000, keep: 0, compact: true, until_full: false });
}

/// What became of the writes.
#[derive(Debug, Default)]
struct Written {
    accepted: usize,
    /// For want of space.
    refused: usize,
    /// For another reason, as while the leader moves.
    failed: Vec<String>,
}

/// Writes one object again and again, as those who own a Secret or a status do, and compacts after each write; the object
/// grows with the time. An etcd reuses the pages that it has freed, however full its file is: only a write that is larger than
/// what the file is short of its quota raises NOSPACE, and from then on every write is refused.
fn write_until(pods: &EtcdPods<'_>, begun: Instant, mut enough: impl FnMut(&Written, u64) -> bool) -> Written {
    let mut written = Written::default();
    loop {
        let size = (FIRST + GROWTH * begun.elapsed().as_secs()).min(LARGEST);
        let round = Instant::now();
        let fill = Fill { keys: 1, size: usize::try_from(size).unwrap(), keep: 1, compact: true, until_full: false };
        let output = pods.try_fill(fill);
        let said = String::from_utf8_lossy(&output.stderr);
        match (output.status.success(), said.contains(REFUSED)) {
            (true, _) => written.accepted += 1,
            (false, true) => written.refused += 1,
            (false, false) => written.failed.push(said.trim().to_owned()),
        }
        if enough(&written, size) {
            return written;
        }
        assert!(begun.elapsed() < RUN, "the writer waits in vain: {written:?}");
        thread::sleep(Duration::from_secs(1).saturating_sub(round.elapsed()));
    }
}

/// The Jobs of an etcd: name, and when each was made.
fn jobs(pods: &EtcdPods<'_>, world: &World) -> Vec<(String, Timestamp)> {
    let list = world.node.get(&["-n", pods.namespace(), "jobs"]).unwrap();
    let jobs = list["items"].as_array().unwrap().iter().map(|job| &job["metadata"]);
    jobs.map(|meta| (text(&meta["name"]).to_owned(), text(&meta["creationTimestamp"]).parse().unwrap())).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn alarms(pods: &EtcdPods<'_>) -> String {
    pods.etcdctl_ok(&["alarm", "list"]).trim().to_owned()
}

fn alert(name: &str, pods: &EtcdPods<'_>) -> String {
    format!("ALERTS{{alertname=\"{name}\", alertstate=\"firing\", namespace=\"{}\"}}", pods.namespace())
}

/// Writes that the members have refused for want of space, by their own count.
fn refusals(prometheus: &Prometheus, pods: &EtcdPods<'_>) -> f64 {
    let counted = format!(
        "sum(grpc_server_handled_total{{grpc_code=\"ResourceExhausted\", namespace=\"{}\"}}) or vector(0)",
        pods.namespace()
    );
    prometheus.value(&counted).unwrap()
}

/// A policy for one namespace, under which this Prometheus starts runs; waits until it tells of the etcd there.
fn measure(world: &World, namespace: &str, prometheus: &Prometheus) {
    let node = &world.node;
    let object = json!({
        "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "drill"},
        "spec": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "job": {"engine": Engine::here().name()},
            "metrics": {"prometheus": {
                "url": prometheus.url(), "interval": "5s", "timeout": "2s", "staleAfter": "15s", "cooldown": "1m",
            }},
        },
    });
    policy(node, &object);
    eventually("every member to be measured", SOON * 2, || {
        let conditions = node.get(&["defragpolicy", "drill"])?["status"]["conditions"].clone();
        let told = |one: &Value| {
            one["type"] == "PrometheusReachable" && text(&one["message"]).contains("every member of 1 etcd")
        };
        conditions.as_array()?.iter().any(told).then_some(())
    });
}

#[test]
fn a_run_comes_before_nospace_where_sizes_are_measured_and_leads_back_from_it_where_they_are_not() {
    let test = "a_run_comes_before_nospace_where_sizes_are_measured_and_leads_back_from_it_where_they_are_not";
    let Some(programs) = prometheus::found(test) else { return };
    let Some(world) = world(test) else { return };
    let [one, other] = thread::scope(|scope| {
        let started = ["measured", "unmeasured"].map(|purpose| scope.spawn(|| etcd(&world, purpose)));
        started.map(|started| started.join().unwrap())
    });
    let jobs = vec![prometheus::job_of_pods(&[&one, &other])];
    let prometheus = Prometheus::start(programs, &PrometheusOptions { jobs, ..PrometheusOptions::default() });
    thread::scope(|scope| {
        scope.spawn(|| measured(&world, &one, &prometheus));
        scope.spawn(|| unmeasured(&world, &other, &prometheus));
    });
}

/// With the product: the rule of the built-in policy holds for what is measured, and a Job starts.
fn measured(world: &World, pods: &EtcdPods<'_>, prometheus: &Prometheus) {
    measure(world, pods.namespace(), prometheus);
    burst(pods);
    let (holds, begun) = (Timestamp::now(), Instant::now());
    let before = Before::of(pods);
    let mut at_largest = None;
    let written = write_until(pods, begun, |written, size| {
        assert_eq!(written.refused, 0, "a write is refused: {written:?}\n{}", world.serve.log());
        if size == LARGEST {
            at_largest.get_or_insert_with(Instant::now);
        }
        at_largest.is_some_and(|since| since.elapsed() >= LARGEST_FOR)
    });

    let started = jobs(pods, world);
    let [(job, made)] = started.as_slice() else { panic!("not one Job: {started:?}\n{}", world.serve.log()) };
    let end = pods.job_end(job, RUN);
    let log = pods.job_log(job);
    assert!(end.succeeded, "{end:?}\n{log}");
    before.defragmented(&world.node, &log, job);
    let since = |at: Timestamp| at.duration_since(holds).as_secs_f64();
    let ended = pods.defragmentations().last().and_then(|last| last.to).unwrap();
    println!(
        "measured: from when the rule holds to the Job {:.0} s, to the end of the last defragmentation {:.1} s; {} writes of up to {LARGEST} \
         bytes, {} refused, {} failed otherwise {:?}",
        since(*made),
        since(ended),
        written.accepted,
        written.refused,
        written.failed.len(),
        written.failed,
    );
    // Nobody lifts an alarm here, so none that is left is none that was raised.
    assert_eq!(alarms(pods), "");
    assert!(refusals(prometheus, pods).abs() < f64::EPSILON);

    let past = |expression: &str| format!("min_over_time(timestamp({expression})[15m:1s])");
    for name in ["EtcdDefragQuotaUsageHigh", "EtcdDefragQuotaUsageCritical", "EtcdDefragReclaimableSpace"] {
        let alert = alert(name, pods);
        let first = prometheus.value(&past(&alert)).unwrap_or_else(|| panic!("{name} never fired"));
        println!("measured: {name} fires {:.0} s after the rule holds", first - holds.as_duration().as_secs_f64());
        eventually("the alert to end with the run", SOON, || prometheus.query(&alert).is_empty().then_some(()));
    }
    assert_eq!(prometheus.value(&past(&alert("EtcdDefragNoSpace", pods))), None);
}

/// Without: the same writes raise NOSPACE. Then a person asks for a run, which under the policy of the chart also lifts the alarm.
fn unmeasured(world: &World, pods: &EtcdPods<'_>, prometheus: &Prometheus) {
    chart_policy(&world.node, pods);
    burst(pods);
    let begun = Instant::now();
    let before = Before::of(pods);
    let written = write_until(pods, begun, |written, _| written.refused > 0);
    let free: Vec<u64> = pods.status().iter().map(|member| (member.db_size - member.db_size_in_use) >> 20).collect();
    println!(
        "unmeasured: NOSPACE after {:.0} s and {} writes, with {free:?} MiB of {} MiB to reclaim; {} failed otherwise {:?}",
        begun.elapsed().as_secs_f64(),
        written.accepted,
        QUOTA >> 20,
        written.failed.len(),
        written.failed,
    );
    assert!(alarms(pods).contains("alarm:NOSPACE"));
    let small = pods.etcdctl(&["put", "a", "b"]);
    assert!(String::from_utf8_lossy(&small.stderr).contains(REFUSED), "even the smallest write is refused");
    assert_eq!(jobs(pods, world), []);
    prometheus.wait_for(&alert("EtcdDefragNoSpace", pods));
    eventually("the refusals to be seen", SOON, || (refusals(prometheus, pods) > 0.0).then_some(()));

    eventually("the alarm to make every member unready", SOON, || {
        let object = world.node.get(&["-n", pods.namespace(), "statefulset", pods.name()])?;
        object["status"]["readyReplicas"].as_u64().is_none_or(|ready| ready == 0).then_some(())
    });

    let asked = Instant::now();
    pods.annotate("defrag-now", "drill");
    let job = eventually("the Job that was asked for", SOON, || Some(jobs(pods, world).first()?.0.clone()));
    eventually("writes to succeed again", RUN, || pods.etcdctl(&["put", "a", "b"]).status.success().then_some(()));
    println!("unmeasured: from defrag-now to the first write that succeeds {:.1} s", asked.elapsed().as_secs_f64());
    let end = pods.job_end(&job, RUN);
    let log = pods.job_log(&job);
    assert!(end.succeeded, "{end:?}\n{log}");
    before.defragmented(&world.node, &log, &job);
    assert!(container(&pods.cronjob())["args"].to_string().contains("--auto-disalarm=true"));
    assert_eq!(alarms(pods), "");
    pods.fill(Fill { keys: 1, size: usize::try_from(LARGEST).unwrap(), keep: 1, compact: true, until_full: false });
    assert_eq!(jobs(pods, world).len(), 1);
}
