//! Etcds side by side whose rules hold, each held for a reason of its own.

use std::{collections::BTreeMap, time::Duration};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde_json::json;

use super::{GIB, create_job, end_job, etcd, event, jobs, policy, ready, reason, slowly, world};
use harness::{ControlPlane, Exported, Exporter, Prometheus, PrometheusOptions, Target, prometheus};

const NAMESPACE: &str = "guards";
/// Tenths of a GiB that the file of each will take, of a quota of 8 GiB; nearly all of it is to be reclaimed.
const FILES: [(&str, u64); 10] = [
    ("unready", 74),
    ("nearest", 70),
    ("suspended", 65),
    ("corrupt", 65),
    ("missing", 65),
    ("cooling", 65),
    ("running", 65),
    ("second", 60),
    // Under a policy whose windows are closed.
    ("windowed", 65),
    ("urgent", 78),
];

/// The name of the StatefulSet of a pod.
fn of(pod: &str) -> &str {
    pod.rsplit_once('-').map_or(pod, |(name, _)| name)
}

/// Why each waits, as its CronJob says.
fn notes(plane: &ControlPlane) -> BTreeMap<String, String> {
    let all = plane.get(&["cronjobs", "-n", NAMESPACE]).unwrap_or_default()["items"].clone();
    let note = |cronjob: &serde_json::Value| {
        let meta = &cronjob["metadata"];
        let note = meta["annotations"]["etcd-defrag.io/on-demand"].as_str()?;
        Some((meta["name"].as_str()?.trim_end_matches("-defrag-job").to_owned(), note.to_owned()))
    };
    all.as_array().cloned().unwrap_or_default().iter().filter_map(note).collect()
}

#[test]
fn each_is_held_for_its_own_reason_and_the_nearest_to_its_quota_starts() {
    let test = "each_is_held_for_its_own_reason_and_the_nearest_to_its_quota_starts";
    let Some(programs) = prometheus::found(test) else { return };
    let (plane, serve) = world();
    plane.kubectl_ok(&["create", "namespace", NAMESPACE]);
    // An hour that begins in three hours.
    let opens = (Timestamp::now() + 3.hours()).to_zoned(TimeZone::UTC);
    for (name, _) in FILES {
        let mut object = etcd(NAMESPACE, name);
        match name {
            "suspended" => object["metadata"]["annotations"]["etcd-defrag.io/suspend"] = json!("true"),
            "windowed" | "urgent" => {
                object["metadata"]["labels"]["windows"] = json!("closed");
                let schedule = format!("{} {} 1 1 *", opens.minute(), opens.hour());
                object["metadata"]["annotations"]["etcd-defrag.io/schedule"] = json!(schedule);
            }
            _ => {}
        }
        plane.apply(&object.to_string());
        ready(&plane, NAMESPACE, name, if name == "unready" { 2 } else { 3 });
    }

    let member = |(name, _): (&str, u64)| {
        let exported = |ordinal: u64| Exported {
            namespace: NAMESPACE.to_owned(),
            pod: format!("{name}-{ordinal}"),
            size: GIB,
            in_use: GIB,
            quota: 8 * GIB,
            corrupt: name == "corrupt" && ordinal == 1,
        };
        (0..3).map(exported).collect::<Vec<_>>()
    };
    let exporter = Exporter::start(FILES.into_iter().flat_map(member).collect());
    let scraped = prometheus::jobs_of(&[Target::local(exporter.port)]);
    let options = PrometheusOptions { jobs: scraped, rules: false, ..PrometheusOptions::default() };
    let prometheus = Prometheus::start(programs, &options);
    let measured =
        json!({"url": prometheus.url(), "interval": "5s", "timeout": "2s", "staleAfter": "15s", "cooldown": "1h"});
    policy(&plane, &measured);
    let closes = &opens + 1.hour();
    let window = json!({"from": opens.strftime("%H:%M").to_string(), "to": closes.strftime("%H:%M").to_string(), "timeZone": "Etc/UTC"});
    let windowed = json!({
        "apiVersion": "etcd-defrag.io/v1alpha1", "kind": "DefragPolicy", "metadata": {"name": "windowed"},
        "spec": {
            "priority": 1, "selector": {"matchLabels": {"windows": "closed"}},
            "limits": {"windows": [window]}, "metrics": {"prometheus": measured},
        },
    });
    plane.apply(&windowed.to_string());
    slowly("all to be measured", 60, || {
        reason(&plane, "Answers").contains(&format!("every member of {} etcds", FILES.len())).then_some(())
    });
    assert_eq!(notes(&plane), BTreeMap::new());
    assert_eq!(jobs(&plane), Vec::<String>::new(), "nothing is required yet");
    create_job(&plane, NAMESPACE, "cooling", "ended");
    end_job(&plane, NAMESPACE, "ended");
    create_job(&plane, NAMESPACE, "running", "under-way");

    // All fill up at the same time, and one member is not scraped any more.
    {
        let mut members = exporter.members.lock().unwrap();
        for one in members.iter_mut() {
            let tenths = FILES.iter().find(|(name, _)| *name == of(&one.pod)).map_or(10, |(_, tenths)| *tenths);
            one.size = tenths * GIB / 10;
        }
        members.retain(|one| one.pod != "missing-2");
    }
    let held = ["unready", "suspended", "corrupt", "missing", "cooling", "second", "windowed"];
    let all = slowly("each to be told of", 120, || {
        let notes = notes(&plane);
        held.iter().all(|name| notes.contains_key(*name)).then_some(notes)
    });
    let said = all.iter().map(|(name, note)| format!("{name}: {note}")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(said);
    let started: Vec<&str> = vec!["cooling", "nearest", "running", "urgent"];
    let of_jobs = || {
        let mut names: Vec<String> =
            jobs(&plane).iter().map(|name| name.trim_end_matches("-defrag-job").to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(of_jobs(), started, "{}", serve.log());
    event(&plane, NAMESPACE, "urgent", "DefragOnDemandStarted", "too near to the quota to wait for a window");
    event(&plane, NAMESPACE, "unready", "DefragOnDemandWaits", "2 of 3 members are ready");

    // Each stays held as long as its reason stands; the end of a run makes room for the next.
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(notes(&plane), all);
    assert_eq!(of_jobs(), started, "{}", serve.log());
    let list = plane.get(&["jobs", "-n", NAMESPACE]).unwrap()["items"].clone();
    let nearest = list.as_array().unwrap().iter().map(|job| job["metadata"]["name"].as_str().unwrap());
    let nearest = nearest.into_iter().find(|name| name.starts_with("nearest-")).unwrap().to_owned();
    end_job(&plane, NAMESPACE, &nearest);
    slowly("the run that waited for room", 60, || of_jobs().contains(&"second".to_owned()).then_some(()));
    assert_eq!(of_jobs().len(), started.len() + 1);
}
