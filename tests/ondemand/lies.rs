//! A Prometheus that is down, slow, late, or lies: no run starts, a condition says so, and it recovers by itself.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::json;

use super::{GIB, etcd, event, jobs, policy, reachable, ready, reason, slowly, world};
use harness::StandIn;

/// What the stand-in for a Prometheus does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// It tells the truth; nothing is to be reclaimed.
    Content,
    /// It tells the truth, and the rule holds.
    Full,
    /// The same, but each answer takes ten seconds.
    Late,
    ServerError,
    Unauthorized,
    Html,
    BadQuery,
    Nothing,
    Stale,
    Twice,
    Negative,
    InUseAboveSize,
    OtherQuota,
    NotANumber,
}

fn answer(mode: Mode, body: &str) -> (&'static str, String) {
    match mode {
        Mode::Late => thread::sleep(Duration::from_secs(10)),
        Mode::ServerError => return ("500 Internal Server Error", "broken".to_owned()),
        Mode::Unauthorized => return ("401 Unauthorized", "who are you?".to_owned()),
        Mode::Html => return ("200 OK", "<html>a login page</html>".to_owned()),
        Mode::BadQuery => {
            let error = json!({"status": "error", "errorType": "bad_data", "error": "parse error"});
            return ("400 Bad Request", error.to_string());
        }
        _ => {}
    }
    let gib = GIB as f64;
    let full = mode != Mode::Content;
    let value = if body.contains("timestamp") {
        let age = if mode == Mode::Stale { 120.0 } else { 1.0 };
        jiff::Timestamp::now().as_millisecond() as f64 / 1e3 - age
    } else if body.contains("in_use") {
        if mode == Mode::InUseAboveSize { 9.0 * gib } else { gib }
    } else if body.contains("quota") {
        if mode == Mode::OtherQuota { 2.0 * gib } else { 8.0 * gib }
    } else if body.contains("alarms") {
        -1.0
    } else if mode == Mode::Negative {
        -7.5 * gib
    } else if mode == Mode::NotANumber {
        f64::NAN
    } else if full {
        7.5 * gib
    } else {
        1.1 * gib
    };
    let times = if mode == Mode::Twice { 2 } else { 1 };
    let pods = if mode == Mode::Nothing || body.contains("alarms") { 0 } else { 3 * times };
    let result: Vec<_> = (0..pods)
        .map(|index| json!({"metric": {"namespace": "lies", "pod": format!("etcd-{}", index % 3)}, "value": [0, value.to_string()]}))
        .collect();
    ("200 OK", json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string())
}

#[test]
fn lies_delays_and_errors_start_nothing_and_the_truth_does() {
    let (plane, serve) = world();
    let mode = Arc::new(Mutex::new(Mode::Content));
    let shown = Arc::clone(&mode);
    let prometheus = StandIn::start(move |_, body| {
        let mode = *shown.lock().unwrap();
        answer(mode, body)
    });
    let set = |wanted: Mode| *mode.lock().unwrap() = wanted;
    plane.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lies"}}).to_string());
    plane.apply(&etcd("lies", "etcd").to_string());
    ready(&plane, "lies", "etcd", 3);
    policy(
        &plane,
        &json!({"url": format!("http://127.0.0.1:{}", prometheus.port),
        "interval": "5s", "timeout": "2s", "staleAfter": "30s", "cooldown": "1m"}),
    );
    assert!(reason(&plane, "Answers").contains("every member of 1 etcd"));

    let mut said = Vec::new();
    let trials = [
        (Mode::ServerError, "AnswersWithErrors", "500 Internal Server Error"),
        (Mode::Unauthorized, "Unauthorized", "401 Unauthorized"),
        (Mode::Html, "AnswersWithErrors", "not an answer to a query"),
        (Mode::BadQuery, "AnswersWithErrors", "parse error"),
        (Mode::Late, "TooSlow", "did not answer within 2 s"),
        (Mode::Nothing, "NothingMeasured", "series-missing of etcd-0"),
        (Mode::Twice, "NothingMeasured", "series-several of etcd-0"),
        (Mode::Negative, "NothingMeasured", "value-negative of etcd-0"),
        (Mode::NotANumber, "NothingMeasured", "value-not-a-number of etcd-0"),
        (Mode::InUseAboveSize, "NothingMeasured", "in-use-above-size of etcd-0"),
        (Mode::OtherQuota, "NothingMeasured", "quota-differs of etcd-0"),
        (Mode::Stale, "NothingMeasured", "series-stale of etcd-0"),
    ];
    for (lie, expected, words) in trials {
        set(lie);
        let message =
            slowly(&format!("{lie:?} to be told of as {words:?}; said is {:?}", reachable(&plane)), 60, || {
                let (status, reason, message) = reachable(&plane);
                (status == "False" && reason == expected && message.contains(words)).then_some(message)
            });
        said.push(message.replace(&prometheus.port.to_string(), "PORT"));
        if expected != "NothingMeasured" {
            // A failure in a row makes the pause longer; an answer makes it short again.
            set(Mode::Content);
            reason(&plane, "Answers");
        }
    }
    insta::assert_snapshot!(said.join("\n"));
    let event = event(&plane, "lies", "etcd", "MeasurementRefused", "etcd-0");
    assert!(event.contains("is too old to act on") || event.contains("runs with a quota of"), "{event}");
    assert_eq!(jobs(&plane), Vec::<String>::new(), "nothing has started");

    // Members that are not ready hold a run, and say so; then it starts, by itself.
    ready(&plane, "lies", "etcd", 2);
    set(Mode::Full);
    let annotations = || {
        plane.get(&["cronjob", "-n", "lies", "etcd-defrag-job"]).unwrap_or_default()["metadata"]["annotations"].clone()
    };
    slowly("the annotation to say what it waits for", 60, || {
        let note = annotations()["etcd-defrag.io/on-demand"].as_str().unwrap_or_default().to_owned();
        note.starts_with("members-not-ready: 2 of 3 members are ready").then_some(())
    });
    assert_eq!(jobs(&plane), Vec::<String>::new());
    ready(&plane, "lies", "etcd", 3);
    slowly("a Job", 60, || (jobs(&plane) == ["etcd-defrag-job"]).then_some(()));
    slowly("the annotations to say why", 60, || {
        let notes = annotations();
        let last = notes["etcd-defrag.io/last-on-demand"].as_str()?.to_owned();
        (last.contains("holds for 3 of 3 members") && notes["etcd-defrag.io/on-demand"].is_null()).then_some(())
    });
    thread::sleep(Duration::from_secs(12));
    assert_eq!(jobs(&plane).len(), 1, "one at a time\n{}", serve.log());
}
