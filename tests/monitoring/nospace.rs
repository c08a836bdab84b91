//! The drill of the runbook: a real etcd that runs into its quota, the alert, and the way back.

use std::{
    fs::{self, File},
    process::{Command, Output},
    time::Duration,
};

use crate::{files, world::members};
use harness::{EtcdCluster, EtcdOptions, Prometheus, PrometheusOptions, eventually, prometheus};

const SOON: Duration = Duration::from_mins(1);
const QUOTA: u64 = 16 << 20;
const REFUSED: &str = "etcdserver: mvcc: database space exceeded";

/// A write of 100 kB over the one before.
fn write(etcd: &EtcdCluster) -> Output {
    etcd.etcdctl(["--command-timeout=60s", "put", "key", &"x".repeat(100_000)])
}

/// A write of 1 MB to one member. Near the quota it finds no space there, although the sizes of the members differ by some pages; a
/// smaller one may be refused only because another member has raised the alarm.
fn large_write(etcd: &EtcdCluster, member: usize) -> Output {
    let value = etcd.dir().join("large-value");
    fs::write(&value, "x".repeat(1_000_000)).unwrap();
    let mut put = etcd.etcdctl_command();
    put.env("ETCDCTL_ENDPOINTS", &etcd.endpoints()[member]).args(["put", "key"]).stdin(File::open(value).unwrap());
    put.output().unwrap()
}

fn write_is_refused(written: &Output) -> bool {
    String::from_utf8_lossy(&written.stderr).contains(REFUSED)
}

/// The commands of the runbook, one script.
fn drill() -> String {
    let page = files::read(&files::root().join("docs/runbooks/EtcdDefragNoSpace.md"));
    let fix = page.split("## How to fix it").nth(1).unwrap();
    let blocks: Vec<&str> = fix.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 4, "the runbook has {} blocks of commands", blocks.len());
    blocks.join("\n")
}

#[test]
fn nospace_is_seen_and_the_runbook_leads_back() {
    let Some(programs) = prometheus::found("nospace_is_seen_and_the_runbook_leads_back") else { return };
    let etcd = EtcdCluster::start(&EtcdOptions { quota: Some(QUOTA), ..EtcdOptions::default() });
    let jobs = prometheus::jobs_of(&members(&etcd, "tenants", "etcd"));
    let prometheus = Prometheus::start(programs, &PrometheusOptions { jobs, ..PrometheusOptions::default() });
    prometheus.wait_for("etcd:quota_usage:max < 0.5");
    let alert =
        "ALERTS{alertname=\"EtcdDefragNoSpace\", alertstate=\"firing\", namespace=\"tenants\", statefulset=\"etcd\"}";
    assert!(prometheus.query(alert).is_empty());

    assert!((0..2_000).any(|_| write_is_refused(&write(&etcd))), "the etcd refuses no write");
    eventually("the alert", SOON, || {
        write(&etcd);
        (!prometheus.query(alert).is_empty()).then_some(())
    });
    // By the sign that all versions have, not only by the size.
    eventually("refused writes to be seen", SOON, || {
        write(&etcd);
        prometheus.value("etcd:refused_writes:rate5m").filter(|rate| *rate > 0.0)
    });

    // Why it is that sign: etcd 3.6 and later count in a gauge how often the alarm was raised, and forget it at a restart, while
    // the alarm stays.
    let gauge = |pod: usize| format!("sum(etcd_debugging_server_alarms{{alarm_type=\"NOSPACE\", pod=\"etcd-{pod}\"}})");
    // Without its leader a cluster answers no write until it has elected another.
    let leader = etcd.status().iter().position(|member| member.is_leader).unwrap();
    let (restarted, other) = ((leader + 1) % 3, (leader + 2) % 3);
    prometheus.wait_for(&gauge(restarted));
    prometheus.wait_for(&gauge(other));
    // Each of these raises the alarm again, and one disarm lifts it.
    for _ in 0..2 {
        assert!(write_is_refused(&large_write(&etcd, other)));
    }
    etcd.member(restarted).restart();
    eventually("the gauge to go with the restart", SOON, || {
        prometheus.query(&gauge(restarted)).is_empty().then_some(())
    });
    assert!(etcd.etcdctl_ok(&["alarm", "list"]).contains("NOSPACE"));
    assert!(write_is_refused(&write(&etcd)));

    let mut script = Command::new("bash");
    script.args(["-euo", "pipefail", "-c", &drill()]);
    for (name, value) in etcd.etcdctl_command().get_envs() {
        script.env(name, value.unwrap_or_default());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    script.env("PATH", format!("{}:{path}", harness::bin_dir().display()));
    let output = script.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");

    assert!(write(&etcd).status.success(), "{said}");
    assert_eq!(etcd.etcdctl_ok(&["alarm", "list"]).trim(), "");
    for member in etcd.status() {
        assert!(member.db_size < QUOTA / 2, "{member:?}\n{said}");
    }
    eventually("the sizes to be seen", SOON, || prometheus.value("etcd:quota_usage:max").filter(|usage| *usage < 0.5));
    eventually("no refusal any more", SOON, || {
        let refused = "sum(rate(grpc_server_handled_total{grpc_method=\"Put\", grpc_code=\"ResourceExhausted\"}[10s]))";
        prometheus.value(refused).filter(|rate| *rate == 0.0)
    });
    // The gauge of a member that was not restarted goes on as if the alarm were raised.
    eventually("the gauge to be seen", SOON, || prometheus.value(&gauge(other)).filter(|value| *value > 0.0));
}
