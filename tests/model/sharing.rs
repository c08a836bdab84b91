//! Several StatefulSets that are enrolled with the members of one etcd: the same one of them runs, whoever came first, and what only a
//! policy enrols gives way.

use serde_json::{Value, json};

use super::{
    events::Event,
    orphans::{happen, on_paused_clock, pause},
    sequence::Run,
    server::Faults,
    store::{CRONJOBS, Class, POLICIES, STATEFULSETS, Stored, key},
};

const NAMESPACE: &str = "a";
const ALL: &str = "http://etcd-a-0.etcd-a:2379,http://etcd-b-0.etcd-b.a.svc:2379,http://etcd-c-0.etcd-c.a:2379";
const LABEL: &str = "etcd-defrag.io/enabled";

/// A part of an etcd of which nobody sees the other members.
fn part(run: &Run, name: &str, label: Option<&str>, endpoints: Option<&str>) {
    let etcd = json!({
        "name": "etcd", "image": "quay.io/coreos/etcd:v3.6.5",
        "command": ["etcd", "--name=$(POD)", "--data-dir=/data", "--quota-backend-bytes=8589934592", "--discovery-srv=etcd.example",
            "--listen-client-urls=http://0.0.0.0:2379", format!("--advertise-client-urls=http://$(POD).{name}.a.svc:2379")],
        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    let claim = json!({"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "20Gi"}}}});
    let object = json!({
        "metadata": {"namespace": NAMESPACE, "name": name,
            "labels": label.map(|label| json!({LABEL: label})),
            "annotations": endpoints.map(|urls| json!({"etcd-defrag.io/endpoints": urls}))},
        "spec": {"serviceName": name, "replicas": 1, "template": {"spec": {"containers": [etcd]}}, "volumeClaimTemplates": [claim]},
        "status": {"readyReplicas": 1},
    });
    run.server.with(|state| {
        state.store.create(&key(STATEFULSETS, NAMESPACE, name), object, "kubectl", Class::Plain).unwrap();
    });
}

fn change(run: &Run, name: &str, change: impl FnOnce(&mut Value)) {
    run.server.with(|state| {
        state.store.update(&key(STATEFULSETS, NAMESPACE, name), "kubectl", change).unwrap();
    });
}

/// The StatefulSets that have a CronJob which runs.
fn having(run: &Run) -> Vec<String> {
    let state = run.server.state();
    let runs = |stored: &Stored| stored.object["spec"]["suspend"] != json!(true);
    let names = state.store.of(CRONJOBS).filter(|(key, stored)| key.namespace == NAMESPACE && runs(stored));
    names.map(|(key, _)| key.name.trim_end_matches("-defrag-job").to_owned()).collect()
}

/// Waits until these have a CronJob and no others; the clock goes on when everybody waits.
async fn until(run: &mut Run, expected: &[&str]) {
    for _ in 0..600 {
        if having(run) == expected {
            // And it stays so.
            happen(run, &[pause(30_000)]).await;
            assert_eq!(having(run), expected);
            return;
        }
        happen(run, &[pause(100)]).await;
    }
    panic!("{:?} have a CronJob, and not {expected:?}", having(run));
}

async fn started(seed: u64) -> Run {
    let mut run = Run::start(seed, Faults::default());
    happen(&mut run, &[pause(5000)]).await;
    run
}

async fn enrols_all(seed: u64) -> Run {
    let run = started(seed).await;
    run.server.with(|state| {
        let policy =
            json!({"metadata": {"name": "all", "generation": 1}, "spec": {"enrollment": "All", "priority": 1000}});
        state.store.create(&key(POLICIES, "", "all"), policy, "kubectl", Class::Plain).unwrap();
    });
    run
}

#[test]
fn of_several_with_the_same_members_one_runs_whoever_came_first() {
    on_paused_clock(async {
        let mut run = started(1).await;
        part(&run, "etcd-b", Some("true"), Some(ALL));
        until(&mut run, &["etcd-b"]).await;
        part(&run, "etcd-a", Some("true"), Some(ALL));
        // Its own pod is among what the first one names, and it names no other.
        part(&run, "etcd-c", Some("true"), None);
        until(&mut run, &["etcd-a"]).await;
        // Whoever leads next sees no more.
        happen(&mut run, &[Event::Kill { replica: 0 }, Event::Restart { replica: 0 }]).await;
        until(&mut run, &["etcd-a"]).await;

        change(&run, "etcd-b", |object| object["metadata"]["labels"][LABEL] = json!("false"));
        change(&run, "etcd-a", |object| object["metadata"]["labels"][LABEL] = json!("false"));
        until(&mut run, &["etcd-c"]).await;
        change(&run, "etcd-b", |object| object["metadata"]["labels"][LABEL] = json!("true"));
        // It reaches more.
        until(&mut run, &["etcd-b"]).await;
        change(&run, "etcd-c", |object| object["metadata"]["labels"][LABEL] = json!("false"));
        until(&mut run, &["etcd-b"]).await;
    });
}

#[test]
fn of_several_that_are_enrolled_at_once_one_runs() {
    on_paused_clock(async {
        let mut run = started(2).await;
        let external = "http://etcd.example.com:2379";
        for name in ["etcd-a", "etcd-b", "etcd-c"] {
            part(&run, name, Some("true"), Some(external));
        }
        until(&mut run, &["etcd-a"]).await;
        change(&run, "etcd-a", |object| object["metadata"]["labels"][LABEL] = json!("false"));
        until(&mut run, &["etcd-b"]).await;
    });
}

#[test]
fn what_only_a_policy_enrols_gives_way_to_who_reaches_its_pods() {
    on_paused_clock(async {
        let mut run = enrols_all(3).await;
        part(&run, "etcd-b", None, None);
        part(&run, "etcd-c", None, None);
        until(&mut run, &["etcd-b", "etcd-c"]).await;
        part(&run, "etcd-a", Some("true"), Some(ALL));
        until(&mut run, &["etcd-a"]).await;
        // The list leaves one out again.
        let two = ALL.rsplit_once(',').unwrap().0;
        change(&run, "etcd-a", |object| object["metadata"]["annotations"]["etcd-defrag.io/endpoints"] = json!(two));
        until(&mut run, &["etcd-a", "etcd-c"]).await;
    });
}
