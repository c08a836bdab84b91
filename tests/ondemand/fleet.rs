//! A fleet that a real Prometheus tells of.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{GIB, enrolled, fleet, fleet_size, jobs, policy, reachable, ready, reason, slowly, world};
use harness::{
    ControlPlane, Exported, Exporter, Prometheus, PrometheusOptions, Serve, Target, binary, client, prometheus,
};

const MIB: u64 = 1 << 20;

/// What the etcd of this number is like: size and in use, and whether its rule holds.
fn shape(index: usize) -> (u64, u64, bool) {
    match index % 50 {
        // Much to reclaim.
        7 => (3 * GIB, GIB, true),
        // Near the quota with enough to reclaim.
        13 => (7 * GIB, 7 * GIB - 300 * MIB, true),
        // Near the quota with nothing to reclaim.
        19 => (7 * GIB, 7 * GIB - MIB, false),
        _ => (GIB, GIB - 128 * MIB, false),
    }
}

fn metric(text: &str, name: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().split(' ').next_back()?.parse().ok());
    value.unwrap_or_default()
}

fn asked(serve: &Serve) -> f64 {
    metric(
        &serve.probe("/metrics").unwrap_or_default(),
        "etcd_defrag_webhook_prometheus_asked_total{result=\"Answered\"}",
    )
}

/// Three hours in which what the first etcd that wants a run has in use grew by 4 MiB a minute, up to what it is now. The labels
/// are those of the scrapes that follow, or there would be two series for each member.
fn past(exporter: &Exporter) -> String {
    let now = jiff::Timestamp::now().as_second();
    let mut text = String::from("# TYPE etcd_mvcc_db_total_size_in_use_in_bytes gauge\n");
    for ordinal in 0..3 {
        for minute in (1..=180).rev() {
            let (in_use, at) = (GIB - minute * 4 * MIB, now - i64::try_from(minute).unwrap() * 60);
            let scraped = format!("instance=\"127.0.0.1:{}\",job=\"0\"", exporter.port);
            let labels = format!("namespace=\"fleet\",pod=\"etcd-7-{ordinal}\",{scraped}");
            let _ = writeln!(text, "etcd_mvcc_db_total_size_in_use_in_bytes{{{labels}}} {in_use} {at}");
        }
    }
    text + "# EOF\n"
}

/// What `status` tells of an etcd: in JSON, and the lines of its text about it.
fn status(plane: &ControlPlane, prometheus: &Prometheus, name: &str) -> (Value, String) {
    let run = |args: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["status", "-n", "fleet", "--prometheus", &prometheus.url()]).args(args);
        let output = command.env("KUBECONFIG", plane.kubeconfig()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let rows: Vec<Value> = serde_json::from_str(&run(&["-o", "json"])).unwrap();
    let row = rows.into_iter().find(|row| row["name"] == name).unwrap();
    let text = run(&[]);
    let of_it = text.lines().filter(|line| line.starts_with(&format!("fleet/{name}: ")));
    (row, of_it.collect::<Vec<_>>().join("\n"))
}

/// A person who looks sees why: of the first etcd that wanted a run 7 GiB are left, and 5.6 GiB a day are written.
fn shown(plane: &ControlPlane, prometheus: &Prometheus, not_ready: usize) {
    let (row, text) = status(plane, prometheus, "etcd-7");
    let sizes = &row["sizes"];
    let bytes = ["size", "inUse", "quota", "reclaimable"].map(|field| sizes[field].as_u64().unwrap_or_default());
    assert_eq!(bytes, [3 * GIB, GIB, 8 * GIB, 6 * GIB], "{row}");
    assert!((1.1..1.5).contains(&sizes["daysToQuota"].as_f64().unwrap_or_default()), "{row}");
    assert_eq!(sizes["required"], true);
    assert!(row["lastOnDemand"].as_str().is_some_and(|why| why.contains("holds for 3 of 3 members")), "{row}");
    for words in [
        "3 GiB of 8 GiB, 1 GiB in use, 6 GiB to reclaim",
        "1 day to the quota",
        "a run is required",
        "last on demand: ",
    ] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
    let (row, _) = status(plane, prometheus, &format!("etcd-{not_ready}"));
    assert!(row["onDemand"].as_str().is_some_and(|why| why.starts_with("members-not-ready: 2 of 3")), "{row}");
    assert!(row["lastOnDemand"].is_null() && row["sizes"]["daysToQuota"].is_null(), "{row}");
}

/// How many queries Prometheus has answered.
fn queries(prometheus: &Prometheus) -> f64 {
    let text = prometheus.get("/metrics").unwrap_or_default();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("prometheus_http_requests_total{") && line.contains("\"/api/v1/query\""));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Has the containers of all runs run, as the kubelet does: it is reported when one does not start for a minute.
fn run(plane: &ControlPlane, runs: usize) {
    let pods = slowly("the pods of the runs", 60, || {
        let pods = plane.get(&["-n", "fleet", "pods", "-l", "job-name"])?["items"].as_array()?.clone();
        (pods.len() == runs).then_some(pods)
    });
    let running = json!({"startedAt": jiff::Timestamp::now().to_string()});
    let container = json!({"name": "etcd-defrag", "image": "x", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": running}});
    let status = json!({"status": {"phase": "Running", "containerStatuses": [container]}}).to_string();
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap();
        plane.kubectl_ok(&["-n", "fleet", "patch", "pod", name, "--subresource=status", "--type=merge", "-p", &status]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_start_exactly_where_the_rule_holds_and_a_killed_prometheus_starts_none() {
    let Some(programs) =
        prometheus::found("jobs_start_exactly_where_the_rule_holds_and_a_killed_prometheus_starts_none")
    else {
        return;
    };
    let size = fleet_size("ONDEMAND_ETCDS", 150);
    let (plane, serve) = world();
    let resident_alone = serve.resident();
    fleet(&plane, &client(plane.kubeconfig()).await, size).await;
    enrolled(&serve, size);
    let firing: Vec<usize> = (0..size).filter(|index| shape(*index).2).collect();
    // The last of them has a member that is not ready.
    let (not_ready, starting) = firing.split_last().unwrap();
    for index in starting {
        ready(&plane, "fleet", &format!("etcd-{index}"), 3);
    }
    ready(&plane, "fleet", &format!("etcd-{not_ready}"), 2);

    let members = (0..size).flat_map(|index| (0..3).map(move |ordinal| (index, ordinal))).map(|(index, ordinal)| {
        let (size, in_use, _) = shape(index);
        let pod = format!("etcd-{index}-{ordinal}");
        Exported { namespace: "fleet".to_owned(), pod, size, in_use, quota: 8 * GIB, corrupt: false }
    });
    let exporter = Exporter::start(members.collect());
    let scraped = prometheus::jobs_of(&[Target::local(exporter.port)]);
    let options = PrometheusOptions { jobs: scraped, interval: 5, rules: false, past: Some(past(&exporter)) };
    let mut prometheus = Prometheus::start(programs, &options);
    policy(
        &plane,
        &json!({"url": prometheus.url(), "interval": "5s", "timeout": "5s", "staleAfter": "30s", "maxConcurrent": 100}),
    );
    // Each CronJob is written anew first, since another policy governs it now.
    slowly("every member of every etcd to be told of", 300, || {
        let (_, reason, message) = reachable(&plane);
        (reason == "Answers" && message.contains(&format!("of {size} etcds"))).then_some(())
    });
    let expected: BTreeSet<String> = starting.iter().map(|index| format!("etcd-{index}-defrag-job")).collect();
    slowly("a Job for each etcd whose rule holds", 120, || {
        (jobs(&plane).into_iter().collect::<BTreeSet<_>>() == expected).then_some(())
    });

    run(&plane, expected.len());

    shown(&plane, &prometheus, *not_ready);

    // A few passes more: one run each, no more, and as many queries as there are metrics.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let (first_asked, first_queries, begun) = (asked(&serve), queries(&prometheus), Instant::now());
    tokio::time::sleep(Duration::from_secs(11)).await;
    let mark = plane.audit_mark();
    tokio::time::sleep(Duration::from_secs(11)).await;
    slowly("two more passes", 120, || (asked(&serve) - first_asked >= 2.0).then_some(()));
    let (passes, answered) = (asked(&serve) - first_asked, queries(&prometheus) - first_queries);
    let metrics = serve.probe("/metrics").unwrap();
    println!(
        "{size} etcds: {passes} passes in {:.0} s, {answered} queries; the last pass took {:.3} s; resident {:.1} MiB, {:.1} MiB before the fleet",
        begun.elapsed().as_secs_f64(),
        metric(&metrics, "etcd_defrag_webhook_on_demand_pass_seconds "),
        serve.resident() as f64 / MIB as f64,
        resident_alone as f64 / MIB as f64,
    );
    assert!(passes >= 2.0 && answered <= 5.0 * (passes + 1.0), "{passes} passes made {answered} queries");
    let jobs_now = jobs(&plane);
    assert_eq!((jobs_now.len(), jobs_now.into_iter().collect::<BTreeSet<_>>()), (expected.len(), expected.clone()));
    let writes = plane.audit_since(mark).writes().by_agent("etcd-defrag-webhook");
    assert_eq!(writes.count(|event| event.resource != "leases"), 0, "a fleet that waits is not written to: {writes:?}");

    // Killed: a condition, no Job for those that would want one now.
    prometheus.kill();
    // A query that is under way finds its connection closed; those after it are refused.
    slowly("the condition to say that connections are refused", 90, || {
        let (_, reason, message) = reachable(&plane);
        let said = message.contains("connection refused") && message.contains("scheduled runs continue");
        (reason == "Unreachable" && said).then_some(())
    });
    let next = size - 1;
    ready(&plane, "fleet", &format!("etcd-{next}"), 3);
    for one in exporter.members.lock().unwrap().iter_mut().filter(|one| one.pod.starts_with(&format!("etcd-{next}-"))) {
        one.size = 3 * GIB;
    }
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(jobs(&plane).len(), expected.len());
    // Back: it recovers by itself, and what is required starts.
    prometheus.resume();
    slowly("a Job for the etcd that filled up meanwhile", 120, || {
        jobs(&plane).contains(&format!("etcd-{next}-defrag-job")).then_some(())
    });
    reason(&plane, "Answers");

    // `status` asks as the policy does.
    policy(&plane, &json!({"url": prometheus.url(), "queries": {"size": "no_such_metric"}}));
    let (row, text) = status(&plane, &prometheus, "etcd-7");
    assert!(
        row["unmeasured"].as_str().is_some_and(|why| why.contains("no database size of the member etcd-7-0")),
        "{}",
        row["unmeasured"]
    );
    assert!(row["sizes"].is_null() && text.contains("cannot be measured: "), "{text}");
}
