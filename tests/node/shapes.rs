//! Etcds of many shapes, each labelled, filled, emptied and defragmented.

use serde_json::json;

use super::support::{Before, RUN, SOON, chart_policy, container, defragments, incident, namespace, waste, world};
use harness::{EtcdPods, Fill, PodsOptions, Secrets, eventually};

/// Nothing but the label: every setting is the built-in one, the 30 s between members included.
#[test]
fn one_label() {
    let Some(world) = world("one_label") else { return };
    let pods = EtcdPods::start(&world.node, &namespace(&world.node, "label"), PodsOptions::default());
    defragments(&world.node, &pods);
}

/// What the other shapes have in common: no long waits.
fn quick(options: PodsOptions) -> PodsOptions {
    options.annotated("wait-between-members", "1s")
}

/// The controller itself starts the Job, by the schedule.
#[test]
fn plain_http_and_a_schedule_that_becomes_due() {
    let Some(world) = world("plain_http_and_a_schedule_that_becomes_due") else { return };
    let node = &world.node;
    let options = quick(PodsOptions { tls: false, ..PodsOptions::default() }).annotated("time-zone", "Etc/UTC");
    let pods = EtcdPods::start(node, &namespace(node, "due"), options);
    waste(&pods);
    let before = Before::of(&pods);
    // The minute must not have begun when the CronJob has changed.
    loop {
        let due = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(65);
        let due = due.to_zoned(jiff::tz::TimeZone::UTC).with().second(0).subsec_nanosecond(0).build().unwrap();
        let schedule = format!("{} {} * * *", due.minute(), due.hour());
        pods.annotate("schedule", &schedule);
        eventually("the CronJob to have the schedule", SOON, || {
            (pods.cronjob()["spec"]["schedule"] == schedule).then_some(())
        });
        if jiff::Timestamp::now() < due.timestamp() {
            break;
        }
    }
    let job = eventually("the Job of the schedule", RUN, || {
        let jobs = node.get(&["-n", pods.namespace(), "jobs"])?;
        Some(jobs["items"].as_array()?.first()?["metadata"]["name"].as_str()?.to_owned())
    });
    let end = pods.job_end(&job, RUN);
    let log = pods.job_log(&job);
    assert!(end.succeeded, "{end:?}\n{log}");
    before.defragmented(node, &log, &job);
}

#[test]
fn a_password_secret() {
    let Some(world) = world("a_password_secret") else { return };
    // Characters that mean something to shells, to the kubelet and to etcd's own user flag.
    let options = PodsOptions { password: Some("a$(POD_NAME) b:c,d".to_owned()), ..PodsOptions::default() };
    let options = quick(options).annotated("username-secret", "kamaji-etcd-root-user:username,password");
    let pods = EtcdPods::start(&world.node, &namespace(&world.node, "rbac"), options);
    defragments(&world.node, &pods);
}

/// This etcd does not compact by itself, and no kube-apiserver does it here, so the Job is asked to: what was deleted is free only
/// then, and the rule, which is asked afterwards, fires.
#[test]
fn one_member_that_does_not_compact_by_itself() {
    let Some(world) = world("one_member_that_does_not_compact_by_itself") else { return };
    let options = quick(PodsOptions { members: 1, auto_compaction: false, ..PodsOptions::default() });
    // As the shape is that of kamaji-etcd, an API server is taken to compact it.
    let options = options.annotated("compaction", "true");
    let pods = EtcdPods::new(&world.node, &namespace(&world.node, "one"), options);
    let said = pods.apply();
    assert!(said.contains("one member: every run is an outage of the whole etcd"), "{said}");
    pods.wait_ready();
    pods.fill(Fill { compact: false, ..Fill::to(pods.options().quota, 82) });
    let before = Before::of(&pods);
    let log = pods.run_job("by-hand", RUN);
    before.defragmented(&world.node, &log, "by-hand");
}

/// Volume claims too: what a chart has.
#[test]
fn ordinals_that_start_at_three() {
    let Some(world) = world("ordinals_that_start_at_three") else { return };
    let options = quick(PodsOptions { first_ordinal: 3, claim: Some("256Mi".to_owned()), ..PodsOptions::default() });
    let pods = EtcdPods::start(&world.node, &namespace(&world.node, "three"), options);
    assert_eq!(pods.pods(), ["kamaji-etcd-3", "kamaji-etcd-4", "kamaji-etcd-5"]);
    defragments(&world.node, &pods);
}

#[test]
fn five_members() {
    let Some(world) = world("five_members") else { return };
    let options = quick(PodsOptions { members: 5, ..PodsOptions::default() });
    let pods = EtcdPods::start(&world.node, &namespace(&world.node, "five"), options);
    defragments(&world.node, &pods);
}

#[test]
fn secrets_under_other_names_and_keys() {
    let Some(world) = world("secrets_under_other_names_and_keys") else { return };
    let secrets = Secrets {
        certs: Some("store-tls".to_owned()),
        ca_key: "authority.pem".to_owned(),
        client: Some("visitor".to_owned()),
        client_cert_key: "visitor.crt".to_owned(),
        client_key_key: "visitor.key".to_owned(),
    };
    let options = quick(PodsOptions { name: "store".to_owned(), secrets, ..PodsOptions::default() })
        .annotated("client-secret", "visitor:visitor.crt,visitor.key");
    let pods = EtcdPods::start(&world.node, &namespace(&world.node, "keys"), options);
    let volumes = &pods.cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[0]["secret"]["items"][0], json!({"key": "authority.pem", "path": "ca.crt"}));
    defragments(&world.node, &pods);
}

/// A full etcd refuses every write until somebody has freed space and lifted the alarm: under the policy of the chart the Job does
/// both.
#[test]
fn a_full_etcd_takes_writes_again() {
    let Some(world) = world("a_full_etcd_takes_writes_again") else { return };
    let options = quick(PodsOptions { quota: 64 << 20, ..PodsOptions::default() });
    let pods = EtcdPods::start(&world.node, &namespace(&world.node, "full"), options);
    chart_policy(&world.node, &pods);
    pods.fill(Fill { until_full: true, ..Fill::small_to(pods.options().quota, 150) });
    let refused = pods.etcdctl(&["put", "a", "b"]);
    assert!(!refused.status.success() && pods.status().iter().all(|member| !member.errors.is_empty()));
    let before = Before::of(&pods);
    let log = pods.run_job("by-hand", RUN);
    before.defragmented(&world.node, &log, "by-hand");
    incident(&pods, "NOSPACE, under the policy of the chart", log.lines().last().unwrap_or_default());
    pods.etcdctl_ok(&["put", "a", "b"]);
    let args = container(&pods.cronjob())["args"].to_string();
    assert!(args.contains("--auto-disalarm=true"), "{args}");
}
