//! One run of a CronJob, measured.

use std::{thread, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    etcd::Etcd,
    model::{Interval, Lane, Run},
    say,
};
use harness::{Defragmentation, etcd_image, eventually};

/// Writes go on this long before a run and after it.
const MARGIN: Duration = Duration::from_secs(4);
const SOON: Duration = Duration::from_mins(1);
/// For a whole run.
const PATIENCE: Duration = Duration::from_mins(20);
/// The engine's own time-out for a member, where the CronJob gives none.
const DEFAULT_TIMEOUT: f64 = 30.0;

/// What `etcd-load stream` says at its end.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Streamed {
    writes: u64,
    failed: u64,
    slowest_millis: u64,
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    endpoint: usize,
    began: Timestamp,
    ended: Timestamp,
}

impl Etcd<'_> {
    /// Has a Job of the CronJob that is there now run, with writes through every member meanwhile.
    pub(crate) fn run(&self, who: &'static str, name: &str) -> Run {
        let pods = self.pods();
        let timeout = timeout(&pods.cronjob());
        let stream = format!("stream-{name}");
        self.start_stream(&stream);
        thread::sleep(MARGIN);
        let cpu = self.cpu_seconds();
        say(&format!("{who}: Job {name}"));
        let begun = Timestamp::now();
        pods.create_job(name);
        let exit_code = self.wait_for_exit(name);
        let log = self.log_of(name);
        // One run is what is compared. One that has failed is not started again, as `OnFailure` would.
        self.node.kubectl_ok(&[
            "-n",
            pods.namespace(),
            "delete",
            "job",
            name,
            "--cascade=foreground",
            "--grace-period=1",
        ]);
        let found = self.finished_since(begun);
        let cpu_after = self.cpu_seconds();
        thread::sleep(MARGIN);
        let streamed = self.end_stream(&stream);
        let length = seconds(begun, Timestamp::now());

        let lanes = pods.pods().into_iter().enumerate().map(|(index, member)| {
            let of_member = found.iter().filter(|one| one.pod == member);
            let blocked = of_member.filter_map(|one| Some(interval(begun, one.from, one.to?))).collect();
            let failed = streamed.failures.iter().filter(|failure| failure.endpoint == index);
            let failed = failed.map(|failure| interval(begun, failure.began, failure.ended)).collect();
            Lane { name: member, blocked, failed }
        });
        let lanes: Vec<Lane> = lanes.collect();
        let mut used: Vec<f64> = cpu_after.iter().zip(&cpu).map(|(after, before)| after - before).collect();
        used.sort_by(f64::total_cmp);
        let run = Run {
            who,
            timeouts: lanes.iter().flat_map(|lane| &lane.blocked).filter(|one| one.length() > timeout).count(),
            timeout,
            lanes,
            length,
            reclaimed: self.reclaimed_since(begun),
            exit_code,
            writes: streamed.writes,
            failed: streamed.failed,
            slowest: Duration::from_millis(streamed.slowest_millis).as_secs_f64(),
            cpu_seconds: if found.is_empty() { 0.0 } else { used[used.len() / 2] },
        };
        say(&format!("  {}", run.in_a_line()));
        if run.exit_code != 0 {
            say(&format!("  the last lines of the engine:\n{}", last_lines(&log, 6)));
        }
        run
    }

    fn start_stream(&self, name: &str) {
        let pods = self.pods();
        let manifest = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": pods.namespace()},
            "spec": {
                "restartPolicy": "Never", "automountServiceAccountToken": false,
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "stream", "image": etcd_image(),
                    "command": [
                        "etcd-load", "stream", format!("--endpoints={}", pods.endpoints().join(",")),
                        "--cacert=/pki/ca.crt", "--cert=/pki/admin.pem", "--key=/pki/admin-key.pem",
                        "--prefix=/stream/", "--size=1000",
                    ],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "pki", "mountPath": "/pki", "readOnly": true}],
                }],
                "volumes": [{"name": "pki", "secret": {"secretName": format!("{}-certs", pods.name())}}],
            },
        });
        self.node.apply(&manifest.to_string());
        self.wait_for_phase(name, &["Running"]);
    }

    /// Ends it through its deadline: its log stays, which it would not if the pod were deleted.
    fn end_stream(&self, name: &str) -> Streamed {
        let namespace = self.pods().namespace();
        let deadline = r#"{"spec":{"activeDeadlineSeconds":1}}"#;
        self.node.kubectl_ok(&["-n", namespace, "patch", "pod", name, "-p", deadline]);
        self.wait_for_phase(name, &["Failed", "Succeeded"]);
        let text = eventually("the report of the stream", SOON, || {
            let said = self.node.kubectl(["-n", namespace, "logs", name]);
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            said.lines().rev().find(|line| line.starts_with('{')).map(ToOwned::to_owned)
        });
        self.node.kubectl_ok(&["-n", namespace, "delete", "pod", name, "--wait=false"]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("etcd-load wrote {text}: {error}"))
    }

    fn wait_for_phase(&self, pod: &str, phases: &[&str]) {
        eventually(&format!("{pod} to be {}", phases[0]), SOON, || {
            let object = self.node.get(&["-n", self.pods().namespace(), "pod", pod])?;
            phases.contains(&object["status"]["phase"].as_str()?).then_some(())
        });
    }

    /// Waits until the container of a Job has ended once; returns its exit code.
    fn wait_for_exit(&self, job: &str) -> i64 {
        let selector = format!("job-name={job}");
        eventually(&format!("Job {job} to end"), PATIENCE, || {
            thread::sleep(Duration::from_millis(200));
            let list = self.node.get(&["-n", self.pods().namespace(), "pods", "-l", &selector])?;
            let status = &list["items"][0]["status"]["containerStatuses"][0];
            let code = |state: &str| status[state]["terminated"]["exitCode"].as_i64();
            // The kubelet may have started it again by now.
            code("lastState").or_else(|| code("state"))
        })
    }

    /// What the engine wrote, the first time if it was started again.
    fn log_of(&self, job: &str) -> String {
        let selector = format!("job-name={job}");
        let log = |previous: &str| {
            let args = ["-n", self.pods().namespace(), "logs", "--tail=-1", "-l", &selector, previous];
            String::from_utf8_lossy(&self.node.kubectl(args).stdout).into_owned()
        };
        let first = log("--previous=true");
        if first.is_empty() { log("--previous=false") } else { first }
    }

    /// The defragmentations that have begun since, all of them finished: a member goes on when nobody waits any more.
    fn finished_since(&self, begun: Timestamp) -> Vec<Defragmentation> {
        eventually("every member to finish", PATIENCE, || {
            let all = self.pods().defragmentations().into_iter().filter(|one| one.from >= begun);
            let all: Vec<_> = all.collect();
            all.iter().all(|one| one.to.is_some()).then_some(all)
        })
    }

    /// By the members' own word.
    fn reclaimed_since(&self, begun: Timestamp) -> i64 {
        let pods = self.pods().pods();
        let logs = pods.iter().flat_map(|pod| self.pods().log(pod, false));
        let ends = logs.filter(|line| line.time >= begun && line.message == "finished defragmenting directory");
        ends.map(|line| {
            let grown = &line.line["current-db-size-bytes-diff"];
            -grown.as_i64().unwrap_or_else(|| panic!("etcd does not say what it reclaimed: {}", line.line))
        })
        .sum()
    }
}

/// After how many seconds the engine gives up waiting for a member, by the arguments of the CronJob.
fn timeout(cronjob: &Value) -> f64 {
    let args = &cronjob["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"];
    let mut words = args.as_array().into_iter().flatten().filter_map(Value::as_str);
    let given = words.find_map(|word| word.strip_prefix("--command-timeout="));
    given.map_or(DEFAULT_TIMEOUT, |text| {
        let parsed = etcd_defrag_webhook::defrag::duration::parse_unsigned(text);
        parsed.unwrap_or_else(|error| panic!("--command-timeout={text}: {error}")).as_secs_f64()
    })
}

fn interval(begun: Timestamp, from: Timestamp, to: Timestamp) -> Interval {
    Interval { from: seconds(begun, from), to: seconds(begun, to) }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
}
